from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    DuplicateName,
    InvalidAddress,
    Namespace,
    Neighbour,
    Route,
    Topology,
    TopologyError,
    UnknownName,
    Veth,
)
from pytest_netns.topology import join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_netns._record import Record

# left (10.0.1.1) --- br0 --- (10.0.0.1) right
LAN = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
    Bridge("br0"),
    Veth("left:eth0", "br0", address="10.0.1.1/24"),
    Veth("right:eth0", "br0", address="10.0.0.1/24"),
)


def names(topology: Topology, place: str) -> list[str]:
    """List the interfaces of a namespace or hidden bridge."""
    return list(topology.layout.interfaces.get(place, {}))


def addresses(topology: Topology, endpoint: str) -> list[str]:
    """List the addresses of an interface."""
    place, _, ifname = endpoint.partition(":")
    return [str(one) for one in topology.layout.interfaces[place][ifname].addresses]


# --- the value ---


def test_a_topology_is_equal_to_another_of_the_same_records() -> None:
    """Equality and hash are by value, and order counts: it names and numbers."""
    one = Topology(Namespace("a"), Namespace("b"))

    assert one == Topology(Namespace("a"), Namespace("b"))
    assert hash(one) == hash(Topology(Namespace("a"), Namespace("b")))
    assert one != Topology(Namespace("b"), Namespace("a"))
    assert one != Topology(Namespace("a"))
    assert one != (Namespace("a"), Namespace("b"))


def test_the_repr_of_a_topology_evaluates_to_an_equal_one() -> None:
    """What pytest shows can be pasted into a test."""
    assert eval(repr(LAN)) == LAN  # noqa: S307  # our own repr


def test_a_topology_survives_pickling_and_copying() -> None:
    """A copy is equal and resolves to the same names and addresses."""
    for copied in (pickle.loads(pickle.dumps(LAN)), copy.deepcopy(LAN), copy.copy(LAN)):  # noqa: S301
        assert copied == LAN
        assert hash(copied) == hash(LAN)
        assert copied.layout == LAN.layout


def test_a_topology_does_not_change() -> None:
    """Neither its records nor anything else can be set."""
    with pytest.raises(AttributeError, match="a Topology does not change"):
        LAN.records = ()
    with pytest.raises(AttributeError, match="a Topology does not change"):
        LAN.name = "lan"  # type: ignore[attr-defined,unused-ignore]

    assert len(LAN.records) == 5


def test_a_topology_is_a_sequence_of_its_records() -> None:
    """Iteration and length are those of the records, in order of declaration."""
    assert list(LAN) == list(LAN.records)
    assert len(LAN) == 5
    assert len(Topology()) == 0


def test_two_topologies_add_up() -> None:
    """The sum has the records of both, in order, and the parts stay what they were."""
    one, other = Topology(Namespace("a")), Topology(Namespace("b"))

    assert one + other == Topology(Namespace("a"), Namespace("b"))
    assert one == Topology(Namespace("a"))
    assert other == Topology(Namespace("b"))


def test_a_topology_adds_up_with_topologies_only() -> None:
    """A record is added with with_records()."""
    with pytest.raises(TypeError):
        Topology() + Namespace("a")


def test_with_records_gives_a_new_topology() -> None:
    """The old one stays what it was."""
    before = Topology(Namespace("a"))

    after = before.with_records(Namespace("b"), Veth("a", "b"))

    assert after == Topology(Namespace("a"), Namespace("b"), Veth("a", "b"))
    assert before == Topology(Namespace("a"))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    """A sum is checked as a whole."""
    with pytest.raises(DuplicateName, match="two records are named 'left'"):
        LAN + Topology(Namespace("left"))
    with pytest.raises(DuplicateName, match="two records are named 'br0'"):
        LAN.with_records(Namespace("br0"))


