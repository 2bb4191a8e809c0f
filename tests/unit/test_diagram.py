from __future__ import annotations

from textwrap import dedent

from pytest_netns import Bridge, Namespace, Route, Topology, Veth


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
