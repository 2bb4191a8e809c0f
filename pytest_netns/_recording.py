"""Captures that nobody asked for, kept when a test has failed."""

from __future__ import annotations

import heapq
from operator import attrgetter
from typing import TYPE_CHECKING

from .capture import PacketCapture

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from ._spot import Spot

#: How many blocks of 128 KiB each ring has; there may be many of them.
_BLOCKS = 16


class Recording:
    """All that passes in a network, from its beginning to its end.

    Args:
        spots: Gives the namespaces that are there now.
    """

    def __init__(self, spots: Callable[[], Sequence[Spot]]) -> None:
        self._spots = spots
        self._covered: set[tuple[str, str | None]] = set()
        #: One for the beginning, and one for each time that something was added.
        self.captures: list[PacketCapture] = []

    def extend(self) -> None:
        """Begin to capture on what is not captured on yet."""
        spots = list(self._uncovered())
        if spots:
            capture = PacketCapture(lambda: spots, blocks=_BLOCKS)
            capture.__enter__()  # it ends with the network
            self.captures.append(capture)

    def _uncovered(self) -> Iterator[Spot]:
        for spot in self._spots():
            names: tuple[str | None, ...] = spot.ifnames or (None,)
            if spot.ifnames == ():
                continue  # the machine, without any interface of the network
            new = [name for name in names if (spot.place, name) not in self._covered]
            self._covered |= {(spot.place, name) for name in new}
            if new:
                yield spot._replace(ifnames=tuple(filter(None, new)) or None)

    def save(self, path: str | os.PathLike[str], since: int) -> int:
        """Write what passed since a time as a pcapng file; return how many packets.

        Args:
            path: The file.
            since: The time, in nanoseconds since the epoch.

        Raises:
            OSError: It cannot be written.
        """
        from ._files import save

        frames = heapq.merge(
            *(capture.frames for capture in self.captures), key=attrgetter("time")
        )
        recent = [frame for frame in frames if frame.time >= since]
        places = [place for capture in self.captures for place in capture.places]
        dropped = sum(capture.dropped for capture in self.captures)
        save(path, recent, places, dropped=dropped)
        return len(recent)