def test_topologies_and_records_are_joined_in_order() -> None:
    """A marker takes both."""
    joined = join((Topology(Namespace("a")), Veth("a", "b"), Topology(Namespace("b"))))

    assert joined == Topology(Namespace("a"), Veth("a", "b"), Namespace("b"))


@pytest.mark.parametrize("part", ["left", None, ["left"], Namespace])
def test_what_is_neither_a_topology_nor_a_record_is_not_joined(part: object) -> None:
    """The message shows what it was."""
    with pytest.raises(
        TopologyError, match="is neither a Topology nor a record"
    ) as caught:
        join((part,))  # type: ignore[arg-type]

    assert repr(part) in str(caught.value)


# --- names ---


def test_an_end_without_a_name_gets_the_next_eth() -> None:
    """Numbers follow the order of declaration, from 0, on either end of a cable."""
    topology = Topology(
        Namespace("a"),
        Namespace("b"),
        Veth("a", "b"),
        Veth("b", "a"),
        Veth("a", "a"),
    )

    assert names(topology, "a") == ["eth0", "eth1", "eth2", "eth3"]
    assert names(topology, "b") == ["eth0", "eth1"]


def test_explicit_names_leave_the_others_their_numbers() -> None:
    """A number in use is skipped, a gap is filled, and another name uses up none."""
    topology = Topology(
        Namespace("a"),
        Bridge("br0"),
        Veth("a:eth1", "br0"),
        Veth("a:wan", "br0"),
        Veth("a", "br0"),
        Veth("a", "br0"),
    )

    assert names(topology, "a") == ["eth1", "wan", "eth0", "eth2"]


def test_a_cable_may_name_only_one_of_two_ends_in_one_namespace() -> None:
    """The named end keeps its name, whichever end it is."""
    topology = Topology(Namespace("a"), Veth("a", "a:eth0"))

    cable = topology.layout.cables[0]
    assert (cable.a.ifname, cable.b.ifname) == ("eth1", "eth0")


def test_a_port_is_named_after_what_it_leads_to() -> None:
    """``left-eth0`` is the port on the way to ``left:eth0``."""
    assert names(LAN, "br0") == ["left-eth0", "right-eth0"]


def test_a_port_has_the_name_that_it_is_given() -> None:
    """``"br0:uplink"`` names the port."""
    topology = Topology(Namespace("a"), Bridge("br0"), Veth("a:eth0", "br0:uplink"))

    assert names(topology, "br0") == ["uplink"]


def test_a_derived_port_name_never_exceeds_the_kernels_limit() -> None:
    """Long names are cut and numbered, so that ports of one bridge differ."""
    topology = Topology(
        Namespace("a-long-namespace-1"),
        Namespace("a-long-namespace-2"),
        Bridge("br0"),
        Veth("a-long-namespace-1", "br0"),
        Veth("a-long-namespace-2", "br0"),
    )

    assert names(topology, "br0") == ["a-long-namesp~1", "a-long-namesp~2"]


def test_bridges_are_joined_by_a_cable_of_two_ports() -> None:
    """Each port is named after the bridge that it leads to."""
    topology = Topology(Bridge("br0"), Bridge("br1"), Veth("br0", "br1"))

    (near,), (far,) = names(topology, "br0"), names(topology, "br1")
    assert near.startswith("br1-")
    assert far.startswith("br0-")
    assert topology.layout.ports["br0"][0].master == "br0"
    assert topology.layout.ports["br1"][0].master == "br1"


def test_a_bridge_in_a_namespace_is_a_device_of_it() -> None:
    """Device and ports are interfaces of the namespace."""
    topology = Topology(
        Namespace("gw"),
        Namespace("a"),
        Bridge("lan", namespace="gw", address="10.0.0.1/24"),
        Veth("a", "lan", address="10.0.0.2/24"),
        Veth("a", "gw"),
    )

    assert names(topology, "gw") == ["lan", "a-eth0", "eth0"]
    assert addresses(topology, "gw:lan") == ["10.0.0.1/24"]
    assert [port.ifname for port in topology.layout.ports["lan"]] == ["a-eth0"]


