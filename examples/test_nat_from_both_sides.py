"""NAT, seen from both sides: the same conversation under two names.

home eth0 192.168.1.2 ─── 192.168.1.1 lan  gateway  wan 203.0.113.1 ─── 203.0.113.80 web
"""

from __future__ import annotations

from urllib.request import urlopen

import pytest
from scapy.layers.inet import IP, TCP

from pytest_netns import DNAT, Masquerade, Namespace, Network, Route, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("home", routes=[Route("default", via="192.168.1.1")]),
        Namespace(
            "gateway",
            forwarding=True,
            nat=[
                Masquerade(out_interface="wan"),
                DNAT("192.168.1.2:80", port=8080, in_interface="wan"),
            ],
        ),
        Namespace("web"),
        Veth(
            "home:eth0",
            "gateway:lan",
            address="192.168.1.2/24",
            peer_address="192.168.1.1/24",
        ),
        Veth(
            "gateway:wan",
            "web:eth0",
            address="203.0.113.1/24",
            peer_address="203.0.113.80/24",
        ),
    )
)
SERVER = ["python3", "-m", "http.server", "80"]


def test_out(netns: Network) -> None:
    """Inside it is the private address that speaks, outside it is the gateway's."""
    netns["web"].popen(SERVER).wait_listening(80)
    with netns.capture("gateway:lan", "gateway:wan", bpf_filter="tcp") as capture:
        assert netns["home"].call(urlopen, "http://web/").status == 200

    (inside,) = capture.assert_seen(
        lambda p: p.interface == "lan" and p[TCP].flags == "S"
    )
    (outside,) = capture.assert_seen(
        lambda p: p.interface == "wan" and p[TCP].flags == "S"
    )
    assert (inside[IP].src, inside[IP].dst) == ("192.168.1.2", "203.0.113.80")
    assert (outside[IP].src, outside[IP].dst) == ("203.0.113.1", "203.0.113.80")
    assert inside[TCP].seq == outside[TCP].seq  # the same packet, one hop later
    assert inside[IP].ttl == outside[IP].ttl + 1


def test_no_private_address_outside(netns: Network) -> None:
    """What must never be seen outside is not, and the capture would have seen it."""
    netns["web"].popen(SERVER).wait_listening(80)
    with netns["web"].capture("eth0", positive_control=True) as capture:
        assert netns["home"].call(urlopen, "http://web/").status == 200
    capture.assert_seen(IP(src="203.0.113.1") / TCP(dport=80))
    capture.assert_not_seen("net 192.168.0.0/16")


def test_in(netns: Network) -> None:
    """A forwarded port: the web asks the gateway, and home gets the question."""
    netns["home"].popen(SERVER).wait_listening(80)
    with netns.capture("web:eth0", "home:eth0", bpf_filter="tcp") as capture:
        answer = netns["web"].call(urlopen, "http://203.0.113.1:8080/")
        assert answer.status == 200
    at_web = [packet for packet in capture.packets if packet.namespace == "web"]
    at_home = [packet for packet in capture.packets if packet.namespace == "home"]
    assert (at_web[0][IP].dst, at_web[0][TCP].dport) == ("203.0.113.1", 8080)
    assert (at_home[0][IP].dst, at_home[0][TCP].dport) == ("192.168.1.2", 80)
    assert at_web[0][IP].src == at_home[0][IP].src == "203.0.113.80"
