"""Two networks on one switch: from nothing to a conversation, step by step.

left (10.0.1.1, fd01::1) --- br0 --- (10.0.0.1, fd00::1) right
"""

from __future__ import annotations

import pytest

from pytest_netns import Bridge, Namespace, Network, Route, Veth

LEFT = {"10.0.1.1": "10.0.1.0/24", "fd01::1": "fd01::/64"}
RIGHT = {"10.0.0.1": "10.0.0.0/24", "fd00::1": "fd00::/64"}

both_families = pytest.mark.parametrize(
    ("left", "right"), list(zip(LEFT, RIGHT, strict=True)), ids=["ipv4", "ipv6"]
)


def with_prefix(addresses: dict[str, str]) -> list[str]:
    """Return addresses with the length of their networks' prefixes."""
    return [f"{one}/{network.partition('/')[2]}" for one, network in addresses.items()]


def to(networks: dict[str, str]) -> list[Route]:
    """Return routes that say that these networks are on the link."""
    return [Route(network, dev="inner") for network in networks.values()]


def plugged_in(*, addressed: bool = True) -> list[Bridge | Veth]:
    """Return the switch, and the cables, with addresses or without."""
    left, right = map(with_prefix, (LEFT, RIGHT) if addressed else ({}, {}))
    return [
        Bridge("br0"),
        Veth("left:inner", "br0:left_outer", address=left),
        Veth("right:inner", "br0:right_outer", address=right),
    ]


@pytest.mark.netns(Namespace("left"), Namespace("right"), *plugged_in(addressed=False))
@both_families
def test_cables_alone(netns: Network, left: str, right: str) -> None:
    """Plugged in and up, but without addresses, each reaches only its loopback."""
    assert netns.link("br0:left_outer").is_up
    assert netns["right"].interface("inner").is_up
    assert netns["right"].ping("127.0.0.1" if "." in left else "::1")
    assert netns["right"].ping(left).error == "network unreachable"
    assert netns["right"].ping(right).error == "network unreachable"


@pytest.mark.netns(Namespace("left"), Namespace("right"), *plugged_in())
@both_families
def test_addresses_alone(netns: Network, left: str, right: str) -> None:
    """With addresses each reaches its own; the other's network is unreachable."""
    assert netns["left"].ping(left)
    assert netns["right"].ping(right)
    assert netns["left"].ping(right).error == "network unreachable"
    assert netns["right"].ping(left).error == "network unreachable"


@pytest.mark.netns(
    Namespace("left", routes=to(RIGHT)),
    Namespace("right", routes=to(LEFT)),
    *plugged_in(),
)
@both_families
def test_routes(netns: Network, left: str, right: str) -> None:
    """With a route on each side they reach each other, and themselves as before."""
    for machine in netns:
        assert machine.ping(left, count=2, interval=0.01)
        assert machine.ping(right, count=2, interval=0.01)
    mac = netns["left"].interface("inner").lladdr
    assert mac in {entry.lladdr for entry in netns["right"].neighbours()}


@pytest.mark.netns(
    Namespace("left"), Namespace("right", routes=to(LEFT)), *plugged_in()
)
@both_families
def test_one_route(netns: Network, left: str, right: str) -> None:
    """A route on one side is not enough: the answer has none, until it is added."""
    assert not netns["right"].ping(left, timeout=0.1)
    netns["left"].run(f"ip route add {RIGHT[right]} dev inner")
    assert netns["right"].ping(left)
