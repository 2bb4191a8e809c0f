"""What rings have handed over, kept until somebody looks.

Blocks stay as the kernel has filled them. Beyond some size they go to a file
without a name, and come back one at a time.
"""

from __future__ import annotations

import bisect
import heapq
import mmap
import os
import tempfile
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

from ._tpacket import count_of, entry_at, offsets_of, time_at
from .errors import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ._frame import Frame
    from ._tpacket import Block, Entry

#: How many bytes of blocks stay in memory.
_IN_MEMORY = 64 * 1024 * 1024
#: How large the pieces are in which they share it, and which blocks have their own.
_PIECE = 2 * 1024 * 1024
_SMALL = 16 * 1024
_FILLED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
#: How many blocks are kept taken apart, for each ring.
_AT_HAND = 4

# a place in a store is one number: ring, block and offset
_OFFSET_BITS = 20
_BLOCK_BITS = 28


class _Spilled(NamedTuple):
    """A block that is in the file."""

    offset: int
    length: int


class _Opened(NamedTuple):
    """A block, taken apart."""

    data: bytes
    offsets: list[int]


class _Memory:
    """Memory for copies of blocks, in pieces that the kernel hands out at once.

    One page at a time it takes longer to hand them out than to fill them. Large pages
    take less still, but not in a virtual machine that gives unused ones back.
    """

    def __init__(self) -> None:
        self._left: memoryview[int] = memoryview(b"")

    def copy(self, block: Block) -> Block:
        """Return a copy of a block, or what need not be copied."""
        length = len(block)
        if length < _SMALL or isinstance(block, bytes):
            return bytes(block)
        if len(self._left) < length:
            self._left = memoryview(mmap.mmap(-1, max(_PIECE, length), _FILLED))
        copy, self._left = self._left[:length], self._left[length:]
        copy[:] = block
        return copy


class Store:
    """The blocks of some rings, in the order in which each ring gave them.

    Blocks may be added on one thread while others look at those before.

    Args:
        rings: How many rings there are.
        in_memory: How many bytes of blocks to keep in memory; None is 64 MiB.
    """

    def __init__(self, rings: int, *, in_memory: int | None = None) -> None:
        self._room = _IN_MEMORY if in_memory is None else in_memory
        self._memory = _Memory()
        self._blocks: list[list[Block | _Spilled]] = [[] for _ in range(rings)]
        #: How many packets are in front of each block of a ring, and how many in all.
        self._starts: list[list[int]] = [[0] for _ in range(rings)]
        self._file: int | None = None
        self._file_length = 0
        self._at_hand: OrderedDict[tuple[int, int], _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, ring: int, block: Block) -> None:
        """Keep a copy of a block."""
        self.add_all(ring, [block])

    def add_all(self, ring: int, blocks: Iterable[Block]) -> None:
        """Keep copies of blocks, each of which lasts until the next is asked for."""
        surplus: list[bytes] = []
        for block in blocks:
            if surplus or len(block) > self._room:
                surplus.append(bytes(block))
            else:
                self._room -= len(block)
                self._append(ring, self._memory.copy(block), count_of(block))
        if surplus:
            for block, kept in zip(surplus, self._spill(surplus), strict=True):
                self._append(ring, kept, count_of(block))

    def _append(self, ring: int, kept: Block | _Spilled, count: int) -> None:
        starts = self._starts[ring]
        starts.append(starts[-1] + count)
        self._blocks[ring].append(kept)  # last: from now on it is there for others

    def _spill(self, blocks: Sequence[bytes]) -> Sequence[bytes | _Spilled]:
        """Write blocks to the file, with one call.

        Each lets go of the interpreter's lock, and a test that computes keeps that
        longer than the next block takes to come.
        """
        try:
            if self._file is None:
                self._file = _nameless_file()
                # whoever has packets may look at them for as long as they like
                weakref.finalize(self, os.close, self._file)
            written = os.pwritev(self._file, blocks, self._file_length)
        except OSError:  # no space: rather memory than a packet that is missing
            return blocks
        if written != sum(map(len, blocks)):
            return blocks
        spilled = []
        for block in blocks:
            spilled.append(_Spilled(self._file_length, len(block)))
            self._file_length += len(block)
        return spilled

    @property
    def extent(self) -> tuple[int, ...]:
        """How many blocks of each ring there are; what `Frames` begins with."""
        return tuple(map(len, self._blocks))

    @property
    def spilled(self) -> int:
        """How many bytes are in the file."""
        return self._file_length

    def count(self, extent: Sequence[int]) -> int:
        """Return how many packets there are in the first blocks of each ring."""
        return sum(self.count_of(ring, blocks) for ring, blocks in enumerate(extent))

    def count_of(self, ring: int, blocks: int) -> int:
        """Return how many packets there are in the first blocks of a ring."""
        return self._starts[ring][blocks]

    def locate(self, ring: int, number: int) -> int:
        """Return the place of a ring's packet `number`."""
        block = bisect.bisect_right(self._starts[ring], number) - 1
        offsets = self._open(ring, block).offsets
        return _place(ring, block, offsets[number - self._starts[ring][block]])

    def places(self, ring: int, blocks: range) -> Iterator[tuple[int, int]]:
        """Yield time and place of each packet in some blocks of a ring."""
        for block in blocks:
            data, offsets = self._open(ring, block)
            for offset in offsets:
                yield time_at(data, offset), _place(ring, block, offset)

    def entry(self, place: int) -> tuple[int, Entry]:
        """Return the ring and the packet of a place."""
        offset = place & ((1 << _OFFSET_BITS) - 1)
        block = (place >> _OFFSET_BITS) & ((1 << _BLOCK_BITS) - 1)
        ring = place >> (_OFFSET_BITS + _BLOCK_BITS)
        return ring, entry_at(self._open(ring, block).data, offset)

    def entries(self, ring: int, blocks: range) -> Iterator[Entry]:
        """Yield the packets of some blocks of a ring."""
        for block in blocks:
            data, offsets = self._open(ring, block)
            for offset in offsets:
                yield entry_at(data, offset)

    def _open(self, ring: int, block: int) -> _Opened:
        """Return a block, taken apart; the last ones stay at hand.

        Raises:
            InconclusiveError: It makes no sense.
        """
        with self._lock:
            if (opened := self._at_hand.get((ring, block))) is not None:
                self._at_hand.move_to_end((ring, block))
                return opened
            kept = self._blocks[ring][block]
            data = self._read_back(kept) if isinstance(kept, _Spilled) else bytes(kept)
            opened = _Opened(data, offsets_of(data))
            starts = self._starts[ring]
            _check_count(len(opened.offsets), starts[block + 1] - starts[block])
            self._at_hand[ring, block] = opened
            while len(self._at_hand) > _AT_HAND * len(self._blocks):
                self._at_hand.popitem(last=False)
            return opened

    def _read_back(self, spilled: _Spilled) -> bytes:
        assert self._file is not None  # noqa: S101  # it was written there
        return os.pread(self._file, spilled.length, spilled.offset)


