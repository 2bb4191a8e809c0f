from __future__ import annotations

from textwrap import dedent

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Host,
    Masquerade,
    Namespace,
    OVSBridge,
    Route,
    Topology,
    Veth,
)


def picture(text: str) -> str:
    """Take the indentation of this file away."""
    return dedent(text).strip("\n")


def test_a_switch_is_drawn_with_what_is_plugged_into_it() -> None:
    """Machines have their addresses beside them, and routes come below."""
    topology = Topology(
        Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
        Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
        Bridge("br0"),
        Veth("left:eth0", "br0", address="10.0.1.1/24"),
        Veth("right:eth0", "br0", address="10.0.0.1/24"),
    )

    assert topology.diagram() == picture("""
        br0
        ├── left:eth0  10.0.1.1/24
        └── right:eth0 10.0.0.1/24

        left:   10.0.0.0/24 dev eth0
        right:  10.0.1.0/24 dev eth0
    """)


def test_a_cable_is_drawn_between_its_ends() -> None:
    """Both ends have their addresses on the side of the cable."""
    topology = Topology(
        Namespace("red"),
        Namespace("blue"),
        Veth(
            "red:veth-red",
            "blue:veth-blue",
            address="192.168.15.1/24",
            peer_address="192.168.15.2/24",
        ),
        Veth("red", "blue"),
    )

    assert topology.diagram() == picture("""
        red:veth-red  192.168.15.1/24  ───  192.168.15.2/24  blue:veth-blue
        red:eth0                       ───                   blue:eth0
    """)


def test_everything_has_its_place_in_the_picture() -> None:
    """Bridges in namespaces, trunks, options, lone machines, forwarding and routes."""
    topology = Topology(
        Namespace("gw", forwarding=True),
        Namespace(
            "a", routes=[Route("default", via="10.0.0.1", metric=5, source="10.0.0.2")]
        ),
        Namespace("alone"),
        Bridge("lan", namespace="gw", address="10.0.0.1/24", stp=True),
        Bridge("br1", vlan_filtering=True),
        Bridge("empty"),
        Veth("a", "lan", address="10.0.0.2/24"),
        Veth("lan:trunk", "br1:uplink"),
    )

    assert topology.diagram() == picture("""
        lan  in gw  10.0.0.1/24  stp
        ├── a:eth0     10.0.0.2/24
        └── br1:uplink

        br1  vlan_filtering
        └── lan:trunk

        empty

        alone

        gw:  forwarding
        a:   default via 10.0.0.1 source 10.0.0.2 metric 5
    """)


def test_the_host_is_drawn_as_a_machine() -> None:
    """Its end of a cable has the name that the machine will see, and routes are its."""
    topology = Topology(
        Namespace("ns1"),
        Host(routes=[Route("10.9.0.0/16", via="10.200.1.2")]),
        Veth("ns1", "host", address="10.200.1.2/24", peer_address="10.200.1.1/24"),
    )

    assert topology.diagram() == picture("""
        ns1:eth0  10.200.1.2/24  ───  10.200.1.1/24  host:ns1-eth0

        host:  10.9.0.0/16 via 10.200.1.2
    """)


def test_a_host_that_shares_its_connection_is_seen_to() -> None:
    """It is what changes the machine; the name is the user's own."""
    topology = Topology(
        Namespace("ns1"),
        Bridge("br0"),
        Host("laptop", share_connection=True),
        Veth("ns1", "br0", address="10.0.0.2/24"),
        Veth("laptop:lab0", "br0", address="10.0.0.1/24"),
    )

    assert topology.diagram() == picture("""
        br0
        ├── ns1:eth0    10.0.0.2/24
        └── laptop:lab0 10.0.0.1/24

        laptop:  shares its connection
    """)


def test_a_switch_of_open_vswitch_is_named_as_such() -> None:
    """Hidden, or a device of a machine, which is no port to draw."""
    topology = Topology(
        Namespace("gw"),
        Namespace("a"),
        OVSBridge("ovs1"),
        OVSBridge("ovs2", namespace="gw", address="10.0.0.1/24"),
        Bridge("br0"),
        Veth("a", "ovs2", address="10.0.0.2/24"),
        Veth("ovs1:trunk", "ovs2:uplink"),
        Veth("ovs1", "br0"),
    )

    assert topology.diagram() == picture("""
        ovs1  Open vSwitch
        ├── ovs2:uplink
        └── br0:ovs1-br0

        ovs2  Open vSwitch  in gw  10.0.0.1/24
        ├── a:eth0     10.0.0.2/24
        └── ovs1:trunk

        br0
        └── ovs1:br0-ovs1
    """)


def test_rules_of_nat_are_lines_of_their_machine() -> None:
    """After its routes, in order: the first that fits wins."""
    topology = Topology(
        Namespace(
            "gw",
            forwarding=True,
            routes=[Route("default", via="10.1.0.254")],
            nat=[
                Masquerade(),
                Masquerade(source=["10.0.0.0/24", "fd00::/64"], out_interface="out"),
                SNAT("10.1.0.1:4000", source="10.0.0.7", out_interface="out"),
                DNAT("10.0.0.2", port=80),
                DNAT("[fd00::2]:53", port=5353, protocol="udp"),
                DNAT(
                    "10.0.0.2:80",
                    port=8080,
                    destination="10.1.0.0/24",
                    in_interface="out",
                ),
            ],
        ),
        Namespace("b"),
        Veth("gw:out", "b", address="10.1.0.1/24"),
    )

    assert topology.diagram() == picture("""
        gw:out  10.1.0.1/24  ───    b:eth0

        gw:  forwarding
        gw:  default via 10.1.0.254
        gw:  masquerade
        gw:  masquerade from 10.0.0.0/24 fd00::/64 out out
        gw:  snat from 10.0.0.7/32 out out to 10.1.0.1:4000
        gw:  tcp port 80 to 10.0.0.2
        gw:  udp port 5353 to [fd00::2]:53
        gw:  tcp port 8080 of 10.1.0.0/24 in out to 10.0.0.2:80
    """)


def test_an_empty_topology_has_an_empty_picture() -> None:
    """There is nothing to see."""
    assert Topology().diagram() == ""


def test_the_picture_in_the_documentation_is_the_real_one() -> None:
    """What the docstring of diagram() shows is what it returns."""
    topology = Topology(
        Namespace("left"),
        Namespace("right"),
        Bridge("br0"),
        Veth("left", "br0", address="10.0.1.1/24"),
        Veth("right", "br0", address="10.0.0.1/24"),
    )
    assert len(topology.diagram().splitlines()) == 3
    documented = Topology.diagram.__doc__ or ""

    for line in topology.diagram().splitlines():
        assert line in documented
