"""Captured packets as a pcapng file, which Wireshark and its like read.

Source: draft-ietf-opsawg-pcapng. A file is a section header, then a block for each
interface and each packet, then the statistics of each interface. A block's options
are (type, length, value), padded to 32 bits. Numbers are little endian, but of a
time the upper half comes first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._frame import ETHERNET, Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
#: A block's type and total length; the length is repeated at its end.
_BLOCK = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
#: Byte order, version 1.0, and -1: how long the section is nobody knows yet.
_SECTION_FIELDS = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
#: Linktype and snaplen.
_INTERFACE_FIELDS = struct.Struct("<HxxI")
#: Interface, and the time in two halves.
_STATISTICS_FIELDS = struct.Struct("<III")
#: `_BLOCK`, interface, the time in two halves, captured and original length.
_PACKET_FIELDS = struct.Struct("<IIIIIII")
#: All of a packet's block but its data and options.
_PACKET_FRAMING = _PACKET_FIELDS.size + _LENGTH.size

_OPTION = struct.Struct("<HH")
_LONGEST_OPTION = 0xFFFF
_HALVES = struct.Struct("<II")
_COUNTER = struct.Struct("<Q")
_COMMENT = 1
_SHB_OS, _SHB_USERAPPL = 3, 4
_IF_NAME, _IF_DESCRIPTION, _IF_MACADDR, _IF_EUIADDR = 2, 3, 6, 7
_IF_TSRESOL, _IF_FILTER = 9, 11
_EPB_FLAGS = 2
_ISB_STARTTIME, _ISB_ENDTIME, _ISB_IFRECV, _ISB_IFDROP = 2, 3, 4, 5
_ISB_FILTERACCEPT, _ISB_OSDROP, _ISB_USRDELIV = 6, 7, 8

_NANOSECONDS = b"\x09"
_IN_LANGUAGE_OF_LIBPCAP = b"\0"
#: epb_flags, bits 0 and 1.
_DIRECTIONS = {"in": 1, "out": 2}
#: epb_flags, bits 9 and 11; older readers show them as reserved.
_CHECKSUM_NOT_READY, _SEGMENTATION_OFFLOADED = 1 << 9, 1 << 11
_OF_CHECKSUM = "checksum left to the hardware: this is not what will be on the wire"
_OF_SEGMENTS = "{} bytes, to be cut into segments by the hardware"

#: How many bytes are collected for one write.
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """An interface that was captured on, and what is known of it.

    Attributes:
        namespace: The namespace, or the hidden bridge, of the interface.
        interface: The interface's name.
        linktype: What its packets begin with: `ETHERNET` or `RAW_IP`.
        lladdr: Its link-layer address, or None.
        filter: The filter of the capture, in libpcap's language, or None.
        received: How many packets passed the filter, those that were dropped
            after it included (tp_packets of packet(7)), or None.
        dropped: How many of these the kernel had no room for (tp_drops), or None.
        snaplen: How many bytes were kept of a packet at most; 0 if all.
        started: When the capture began, in nanoseconds since the epoch, or None.
        ended: When it ended, likewise.
        comment: What else a reader should know.
    """

    namespace: str
    interface: str
    linktype: int = ETHERNET
    lladdr: str | None = None
    filter: str | None = None
    received: int | None = None
    dropped: int | None = None
    snaplen: int = 0
    started: int | None = None
    ended: int | None = None
    comment: str = ""

    @property
    def name(self) -> str:
        """Its name in the file: ``"left:eth0"``."""
        return f"{self.namespace}:{self.interface}"


@dataclass(slots=True)
class _Entry:
    """A place in the file: its number there, and the packets that it has so far."""

    number: int
    place: Place
    packets: int = 0
    last: int = 0


class Writer:
    """A pcapng file in the making.

    A frame may come from a place that was not declared: it is then described by
    what the frame says. Programs that read by libpcap, such as tcpdump, refuse a
    file whose places differ in linktype or snaplen; Wireshark and scapy do not.

    Args:
        file: What to write to; buffered, since it must take all that it is given.
        places: The places that are known beforehand.
        comment: What a reader should know of the file.
        dropped: How many packets the kernel dropped in all, if that is known but not
            of which place; the file's comments mention it.
        application: The name and version of who writes.
    """

    def __init__(
        self,
        file: BinaryIO,
        places: Iterable[Place] = (),
        *,
        comment: str = "",
        dropped: int | None = None,
        application: str = "pytest-netns",
    ) -> None:
        self._file = file
        self._entries: dict[tuple[str, str, int], _Entry] = {}
        known = tuple(places)
        file.write(_section(application, [comment, _loss(known, dropped)]))
        self._snaplen = known[0].snaplen if known else 0
        for place in known:
            self._describe(place)

    def write(self, frames: Iterable[Frame]) -> None:
        """Write packets in the order in which they come."""
        pieces: list[bytes] = []
        length = 0
        for frame in frames:
            pieces += _packet(self._count(frame), frame)
            length += _PACKET_FRAMING + len(frame.data)
            if length >= _CHUNK:
                self._file.write(b"".join(pieces))
                pieces.clear()
                length = 0
        self._file.write(b"".join(pieces))

    def finish(self, places: Iterable[Place] = ()) -> None:
        """Write the statistics of all places; closing the file is the caller's.

        Args:
            places: Places as they are known by now, instead of as declared.
        """
        for place in places:
            self._describe(place)
        self._file.write(b"".join(map(_statistics, self._entries.values())))

    def _describe(self, place: Place) -> _Entry:
        """Tell of a place; at once, for its packets may be written later only."""
        key = place.namespace, place.interface, place.linktype
        if entry := self._entries.get(key):
            entry.place = place
        else:
            entry = self._entries[key] = _Entry(len(self._entries), place)
            self._file.write(_interface(place))
        return entry

    def _count(self, frame: Frame) -> int:
        """Count a packet in the statistics of its place; return the place's number."""
        key = frame.namespace, frame.interface, frame.linktype
        entry = self._entries.get(key)
        if entry is None:
            entry = self._describe(Place(*key, snaplen=self._snaplen))
        entry.packets += 1
        entry.last = frame.time
        return entry.number


