"""Packets in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, LLC, STP, Dot1Q, Dot3, Ether
from scapy.layers.vxlan import VXLAN

from pytest_netns._frame import ETHERNET, RAW_IP, Frame
from pytest_netns._labels import label_of
from pytest_netns._scapy import dissect

if TYPE_CHECKING:
    from scapy.packet import Packet

LLADDR = "02:00:00:00:00:01"
NOBODY = "00:00:00:00:00:00"
CLIENT = b"\x02\0\0\0\0\1"


def label(packet: Packet) -> str:
    """Return the label of a packet after it was captured."""
    data = bytes(packet)
    linktype = ETHERNET if isinstance(packet, Ether | Dot3) else RAW_IP
    return label_of(dissect(Frame(0, "left", "eth0", "in", data, len(data), linktype)))


def arp(**fields: Any) -> Any:
    """Return an ARP packet in which scapy has nothing to look up."""
    header = Ether(src=LLADDR, dst=LLADDR, type=0x806)
    return header / ARP(**{"hwsrc": LLADDR, "hwdst": NOBODY} | fields)


def v4(**fields: Any) -> Any:
    """Return a header from 10.0.1.1 to 10.0.2.1."""
    return IP(**{"src": "10.0.1.1", "dst": "10.0.2.1"} | fields)


def v6(**fields: Any) -> Any:
    """Return a header from fd00::1 to fd00::2."""
    return IPv6(**{"src": "fd00::1", "dst": "fd00::2"} | fields)


def dhcp(kind: str, *options: Any, **fields: Any) -> Any:
    """Return a message of DHCP's."""
    message = BOOTP(**{"chaddr": CLIENT} | fields)
    types = [("message-type", kind), *options, "end"]
    return v4() / UDP(sport=68, dport=67) / message / DHCP(options=types)


def dns(**fields: Any) -> Any:
    """Return a message about example.org."""
    asked = DNS(**{"qd": DNSQR(qname="example.org", qtype="A")} | fields)
    return v4() / UDP(sport=53, dport=53) / asked


