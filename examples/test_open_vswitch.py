"""Two machines on a switch of Open vSwitch, which does as it is told.

OVS-1
├── ns1:eth1-ns1  192.168.0.1/24
└── ns2:eth1-ns2  192.168.0.2/24

Nothing needs to run before: the daemons come with the network, and go with it.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, OVSBridge, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("ns1"),
        Namespace("ns2"),
        OVSBridge("OVS-1"),
        Veth("ns1:eth1-ns1", "OVS-1:veth-ns1", address="192.168.0.1/24"),
        Veth("ns2:eth1-ns2", "OVS-1:veth-ns2", address="192.168.0.2/24"),
    )
)


def test_the_switch(netns: Network) -> None:
    """It has two ports; neither they nor it are seen by the machines."""
    shown = netns.switch("OVS-1").vsctl("show")
    assert "Port veth-ns1" in shown
    assert "Port veth-ns2" in shown
    for name in ("ns1", "ns2"):
        devices = netns[name].run("ls /sys/class/net").stdout.split()
        assert devices == [f"eth1-{name}", "lo"]
    assert netns["ns1"].ping("ns2")


def test_a_flow(netns: Network) -> None:
    """What a flow of the test's own says, is done."""
    switch = netns.switch("OVS-1")
    assert netns["ns1"].ping("192.168.0.2")
    switch.ofctl("add-flow", "icmp,actions=drop")
    assert not netns["ns1"].ping("192.168.0.2", timeout=0.1)
    switch.ofctl("del-flows", "icmp")
    assert netns["ns1"].ping("192.168.0.2")


def read_page(client: NetworkNamespace, server: str) -> bytes:
    """Return the page that a web server has."""
    connection = HTTPConnection(server, timeout=5)
    with client:
        connection.connect()
    connection.request("GET", "/")
    page = connection.getresponse().read()
    connection.close()
    return page


def test_two_servers_on_one_port(netns: Network) -> None:
    """Each machine has its own port 80, and a server there that shows its own files."""
    command = [sys.executable, "-m", "http.server", "80", "-d", "/sys/class/net"]
    for machine in netns:
        machine.popen(command).wait_listening(80)

    for client in netns:
        assert b"eth1-ns1" in read_page(client, "192.168.0.1")
        assert b"eth1-ns2" in read_page(client, "192.168.0.2")