def write(
    file: BinaryIO,
    frames: Iterable[Frame],
    places: Iterable[Place] = (),
    *,
    comment: str = "",
    dropped: int | None = None,
    application: str = "pytest-netns",
) -> None:
    """Write a whole file; the arguments are those of `Writer`."""
    writer = Writer(
        file, places, comment=comment, dropped=dropped, application=application
    )
    writer.write(frames)
    writer.finish()


# --- blocks ---


def _block(kind: int, fields: bytes, options: Sequence[bytes]) -> bytes:
    body = fields + _listed(options)
    total = _BLOCK.size + len(body) + _LENGTH.size
    return _BLOCK.pack(kind, total) + body + _LENGTH.pack(total)


def _section(application: str, comments: Iterable[str]) -> bytes:
    options = [_text(_COMMENT, comment) for comment in comments if comment]
    options += [_text(_SHB_OS, "Linux"), _text(_SHB_USERAPPL, application)]
    return _block(_SECTION, _SECTION_FIELDS, options)


def _interface(place: Place) -> bytes:
    options = [
        _text(_IF_NAME, place.name),
        _text(_IF_DESCRIPTION, f"{place.interface} of {place.namespace}"),
        _option(_IF_TSRESOL, _NANOSECONDS),
    ]
    if place.comment:
        options.append(_text(_COMMENT, place.comment))
    if place.lladdr is not None:
        options += _lladdr(place.lladdr)
    if place.filter:
        options.append(_text(_IF_FILTER, place.filter, _IN_LANGUAGE_OF_LIBPCAP))
    fields = _INTERFACE_FIELDS.pack(place.linktype, place.snaplen)
    return _block(_INTERFACE, fields, options)


def _lladdr(lladdr: str) -> list[bytes]:
    """Return the option for a link-layer address, if one of that length has any."""
    data = bytes.fromhex(lladdr.replace(":", ""))
    kind = {6: _IF_MACADDR, 8: _IF_EUIADDR}.get(len(data))
    return [] if kind is None else [_option(kind, data)]


