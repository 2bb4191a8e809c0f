"""A cable, and a switch that its host has as an interface: who reaches whom.

::

    red (192.168.15.1, fd15::1) --- (192.168.15.2, fd15::2) blue

    v-net-0  in host, with (192.168.15.5, fd15::5) or without
    ├── red:veth-red       192.168.15.1, fd15::1
    ├── blue:veth-blue     192.168.15.2, fd15::2
    ├── green:veth-green   192.168.15.3, fd15::3
    └── orange:veth-orange 192.168.15.4, fd15::4
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pytest_netns import (
    Bridge,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
)

COLOURS = ("red", "blue", "green", "orange")
CABLE = Topology(
    Namespace("red"),
    Namespace("blue"),
    Veth("red:veth-red", "blue:veth-blue", subnet=["192.168.15.0/24", "fd15::/64"]),
)

LENGTHS = {"192.168.15.": 24, "fd15::": 64}
both_families = pytest.mark.parametrize("prefix", LENGTHS)


def switch(*host_addresses: str) -> Topology:
    """Return four machines on a bridge that the host has as a device."""
    return Topology(
        Namespace("host"),
        Bridge("v-net-0", namespace="host", address=host_addresses),
        *(Namespace(colour) for colour in COLOURS),
        *(
            Veth(
                f"{colour}:veth-{colour}",
                f"v-net-0:veth-{colour}-br",
                address=[f"192.168.15.{number}/24", f"fd15::{number}/64"],
            )
            for number, colour in enumerate(COLOURS, start=1)
        ),
    )


def names(namespace: NetworkNamespace) -> list[str]:
    """Return the names of the interfaces that a namespace has."""
    return [interface.name for interface in namespace.interfaces]


class TestAlone:
    """Namespaces without a cable."""

    @pytest.mark.netns(Namespace("red"), Namespace("blue"))
    def test_nothing_is_there(self, netns: Network) -> None:
        """A new namespace has a loopback interface, no route and no neighbour."""
        for namespace in netns:
            assert names(namespace) == ["lo"]
            assert (namespace.routes(), namespace.neighbours()) == ([], [])
            assert namespace.run("ip -brief link").stdout.split()[0] == "lo"
            assert namespace.run("ip route").stdout == ""
            assert namespace.run("ip neighbour").stdout == ""

    @pytest.mark.netns(Namespace("red"))
    @pytest.mark.parametrize("target", ["127.0.0.1", "::1"])
    def test_loopback_is_up(self, netns: Network, target: str) -> None:
        """A namespace reaches itself without being told to set anything up."""
        assert netns["red"].ping(target)
        assert netns["red"].interface("lo").is_up

    @pytest.mark.netns(Namespace("red"), Namespace("blue"))
    @both_families
    def test_others_are_unreachable(self, netns: Network, prefix: str) -> None:
        """Without a cable the other's network is unreachable."""
        assert netns["red"].ping(f"{prefix}2").error == "network unreachable"


class TestCable:
    """Two namespaces with a cable."""

    @both_families
    def test_each_learns_the_other(self, netns: Network, prefix: str) -> None:
        """Once they have talked, each knows the other's MAC address, and no more."""
        netns.add(*CABLE)
        red, blue = netns["red"], netns["blue"]
        assert red.ping(f"{prefix}2")

        def known_to(namespace: NetworkNamespace) -> list[tuple[str, str, str | None]]:
            return [
                (entry.address, entry.dev, entry.lladdr)
                for entry in namespace.neighbours()
                if entry.address.startswith(prefix)
            ]

        red_mac = red.interface("veth-red").lladdr
        blue_mac = blue.interface("veth-blue").lladdr
        assert known_to(red) == [(f"{prefix}2", "veth-red", blue_mac)]
        blue.wait_until(
            lambda: known_to(blue) == [(f"{prefix}1", "veth-blue", red_mac)]
        )

    @pytest.mark.netns(CABLE)
    def test_nobody_else_knows(self, netns: Network) -> None:
        """The machine itself and another namespace know nothing of the two."""
        netns.add(Namespace("host"))
        assert netns["red"].ping("blue")
        assert netns["red"].neighbours() != []
        assert netns["host"].neighbours() == []
        assert names(netns["host"]) == ["lo"]
        mac = netns["red"].interface("veth-red").lladdr
        assert mac not in Path("/proc/net/arp").read_text(encoding="ascii")

    @pytest.mark.netns(CABLE)
    @pytest.mark.parametrize("pulled_at", ["red", "blue"])
    def test_one_end_takes_the_other(self, netns: Network, pulled_at: str) -> None:
        """When one end is deleted, the other is gone as well."""
        netns[pulled_at].run(f"ip link del veth-{pulled_at}")
        assert names(netns["red"]) == names(netns["blue"]) == ["lo"]
        assert netns["red"].ping("192.168.15.2").error == "network unreachable"


class TestSwitch:
    """Four namespaces on a switch, and the host that has it as a device."""

    @pytest.mark.netns(switch())
    @both_families
    def test_all_can_talk(self, netns: Network, prefix: str) -> None:
        """Each of the twelve pairs can, though the host has no address there."""
        for one, two in itertools.permutations(range(4), 2):
            assert netns[COLOURS[one]].ping(f"{prefix}{two + 1}")

    @pytest.mark.netns(switch())
    def test_an_interface_beside_others(self, netns: Network) -> None:
        """The host has the switch and its ports as interfaces, with their names."""
        ports = [f"veth-{colour}-br" for colour in COLOURS]
        assert names(netns["host"]) == ["lo", "v-net-0", *ports]
        assert netns["host"].interface("v-net-0").is_up
        for colour in COLOURS:
            assert names(netns[colour]) == ["lo", f"veth-{colour}"]

    @pytest.mark.netns(switch())
    @both_families
    def test_host_without_an_address(self, netns: Network, prefix: str) -> None:
        """The host reaches nobody, until an address is added to its interface."""
        host = netns["host"]
        assert host.ping(f"{prefix}1").error == "network unreachable"
        host.run(f"ip addr add {prefix}5/{LENGTHS[prefix]} dev v-net-0")
        for number in range(1, 5):
            assert host.ping(f"{prefix}{number}")
        # the kernel takes a moment to answer for an IPv6 address
        netns["red"].wait_until(lambda: netns["red"].ping(f"{prefix}5", timeout=0.2))

    @both_families
    def test_host_with_an_address(self, netns: Network, prefix: str) -> None:
        """With an address declared, host and machines reach each other at once."""
        netns.add(*switch(f"{prefix}5/{LENGTHS[prefix]}"))
        for number, colour in enumerate(COLOURS, start=1):
            assert netns["host"].ping(f"{prefix}{number}")
            assert netns[colour].ping(f"{prefix}5")

    def test_two_networks_of_the_same_kind(self, netns_manager: NetworkManager) -> None:
        """Two such networks at the same time have nothing to do with each other."""
        topology = switch("192.168.15.5/24")
        with (
            netns_manager.build(topology) as one,
            netns_manager.build(topology) as two,
        ):
            one.link("red:veth-red").set_down()
            assert two["host"].ping("192.168.15.1")
            assert not one["host"].ping("192.168.15.1", timeout=0.1)
