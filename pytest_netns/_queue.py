"""Packet sockets with a queue: there at once, for as long as packets are few.

A ring takes the kernel milliseconds to make; a socket's own queue is there as soon
as the socket is, and every packet can be had as soon as it has passed. But each
costs microseconds to receive. What is received is put into blocks like a ring's.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING

from ._bpf import REJECT_ALL
from ._recvmmsg import Inbox
from ._ring import Statistics, see_everything
from ._socket_filter import attach
from ._syscalls import bind
from ._tpacket import pack_block, pack_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._bpf import Instruction

# include/uapi/linux/if_packet.h, asm-generic/socket.h
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_ETH_P_ALL = socket.htons(0x0003)
_ADDRESS = struct.Struct("=HHi12x")
#: A time and, behind it, struct tpacket_auxdata, each with struct cmsghdr.
_CONTROL = struct.Struct("@NiillNiiIIIHHHH")
#: What fits, in bytes of the kernel's memory, of which it takes what there is: more
#: than a second of small packets at 200,000 a second, 80 ms of large ones at 20 Gbit/s.
_CAPACITY = 128 * 1024 * 1024
#: Blocks are longer than this by one packet at most, in bytes: a store has places in
#: less than 1 MiB.
_BLOCK_SIZE = 256 * 1024


class Queue:
    """A packet socket of the calling thread's namespace, with a long queue.

    It sees what passes from the moment it is made, and nothing that its filter
    rejects. Its times are right only while there is a `Stamps`.

    Args:
        ifindex: The interface; 0 is all of the namespace, future ones too.
        program: The filter.
        is_promiscuous: Whether to have the interface take what is for others, too.
        snaplen: How many bytes of a packet the filter keeps at most.

    Raises:
        PermissionError: The queue may not be made long enough: not the machine's root.
        OSError: The kernel refuses.
    """

    def __init__(
        self,
        ifindex: int,
        program: Sequence[Instruction],
        *,
        is_promiscuous: bool = False,
        snaplen: int,
    ) -> None:
        self._packets = self._dropped = self._taken = 0
        self._snaplen = snaplen
        self._inbox: Inbox | None = None
        self._error = 0
        with contextlib.ExitStack() as undo:
            self._socket = undo.enter_context(
                socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
                )
            )
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _CAPACITY)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            attach(self._socket, program)
            if is_promiscuous:
                see_everything(self._socket, ifindex)
            # from here on it sees
            bind(self.fileno(), _ADDRESS.pack(socket.AF_PACKET, _ETH_P_ALL, ifindex))
            undo.pop_all()

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is a packet to take."""
        return self._socket.fileno()

    def take(self) -> Iterator[bytes]:
        """Yield what has come by now, in blocks."""
        frames: list[bytes] = []
        size = 0
        # not until there is none: they may come as fast as they are taken
        missing, _ = self.waiting
        while missing > 0 and (received := self._receive()):
            missing -= len(received)
            self._taken += len(received)
            for frame in received:
                frames.append(frame)
                size += len(frame)
                if size > _BLOCK_SIZE:
                    yield pack_block(frames)
                    frames, size = [], 0
        if frames:
            yield pack_block(frames)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many packets there are to take, and how many bytes they take up."""
        packets, dropped = self.statistics
        memory = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4)
        return packets - dropped - self._taken, int.from_bytes(memory, sys.byteorder)

    def _receive(self) -> list[bytes]:
        if self._inbox is None:
            self._inbox = Inbox(self._snaplen)
        for _ in range(2):
            try:
                return [_frame(*one) for one in self._inbox.receive(self.fileno())]
            except OSError as error:  # said once; what came before is behind it
                self._error = error.errno or 0
        return []

    @property
    def held(self) -> None:
        """What cannot be taken yet: nothing."""
        return

    @property
    def statistics(self) -> Statistics:
        """What the kernel has counted since the beginning."""
        counted = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        packets, dropped = struct.unpack("=2I", counted)
        self._packets += packets  # the kernel begins again at 0
        self._dropped += dropped
        return Statistics(self._packets, self._dropped)

    def take_error(self) -> int:
        """Return what went wrong since the last time, as an errno: ENETDOWN, or 0."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        number, self._error = number or self._error, 0
        return number

    def reject_all(self) -> None:
        """Let nothing more in."""
        attach(self._socket, REJECT_ALL)

    def close(self) -> None:
        """Give the socket back; again is harmless."""
        self._socket.close()
        self._inbox = None


def _frame(address: bytes, control: bytes, data: bytes) -> bytes:
    """Return a packet as it stands in a block of a ring."""
    said = _CONTROL.unpack_from(control)
    seconds, nanoseconds = said[3:5]
    status, length = said[8:10]
    return pack_frame(
        seconds * 1_000_000_000 + nanoseconds,
        data,
        length=length,
        status=status,
        vlan=said[13:15],
        address=address,
    )


class Stamps:
    """Has the kernel note the time at which it sees a packet.

    Else a packet has the time at which it was received from the queue. The kernel
    begins with it a moment after the first socket has asked (``net_enable_timestamp``
    has a work queue do it), and ends when the last one is closed.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def close(self) -> None:
        """Do without; again is harmless."""
        self._socket.close()
