from __future__ import annotations

import itertools
from ipaddress import ip_interface

from pytest_netns import Bridge, Namespace, Neighbour, Route, Topology, Veth
from pytest_netns._plan import plan
from pytest_netns._steps import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddRoute,
    AddVeth,
    AwaitAddress,
    CreateNamespace,
    DisableOffload,
    LendSwitch,
    SetMaster,
    Settle,
    SetUp,
    Step,
    WriteSysctl,
)

#: What every namespace starts with.
DEFAULTS = (("net.ipv6.conf.default.accept_dad", "0"),)


def steps(*records: Namespace | Bridge | Veth) -> tuple[Step, ...]:
    """Plan a whole network."""
    return plan(Topology(*records).layout)


def position(planned: tuple[Step, ...], step: Step) -> int:
    """Return where `step` is; it must be there once."""
    assert planned.count(step) == 1
    return planned.index(step)


def test_two_machines_on_a_switch_become_these_steps() -> None:
    """Namespaces and switches come first, then cables, then what is on them."""
    left = Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")])
    right = Namespace("right")
    br0 = Bridge("br0")
    one = Veth("left:eth0", "br0", address="10.0.1.1/24")
    other = Veth("right:eth0", "br0", address="10.0.0.1/24")

    assert steps(left, right, br0, one, other) == (
        CreateNamespace("left", left, DEFAULTS),
        CreateNamespace("right", right, DEFAULTS),
        LendSwitch("br0", br0, br0),
        AddVeth("br0", one, "left-eth0", "left", "eth0"),
        AddVeth("br0", other, "right-eth0", "right", "eth0"),
        SetUp("left", left, "lo"),
        SetUp("left", one, "eth0"),
        AddAddress("left", one, "eth0", ip_interface("10.0.1.1/24")),
        AddRoute("left", left, left.routes[0], 4),
        SetUp("right", right, "lo"),
        SetUp("right", other, "eth0"),
        AddAddress("right", other, "eth0", ip_interface("10.0.0.1/24")),
        SetMaster("br0", one, "left-eth0", "br0"),
        SetMaster("br0", other, "right-eth0", "br0"),
        Settle("br0", one, "left-eth0"),
        Settle("br0", other, "right-eth0"),
    )


def test_a_cable_between_two_machines_becomes_these_steps() -> None:
    """MAC addresses and MTU are given at birth, both addresses after it."""
    red, blue = Namespace("red"), Namespace("blue")
    cable = Veth(
        "red:a",
        "blue:b",
        address=["10.0.0.1/24", "fd00::1/64"],
        peer_address="10.0.0.2/24",
        lladdr="02:00:00:00:00:01",
        peer_lladdr="02:00:00:00:00:02",
        mtu=1400,
    )

    assert steps(red, blue, cable) == (
        CreateNamespace("red", red, DEFAULTS),
        CreateNamespace("blue", blue, DEFAULTS),
        AddVeth(
            "red",
            cable,
            "a",
            "blue",
            "b",
            "02:00:00:00:00:01",
            "02:00:00:00:00:02",
            1400,
        ),
        SetUp("red", red, "lo"),
        AddAddress("red", cable, "a", ip_interface("10.0.0.1/24")),
        AddAddress("red", cable, "a", ip_interface("fd00::1/64")),
        SetUp("blue", blue, "lo"),
        SetUp("blue", cable, "b"),
        AddAddress("blue", cable, "b", ip_interface("10.0.0.2/24")),
        Settle("red", cable, "a"),
        AwaitAddress("red", cable, "fd00::1"),
    )


def test_a_port_sends_the_request_whichever_end_it_is() -> None:
    """MAC addresses stay with their ends when the peer is the one that asks."""
    cable = Veth(
        "a", "br0", lladdr="02:00:00:00:00:01", peer_lladdr="02:00:00:00:00:02"
    )

    planned = steps(Namespace("a"), Bridge("br0"), cable)

    assert (
        AddVeth(
            "br0",
            cable,
            "a-eth0",
            "a",
            "eth0",
            lladdr="02:00:00:00:00:02",
            peer_lladdr="02:00:00:00:00:01",
        )
        in planned
    )


def test_a_cable_between_two_bridges_makes_both_ends_ports() -> None:
    """Each end is plugged in when both are up."""
    trunk = Veth("br0:up", "br1:down")

    planned = steps(Bridge("br0"), Bridge("br1"), trunk)

    assert planned[2:] == (
        AddVeth("br0", trunk, "up", "br1", "down"),
        SetUp("br1", trunk, "down"),
        SetMaster("br0", trunk, "up", "br0"),
        SetMaster("br1", trunk, "down", "br1"),
        Settle("br0", trunk, "up"),
    )


