"""Bridges that Open vSwitch switches.

::

    ns1:eth1-ns1 192.168.0.1 ─── veth-ns1  OVS-1  veth-ns2 ─── 192.168.0.2 eth1-ns2:ns2
"""

from __future__ import annotations

import os
import re
import socket

import pytest

from pytest_netns import (
    Bridge,
    ClosedError,
    CommandError,
    Namespace,
    Network,
    NetworkNamespace,
    OpenVSwitch,
    OVSBridge,
    Topology,
    UnknownName,
    Veth,
)

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


def can_connect(client: NetworkNamespace, server: NetworkNamespace) -> bool:
    """Tell whether a connection is made, within a time that is plenty."""
    with server.socket() as listener, client.socket() as connection:
        listener.bind(("", 0))
        listener.listen()
        connection.settimeout(0.5)
        try:
            connection.connect((str(server.ip), listener.getsockname()[1]))
        except TimeoutError:
            return False
        return True


@on_lan
class TestTraffic:
    """What goes through."""

    def test_interfaces_and_addresses(self, netns: Network) -> None:
        """Each machine has its end of the cable, and nothing of the switch."""
        for number in ("1", "2"):
            machine = netns[f"ns{number}"]
            names = [interface.name for interface in machine.interfaces]
            assert names == ["lo", f"eth1-ns{number}"]
            assert str(machine.ip) == f"192.168.0.{number}"
            assert netns.link(f"OVS-1:veth-ns{number}").is_up

    @pytest.mark.parametrize("target", ["192.168.0.2", "fd00::2", "ns2"])
    def test_echoes(self, netns: Network, target: str) -> None:
        """Echoes come back, IPv4 and IPv6."""
        assert netns["ns1"].ping(target, count=3)

    def test_ping_program(self, netns: Network) -> None:
        """What the article does works as it is shown there."""
        output = netns["ns1"].run("ping -c1 -W1 192.168.0.2").stdout
        assert "1 received" in output

    @pytest.mark.parametrize("version", [4, 6])
    def test_tcp(self, netns: Network, version: int) -> None:
        """A megabyte arrives as it was sent, in both directions."""
        one, other = netns["ns1"], netns["ns2"]
        for sender, receiver in ((one, other), (other, one)):
            address = receiver.ip if version == 4 else receiver.ip6
            transfer(sender, receiver, str(address))

    def test_tcp_needs_checksums(self, netns: Network) -> None:
        """Where packets are switched in user space, TCP hangs on that setting.

        The datapath of user space is given packets without the checksum that the
        sender's interface has promised to compute, and so they arrive.
        """
        one, other = netns["ns1"], netns["ns2"]
        assert can_connect(one, other)
        one.run("ethtool -K eth1-ns1 tx on")
        assert can_connect(one, other) is not netns._fabric.ovs_is_in_user_space
        assert one.ping("ns2")  # echoes have their checksum anyway
        one.run("ethtool -K eth1-ns1 tx off")
        assert can_connect(one, other)

    def test_port_down_and_up(self, netns: Network) -> None:
        """A port that is set down lets nothing through, until it is up again."""
        port = netns.link("OVS-1:veth-ns2")
        before = port.statistics.rx_packets
        assert netns["ns1"].ping("ns2")
        assert port.statistics.rx_packets > before
        port.set_down()
        assert not netns["ns1"].ping("ns2", timeout=0.1)
        port.set_up()
        assert netns["ns1"].ping("ns2")