def test_two_namespaces_may_use_the_same_interface_names() -> None:
    """Names of interfaces are each namespace's own, up to 15 characters."""
    topology = Topology(
        Namespace("a"), Namespace("b"), Veth("a:abcdefghijklmno", "b:abcdefghijklmno")
    )

    assert names(topology, "a") == names(topology, "b") == ["abcdefghijklmno"]


def test_a_cable_may_be_declared_before_what_it_joins() -> None:
    """Order is the user's own."""
    topology = Topology(Veth("a", "br0"), Bridge("br0"), Namespace("a"))

    assert names(topology, "br0") == ["a-eth0"]


def test_a_mtu_of_a_bridge_is_that_of_its_cables() -> None:
    """A cable's own MTU wins, and of two bridges the smaller one."""
    topology = Topology(
        Namespace("a"),
        Bridge("br0", mtu=9000),
        Bridge("br1", mtu=1400),
        Veth("a:eth0", "br0"),
        Veth("a:eth1", "br0", mtu=1300),
        Veth("br0", "br1"),
    )

    mtus = [cable.a.mtu for cable in topology.layout.cables]
    assert mtus == [9000, 1300, 1400]
    assert [cable.b.mtu for cable in topology.layout.cables] == mtus


def test_the_other_end_of_a_cable_is_found() -> None:
    """Each end leads to the other, and a bridge's device to nothing."""
    topology = LAN.with_records(Bridge("br1", namespace="left"))
    layout = topology.layout
    cable = layout.cables[0]

    assert layout.peer_of(cable.a) is cable.b
    assert layout.peer_of(cable.b) is cable.a
    assert layout.peer_of(layout.bridge_devices["br1"]) is None
    assert [one.endpoint for one in layout.interfaces_of("left")] == [
        "left:eth0",
        "left:br1",
    ]
    assert layout.interfaces_of("nobody") == []


# --- duplicate names ---


@pytest.mark.parametrize(
    "other",
    [Namespace("x", forwarding=True), Bridge("x", stp=True)],
    ids=["namespace", "bridge"],
)
def test_two_records_with_one_name_are_both_shown(other: Namespace | Bridge) -> None:
    """Namespaces and bridges share one set of names."""
    with pytest.raises(DuplicateName) as caught:
        Topology(Namespace("x"), other)

    assert str(caught.value) == (
        f"two records are named 'x': {Namespace('x')!r} and {other!r}"
    )


def test_two_links_on_one_interface_are_both_shown() -> None:
    """Which of the two was meant is for the user to see."""
    with pytest.raises(DuplicateName) as caught:
        Topology(
            Namespace("a"),
            Namespace("b"),
            Veth("a:eth0", "b:eth0"),
            Veth("a:eth0", "b:eth1"),
        )

    assert str(caught.value) == (
        "two links claim interface 'eth0' of 'a': "
        "Veth('a:eth0', 'b:eth0') and Veth('a:eth0', 'b:eth1')"
    )


@pytest.mark.parametrize(
    "records",
    [
        [Veth("a:eth0", "a:eth0")],
        [Veth("a:x", "br0:p"), Veth("a:y", "br0:p")],
        [Bridge("lan", namespace="a"), Veth("a:lan", "br0")],
        [Veth("a:lan", "br0"), Bridge("lan", namespace="a")],
        [Bridge("lan", namespace="a"), Veth("a:p", "br0"), Veth("br0:q", "lan:p")],
        [Veth("a", "br0"), Veth("a:eth0", "br0")],
    ],
    ids=["itself", "port", "bridge-first", "cable-first", "port-of-namespace", "given"],
)
def test_one_interface_is_claimed_only_once(records: Sequence[Record]) -> None:
    """Cables, ports and bridges in a namespace share its interface names."""
    with pytest.raises(DuplicateName, match="two links claim interface"):
        Topology(Namespace("a"), Bridge("br0"), *records)