def _packet(place: int, frame: Frame) -> tuple[bytes, ...]:
    """Return a packet's block in pieces, for it is one of millions."""
    captured = len(frame.data)
    if frame.is_unsegmented:
        options = bytes(-captured & 3) + _packet_options(frame)
    else:
        options = _USUAL_OPTIONS[
            frame.direction, frame.has_partial_checksum, captured & 3
        ]
    total = _PACKET_FRAMING + captured + len(options)
    fields = _PACKET_FIELDS.pack(
        _PACKET,
        total,
        place,
        frame.time >> 32,
        frame.time & 0xFFFFFFFF,
        captured,
        max(frame.length, captured),
    )
    return fields, frame.data, options, _LENGTH.pack(total)


def _statistics(entry: _Entry) -> bytes:
    place = entry.place
    time = entry.last if place.ended is None else place.ended
    fields = _STATISTICS_FIELDS.pack(entry.number, *_halves(time))
    options = []
    if place.dropped:
        options.append(_text(_COMMENT, _loss([place], None)))
    for kind, moment in (_ISB_STARTTIME, place.started), (_ISB_ENDTIME, place.ended):
        if moment is not None:
            options.append(_option(kind, _HALVES.pack(*_halves(moment))))
    # Nobody counted the packets that did not pass the filter.
    received = _ISB_FILTERACCEPT if place.filter else _ISB_IFRECV
    for kind, count in (
        (received, place.received),
        (_ISB_OSDROP, place.dropped),
        # By the specification this is the interface's affair, but dumpcap writes the
        # kernel's drops here, and Wireshark shows no others.
        (_ISB_IFDROP, place.dropped),
        (_ISB_USRDELIV, entry.packets),
    ):
        if count is not None:
            options.append(_option(kind, _COUNTER.pack(count)))
    return _block(_STATISTICS, fields, options)


def _loss(places: Sequence[Place], dropped: int | None) -> str:
    """Say what the kernel dropped; nothing, if nothing is known."""
    known = [place.dropped for place in places if place.dropped is not None]
    if dropped is None and known and (any(known) or len(known) == len(places)):
        dropped = sum(known)
    if not dropped:
        return "" if dropped is None else "no packet was dropped"
    lossy = [f"{place.dropped} at {place.name}" for place in places if place.dropped]
    where = f" ({', '.join(lossy)})" if lossy else ""
    return f"packets dropped by the kernel: {dropped}{where}"


# --- options ---


def _option(kind: int, value: bytes) -> bytes:
    return _OPTION.pack(kind, len(value)) + value + bytes(-len(value) & 3)


def _text(kind: int, text: str, prefix: bytes = b"") -> bytes:
    """Return an option of UTF-8, without half a character where it must end."""
    value = prefix + text.encode(errors="replace")
    if len(value) > _LONGEST_OPTION:
        value = value[:_LONGEST_OPTION].decode(errors="ignore").encode()
    return _option(kind, value)


def _listed(options: Sequence[bytes]) -> bytes:
    """Join options and end their list."""
    return b"".join((*options, _OPTION.pack(0, 0)))


def _halves(time: int) -> tuple[int, int]:
    """Split a time into its upper and its lower 32 bits."""
    return time >> 32, time & 0xFFFFFFFF


def _packet_options(frame: Frame) -> bytes:
    """Return flags, and for people a comment on what was left to the hardware."""
    word = _DIRECTIONS[frame.direction]
    comments = []
    if frame.has_partial_checksum:
        word |= _CHECKSUM_NOT_READY
        comments.append(_text(_COMMENT, _OF_CHECKSUM))
    if frame.is_unsegmented:
        word |= _SEGMENTATION_OFFLOADED
        comments.append(_text(_COMMENT, _OF_SEGMENTS.format(frame.length)))
    return _listed([_option(_EPB_FLAGS, _LENGTH.pack(word)), *comments])


#: The padding of a packet's data and its options, by direction, whether the checksum
#: is partial, and the data's length modulo 4; when it need not be cut into segments.
_USUAL_OPTIONS = {
    (direction, partial, rest): bytes(-rest & 3)
    + _packet_options(Frame(0, "", "", direction, b"", 0, has_partial_checksum=partial))
    for direction in _DIRECTIONS
    for partial in (False, True)
    for rest in range(4)
}
