"""A cable between two machines, built piece by piece in fixtures.

red  veth-red 192.168.15.1/24 ─── 192.168.15.2/24 veth-blue  blue
"""

from __future__ import annotations

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, Veth


@pytest.fixture
def red(netns: Network) -> NetworkNamespace:
    """Give a machine."""
    netns.add(Namespace("red"))
    return netns["red"]


@pytest.fixture
def blue(netns: Network) -> NetworkNamespace:
    """Give another machine."""
    netns.add(Namespace("blue"))
    return netns["blue"]


@pytest.fixture
def cable(netns: Network, red: NetworkNamespace, blue: NetworkNamespace) -> None:
    """Join them."""
    assert (red.name, blue.name) == ("red", "blue")
    netns.add(
        Veth(
            "red:veth-red",
            "blue:veth-blue",
            address="192.168.15.1/24",
            peer_address="192.168.15.2/24",
        )
    )


def test_a_new_machine_is_alone(red: NetworkNamespace) -> None:
    """It has a loopback interface, and knows no route and no neighbour."""
    assert [interface.name for interface in red.interfaces] == ["lo"]
    assert red.neighbours() == []
    assert red.ping("192.168.15.2").error == "network unreachable"


@pytest.mark.usefixtures("cable")
def test_the_cable_joins_them(red: NetworkNamespace, blue: NetworkNamespace) -> None:
    """The ping program finds blue by its name, and each has learnt the other's MAC."""
    assert "1 received" in red.run("ping -c1 blue").stdout

    (neighbour,) = red.neighbours()
    assert neighbour.address == "192.168.15.2"
    assert neighbour.lladdr == blue.interface("veth-blue").lladdr
