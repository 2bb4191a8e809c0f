"""Four machines on a switch: a subnet hands out their addresses.

v-net-0
├── red:veth-red       192.168.15.1/24
├── blue:veth-blue     192.168.15.2/24
├── green:veth-green   192.168.15.3/24
└── orange:veth-orange 192.168.15.4/24
"""

from __future__ import annotations

import itertools

import pytest

from pytest_netns import Bridge, Namespace, Network, Topology, Veth

COLOURS = ("red", "blue", "green", "orange")
SWITCH = Topology(
    Bridge("v-net-0", subnet="192.168.15.0/24"),
    *(Namespace(colour) for colour in COLOURS),
    *(Veth(f"{colour}:veth-{colour}", "v-net-0") for colour in COLOURS),
)


@pytest.mark.netns(SWITCH)
def test_everyone_reaches_everyone(netns: Network) -> None:
    """Each of the twelve pairs can talk."""
    for one, other in itertools.permutations(COLOURS, 2):
        assert netns[one].ping(other)


@pytest.mark.netns(SWITCH)
def test_the_switch_is_out_of_sight(netns: Network) -> None:
    """A machine sees its own interface, and no bridge."""
    names = netns["red"].run("ls /sys/class/net").stdout.split()
    assert sorted(names) == ["lo", "veth-red"]


@pytest.mark.netns(SWITCH)
def test_a_pulled_cable(netns: Network) -> None:
    """Who is set down hears nothing, and is back when set up again."""
    assert netns["red"].ping("blue")
    netns.link("blue:veth-blue").set_down()
    assert "no answer" in str(netns["red"].ping("blue", timeout=0.1).error)
    netns.link("blue:veth-blue").set_up()
    assert netns["red"].ping("blue")
