"""What holds for every topology, found by trying many."""

from __future__ import annotations

import pickle
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Host,
    Masquerade,
    Namespace,
    Neighbour,
    OVSBridge,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from pytest_netns._hosts import hosts_file, resolv_file
from pytest_netns._names import MAX_IFNAME
from pytest_netns._plan import plan
from pytest_netns._ruleset import nat_ruleset
from pytest_netns._steps import AddAddress, AddRoute, AddVeth, JoinHost, ShareConnection

if TYPE_CHECKING:
    from pytest_netns._layout import Layout
    from pytest_netns._record import Record

NAMES = ["a", "b", "a-long-name-of-a-machine", "50%"]
SWITCHES = ["br0", "br1", "lan", "ovs0", "ovs1", "ovs2", "host"]
SUBNETS = ["10.0.0.0/24", "10.0.0.0/30", "fd00::/64", ("10.0.1.0/24", "fd01::/64")]
ADDRESSES = ["10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/24", "fd00::1/64", "192.0.2.1/32"]
LLADDR = "02:00:00:00:00:01"

nodes = st.sampled_from(NAMES + SWITCHES)
endpoints = st.one_of(
    nodes,
    st.builds(
        "{}:{}".format, nodes, st.sampled_from(["eth0", "eth1", "wan", "a-eth0"])
    ),
)
optional_subnets = st.one_of(st.none(), st.sampled_from(SUBNETS))
some_addresses: st.SearchStrategy[list[str]] = st.one_of(
    st.just([]), st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True)
)
cables = st.builds(
    Veth,
    endpoints,
    endpoints,
    address=some_addresses,
    subnet=optional_subnets,
    mtu=st.sampled_from([None, 1400]),
    offload=st.booleans(),
)
bridges = st.builds(
    Bridge,
    st.sampled_from(SWITCHES),
    subnet=optional_subnets,
    stp=st.booleans(),
    mtu=st.sampled_from([None, 9000]),
)
routes = st.sampled_from(
    [
        Route("default", via="10.0.0.9"),
        Route("default", dev="eth0"),
        Route("192.0.2.0/24", dev="lo"),
        Route("fd09::/64", via="fe80::1", dev="eth0", metric=3),
    ]
)
rules = st.sampled_from(
    [
        Masquerade(),
        Masquerade(source=["10.0.0.0/24", "fd00::/64"], out_interface="eth0"),
        SNAT("192.0.2.1:80", out_interface="lo"),
        DNAT("[fd00::2]:80", port=8080, in_interface="wan"),
    ]
)
namespaces = st.builds(
    Namespace,
    st.sampled_from(NAMES),
    routes=st.one_of(st.just([]), st.lists(routes, max_size=2)),
    nat=st.lists(rules, max_size=2),
    nftables=st.sampled_from(["", "table inet a {}"]),
    forwarding=st.booleans(),
)
hosts = st.builds(
    Host,
    st.sampled_from(["host", "a"]),
    routes=st.lists(routes, max_size=1),
    share_connection=st.booleans(),
)
ovs_bridges = st.builds(
    OVSBridge,
    st.sampled_from(["ovs0", "ovs1", "br0"]),
    namespace=st.sampled_from([None, "a", "host"]),
    subnet=optional_subnets,
)
#: Everything is declared, in any order, so that many topologies fit together.
DECLARED: list[Record] = [
    *map(Namespace, NAMES),
    Bridge("br0", subnet="10.0.0.0/24"),
    Bridge("br1", subnet=("10.0.0.0/24", "fd00::/64")),
    Bridge("lan", namespace="a", subnet="fd01::/64"),
    Host(share_connection=True),
    OVSBridge("ovs0", subnet="10.2.0.0/24"),
    OVSBridge("ovs1"),
    OVSBridge("ovs2", namespace="b", subnet="10.3.0.0/24"),
]
likely = st.builds(
    lambda declared, wires: [*declared, *wires],
    st.permutations(DECLARED),
    st.lists(cables, max_size=6),
)
#: Names and addresses are left to us, so that nearly all of these fit together.
fitting = st.builds(
    lambda declared, wires: [*declared, *wires],
    st.permutations(DECLARED),
    st.lists(st.builds(Veth, nodes, nodes, subnet=optional_subnets), max_size=8),
)
unlikely = st.lists(
    st.one_of(namespaces, hosts, bridges, ovs_bridges, cables), max_size=8
)
record_lists = st.one_of(fitting, fitting, likely, unlikely)


