"""Blocks of rings, and stores of them: as the kernel would fill them."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._blocks import Frames, Store
from pytest_netns._frame import Frame
from pytest_netns._tpacket import OUTGOING, count_of, entry_at, offsets_of, time_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns._tpacket import Entry

_BLOCK_HEADER = 48
_FRAME_HEADER = 48 + 20
_MAC = 80


class Sample(NamedTuple):
    """A packet to put into a block."""

    data: bytes
    time: int = 0
    ifindex: int = 1
    pkttype: int = 0
    hatype: int = 1
    status: int = 0
    length: int | None = None
    tci: int = 0
    tpid: int = 0


def block_of(*samples: Sample) -> bytes:
    """Return a block with these packets."""
    body = b"".join(
        _frame(sample, is_last=number == len(samples) - 1)
        for number, sample in enumerate(samples)
    )
    header = struct.pack(
        "=IIIIIIQIIII",
        2,
        _BLOCK_HEADER,
        1,
        len(samples),
        _BLOCK_HEADER,
        _BLOCK_HEADER + len(body),
        1,
        0,
        0,
        0,
        0,
    )
    return header + body


def _frame(sample: Sample, *, is_last: bool) -> bytes:
    size = (_MAC + len(sample.data) + 15) & ~15
    length = len(sample.data) if sample.length is None else sample.length
    header = struct.pack(
        "=6IHHIIHH8x",
        0 if is_last else size,
        sample.time // 10**9,
        sample.time % 10**9,
        len(sample.data),
        length,
        sample.status,
        _MAC,
        _MAC + 14,
        0,
        sample.tci,
        sample.tpid,
        0,
    )
    address = struct.pack(
        "=HHiHBB8x", 17, 0, sample.ifindex, sample.hatype, sample.pkttype, 6
    )
    return (header + address).ljust(_MAC, b"\0") + sample.data.ljust(size - _MAC, b"\0")


# linux/if_packet.h
CHECKSUM_NOT_READY = 1 << 3
VLAN_VALID = 1 << 4
VLAN_TPID_VALID = 1 << 6
GSO_TCP = 1 << 8


def only_entry(sample: Sample) -> Entry:
    """Return what a block with one packet has."""
    block = block_of(sample)
    (offset,) = offsets_of(block)
    return entry_at(block, offset)


class TestBlock:
    """One block."""

    def test_packets(self) -> None:
        """Each packet comes with its time, interface, direction and bytes."""
        block = block_of(
            Sample(b"a" * 60, time=1_700_000_000_123_456_789, ifindex=7),
            Sample(b"b" * 61, pkttype=OUTGOING, hatype=772),
            Sample(b"", ifindex=9),
        )
        assert count_of(block) == 3
        first, second, third = (entry_at(block, one) for one in offsets_of(block))
        assert (first.time, first.ifindex) == (1_700_000_000_123_456_789, 7)
        assert (first.data, first.length, first.is_outgoing) == (b"a" * 60, 60, False)
        assert (second.data, second.is_outgoing) == (b"b" * 61, True)
        assert second.hatype == 772
        assert (third.data, third.ifindex) == (b"", 9)
        assert time_at(block, offsets_of(block)[0]) == first.time

    def test_cut_off(self) -> None:
        """What was cut off is known by its length."""
        entry = only_entry(Sample(b"x" * 96, length=1514))
        assert (len(entry.data), entry.length) == (96, 1514)

    @pytest.mark.parametrize(
        ("status", "tpid", "tag"),
        [
            (VLAN_VALID, 0, "8100 6064"),
            (VLAN_VALID | VLAN_TPID_VALID, 0x88A8, "88a8 6064"),
        ],
        ids=["802.1Q", "802.1ad"],
    )
    def test_a_vlan_tag_is_put_back(self, status: int, tpid: int, tag: str) -> None:
        """The tag is where it was on the wire, and counts."""
        data = bytes(range(60))
        entry = only_entry(Sample(data, status=status, tci=0x6064, tpid=tpid))
        assert entry.data == data[:12] + bytes.fromhex(tag) + data[12:]
        assert entry.length == 64

    def test_no_vlan_tag(self) -> None:
        """A number beside the packet is no tag unless the kernel says so."""
        entry = only_entry(Sample(b"x" * 60, tci=5, tpid=0x8100))
        assert entry.data == b"x" * 60
        raw = only_entry(Sample(b"x" * 60, tci=5, status=VLAN_VALID, hatype=65534))
        assert raw.data == b"x" * 60

    def test_offloads(self) -> None:
        """What was left to the hardware is told."""
        entry = only_entry(Sample(b"x" * 60, status=CHECKSUM_NOT_READY | GSO_TCP))
        assert entry.has_partial_checksum
        assert entry.is_unsegmented
        entry = only_entry(Sample(b"x" * 60, status=1))
        assert not entry.has_partial_checksum
        assert not entry.is_unsegmented

    @given(st.binary(max_size=400))
    def test_hostile_bytes(self, block: bytes) -> None:
        """Whatever a block holds, taking it apart ends, and stays inside."""
        offsets = offsets_of(block)
        assert all(before < after for before, after in pairwise(offsets))
        for offset in offsets:
            assert len(entry_at(block, offset).data) <= len(block) + 4

    @given(st.data())
    def test_hostile_changes(self, data: st.DataObject) -> None:
        """So it does if a good block was changed, or cut off."""
        block = bytearray(block_of(*[Sample(b"x" * size) for size in (60, 0, 200)]))
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(block) - 1))
            block[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFF]))
        changed = bytes(block[: data.draw(st.integers(0, len(block)))])
        offsets = offsets_of(changed)
        assert all(before < after for before, after in pairwise(offsets))
        for offset in offsets:
            entry_at(changed, offset)


def frame_of(ring: int, entry: Entry) -> Frame:
    """Make a frame that tells where it is from."""
    return Frame(entry.time, f"ring{ring}", "eth0", "in", entry.data, entry.length)


def numbered(*numbers: int) -> bytes:
    """Return a block with a packet at each of these times."""
    return block_of(*[Sample(str(one).encode(), time=one) for one in numbers])


def all_of(store: Store, keep: Callable[[Frame], bool] | None = None) -> Frames:
    """Return all that a store has."""
    return Frames(store, store.extent, frame_of, keep)


def times(frames: Frames) -> list[int]:
    """Return the times, and check that each way to look gives the same."""
    iterated = [frame.time for frame in frames]
    assert len(frames) == len(iterated)
    assert [frames[number].time for number in range(len(frames))] == iterated
    assert [frame.time for frame in frames[:]] == iterated
    assert [frames[-number].time for number in range(1, len(frames) + 1)] == (
        iterated[::-1]
    )
    for outside in (len(frames), -len(frames) - 1):
        with pytest.raises(IndexError):
            frames[outside]
    return iterated


class TestStore:
    """What rings have handed over."""

    def test_empty(self) -> None:
        """Nothing is there, and can be looked at."""
        assert times(all_of(Store(0))) == []
        assert times(all_of(Store(2))) == []

    def test_one_ring(self) -> None:
        """The kernel's order stays as it is."""
        store = Store(1)
        for block in (numbered(5, 3), numbered(4), numbered(9, 10, 11)):
            store.add(0, block)
        assert times(all_of(store)) == [5, 3, 4, 9, 10, 11]

    def test_several_rings(self) -> None:
        """Packets of several rings are in order of time."""
        store = Store(3)
        store.add(0, numbered(1, 4, 9))
        store.add(2, numbered(2, 3))
        store.add(0, numbered(10))
        store.add(2, numbered(11, 12))
        frames = all_of(store)
        assert times(frames) == [1, 2, 3, 4, 9, 10, 11, 12]
        assert [frame.namespace for frame in frames[:4]] == [
            "ring0",
            "ring2",
            "ring2",
            "ring0",
        ]

    def test_kept(self) -> None:
        """A function may choose."""
        store = Store(1)
        store.add(0, numbered(1, 2, 3))
        store.add(0, numbered(4, 5))
        assert times(all_of(store, lambda frame: frame.time % 2 == 0)) == [2, 4]
        assert times(all_of(store, lambda _: False)) == []

    def test_what_comes_later(self) -> None:
        """What was there at a moment does not grow; what came since can be had."""
        store = Store(2)
        store.add(0, numbered(1, 2))
        first = all_of(store)
        begin = store.extent
        store.add(0, numbered(5, 7))
        store.add(1, numbered(6))
        since = Frames(store, store.extent, frame_of, begin=begin)
        assert times(first) == [1, 2]
        assert times(since) == [5, 6, 7]
        store.add(0, numbered(8))
        last = Frames(store, store.extent, frame_of, begin=(2, 1))
        assert times(last) == [8]

    @pytest.mark.parametrize("rings", [1, 2])
    def test_more_than_fits(self, rings: int) -> None:
        """What does not fit into memory goes to a file, and comes back."""
        store = Store(rings, in_memory=1000)
        for number in range(50):
            store.add(number % rings, numbered(number * 2, number * 2 + 1))
        assert store.spilled > 5000
        assert times(all_of(store)) == list(range(100))

    def test_no_room_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no file can be made, memory has to do: nothing is lost."""
        monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
        store = Store(1, in_memory=100)
        store.add(0, numbered(1, 2, 3))
        store.add(0, numbered(4))
        assert store.spilled == 0
        assert times(all_of(store)) == [1, 2, 3, 4]

    @given(
        st.lists(
            st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5)),
            min_size=1,
            max_size=4,
        ),
        st.integers(0, 2000),
    )
    def test_any(self, rings: list[list[list[int]]], in_memory: int) -> None:
        """However packets come, all of them are there, and in order."""
        store = Store(len(rings), in_memory=in_memory)
        expected = []
        clock = 0
        for ring, blocks in enumerate(rings):
            clock = ring
            for block in blocks:
                ticks = []
                for gap in block:
                    clock += gap + 1
                    ticks.append(clock)
                store.add(ring, numbered(*ticks))
                expected += ticks
        assert times(all_of(store)) == sorted(expected)
