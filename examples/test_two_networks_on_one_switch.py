"""Two networks on one switch, joined by on-link routes instead of a router.

left (10.0.1.1/24) --- br0 --- (10.0.0.1/24) right
"""

from __future__ import annotations

import pytest

from pytest_netns import Bridge, Namespace, Network, Route, Topology, Veth

CABLES = Topology(
    Namespace("left"),
    Namespace("right"),
    Bridge("br0"),
    Veth("left:eth0", "br0", address="10.0.1.1/24"),
    Veth("right:eth0", "br0", address="10.0.0.1/24"),
)
LAN = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
    *CABLES.records[2:],
)


@pytest.mark.netns(CABLES)
def test_without_routes_the_networks_are_apart(netns: Network) -> None:
    """Each reaches itself, and finds the other's network unreachable."""
    assert netns["right"].ping("10.0.0.1")
    assert netns["right"].ping("10.0.1.1").error == "network unreachable"


@pytest.mark.netns(LAN)
def test_right_reaches_left(netns: Network) -> None:
    """Told that the other network is on the link, they talk both ways."""
    assert netns["right"].ping("10.0.1.1")
    assert netns["left"].ping("10.0.0.1", count=3, interval=0.01)