def topology_of(records: list[Record]) -> Topology | None:
    """Return the topology that `records` make, or None."""
    try:
        return Topology(*records)
    except TopologyError:
        return None


@given(record_lists)
def test_records_make_a_topology_or_a_topology_error(records: list[Record]) -> None:
    """Nothing else is raised, and what is made can be planned, drawn and looked up."""
    topology = topology_of(records)
    if topology is None:
        return
    layout = topology.layout

    assert isinstance(topology.diagram(), str)
    assert sum(isinstance(step, AddVeth) for step in plan(layout)) == len(layout.cables)
    for name in layout.namespaces:
        assert "localhost" in hosts_file(layout, name)
        assert nat_ruleset(layout.namespaces[name].nat)
        assert resolv_file(layout, name)


@given(record_lists)
def test_a_resolved_topology_keeps_the_kernels_rules(records: list[Record]) -> None:
    """Names fit and are unique where they are, and no segment has an address twice."""
    topology = topology_of(records)
    if topology is None:
        return
    layout = topology.layout

    for place, interfaces in layout.interfaces.items():
        for ifname, interface in interfaces.items():
            assert (interface.place, interface.ifname) == (place, ifname)
            assert 0 < len(ifname.encode()) <= MAX_IFNAME
            assert "%" not in ifname
            assert ifname != "lo"
            assert interface.master is None or not interface.addresses
    for addresses in segments(layout).values():
        assert len(addresses) == len(set(addresses))


def segments(layout: Layout) -> dict[frozenset[str], list[object]]:
    """Find who hears whom, in a way of its own, and list the addresses there."""
    groups: list[set[str]] = [{name} for name in layout.bridges]
    for cable in layout.cables:
        joined = {end.master or end.endpoint for end in (cable.a, cable.b)}
        touching = [group for group in groups if group & joined]
        groups = [group for group in groups if not group & joined]
        groups.append(joined.union(*touching))
    owners = {device.endpoint: name for name, device in layout.bridge_devices.items()}
    found: dict[frozenset[str], list[object]] = {}
    for interfaces in layout.interfaces.values():
        for interface in interfaces.values():
            where = owners.get(interface.endpoint, interface.endpoint)
            for group in groups:
                if where in group:
                    own = found.setdefault(frozenset(group), [])
                    own.extend(address.ip for address in interface.addresses)
    return found


@given(record_lists, st.data())
def test_what_is_there_never_moves(records: list[Record], data: st.DataObject) -> None:
    """The first records alone resolve to the same names and addresses as with more."""
    part = records[: data.draw(st.integers(0, len(records)))]
    whole, first = topology_of(records), topology_of(part)
    if whole is None or first is None:
        return

    assert whole.layout.cables[: len(first.layout.cables)] == first.layout.cables
    for name, device in first.layout.bridge_devices.items():
        assert whole.layout.bridge_devices[name] == device
    for place, interfaces in first.layout.interfaces.items():
        for ifname, interface in interfaces.items():
            assert whole.layout.interfaces[place][ifname] == interface
    for name, ports in first.layout.ports.items():
        assert whole.layout.ports[name][: len(ports)] == ports


@given(record_lists, st.data())
def test_an_extension_does_the_rest(records: list[Record], data: st.DataObject) -> None:
    """What is planned for a part and then for the rest is the plan of the whole."""
    part = records[: data.draw(st.integers(0, len(records)))]
    whole, first = topology_of(records), topology_of(part)
    if whole is None or first is None:
        return

    steps = [*plan(first.layout), *plan(whole.layout, first.layout)]

    def kept(step: object) -> bool:
        # the family of such a route follows what its device has when it is added,
        # and what joins the host, or shares its connection, does so together
        return not (
            (isinstance(step, AddRoute) and step.route.family is None)
            or isinstance(step, JoinHost | ShareConnection)
        )

    assert sorted(repr(step) for step in steps if kept(step)) == sorted(
        repr(step) for step in plan(whole.layout) if kept(step)
    )


