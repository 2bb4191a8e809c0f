"""Topologies that can be built: whatever names, cables, addresses and tables they have.

Each is made in two steps. First machines, switches and cables, which give the
interfaces their names and addresses; then what goes by those: routes, neighbours,
rules of NAT, settings of interfaces.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Masquerade,
    Namespace,
    Neighbour,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from tests.inputs.any_records import topology_of

if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface

    from hypothesis.strategies import SearchStrategy

    from pytest_netns._layout import Interface
    from pytest_netns._record import Record

#: Names that are right, however odd they look.
MACHINES = ["a", "b", "50%", "-x", "é", "$HOME", "it's", 'q"q', "x" * 64, "lo", "eth0"]
SWITCHES = ["br0", "br1", "s*", "\N{SNOWMAN}", "-", "x" * 15, "1", "br0.5", "$(id)"]
IFNAMES = ["eth0", "eth1", "wan", "a-eth0", "v.10", "é", "-a", "x" * 15, "eth*", "a;b"]
#: What a cable may hand out, or a bridge.
SUBNETS = ["10.0.0.0/24", "10.1.0.0/29", "fd00::/64", ("10.2.0.0/24", "fd02::/120")]
LLADDRS = ["02:00:00:00:00:01", "fe:ff:ff:ff:ff:ff", "00:00:00:00:00:01"]
#: Sysctls of a namespace, with what may be written there.
SYSCTLS: dict[str, SearchStrategy[Any]] = {
    "net.ipv4.tcp_syncookies": st.sampled_from([0, 1, 2, False, "1"]),
    "net.ipv4.ip_default_ttl": st.integers(1, 255),
    "net/ipv4/tcp_fin_timeout": st.integers(1, 120),
    "net.ipv4.ip_local_port_range": st.just("20000\t30000"),
    "net.ipv4.conf.default.rp_filter": st.integers(0, 2),
    "net.ipv6.conf.all.hop_limit": st.integers(1, 255),
    "net.core.somaxconn": st.integers(1, 2**31 - 1),
}
RULESETS = [
    "",
    "table inet a {}",
    "add table ip b\nadd chain ip b c\n",
    "flush ruleset\ntable inet a {\nchain c {\ntype filter hook input priority 0\n}\n}",
]

lladdrs = st.sampled_from([None, None, *LLADDRS])
mtus = st.sampled_from([None, None, 68, 1280, 1500, 9000, 65535])
subnets = st.sampled_from([None, *SUBNETS])


def _addresses(number: int) -> SearchStrategy[list[str]]:
    """Return addresses that only the cable of this number has, at one of its ends."""
    return st.lists(
        st.sampled_from(
            [
                f"10.{100 + number // 200}.{number % 200}.{{}}/24",
                f"172.16.{number % 200}.{{}}/32",
                f"fd10:{number:x}::{{}}/64",
                f"fd11:{number:x}::{{}}/128",
            ]
        ),
        max_size=3,
        unique=True,
    )


@st.composite
def _cable(draw: st.DrawFn, number: int, nodes: list[str], ports: set[str]) -> Veth:
    def end() -> str:
        node = draw(st.sampled_from(nodes))
        names = [None, None, f"p{number}"] if node in ports else [None, *IFNAMES]
        ifname = draw(st.sampled_from(names))
        return node if ifname is None else f"{node}:{ifname}"

    a, b = end(), end()
    sides = [number * 2 + 1, number * 2 + 2]
    addresses = [
        [] if one.partition(":")[0] in ports else draw(_addresses(number))
        for one in (a, b)
    ]
    return Veth(
        a,
        b,
        address=[text.format(sides[0] % 200 + 1) for text in addresses[0]],
        peer_address=[text.format(sides[1] % 200 + 1) for text in addresses[1]],
        subnet=None
        if {a.partition(":")[0], b.partition(":")[0]} <= ports
        else draw(subnets),
        lladdr=draw(lladdrs),
        peer_lladdr=draw(lladdrs),
        mtu=draw(mtus),
        offload=draw(st.booleans()),
    )


@st.composite
def _bridge(draw: st.DrawFn, name: str, number: int, machines: list[str]) -> Bridge:
    namespace = draw(st.sampled_from([None, None, *machines]))
    address = f"10.200.{number}.1/24"
    return Bridge(
        name,
        namespace=namespace,
        address=[address] if namespace and draw(st.booleans()) else (),
        subnet=draw(subnets),
        stp=draw(st.booleans()),
        # a kernel may lack it; that it is asked for has its own tests
        mtu=draw(mtus),
        lladdr=draw(lladdrs),
    )


@st.composite
def _skeleton(draw: st.DrawFn) -> Topology:
    """Machines, switches, and those of some cables that fit."""
    machines = draw(
        st.lists(st.sampled_from(MACHINES), min_size=1, max_size=4, unique=True)
    )
    switches = draw(
        st.lists(
            st.sampled_from([one for one in SWITCHES if one not in machines]),
            max_size=2,
            unique=True,
        )
    )
    topology = Topology(*map(Namespace, machines))
    for number, name in enumerate(switches):
        topology = _with(topology, draw(_bridge(name, number, machines)))
    there = [*machines, *topology.layout.bridges]
    ports = {*topology.layout.bridges}
    for number in range(draw(st.integers(0, 6))):
        cable = draw(_cable(number, there, ports))
        if not _closes_a_loop(topology, cable, ports):
            topology = _with(topology, cable)
    return topology


def _closes_a_loop(topology: Topology, cable: Veth, ports: set[str]) -> bool:
    """Tell whether frames could go round for ever, and leave the kernel no time.

    There are two switches at most, so that one cable between them is enough.
    """
    if not _nodes_of(cable) <= ports:
        return False
    others = [one for one in topology if isinstance(one, Veth)]
    return len(_nodes_of(cable)) == 1 or any(_nodes_of(one) <= ports for one in others)


def _nodes_of(cable: Veth) -> set[str]:
    return {end.partition(":")[0] for end in (cable.a, cable.b)}


def _with(topology: Topology, record: Record) -> Topology:
    try:
        return topology.with_records(record)
    except TopologyError:
        return topology


@st.composite
def _furnished(draw: st.DrawFn) -> Topology:
    skeleton = draw(_skeleton())
    records = [*skeleton]
    for position, plain in enumerate(skeleton):
        if isinstance(plain, Namespace):
            records[position] = draw(_namespace(skeleton, plain))
            if topology_of(records) is None:  # such as a route of IPv6 at a small MTU
                records[position] = plain
    topology = Topology(*records)
    # in another order names and addresses are given out differently, and may not fit
    shuffled = topology_of(draw(st.permutations(records)))
    return shuffled or topology


@st.composite
def _namespace(draw: st.DrawFn, skeleton: Topology, plain: Namespace) -> Namespace:
    """Give a namespace what goes by its interfaces."""
    interfaces = skeleton.layout.interfaces_of(plain.name)
    return dataclasses.replace(
        plain,
        routes=draw(_routes(interfaces)),
        neighbours=draw(_neighbours(interfaces)),
        nat=draw(_rules(interfaces)),
        nftables=draw(st.sampled_from(RULESETS)),
        forwarding=draw(st.booleans()),
        sysctls=draw(_sysctls(interfaces)),
        hosts=draw(
            st.dictionaries(
                st.sampled_from(["db", "WWW.example", "é"]),
                st.sampled_from(["10.9.9.9", "fd99::9", ("10.9.9.8", "fd99::8")]),
                max_size=2,
            )
        ),
        nameservers=draw(st.sampled_from([(), "10.0.0.53", ("10.0.0.53", "fd00::53")])),
        hostname=draw(st.sampled_from([None, "hostname", "x" * 64])),
    )


def _owned(
    interfaces: list[Interface],
) -> list[tuple[str, IPv4Interface | IPv6Interface]]:
    return [(one.ifname, address) for one in interfaces for address in one.addresses]


@st.composite
def _routes(draw: st.DrawFn, interfaces: list[Interface]) -> list[Route]:
    if not interfaces:
        return []
    routes = {}
    for number in range(draw(st.integers(0, 3))):
        owned = draw(st.sampled_from([None, *_owned(interfaces)]))
        table = draw(st.sampled_from([None, None, 100, 4_000_000_000]))
        metric = draw(st.sampled_from([None, 1, 77, 2**32 - 1]))
        if owned is None:
            dev = draw(st.sampled_from(interfaces)).ifname
            destination = draw(
                st.sampled_from([f"10.77.{number}.0/24", f"fd77:{number}::/64"])
            )
            route = Route(destination, dev=dev, table=table, metric=metric)
        else:
            own = {address.ip for _, address in _owned(interfaces)}
            route = draw(_via(number, *owned, own, table=table, metric=metric))
        routes[route.destination, table] = route
    return [*routes.values()]


@st.composite
def _via(
    draw: st.DrawFn,
    number: int,
    ifname: str,
    address: IPv4Interface | IPv6Interface,
    own: set[Any],
    /,
    **more: Any,
) -> Route:
    four, network = address.version == 4, address.network
    elsewhere = f"10.88.{number}.0/24" if four else f"fd88:{number}::/64"
    gateways: list[str | None] = [None]
    if network.num_addresses > 4:
        gateways = [str(network[one]) for one in (1, 2, 3) if network[one] not in own]
    gateways = gateways or [None]
    if not four:
        gateways.append("fe80::9")
    return Route(
        draw(st.sampled_from(["default", elsewhere])),
        via=draw(st.sampled_from(gateways)),
        dev=ifname,
        source=draw(st.sampled_from([None, str(address.ip)])),
        **more,
    )


@st.composite
def _neighbours(draw: st.DrawFn, interfaces: list[Interface]) -> list[Neighbour]:
    if not interfaces:
        return []
    some = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["10.55.0.1", "10.55.0.2", "fd55::1", "fe80::55"]),
                st.sampled_from([one.ifname for one in interfaces]),
            ),
            max_size=2,
            unique=True,
        )
    )
    return [
        Neighbour(address, draw(st.sampled_from(LLADDRS)), dev=dev)
        for address, dev in some
    ]


@st.composite
def _rules(
    draw: st.DrawFn, interfaces: list[Interface]
) -> list[Masquerade | SNAT | DNAT]:
    # nftables has no way to write a quote, which a port may have from its namespace
    named = [one.ifname for one in interfaces if '"' not in one.ifname]
    names = [None, "lo", *named]
    kinds: list[SearchStrategy[Any]] = [
        st.builds(
            Masquerade,
            source=st.sampled_from([None, "10.0.0.0/24", ("10.0.0.0/24", "fd00::/64")]),
            out_interface=st.sampled_from(names),
        ),
        st.builds(
            SNAT,
            st.sampled_from(["192.0.2.1", "192.0.2.1:1024"]),
            source=st.sampled_from([None, "10.0.0.0/8", ("10.0.0.1", "10.0.0.2")]),
            out_interface=st.sampled_from(names),
        ),
        st.builds(
            DNAT,
            st.sampled_from(["[fd00::2]:80", "fd00::2"]),
            port=st.integers(1, 65535),
            protocol=st.sampled_from(["tcp", "udp"]),
            destination=st.sampled_from([None, "fd00::1", "::/0"]),
            in_interface=st.sampled_from(names),
        ),
    ]
    return draw(st.lists(st.one_of(kinds), max_size=3))


@st.composite
def _sysctls(draw: st.DrawFn, interfaces: list[Interface]) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from([*SYSCTLS]), max_size=3, unique=True))
    sysctls = {key: draw(SYSCTLS[key]) for key in chosen}
    for one in interfaces:
        if draw(st.integers(0, 4)) == 0:
            # in keys, dots and slashes change places: sysctl(8)
            name = one.ifname.replace(".", "/")
            sysctls[f"net.ipv4.conf.{name}.rp_filter"] = draw(st.integers(0, 2))
    return sysctls


#: Machines, switches and cables that fit together.
skeletons: SearchStrategy[Topology] = _skeleton()
#: The same, with routes and all that machines may have besides.
topologies: SearchStrategy[Topology] = _furnished()
