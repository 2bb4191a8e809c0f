"""Programs of classic BPF, put together: which packets a socket sees.

The language is described in the kernel's Documentation/networking/filter.rst. A load
from beyond the end of a packet ends a program, and rejects the packet: so what is
decided here begins with the packet's length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Instruction(NamedTuple):
    """An instruction: struct sock_filter.

    Attributes:
        code: What to do.
        jt: How many instructions to skip if a condition is true, up to 255.
        jf: How many otherwise.
        k: The operand.
    """

    code: int
    jt: int
    jf: int
    k: int


# include/uapi/linux/bpf_common.h and filter.h; A is the accumulator, X the index
_LOAD_WORD = 0x20
_LOAD_HALF = 0x28
_LOAD_BYTE = 0x30
_LOAD_BYTE_BEHIND_X = 0x50
_LOAD_LENGTH = 0x80
_SET_X = 0x01
_A_TO_X = 0x07
_ADD = 0x04
_ADD_X = 0x0C
_SUBTRACT_X = 0x1C
_AND = 0x54
_SHIFT_LEFT = 0x64
_JUMP = 0x05
_IF_EQUAL = 0x15
_IF_GREATER = 0x25
_IF_GREATER_THAN_X = 0x2D
_IF_AT_LEAST = 0x35
_RETURN = 0x06

# what the kernel knows beside the bytes, as if it stood there (SKF_AD_OFF)
_PACKET_TYPE = 0xFFFFF000 + 4
_INTERFACE_INDEX = 0xFFFFF000 + 8
_LINK_LAYER = 0xFFFFF000 + 28
_OUTGOING = 4

_VLAN = 0x8100
_IPV6 = 0x86DD
#: For experiments within a local network (IEEE 802, local experimental 1).
MARKER_TYPE = 0x88B5
#: How each marker begins, whichever capture it belongs to.
MARKER_BEGIN = 0x6E746E73
#: How much of a frame with a marker is kept, however little of others is.
MARKED_LENGTH = 60
_HOP_BY_HOP = 0
_ICMPV6 = 58
_LAST = "last"

#: Lets nothing through.
REJECT_ALL = [Instruction(_RETURN, 0, 0, 0)]


class _Line(NamedTuple):
    """An instruction whose jumps name places; None is the next line.

    Labels stand between the lines; `_LAST` is behind all of them.
    """

    code: int
    k: int = 0
    then: str | None = None
    otherwise: str | None = None


def program(
    user: Sequence[Instruction] | None,
    *,
    snaplen: int,
    loopback: int | None = None,
    without_noise: bool = False,
    marker: bytes | None = None,
    ethernet: bool = True,
) -> list[Instruction]:
    """Put together what a packet socket is to see.

    Args:
        user: The user's filter, which keeps `snaplen` bytes of a packet at most;
            None for all packets.
        snaplen: How many bytes to keep of the other packets.
        loopback: The index of the loopback interface, where each packet passes
            twice: what leaves there is rejected, what arrives is not.
        without_noise: Whether to reject what IPv6 does by itself: router and
            neighbour solicitations and advertisements (133 to 136), and MLD (130 to
            132, 143). All other ICMPv6 is left to the filter, redirects included.
        marker: Eight bytes. Ethernet frames of type `MARKER_TYPE` that begin with
            them are accepted whatever the filter says. Those that begin with
            `MARKER_BEGIN` otherwise are another capture's, and rejected.
        ethernet: Whether packets begin with an Ethernet header, not with that of IP.
    """
    lines: list[_Line | str] = []
    if loopback is not None:
        lines += _without_departures(loopback)
    if marker is not None and ethernet:
        lines += _with_marker(marker, max(snaplen, MARKED_LENGTH))
    if ethernet:
        lines += _WITHOUT_MARKERS
    if without_noise:
        lines += _ETHERNET_IPV6 if ethernet else _RAW_IPV6
        lines += _WITHOUT_NOISE
    accept = [Instruction(_RETURN, 0, 0, snaplen)]
    return [*_assemble(lines), *(accept if user is None else user)]


def by_link_layer(
    ethernet: Sequence[Instruction],
    other: Sequence[Instruction],
    ethernet_types: tuple[int, int],
) -> list[Instruction]:
    """Put together a program for interfaces of all kinds.

    Args:
        ethernet: What is for packets with an Ethernet header.
        other: What is for those without.
        ethernet_types: What kinds of link layer have one (ARPHRD_*).
    """
    first, second = ethernet_types
    return [
        Instruction(_LOAD_WORD, 0, 0, _LINK_LAYER),
        Instruction(_IF_EQUAL, 2, 0, first),
        Instruction(_IF_EQUAL, 1, 0, second),
        Instruction(_JUMP, 0, 0, len(ethernet)),
        *ethernet,
        *other,
    ]


def _assemble(lines: Sequence[_Line | str]) -> Iterator[Instruction]:
    """Yield the instructions, with the distance of each jump."""
    # a label is that of the nearest place of this name further down
    for index, line in enumerate(lines):
        if isinstance(line, _Line):
            rest = lines[index + 1 :]
            jt, jf = (_distance(label, rest) for label in (line.then, line.otherwise))
            yield Instruction(line.code, jt, jf, line.k)


def _distance(label: str | None, rest: Sequence[_Line | str]) -> int:
    if label is None:
        return 0
    return sum(isinstance(line, _Line) for line in rest[: rest.index(label)])


def _without_departures(ifindex: int) -> tuple[_Line | str, ...]:
    return (
        _Line(_LOAD_WORD, _PACKET_TYPE),
        _Line(_IF_EQUAL, _OUTGOING, None, _LAST),
        _Line(_LOAD_WORD, _INTERFACE_INDEX),
        _Line(_IF_EQUAL, ifindex, None, _LAST),
        _Line(_RETURN, 0),
        _LAST,
    )


def _with_marker(marker: bytes, snaplen: int) -> tuple[_Line | str, ...]:
    first, second = (int.from_bytes(half, "big") for half in (marker[:4], marker[4:]))
    return (
        _Line(_LOAD_LENGTH),
        _Line(_IF_AT_LEAST, 22, None, _LAST),
        _Line(_LOAD_HALF, 12),
        _Line(_IF_EQUAL, MARKER_TYPE, None, _LAST),
        _Line(_LOAD_WORD, 14),
        _Line(_IF_EQUAL, first, None, _LAST),
        _Line(_LOAD_WORD, 18),
        _Line(_IF_EQUAL, second, None, _LAST),
        _Line(_RETURN, snaplen),
        _LAST,
    )


_WITHOUT_MARKERS: tuple[_Line | str, ...] = (
    _Line(_LOAD_LENGTH),
    _Line(_IF_AT_LEAST, 18, None, _LAST),
    _Line(_LOAD_HALF, 12),
    _Line(_IF_EQUAL, MARKER_TYPE, None, _LAST),
    _Line(_LOAD_WORD, 14),
    _Line(_IF_EQUAL, MARKER_BEGIN, None, _LAST),
    _Line(_RETURN, 0),
    _LAST,
)
#: X becomes where the header of IPv6 begins.
_ETHERNET_IPV6: tuple[_Line | str, ...] = (
    _Line(_SET_X, 14),
    _Line(_LOAD_LENGTH),
    _Line(_IF_AT_LEAST, 18, None, _LAST),
    _Line(_LOAD_HALF, 12),
    # the kernel keeps the tag elsewhere, except in what a packet socket has sent
    _Line(_IF_EQUAL, _VLAN, None, "untagged"),
    _Line(_SET_X, 18),
    _Line(_LOAD_HALF, 16),
    "untagged",
    _Line(_IF_EQUAL, _IPV6, None, _LAST),
)
_RAW_IPV6: tuple[_Line | str, ...] = (_Line(_SET_X, 0),)

_WITHOUT_NOISE: tuple[_Line | str, ...] = (
    # the header of IPv6, and that of ICMPv6 or the beginning of options
    _Line(_LOAD_LENGTH),
    _Line(_SUBTRACT_X),
    _Line(_IF_AT_LEAST, 44, None, _LAST),
    _Line(_LOAD_BYTE_BEHIND_X, 0),
    _Line(_AND, 0xF0),
    _Line(_IF_EQUAL, 0x60, None, _LAST),
    _Line(_LOAD_BYTE_BEHIND_X, 6),
    _Line(_IF_EQUAL, _HOP_BY_HOP, None, "no options"),
    _Line(_LOAD_BYTE_BEHIND_X, 40),
    _Line(_IF_EQUAL, _ICMPV6, None, _LAST),
    # MLD comes behind a router alert: X becomes where the header would begin
    # if there were no options
    _Line(_LOAD_BYTE_BEHIND_X, 41),
    _Line(_SHIFT_LEFT, 3),
    _Line(_ADD, 8),
    _Line(_ADD_X),
    _Line(_A_TO_X),
    _Line(_LOAD_LENGTH),
    _Line(_IF_GREATER_THAN_X, 0, None, _LAST),
    _Line(_SUBTRACT_X),
    _Line(_IF_AT_LEAST, 44, "type", _LAST),
    "no options",
    _Line(_IF_EQUAL, _ICMPV6, None, _LAST),
    "type",
    _Line(_LOAD_BYTE_BEHIND_X, 40),
    _Line(_IF_EQUAL, 143, "noise"),
    _Line(_IF_AT_LEAST, 130, None, _LAST),
    _Line(_IF_GREATER, 136, _LAST),
    "noise",
    _Line(_RETURN, 0),
    _LAST,
)
