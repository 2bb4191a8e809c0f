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


def message(lladdr: str, *options: Any) -> Any:
    """Return a client's message: it has no address yet, and asks everybody."""
    return (
        Ether(src=lladdr, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(lladdr.replace(":", "")), xid=7, flags="B")
        / DHCP(options=[*options, "end"])
    )


def options_of(answer: Any) -> dict[str, Any]:
    """Return the options of an answer, by name."""
    return dict(one[:2] for one in answer[DHCP].options if isinstance(one, tuple))


def test_a_lease(netns: Network, dnsmasq: Process) -> None:
    """Discover, offer, request, acknowledge: the one address is the client's."""
    client = netns["client"]
    lladdr = client.interface("eth0").lladdr
    with netns.capture("client:eth0", bpf_filter="port 67 or port 68") as capture:
        offer = client.srp1(message(lladdr, ("message-type", 1)), dev="eth0", timeout=5)
        assert offer is not None
        assert options_of(offer)["message-type"] == 2
        assert offer[BOOTP].yiaddr == "192.0.2.100"
        request = message(
            lladdr,
            ("message-type", 3),
            ("requested_addr", offer[BOOTP].yiaddr),
            ("server_id", options_of(offer)["server_id"]),
        )
        answer = client.srp1(request, dev="eth0", timeout=5)
    assert options_of(answer)["message-type"] == 5
    assert options_of(answer)["lease_time"] == 3600
    dnsmasq.wait_for_output(f"DHCPACK.*192.0.2.100 {lladdr}")
    assert [options_of(packet)["message-type"] for packet in capture.packets] == [
        *(1, 2, 3, 5)
    ]
    print(capture.flow())


@pytest.mark.usefixtures("dnsmasq")
def test_nothing_left_to_give(netns: Network) -> None:
    """A second client is refused the address of the first."""
    client = netns["client"]
    first, second = "02:00:00:00:00:01", "02:00:00:00:00:02"
    want = ("requested_addr", "192.0.2.100")
    request = ("message-type", 3), want, ("server_id", "192.0.2.1")
    assert options_of(client.srp1(message(first, *request), dev="eth0", timeout=5))[
        "message-type"
    ] == 5  # fmt: skip
    refusal = client.srp1(message(second, *request), dev="eth0", timeout=5)
    assert options_of(refusal)["message-type"] == 6  # DHCPNAK
