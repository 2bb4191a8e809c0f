"""Programs for sockets, run by the kernel itself.

One end of a pair of sockets has the program; to it, what the other sends is a packet.
"""

from __future__ import annotations

import errno
import itertools
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from pytest_netns import KernelError
from pytest_netns._bpf import (
    MARKER_BEGIN,
    MARKER_TYPE,
    REJECT_ALL,
    Instruction,
    program,
)
from pytest_netns._socket_filter import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scapy.packet import Packet

SNAPLEN = 65535
MARKER = bytes(range(1, 9))
# with both addresses there is nothing to resolve
LINK = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:03")
TAG = b"\x81\x00\x00\x07"
#: A filter with a jump: packets that begin with 1, of which it keeps five bytes.
BEGINS_WITH_1 = [
    Instruction(0x30, 0, 0, 0),
    Instruction(0x15, 0, 1, 1),
    Instruction(0x06, 0, 0, 5),
    Instruction(0x06, 0, 0, 0),
]


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


# --- what goes without a filter of the user's ---


def test_all_packets() -> None:
    """Without a filter everything passes, up to the length to keep."""
    assert received(program(None, snaplen=SNAPLEN), b"packet") == b"packet"
    assert received(program(None, snaplen=3), b"packet") == b"pac"


def test_no_packet() -> None:
    """A socket that is not to see anything yet sees nothing."""
    assert received(REJECT_ALL, b"packet") is None


def test_the_users_filter_comes_last_and_whole() -> None:
    """Its jumps are as right behind our part as they are without it."""
    for code in (
        program(BEGINS_WITH_1, snaplen=SNAPLEN),
        program(
            BEGINS_WITH_1,
            snaplen=SNAPLEN,
            loopback=1,
            without_noise=True,
            marker=MARKER,
        ),
    ):
        assert code[-4:] == BEGINS_WITH_1
        assert received(code, b"\1 packet") == b"\1 pac"
        assert received(code, b"\2 packet") is None


@pytest.mark.parametrize("ethernet", [True, False])
def test_every_combination_is_a_program(*, ethernet: bool) -> None:
    """The kernel takes all of them, and lets short packets through."""
    for loopback, noise, marker in itertools.product(
        (None, 1, 0x7FFFFFFF), (True, False), (None, MARKER, b"\xff" * 8)
    ):
        code = program(
            None,
            snaplen=SNAPLEN,
            loopback=loopback,
            without_noise=noise,
            marker=marker,
            ethernet=ethernet,
        )
        for length in range(70):
            assert received(code, b"\x60" * length) == b"\x60" * length


# --- the marker ---


def marked(marker: bytes = MARKER, kind: int = MARKER_TYPE) -> bytes:
    """Return a frame with a marker."""
    return bytes(Ether(src=LINK.src, dst=LINK.dst, type=kind) / marker)


def test_a_marker_passes_every_filter() -> None:
    """It proves that a capture is alive, whatever that is to see."""
    code = program(REJECT_ALL, snaplen=SNAPLEN, marker=MARKER)

    assert received(code, marked()) == marked()
    assert received(code, marked(MARKER + b"more")) == marked(MARKER + b"more")


@pytest.mark.parametrize(
    "frame",
    [
        marked(bytes(8)),
        marked(MARKER[:4] + bytes(4)),
        marked(bytes(4) + MARKER[4:]),
        marked(MARKER[:7]),
        marked(kind=0x0800),
        marked()[1:],
        b"",
    ],
)
def test_what_is_no_marker_is_up_to_the_filter(frame: bytes) -> None:
    """What only looks like a marker is a packet like any other."""
    assert received(program(REJECT_ALL, snaplen=99, marker=MARKER), frame) is None
    assert received(program(None, snaplen=99, marker=MARKER), frame) == frame