@pytest.mark.parametrize("endpoint", ["a:lo", "br0:lo"])
def test_the_loopback_interface_takes_no_cable(endpoint: str) -> None:
    """Every namespace has 'lo' from its birth, that of a bridge as well."""
    with pytest.raises(DuplicateName, match="is the loopback interface") as caught:
        Topology(Namespace("a"), Namespace("b"), Bridge("br0"), Veth(endpoint, "b"))

    assert repr(Veth(endpoint, "b")) in str(caught.value)


def test_a_port_does_not_have_the_name_of_its_bridge() -> None:
    """A hidden bridge is an interface where its ports are."""
    with pytest.raises(DuplicateName, match="port 'br0' has the name of its bridge"):
        Topology(Namespace("a"), Bridge("br0"), Veth("a", "br0:br0"))


def test_one_route_or_neighbour_is_declared_once() -> None:
    """The kernel would refuse the second; both are shown before it comes to that."""
    with pytest.raises(DuplicateName) as caught:
        LAN.with_records(
            Namespace(
                "a",
                routes=[
                    Route("10.9.0.0/16", dev="lo"),
                    Route("10.9.0.0/16", dev="lo", scope="host"),
                ],
            )
        )
    assert (
        "Route('10.9.0.0/16', dev='lo') and Route('10.9.0.0/16', dev='lo', scope"
        in str(caught.value)
    )

    twice = [
        Neighbour("10.0.0.9", "02:00:00:00:00:09", dev="lo"),
        Neighbour("10.0.0.9", "02:00:00:00:00:0a", dev="lo"),
    ]
    with pytest.raises(
        DuplicateName, match="namespace 'a' has two records for one thing"
    ):
        Topology(Namespace("a", neighbours=twice))


def test_routes_that_differ_in_metric_or_table_are_two() -> None:
    """Of two routes with one destination the lower metric wins."""
    topology = Topology(
        Namespace(
            "a",
            routes=[
                Route("10.9.0.0/16", dev="lo"),
                Route("10.9.0.0/16", dev="lo", metric=5),
                Route("10.9.0.0/16", dev="lo", table=100),
            ],
        )
    )

    assert len(topology) == 1


# --- unknown names ---


@pytest.mark.parametrize(
    "record",
    [Veth("lefd", "br0"), Veth("br0", "lefd:eth7"), Bridge("lan", namespace="lefd")],
)
def test_an_unknown_name_is_shown_with_the_known_and_the_nearest(
    record: Record,
) -> None:
    """A misspelt name is recognised."""
    with pytest.raises(UnknownName) as caught:
        LAN.with_records(record)

    message = str(caught.value)
    assert message.startswith(f"unknown namespace or bridge 'lefd' in {record!r}; ")
    assert "known: 'br0', " in message
    assert "'left', 'right'" in message
    assert message.endswith("(did you mean 'left'?)")


def test_a_name_that_is_near_to_none_gets_no_suggestion() -> None:
    """A far-fetched suggestion would mislead."""
    with pytest.raises(UnknownName) as caught:
        LAN.with_records(Veth("zzz", "br0"))

    assert str(caught.value).endswith("known: 'br0', 'left', 'right'")


def test_a_topology_without_names_says_so() -> None:
    """There is nothing to suggest."""
    with pytest.raises(UnknownName, match="there is no namespace or bridge at all"):
        Topology(Veth("a", "b"))


def test_a_bridge_does_not_live_in_a_bridge() -> None:
    """The namespace of a bridge is a namespace."""
    with pytest.raises(UnknownName, match="unknown namespace or bridge 'br0'"):
        Topology(Bridge("br0"), Bridge("br1", namespace="br0"))


