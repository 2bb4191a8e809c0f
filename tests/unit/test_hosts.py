from __future__ import annotations

from pytest_netns import Bridge, Host, Namespace, OVSBridge, Topology, Veth
from pytest_netns._hosts import addresses_towards, hosts_file, resolv_file

LOOPBACK = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]

# left (10.0.1.2) --- (10.0.1.1) gw (10.0.2.1) --- (10.0.2.2) right
ROUTED = Topology(
    Namespace("left"),
    Namespace("gw", hostname="gateway"),
    Namespace("right", hosts={"mirror": ["192.0.2.1", "2001:db8::1"]}),
    Veth("gw", "left", address="10.0.1.1/24", peer_address="10.0.1.2/24"),
    Veth(
        "gw", "right", address=["10.0.2.1/24", "fd00::1/64"], peer_address="10.0.2.2/24"
    ),
)


def lines(topology: Topology, viewer: str) -> list[str]:
    """Split the hosts file of `viewer`; it ends with a whole line."""
    text = hosts_file(topology.layout, viewer)
    assert text.endswith("\n")
    return text.splitlines()


def test_every_namespace_is_known_by_name() -> None:
    """All addresses of all namespaces are there, own ones included."""
    assert lines(ROUTED, "left") == [
        *LOOPBACK,
        "10.0.1.2 left",
        "10.0.1.1 gw gateway",
        "10.0.2.1 gw gateway",
        "fd00::1 gw gateway",
        "10.0.2.2 right",
    ]


def test_the_address_on_a_shared_network_comes_first() -> None:
    """A resolver takes the first line, which should work without a route."""
    assert lines(ROUTED, "right")[2:] == [
        "10.0.1.2 left",
        "10.0.2.1 gw gateway",
        "10.0.1.1 gw gateway",
        "fd00::1 gw gateway",
        "10.0.2.2 right",
        "192.0.2.1 mirror",
        "2001:db8::1 mirror",
    ]
    assert [str(one) for one in addresses_towards(ROUTED.layout, "gw", "right")] == [
        "10.0.2.1/24",
        "10.0.1.1/24",
        "fd00::1/64",
    ]


def test_the_hosts_of_a_namespace_are_its_own() -> None:
    """What one namespace declares, the others do not see."""
    assert not any("mirror" in line for line in lines(ROUTED, "left"))


def test_a_namespace_without_address_finds_its_own_name() -> None:
    """Many programs look up their own host name; others are not misled by it."""
    topology = Topology(Namespace("a"), Namespace("b", hostname="b.example"))

    assert lines(topology, "a") == [*LOOPBACK, "127.0.1.1 a"]
    assert lines(topology, "b") == [*LOOPBACK, "127.0.1.1 b b.example"]


def test_the_address_of_a_bridge_belongs_to_its_namespace() -> None:
    """A bridge in a namespace is one of its interfaces."""
    topology = Topology(
        Namespace("gw"), Bridge("lan", namespace="gw", address="10.0.0.1/24")
    )

    assert lines(topology, "gw")[2:] == ["10.0.0.1 gw"]


def test_the_host_is_known_by_its_name() -> None:
    """With the addresses that the network gives it, and none of the machine's own."""
    topology = Topology(
        Namespace("a"),
        Namespace("b"),
        Host("laptop"),
        Veth("laptop", "a", subnet="10.0.1.0/24"),
        Veth("laptop", "b", subnet=["10.0.2.0/24", "fd00::/64"]),
        Bridge("br9", namespace="laptop", address="10.0.3.1/24"),
    )

    assert lines(topology, "b")[2:] == [
        "10.0.1.2 a",
        "10.0.2.2 b",
        "fd00::2 b",
        "10.0.2.1 laptop",
        "fd00::1 laptop",
        "10.0.1.1 laptop",
        "10.0.3.1 laptop",
    ]
    seen = addresses_towards(topology.layout, "a", "laptop")
    assert [str(one) for one in seen] == ["10.0.1.2/24"]


def test_a_host_without_addresses_has_no_line() -> None:
    """Nobody could reach it."""
    topology = Topology(Namespace("a"), Host(), Veth("a", "host"))

    assert lines(topology, "a")[2:] == ["127.0.1.1 a"]


def test_the_address_of_a_switch_of_open_vswitch_belongs_to_its_namespace() -> None:
    """Its device is one of the namespace's interfaces."""
    topology = Topology(
        Namespace("gw"), OVSBridge("ovs", namespace="gw", address="10.0.0.1/24")
    )

    assert lines(topology, "gw")[2:] == ["10.0.0.1 gw"]


def test_name_servers_are_those_declared_and_no_others() -> None:
    """In order of declaration, both families."""
    topology = Topology(
        Namespace("a", nameservers=["192.0.2.53", "2001:db8::53"]), Namespace("b")
    )

    assert resolv_file(topology.layout, "a").splitlines()[1:] == [
        "nameserver 192.0.2.53",
        "nameserver 2001:db8::53",
    ]
    assert "nameserver " not in resolv_file(topology.layout, "b")


def test_a_resolv_file_without_servers_is_not_empty() -> None:
    """A comment alone says that the file is meant to be like this."""
    topology = Topology(Namespace("a"))

    assert [line[0] for line in resolv_file(topology.layout, "a").splitlines()] == ["#"]
