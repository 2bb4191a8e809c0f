"""A private network: first a cable, then a switch, which is an interface of its host.

red  veth-red 192.168.15.1 ─── 192.168.15.2 veth-blue  blue

v-net-0 (host) 192.168.15.5
├── red:veth-red       192.168.15.1
├── blue:veth-blue     192.168.15.2
├── green:veth-green   192.168.15.3
└── orange:veth-orange 192.168.15.4
"""

from __future__ import annotations

import itertools

import pytest

from pytest_netns import Bridge, Namespace, Network, NetworkNamespace, Topology, Veth

COLOURS = ("red", "blue", "green", "orange")


def private_network(*host_addresses: str) -> Topology:
    """Return four machines on a bridge, which its host has as an interface."""
    return Topology(
        Namespace("host"),
        Bridge("v-net-0", namespace="host", address=host_addresses),
        *(Namespace(colour) for colour in COLOURS),
        *(
            Veth(
                f"{colour}:veth-{colour}",
                f"v-net-0:veth-{colour}-br",
                address=f"192.168.15.{number}/24",
            )
            for number, colour in enumerate(COLOURS, start=1)
        ),
    )


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
    """Join them; `subnet` gives the first address to red and the next to blue."""
    ends = f"{red.name}:veth-red", f"{blue.name}:veth-blue"
    netns.add(Veth(*ends, subnet="192.168.15.0/24"))


def test_a_new_machine_is_alone(red: NetworkNamespace) -> None:
    """It has a loopback interface, and knows no route and no neighbour."""
    assert [interface.name for interface in red.interfaces] == ["lo"]
    assert (red.routes(), red.neighbours()) == ([], [])
    assert red.ping("192.168.15.2").error == "network unreachable"


@pytest.mark.usefixtures("cable")
def test_a_cable(red: NetworkNamespace, blue: NetworkNamespace) -> None:
    """The ping program finds blue by its name, and each has learnt the other's MAC."""
    assert "1 received" in red.run("ping -c1 blue").stdout

    (seen_by_red,), (seen_by_blue,) = red.neighbours(), blue.neighbours()
    assert seen_by_red.address == "192.168.15.2"
    assert seen_by_red.lladdr == blue.interface("veth-blue").lladdr
    assert seen_by_blue.address == "192.168.15.1"
    assert seen_by_blue.lladdr == red.interface("veth-red").lladdr


@pytest.mark.usefixtures("cable")
def test_a_cable_goes_as_a_whole(red: NetworkNamespace, blue: NetworkNamespace) -> None:
    """With one end of a cable the other is gone."""
    red.run("ip link del veth-red")
    assert [interface.name for interface in blue.interfaces] == ["lo"]


@pytest.mark.netns(private_network())
def test_a_switch(netns: Network) -> None:
    """Each of the twelve pairs can talk, unless somebody's cable is pulled."""
    for one, other in itertools.permutations(COLOURS, 2):
        assert netns[one].ping(other)

    netns.link("blue:veth-blue").set_down()
    assert "no answer" in str(netns["red"].ping("192.168.15.2", timeout=0.1).error)


@pytest.mark.netns(private_network())
def test_a_switch_is_an_interface_of_its_host(netns: Network) -> None:
    """It is a device beside others there, through which nothing goes yet."""
    host = netns["host"]
    assert {"v-net-0", "veth-red-br"} < {device.name for device in host.interfaces}
    assert host.ping("192.168.15.1").error == "network unreachable"

    host.run("ip addr add 192.168.15.5/24 dev v-net-0")
    assert host.ping("192.168.15.1")


@pytest.mark.netns(private_network("192.168.15.5/24"))
def test_a_host_with_an_address(netns: Network) -> None:
    """With an address on the switch the host and the machines reach each other."""
    for colour in COLOURS:
        assert netns["host"].ping(colour)
        assert netns[colour].ping("host")