@pytest.mark.parametrize(
    "namespace",
    [
        Namespace("a", routes=[Route("10.9.0.0/16", dev="eth1")]),
        Namespace(
            "a", neighbours=[Neighbour("10.0.0.9", "02:00:00:00:00:09", dev="eth1")]
        ),
    ],
    ids=["route", "neighbour"],
)
def test_a_dev_that_is_not_there_is_shown_with_those_that_are(
    namespace: Namespace,
) -> None:
    """The interfaces of the same namespace are the known ones."""
    with pytest.raises(UnknownName) as caught:
        Topology(namespace, Namespace("b"), Veth("a:eth0", "b:wan"), Veth("a:lan", "b"))

    message = str(caught.value)
    what = (*namespace.routes, *namespace.neighbours)[0]
    assert f"unknown interface 'eth1' in {what!r} of namespace 'a'" in message
    assert message.endswith("known: 'eth0', 'lan' (did you mean 'eth0'?)")


def test_every_namespace_has_its_loopback_for_routes() -> None:
    """'lo' need not be declared."""
    Topology(Namespace("a", routes=[Route("10.9.0.0/16", dev="lo")]))


# --- gateways and sources ---


def gateway(via: str, dev: str | None = None, *more: Route) -> Topology:
    """Route `a`, which has 10.0.0.2/24 on eth0 and fd00::2/64 on eth1, over `via`."""
    return Topology(
        Namespace("a", routes=[*more, Route("default", via=via, dev=dev)]),
        Namespace("b"),
        Veth("a:eth0", "b", address="10.0.0.2/24"),
        Veth("a:eth1", "b", address="fd00::2/64"),
    )


@pytest.mark.parametrize(
    ("via", "dev"),
    [
        ("10.0.0.1", None),
        ("10.0.0.1", "eth0"),
        ("fd00::1", None),
        ("fd00::1", "eth1"),
        ("fe80::1", "eth0"),
    ],
)
def test_a_gateway_on_a_connected_network_is_taken(via: str, dev: str | None) -> None:
    """A link-local gateway is on every link."""
    assert len(gateway(via, dev)) == 4


@pytest.mark.parametrize(
    ("via", "dev", "why"),
    [
        (
            "10.0.1.1",
            None,
            (
                "gateway 10.0.1.1 is off every connected network; "
                "connected: 10.0.0.0/24, fd00::/64"
            ),
        ),
        (
            "fd00::1",
            "eth0",
            (
                "gateway fd00::1 is off every connected network of 'eth0'; "
                "connected: 10.0.0.0/24"
            ),
        ),
        ("10.0.0.2", None, "the gateway is the namespace itself"),
    ],
)
def test_a_gateway_off_every_connected_network_is_refused(
    via: str, dev: str | None, why: str
) -> None:
    """The message has the route, the namespace, and what is connected."""
    with pytest.raises(InvalidAddress) as caught:
        gateway(via, dev)

    route = Route("default", via=via, dev=dev)
    assert str(caught.value) == f"{route!r} of namespace 'a': {why}"


def test_a_gateway_may_be_reached_over_an_on_link_route() -> None:
    """A route without a gateway connects its network, if it is on the same device."""
    on_link = Route("192.0.2.0/24", dev="eth0")

    assert len(gateway("192.0.2.1", None, on_link)) == 4
    assert len(gateway("192.0.2.1", "eth0", on_link)) == 4
    with pytest.raises(InvalidAddress, match="off every connected network of 'eth1'"):
        gateway("192.0.2.1", "eth1", on_link)


def test_a_default_route_does_not_connect_everything() -> None:
    """That would make every gateway a connected one."""
    with pytest.raises(InvalidAddress, match="off every connected network"):
        gateway("192.0.2.1", None, Route("default", dev="eth0", metric=9))


def test_a_gateway_without_any_address_is_off_every_network() -> None:
    """With no address at all, nothing is connected."""
    with pytest.raises(InvalidAddress, match="connected: none"):
        Topology(
            Namespace("a", routes=[Route("default", via="10.0.0.1")]),
            Namespace("b"),
            Veth("a", "b"),
        )


