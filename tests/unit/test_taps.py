"""Taps, and what empties them: with sockets that only pretend to be some."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_netns import _tap, _taps
from pytest_netns._blocks import Frames, Store
from pytest_netns._frame import Frame
from pytest_netns._spot import Spot
from pytest_netns._tap import Tap
from pytest_netns._taps import Reader, taps_of
from pytest_netns._tpacket import pack_block, pack_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_netns._nsfile import NamespaceFile
    from pytest_netns._tpacket import Entry


def block_of(*texts: bytes) -> bytes:
    """Return a block with packets that are these texts."""
    return pack_block(
        [
            pack_frame(
                number, text, length=len(text), status=0, vlan=(0, 0), address=bytes(20)
            )
            for number, text in enumerate(texts)
        ]
    )


class PretendedTap:
    """A tap with a ring whose kernel hands over blocks when it is looked at.

    Args:
        handed_over: Blocks that can be taken.
        held: Blocks that the kernel still fills, one after the other.
        looks: How often somebody must look until it hands over the next one.
    """

    has_ring = True
    needs_ring = is_stopped = False
    rest = 0

    def __init__(
        self,
        handed_over: Sequence[bytes] = (),
        held: Sequence[bytes] = (),
        looks: int = 3,
    ) -> None:
        self.name = "left:eth0"
        self.interruptions: list[str] = []
        self.is_gone = self.is_closed = False
        self.error: Exception | None = None
        self.pipe = os.pipe()
        self._ready = [*handed_over]
        self._held = [*held]
        self._taken = 0
        self._looks = self._until = looks

    def fileno(self) -> int:
        """Return what is readable when there is something to take."""
        return self.pipe[0]

    def say(self) -> None:
        """Be readable."""
        os.write(self.pipe[1], b"x")

    def take(self) -> Iterator[bytes]:
        """Yield what was handed over."""
        if self.error is not None:
            raise self.error
        while self._ready:
            self._taken += 1
            yield self._ready.pop(0)

    @property
    def held(self) -> tuple[int, int] | None:
        """What is to be taken next, once the kernel has handed it over."""
        if not self._ready and self._held:
            self._until -= 1
            if self._until == 0:
                self._until = self._looks
                self._ready.append(self._held.pop(0))
        return (1, self._taken) if self._ready or self._held else None

    def note_error(self) -> None:
        """Have none."""

    def stop(self) -> None:
        """Remember it."""
        self.is_stopped = True

    def count(self) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class Setting:
    """A reader of pretended taps.

    Attributes:
        store: What it has taken.
        reader: The reader.
    """

    def __init__(self, *taps: PretendedTap) -> None:
        self.taps = taps
        self.store = Store(len(taps))
        self.reader = Reader(cast("Sequence[Tap]", taps), self.store)

    def texts(self, ring: int = 0) -> list[bytes]:
        """Return what was taken from a ring."""

        def frame_of(number: int, entry: Entry) -> Frame:
            return Frame(0, str(number), "", "in", bytes(entry.data), entry.length)

        frames = Frames(self.store, self.store.extent, frame_of)
        return [frame.data for frame in frames if frame.namespace == str(ring)]


@pytest.fixture
def setting() -> Iterator[Callable[..., Setting]]:
    """Give a function that makes a reader; its descriptors are closed afterwards."""
    made: list[Setting] = []

    def make(*taps: PretendedTap) -> Setting:
        made.append(Setting(*taps))
        return made[-1]

    yield make
    for one in made:
        if not one.reader.has_ended:
            os.close(one.reader._wake)
    for fd in {fd for one in made for tap in one.taps for fd in tap.pipe}:
        os.close(fd)


class TestSettling:
    """Taking all that has passed by now."""

    def test_handed_over(self, setting: Callable[..., Setting]) -> None:
        """What can be taken is taken."""
        one = setting(PretendedTap([block_of(b"a", b"b"), block_of(b"c")]))
        one.reader.settle()
        assert one.texts() == [b"a", b"b", b"c"]

    def test_held(self, setting: Callable[..., Setting]) -> None:
        """What the kernel still has in hand is waited for."""
        one = setting(PretendedTap(held=[block_of(b"a")]))
        one.reader.settle()
        assert one.texts() == [b"a"]

    def test_held_behind_what_was_handed_over(
        self, setting: Callable[..., Setting]
    ) -> None:
        """The block behind those that can be taken has passed as well."""
        one = setting(PretendedTap([block_of(b"a"), block_of(b"b")], [block_of(b"c")]))
        one.reader.settle()
        assert one.texts() == [b"a", b"b", b"c"]

    def test_all_of_several(self, setting: Callable[..., Setting]) -> None:
        """Each ring is waited for, however long each of them takes."""
        one = setting(
            PretendedTap([block_of(b"a")], [block_of(b"b")], looks=2),
            PretendedTap(held=[block_of(b"c")], looks=7),
            PretendedTap(),
        )
        one.reader.settle()
        assert (one.texts(0), one.texts(1), one.texts(2)) == ([b"a", b"b"], [b"c"], [])

    def test_what_comes_later(self, setting: Callable[..., Setting]) -> None:
        """What passes only meanwhile is not waited for."""
        one = setting(PretendedTap(held=[block_of(b"%d" % n) for n in range(1000)]))
        one.reader.settle()
        assert one.texts()[0] == b"0"
        assert len(one.texts()) < 1000

    def test_no_end(
        self, setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kernel that keeps something back is given up on, and that is known."""
        monkeypatch.setattr(_taps, "_PATIENCE", 0.02)
        tap = PretendedTap(held=[block_of(b"a")], looks=10**9)
        one = setting(tap, PretendedTap([block_of(b"b")]))
        one.reader.settle()
        assert tap.interruptions == ["left:eth0: the kernel kept packets back"]
        assert one.taps[1].interruptions == []
        assert one.texts(1) == [b"b"]


