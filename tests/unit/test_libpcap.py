"""Filters in tcpdump's language, compiled by libpcap and run by the kernel."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pytest_netns import InvalidFilter, MissingTool
from pytest_netns._frame import ETHERNET, RAW_IP
from pytest_netns._libpcap import (
    SONAMES,
    OfflineFilter,
    _library,
    compile_filter,
    is_available,
)
from pytest_netns._socket_filter import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_netns._bpf import Instruction

SNAPLEN = 65535

needs_libpcap = pytest.mark.skipif(not is_available(), reason="there is no libpcap")


def received(code: Sequence[Instruction], packet: bytes) -> bytes | None:
    """Return what the kernel lets through of a packet; None if it rejects it."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        attach(receiver, code)
        sender.send(packet)
        try:
            return receiver.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None


def compiled(
    text: str, linktype: int = ETHERNET, snaplen: int = SNAPLEN
) -> list[Instruction]:
    """Compile a filter."""
    return compile_filter(text, linktype=linktype, snaplen=snaplen)


# with both addresses there is nothing to resolve
LINK = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:03")
WEB = LINK / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1234, dport=80)
DNS = LINK / IP(src="10.0.0.1", dst="10.0.0.3") / UDP(sport=1234, dport=53)
ECHO = LINK / IP(src="10.1.0.1", dst="10.0.0.1") / ICMP()
ECHO6 = (
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:03")
    / IPv6(src="fe80::1", dst="fe80::2")
    / ICMPv6EchoRequest()
)
WHO_HAS = LINK / ARP(pdst="10.0.0.9")
PACKETS = {"web": WEB, "dns": DNS, "echo": ECHO, "echo6": ECHO6, "who-has": WHO_HAS}

FILTERS = {
    "": "web dns echo echo6 who-has",
    " \n\t": "web dns echo echo6 who-has",
    "ip": "web dns echo",
    "ip6": "echo6",
    "arp": "who-has",
    "tcp port 80": "web",
    "tcp\nport\t80": "web",
    "port 80 or 53": "web dns",
    "host 10.0.0.1": "web dns echo",
    "src host 10.0.0.1 and not udp": "web",
    "src 10.0.0.1 && dst 10.0.0.3": "dns",
    "net 10.1": "echo",
    "net 10.1.0.0/16": "echo",
    "net 10.1.0.0 mask 255.255.0.0": "echo",
    "host fe80::1": "echo6",
    "net fe80::/64": "echo6",
    "host ::ffff:10.0.0.1 or fe80::2": "echo6",
    "ether host 02:00:00:00:00:01": "echo6",
    "ether src 02-00-00-00-00-01": "echo6",
    "ether src 0200.0000.0001": "echo6",
    "arp host 10.0.0.9": "who-has",
    "ether proto \\arp": "who-has",
    "icmp[icmptype] = icmp-echo": "echo",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn": "web",
    "udp[2:2] = 0x35": "dns",
    "ip6[40] = 128": "echo6",
    "not (ip or ip6)": "who-has",
    "len > 60": "echo6",
    "greater 62": "echo6",
}
#: These have names that are in files of the machine.
NAMED_FILTERS = {
    "port http": "web",
    "port (http or domain)": "web dns",
    "portrange http-90": "web",
    "ip proto \\tcp": "web",
}


def matching(text: str) -> tuple[str, str]:
    """Return the names of the packets that pass, and of those found afterwards."""
    code, offline = compiled(text), OfflineFilter(text)
    data = {name: bytes(packet) for name, packet in PACKETS.items()}
    passed = [name for name, one in data.items() if received(code, one) == one]
    found = [name for name, one in data.items() if offline.matches(one, len(one))]
    return " ".join(passed), " ".join(found)


@needs_libpcap
@pytest.mark.parametrize(("text", "names"), FILTERS.items(), ids=repr)
def test_what_passes(text: str, names: str) -> None:
    """The kernel, and a look at captured packets, find what the filter says."""
    assert matching(text) == (names, names)


@needs_libpcap
@pytest.mark.parametrize(("text", "names"), NAMED_FILTERS.items(), ids=repr)
def test_names_of_ports_and_protocols(text: str, names: str) -> None:
    """They are as good as numbers."""
    try:
        socket.getservbyname("http")
        socket.getprotobyname("tcp")
    except OSError:
        pytest.skip("there is no /etc/services or no /etc/protocols")

    assert matching(text) == (names, names)


@needs_libpcap
@given(st.sampled_from(sorted(FILTERS)), st.binary(max_size=80))
def test_the_kernel_and_libpcap_agree(text: str, data: bytes) -> None:
    """Whatever the packet is, and wherever it ends."""
    passed = received(compiled(text), data) is not None

    assert OfflineFilter(text).matches(data, len(data)) == passed


@needs_libpcap
def test_packets_that_begin_with_ip() -> None:
    """Links without Ethernet have filters as well."""
    code, offline = compiled("tcp port 80", RAW_IP), OfflineFilter("port 80", RAW_IP)
    web, dns = bytes(WEB[IP]), bytes(DNS[IP])

    assert received(code, web) == web
    assert received(code, dns) is None
    assert offline.matches(web, len(web))
    assert not offline.matches(dns, len(dns))


@needs_libpcap
@pytest.mark.parametrize("text", ["", "tcp port 80"])
def test_how_much_is_kept(text: str) -> None:
    """Of what is accepted, as many bytes as were asked for."""
    assert received(compiled(text, snaplen=20), bytes(WEB)) == bytes(WEB)[:20]