@given(record_lists)
def test_every_address_is_planned_once(records: list[Record]) -> None:
    """Those that were written down and those that were handed out alike."""
    topology = topology_of(records)
    if topology is None:
        return

    planned = [
        (step.place, step.ifname, step.address)
        for step in plan(topology.layout)
        if isinstance(step, AddAddress)
    ]
    there = [
        (place, interface.ifname, address)
        for place, interfaces in topology.layout.interfaces.items()
        for interface in interfaces.values()
        for address in interface.addresses
    ]
    assert sorted(map(repr, planned)) == sorted(map(repr, there))
    written = [
        (step.record, ip_interface(text))
        for step in plan(topology.layout)
        if isinstance(step, AddVeth) and isinstance(step.record, Veth)
        for text in (*step.record.address, *step.record.peer_address)
    ]
    assert len(written) <= len(planned)


@given(record_lists)
def test_a_topology_is_a_value(records: list[Record]) -> None:
    """Its repr evaluates to an equal one, and so does a trip to another process."""
    topology = topology_of(records)
    if topology is None:
        return

    copies = [
        eval(repr(topology)),  # noqa: S307  # our own repr
        pickle.loads(pickle.dumps(topology)),  # noqa: S301  # our own
        Topology() + topology,
        Topology(*topology),
    ]
    for copied in copies:
        assert copied == topology
        assert hash(copied) == hash(topology)
        assert copied.layout == topology.layout


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.ip_addresses(),
    st.sampled_from([*ADDRESSES, *SUBNETS, LLADDR, "default", "eth0", "a:eth0"]),
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(max_size=8), routes), max_size=2
    ),
    st.dictionaries(
        st.one_of(st.text(max_size=8), st.just("net.a"), st.integers()),
        st.one_of(st.none(), st.integers(), st.text(max_size=8)),
        max_size=2,
    ),
)
FIELDS: dict[type[Record], tuple[dict[str, Any], list[str]]] = {
    Namespace: (
        {"name": "a"},
        [
            *("routes", "neighbours", "nat", "nftables", "sysctls"),
            *("hosts", "nameservers", "hostname"),
        ],
    ),
    Host: ({"name": "host"}, ["routes", "share_connection"]),
    Masquerade: ({}, ["source", "out_interface"]),
    SNAT: ({"to": "10.0.0.1"}, ["source", "out_interface"]),
    DNAT: (
        {"to": "10.0.0.1:80", "port": 80},
        ["protocol", "destination", "in_interface"],
    ),
    OVSBridge: ({"name": "br0"}, ["namespace", "address", "subnet"]),
    Bridge: ({"name": "br0"}, ["namespace", "address", "subnet", "mtu", "lladdr"]),
    Veth: (
        {"a": "a", "b": "br0"},
        ["address", "peer_address", "subnet", "lladdr", "peer_lladdr", "mtu"],
    ),
    Route: (
        {"destination": "default", "dev": "eth0"},
        ["via", "source", "metric", "table", "scope"],
    ),
    Neighbour: ({"address": "10.0.0.1", "lladdr": LLADDR, "dev": "eth0"}, []),
}


@given(st.sampled_from(list(FIELDS)), st.data())
def test_any_field_makes_a_record_or_a_topology_error(
    kind: type[Record], data: st.DataObject
) -> None:
    """Whatever stands in a file or a test, only the declaration is said to be wrong."""
    needed, optional = FIELDS[kind]
    name = data.draw(st.sampled_from([*needed, *optional]))
    try:
        record = kind(**{**needed, name: data.draw(anything)})
    except TopologyError:
        return
    assert eval(repr(record)) == record  # noqa: S307  # our own repr
    assert hash(record) == hash(record)