def _check_count(read: int, said: int) -> None:
    """Check that a block has as many packets as it says.

    Raises:
        InconclusiveError: It has not.
    """
    if read != said:
        raise InconclusiveError(
            f"a block of packets makes no sense: it says that it has {said:,}, "
            f"and {read:,} can be read"
        )


def _nameless_file() -> int:
    with tempfile.TemporaryFile(prefix="pytest-netns-") as file:
        return os.dup(file.fileno())


def _place(ring: int, block: int, offset: int) -> int:
    return (ring << _BLOCK_BITS | block) << _OFFSET_BITS | offset


class Frames(Sequence["Frame"]):
    """Captured packets in order of time; each is made when it is touched.

    Args:
        store: Where they are.
        extent: How many blocks of each ring count.
        frame_of: Makes a frame of ring and entry.
        keep: Which frames count; None for all.
        begin: How many blocks of each ring do not count; None for none.
    """

    def __init__(
        self,
        store: Store,
        extent: tuple[int, ...],
        frame_of: Callable[[int, Entry], Frame],
        keep: Callable[[Frame], bool] | None = None,
        *,
        begin: tuple[int, ...] | None = None,
    ) -> None:
        self._store = store
        self._extent = extent
        self._begin = begin or (0,) * len(extent)
        self._before = store.count(self._begin)
        self._frame_of = frame_of
        self._keep = keep
        self._rings = [
            ring for ring, blocks in enumerate(extent) if blocks > self._begin[ring]
        ]
        #: Places found so far, where order or number is not known beforehand.
        self._found = array("Q")
        # of what it needs, not of itself: nobody could let go of that
        self._search = _find(
            store,
            {ring: range(self._begin[ring], extent[ring]) for ring in self._rings},
            lambda place: keep is None or keep(frame_of(*store.entry(place))),
        )
        self._lock = threading.Lock()

    @property
    def _is_plain(self) -> bool:
        """Whether the kernel's order and count are the right ones."""
        return self._keep is None and len(self._rings) <= 1

    def __len__(self) -> int:
        if self._keep is None:
            return self._store.count(self._extent) - self._before
        self._find_until(None)
        return len(self._found)

    @overload
    def __getitem__(self, item: int) -> Frame: ...
    @overload
    def __getitem__(self, item: slice) -> list[Frame]: ...
    def __getitem__(self, item: int | slice) -> Frame | list[Frame]:
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        number = item + len(self) if item < 0 else item
        if number < 0 or (self._keep is None and number >= len(self)):
            raise IndexError(f"packet {item} of {len(self)}")
        if self._is_plain:
            (ring,) = self._rings
            before = self._store.count_of(ring, self._begin[ring])
            return self._at(self._store.locate(ring, before + number))
        self._find_until(number)
        if number >= len(self._found):
            raise IndexError(f"packet {item} of {len(self._found)}")
        return self._at(self._found[number])

    def __iter__(self) -> Iterator[Frame]:
        if self._is_plain:
            for ring in self._rings:
                blocks = range(self._begin[ring], self._extent[ring])
                for entry in self._store.entries(ring, blocks):
                    yield self._frame_of(ring, entry)
            return
        number = 0
        while True:
            self._find_until(number)
            if number >= len(self._found):
                return
            yield self._at(self._found[number])
            number += 1

    def _at(self, place: int) -> Frame:
        return self._frame_of(*self._store.entry(place))

    def _find_until(self, number: int | None) -> None:
        """Find places until there is packet `number`; None finds all."""
        with self._lock:
            while number is None or len(self._found) <= number:
                place = next(self._search, None)
                if place is None:
                    return
                self._found.append(place)


def _find(
    store: Store, blocks: Mapping[int, range], keep: Callable[[int], bool]
) -> Iterator[int]:
    """Yield the places of what some blocks of some rings have, in order of time."""
    rings = (store.places(ring, numbers) for ring, numbers in blocks.items())
    for _, place in heapq.merge(*rings):
        if keep(place):
            yield place
