"""A port scanner of three lines, and what it looks like to those who are scanned.

scanner eth0 192.0.2.1 ─── 192.0.2.2 eth0 target
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP

from pytest_netns import Namespace, Network, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("scanner"),
        Namespace(
            "target",
            nftables="""
                table inet filter {
                    chain input {
                        type filter hook input priority filter
                        tcp dport 23 drop
                        tcp dport 25 reject
                    }
                }
            """,
        ),
        Veth("scanner", "target", subnet="192.0.2.0/24"),
    )
)
PORTS = [22, 23, 25, 80]


@pytest.fixture
def target(netns: Network) -> str:
    """Give the address of a machine that has two servers."""
    target = netns["target"]
    for port in (22, 80):
        target.popen(["python3", "-m", "http.server", str(port)])
    for port in (22, 80):
        target.wait_listening(port)
    return str(target.ip)


def test_scan(netns: Network, target: str) -> None:
    """Open ports say SYN-ACK; others say reset, or an ICMP error, or nothing."""
    scanner = netns["scanner"]
    answered, unanswered = scanner.sr(
        IP(dst=target) / TCP(dport=[*PORTS, 81], flags="S"), timeout=0.5
    )
    opened = [probe[TCP].dport for probe, answer in answered
              if TCP in answer and answer[TCP].flags == "SA"]  # fmt: skip
    closed = [probe[TCP].dport for probe, answer in answered
              if TCP in answer and answer[TCP].flags == "RA"]  # fmt: skip
    rejected = [probe[TCP].dport for probe, answer in answered if ICMP in answer]
    assert sorted(opened) == [22, 80]
    assert closed == [81]
    assert rejected == [25]
    assert [probe[TCP].dport for probe in unanswered] == [23]


def test_the_scanner_hangs_up(netns: Network, target: str) -> None:
    """The scanner's kernel knows of no connection, and resets what is answered."""
    with netns["target"].capture("eth0", bpf_filter="tcp port 80") as capture:
        answer = netns["scanner"].sr1(IP(dst=target) / TCP(dport=80, flags="S"))
        assert answer is not None
        assert answer[TCP].flags == "SA"
        capture.wait(matching=TCP(dport=80, flags="R"))
    assert [str(packet[TCP].flags) for packet in capture.packets] == ["S", "SA", "R"]
    capture.assert_not_seen(TCP(dport=80, flags="A"))
