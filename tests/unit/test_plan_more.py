"""Plans with rules, Open vSwitch, and the test process as a machine."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from pytest_netns import (
    DNAT,
    Bridge,
    Host,
    Masquerade,
    Namespace,
    OVSBridge,
    Route,
    Topology,
    Veth,
)
from pytest_netns._plan import plan
from pytest_netns._ruleset import nat_ruleset
from pytest_netns._steps import (
    AddAddress,
    AddBridge,
    AddOVSBridge,
    AddOVSPort,
    AddRoute,
    AddVeth,
    AwaitAddress,
    CreateNamespace,
    DisableChecksums,
    DisableOffload,
    JoinHost,
    LendOVS,
    LoadNat,
    LoadNftables,
    SetMaster,
    Settle,
    SetUp,
    ShareConnection,
    Sign,
    Step,
)

if TYPE_CHECKING:
    from pytest_netns._record import Record
    from pytest_netns.nat import NatRule

DEFAULTS = (("net.ipv6.conf.default.accept_dad", "0"),)


def steps(*records: Record) -> tuple[Step, ...]:
    """Plan a whole network."""
    return plan(Topology(*records).layout)


def later(first: Topology, *records: Record) -> tuple[Step, ...]:
    """Plan what is added to a network."""
    return plan(first.with_records(*records).layout, first.layout)


def of_kind(planned: tuple[Step, ...], *kinds: type[Step]) -> list[Step]:
    """List the steps of some kinds."""
    return [step for step in planned if isinstance(step, kinds)]


# --- rules ---


def test_rules_come_last() -> None:
    """They name interfaces, and might drop what a build needs; NAT after all others.

    A ruleset of the user's own may begin with ``flush ruleset``.
    """
    rules: list[NatRule] = [Masquerade(out_interface="eth0"), DNAT("10.0.0.2", port=80)]
    gw = Namespace("gw", nat=rules, nftables="table inet mine {}")
    other = Namespace("other", nftables="table inet other {}")
    cable = Veth("gw", "other", address="fd00::1/64")

    planned = steps(gw, other, cable)

    assert planned[-4:] == (
        AwaitAddress("gw", cable, "fd00::1"),
        LoadNftables("gw", gw, "table inet mine {}"),
        LoadNat("gw", gw, nat_ruleset(rules)),
        LoadNftables("other", other, "table inet other {}"),
    )


def test_a_namespace_without_rules_loads_none() -> None:
    """Nothing starts nft for nothing."""
    assert of_kind(steps(Namespace("a")), LoadNat, LoadNftables) == []


def test_rules_are_loaded_once() -> None:
    """More records leave the rules of what is there alone."""
    first = Topology(Namespace("gw", nat=[Masquerade()], nftables="table inet a {}"))
    new = Namespace("new", nat=[Masquerade()])

    planned = later(first, new, Veth("gw", "new"))

    assert of_kind(planned, LoadNat, LoadNftables) == [
        LoadNat("new", new, nat_ruleset([Masquerade()]))
    ]


# --- the host ---


def test_a_cable_to_the_host_becomes_these_steps() -> None:
    """It is asked for in the namespace: the far end appears with all that it has."""
    route = Route("10.6.0.0/24", via="10.5.0.2")
    host = Host(routes=[route])
    a = Namespace("a")
    cable = Veth(
        "host",
        "a",
        address=["10.5.0.1/24", "fd05::1/64"],
        peer_address="10.5.0.2/24",
        lladdr="02:00:00:00:00:01",
        peer_lladdr="02:00:00:00:00:02",
        mtu=1400,
    )
    v4, v6 = ip_interface("10.5.0.1/24"), ip_interface("fd05::1/64")

    assert steps(a, host, cable) == (
        JoinHost("host", host, host, ("a-eth0",), (v4, v6), ((route, 4),)),
        CreateNamespace("a", a, DEFAULTS),
        AddVeth(
            "a",
            cable,
            "eth0",
            "host",
            "a-eth0",
            "02:00:00:00:00:02",
            "02:00:00:00:00:01",
            1400,
        ),
        SetUp("a", a, "lo"),
        AddAddress("a", cable, "eth0", ip_interface("10.5.0.2/24")),
        SetUp("host", cable, "a-eth0"),
        Sign("host", cable, "a-eth0"),
        AddAddress("host", cable, "a-eth0", v4),
        AddAddress("host", cable, "a-eth0", v6),
        AddRoute("host", host, route, 4),
        Settle("a", cable, "eth0"),
        AwaitAddress("host", cable, "fd05::1"),
    )


def test_the_host_sends_no_request_for_a_cable() -> None:
    """Whichever end it is, and whatever is at the other; unless that is itself."""
    host, a, br0 = Host(), Namespace("a"), Bridge("br0")
    mine = Bridge("br9", namespace="host")
    cables = [
        Veth("host:x", "br0"),
        Veth("br0", "host:y"),
        Veth("a", "host:z"),
        Veth("a", "br9"),
        Veth("br9", "a"),
    ]
    loop = Veth("host:l", "host:m")

    planned = steps(host, a, br0, mine, *cables, loop)

    places = {step.record: step.place for step in of_kind(planned, AddVeth)}
    assert places.pop(loop) == "host"
    assert set(places) == set(cables)
    assert "host" not in places.values()


def test_a_bridge_of_the_host() -> None:
    """It is made like one of any machine, and looked for before."""
    host, a = Host(), Namespace("a")
    bridge = Bridge("br9", namespace="host", address="10.5.0.1/24")
    cable = Veth("a", "br9")

    planned = steps(a, cable, bridge, host)

    address = ip_interface("10.5.0.1/24")
    assert planned[0] == JoinHost("host", host, host, ("br9", "a-eth0"), (address,), ())
    assert AddBridge("host", bridge, "br9", bridge) in planned
    assert AddAddress("host", bridge, "br9", address) in planned
    assert SetMaster("host", cable, "a-eth0", "br9") in planned
    assert [step.ifname for step in planned if isinstance(step, Sign)] == [
        "br9",
        "a-eth0",
    ]


def test_a_host_alone_is_looked_at_and_left_alone() -> None:
    """There is nothing to add."""
    host = Host("laptop", share_connection=True)

    assert steps(host) == (JoinHost("laptop", host, host, (), (), ()),)


def test_the_family_of_a_default_route_of_the_host() -> None:
    """A device with IPv6 addresses alone takes an IPv6 route, which is checked."""
    route = Route("default", dev="x")
    host = Host(routes=[route])
    cable = Veth("host:x", "a", address="fd05::1/64")

    planned = steps(host, Namespace("a"), cable)

    assert planned[0] == JoinHost(
        "host", host, host, ("x",), (ip_interface("fd05::1/64"),), ((route, 6),)
    )
    assert AddRoute("host", host, route, 6) in planned


HOST = Host(routes=[Route("10.6.0.0/24", dev="x")])
HOSTED = Topology(HOST, Namespace("a"), Veth("host:x", "a", address="10.5.0.1/24"))


def test_more_cables_to_the_host_are_looked_at_alone() -> None:
    """What is the network's own already is in nobody's way."""
    address = ip_interface("10.7.0.1/24")

    planned = later(HOSTED, Veth("host:y", "a", address=str(address)))

    (join,) = of_kind(planned, JoinHost)
    assert join == JoinHost("host", HOST, HOST, ("y",), (address,), ())
    assert of_kind(planned, AddRoute) == []


def test_what_has_nothing_to_do_with_the_host_leaves_it_alone() -> None:
    """It is not looked at again for the sake of others."""
    planned = later(HOSTED, Namespace("b"), Veth("a", "b"))

    assert of_kind(planned, JoinHost) == []
    assert "host" not in {step.place for step in planned}


def test_a_host_that_comes_later() -> None:
    """It joins what is there."""
    host = Host()
    planned = later(Topology(Namespace("a")), host, Veth("host", "a"))

    assert planned[0] == JoinHost("host", host, host, ("a-eth0",), (), ())


# --- sharing its connection ---

SHARING = Host(share_connection=True)
SHARED = Topology(
    SHARING,
    Namespace("a"),
    Veth("host", "a", subnet=["10.5.0.0/24", "fd05::/64"]),
)


def test_the_connection_is_shared_last() -> None:
    """By all interfaces of the host, in the families of their addresses."""
    planned = plan(SHARED.layout)

    assert planned[-1] == ShareConnection("host", SHARING, SHARING, ("a-eth0",), (4, 6))
    assert sum(isinstance(step, ShareConnection) for step in planned) == 1


def test_a_connection_is_shared_with_more_later() -> None:
    """Only if the host has more interfaces then."""
    assert of_kind(later(SHARED, Namespace("b"), Veth("a", "b")), ShareConnection) == []
    planned = later(SHARED, Veth("host:x", "a"))
    assert planned[-1] == ShareConnection(
        "host", SHARING, SHARING, ("a-eth0", "x"), (4, 6)
    )


def test_a_connection_is_not_shared_unless_one_says_so() -> None:
    """The machine changes as little as possible."""
    assert of_kind(plan(HOSTED.layout), ShareConnection) == []


# --- Open vSwitch ---


def test_a_switch_of_open_vswitch_becomes_these_steps() -> None:
    """Its place is lent first; it is made, and given its ports, when these are up."""
    a = Namespace("a")
    ovs = OVSBridge("ovs")
    cable = Veth("a", "ovs", address="10.0.0.1/24")

    assert steps(a, ovs, cable) == (
        CreateNamespace("a", a, DEFAULTS),
        LendOVS("ovs", ovs, ovs),
        AddVeth("ovs", cable, "a-eth0", "a", "eth0"),
        SetUp("a", a, "lo"),
        SetUp("a", cable, "eth0"),
        AddAddress("a", cable, "eth0", ip_interface("10.0.0.1/24")),
        AddOVSBridge("ovs", ovs, ovs),
        AddOVSPort("ovs", cable, "a-eth0"),
        DisableChecksums("a", cable, "eth0"),
        Settle("ovs", cable, "a-eth0"),
    )


def test_a_switch_of_open_vswitch_in_a_namespace() -> None:
    """Its device is the end of a cable, and has the addresses."""
    gw = Namespace("gw")
    ovs = OVSBridge("ovs", namespace="gw", address="10.0.0.1/24")

    planned = steps(gw, ovs)

    assert AddVeth("ovs", ovs, "gw-ovs", "gw", "ovs") in planned
    assert AddAddress("gw", ovs, "ovs", ip_interface("10.0.0.1/24")) in planned
    assert AddOVSPort("ovs", ovs, "gw-ovs") in planned
    assert DisableChecksums("gw", ovs, "ovs") in planned
    assert of_kind(planned, SetMaster, AddBridge) == []


def test_checksums_are_computed_by_what_is_at_a_switch_of_open_vswitch() -> None:
    """Both ends of a cable between two of them, and none elsewhere."""
    trunk = Veth("ovs1", "ovs2")
    soft = Veth("a", "ovs1", offload=False)
    plain = Veth("a", "br0")

    planned = steps(
        OVSBridge("ovs1"),
        OVSBridge("ovs2"),
        Bridge("br0"),
        Namespace("a"),
        *(trunk, soft, plain),
    )

    disabled = of_kind(planned, DisableChecksums, DisableOffload)
    assert [(type(step), step.record, step.place) for step in disabled] == [
        (DisableChecksums, trunk, "ovs1"),
        (DisableChecksums, trunk, "ovs2"),
        (DisableOffload, soft, "a"),
        (DisableOffload, soft, "ovs1"),
    ]


def test_ports_of_a_switch_that_is_there_come_alone() -> None:
    """The switch is lent and made once."""
    first = Topology(OVSBridge("ovs"), Namespace("a"), Veth("a", "ovs"))
    cable = Veth("b", "ovs")

    planned = later(first, Namespace("b"), cable)

    assert of_kind(planned, LendOVS, AddOVSBridge, AddOVSPort) == [
        AddOVSPort("ovs", cable, "b-eth0")
    ]


def test_a_cable_from_the_host_to_a_switch_of_open_vswitch() -> None:
    """The switch asks for it, and the host's end computes its checksums."""
    cable = Veth("host", "ovs", address="10.5.0.1/24")

    planned = steps(Host(), OVSBridge("ovs"), cable)

    assert AddVeth("ovs", cable, "host-ovs-host", "host", "ovs-host") in planned
    assert DisableChecksums("host", cable, "ovs-host") in planned
