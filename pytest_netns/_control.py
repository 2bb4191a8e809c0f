"""Marked packets, by which a capture proves that it sees.

A marked packet is an Ethernet frame of a type that is free for experiments (IEEE 802
local experimental EtherType 1). It goes to an address that no bridge passes on, so
nobody but the capture takes notice of it.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from ._bpf import MARKED_LENGTH, MARKER_BEGIN, MARKER_TYPE
from ._tpacket import ETHERNET_TYPES
from .errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._frame import Frame
    from ._links import Link
    from ._nsfile import NamespaceFile
    from ._tap import Tap

    Peer = Callable[[str, str], tuple[NamespaceFile, int] | None]

# IEEE 802.1Q, table 8-1: never forwarded by a bridge
_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
_TYPE = MARKER_TYPE.to_bytes(2, "big")
_MARK = slice(12, 22)
_NUMBER = slice(22, 26)
_IFF_UP = 0x1

#: How long marked packets may be on their way, and when others follow, in seconds.
_PATIENCE = 0.5
_PAUSE = 0.01


class _Way(NamedTuple):
    """A way that a marked packet takes through an interface.

    Attributes:
        place: The interface that should see it.
        direction: In which direction.
        file: Where it is sent.
        ifindex: The interface that it is sent through there.
    """

    place: str
    direction: str
    file: NamespaceFile
    ifindex: int

    def __str__(self) -> str:
        return f"{self.direction} through {self.place}"


class _Senders:
    """Packet sockets to send through, one for each namespace; a context manager.

    Closing one takes the kernel some 10 ms (synchronize_net()), so all are closed at
    the same time.
    """

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def send(self, way: _Way, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ClosedError: The namespace is closed.
            OSError: The kernel refuses.
        """
        with way.file.entered():
            if way.file.inode not in self._sockets:
                self._sockets[way.file.inode] = socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
                )
            ifname = socket.if_indextoname(way.ifindex)
            self._sockets[way.file.inode].sendto(frame, (ifname, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sockets = self._sockets.values()
        closers = [threading.Thread(target=one.close) for one in sockets]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()


class Control:
    """The marked packets of one capture.

    Args:
        peer: Gives namespace and index of the other end of a cable, if it is known.

    Attributes:
        marker: How they begin, behind Ethernet's header.
        doubts: What speaks against the capture so far, in words.
    """

    def __init__(self, peer: Peer) -> None:
        self.marker = MARKER_BEGIN.to_bytes(4, "big") + os.urandom(4)
        self.doubts: list[str] = []
        self._peer = peer
        self._number = 0

    def prove(
        self, taps: Sequence[Tap], arrived: Callable[[], Iterable[Frame]]
    ) -> None:
        """Send a packet out of each interface, and one into it from its other end.

        What does not arrive within half a second, though it is sent again and again,
        is one more of `doubts`: a queue may hold packets up, or lose some.

        Args:
            taps: What should see them.
            arrived: Gives what has been captured since the call, marked or not.
        """
        missing = dict(enumerate(self._ways(taps), self._number))
        self._number += len(missing)
        with _Senders() as senders:
            self._await(missing, senders, arrived)
        for way in missing.values():
            self._doubt(f"a marked packet that went {way} was not seen")

    def _await(
        self,
        missing: dict[int, _Way],
        senders: _Senders,
        arrived: Callable[[], Iterable[Frame]],
    ) -> None:
        """Send packets and take out of `missing` those that arrive."""
        deadline = time.monotonic() + _PATIENCE
        while missing:
            for number, way in list(missing.items()):
                if not self._send(senders, way, number):
                    del missing[number]
            for frame in filter(self.is_marked, arrived()):
                number = int.from_bytes(frame.data[_NUMBER], "big")
                way_there = missing.get(number)
                if way_there and way_there[:2] == (frame.place, frame.direction):
                    del missing[number]
            if time.monotonic() > deadline:
                break
            if missing:
                time.sleep(_PAUSE)

    def _ways(self, taps: Sequence[Tap]) -> Iterator[_Way]:
        for tap in taps:
            links = [link for link in tap.links.values() if _is_meant(tap, link)]
            if not links:
                self._doubt(f"no marked packet can be sent on {tap.name}: no Ethernet")
            for link in links:
                yield from self._ways_through(tap, link)

    def _ways_through(self, tap: Tap, link: Link) -> Iterator[_Way]:
        place = f"{tap.spot.place}:{link.name}"
        if link.is_loopback:  # what leaves is not captured there, what arrives is
            yield _Way(place, "in", tap.spot.file, link.ifindex)
            return
        yield _Way(place, "out", tap.spot.file, link.ifindex)
        if (peer := self._peer(tap.spot.place, link.name)) is not None:
            yield _Way(place, "in", *peer)

    def _send(self, senders: _Senders, way: _Way, number: int) -> bool:
        """Send a packet; return whether it may arrive."""
        try:
            senders.send(way, self._frame(number))
        except ClosedError as error:
            why = str(error)
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # a queue is full
                return True
            why = os.strerror(error.errno or 0)
        else:
            return True
        self._doubt(f"no marked packet could be sent {way}: {why}")
        return False

    def _frame(self, number: int) -> bytes:
        source = b"\x02" + self.marker[:5]
        head = _NEAREST_BRIDGE + source + _TYPE + self.marker
        return (head + number.to_bytes(4, "big")).ljust(MARKED_LENGTH, b"\0")

    def is_marked(self, frame: Frame) -> bool:
        """Tell whether a packet is one of these."""
        return frame.data[_MARK] == _TYPE + self.marker

    def _doubt(self, why: str) -> None:
        if why not in self.doubts:
            self.doubts.append(why)


def _is_meant(tap: Tap, link: Link) -> bool:
    """Tell whether packets of ours should pass through an interface.

    Where all interfaces are meant, those are not that are down, such as the kernel has
    of its own in each namespace for some tunnels (gretap0).
    """
    is_expected = tap.ifname is not None or link.flags & _IFF_UP
    return link.hatype in ETHERNET_TYPES and bool(is_expected)
