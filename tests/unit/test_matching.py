"""Which packets an assertion means, by each of the ways to say it."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.base_classes import Net
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import NoPayload, Packet, Padding, Raw
from scapy.volatile import RandShort

from pytest_netns._frame import ETHERNET, RAW_IP, Frame
from pytest_netns._libpcap import is_available
from pytest_netns._matching import Matcher, matcher
from pytest_netns._scapy import dissect
from pytest_netns.errors import InvalidFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEFT, RIGHT = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
IPV4, IPV6, ARPED, TAGGED = 0x800, 0x86DD, 0x806, 0x8100

needs_libpcap = pytest.mark.skipif(not is_available(), reason="libpcap is missing")


def ether(kind: int) -> Any:
    """Return a header in which scapy has nothing to look up."""
    return Ether(src=LEFT, dst=RIGHT, type=kind)


def ipv4(**fields: Any) -> IP:
    """Return a header from 10.0.0.1 to 10.0.0.2."""
    return IP(**{"src": "10.0.0.1", "dst": "10.0.0.2"} | fields)


def frame_of(packet: Packet, **fields: Any) -> Frame:
    """Return a packet as it is captured."""
    data = bytes(packet)
    return Frame(0, "left", "eth0", "in", data, len(data), **fields)


PACKETS: dict[str, Packet] = {
    "syn": ether(IPV4)
    / ipv4()
    / TCP(sport=1024, dport=80, flags="S", options=[("MSS", 1460), ("WScale", 7)]),
    "tagged": ether(TAGGED) / Dot1Q(vlan=5, type=IPV4) / ipv4() / TCP(dport=443),
    "query": ether(IPV4)
    / ipv4()
    / UDP(sport=5353, dport=53)
    / DNS(qd=DNSQR(qname="example.org")),
    "arp": ether(ARPED)
    / ARP(hwsrc=LEFT, psrc="10.0.0.1", hwdst="00:00:00:00:00:00", pdst="10.0.0.2"),
    "refused": ether(IPV4)
    / ipv4()
    / ICMP(type=3, code=3)
    / IP(src="10.0.0.2", dst="192.0.2.9", proto=6)
    / TCP(dport=9),
    "tunnelled": ether(IPV4)
    / ipv4(dst="198.51.100.1", proto=4)
    / ipv4(dst="198.51.100.2")
    / UDP(sport=9, dport=7)
    / b"GET",
    "ping6": ether(IPV6) / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=9),
    "discover": ether(IPV4)
    / ipv4()
    / UDP(sport=68, dport=67)
    / BOOTP(chaddr=b"\x02\0\0\0\0\x0a")
    / DHCP(options=[("message-type", "discover"), ("hostname", b"left"), "end"]),
}
FRAMES = {name: frame_of(packet) for name, packet in PACKETS.items()}


def matching(wanted: Matcher) -> set[str]:
    """Return the names of the packets that a matcher means."""
    return {
        name
        for name, frame in FRAMES.items()
        if wanted.matches(frame, partial(dissect, frame))
    }


TCPS = {"syn", "tagged"}
IPS = set(FRAMES) - {"arp", "ping6"}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(TCP, TCPS, id="class"),
        pytest.param(Packet, set(FRAMES), id="every packet"),
        pytest.param(DNSQR, {"query"}, id="class inside a field"),
        pytest.param(IPerror, {"refused"}, id="class of what an error quotes"),
        pytest.param(IP(dst="10.0.0.2") / TCP(dport=80), {"syn"}, id="layers"),
        pytest.param(Ether() / TCP(), TCPS, id="layers between"),
        pytest.param(TCP() / IP(), set(), id="order counts"),
        pytest.param(Ether(dst=RIGHT.upper()), set(FRAMES), id="MAC in capitals"),
        pytest.param(Ether(dst="2:0:0:0:0:b"), set(FRAMES), id="short MAC"),
        pytest.param(IP(dst="192.0.2.9"), set(), id="quoted is not sent"),
        pytest.param(ICMP() / IP(dst="192.0.2.9"), {"refused"}, id="quoted by ICMP"),
        pytest.param(IPerror(dst="192.0.2.9") / TCPerror(), {"refused"}, id="quoted"),
        pytest.param(IP(dst="198.51.100.2"), {"tunnelled"}, id="the inner of two"),
        pytest.param(
            IP(dst="198.51.100.1") / IP(dst="198.51.100.2"), {"tunnelled"}, id="both"
        ),
        pytest.param(IP() / IP() / IP(), set(), id="one too many"),
        pytest.param(IP(dst="198.51.100.0/24"), {"tunnelled"}, id="network"),
        pytest.param(IP(src=Net("10.0.0.0/30")), IPS, id="Net"),
        pytest.param(IP(dst=["10.0.0.7", "10.0.0.2"]), IPS - {"tunnelled"}, id="list"),
        pytest.param(IP(src=("10.0.0.1", "10.0.0.3")), IPS, id="range of addresses"),
        pytest.param(TCP(dport=[80, 443]), TCPS, id="list of ports"),
        pytest.param(TCP(dport=(70, 80)), {"syn"}, id="range of ports"),
        pytest.param(TCP(dport=(70, 90, 3)), set(), id="range with steps"),
        pytest.param(TCP(flags="S"), TCPS, id="flags"),
        pytest.param(TCP(flags="SA"), set(), id="other flags"),
        pytest.param(TCP(options=[("MSS", 1460)]), {"syn"}, id="option"),
        pytest.param(TCP(options=[("MSS", 1400)]), set(), id="other option"),
        pytest.param(
            TCP(options=[("WScale", 7), ("MSS", 1460)]), set(), id="order of options"
        ),
        pytest.param(IPv6(dst="FD00:0:0::2"), {"ping6"}, id="IPv6 in any spelling"),
        pytest.param(IPv6(dst="fd00::/64"), {"ping6"}, id="IPv6 network"),
        pytest.param(
            IPv6() / ICMPv6EchoRequest(id=9), {"ping6"}, id="conditional field"
        ),
        pytest.param(ICMP(id=0), set(), id="field that this kind does not have"),
        pytest.param(ICMP(type=["echo-request", 3]), {"refused"}, id="names of values"),
        pytest.param(ARP(op="who-has", pdst="10.0.0.0/30"), {"arp"}, id="ARP"),
        pytest.param(DNSQR(qname="example.org"), {"query"}, id="record"),
        pytest.param(DNS(qd=DNSQR(qname="example.org")), {"query"}, id="in a list"),
        pytest.param(DNS(qd=DNSQR(qname="example.com")), set(), id="not in a list"),
        pytest.param(
            DHCP(options=[("message-type", "discover")]), {"discover"}, id="DHCP"
        ),
        pytest.param(BOOTP(chaddr=b"\x02\0\0\0\0\x0a"), {"discover"}, id="padded"),
        pytest.param(Raw(load="GET"), {"tunnelled"}, id="payload"),
        pytest.param(Raw(load=b"GE"), set(), id="part of a payload"),
        pytest.param(IP(dst=None, id=None), IPS, id="None is anything"),
        pytest.param(lambda p: p[TCP].dport == 80, {"syn"}, id="predicate"),
        pytest.param(lambda p: p["UDP"].dport == 53, {"query"}, id="layer by name"),
        pytest.param(lambda p: p.getlayer(ARP), {"arp"}, id="something true"),
    ],
)
def test_packets_are_meant(what: Any, expected: set[str]) -> None:
    """A class, a packet with the fields that matter, and a predicate say which."""
    assert matching(matcher(what)) == expected


@pytest.mark.parametrize("name", FRAMES)
def test_a_packet_means_itself(name: str) -> None:
    """What was sent, and what was captured, match what was captured."""
    assert name in matching(matcher(PACKETS[name]))
    assert matching(matcher(dissect(FRAMES[name]))) == {name}


def test_what_fills_a_frame_up_is_no_payload() -> None:
    """Padding is found if it is looked for by its own name."""
    frame = frame_of(PACKETS["arp"] / Padding(b"\0" * 18))
    parsed = partial(dissect, frame)

    assert matcher(Padding).matches(frame, parsed)
    assert not matcher(Raw).matches(frame, parsed)


@given(st.integers(1, 65535), st.integers(1, 65535), st.integers(0, 255), st.binary())
def test_all_fields_count(sport: int, dport: int, ttl: int, load: bytes) -> None:
    """A packet matches itself, and a packet that differs in one field does not."""
    packet = ether(IPV4) / ipv4(ttl=ttl) / TCP(sport=sport, dport=dport)
    frame = frame_of(packet / load)
    parsed = partial(dissect, frame)

    assert matcher(packet).matches(frame, parsed)
    assert not matcher(TCP(sport=sport ^ 1)).matches(frame, parsed)
    assert matcher(IP(ttl=ttl ^ 1) / TCP()).distance(parsed()) == 1


@needs_libpcap
def test_a_filter_looks_at_bytes_alone() -> None:
    """A packet is not parsed for it, and its length counts even if it was cut."""

    def parse() -> Packet:
        raise AssertionError

    wanted = matcher("tcp dst port 80")
    met = {name for name, frame in FRAMES.items() if wanted.matches(frame, parse)}
    cut = FRAMES["syn"]._replace(length=1500)

    assert met == {"syn"}
    assert wanted.describe() == "'tcp dst port 80'"
    assert matcher("greater 1000").matches(cut, parse)


@needs_libpcap
def test_a_filter_goes_with_every_kind_of_link() -> None:
    """Where there is no Ethernet, no packet has an Ethernet address."""
    bare = frame_of(PACKETS["syn"][IP], linktype=RAW_IP)
    parsed = partial(dissect, bare)

    assert FRAMES["syn"].linktype == ETHERNET
    assert matcher("tcp dst port 80").matches(bare, parsed)
    assert matcher(f"ether dst {RIGHT}").matches(FRAMES["syn"], parsed)
    assert not matcher(f"ether dst {RIGHT}").matches(bare, parsed)


@needs_libpcap
def test_a_bad_filter_is_refused_at_once() -> None:
    """And not when the first packet is compared."""
    with pytest.raises(InvalidFilter, match="syntax error"):
        matcher("tcp and and")


async def _coroutine(packet: Packet) -> bool:
    return TCP in packet


def _generator(packet: Packet) -> Iterator[bool]:
    yield TCP in packet


@pytest.mark.parametrize(
    "what",
    [None, 80, b"tcp", int, dict, [TCP], NoPayload(), _coroutine, _generator],
)
def test_nothing_else_describes_packets(what: Any) -> None:
    """Mistakes are told, and so are functions whose result is always true."""
    with pytest.raises(TypeError, match=r"packets are described by|is no predicate"):
        matcher(what)


def test_a_random_value_describes_nothing() -> None:
    """It would match by chance."""
    with pytest.raises(TypeError, match=re.escape("IP.id is <RandShort>")):
        matcher(IP(id=RandShort()) / TCP())


@pytest.mark.parametrize(
    ("predicate", "error"),
    [
        (lambda p: p.dpott == 80, AttributeError),
        (lambda p: p[TPC].dport == 80, NameError),  # type: ignore[name-defined]  # noqa: F821
        (lambda p: p["TPC"].dport == 80, IndexError),
        (lambda p: list(p.name)[99], IndexError),
        (lambda p: p.ttl / 0, ZeroDivisionError),
    ],
)
def test_an_error_in_a_predicate_is_not_swallowed(
    predicate: Callable[[Packet], object], error: type[Exception]
) -> None:
    """Else a typing error would make an assertion pass; it says which packet it was."""
    frame = FRAMES["query"]

    with pytest.raises(error) as caught:
        matcher(predicate).matches(frame, partial(dissect, frame))
    if sys.version_info >= (3, 11):
        (note,) = caught.value.__notes__
        assert "left:eth0 (in): IP / UDP / DNS Qry b'example.org.'" in note
