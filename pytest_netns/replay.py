"""Sending what a file has captured, again."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ._frame import ETHERNET
from ._nexthop import Ways
from ._pcap import BrokenFile, Stored, read
from ._tpacket import ETHERNET_TYPES
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from ._nsfile import NamespaceFile
    from ._packet_socket import PacketSocket, PacketSockets

_SECOND = 1_000_000_000
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What was sent by a replay.

    Attributes:
        packets: How many packets.
        bytes: How many bytes, Ethernet headers included.
        seconds: How long it took, from before the first packet to after the last.
        truncated: How many of the packets the file has not as a whole; they were
            sent as far as they are there.
    """

    packets: int
    bytes: int
    seconds: float
    truncated: int = 0

    @property
    def packets_per_second(self) -> float:
        """How many packets left each second, on average."""
        return self.packets / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        text = (
            f"<ReplayResult {self.packets} packets, {self.bytes} bytes "
            f"in {self.seconds:.3f} s"
        )
        return f"{text}, {self.truncated} truncated>" if self.truncated else f"{text}>"


@dataclass(frozen=True, slots=True)
class Pace:
    """When the packets of a replay leave.

    Args:
        timing: ``"original"``: as far apart as in the file; None: at once.
        speed: How many times as fast as in the file.
        rate: How many packets a second, whatever the file says.

    Raises:
        ValueError: One of them makes no sense.
    """

    timing: str | None = "original"
    speed: float = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.timing not in ("original", None):
            raise ValueError(f"timing is 'original' or None, not {self.timing!r}")
        if self.speed <= 0:
            raise ValueError(f"speed must be positive, not {self.speed}")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate must be positive, not {self.rate}")

    def due(self, number: int, nanoseconds: int) -> float | None:
        """Return when a packet is to leave, in seconds since the first; None is now.

        Args:
            number: How many packets are before it.
            nanoseconds: How much later than the first it was captured.
        """
        if self.rate is not None:
            return number / self.rate
        if self.timing is None:
            return None
        return nanoseconds / self.speed / _SECOND


def replay(
    file: NamespaceFile,
    sockets: PacketSockets,
    path: str | os.PathLike[str],
    *,
    dev: str,
    pace: Pace,
    count: int,
) -> ReplayResult:
    """Send the packets of a file; see `NetworkNamespace.replay`.

    Args:
        file: The namespace.
        sockets: Its packet sockets.
        path: The file.
        dev: The interface.
        pace: When the packets leave.
        count: How many times to send all of them.

    Raises:
        UnknownName: There is no such interface; says which there are.
        ValueError: It is no capture file, or not one of Ethernet.
        KernelError: A packet cannot be sent; says which.
    """
    with Ways(file) as ways:
        link = ways.link(dev)
    if link.hatype not in ETHERNET_TYPES:
        raise ValueError(
            f"interface {dev!r} of namespace {file.name!r} takes no Ethernet frames"
        )
    with sockets.lend(link) as outlet:
        run = _Run(sockets, outlet, os.fspath(path), pace)
        for _ in range(count):
            run.send_all()
        return run.result


class _Run:
    """A replay that is under way.

    Args:
        sockets: The packet sockets of the namespace.
        outlet: The one that it is sent through.
        path: The file.
        pace: When the packets leave.
    """

    def __init__(
        self, sockets: PacketSockets, outlet: PacketSocket, path: str, pace: Pace
    ) -> None:
        self._sockets = sockets
        self._outlet = outlet
        self._path = path
        self._pace = pace
        self._packets = self._bytes = self._truncated = 0
        self._shift = 0  # how much later this turn is than the file, in nanoseconds
        self._start: float | None = None

    def send_all(self) -> None:
        """Send all packets of the file, once."""
        first: int | None = None
        latest = self._shift
        for moment, data, length, _ in _read(self._path):
            if first is None:
                first = moment
            latest = self._shift + moment - first
            self._await_turn(latest)
            self._send(data)
            self._packets += 1
            self._bytes += len(data)
            self._truncated += length > len(data)
        self._shift = latest

    def _await_turn(self, nanoseconds: int) -> None:
        if self._start is None:
            self._start = time.perf_counter()
        due = self._pace.due(self._packets, nanoseconds)
        if due is not None:
            self._sockets.sleep_until(self._start + due)

    def _send(self, data: bytes) -> None:
        try:
            self._outlet.send(data)
        except KernelError as error:
            self._sockets.check_open()  # interfaces go with their namespace
            raise KernelError(
                error.errno or 0,
                f"replay packet {self._packets + 1} of {self._path!r}: {error.action}",
                error.namespace,
            ) from error

    @property
    def result(self) -> ReplayResult:
        """What was sent until now."""
        now = time.perf_counter()
        seconds = now - (now if self._start is None else self._start)
        return ReplayResult(self._packets, self._bytes, seconds, self._truncated)


def _read(path: str) -> Iterator[Stored]:
    """Yield the packets of a file.

    Raises:
        ValueError: It is no capture file, or not one of Ethernet.
        OSError: It cannot be read.
    """
    with _opened(path) as file:
        try:
            for stored in read(file):
                _check_linktype(path, stored.linktype)
                yield stored
        except (BrokenFile, EOFError, gzip.BadGzipFile, zlib.error) as error:
            message = f"{path!r} is no pcap or pcapng file, or a broken one: {error}"
            raise ValueError(message) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        if file.peek(2)[:2] == _GZIP:
            with gzip.open(file) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield file


def _check_linktype(path: str, linktype: int) -> None:
    if linktype != ETHERNET:
        raise ValueError(
            f"{path!r} has packets of link type {linktype} (see "
            f"pcap-linktype(7)); only those of Ethernet, {ETHERNET}, can be replayed"
        )