def test_markers_of_others() -> None:
    """Other captures' markers pass nowhere, and are known by how they begin."""
    begin = MARKER_BEGIN.to_bytes(4, "big")
    own, other = begin + b"mine", begin + b"your"
    for marker in (None, own, MARKER):
        code = program(None, snaplen=SNAPLEN, marker=marker)
        assert received(code, marked(other)) is None
        assert received(code, marked(other[:3])) == marked(other[:3])
        assert received(code, marked(other, 0x0800)) == marked(other, 0x0800)
    assert received(program(None, snaplen=SNAPLEN, marker=own), marked(own))


def test_a_marker_is_kept_whole() -> None:
    """However little is kept of other packets, it can be recognised."""
    code = program(None, snaplen=14, marker=MARKER)

    assert received(code, marked(MARKER + b"number")) == marked(MARKER + b"number")
    assert received(code, marked(bytes(8))) == marked(bytes(8))[:14]


def test_links_without_ethernet_have_no_markers() -> None:
    """There, what looks like one is a packet."""
    code = program(REJECT_ALL, snaplen=SNAPLEN, marker=MARKER, ethernet=False)

    assert received(code, marked()) is None


# --- what IPv6 does by itself ---

ALERTED: Packet = IPv6(nh=0) / IPv6ExtHdrHopByHop(
    nh=58, options=[RouterAlert(), PadN()]
)
NOISE = [
    IPv6() / ICMPv6ND_RS(),
    IPv6() / ICMPv6ND_RA(),
    IPv6() / ICMPv6ND_NS(),
    IPv6() / ICMPv6ND_NA(),
    ALERTED / ICMPv6MLQuery(),
    ALERTED / ICMPv6MLReport(),
    ALERTED / ICMPv6MLDone(),
    ALERTED / ICMPv6MLReport2(),
    IPv6() / ICMPv6MLReport2(),
]
#: The type of neighbour solicitations at every place where one might look for it.
LOOKALIKE = Raw(bytes([135] * 80))
NO_NOISE = [
    IPv6() / ICMPv6ND_Redirect(),
    IPv6() / ICMPv6EchoRequest(),
    IPv6() / ICMPv6EchoReply(),
    IPv6() / ICMPv6DestUnreach(),
    IPv6() / ICMPv6PacketTooBig(),
    IPv6() / ICMPv6TimeExceeded(),
    ALERTED / ICMPv6EchoRequest(),
    IPv6() / TCP(),
    IPv6() / UDP() / LOOKALIKE,
    IPv6(nh=0) / IPv6ExtHdrHopByHop(nh=17) / UDP() / LOOKALIKE,
    IPv6() / IPv6ExtHdrDestOpt() / ICMPv6ND_NS(),
]
NO_IPV6 = [IP() / ICMP(), IP() / UDP() / LOOKALIKE, IP(tos=135) / TCP()]


def passes(packet: Packet, *, ethernet: bool = True) -> bool:
    """Tell whether a packet passes where noise does not."""
    code = program(None, snaplen=SNAPLEN, without_noise=True, ethernet=ethernet)
    data = bytes(packet)
    assert received(program(None, snaplen=SNAPLEN), data) == data
    return received(code, data) == data


@pytest.mark.parametrize("packet", NOISE, ids=repr)
def test_noise_is_rejected(packet: Packet) -> None:
    """Neighbour discovery and MLD do not pass, on any kind of link."""
    assert not passes(LINK / packet)
    assert not passes(LINK / Dot1Q(vlan=7) / packet)
    assert not passes(packet, ethernet=False)


@pytest.mark.parametrize("packet", NO_NOISE + NO_IPV6, ids=repr)
def test_everything_else_passes(packet: Packet) -> None:
    """Other ICMPv6 above all: errors, echoes, redirects."""
    assert passes(LINK / packet)
    assert passes(LINK / Dot1Q(vlan=7) / packet)
    assert passes(packet, ethernet=False)


def test_arp_is_no_noise() -> None:
    """It is what many tests are about."""
    assert passes(LINK / ARP())