def test_an_address_from_a_subnet_connects_as_well() -> None:
    """Gateways are checked when all addresses are known."""
    Topology(
        Namespace("a", routes=[Route("default", via="10.0.0.1")]),
        Namespace("b"),
        Veth("b", "a", subnet="10.0.0.0/24"),
    )


def test_a_source_is_one_of_the_namespaces_own_addresses() -> None:
    """The kernel would refuse another one."""
    with pytest.raises(
        InvalidAddress, match="the source is not an address of the namespace"
    ):
        LAN.with_records(
            Namespace(
                "c", routes=[Route("10.0.0.0/24", dev="eth0", source="10.0.0.9")]
            ),
            Veth("c", "br0", address="10.0.0.8/24"),
        )


# --- addresses on segments ---


def test_an_address_twice_on_one_bridge_shows_both_records() -> None:
    """The prefix does not matter: the address is one."""
    with pytest.raises(InvalidAddress) as caught:
        LAN.with_records(Namespace("c"), Veth("c", "br0", address="10.0.1.1/16"))

    assert str(caught.value) == (
        "address 10.0.1.1 is twice on one segment: "
        "Veth('left:eth0', 'br0', address='10.0.1.1/24') and "
        "Veth('c', 'br0', address='10.0.1.1/16')"
    )


def test_an_address_twice_on_one_cable_is_refused() -> None:
    """A cable between two namespaces is a segment."""
    with pytest.raises(InvalidAddress, match="fd00::1 is twice on one segment"):
        Topology(
            Namespace("a"),
            Namespace("b"),
            Veth("a", "b", address="fd00::1/64", peer_address="fd00::1/64"),
        )


def test_an_address_twice_on_one_interface_is_refused() -> None:
    """The kernel would refuse the second."""
    with pytest.raises(InvalidAddress, match="is twice on one segment"):
        Topology(
            Namespace("a"),
            Namespace("b"),
            Veth("a", "b", address=["10.0.0.1/24", "10.0.0.1/16"]),
        )


def test_a_bridges_own_address_is_on_its_segment() -> None:
    """A bridge in a namespace is a machine of its segment."""
    with pytest.raises(InvalidAddress, match="is twice on one segment"):
        Topology(
            Namespace("gw"),
            Namespace("a"),
            Bridge("lan", namespace="gw", address="10.0.0.1/24"),
            Veth("a", "lan", address="10.0.0.1/24"),
        )


TWO_SWITCHES = Topology(
    Namespace("a"),
    Namespace("b"),
    Bridge("br0"),
    Bridge("br1"),
    Veth("a", "br0", address="10.0.0.1/24"),
    Veth("b", "br1", address="10.0.0.1/24"),
)


def test_an_address_may_be_on_two_segments() -> None:
    """Two switches that are not joined know nothing of each other."""
    assert addresses(TWO_SWITCHES, "a:eth0") == addresses(TWO_SWITCHES, "b:eth0")


def test_a_cable_that_joins_two_segments_finds_the_address_that_both_have() -> None:
    """The message shows both records and the cable that brought them together."""
    trunk = Veth("br0", "br1")

    with pytest.raises(InvalidAddress) as caught:
        TWO_SWITCHES.with_records(trunk)

    message = str(caught.value)
    assert message.startswith("address 10.0.0.1 is twice on one segment: ")
    assert repr(Veth("a", "br0", address="10.0.0.1/24")) in message
    assert repr(Veth("b", "br1", address="10.0.0.1/24")) in message
    assert message.endswith(f"(joined by {trunk!r})")


def test_joined_switches_stay_one_segment() -> None:
    """An address that comes later is looked for behind every joined switch."""
    with pytest.raises(InvalidAddress, match=r"10\.0\.0\.1 is twice on one segment"):
        Topology(
            *(Namespace(name) for name in "abc"),
            *(Bridge(f"br{number}") for number in range(3)),
            Veth("a", "br0", address="10.0.0.1/24"),
            Veth("br0", "br1"),
            Veth("br1", "br2"),
            Veth("c", "br2", address="10.0.0.1/24"),
        )


