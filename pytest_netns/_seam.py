"""Where one socket takes over from another, and for a moment both see the same."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ._tpacket import entry_at, is_stamped, offsets_of, pack_block, slice_at, time_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._tpacket import Entry

#: Sockets mostly note the same time for a packet, but where that has none yet each
#: notes its own: some microseconds later. In nanoseconds.
_TOLERANCE = 1_000_000


class Seam:
    """Knows what was seen before, to have nothing twice.

    Args:
        blocks: What the first socket has seen last.
        since: When the second one began to see, in nanoseconds since the epoch.
    """

    def __init__(self, blocks: Iterable[bytes], since: int) -> None:
        self._last = list(blocks)
        self._since = since
        self._seen: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        self._until: int | None = None
        #: How many packets were seen twice, and whether there will be no more.
        self.count = 0
        self.is_past = False

    def cut(self, block: bytes) -> bytes:
        """Return a block of the second socket without what the first one has seen."""
        offsets = offsets_of(block)
        if not offsets:
            return block
        if self._until is None:
            earliest = min(time_at(block, offset) for offset in offsets)
            self._until = self._remember(earliest - _TOLERANCE)
        if time_at(block, offsets[0]) > self._until:
            self.is_past = True
            return block
        entries = {offset: entry_at(block, offset) for offset in offsets}
        # who looks alike and is certain chooses first
        new = [one for one in offsets if not self._is_known(entries[one])]
        new = [
            one
            for one in new
            if is_stamped(block, one) or not self._is_probably_known(entries[one])
        ]
        self.count += len(offsets) - len(new)
        return pack_block([slice_at(block, offset) for offset in new])

    def _remember(self, begin: int) -> int:
        """Note what the first socket has seen since a time; return when that ends."""
        end = 0
        while self._last:
            block = self._last.pop()
            offsets = offsets_of(block)
            late = [one for one in offsets if time_at(block, one) >= begin]
            for offset in late:
                entry = entry_at(block, offset)
                self._seen[_identity(entry)].append(entry.time)
                end = max(end, entry.time + _TOLERANCE)
            if offsets and not late:
                self._last.clear()
        return end

    def _is_known(self, entry: Entry) -> bool:
        times = self._seen.get(_identity(entry), [])
        if entry.time not in times:
            return False
        # it stands for one packet, not for all that look alike
        times.remove(entry.time)
        return True

    def _is_probably_known(self, entry: Entry) -> bool:
        times = self._seen.get(_identity(entry), [])
        close = [
            time
            for time in times
            if time >= self._since and abs(time - entry.time) <= _TOLERANCE
        ]
        if not close:
            return False
        times.remove(min(close, key=lambda time: abs(time - entry.time)))
        return True


def _identity(entry: Entry) -> tuple[object, ...]:
    return entry.ifindex, entry.is_outgoing, bytes(entry.data)
