"""Networks of many shapes with bridges of Open vSwitch, at once and later.

::

    ns1:eth1-ns1 192.168.0.1 ─── veth-ns1  OVS-1  veth-ns2 ─── 192.168.0.2 eth1-ns2:ns2
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    DuplicateName,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    OVSBridge,
    RulesetError,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NS1 = ("192.168.0.1/24", "fd00::1/64")
NS2 = ("192.168.0.2/24", "fd00::2/64")
LAN = Topology(
    Namespace("ns1"),
    Namespace("ns2"),
    OVSBridge("OVS-1"),
    Veth("ns1:eth1-ns1", "OVS-1:veth-ns1", address=NS1),
    Veth("ns2:eth1-ns2", "OVS-1:veth-ns2", address=NS2),
)
needs = pytest.mark.netns(requires=("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"))
pytestmark = needs
on_lan = pytest.mark.netns(LAN)


def transfer(sender: NetworkNamespace, receiver: NetworkNamespace, host: str) -> None:
    """Send a megabyte by TCP, and see that it arrives."""
    data = os.urandom(1 << 20)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with receiver.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        sending = sender.spawn(send, listener.getsockname()[:2], data)
        connection, _ = listener.accept()
        with connection:
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        sending.result(timeout=20)
    assert received == data


def send(address: tuple[str, int], data: bytes) -> None:
    """Send all of it and close."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(data)


class TestShapes:
    """Networks that are more than two machines on one switch."""

    @pytest.mark.netns(
        Namespace("gw"),
        Namespace("pc"),
        OVSBridge("OVS-1", namespace="gw", address="10.0.0.254/24"),
        Veth("pc:eth0", "OVS-1", address="10.0.0.1/24"),
    )
    def test_device_of_a_machine(self, netns: Network) -> None:
        """The machine has the switch as a device, with an address.

        pc 10.0.0.1 ─── OVS-1 10.0.0.254 in gw
        """
        device = netns["gw"].interface("OVS-1")
        assert [str(one) for one in device.addresses][:1] == ["10.0.0.254/24"]
        assert netns["pc"].ping("gw")
        transfer(netns["gw"], netns["pc"], "10.0.0.1")
        transfer(netns["pc"], netns["gw"], "10.0.0.254")

    @pytest.mark.netns(
        OVSBridge("OVS-1", subnet=["10.0.0.0/24", "fd00::/64"]),
        *(Namespace(name) for name in "abcd"),
        *(Veth(name, "OVS-1") for name in "abcd"),
    )
    def test_subnet(self, netns: Network) -> None:
        """A subnet hands out addresses as that of any bridge does.

        a, b, c, d ─── OVS-1
        """
        assert [str(one.ip) for one in netns] == [f"10.0.0.{n}" for n in range(1, 5)]
        for one in netns:
            for other in netns:
                assert one.ping(str(other.ip))
                assert one.ping(str(other.ip6))

    @pytest.mark.netns(
        Namespace("a"),
        Namespace("b"),
        Namespace("c"),
        Bridge("br0"),
        OVSBridge("OVS-1"),
        OVSBridge("OVS-2"),
        Veth("a:eth0", "br0", address="10.0.0.1/24"),
        Veth("br0", "OVS-1"),
        Veth("b:eth0", "OVS-1", address="10.0.0.2/24"),
        Veth("OVS-1", "OVS-2"),
        Veth("c:eth0", "OVS-2", address="10.0.0.3/24"),
    )
    def test_joined_bridges(self, netns: Network) -> None:
        """Switches of both kinds are joined by cables.

        a ─── br0 ─── OVS-1 ─── OVS-2 ─── c, and b ─── OVS-1
        """
        for one in netns:
            for other in netns:
                if one is not other:
                    assert one.ping(other.name)
                    transfer(one, other, str(other.ip))

    def test_two_networks_at_once(self, netns_manager: NetworkManager) -> None:
        """Each network has its own OVS-1, and sees no other.

        ns1 ─── OVS-1 ─── ns2, twice
        """
        with netns_manager.build(LAN) as one, netns_manager.build(LAN) as other:
            one["OVS-1"]
            one.switch("OVS-1").vsctl("set port veth-ns1 tag=5")
            assert other["ns1"].ping("ns2")
            assert not one["ns1"].ping("ns2", timeout=0.1)
            other.add(OVSBridge("OVS-2"))
            assert "OVS-2" in other.switch("OVS-2").vsctl("show")
            assert "OVS-2" not in one.switch("OVS-1").vsctl("show")

    def test_names_are_shared(self) -> None:
        """All bridges of a network share one set of port names."""
        with pytest.raises(DuplicateName, match="share their names"):
            LAN.with_records(OVSBridge("OVS-2"), Veth("ns1", "OVS-2:veth-ns1"))


class TestLater:
    """Bridges and cables that come while the network is there."""

    def test_added_later(self, netns: Network) -> None:
        """A bridge, machines and cables are added one after another.

        red ─── OVS-1 ─── blue
        """
        netns.add(OVSBridge("OVS-1", subnet="10.0.0.0/24"))
        netns.add(Namespace("red"), Veth("red", "OVS-1"))
        netns.add(Namespace("blue"), Veth("blue", "OVS-1"))
        assert netns["red"].ping("blue")

    def test_first_packet_to_somebody_new(self, netns: Network) -> None:
        """Who is plugged in is reached at once, although packets went before.

        ns1 ─── OVS-1 ─── ns2, then a3, a4 and so on
        """
        netns.add(*LAN.records)
        for number in range(3, 20):
            assert netns["ns1"].ping("ns2")
            name = f"a{number}"
            netns.add(
                Namespace(name),
                Veth(name, "OVS-1", address=f"192.168.0.{number}/24"),
            )
            assert netns["ns1"].ping(name)

    @pytest.mark.parametrize("there", ["nothing", "machines", "bridge"])
    def test_a_step_that_fails(self, netns: Network, there: str) -> None:
        """All of the build is taken back, and the same names can be used again.

        ns1 ─── OVS-1 ─── ns2, but ns1 has a ruleset that nft refuses
        """
        late: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            "machines": lambda: netns.add(Namespace("ns2")),
            "bridge": lambda: netns.add(
                *(record for record in LAN.records if "ns1" not in repr(record))
            ),
        }
        late[there]()
        missing = [one for one in LAN.records if one not in netns.topology.records]
        with pytest.raises(RulesetError):
            netns.add(
                *(one for one in missing if one != Namespace("ns1")),
                OVSBridge("OVS-2"),
                Veth("ns2:more", "OVS-2:more"),
                Namespace("ns1", nftables="nonsense"),
            )
        if there == "bridge":
            shown = netns.switch("OVS-1").vsctl("show")
            assert re.findall(r"Bridge (\S+)", shown) == ["OVS-1"]
            assert "veth-ns1" not in shown
        if there != "nothing":
            assert "more" not in [one.name for one in netns["ns2"].interfaces]
        netns.add(*missing, OVSBridge("OVS-2"), Veth("ns2:more", "OVS-2:more"))
        assert netns["ns1"].ping("ns2")


def test_the_first_packet_goes_through(netns_manager: NetworkManager) -> None:
    """When a build returns, the first echo is answered, IPv4 and IPv6.

    ns1 ─── OVS-1 ─── ns2, two hundred times
    """
    lost = []
    for turn in range(200):
        with netns_manager.build(LAN) as network:
            target = ("192.168.0.2", "fd00::2")[turn % 2]
            result = network["ns1"].ping(target)
            if not result:
                lost.append((turn, result))
    assert lost == []