def test_a_port_has_no_address() -> None:
    """The kernel ignores addresses of ports; the machine at the other end has it."""
    with pytest.raises(
        InvalidAddress, match="gives an address to a port of bridge 'br0'"
    ):
        Topology(
            Namespace("a"), Bridge("br0"), Veth("a", "br0", peer_address="10.0.0.1/24")
        )


# --- subnets ---


def test_a_cables_subnet_gives_each_end_the_next_host() -> None:
    """First this end, then the peer, and an end that has an address keeps it."""
    machines = [Namespace("a"), Namespace("b")]
    both = Topology(*machines, Veth("a", "b", subnet="10.0.0.0/24"))
    one = Topology(
        *machines, Veth("a", "b", subnet="10.0.0.0/24", address="10.0.0.1/24")
    )

    assert addresses(both, "a:eth0") == ["10.0.0.1/24"]
    assert addresses(both, "b:eth0") == ["10.0.0.2/24"]
    assert addresses(one, "a:eth0") == ["10.0.0.1/24"]
    assert addresses(one, "b:eth0") == ["10.0.0.2/24"]


def test_the_peers_own_address_is_not_given_to_this_end() -> None:
    """Addresses that are written down come first, on whichever end they are."""
    topology = Topology(
        Namespace("a"),
        Namespace("b"),
        Veth("a", "b", subnet="10.0.0.0/24", peer_address="10.0.0.1/24"),
    )

    assert addresses(topology, "a:eth0") == ["10.0.0.2/24"]
    assert addresses(topology, "b:eth0") == ["10.0.0.1/24"]


def test_a_bridges_subnet_numbers_everyone_on_it_in_order_of_declaration() -> None:
    """IPv4 and IPv6 are handed out together, to the bridge's own device as well."""
    topology = Topology(
        Namespace("gw"),
        Namespace("a"),
        Namespace("b"),
        Bridge("lan", namespace="gw", subnet=("10.0.0.0/24", "fd00::/64")),
        Veth("a", "lan"),
        Veth("lan", "b"),
    )

    assert addresses(topology, "gw:lan") == ["10.0.0.1/24", "fd00::1/64"]
    assert addresses(topology, "a:eth0") == ["10.0.0.2/24", "fd00::2/64"]
    assert addresses(topology, "b:eth0") == ["10.0.0.3/24", "fd00::3/64"]
    assert addresses(topology, "gw:a-eth0") == []


def test_an_end_gets_what_its_families_lack() -> None:
    """An end with an IPv4 address of its own still gets one of IPv6."""
    topology = Topology(
        Namespace("a"),
        Namespace("b"),
        Bridge("br0", subnet=("10.0.0.0/24", "fd00::/64")),
        Veth("a", "br0", address="192.0.2.1/24"),
        Veth("b", "br0"),
    )

    assert addresses(topology, "a:eth0") == ["192.0.2.1/24", "fd00::1/64"]
    assert addresses(topology, "b:eth0") == ["10.0.0.1/24", "fd00::2/64"]


def test_a_cables_subnet_goes_before_that_of_its_bridge() -> None:
    """What is nearer to the end wins."""
    topology = Topology(
        Namespace("a"),
        Bridge("br0", subnet="10.0.0.0/24"),
        Veth("a", "br0", subnet="10.1.0.0/24"),
    )

    assert addresses(topology, "a:eth0") == ["10.1.0.1/24"]


def test_hand_out_skips_what_is_taken() -> None:
    """An address that was written down before is not given again."""
    topology = Topology(
        *(Namespace(name) for name in "abc"),
        Bridge("br0", subnet="10.0.0.0/24"),
        Veth("a", "br0", address="10.0.0.2/24"),
        Veth("b", "br0"),
        Veth("c", "br0"),
    )

    assert addresses(topology, "b:eth0") == ["10.0.0.1/24"]
    assert addresses(topology, "c:eth0") == ["10.0.0.3/24"]