@on_lan
class TestTools:
    """ovs-vsctl, ovs-ofctl and ovs-appctl against the network's own daemons."""

    def test_show(self, netns: Network) -> None:
        """``show`` lists the network's bridge and its ports, and nothing else."""
        shown = netns.switch("OVS-1").vsctl("show")
        assert re.findall(r"Bridge (\S+)", shown) == ["OVS-1"]
        ports = re.findall(r"Port (\S+)", shown)
        assert sorted(ports) == ["OVS-1", "veth-ns1", "veth-ns2"]
        assert re.search(r'ovs_version: "\d+\.\d+', shown)

    def test_words_or_one_string(self, netns: Network) -> None:
        """Arguments are words, or one string that is split as by a shell."""
        switch = netns.switch("OVS-1")
        assert switch.vsctl("list-ports OVS-1").split() == ["veth-ns1", "veth-ns2"]
        switch.vsctl("set", "bridge", "OVS-1", "external_ids:a=two words")
        switch.vsctl("set bridge OVS-1 'external_ids:b=two more'")
        got = switch.vsctl("get bridge OVS-1 external_ids")
        assert got == '{a="two words", b="two more"}\n'

    def test_a_tool_that_fails(self, netns: Network) -> None:
        """The error shows what the tool says."""
        with pytest.raises(CommandError) as caught:
            netns.switch("OVS-1").vsctl("list-ports OVS-9")
        assert "no bridge named OVS-9" in caught.value.stderr
        assert "no bridge named OVS-9" in str(caught.value)

    def test_flows(self, netns: Network) -> None:
        """A flow that drops keeps packets back, until it is deleted."""
        one, other, switch = netns["ns1"], netns["ns2"], netns.switch("OVS-1")
        assert one.ping("ns2")
        switch.ofctl("add-flow", "priority=9,in_port=1,actions=drop")
        assert not one.ping("ns2", timeout=0.1)
        assert not other.ping("ns1", timeout=0.1)
        flows = switch.ofctl("--no-names dump-flows")
        (dropped,) = re.findall(r"n_packets=(\d+).*in_port=1 actions=drop", flows)
        assert int(dropped) > 0
        switch.ofctl("del-flows", "in_port=1")
        assert one.ping("ns2")

    def test_ports_are_numbered_in_order(self, netns: Network) -> None:
        """The first cable is port 1, also of what is added later."""
        names = [f"late{number}" for number in range(8)]
        netns.add(
            *(Namespace(name) for name in names),
            *(Veth(name, f"OVS-1:{name}") for name in names),
        )
        described = netns.switch("OVS-1").ofctl("show")
        numbered = re.findall(r"^ (\d+)\((\S+)\)", described, re.MULTILINE)
        expected = ["veth-ns1", "veth-ns2", *names]
        assert sorted((int(number), name) for number, name in numbered) == list(
            enumerate(expected, start=1)
        )

    def test_options_of_ofctl(self, netns: Network) -> None:
        """Options come before the command, with their values or without."""
        switch = netns.switch("OVS-1")
        assert "OF1.3" in switch.ofctl("-O OpenFlow13 dump-flows")
        assert "OF1.3" in switch.ofctl("--protocols=OpenFlow13", "dump-flows")
        assert "NORMAL" in switch.ofctl("dump-flows")
        assert "NORMAL" in switch.ofctl("dump-flows", "table=0")

    def test_appctl(self, netns: Network) -> None:
        """The daemon itself answers: what the bridge has learnt."""
        assert netns["ns1"].ping("ns2")
        table = netns.switch("OVS-1").appctl("fdb/show", "OVS-1")
        for number in ("1", "2"):
            lladdr = netns[f"ns{number}"].interface(f"eth1-ns{number}").lladdr
            assert lladdr in table

    def test_vlan_tags(self, netns: Network) -> None:
        """Ports of different VLANs are apart, ports of one together."""
        one, switch = netns["ns1"], netns.switch("OVS-1")
        assert one.ping("ns2")
        switch.vsctl("set port veth-ns1 tag=10 -- set port veth-ns2 tag=20")
        assert not one.ping("ns2", timeout=0.1)
        switch.vsctl("set port veth-ns2 tag=10")
        assert one.ping("ns2")


@on_lan
class TestObject:
    """`network["OVS-1"]`."""

    def test_by_name(self, netns: Network) -> None:
        """It is one and the same object, and no namespace."""
        switch = netns.switch("OVS-1")
        assert isinstance(switch, OpenVSwitch)
        found: object = netns["OVS-1"]
        assert found is switch
        assert switch.name == "OVS-1"
        assert repr(switch) == "<OpenVSwitch 'OVS-1'>"
        assert "OVS-1" not in netns
        assert [namespace.name for namespace in netns] == ["ns1", "ns2"]
        assert len(netns) == 2

    @pytest.mark.parametrize("name", ["OVS-9", "ns1", "br0"])
    def test_nobody_else_is_one(self, netns: Network, name: str) -> None:
        """Namespaces and other bridges are none; the error names those that are."""
        netns.add(Bridge("br0"))
        with pytest.raises(UnknownName, match="'OVS-1'"):
            netns.switch(name)

    def test_after_close(self, netns: Network) -> None:
        """A closed network has no switch."""
        switch = netns.switch("OVS-1")
        netns.close()
        with pytest.raises(ClosedError):
            switch.vsctl("show")
        assert repr(switch) == "<OpenVSwitch 'OVS-1' closed>"
        with pytest.raises(ClosedError):
            netns.link("OVS-1:veth-ns1")
