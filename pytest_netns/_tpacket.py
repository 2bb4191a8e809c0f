"""Blocks of a packet ring (TPACKET_V3), taken apart; see linux/if_packet.h.

Nothing here trusts what a block says: an offset that leads out of it, or back,
ends it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

# struct tpacket_block_desc with struct tpacket_hdr_v1
STATUS_OFFSET = 8
COUNT_OFFSET = 12
_BLOCK_HEADER = struct.Struct("=12xIII")  # num_pkts, offset_to_first_pkt, blk_len
# struct tpacket3_hdr and, behind it, struct sockaddr_ll
_FRAME_HEADER = struct.Struct("=6IHH4xIH10x4xiHB")
_NUMBER = struct.Struct("=I")
_TIME = struct.Struct("=4xII")
_STATUS = struct.Struct("=20xI")
_CAPTURED_OFFSET = 12
#: What fits into the field of a packet's length.
_LONGEST = 0xFFFF_FFFF
_WHOLE_BLOCK_HEADER = struct.Struct("=II4xIII24x")
_WHOLE_FRAME_HEADER = struct.Struct("=6IHH4xIHH8x20s")

# tp_status
_CHECKSUM_NOT_READY = 1 << 3
_VLAN_VALID = 1 << 4
_VLAN_TPID_VALID = 1 << 6
_GSO_TCP = 1 << 8  # since Linux 6.0
_TIME_OF_PACKET = 1 << 29  # TP_STATUS_TS_SOFTWARE

#: sll_pkttype of what leaves.
OUTGOING = 4
# sll_hatype: ARPHRD_ETHER and ARPHRD_LOOPBACK (linux/if_arp.h)
ETHERNET_TYPES = (1, 772)
_8021Q = 0x8100
_ADDRESSES = 12  # bytes in front of an Ethernet frame's tag


class Entry(NamedTuple):
    """A packet of a block.

    Attributes:
        time: Nanoseconds since the epoch.
        ifindex: The interface that saw it.
        hatype: What kind of interface that is (ARPHRD_*).
        is_outgoing: Whether it leaves through the interface.
        length: Its length on the wire, in bytes.
        data: As much of it as was captured.
        has_partial_checksum: Whether the checksum was left to the hardware.
        is_unsegmented: Whether segmentation of TCP was left to the hardware.
    """

    time: int
    ifindex: int
    hatype: int
    is_outgoing: bool
    length: int
    data: bytes
    has_partial_checksum: bool
    is_unsegmented: bool


#: A block, or the place in a ring where it is for a moment.
Block: TypeAlias = "bytes | memoryview[int]"


def count_of(block: Block) -> int:
    """Return how many packets a block says it has, or at most how many fit."""
    if len(block) < _BLOCK_HEADER.size:
        return 0
    (count, _, _) = _BLOCK_HEADER.unpack_from(block)
    return min(int(count), len(block) // _FRAME_HEADER.size)


def offsets_of(block: bytes) -> list[int]:
    """Return where in a block its packets begin."""
    if len(block) < _BLOCK_HEADER.size:
        return []
    count, offset, _ = _BLOCK_HEADER.unpack_from(block)
    last = len(block) - _FRAME_HEADER.size
    step = _NUMBER.unpack_from
    offsets = []
    for _ in range(count):
        if offset > last:
            break
        offsets.append(offset)
        (to_next,) = step(block, offset)
        if to_next == 0:
            break
        offset += to_next
    return offsets


def time_at(block: bytes, offset: int) -> int:
    """Return the time of the packet that begins at `offset`, in nanoseconds."""
    seconds, nanoseconds = _TIME.unpack_from(block, offset)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def is_stamped(block: bytes, offset: int) -> bool:
    """Tell whether a packet had its time already: all sockets have the same then."""
    (status,) = _STATUS.unpack_from(block, offset)
    return bool(status & _TIME_OF_PACKET)


def entry_at(block: bytes, offset: int) -> Entry:
    """Return the packet that begins at `offset`, with its VLAN tag put back."""
    (
        _next,
        seconds,
        nanoseconds,
        captured,
        length,
        status,
        mac,
        _net,
        vlan_tci,
        vlan_tpid,
        ifindex,
        hatype,
        pkttype,
    ) = _FRAME_HEADER.unpack_from(block, offset)
    data = block[offset + mac : offset + mac + captured]
    if status & _VLAN_VALID and hatype in ETHERNET_TYPES:
        tpid = vlan_tpid if status & _VLAN_TPID_VALID else _8021Q
        tag = struct.pack(">HH", tpid, vlan_tci & 0xFFFF)
        data = data[:_ADDRESSES] + tag + data[_ADDRESSES:]
        length = min(length + len(tag), _LONGEST)
    return Entry(
        seconds * 1_000_000_000 + nanoseconds,
        ifindex,
        hatype,
        pkttype == OUTGOING,
        length,
        data,
        bool(status & _CHECKSUM_NOT_READY),
        bool(status & _GSO_TCP),
    )


def pack_frame(
    time: int,
    data: bytes,
    *,
    length: int,
    status: int,
    vlan: tuple[int, int],
    address: bytes,
) -> bytes:
    """Return a packet as it stands in a block.

    Args:
        time: Nanoseconds since the epoch.
        data: What was captured of it.
        length: Its length on the wire, in bytes.
        status: What the kernel says of it (TP_STATUS_*).
        vlan: Control information and protocol of its VLAN tag.
        address: Where it was seen (struct sockaddr_ll).
    """
    mac = _WHOLE_FRAME_HEADER.size
    seconds, nanoseconds = divmod(time, 1_000_000_000)
    header = _WHOLE_FRAME_HEADER.pack(
        mac + len(data),
        seconds,
        nanoseconds,
        len(data),
        length,
        status,
        mac,
        mac,
        *vlan,
        0,
        address,
    )
    return header + data


def pack_block(frames: Sequence[bytes]) -> bytes:
    """Return a block with these packets, each as it stands in a block."""
    size = _WHOLE_BLOCK_HEADER.size
    body = b"".join(frames)
    header = _WHOLE_BLOCK_HEADER.pack(0, size, len(frames), size, size + len(body))
    return header + body


def slice_at(block: bytes, offset: int) -> bytes:
    """Return a packet as it stands in a block, for another block."""
    (_, _, _, captured, _, _, mac, *_) = _FRAME_HEADER.unpack_from(block, offset)
    # of one that says it is longer than its block, what there is
    size = max(min(mac + captured, len(block) - offset), _FRAME_HEADER.size)
    frame = bytearray(block[offset : offset + size])
    _NUMBER.pack_into(frame, 0, size)
    _NUMBER.pack_into(frame, _CAPTURED_OFFSET, min(captured, max(size - mac, 0)))
    return bytes(frame)
