from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import Any, cast

import pytest
from scapy.layers import inet, l2
from scapy.packet import Raw
from scapy.plist import PacketList

from pytest_netns import ReplayResult
from pytest_netns import _codec_tables as codec_tables
from pytest_netns._departures import expand
from pytest_netns._links import Link
from pytest_netns._nexthop import _is_link_local, _known_lladdr
from pytest_netns._packet_socket import _complete
from pytest_netns._sending import _Matches
from pytest_netns.replay import Pace

# scapy's types say of no packet what may be in it, nor what "/" gives
ICMP, IP, TCP, UDP = (
    cast("Any", one) for one in (inet.ICMP, inet.IP, inet.TCP, inet.UDP)
)
Ether = cast("Any", l2.Ether)

UP, NOARP = 0x1, 0x80
ETHER, LOOPBACK, NONE = 1, 772, 65534
MINE, ALL = b"\x02\0\0\0\0\x01", b"\xff" * 6
UNICAST, LOCAL, BROADCAST = 1, 2, 3


def link(hatype: int = ETHER, flags: int = UP) -> Link:
    """Return an interface."""
    return Link(7, "eth0", hatype, MINE, 1500, "veth", flags, ALL)


# --- routes and neighbours ---


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("fe80::1", True),
        ("ff01::1", True),
        ("ff02::1", True),
        ("ff12::1", True),
        ("ff05::1", False),
        ("fd00::1", False),
        ("::1", False),
        ("169.254.0.1", False),
        ("224.0.0.1", False),
    ],
)
def test_an_address_that_needs_an_interface(address: str, *, expected: bool) -> None:
    """Only those of IPv6 do: the routes decide where link-local IPv4 is."""
    assert _is_link_local(ip_address(address)) is expected


@pytest.mark.parametrize(
    ("hatype", "flags", "destination", "kind", "expected"),
    [
        (ETHER, UP, "10.0.0.2", UNICAST, None),
        (ETHER, UP, "10.0.0.255", BROADCAST, ALL),
        (ETHER, UP, "224.129.2.3", UNICAST, bytes.fromhex("01005e010203")),
        (ETHER, UP, "239.255.255.255", UNICAST, bytes.fromhex("01005e7fffff")),
        (ETHER, UP, "ff02::1:ff00:2", UNICAST, bytes.fromhex("3333ff000002")),
        (ETHER, UP | NOARP, "10.0.0.2", UNICAST, MINE),
        (LOOPBACK, UP, "10.0.0.2", LOCAL, MINE),
        (NONE, UP | NOARP, "10.0.0.2", UNICAST, b""),
    ],
)
def test_a_mac_address_that_takes_no_asking(
    hatype: int, flags: int, destination: str, kind: int, expected: bytes | None
) -> None:
    """It follows from the destination, or from the interface."""
    found = _known_lladdr(link(hatype, flags), ip_address(destination), kind)

    assert found == expected


@pytest.mark.parametrize(
    ("address", "source", "family", "bits"),
    [
        ("10.0.0.2", None, socket.AF_INET, 32),
        ("10.0.0.2", "10.0.0.1", socket.AF_INET, 32),
        ("fd00::2", "fd00::1", socket.AF_INET6, 128),
    ],
)
@pytest.mark.parametrize("index", [None, 7])
def test_a_route_is_asked_for(
    address: str, source: str | None, family: int, bits: int, index: int | None
) -> None:
    """By destination, and by source and interface if there are any."""
    request = bytes(codec_tables.get_route(address, source=source, index=index))

    assert request[16] == family
    assert request[17:19] == bytes([bits, 0 if source is None else bits])
    for attribute, value in (
        (1, socket.inet_pton(family, address)),
        (2, source and socket.inet_pton(family, source)),
        (4, index and struct.pack("=I", index)),
    ):
        assert (attributes(request[28:]).get(attribute) or None) == (value or None)


def test_the_kernel_is_asked_to_find_a_neighbour() -> None:
    """A new entry without MAC address, to be used at once."""
    request = bytes(codec_tables.use_neighbour("10.0.0.2", 7))

    assert struct.unpack("=B3xiHBB", request[16:28]) == (socket.AF_INET, 7, 0, 1, 0)
    assert attributes(request[28:]) == {1: bytes([10, 0, 0, 2])}


def attributes(data: bytes) -> dict[int, bytes]:
    """Return netlink attributes by type."""
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


# --- what is sent ---


def test_a_packet_stands_for_all_its_alternatives() -> None:
    """Layer by layer, as scapy has it; the packet itself is not among them."""
    packet = IP(ttl=[1, 2]) / UDP(dport=(7, 9))

    found = list(expand(packet))

    assert [(one.ttl, one[UDP].dport) for one in cast("Any", found)] == [
        *((1, 7), (1, 8), (1, 9)),
        *((2, 7), (2, 8), (2, 9)),
    ]
    assert packet not in found


@pytest.mark.parametrize("kind", [list, tuple, iter, PacketList])
def test_several_packets_are_one_after_the_other(kind: Any) -> None:
    """In a list, or in whatever else can be gone through."""
    found = list(expand(kind([IP(ttl=1), IP(ttl=[2, 3])])))

    assert [one.ttl for one in cast("Any", found)] == [1, 2, 3]


def test_a_dissected_packet_is_copied() -> None:
    """What is filled in later is not in the one that was captured."""
    packet = IP(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / b"x"))

    (found,) = expand(packet)

    assert found is not packet
    assert found.payload is not packet.payload
    assert bytes(found) == bytes(packet)