def test_joined_switches_hand_out_one_subnet_together() -> None:
    """Two bridges on one segment never give one address twice."""
    topology = Topology(
        *(Namespace(name) for name in "abcd"),
        Bridge("br0", subnet="10.0.0.0/24"),
        Bridge("br1", subnet="10.0.0.0/24"),
        Veth("br0", "br1"),
        Veth("a", "br0"),
        Veth("b", "br1"),
        Veth("c", "br0"),
        Veth("d", "br1"),
    )

    given = [addresses(topology, f"{name}:eth0") for name in "abcd"]
    assert given == [[f"10.0.0.{number}/24"] for number in range(1, 5)]


@pytest.mark.parametrize(
    ("subnet", "first", "second"),
    [
        ("10.0.0.0/31", "10.0.0.0/31", "10.0.0.1/31"),
        ("10.0.0.0/30", "10.0.0.1/30", "10.0.0.2/30"),
        ("fd00::/127", "fd00::/127", "fd00::1/127"),
        ("fd00::/126", "fd00::1/126", "fd00::2/126"),
        ("fd00::/64", "fd00::1/64", "fd00::2/64"),
        ("0.0.0.0/0", "0.0.0.1/0", "0.0.0.2/0"),
    ],
)
def test_a_small_subnet_gives_all_the_hosts_that_it_has(
    subnet: str, first: str, second: str
) -> None:
    """A subnet of two spares no address for itself or a broadcast."""
    topology = Topology(Namespace("a"), Namespace("b"), Veth("a", "b", subnet=subnet))

    assert addresses(topology, "a:eth0") == [first]
    assert addresses(topology, "b:eth0") == [second]


@pytest.mark.parametrize(
    ("subnet", "hosts"),
    [("10.0.0.0/30", 2), ("10.0.0.0/31", 2), ("10.0.0.0/32", 1), ("fd00::/126", 3)],
)
def test_a_subnet_without_a_host_left_names_the_record_in_want(
    subnet: str, hosts: int
) -> None:
    """The last host is given, and the next record is refused."""
    fitting = Topology(
        Bridge("br0", subnet=subnet),
        *(Namespace(f"n{number}") for number in range(hosts)),
        *(Veth(f"n{number}", "br0") for number in range(hosts)),
    )

    with pytest.raises(InvalidAddress) as caught:
        fitting.with_records(Namespace("more"), Veth("more", "br0"))

    assert str(caught.value) == (
        f"subnet {subnet} has no host address left for Veth('more', 'br0')"
    )


# --- limits, and what is no record ---


def test_a_bridge_holds_1023_ports_and_not_one_more() -> None:
    """The message names the bridge, the kernel's limit, and the cable too many."""
    full = Topology(
        Bridge("br0"),
        *(Namespace(f"n{number}") for number in range(1023)),
        *(Veth(f"n{number}", "br0") for number in range(1023)),
    )
    one_more = Veth("more", "br0")

    with pytest.raises(TopologyError) as caught:
        full.with_records(Namespace("more"), one_more)

    message = str(caught.value)
    assert "bridge 'br0' is full" in message
    assert "1,024" in message
    assert "1,023 ports is the limit" in message
    assert repr(one_more) in message


@pytest.mark.parametrize(
    "record", ["left", None, Route("default", dev="eth0"), Topology(), Namespace]
)
def test_what_is_no_record_of_a_topology_is_refused(record: object) -> None:
    """The message says what the records of a topology are."""
    with pytest.raises(
        TopologyError, match="those are Namespace, Host, Bridge, OVSBridge and Veth"
    ) as caught:
        Topology(record)  # type: ignore[arg-type]

    assert repr(record) in str(caught.value)
