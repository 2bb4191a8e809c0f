"""Packet sockets (packet(7)) that packets are sent and answered through.

Closing one takes the kernel some 10 ms: it waits until nobody can be looking at it
(``packet_release()``, synchronize_net()). So a namespace keeps those that it has
used, one or two for each interface, and the next call finds them ready. One that
is not in use sees nothing: what arrives is thrown away by its filter.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from ._bpf import REJECT_ALL
from ._obstacles import refusal
from ._socket_filter import attach
from ._tpacket import ETHERNET_TYPES, OUTGOING
from .errors import ClosedError, KernelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ._links import Link
    from ._nsfile import NamespaceFile

# include/uapi/linux/if_ether.h
ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
_ETH_P_ALL, _ETH_P_8021Q = 0x0003, 0x8100
_HEADER = 14
_ADDRESSES = 12
#: The shortest Ethernet frame, without its checksum.
_SHORTEST_FRAME = 60

# include/uapi/linux/if_packet.h
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 1, 2
_AUXDATA = 8
_IGNORE_OUTGOING = 23
_MEMBERSHIP = struct.Struct("=iHH8s")
_PROMISCUOUS = 1
_AUXILIARY = struct.Struct("=I12xHH")
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
# include/uapi/asm-generic/socket.h
_SO_DETACH_FILTER = 27
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")

_ROOM = 16 * 1024 * 1024
_LONGEST = 65536 + 64
#: How long a queue may be full before that is an error, in seconds.
_PATIENCE = 1.0
#: How often one who waits looks whether the namespace is still there, in seconds:
#: nothing wakes who waits for a packet socket that is closed.
_GLANCE = 0.05
#: How much later than asked for a sleep may end, in seconds.
_OVERSLEEP = 0.0002


class Received(NamedTuple):
    """What has arrived.

    Attributes:
        link: Where.
        time: When, in nanoseconds since the epoch.
        data: From the link layer's header on, if there is one.
    """

    link: Link
    time: int
    data: bytes


class PacketSocket:
    """A packet socket of one interface, used by one call at a time.

    Args:
        file: The namespace.
        link: The interface.
    """

    def __init__(self, file: NamespaceFile, link: Link) -> None:
        self.link = link
        self._namespace = file.name
        self._listens = False
        self._is_promiscuous = False
        with file.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.bind((link.name, 0))
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Send one frame; wait, if a queue is full.

        Raises:
            KernelError: It is longer than the MTU, the interface is down, ...
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._send(data)
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                    raise self._refusal(error, data) from error
            time.sleep(0.0001)

    def _send(self, data: bytes) -> None:
        if self.link.hatype not in ETHERNET_TYPES:
            protocol = ETH_P_IPV6 if data[:1] >= b"\x60" else ETH_P_IP
            self._socket.sendto(data, (self.link.name, protocol))
            return
        try:
            self._socket.send(data)
        except OSError as error:
            # without CAP_SYS_RAWIO the kernel takes no frame without a whole header
            if error.errno != errno.EINVAL or len(data) >= _SHORTEST_FRAME:
                raise
            self._socket.send(data.ljust(_SHORTEST_FRAME, b"\0"))

    def _refusal(self, error: OSError, data: bytes) -> KernelError:
        what = f"{len(data)} bytes"
        if error.errno == errno.EMSGSIZE:
            what = f"a frame of {len(data)} bytes"
            if self.link.hatype in ETHERNET_TYPES:
                what += f", {_HEADER} of which are its Ethernet header,"
        action = f"send {what} through {self.link.name!r}"
        if error.errno == errno.EMSGSIZE:
            action += f", whose MTU is {self.link.mtu} bytes,"
        return KernelError(error.errno or 0, action, self._namespace)

    def listen(self, *, promiscuous: bool) -> None:
        """See, from now on, what arrives.

        Args:
            promiscuous: Whether what is for other MAC addresses is wanted, too.
        """
        if promiscuous:
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, self._membership)
            self._is_promiscuous = True
        if self._listens:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        except PermissionError:  # root of a user namespace: as much as all may have
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        with contextlib.suppress(OSError):  # before Linux 4.20
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((self.link.name, _ETH_P_ALL))
        self._listens = True

    def rest(self) -> None:
        """See nothing any more, and forget what has not been read."""
        if not self._listens:
            return
        attach(self._socket, REJECT_ALL)
        if self._is_promiscuous:
            self._socket.setsockopt(_SOL_PACKET, _DROP_MEMBERSHIP, self._membership)
            self._is_promiscuous = False
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1, socket.MSG_DONTWAIT)

    @property
    def _membership(self) -> bytes:
        return _MEMBERSHIP.pack(self.link.ifindex, _PROMISCUOUS, 0, b"")

    def receive(self) -> Iterator[Received]:
        """Yield what has arrived; never waits.

        Raises:
            KernelError: The interface is down, or gone.
        """
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(
                    _LONGEST, 256, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            except OSError as error:
                action = f"receive from {self.link.name!r}"
                raise KernelError(error.errno or 0, action, self._namespace) from error
            if address[2] != OUTGOING:
                yield Received(self.link, *_complete(data, ancillary))

    @property
    def has_failed(self) -> bool:
        """Whether its interface was down or is gone since somebody last asked."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; takes some 10 ms."""
        self._socket.close()