@needs_libpcap
def test_a_packet_that_was_cut_off() -> None:
    """Its length is that on the wire, and what is missing matches nothing."""
    data = bytes(WEB)[:20]

    assert OfflineFilter("len = 1000").matches(data, 1000)
    assert OfflineFilter("ip").matches(data, 1000)
    assert not OfflineFilter("tcp").matches(data, 1000)


@needs_libpcap
def test_tags_of_captured_packets() -> None:
    """They are among the bytes; what is behind one is asked for with it."""
    data = bytes(LINK / Dot1Q(vlan=10) / WEB[IP])

    for text in ("vlan", "vlan 10", "vlan 10 and tcp port 80", "vlan and ip"):
        assert OfflineFilter(text).matches(data, len(data)), text
        assert not OfflineFilter(text).matches(bytes(WEB), len(WEB)), text
    for text in ("vlan 11", "tcp port 80", "vlan 10 and udp"):
        assert not OfflineFilter(text).matches(data, len(data)), text


@needs_libpcap
def test_an_offline_filter_outlives_what_made_it() -> None:
    """It has its program for itself; others come and go."""
    filters = [OfflineFilter(f"port {port}") for port in range(1, 200)]
    for _ in range(100):
        OfflineFilter("host 10.0.0.1")

    (found,) = [one for one in filters if one.matches(bytes(WEB), len(WEB))]
    assert found.text == "port 80"
    assert repr(found) == "<OfflineFilter 'port 80'>"


# --- what is no filter ---


@needs_libpcap
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tcp port", "syntax error"),
        ("ip and", "syntax error"),
        ("(ip", "syntax error"),
        ("ip;udp", "syntax error"),
        ("port 99999", "99999"),
        ("port nonesuch", "unknown port 'nonesuch'"),
        ("net 10.0.0.1/8", "non-network bits set"),
        ("tcp and udp", "rejects all packets"),
        ("ip broadcast", "netmask not known"),
        ("ifname eth0", ""),
        ("wlan type mgt", ""),
        ("ip\0", "NUL"),
        ("host bücher.example", "ASCII"),
        ("\udc80", "ASCII"),
    ],
)
def test_it_is_no_filter(text: str, reason: str) -> None:
    """The error shows the text, and has libpcap's own words."""
    for attempt in (compiled, OfflineFilter):
        with pytest.raises(InvalidFilter) as caught:
            attempt(text)
        assert caught.value.text == text
        assert reason in caught.value.reason
        assert repr(text) in str(caught.value)


@needs_libpcap
@pytest.mark.parametrize("text", ["inbound", "ip and outbound", "ifindex 3"])
def test_what_bytes_do_not_tell(text: str) -> None:
    """Captured packets cannot be asked for it."""
    with pytest.raises(InvalidFilter):
        OfflineFilter(text)


@needs_libpcap
def test_loops_are_not_for_the_kernel() -> None:
    """A filter that has one finds captured packets, but is for no socket."""
    text = "ip6 protochain 58"

    with pytest.raises(InvalidFilter, match="protochain"):
        compiled(text)
    assert OfflineFilter(text).matches(bytes(ECHO6), len(ECHO6))
    assert not OfflineFilter(text).matches(bytes(WEB), len(WEB))


# --- whatever it may be ---

WORDS = [
    *("host", "net", "port", "portrange", "proto", "src", "dst", "ip", "ip6", "tcp"),
    *("udp", "ether", "arp", "icmp", "and", "or", "not", "(", ")", "[", "]", ":", "/"),
    *("=", "&", "len", ">", "less", "80", "0x10", "10.0.0.1", "10.0.0.0/8", "fe80::1"),
    *("02:00:00:00:00:01", "\\tcp", "tcpflags", "tcp-syn", "mpls", "pppoes", "llc"),
    *("!", "4294967296", "09", "1.2.3.4.5", "::", "$ab", "_", "'", '"', ";"),
]


@needs_libpcap
@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    | st.text(st.characters(codec="ascii"), max_size=20)
    | st.text(max_size=10),
    st.sampled_from([ETHERNET, RAW_IP]),
)
def test_any_text_is_a_filter_or_not(text: str, linktype: int) -> None:
    """There is no third way for it to end; and what compiles, runs."""
    try:
        code = compiled(text, linktype)
        offline = OfflineFilter(text, linktype)
    except InvalidFilter as error:
        assert error.reason  # noqa: PT017  # most of them are none
        return

    passed = received(code, bytes(WEB)) is not None
    assert offline.matches(bytes(WEB), len(WEB)) == passed


@needs_libpcap
@pytest.mark.parametrize("text", ["(" * 50_000, "not " * 50_000 + "ip", "ip" * 50_000])
def test_a_filter_that_goes_too_far(text: str) -> None:
    """It is refused like any other."""
    with pytest.raises(InvalidFilter):
        compiled(text)


# --- the library ---


@needs_libpcap
def test_many_threads_at_once() -> None:
    """Each gets the program that it asked for."""
    texts = [f"tcp port {port}" for port in range(1, 100)]
    alone = [compiled(text) for text in texts]
    barrier = threading.Barrier(4)

    def compile_all(_: int) -> list[list[Instruction]]:
        barrier.wait()
        return [compiled(text) for text in texts]

    with ThreadPoolExecutor(4) as pool:
        assert all(together == alone for together in pool.map(compile_all, range(4)))


@needs_libpcap
def test_whether_there_is_a_library() -> None:
    """Any of its names will do."""
    assert is_available()
    assert is_available(("libpcap.so.nonesuch", *SONAMES))


def test_there_is_no_library() -> None:
    """The error says what it is needed for, and how to get it."""
    names = ("libpcap.so.nonesuch",)

    assert not is_available(names)
    with pytest.raises(MissingTool, match=r"libpcap .* apt install libpcap0\.8"):
        _library(names)
