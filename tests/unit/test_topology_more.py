"""Topologies with rules, Open vSwitch, and the test process as a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    DuplicateName,
    Host,
    InvalidAddress,
    Masquerade,
    Namespace,
    OVSBridge,
    Route,
    Topology,
    TopologyError,
    UnknownName,
    Veth,
)

if TYPE_CHECKING:
    from pytest_netns._record import Record


def names(topology: Topology, place: str) -> list[str]:
    """List the interfaces of a place."""
    return list(topology.layout.interfaces.get(place, {}))


def addresses(topology: Topology, endpoint: str) -> list[str]:
    """List the addresses of an interface."""
    place, _, ifname = endpoint.partition(":")
    return [str(one) for one in topology.layout.interfaces[place][ifname].addresses]


def refuses(error: type[TopologyError], why: str, *records: Record) -> None:
    """Check that records make no topology."""
    with pytest.raises(error, match=why) as caught:
        Topology(*records)
    assert type(caught.value) is error


A, B = Namespace("a"), Namespace("b")

# --- the host ---


def test_the_host_is_a_machine_but_no_namespace() -> None:
    """Cables lead to it, and nothing makes it."""
    layout = Topology(A, Host(), Veth("a", "host")).layout

    assert list(layout.machines) == ["a", "host"]
    assert list(layout.namespaces) == ["a"]
    assert layout.nodes == ["a", "host"]
    assert layout.is_host("host")
    assert not layout.is_host("a")
    assert not Topology(Namespace("host")).layout.is_host("host")


def test_ends_at_the_host_are_called_after_their_peers() -> None:
    """Names such as eth0 are taken on any machine that tests run on."""
    topology = Topology(
        Host("laptop"),
        *(A, B, Namespace("a-long-name-of-a-machine")),
        Bridge("br0"),
        Veth("laptop", "a"),
        Veth("a", "laptop"),
        Veth("b:wan", "laptop"),
        Veth("laptop:eth7", "b"),
        Veth("laptop", "br0"),
        Veth("br0", "laptop"),
        Veth("laptop", "a-long-name-of-a-machine"),
    )

    assert names(topology, "laptop") == [
        "a-eth0",
        "a-eth1",
        "b-wan",
        "eth7",
        "br0-laptop",
        "br0-laptop~1",
        "a-long-name-o~1",
    ]
    assert names(topology, "a") == ["eth0", "eth1"]


def test_both_ends_at_the_host() -> None:
    """Both are named, or both get names."""
    topology = Topology(Host(), Veth("host:x", "host:y"), Veth("host", "host"))

    assert names(topology, "host")[:2] == ["x", "y"]
    assert len(names(topology, "host")) == 4


def test_addresses_are_handed_out_to_the_host_like_to_any_machine() -> None:
    """In order of declaration, on a cable or on a switch."""
    topology = Topology(
        Host(),
        A,
        Bridge("br0", subnet=("10.0.0.0/24", "fd00::/64")),
        Veth("a", "br0"),
        Veth("host", "br0"),
        Veth("host:x", "a", subnet="10.1.0.0/30"),
    )

    assert addresses(topology, "host:br0-host") == ["10.0.0.2/24", "fd00::2/64"]
    assert addresses(topology, "host:x") == ["10.1.0.1/30"]


def test_a_bridge_of_the_host() -> None:
    """It is one of its interfaces, and its ports are others."""
    topology = Topology(
        Host(),
        A,
        Bridge("br9", namespace="host", subnet="10.0.0.0/24"),
        Veth("a", "br9"),
    )

    assert names(topology, "host") == ["br9", "a-eth0"]
    assert addresses(topology, "host:br9") == ["10.0.0.1/24"]
    assert addresses(topology, "a:eth0") == ["10.0.0.2/24"]


def test_one_topology_has_one_host() -> None:
    """There is one process, and it is in one namespace."""
    refuses(
        DuplicateName,
        r"two records .* Host\('host'\) and Host\('other'\)",
        *(Host(), Host("other")),
    )
    refuses(DuplicateName, "two records are named 'host'", Host(), Host())


@pytest.mark.parametrize("other", [Namespace("x"), Bridge("x"), OVSBridge("x")])
def test_the_name_of_the_host_is_its_own(other: Record) -> None:
    """Namespaces, bridges and the host share one set of names."""
    refuses(DuplicateName, r"named 'x': Host\('x'\) and .*\('x'\)", Host("x"), other)
    refuses(DuplicateName, r"named 'x': .*\('x'\) and Host\('x'\)", other, Host("x"))


def test_interfaces_of_the_host_are_claimed_once() -> None:
    """As everywhere, and the loopback interface is there."""
    refuses(
        DuplicateName,
        r"two links claim interface 'x' of 'host'",
        *(Host(), A, Veth("host:x", "a"), Veth("a", "host:x")),
    )
    refuses(
        DuplicateName,
        "'lo' in 'host' is the loopback interface",
        *(Host(), A, Veth("host:lo", "a")),
    )
    refuses(
        DuplicateName,
        "interface 'br9' of 'host'",
        *(Host(), A, Bridge("br9", namespace="host"), Veth("a", "host:br9")),
    )


def test_the_host_is_known_only_where_it_is_declared() -> None:
    """A cable to nowhere is told which names there are."""
    refuses(UnknownName, "'host' .* known: 'a'", A, Veth("a", "host"))
    refuses(
        UnknownName,
        r"'host' .* known: 'br0', 'laptop'",
        *(Host("laptop"), Bridge("br0", namespace="host")),
    )


@pytest.mark.parametrize(
    ("route", "error", "why"),
    [
        (
            Route("10.6.0.0/24", via="10.9.0.1"),
            InvalidAddress,
            r"of host 'host': gateway 10.9.0.1 is off .*; connected: 10.5.0.0/24",
        ),
        (
            Route("10.6.0.0/24", dev="eth0"),
            UnknownName,
            r"'eth0' in Route.* of host 'host'; known: 'x'",
        ),
        (
            Route("10.6.0.0/24", via="10.5.0.1"),
            InvalidAddress,
            "the gateway is the host itself",
        ),
        (
            Route("10.6.0.0/24", dev="x", source="10.9.0.1"),
            InvalidAddress,
            "the source is not an address of the host",
        ),
    ],
)
def test_routes_of_the_host_are_checked(
    route: Route, error: type[TopologyError], why: str
) -> None:
    """They lead through what the topology adds, never through what the machine has."""
    cable = Veth("host:x", "a", subnet="10.5.0.0/24")
    refuses(error, why, A, Host(routes=[route]), cable)


def test_a_route_of_the_host_is_declared_once() -> None:
    """Like one of any machine."""
    route = Route("10.6.0.0/24", dev="x")
    refuses(
        DuplicateName,
        "host 'host' has two records for one thing",
        *(A, Host(routes=[route, route]), Veth("host:x", "a")),
    )


def test_a_host_comes_with_a_part_of_a_topology() -> None:
    """Topologies are joined, and what was there before keeps its names."""
    first = Topology(A, Veth("a", "host", subnet="10.5.0.0/24"), Host())
    whole = first.with_records(B, Veth("b", "host", subnet="10.6.0.0/24"))

    assert names(whole, "host") == [*names(first, "host"), "b-eth0"]
    assert first + Topology(B) == first.with_records(B)


# --- rules ---


@pytest.mark.parametrize(
    "rule",
    [
        Masquerade(out_interface="wan"),
        SNAT("10.0.0.1", out_interface="wan"),
        DNAT("10.0.0.2", port=80, in_interface="wan"),
    ],
)
def test_a_rule_that_names_no_interface_of_its_namespace(rule: Masquerade) -> None:
    """It would never fit any packet; the nearest name may be what was meant."""
    where = (
        f"interface 'wan' in {type(rule).__name__}.* of namespace 'a'; known: 'wan0'"
    )
    cable = Veth("a:wan0", "b:wan")
    refuses(UnknownName, where, Namespace("a", nat=[rule]), B, cable)
    Topology(Namespace("a", nat=[rule]), B, Veth("a:wan", "b:x"))
    Topology(Namespace("a", nat=[rule]), Bridge("wan", namespace="a"))
    Topology(Namespace("a", nat=[rule]), OVSBridge("wan", namespace="a"))


def test_a_rule_may_name_the_loopback_interface() -> None:
    """Every namespace has it."""
    topology = Topology(Namespace("a", nat=[Masquerade(out_interface="lo")]))

    assert topology.layout.namespaces["a"].nat == (Masquerade(out_interface="lo"),)


# --- Open vSwitch ---


def test_a_switch_of_open_vswitch_has_ports_like_any_other() -> None:
    """Their names are derived, and addresses handed out, in the same way."""
    topology = Topology(
        A,
        B,
        OVSBridge("ovs", subnet=("10.0.0.0/24", "fd00::/64")),
        Veth("a", "ovs"),
        Veth("b:x", "ovs:port"),
    )

    assert names(topology, "ovs") == ["a-eth0", "port"]
    assert addresses(topology, "a:eth0") == ["10.0.0.1/24", "fd00::1/64"]
    assert [one.ifname for one in topology.layout.ports["ovs"]] == ["a-eth0", "port"]
    assert topology.layout.ports["ovs"][0].master == "ovs"


def test_ports_of_all_switches_of_open_vswitch_have_names_of_their_own() -> None:
    """They share a database: derived names differ, and given ones must."""
    topology = Topology(
        A,
        OVSBridge("ovs1"),
        OVSBridge("ovs2"),
        Bridge("br0"),
        Veth("a:x", "ovs1"),
        Veth("a:y", "ovs2"),
        Veth("a:z", "br0:a-x"),
    )
    assert names(topology, "ovs1") == ["a-x"]
    assert names(topology, "ovs2") == ["a-y"]

    switches = (OVSBridge("ovs1"), OVSBridge("ovs2"))
    refuses(
        DuplicateName,
        "'p' of 'ovs2', where all bridges of Open vSwitch share their names",
        *(A, *switches, Veth("a", "ovs1:p"), Veth("a", "ovs2:p")),
    )
    for port in ("ovs1", "ovs2"):
        refuses(
            DuplicateName,
            f"interface '{port}' of 'ovs1', where all bridges",
            *(A, *switches, Veth("a", f"ovs1:{port}")),
        )


def test_a_derived_name_is_free_on_all_switches_of_open_vswitch() -> None:
    """A cable between two of them has two ports in one set of names."""
    topology = Topology(
        *(OVSBridge("ovs1"), OVSBridge("ovs2")),
        Veth("ovs1:ovs2-ovs1", "ovs2"),
        Veth("ovs1", "ovs2"),
    )

    ports = [*names(topology, "ovs1"), *names(topology, "ovs2")]
    assert len(ports) == len(set(ports)) == 4


def test_a_switch_of_open_vswitch_in_a_namespace() -> None:
    """Its device is one end of a cable that leads to the switch."""
    topology = Topology(
        Namespace("gw"),
        A,
        OVSBridge("ovs", namespace="gw", subnet="10.0.0.0/24"),
        Veth("a", "ovs"),
    )
    layout = topology.layout

    assert names(topology, "gw") == ["ovs"]
    assert addresses(topology, "gw:ovs") == ["10.0.0.1/24"]
    assert addresses(topology, "a:eth0") == ["10.0.0.2/24"]
    assert names(topology, "ovs") == ["gw-ovs", "a-eth0"]
    assert (
        layout.peer_of(layout.interfaces["gw"]["ovs"])
        is (layout.interfaces["ovs"]["gw-ovs"])
    )


def test_switches_of_both_kinds_are_on_one_segment() -> None:
    """An address is there once, whatever switches are between."""
    refuses(
        InvalidAddress,
        "address 10.0.0.1 is twice on one segment",
        *(A, B, OVSBridge("ovs"), Bridge("br0"), Veth("br0", "ovs")),
        Veth("a", "ovs", address="10.0.0.1/24"),
        Veth("b", "br0", address="10.0.0.1/24"),
    )


def test_a_port_of_open_vswitch_takes_no_address() -> None:
    """The machine at the other end has it."""
    refuses(
        InvalidAddress,
        "gives an address to a port of bridge 'ovs'",
        *(A, OVSBridge("ovs"), Veth("a", "ovs", peer_address="10.0.0.1/24")),
    )


def test_more_ports_than_a_bridge_of_the_kernel_has() -> None:
    """The limit of the kernel's bridges is none of Open vSwitch."""
    cables = [Veth(f"a:e{number}", "ovs") for number in range(1100)]

    assert len(Topology(A, OVSBridge("ovs"), *cables).layout.ports["ovs"]) == 1100