def _complete(
    data: bytes, ancillary: Iterable[tuple[int, int, bytes]]
) -> tuple[int, bytes]:
    """Return the time of a frame, and the frame with its VLAN tag put back."""
    moment = 0
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            moment = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, tci, tpid = _AUXILIARY.unpack_from(value)
            if status & _VLAN_VALID:
                tpid = tpid if status & _VLAN_TPID_VALID else _ETH_P_8021Q
                tag = struct.pack(">HH", tpid, tci)
                data = data[:_ADDRESSES] + tag + data[_ADDRESSES:]
    return moment or time.time_ns(), data


class PacketSockets:
    """The packet sockets of a namespace, lent to one call at a time.

    Args:
        file: The namespace.
    """

    def __init__(self, file: NamespaceFile) -> None:
        self._file = file
        self._resting: list[PacketSocket] = []
        self._closers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def check_open(self) -> None:
        """Check that the namespace is not being closed.

        Raises:
            ClosedError: It is.
        """
        if self._is_closed:
            raise ClosedError(f"namespace {self._file.name!r} is closed")

    def await_any(self, lent: Collection[PacketSocket], timeout: float) -> bool:
        """Wait until something has arrived; tell whether it has.

        Args:
            lent: Where.
            timeout: How long, in seconds.

        Raises:
            ClosedError: The namespace is closed meanwhile.
        """
        poll = select.poll()  # select() takes no descriptor above 1023
        for one in lent:
            poll.register(one.fileno(), select.POLLIN)
        deadline = time.monotonic() + timeout
        while True:
            self.check_open()
            remaining = max(deadline - time.monotonic(), 0.0)
            if poll.poll(min(remaining, _GLANCE) * 1000):
                return True
            if remaining <= _GLANCE:
                return False

    def sleep_until(self, moment: float) -> None:
        """Sleep until a moment of `time.perf_counter`, to some microseconds.

        Raises:
            ClosedError: The namespace is closed meanwhile.
        """
        while (remaining := moment - time.perf_counter()) > 0:
            self.check_open()
            # the last bit in no time at all, which lets other threads work
            time.sleep(max(0.0, min(remaining - _OVERSLEEP, _GLANCE)))

    @contextlib.contextmanager
    def lend(self, link: Link) -> Iterator[PacketSocket]:
        """Lend a socket of an interface until the end of the block.

        Raises:
            ClosedError: The namespace was closed.
            KernelError: The kernel refuses to open one.
        """
        lent = self._take(link)
        try:
            yield lent
            lent.rest()
        except BaseException:
            lent.close()
            raise
        with self._lock:
            if not self._is_closed:
                self._resting.append(lent)
                return
        lent.close()

    def _take(self, link: Link) -> PacketSocket:
        _ = self._file.fd  # raises if it is closed
        with self._lock:
            self.check_open()
            known = (one for one in self._resting if one.link.ifindex == link.ifindex)
            if (kept := next(known, None)) is not None:
                self._resting.remove(kept)
        if kept is not None:
            if not kept.has_failed:
                kept.link = link
                return kept
            kept.close()
        try:
            return PacketSocket(self._file, link)
        except OSError as error:
            raise refusal(error, f"use {link.name!r}", self._file.name) from error

    def begin_closing(self) -> None:
        """Close all, each on a thread: they wait for the kernel at the same time."""
        with self._lock:
            self._is_closed = True
            resting, self._resting = self._resting, []
        for one in resting:
            closer = threading.Thread(target=one.close, daemon=True)
            self._closers.append(closer)
            closer.start()

    def close(self) -> None:
        """Close all, and wait until they are; again is harmless."""
        self.begin_closing()
        for closer in self._closers:
            closer.join()
