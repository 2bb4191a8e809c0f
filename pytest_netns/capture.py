"""Captures: what was on the wire."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from ._listening import Listening
from ._seen import Seen
from .errors import CaptureError, InconclusiveError, NetnsError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._frame import Frame
    from ._matching import Matcher, Wanted
    from ._scapy import Packet, PacketList
    from .flow import Flow

#: How many blocks a ring has that only marked packets have to fit into.
_FEW_BLOCKS = 4


class PacketCapture(Seen):
    """What passes on some interfaces while a ``with`` block runs.

    It sees from the beginning of the block on, and everything that passed before
    the end of the block is in it. Nothing is parsed before it is asked for. Made
    by `NetworkNamespace.capture` and `Network.capture`.

    Where packets are wanted, they are described by a predicate on the parsed packet,
    a class of scapy's (``ARP``), a packet with the fields that matter
    (``IP(dst="10.0.0.2") / TCP(dport=80)``), or a filter in tcpdump's language.
    """

    # waiting

    def wait(
        self, count: int = 1, *, matching: Wanted | None = None, timeout: float = 5.0
    ) -> PacketList:
        """Wait until packets were seen, and return them.

        Args:
            count: How many.
            matching: Which ones count; None for all.
            timeout: The deadline, in seconds.

        Raises:
            WaitTimeout: They did not come in time, or cannot come any more: the
                capture has ended, its interfaces were removed. Shows what was seen.
            InvalidFilter: libpcap does not understand `matching`.
            TypeError: `matching` describes no packets.
            ValueError: `count` is no number of packets.
        """
        from ._scapy import Parsed, packet_list

        wanted = None if matching is None else _matcher(matching)
        _check_count(count)
        found: list[Frame] = []
        start, last = time.monotonic(), time.time_ns() + round(timeout * 1e9)
        deadline = start + timeout
        for frame in self._follow(lambda: deadline):
            if frame.time > last and time.monotonic() > deadline:
                break  # there are others without end
            if wanted is None or _matches(wanted, frame):
                found.append(frame)
            if len(found) >= count:
                return packet_list(Parsed(found), self.place)
        what = f"{count} packets" if count > 1 else "a packet"
        if wanted is not None:
            what += f" that match{'es' * (count == 1)} {wanted.describe()}"
        waited = min(timeout, round(time.monotonic() - start, 3))
        raise WaitTimeout(f"{what} on {self.place}", waited, self._outlook())

    def _outlook(self) -> str:
        from ._verdict import table_of

        frames, packets = self._snapshot()
        seen = f"{len(frames)} packets" if len(frames) > 1 else "1 packet"
        outlook = "; ".join([seen if frames else "no packet", *self._reasons_to_end()])
        return f"{outlook}\n{table_of(frames, packets)}" if frames else outlook

    def _reasons_to_end(self) -> list[str]:
        """Return why nothing may come any more, in words."""
        ended = [] if self.is_running else [f"the capture {self._state}"]
        return [*ended, *self._interruptions]

    def follow(self, *, timeout: float | None = 5.0) -> Iterator[Packet]:
        """Yield packets as they come, until the capture ends.

        Args:
            timeout: How long to wait for each, in seconds; None is for ever.

        Raises:
            WaitTimeout: None came in time, or its interfaces were removed.
        """
        from ._scapy import dissect

        start = time.monotonic()

        def deadline() -> float | None:
            nonlocal start
            start = time.monotonic()
            return None if timeout is None else start + timeout

        for frame in self._follow(deadline):
            yield dissect(frame)
        if self.is_running:
            waited = round(time.monotonic() - start, 3)
            why = "; ".join(self._interruptions)
            raise WaitTimeout(f"another packet on {self.place}", waited, why)

    def _follow(self, deadline: Callable[[], float | None]) -> Iterator[Frame]:
        """Yield frames as they come, until the capture ends or `deadline` passes.

        Whatever passed before the deadline is there, however late it is looked at.
        """
        reader, store = self._running, self._store
        extent = (0,) * len(store.extent)
        until = deadline()
        while True:
            now = reader.await_more(extent, until)
            if is_last := _is_past(until):
                reader.settle()
                now = store.extent
            if now == extent:
                return
            for frame in self._frames_until(now, begin=extent):
                yield frame
                until = deadline()
            if is_last and _is_past(until):
                return
            extent = now

    # assertions

    def assert_seen(self, what: Wanted, *, count: int = 1) -> PacketList:
        """Assert that packets were seen so far, and return all that match.

        Args:
            what: Which packets.
            count: How many of them there must be at least.

        Raises:
            CaptureError: There are fewer (an `AssertionError`); shows what was seen
                instead, and the packet that came nearest.
            InvalidFilter: libpcap does not understand `what`.
            TypeError: `what` describes no packets.
            ValueError: `count` is no number of packets: that there are none is what
                `assert_not_seen` asserts.
        """
        from ._scapy import Parsed, packet_list

        wanted = _matcher(what)
        _check_count(count)
        frames, packets = self._snapshot()
        found = [frame for frame in frames if _matches(wanted, frame)]
        if len(found) < count:
            from ._verdict import not_seen_message

            message = not_seen_message(
                wanted,
                frames,
                packets,
                places=self._names,
                dropped=self.dropped,
                found=len(found),
                count=count,
            )
            raise CaptureError("\n".join([message, *self._reasons_to_end()]))
        return packet_list(Parsed(found), self.place)

    def assert_not_seen(self, what: Wanted, *, positive_control: bool = False) -> None:
        """Assert that no such packet was seen so far, and that it would have been.

        That is about what the capture's filter lets through, if it has one. And it
        must have been able to see that: its interfaces were up all the time, and the
        kernel has dropped nothing. (Where all interfaces of a namespace are meant, one
        socket listens to all, which misses nothing when one of them is down.)

        Args:
            what: Which packets.
            positive_control: Whether to prove it with marked packets, too: now, and
                on a second socket. They go through each interface, in both directions
                where the other end of the cable is known; a cable whose other end is
                down lets none through. To have them on the capture's own socket, at
                the beginning and at the end of the block, pass it to `capture`.

        Raises:
            CaptureError: There is one (an `AssertionError`); shows all.
            InconclusiveError: There is none, but it might have been missed.
            InvalidFilter: libpcap does not understand `what`.
            TypeError: `what` describes no packets.
        """
        wanted = _matcher(what)
        frames, packets = self._snapshot()
        numbers = [
            number for number, frame in enumerate(frames) if _matches(wanted, frame)
        ]
        if numbers:
            from ._verdict import seen_message

            raise CaptureError(
                seen_message(wanted, frames, packets, numbers, places=self._names)
            )
        doubts = self.doubts
        if positive_control and self._control is None:
            doubts += self._rehearse()
        if doubts:
            reasons = "".join(f"\n  - {doubt}" for doubt in doubts)
            raise InconclusiveError(
                f"no packet matches {wanted.describe()} on {self.place}, "
                f"but it might have been missed:{reasons}"
            )

    def _rehearse(self) -> list[str]:
        """Capture once more, marked packets only; return what speaks against it."""
        again = Listening(
            self._spots,
            peer=self._peer,
            bpf_filter=self.filter if isinstance(self.filter, str) else None,
            noise=self._noise,
            snaplen=self._snaplen,
            positive_control=True,
            blocks=_FEW_BLOCKS,
        )
        try:
            with again:
                pass
        except (NetnsError, OSError) as error:
            return [f"no marked packet could be sent: {error}"]
        return again.doubts

    # the picture

    def flow(self) -> Flow:
        """Return the conversation so far as a ladder between namespaces.

        ``print(capture.flow())`` shows it as text, `Flow.to_svg` gives a picture.
        """
        from .flow import Flow

        scene = self._scene()
        return Flow(
            self.frames,
            scene.lanes,
            peers=scene.peers,
            captured=[place.name for place in self.places],
            owners=scene.owners,
        )

    def __repr__(self) -> str:
        return f"<PacketCapture on {self.place} {self._state}>"


def _is_past(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count is {count}: at least one packet is what can be wanted")


def _matcher(what: Wanted) -> Matcher:
    from ._matching import matcher

    return matcher(what)


def _matches(wanted: Matcher, frame: Frame) -> bool:
    from ._scapy import dissect

    return wanted.matches(frame, partial(dissect, frame))
