"""All taps of a capture, and the thread that empties them."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import TYPE_CHECKING

from ._links import links_of
from ._nsfile import go_home, is_home
from ._tap import Tap
from ._threads import Job
from .errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._blocks import Store
    from ._ring import Ring
    from ._spot import Spot
    from ._tap import Settings
    from ._tpacket import Block

#: How long the kernel may take to hand over what it holds, in seconds.
_PATIENCE = 2.0
#: How long whoever waits for packets waits for the same sockets, in milliseconds.
_INTERVAL = 10


def taps_of(spot: Spot) -> Iterator[Tap]:
    """Yield a tap for each interface of a spot, or one for all of them.

    Raises:
        UnknownName: There is no such interface; says which there are.
    """
    links = links_of(spot.file)
    by_name = {link.name: link for link in links.values()}
    if spot.ifnames is None:
        yield Tap(spot, links)
        return
    for name in dict.fromkeys(spot.ifnames):
        if name not in by_name:
            raise UnknownName.among(
                name, by_name, what="interface", where=f"namespace {spot.place!r}"
            )
        link = by_name[name]
        yield Tap(spot, {link.ifindex: link}, link)


def open_all(taps: Sequence[Tap], settings: Settings) -> None:
    """Open all taps, or none.

    Raises:
        InvalidFilter: libpcap does not understand the filter.
        KernelError: The kernel refuses.
    """
    with contextlib.ExitStack() as undo:
        for tap in taps:
            undo.callback(tap.close)
            tap.open(settings)
        undo.pop_all()


class Reader:
    """Empties taps, on a thread of its own or whenever somebody wants to know.

    Attributes:
        has_ended: Whether nothing more will come.
    """

    def __init__(self, taps: Sequence[Tap], store: Store) -> None:
        self._taps = taps
        self._store = store
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.RLock()
        self._process = os.getpid()
        self.has_ended = False

    def start(self) -> None:
        """Begin.

        The thread is kept by nobody but itself: where Python lets go of one, it
        would swallow Ctrl-C.
        """
        try:
            threading.Thread(
                target=self._work, name="pytest-netns capture", daemon=True
            ).start()
        except BaseException:
            os.close(self._wake)
            raise

    def _work(self) -> None:
        if not is_home():
            go_home("of a capture's thread")  # it was born where its starter was
        try:
            while not self.has_ended:
                self._work_once()
        except BaseException as error:
            for tap in self._taps:
                tap.interruptions.append(f"{tap.name}: {error!r}")
            raise
        finally:
            with self._lock:
                self.has_ended = True  # from here on nobody touches a tap
            # closing takes the kernel long; nobody has to wait for it
            for tap in self._taps:
                tap.close()
            os.close(self._wake)

    def _work_once(self) -> None:
        _await_any([*self._taps, self._wake], None)
        # to get up for one packet does not pay: who waits for it takes it
        _await_any([self._wake], min((tap.rest for tap in self._taps), default=0))
        with self._lock:
            needy = [tap for tap in self._taps if tap.needs_ring]
        # before they are emptied, which takes as long as it takes many to come
        self._change_to_rings(needy)
        self.empty()

    def _change_to_rings(self, taps: Sequence[Tap]) -> None:
        """Make rings, at the same time since each waits for the kernel; use them."""
        jobs = [Job(tap.make_ring) for tap in taps]
        threads = [threading.Thread(target=job.perform) for job in jobs[1:]]
        for thread in threads:
            thread.start()
        for job in jobs[:1]:
            job.perform()
        for thread in threads:
            thread.join()
        for tap, job in zip(taps, jobs, strict=True):
            if job.value is None:  # no memory for it: the queue has to do
                tap.renounce_ring()
            else:
                self._change_to_ring(tap, job.value)

    def _change_to_ring(self, tap: Tap, ring: Ring) -> None:
        with self._lock:
            if not self.has_ended and not tap.is_stopped:
                others = [one for one in self._taps if one is not tap]
                try:
                    for block in tap.change_to(ring):
                        self._keep(tap, [block])
                        self._empty_rings(others)
                    return
                except OSError:  # the interface is gone: there is nothing to see
                    tap.renounce_ring()
        ring.close()

    def empty(self) -> None:
        """Take what is there.

        By turns: while a long queue is emptied, no ring may run full.
        """
        if self._is_of_parent:
            return
        with self._lock:
            if self.has_ended:
                return  # the taps are being closed
            self._empty_rings(self._taps)
            queues = [(tap, tap.take()) for tap in self._taps if not tap.has_ring]
            while queues:
                queues = [one for one in queues if self._keep_next(*one)]
                self._empty_rings(self._taps)
            for tap in self._taps:
                tap.note_error()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come: it has ended, or no interface is left."""
        is_gone = [tap.is_gone for tap in self._taps]
        has_ended = self.has_ended or self._is_of_parent
        return has_ended or (bool(is_gone) and all(is_gone))

    @property
    def _is_of_parent(self) -> bool:
        """Whether this is in a forked child, which has the parent's sockets.

        What it took or stopped, the parent would miss.
        """
        return os.getpid() != self._process

    def _empty_rings(self, taps: Sequence[Tap]) -> None:
        for tap in taps:
            if tap.has_ring:
                self._keep(tap, tap.take())

    def _keep_next(self, tap: Tap, blocks: Iterator[Block]) -> bool:
        """Keep one more block, if there is one; tell whether there was."""
        for block in blocks:
            self._keep(tap, [block])
            return True
        return False

    def _keep(self, tap: Tap, blocks: Iterable[Block]) -> None:
        self._store.add_all(self._taps.index(tap), blocks)

    def await_more(
        self, extent: tuple[int, ...], deadline: float | None
    ) -> tuple[int, ...]:
        """Wait until the store has more than `extent`, or nothing more will come.

        Args:
            extent: What is known.
            deadline: The end of patience, on the monotonic clock; None is never.
        """
        while True:
            is_over = self.is_over
            self.empty()
            now = time.monotonic()
            if (
                self._store.extent != extent
                or is_over
                or (deadline is not None and now >= deadline)
            ):
                return self._store.extent
            # not for long: a tap may change to a ring meanwhile
            remaining = _INTERVAL if deadline is None else (deadline - now) * 1000
            _await_any([*self._taps, self._wake], min(remaining, _INTERVAL))

    def settle(self) -> None:
        """Wait until all that has passed by now is taken: some milliseconds at most."""
        if self._is_of_parent:
            return
        with self._lock:
            # what was handed over and not taken yet comes first: the rest of what
            # has passed is in the block behind it
            self.empty()
            held = self._held()
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with self._lock:
                now = self._held()
            held = {tap: block for tap, block in held.items() if now.get(tap) == block}
            if not held:
                return
            _await_any([*held], 1)
            self.empty()
        for tap in held:
            tap.interruptions.append(f"{tap.name}: the kernel kept packets back")

    def _held(self) -> dict[Tap, tuple[int, int]]:
        """Return which blocks the kernel still holds back."""
        if self.has_ended:
            return {}  # whoever has ended it has settled it
        blocks = ((tap, tap.held) for tap in self._taps)
        return {tap: block for tap, block in blocks if block is not None}

    def stop(self) -> None:
        """Let nothing more in, take what is there, and have the thread close all."""
        if self.has_ended or self._is_of_parent:
            return  # the thread has failed, or is not here
        try:
            with self._lock:
                for tap in self._taps:
                    tap.stop()
            self.settle()
            self.count()
        finally:
            with self._lock:
                self.has_ended = True
                os.eventfd_write(self._wake, 1)

    def count(self) -> None:
        """Ask the kernel what it has counted."""
        if self._is_of_parent:
            return
        with self._lock:
            for tap in self._taps if not self.has_ended else ():
                tap.count()

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that are not closed yet."""
        return [fd for tap in self._taps for fd in tap.descriptors]


def _await_any(sources: Sequence[Tap | int], milliseconds: float | None) -> None:
    poll = select.poll()  # select() takes no descriptor above 1023
    for source in sources:
        fd = source if isinstance(source, int) else source.fileno()
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    poll.poll(milliseconds)