# --- what answers it ---


def ping(number: int = 0) -> Any:
    """Return an echo request."""
    return IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7, seq=number)


def pong(number: int = 0) -> Any:
    """Return the answer to it, as it arrives."""
    answer = IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=0, id=7, seq=number)
    return IP(bytes(answer))


def test_answers_are_matched_as_scapy_does() -> None:
    """Each answer to the packet that it answers, whatever comes between."""
    matches = _Matches(multi=False, first=False)
    asked = [ping(0), ping(1), ping(2)]
    for one in asked:
        assert matches.lack(one)
        matches.expect(one)
    matches.all_sent = True

    for arrived in (pong(2), pong(9), ping(0), Raw(b"x"), pong(0), pong(0)):
        matches.take(arrived)

    assert [(q.seq, a.seq) for q, a in matches.answers] == [(2, 2), (0, 0)]
    assert [matches.is_answered(one) for one in asked] == [True, False, True]
    assert not matches.are_enough()
    matches.take(pong(1))
    assert matches.are_enough()


def test_equal_packets_have_an_answer_each() -> None:
    """The second answer is not for the packet that has one."""
    matches = _Matches(multi=False, first=False)
    asked = [ping(), ping()]
    for one in asked:
        matches.expect(one)
    matches.all_sent = True

    matches.take(pong())
    assert [matches.is_answered(one) for one in asked] == [True, False]
    matches.take(pong())
    assert matches.are_enough()
    matches.take(pong())
    assert len(matches.answers) == 2


def test_a_packet_may_have_several_answers() -> None:
    """If they are wanted, there are never enough."""
    matches = _Matches(multi=True, first=False)
    matches.expect(ping())
    matches.all_sent = True
    for _ in range(3):
        matches.take(pong())

    assert len(matches.answers) == 3
    assert not matches.are_enough()


def test_one_answer_may_be_enough() -> None:
    """Then nothing else is sent."""
    matches = _Matches(multi=False, first=True)
    matches.expect(ping(0))
    assert not matches.are_enough()
    matches.take(pong(0))

    assert matches.are_enough()
    assert not matches.lack(ping(1))


def test_what_is_answered_is_not_sent_again() -> None:
    """Of a packet that is sent again, each answer to any of them counts."""
    matches = _Matches(multi=False, first=False)
    asked, other = ping(0), ping(1)
    for one in (asked, other):
        matches.expect(one)
    matches.take(pong(0))

    assert not matches.lack(asked)
    assert matches.lack(other)
    matches.expect(other)
    matches.take(pong(1))
    matches.take(pong(1))
    assert len(matches.answers) == 2


@pytest.mark.parametrize("multi", [False, True])
def test_nothing_is_waited_for_where_nothing_was_sent(*, multi: bool) -> None:
    """Of no packet all are answered."""
    matches = _Matches(multi=multi, first=False)
    matches.all_sent = True

    assert matches.are_enough()


def test_a_packet_that_breaks_scapy_is_no_answer() -> None:
    """What arrives may be anything."""

    class Broken(Raw):
        def hashret(self) -> bytes:
            raise IndexError("scapy has not thought of this")

    matches = _Matches(multi=False, first=False)
    matches.expect(ping())
    matches.take(Broken(b"x"))

    assert matches.answers == []


def test_a_frame_gets_its_tag_and_its_time_back() -> None:
    """The kernel keeps both beside the frame."""
    frame = bytes(range(60))
    time = (socket.SOL_SOCKET, 35, struct.pack("@ll", 5, 7))
    tagged = (263, 8, struct.pack("=IIIHHHH", 0x11, 60, 60, 0, 14, 5, 0))
    service = (263, 8, struct.pack("=IIIHHHH", 0x51, 60, 60, 0, 14, 6, 0x88A8))
    untagged = (263, 8, struct.pack("=IIIHHHH", 0x01, 60, 60, 0, 14, 0, 0))

    moment = 5_000_000_007
    assert _complete(frame, [time, untagged]) == (moment, frame)
    with_tag = frame[:12] + b"\x81\x00\x00\x05" + frame[12:]
    assert _complete(frame, [tagged, time]) == (moment, with_tag)
    with_service = frame[:12] + b"\x88\xa8\x00\x06" + frame[12:]
    assert _complete(frame, [service, time]) == (moment, with_service)
    assert _complete(frame, [])[0] > 0


# --- replay ---


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(), 2.5),
        (Pace(speed=5), 0.5),
        (Pace(speed=0.5), 5.0),
        (Pace(None), None),
        (Pace(rate=100), 0.07),
        (Pace(None, rate=100), 0.07),
    ],
)
def test_a_packet_is_due(pace: Pace, expected: float | None) -> None:
    """The eighth packet, captured 2.5 s after the first one."""
    assert pace.due(7, 2_500_000_000) == expected


def test_a_result_says_what_was_sent() -> None:
    """Packets, bytes and seconds; what was cut off only if something was."""
    result = ReplayResult(1000, 60_000, 0.5)

    assert result.packets_per_second == 2000
    assert repr(result) == "<ReplayResult 1000 packets, 60000 bytes in 0.500 s>"
    assert "2 truncated" in repr(ReplayResult(1000, 60_000, 0.5, 2))
    assert ReplayResult(0, 0, 0.0).packets_per_second == 0
