"""Blocks, packets and files of packets that nobody should trust."""

from __future__ import annotations

import contextlib
import io
import struct
from functools import partial
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from pytest_netns import InconclusiveError
from pytest_netns._blocks import Frames, Store
from pytest_netns._frame import ETHERNET, RAW_IP, Frame
from pytest_netns._labels import label_of
from pytest_netns._matching import matcher
from pytest_netns._packet_table import row_of, table
from pytest_netns._pcap import BrokenFile, read
from pytest_netns._pcapng import Place, Writer
from pytest_netns._scapy import dissect
from pytest_netns._seam import Seam
from pytest_netns._tpacket import (
    count_of,
    entry_at,
    offsets_of,
    pack_block,
    pack_frame,
    slice_at,
    time_at,
)
from pytest_netns.flow import Flow
from tests.inputs.hostile import damaged

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_netns._tpacket import Entry

_MAC = bytes.fromhex("020000000001020000000002")
#: ARP, TCP over IPv4, UDP over IPv6 with a broken name, and what is cut short.
PACKETS = [
    _MAC + bytes.fromhex("08060001080006040001") + bytes(20),
    _MAC
    + bytes.fromhex("08004500002800010000400600000a0000010a000002")
    + bytes.fromhex("04d20050000000010000000050020000ffff0000"),
    _MAC
    + bytes.fromhex("86dd6000000000141140")
    + bytes(32)
    + bytes.fromhex("00350035001400000001010000010000000000000fc00c"),
    _MAC + bytes.fromhex("8100000a0800450000ff"),
    b"",
    bytes(3),
]


def _frame(data: bytes, time: int, status: int) -> bytes:
    return pack_frame(
        time,
        data,
        length=len(data),
        status=status,
        vlan=(10, 0x8100),
        address=bytes(4) + (2).to_bytes(4, "little") + bytes([1, 0, 4]) + bytes(9),
    )


BLOCKS = [
    pack_block([_frame(data, 10**18 + number, status) for number, data in pairs])
    for status in (0, 0xFFFF_FFFF)
    for pairs in ([], [(0, PACKETS[1])], [*enumerate(PACKETS)])
]
blocks: SearchStrategy[bytes] = damaged(BLOCKS)
block_lists = st.lists(blocks, max_size=4)
packets: SearchStrategy[bytes] = damaged(PACKETS)


def check_block(block: bytes) -> None:
    """Check that what is read of a block is in the block, and comes to an end."""
    count_of(block)
    offsets = offsets_of(block)
    assert offsets == sorted(set(offsets))
    for offset in offsets:
        entry = entry_at(block, offset)
        assert len(entry.data) <= len(block) + 4  # a VLAN's tag was put back
        assert entry.time == time_at(block, offset)
    # what is cut out of it is a block again
    again = pack_block([slice_at(block, offset) for offset in offsets])
    cut = [entry_at(again, one) for one in offsets_of(again)]
    assert [(one.time, len(one.data)) for one in cut] == [
        (one.time, len(one.data)) for one in (entry_at(block, at) for at in offsets)
    ]


def check_store(blocks: list[bytes]) -> None:
    """Check that all packets of rings can be had in any way, or none that is wrong."""
    store = Store(2, in_memory=100)
    for number, block in enumerate(blocks):
        store.add(number % 2, block)
    lies = any(count_of(block) != len(offsets_of(block)) for block in blocks)
    for extent in (store.extent, (store.extent[0], 0)):
        frames = Frames(store, extent, frame_of)
        try:
            listed = [*frames]
        except InconclusiveError:
            assert lies
            continue
        count = len(frames)
        assert [frames[number] for number in range(count)] == listed
        assert len(Frames(store, extent, frame_of, lambda _: True)) == count


def check_seam(blocks: list[bytes]) -> None:
    """Check that what two sockets have seen is joined, whatever they say."""
    seam = Seam(blocks[:2], 10**18)
    for block in blocks[1:]:
        cut = seam.cut(block)
        assert len(offsets_of(cut)) <= len(offsets_of(block))
    assert seam.count >= 0


def frame_of(ring: int, entry: Entry) -> Frame:
    """Return a packet of a block as a capture shows it."""
    return Frame(
        entry.time,
        f"place{ring}",
        "eth0",
        "out" if entry.is_outgoing else "in",
        entry.data,
        entry.length,
        has_partial_checksum=entry.has_partial_checksum,
        is_unsegmented=entry.is_unsegmented,
        linktype=ETHERNET if entry.hatype == 1 else RAW_IP,
    )


def _pcap(order: str, magic: int) -> bytes:
    head = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(
        struct.pack(f"{order}IIII", 1, 2, len(data), len(data)) + data
        for data in PACKETS
    )


def _pcapng() -> bytes:
    file = io.BytesIO()
    writer = Writer(file, [Place("a", "eth0", snaplen=99)], comment="a file")
    writer.write(frames_of(PACKETS))
    writer.finish()
    return file.getvalue()


def check_file(data: bytes) -> None:
    """Check that it is a file of packets, or is said to be broken."""
    with contextlib.suppress(BrokenFile):
        for number, stored in enumerate(read(io.BytesIO(data))):
            assert number <= len(data)
            assert len(stored.data) <= len(data)


def frames_of(packets: list[bytes]) -> list[Frame]:
    """Return packets as if an interface had seen each come in, and another go out."""
    return [
        Frame(
            10**18 + number,
            "ab"[number % 2],
            "eth0",
            ("in", "out")[number % 2],
            data,
            len(data) + number,
            linktype=(ETHERNET, RAW_IP)[number // 2 % 2],
            has_partial_checksum=number % 3 == 0,
            is_unsegmented=number % 5 == 0,
        )
        for number, data in enumerate(packets)
    ]


packet_lists = st.lists(packets, min_size=1, max_size=4)


def check_packets(packets: list[bytes]) -> None:
    """Check that they can be shown, drawn, written and read, whatever is in them."""
    frames = frames_of(packets)
    labels = [label_of(dissect(frame)) for frame in frames]
    assert all(label.isprintable() for label in labels)
    rows = [row_of(at, frame, 0, labels[at]) for at, frame in enumerate(frames)]
    lines = table(len(rows), rows.__getitem__).splitlines()
    assert len(lines) >= len(rows)
    flow = Flow(frames, peers={"a:eth0": "b:eth0"}, captured=["a:eth0", "b:eth0"])
    assert str(flow)
    assert flow.to_svg().startswith("<svg")
    wanted = matcher("tcp and host 10.0.0.1")
    for frame in frames:
        assert wanted.matches(frame, partial(dissect, frame)) in {True, False}
    file = io.BytesIO()
    writer = Writer(file)
    writer.write(frames)
    writer.finish()
    file.seek(0)
    assert [stored.data for stored in read(file)] == packets


FILES = [_pcap("<", 0xA1B2C3D4), _pcap(">", 0xA1B23C4D), _pcapng()]
files: SearchStrategy[bytes] = damaged(FILES)