def test_a_bridge_in_a_namespace_is_made_before_its_ports() -> None:
    """It is a device of the namespace and nothing is lent."""
    gw = Namespace("gw")
    lan = Bridge("lan", namespace="gw", address="10.0.0.1/24")
    cable = Veth("a", "lan")

    planned = steps(gw, Namespace("a"), cable, lan)

    assert planned.index(AddBridge("gw", lan, "lan", lan)) < planned.index(
        AddVeth("gw", cable, "a-eth0", "a", "eth0")
    )
    assert AddAddress("gw", lan, "lan", ip_interface("10.0.0.1/24")) in planned
    assert not any(isinstance(step, LendSwitch) for step in planned)


def test_routes_without_a_gateway_come_first() -> None:
    """A gateway may be reached over a route that was declared after it."""
    onward = Route("default", via="192.0.2.1")
    on_link = Route("192.0.2.0/24", dev="eth0")
    a = Namespace("a", routes=[onward, on_link])

    planned = steps(a, Namespace("b"), Veth("a", "b", address="10.0.0.1/24"))

    assert position(planned, AddRoute("a", a, on_link, 4)) < position(
        planned, AddRoute("a", a, onward, 4)
    )


def test_a_default_route_over_a_device_is_of_the_devices_family() -> None:
    """A device with IPv6 addresses alone takes an IPv6 route, any other an IPv4 one."""
    route = Route("default", dev="eth0")
    a = Namespace("a", routes=[route])

    def family(*addresses: str) -> int:
        cable = Veth("a:eth0", "b", address=addresses)
        (step,) = (
            step
            for step in steps(a, Namespace("b"), cable)
            if isinstance(step, AddRoute)
        )
        return step.family

    assert family("fd00::1/64") == 6
    assert family("10.0.0.1/24") == 4
    assert family("fd00::1/64", "10.0.0.1/24") == 4
    assert family() == 4


def test_neighbours_come_after_the_addresses_of_their_namespace() -> None:
    """The device has to be there and up."""
    neighbour = Neighbour("10.0.0.9", "02:00:00:00:00:09", dev="eth0")
    a = Namespace("a", neighbours=[neighbour])
    cable = Veth("a", "b", address="10.0.0.1/24")

    planned = steps(a, Namespace("b"), cable)

    assert position(planned, AddNeighbour("a", a, neighbour)) > position(
        planned, AddAddress("a", cable, "eth0", ip_interface("10.0.0.1/24"))
    )


def test_forwarding_is_on_before_the_first_interface_is_born() -> None:
    """Interfaces copy the defaults at birth, and the user's own sysctls come last."""
    gw = Namespace("gw", forwarding=True, sysctls={"net.ipv4.ip_forward": 0})

    assert steps(gw)[0] == CreateNamespace(
        "gw",
        gw,
        (
            *DEFAULTS,
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
            ("net.ipv6.conf.default.forwarding", "1"),
            ("net.ipv4.ip_forward", "0"),
        ),
    )


def test_sysctls_of_one_interface_wait_for_it() -> None:
    """Those of all interfaces and of the protocol are written before the first."""
    late = {
        "net.ipv4.conf.eth0.rp_filter": "2",
        "net/ipv6/conf/eth0.5/mtu": "1400",
        "net.ipv4.neigh.eth0.retrans_time_ms": "100",
    }
    early = {
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv6.conf.default.hop_limit": "9",
        "net.ipv4.tcp_syncookies": "0",
        "net.ipv4.neigh.default.gc_thresh1": "1",
    }
    a = Namespace("a", sysctls={**late, **early})
    cable = Veth("a", "b")

    planned = steps(a, Namespace("b"), cable)

    assert planned[0] == CreateNamespace("a", a, (*DEFAULTS, *early.items()))
    created = position(planned, AddVeth("a", cable, "eth0", "b", "eth0"))
    for key, value in late.items():
        assert position(planned, WriteSysctl("a", a, key, value)) > created


def test_offload_is_switched_off_at_both_ends_before_anything_is_sent() -> None:
    """Only where it was asked for."""
    soft, hard = Veth("a:s", "b:s", offload=False), Veth("a:h", "b:h")

    planned = steps(Namespace("a"), Namespace("b"), soft, hard)

    assert [step for step in planned if isinstance(step, DisableOffload)] == [
        DisableOffload("a", soft, "s"),
        DisableOffload("b", soft, "s"),
    ]


def test_ipv6_addresses_are_waited_for_last() -> None:
    """The kernel delivers to them later; where IPv6 is off nothing is waited for."""
    off = {"net.ipv6.conf.all.disable_ipv6": 1}
    cable = Veth("a", "b", address=["10.0.0.1/24", "fd00::1/64"])

    planned = steps(Namespace("a"), Namespace("b", sysctls=off), cable)

    assert planned[-1] == AwaitAddress("a", cable, "fd00::1")
    assert sum(isinstance(step, AwaitAddress) for step in planned) == 1