class TestAwaiting:
    """Waiting until there is more."""

    def test_there_is(self, setting: Callable[..., Setting]) -> None:
        """What is there is there at once."""
        one = setting(PretendedTap([block_of(b"a")]))
        assert one.reader.await_more((0,), time.monotonic()) == (1,)
        assert one.reader.await_more((0,), None) == (1,)

    def test_deadline(self, setting: Callable[..., Setting]) -> None:
        """A deadline ends it, and so does one that has passed."""
        one = setting(PretendedTap())
        for deadline in (time.monotonic() + 0.02, time.monotonic() - 1):
            assert one.reader.await_more((0,), deadline) == (0,)
            assert time.monotonic() >= deadline

    def test_end(self, setting: Callable[..., Setting]) -> None:
        """Those who wait without a deadline notice the end."""
        tap = PretendedTap([block_of(b"first")], [block_of(b"last")])
        one = setting(tap)
        outcome: list[tuple[int, ...]] = []
        one.reader.start()
        one.reader.await_more((0,), None)
        waiting = threading.Thread(
            target=lambda: outcome.append(one.reader.await_more((2,), None))
        )
        waiting.start()
        one.reader.stop()
        waiting.join(20)
        assert len(outcome) == 1
        assert one.texts() == [b"first", b"last"]
        assert tap.is_stopped
        eventually(lambda: tap.is_closed)

    def test_gone(self, setting: Callable[..., Setting]) -> None:
        """Where no interface is left nobody waits; where one is, they do."""
        gone, other = PretendedTap(), PretendedTap()
        gone.is_gone = True
        one, both = setting(gone), setting(gone, other)
        nothing = setting()
        assert one.reader.await_more((0,), None) == (0,)
        assert one.reader.is_over
        assert not both.reader.is_over
        assert not nothing.reader.is_over

    def test_a_thread_that_fails(
        self, setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is an end, and a reason to doubt."""
        failures: list[Any] = []
        monkeypatch.setattr(threading, "excepthook", failures.append)
        tap = PretendedTap()
        one = setting(tap)
        one.reader.start()
        tap.error = MemoryError()
        tap.say()
        eventually(lambda: tap.is_closed and failures)
        assert tap.interruptions == ["left:eth0: MemoryError()"]
        assert one.reader.await_more((0,), None) == (0,)
        one.reader.settle()
        one.reader.stop()


def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class PretendedSource:
    """What a tap listens with, and what goes wrong with it.

    Args:
        errors: What is wrong at each look.
    """

    def __init__(self, errors: Sequence[int]) -> None:
        self._errors = [*errors]

    def take_error(self) -> int:
        """Return what is wrong now."""
        return self._errors.pop(0) if self._errors else 0

    def fileno(self) -> int:
        """Return a descriptor; there is none."""
        return -1


@pytest.mark.parametrize(
    ("errors", "is_there", "said"),
    [
        ([0, 0], True, []),
        ([errno.ENETDOWN], True, ["left:* was down"]),
        ([errno.ENETDOWN], False, ["left:* was removed"]),
        ([errno.ENETDOWN, 0, errno.ENETDOWN], True, ["left:* was down"]),
        (
            [errno.ENOBUFS, errno.ENETDOWN, errno.ENOBUFS],
            True,
            ["left:*: No buffer space available", "left:* was down"],
        ),
    ],
    ids=["none", "down", "removed", "twice", "several"],
)
def test_errors(
    monkeypatch: pytest.MonkeyPatch,
    errors: list[int],
    said: list[str],
    *,
    is_there: bool,
) -> None:
    """What goes wrong is noted once, however often it does."""
    monkeypatch.setattr(_tap, "_has_interface", lambda _: is_there)
    tap = Tap(Spot(cast("NamespaceFile", None), "left", None), {})
    tap._sources.append(cast("Any", PretendedSource(errors)))
    for _ in range(5):
        tap.note_error()
    assert tap.interruptions == said
    assert tap.is_gone is not is_there


def test_no_interface_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is meant, nothing is listened to: not all that there is."""
    monkeypatch.setattr(_taps, "links_of", lambda _: {})
    file = cast("NamespaceFile", None)
    assert [*taps_of(Spot(file, "host", ()))] == []
    assert [tap.name for tap in taps_of(Spot(file, "left", None))] == ["left:*"]
