"""Captures that nobody asked for, kept when a test has failed."""

from __future__ import annotations

import heapq
import threading
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
        self._one_at_a_time = threading.Lock()
        self._covered: set[tuple[str, str | None]] = set()
        #: One for the beginning, and one for each time that something was added.
        self.captures: list[PacketCapture] = []

    def extend(self) -> None:
        """Begin to capture on what is not captured on yet.

        Raises:
            KernelError: The kernel refuses; the next time it is tried again.
        """
        with self._one_at_a_time:
            spots = list(self._uncovered())
            if not spots:
                return
            capture = PacketCapture(lambda: spots, blocks=_BLOCKS)
            self.captures.append(capture)  # first: Ctrl-C may come when it has begun
            try:
                capture.__enter__()  # it ends with the network
            except BaseException:
                self.captures.remove(capture)
                raise
            self._covered |= {
                (spot.place, name) for spot in spots for name in _all(spot)
            }

    def _uncovered(self) -> Iterator[Spot]:
        for spot in self._spots():
            new = [
                name for name in _all(spot) if (spot.place, name) not in self._covered
            ]
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


def _all(spot: Spot) -> tuple[str | None, ...]:
    """Return what is captured on: None is all; () the machine, without any of ours."""
    return (None,) if spot.ifnames is None else spot.ifnames