def test_an_empty_topology_needs_no_step() -> None:
    """Nothing is done for nothing."""
    assert steps() == ()


LAN = Topology(
    Namespace("a", routes=[Route("10.1.0.0/24", dev="eth0")]),
    Bridge("br0", subnet="10.0.0.0/24"),
    Veth("a", "br0"),
)


def test_the_plan_of_an_extension_has_the_new_steps_only() -> None:
    """What is there is not done again."""
    b, lan = Namespace("b"), Bridge("lan", namespace="a", address="10.2.0.1/24")
    cable = Veth("b", "br0")
    whole = LAN.with_records(b, lan, cable)

    assert plan(whole.layout, LAN.layout) == (
        CreateNamespace("b", b, DEFAULTS),
        AddBridge("a", lan, "lan", lan),
        AddVeth("br0", cable, "b-eth0", "b", "eth0"),
        SetUp("b", b, "lo"),
        SetUp("b", cable, "eth0"),
        AddAddress("b", cable, "eth0", ip_interface("10.0.0.2/24")),
        AddAddress("a", lan, "lan", ip_interface("10.2.0.1/24")),
        SetMaster("br0", cable, "b-eth0", "br0"),
        Settle("br0", cable, "b-eth0"),
    )


def test_nothing_new_needs_no_step() -> None:
    """The plan of what is there already is empty."""
    assert plan(LAN.layout, LAN.layout) == ()


def test_a_network_built_in_parts_is_the_one_built_at_once() -> None:
    """The parts' steps are together those of the whole, none lost, none twice."""
    additions = (
        Namespace("b", sysctls={"net.ipv4.conf.eth0.rp_filter": 0}),
        Veth("b", "br0", offload=False),
        Bridge("br1"),
        Veth("br0", "br1"),
        Veth("a", "b", subnet="fd00::/64"),
    )
    built = LAN
    parts = list(plan(LAN.layout))
    for record in additions:
        whole = built.with_records(record)
        parts += plan(whole.layout, built.layout)
        built = whole

    whole_plan = plan(Topology(*LAN, *additions).layout)
    assert sorted(map(repr, parts)) == sorted(map(repr, whole_plan))


def test_every_step_comes_after_what_it_needs() -> None:
    """Places before links, links before what is on them, the wait for carrier last."""
    planned = steps(
        Veth("a", "lan", address=["10.0.0.1/24", "fd00::1/64"], offload=False),
        Veth("hidden", "lan"),
        Veth("hidden", "b"),
        Bridge("lan", namespace="gw", address="10.0.0.9/24"),
        Bridge("hidden"),
        Namespace("gw", forwarding=True),
        Namespace("a", routes=[Route("default", via="10.0.0.9")]),
        Namespace("b", sysctls={"net.ipv4.conf.eth0.rp_filter": 0}),
    )

    places: set[str] = set()
    interfaces: set[tuple[str, str]] = set()
    up: set[tuple[str, str]] = set()
    waiting = False
    for step in planned:
        assert not waiting or isinstance(step, Settle | AwaitAddress)
        match step:
            case CreateNamespace(place=place):
                places.add(place)
                interfaces.add((place, "lo"))
            case LendSwitch(place=place):
                places.add(place)
                up.add((place, place))
            case AddBridge(place=place, ifname=ifname):
                assert place in places
                up.add((place, ifname))
            case AddVeth():
                assert {step.place, step.peer_place} <= places
                up.add((step.place, step.ifname))
                interfaces.add((step.peer_place, step.peer_ifname))
            case SetUp(place=place, ifname=ifname):
                assert (place, ifname) in interfaces
                up.add((place, ifname))
            case SetMaster(place=place, ifname=ifname, master=master):
                assert {(place, ifname), (place, master)} <= up
                assert interfaces <= up
            case (
                AddAddress(place=place, ifname=ifname)
                | DisableOffload(place=place, ifname=ifname)
            ):
                assert (place, ifname) in up
            case Settle(place=place, ifname=ifname):
                waiting = True
                assert (place, ifname) in up
    assert interfaces <= up
    assert waiting


def test_steps_of_one_place_are_neighbours() -> None:
    """Adjacent steps of one place become one batch: few system calls."""
    planned = steps(
        *(Namespace(f"n{number}") for number in range(5)),
        Bridge("br0", subnet=("10.0.0.0/24", "fd00::/64")),
        *(Veth(f"n{number}", "br0") for number in range(5)),
    )

    configuring = [
        step.place
        for step in planned
        if isinstance(step, SetUp | AddAddress | AddRoute)
    ]
    changes = sum(one != other for one, other in itertools.pairwise(configuring))
    assert len(configuring) == 5 * 4
    assert changes == 4