def test_noise_passes_unless_it_is_left_out() -> None:
    """The user's filter decides."""
    data = bytes(LINK / NOISE[0])
    code = program(None, snaplen=SNAPLEN, marker=MARKER, loopback=1)

    assert received(code, data) == data


def is_noise(packet: bytes) -> bool:
    """Tell whether a packet that begins with the header of IPv6 is noise."""
    if len(packet) < 44 or packet[0] >> 4 != 6:
        return False
    header, begin = packet[6], 40
    if header == 0:
        header, begin = packet[40], 40 + 8 + packet[41] * 8
    if header != 58 or len(packet) < begin + 4:
        return False
    return packet[begin] in {130, 131, 132, 133, 134, 135, 136, 143}


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Make what is nearly always ICMPv6, with most of its ends cut off."""
    version = draw(st.sampled_from([0x60, 0x60, 0x6F, 0x40]))
    header = draw(st.sampled_from([0, 58, 0, 58, 17]))
    packet = bytes([version, 0, 0, 0, 0, 0, header]) + bytes(33)
    if header == 0:
        length = draw(st.sampled_from([0, 1, 2, 31, 255]))
        following = draw(st.sampled_from([58, 58, 58, 17]))
        packet += bytes([following, length]) + bytes(6 + length * 8)
    kinds = st.sampled_from([*range(128, 138), 142, 143, 144]) | st.integers(0, 255)
    packet += bytes([draw(kinds)]) * draw(st.integers(2, 6) | st.just(24))
    cut = draw(st.integers(0, 8) | st.integers(0, len(packet)))
    return packet[: len(packet) - draw(st.sampled_from([0, 0, cut]))]


def agrees(packet: bytes, tag: bytes = b"", end: int | None = None) -> bool:
    """Tell whether the program finds in a frame, up to its end, what a reader does."""
    begin = 14 + len(tag)
    frame = (bytes(12) + tag + b"\x86\xdd" + packet)[:end]
    seen = received(program(None, snaplen=SNAPLEN, without_noise=True), frame)
    return seen == (None if is_noise(frame[begin:]) else frame)


@settings(max_examples=300)
@given(packets())
def test_noise_is_what_the_standards_say(packet: bytes) -> None:
    """The program finds the same packets as a reader of headers does."""
    code = program(None, snaplen=SNAPLEN, without_noise=True, ethernet=False)

    assert agrees(packet)
    assert agrees(packet, TAG)
    assert received(code, packet) == (None if is_noise(packet) else packet)


@pytest.mark.parametrize("packet", [NOISE[0], NOISE[5]], ids=repr)
def test_a_packet_that_ends_early(packet: Packet) -> None:
    """Without the header of ICMPv6 nobody can tell: it is up to the filter."""
    data = bytes(packet)

    for end in range(14 + len(data) + 1):
        assert agrees(data, end=end)
        assert agrees(data, TAG, end + len(TAG))


# --- what the kernel refuses ---

LOAD = Instruction(0x28, 0, 0, 12)


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ([], errno.EINVAL, "filter of 0 instructions"),
        ([LOAD], errno.EINVAL, "filter of 1 instructions"),
        ([LOAD] * 4096 + REJECT_ALL, errno.EINVAL, "4096 are the most"),
        ([LOAD] * 70000, errno.EINVAL, "4096 are the most"),
        ([LOAD] * 4095 + REJECT_ALL, errno.ENOMEM, "sysctl net.core.optmem_max"),
    ],
    ids=["empty", "no end", "too long", "far too long", "too much memory"],
)
def test_a_program_that_the_kernel_refuses(
    code: list[Instruction], number: int, words: str
) -> None:
    """The error says how long it is, and what limits that."""
    with pytest.raises(KernelError, match=words) as caught:
        received(code, b"")

    assert caught.value.errno == number


def test_a_closed_socket() -> None:
    """It is the kernel that says so."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.close()
    receiver.close()

    with pytest.raises(KernelError, match="EBADF"):
        attach(receiver, REJECT_ALL)