def answer(address: str) -> DNSRR:
    """Return a record of example.org."""
    return DNSRR(rrname="example.org", rdata=address)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (arp(psrc="10.0.0.1", pdst="10.0.0.2"), "ARP who has 10.0.0.2? tell 10.0.0.1"),
        (arp(psrc="0.0.0.0", pdst="10.0.0.2"), "ARP is 10.0.0.2 taken?"),
        (arp(psrc="10.0.0.2", pdst="10.0.0.2"), "ARP 10.0.0.2 announces itself"),
        (arp(op=2, psrc="10.0.0.2"), f"ARP 10.0.0.2 is at {LLADDR}"),
        (v4() / ICMP(), "ICMP echo-request 10.0.1.1 > 10.0.2.1 ttl=64"),
        (v4(ttl=3) / ICMP(type=11), "ICMP time-exceeded 10.0.1.1 > 10.0.2.1 ttl=3"),
        (
            v4() / ICMP(type=3, code=3) / v4() / UDP(),
            "ICMP port-unreachable 10.0.1.1 > 10.0.2.1 ttl=64",
        ),
        (
            v4() / TCP(sport=40000, dport=80, flags="SA"),
            "TCP 10.0.1.1:40000 > 10.0.2.1:80 SA ttl=64",
        ),
        (
            v4() / TCP(sport=40000, dport=80, flags="PA") / b"GET",
            "TCP 10.0.1.1:40000 > 10.0.2.1:80 PA 3 bytes ttl=64",
        ),
        (
            v6() / TCP(sport=40000, dport=80, flags="R") / b"!",
            "TCP [fd00::1]:40000 > [fd00::2]:80 R 1 byte hlim=64",
        ),
        (v4() / UDP(sport=9, dport=7), "UDP 10.0.1.1:9 > 10.0.2.1:7 ttl=64"),
        (dns(), "DNS A example.org? 10.0.1.1 > 10.0.2.1 ttl=64"),
        (
            dns(qr=1, an=[answer("10.0.0.3"), answer("10.0.0.4")]),
            "DNS A example.org is 10.0.0.3, 10.0.0.4 10.0.1.1 > 10.0.2.1 ttl=64",
        ),
        (
            dns(qr=1, rcode=3),
            "DNS A example.org: name-error 10.0.1.1 > 10.0.2.1 ttl=64",
        ),
        (dns(qr=1), "DNS A example.org: no answer 10.0.1.1 > 10.0.2.1 ttl=64"),
        (dhcp("discover"), f"DHCP discover from {LLADDR} ttl=64"),
        (
            dhcp("request", ("requested_addr", "10.0.1.5")),
            f"DHCP request 10.0.1.5 from {LLADDR} ttl=64",
        ),
        (
            dhcp("offer", op=2, yiaddr="10.0.1.5"),
            f"DHCP offer 10.0.1.5 to {LLADDR} ttl=64",
        ),
        (
            v6(hlim=3) / ICMPv6EchoRequest(),
            "ICMPv6 echo-request fd00::1 > fd00::2 hlim=3",
        ),
        (v6() / ICMPv6EchoReply(), "ICMPv6 echo-reply fd00::1 > fd00::2 hlim=64"),
        (
            v6() / IPv6ExtHdrHopByHop() / ICMPv6EchoReply(),
            "ICMPv6 echo-reply fd00::1 > fd00::2 hlim=64",
        ),
        (
            v6(hlim=255) / ICMPv6ND_NS(tgt="fd00::2"),
            "ICMPv6 who has fd00::2? tell fd00::1 hlim=255",
        ),
        (
            v6(src="::", hlim=255) / ICMPv6ND_NS(tgt="fd00::2"),
            "ICMPv6 is fd00::2 taken? hlim=255",
        ),
        (
            v6() / ICMPv6ND_NA(tgt="fd00::1") / ICMPv6NDOptDstLLAddr(lladdr=LLADDR),
            f"ICMPv6 fd00::1 is at {LLADDR} hlim=255",
        ),
        (v6() / ICMPv6ND_RS(), "ICMPv6 Router Solicitation fd00::1 > fd00::2 hlim=255"),
        (
            v4(frag=185, proto=17) / b"x",
            "IP 10.0.1.1 > 10.0.2.1 fragment at 1480 ttl=64",
        ),
        (v4(proto=253) / b"x", "IP 10.0.1.1 > 10.0.2.1 protocol 253 ttl=64"),
        (v4(proto=2) / b"x", "IP 10.0.1.1 > 10.0.2.1 igmp ttl=64"),
        (
            v6(hlim=1) / IPv6ExtHdrHopByHop() / ICMPv6MLReport2(),
            "ICMPv6 MLDv2 - Multicast Listener Report fd00::1 > fd00::2 hlim=1",
        ),
        (v6(nh=59) / IPv6ExtHdrRouting(), "IPv6 fd00::1 > fd00::2 hlim=64"),
        (
            Ether(src=LLADDR, dst=LLADDR, type=0x8100) / Dot1Q(vlan=5) / v4() / ICMP(),
            "VLAN 5 ICMP echo-request 10.0.1.1 > 10.0.2.1 ttl=64",
        ),
        (
            v4() / UDP(dport=4789) / VXLAN(vni=42) / arp(op=2, psrc="10.9.0.1"),
            f"VXLAN 42 ARP 10.9.0.1 is at {LLADDR}",
        ),
        (
            v4() / GRE() / v4(src="10.9.0.1", dst="10.9.0.2") / ICMP(),
            "GRE ICMP echo-request 10.9.0.1 > 10.9.0.2 ttl=64",
        ),
        (
            v4() / v6() / ICMPv6EchoRequest(),
            "tunnelled ICMPv6 echo-request fd00::1 > fd00::2 hlim=64",
        ),
    ],
)
def test_a_packet_in_a_few_words(packet: Packet, text: str) -> None:
    """Who says what to whom, and how far it may still go."""
    assert label(packet) == text


def test_other_packets_are_described_by_scapy() -> None:
    """Such as those of the spanning tree."""
    packet: Any = Dot3(src=LLADDR, dst="01:80:c2:00:00:00")

    assert label(packet / LLC() / STP()).endswith("LLC / STP")


@pytest.mark.parametrize("length", range(1, 91, 3))
def test_a_packet_that_is_cut_off_has_a_label(length: int) -> None:
    """Wherever the cut is."""
    data = bytes(dns(qr=1, an=answer("10.0.0.3")))[:length]

    assert label_of(dissect(Frame(0, "a", "b", "in", data, 200, RAW_IP)))


@given(st.binary(min_size=1, max_size=80))
def test_noise_has_a_label(data: bytes) -> None:
    """Whatever scapy makes of it."""
    header = bytes(v4(proto=17) / UDP(sport=53, dport=67))

    for whole in (data, header + data):
        for linktype in (ETHERNET, RAW_IP):
            frame = Frame(0, "a", "b", "in", whole, len(whole), linktype)
            assert isinstance(label_of(dissect(frame)), str)
