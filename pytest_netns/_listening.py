"""Listening on interfaces: from the beginning to the end of a block."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING

from ._blocks import Frames, Store
from ._control import Control
from ._frame import ETHERNET, RAW_IP
from ._lens import Lens
from ._scene import Scene
from ._signals import deferred_signals
from ._tap import Settings
from ._taps import Reader, open_all, taps_of
from .errors import NetnsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._bpf import Instruction
    from ._control import Peer
    from ._matching import Matcher, Wanted
    from ._spot import Spot
    from ._tap import Tap

#: How many blocks of 128 KiB all rings of a capture have together, and each at least.
_ALL_BLOCKS = 256
_MOST_BLOCKS = 64
_LEAST_BLOCKS = 8
#: Like that of tcpdump: longer than any packet.
_SNAPLEN = 262_144


class Listening:
    """Rings on some interfaces while a ``with`` block runs.

    Args:
        spots: Gives the places to listen at, when it begins.
        peer: Gives namespace and index of the other end of a cable, if it is known.
        scene: Tells who is who.
        bpf_filter: Which packets to keep.
        noise: Whether IPv6 neighbour discovery and MLD are wanted.
        snaplen: How many bytes of a packet to keep.
        positive_control: Whether to send marked packets.
        blocks: How many blocks each ring has; None shares out what is usual.

    Raises:
        TypeError: The filter is none.
        ValueError: No packet has this length.
    """

    def __init__(
        self,
        spots: Callable[[], Sequence[Spot]],
        *,
        peer: Peer = lambda _place, _ifname: None,
        scene: Callable[[], Scene] = Scene,
        bpf_filter: Wanted | None = None,
        noise: bool = True,
        snaplen: int = _SNAPLEN,
        positive_control: bool = False,
        blocks: int | None = None,
    ) -> None:
        self._spots = spots
        self._peer = peer
        self._scene = scene
        self.filter = bpf_filter
        self._wanted = _matcher_unless_of_kernel(bpf_filter)
        self._noise = noise
        self._snaplen = _checked_snaplen(snaplen)
        self._blocks = blocks
        self._control = Control(peer) if positive_control else None
        self._taps: list[Tap] = []
        self._reader: Reader | None = None
        self._store = Store(0)
        self._lens: Lens
        self._state = "has not begun"
        self._changes_state = threading.Lock()
        #: Why it has ended before its block, in words; "" if it has not.
        self._cause = ""

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            UnknownName: There is no such interface; says which there are.
            InvalidFilter: libpcap does not understand the filter.
            MissingTool: There is a filter, and no libpcap.
            ClosedError: The network is closed.
            KernelError: The kernel refuses.
        """
        has_begun = False
        try:
            with deferred_signals() as deferred, self._changes_state:
                self._begin()
                has_begun = True
            deferred.deliver()
        except BaseException:  # Ctrl-C may come when it has just begun
            if has_begun:
                self.end()
            raise
        return self

    def _begin(self) -> None:
        if self._state != "has not begun":
            raise NetnsError(f"this capture {self._state}; make another one")
        taps = [tap for spot in self._spots() for tap in taps_of(spot)]
        settings = Settings(
            partial(_compile, self.filter, self._snaplen),
            noise=self._noise,
            snaplen=self._snaplen,
            blocks=self._blocks or _share(taps),
            marker=self._control.marker if self._control else None,
        )
        open_all(taps, settings)
        with contextlib.ExitStack() as undo:
            for tap in taps:
                undo.callback(tap.close)
            store = Store(len(taps))
            reader = Reader(taps, store)
            reader.start()
            undo.pop_all()
        self._taps, self._store, self._reader = taps, store, reader
        self._lens = Lens(taps, self._control, self._wanted)
        self._state = "runs"
        try:
            self._prove()
        except BaseException:
            self._end(reader)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.end()
        except BaseException:
            self.end()  # Ctrl-C may come when it is about to end
            raise

    def end(self, cause: str = "") -> None:
        """End before the block does; again is harmless.

        Args:
            cause: What has made an end of it, in words, if that was not its user.
        """
        with deferred_signals() as deferred, self._changes_state:
            if self._state == "runs":
                self._cause = cause
                self._end(self._running)
        deferred.deliver()

    def _end(self, reader: Reader) -> None:
        try:
            self._look_around()
            self._prove()
        finally:
            self._state = "has ended" + f": {self._cause}" * bool(self._cause)
            reader.stop()

    def _look_around(self) -> None:
        for tap in self._taps:
            if tap.ifname is None:
                tap.look_around()

    def _prove(self) -> None:
        """Send marked packets and see whether they arrive, if that is wanted."""
        if self._control is None:
            return
        reader, begin = self._running, self._store.extent

        def arrived() -> Frames:
            reader.settle()
            every = self._lens.frame
            return Frames(self._store, self._store.extent, every, begin=begin)

        self._control.prove(self._taps, arrived)

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._state == "runs"

    @property
    def has_ended(self) -> bool:
        """Whether it has begun and ended."""
        return self._state.startswith("has ended")

    @property
    def has_begun(self) -> bool:
        """Whether it has begun, and perhaps ended."""
        return self._reader is not None

    @property
    def _running(self) -> Reader:
        """What reads, or has read.

        Raises:
            NetnsError: It has not begun.
        """
        if self._reader is None:
            raise NetnsError("this capture has not begun: use it in a with statement")
        return self._reader

    def _frames_until(
        self, extent: tuple[int, ...], *, begin: tuple[int, ...] | None = None
    ) -> Frames:
        keep = None if self._lens.shows_all else self._lens.shows
        return Frames(self._store, extent, self._lens.frame, keep, begin=begin)

    @property
    def dropped(self) -> int:
        """How many packets the kernel had no room for: its own counter."""
        if self.is_running:
            self._running.count()
        return sum(tap.counted.dropped for tap in self._taps)

    @property
    def doubts(self) -> list[str]:
        """What speaks against having seen everything, in words; [] is nothing."""
        with deferred_signals() as deferred, self._changes_state:
            if self.is_running:
                self._look_around()
                self._prove()
        deferred.deliver()
        return [*self._doubts()]

    @property
    def _interruptions(self) -> list[str]:
        """What kept it from seeing, in words."""
        return [why for tap in self._taps for why in tap.interruptions]

    def _doubts(self) -> Iterator[str]:
        yield from self._interruptions
        if dropped := self.dropped:
            yield f"{dropped} packets were dropped: the kernel had no room"
        if self._cause:
            yield f"it ended before its block did: {self._cause}"
        if not self._taps:
            yield "there is no interface to listen on"
        if self._control is not None:
            yield from self._control.doubts

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that its thread has not closed yet."""
        return [] if self._reader is None else self._reader.descriptors

    @property
    def _names(self) -> list[str]:
        return [tap.name for tap in self._taps]

    @property
    def place(self) -> str:
        """Where it listens: ``"left:eth0, right:*"``."""
        return ", ".join(self._names) or "nothing"


def _share(taps: Sequence[Tap]) -> int:
    """Return how many blocks each ring has, so that all together are not too many."""
    return max(_LEAST_BLOCKS, min(_MOST_BLOCKS, _ALL_BLOCKS // max(len(taps), 1)))


def _checked_snaplen(snaplen: int) -> int:
    if not 1 <= snaplen <= _SNAPLEN:
        raise ValueError(f"snaplen is {snaplen}, and not from 1 to {_SNAPLEN} bytes")
    return snaplen


def _matcher_unless_of_kernel(wanted: Wanted | None) -> Matcher | None:
    """Return what applies a filter that the kernel cannot apply."""
    if wanted is None or isinstance(wanted, str):
        return None
    from ._matching import matcher

    return matcher(wanted)


def _compile(
    wanted: Wanted | None,
    snaplen: int,
    is_ethernet: bool,  # noqa: FBT001  # what remains of a partial
) -> Sequence[Instruction] | None:
    """Return the program of a filter that the kernel applies."""
    if not isinstance(wanted, str):
        return None
    from ._libpcap import compile_filter  # hardly any capture needs it

    linktype = ETHERNET if is_ethernet else RAW_IP
    return compile_filter(wanted, linktype=linktype, snaplen=snaplen)
