"""Files of captured packets, read packet by packet: pcap and pcapng.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_SECOND = 1_000_000_000
#: Byte order, and how many nanoseconds the unit of time has, by magic number.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
#: The same from either end, as a number and as bytes.
_SECTION = 0x0A0D0D0A
_INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_IF_TSRESOL, _IF_TSOFFSET = 9, 14
_MICROSECONDS = 1_000_000

#: Longer packets, or blocks, there are in broken files only.
_LONGEST_PACKET = 1 << 20
_LONGEST_BLOCK = 1 << 24


class BrokenFile(ValueError):
    """A file that is not what it should be; says why."""


class Stored(NamedTuple):
    """A packet of a file.

    Attributes:
        time: When it was captured, in nanoseconds since the epoch.
        data: As much of it as is in the file.
        length: How long it was, in bytes.
        linktype: What it begins with: see pcap-linktype(7).
    """

    time: int
    data: bytes
    length: int
    linktype: int


class _Interface(NamedTuple):
    """An interface of a pcapng file.

    Attributes:
        linktype: What its packets begin with.
        snaplen: How many bytes of a packet were kept; 0 is all.
        resolution: How many ticks of its clock are a second.
        offset: What its clock is behind the epoch, in seconds.
    """

    linktype: int
    snaplen: int
    resolution: int
    offset: int


def read(file: BinaryIO) -> Iterator[Stored]:
    """Yield the packets of a file, one by one.

    Raises:
        BrokenFile: It is no such file, or is broken from somewhere on.
    """
    magic = file.read(4)
    if magic == _PCAPNG:
        return _read_pcapng(file)
    if magic in _PCAP:
        return _read_pcap(file, *_PCAP[magic])
    raise BrokenFile("it is no pcap or pcapng file")


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise BrokenFile("it ends in the middle of a packet or header")
    return data


def _read_pcap(file: BinaryIO, order: str, unit: int) -> Iterator[Stored]:
    *_, linktype = struct.unpack(f"{order}HHIIII", _exactly(file, 20))
    linktype &= 0xFFFF  # the rest tells of checksums behind the packets
    about = struct.Struct(f"{order}IIII")
    while head := file.read(16):
        if len(head) < 16:
            raise BrokenFile("it ends in the middle of a header")
        seconds, units, captured, length = about.unpack(head)
        if captured > _LONGEST_PACKET:
            raise BrokenFile(f"it has a packet of {captured} bytes")
        moment = seconds * _SECOND + units * unit
        yield Stored(moment, _exactly(file, captured), length, linktype)


def _read_pcapng(file: BinaryIO) -> Iterator[Stored]:
    """Yield the packets, when the first four bytes have been read."""
    interfaces: list[_Interface] = []
    moment = 0
    for order, kind, body in _blocks(file):
        try:
            if kind == _SECTION:
                interfaces = []  # a section has its own
            elif kind == _INTERFACE:
                interfaces.append(_interface(order, body))
            elif kind in (_PACKET, _OBSOLETE_PACKET):
                stored = _packet(order, body, interfaces, is_new=kind == _PACKET)
                moment = stored.time
                yield stored
            elif kind == _SIMPLE_PACKET:  # it has no time
                yield _simple_packet(order, body, interfaces[0], moment)
        except (IndexError, struct.error) as error:
            raise BrokenFile("it has a block that makes no sense") from error


def _blocks(file: BinaryIO) -> Iterator[tuple[str, int, bytes]]:
    """Yield byte order, type and body of each block."""
    order = "<"
    kind = _PCAPNG
    while kind:
        size = _exactly(file, 4)
        start = b""
        if kind == _PCAPNG:
            start = _exactly(file, 4)
            if start not in _ORDERS:
                raise BrokenFile("it has a section of no known byte order")
            order = _ORDERS[start]
        (length,) = struct.unpack(f"{order}I", size)
        if not 12 + len(start) <= length <= _LONGEST_BLOCK or length % 4:
            raise BrokenFile(f"it has a block of {length} bytes")
        rest = _exactly(file, length - 8 - len(start))
        if rest[-4:] != size:
            raise BrokenFile("it has a block that begins and ends with another length")
        (number,) = struct.unpack(f"{order}I", kind)
        yield order, number, start + rest[:-4]
        kind = file.read(4)
        if 0 < len(kind) < 4:
            raise BrokenFile("it ends in the middle of a header")


def _interface(order: str, body: bytes) -> _Interface:
    linktype, snaplen = struct.unpack_from(f"{order}HxxI", body)
    resolution, offset = _MICROSECONDS, 0
    for code, value in _options(order, body[8:]):
        if code == _IF_TSRESOL:
            resolution = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == _IF_TSOFFSET:
            (offset,) = struct.unpack(f"{order}q", value)
    return _Interface(linktype, snaplen, resolution, offset)


def _options(order: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        code, length = struct.unpack_from(f"{order}HH", data)
        if code == 0:
            return
        yield code, data[4 : 4 + length]
        data = data[4 + (length + 3 & ~3) :]


def _packet(
    order: str, body: bytes, interfaces: list[_Interface], *, is_new: bool
) -> Stored:
    # the obsolete one has a count of drops beside a shorter number
    layout = "I" if is_new else "Hxx"
    fields = struct.unpack_from(f"{order}{layout}IIII", body)
    number, high, low, captured, length = fields
    interface = interfaces[number]
    ticks = (high << 32) + low
    moment = ticks * _SECOND // interface.resolution + interface.offset * _SECOND
    data = body[20 : 20 + captured]
    if len(data) < captured:
        raise BrokenFile(f"it has a packet of {captured} bytes in a shorter block")
    return Stored(moment, data, length, interface.linktype)


def _simple_packet(
    order: str, body: bytes, interface: _Interface, moment: int
) -> Stored:
    (length,) = struct.unpack_from(f"{order}I", body)
    captured = min(length, interface.snaplen or length)
    return Stored(moment, body[4 : 4 + captured], length, interface.linktype)
