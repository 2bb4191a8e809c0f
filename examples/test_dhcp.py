"""A DHCP server under test: a real dnsmasq, and a client made of four packets.

client eth0 ─── eth0 192.0.2.1 server (dnsmasq)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pytest_netns import Namespace, Network, Process, Topology, Veth

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("client"),
        Namespace("server"),
        Veth("client:eth0", "server:eth0", peer_address="192.0.2.1/24"),
    ),
    requires=["dnsmasq"],
)
RANGE = "192.0.2.100,192.0.2.100,1h"


@pytest.fixture
def dnsmasq(netns: Network, tmp_path: Path) -> Process:
    """Give a server that has one address to give away."""
    process = netns["server"].popen(
        ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--no-ping",
         "--user=root", "--interface=eth0", "--log-dhcp", f"--dhcp-range={RANGE}",
         f"--dhcp-leasefile={tmp_path / 'leases'}", "--dhcp-authoritative"]
    )  # fmt: skip
    process.wait_listening(67, protocol="udp")
    return process


def message(kind: str, lladdr: str, *options: Any) -> Any:
    """Return a client's message: it has no address yet, and asks everybody."""
    return (
        Ether(src=lladdr, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(lladdr.replace(":", "")), xid=7, flags="B")
        / DHCP(options=[("message-type", kind), *options, "end"])
    )


def answer(kind: str, **fields: Any) -> Any:
    """Describe a server's message, by what matters."""
    return BOOTP(op="BOOTREPLY", **fields) / DHCP(options=[("message-type", kind)])


@pytest.mark.usefixtures("dnsmasq")
def test_a_lease(netns: Network) -> None:
    """Discover, offer, request, acknowledge: the one address is the client's."""
    client = netns["client"]
    lladdr = client.interface("eth0").lladdr
    with netns.capture("client:eth0", bpf_filter="port 67 or port 68") as capture:
        client.sendp(message("discover", lladdr), dev="eth0")
        (offer,) = capture.wait(matching=answer("offer"))
        wanted = ("requested_addr", offer[BOOTP].yiaddr), ("server_id", "192.0.2.1")
        client.sendp(message("request", lladdr, *wanted), dev="eth0")
        capture.wait(matching=answer("ack", yiaddr="192.0.2.100"))
    capture.assert_seen(DHCP(options=[("lease_time", 3600), ("router", "192.0.2.1")]))
    assert len(capture) == 4
    print(capture.flow())


def test_nothing_left_to_give(netns: Network, dnsmasq: Process) -> None:
    """A second client is refused the address of the first."""
    client = netns["client"]
    first, second = "02:00:00:00:00:01", "02:00:00:00:00:02"
    wanted = ("requested_addr", "192.0.2.100"), ("server_id", "192.0.2.1")
    with client.capture("eth0", bpf_filter="port 67 or port 68") as capture:
        client.sendp(message("request", first, *wanted), dev="eth0")
        capture.wait(matching=answer("ack"))
        client.sendp(message("request", second, *wanted), dev="eth0")
        capture.wait(matching=answer("nak"))
    dnsmasq.wait_for_output(f"DHCPNAK.*192.0.2.100 {second}")
    capture.assert_seen(answer("ack"), count=1)
