"""Packet sockets with a ring that the kernel fills (packet(7), TPACKET_V3).

The kernel writes packets into blocks of the ring without waking anybody, and
hands a block over when it is full or some milliseconds old. A block is copied
out as it is; nobody looks into it before a test does.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from ._bpf import REJECT_ALL
from ._socket_filter import attach
from ._syscalls import SharedMemory, bind, setsockopt
from ._tpacket import COUNT_OFFSET, STATUS_OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._bpf import Instruction

# include/uapi/linux/if_packet.h
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_TPACKET_V3 = 2
_PACKET_MR_PROMISC = 1
_TP_STATUS_USER = 1
_ETH_P_ALL = socket.htons(0x0003)

#: Holds the longest packet that a socket makes (64 KiB and headers).
BLOCK_SIZE = 128 * 1024
#: Unused with packets of any length, but the kernel checks it.
_FRAME_SIZE = 2048
#: After how many milliseconds a block is handed over that is not full.
_RETIREMENT = 3
_ADDRESS = struct.Struct("=HHi12x")
_WORD = struct.Struct("=I")
_COUNT_AND_STATUS = struct.Struct("=II")


class Statistics(NamedTuple):
    """What the kernel has counted on a ring.

    Attributes:
        packets: How many passed the filter, dropped ones included.
        dropped: For how many there was no room.
    """

    packets: int
    dropped: int


def see_everything(packet_socket: socket.socket, ifindex: int) -> None:
    """Have an interface take what is for others, too, as long as the socket lives."""
    membership = struct.pack("=iHH8x", ifindex, _PACKET_MR_PROMISC, 0)
    packet_socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)


class Ring:
    """A packet socket of the calling thread's namespace, and its ring.

    It sees what passes from `begin` on, and nothing that its filter rejects.

    Making one takes the kernel some milliseconds: it waits until no processor works
    with the socket as it was (``synchronize_net()`` in ``packet_set_ring()``).
    Other threads may work meanwhile. Closing one takes several times as long.

    Args:
        ifindex: The interface; 0 is all of the namespace, future ones too.
        program: The filter.
        blocks: How many blocks of 128 KiB the ring has.
        is_promiscuous: Whether to have the interface take what is for others, too.

    Raises:
        OSError: The kernel refuses.
    """

    def __init__(
        self,
        ifindex: int,
        program: Sequence[Instruction],
        *,
        blocks: int,
        is_promiscuous: bool = False,
    ) -> None:
        self._packets = self._dropped = 0
        self._current = 0
        self._blocks = blocks
        self._ifindex = ifindex
        with contextlib.ExitStack() as undo:
            self._socket = undo.enter_context(
                socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
                )
            )
            self._memory = self._set_up(blocks)
            undo.callback(self._memory.close)
            attach(self._socket, program)
            if is_promiscuous:
                see_everything(self._socket, ifindex)
            undo.pop_all()

    def begin(self) -> int:
        """Begin to see, at once; return when, in nanoseconds since the epoch.

        Raises:
            OSError: The interface is not there any more.
        """
        now = time.time_ns()
        address = _ADDRESS.pack(socket.AF_PACKET, _ETH_P_ALL, self._ifindex)
        bind(self.fileno(), address)  # struct sockaddr_ll
        return now

    def _set_up(self, blocks: int) -> SharedMemory:
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frames = blocks * (BLOCK_SIZE // _FRAME_SIZE)
        request = (BLOCK_SIZE, blocks, _FRAME_SIZE, frames, _RETIREMENT, 0, 0)
        setsockopt(
            self.fileno(), _SOL_PACKET, _PACKET_RX_RING, struct.pack("=7I", *request)
        )
        return SharedMemory(self.fileno(), blocks * BLOCK_SIZE)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is a block to take."""
        return self._socket.fileno()

    def take(self) -> Iterator[memoryview[int]]:
        """Yield the blocks that the kernel has handed over, and give them back.

        A block may change as soon as the next one is asked for.
        """
        view = self._memory.view
        while True:
            start = self._current * BLOCK_SIZE
            status, count, first, length = struct.unpack_from(
                "=4I", view, start + STATUS_OFFSET
            )
            if not status & _TP_STATUS_USER:
                return
            if count and first < BLOCK_SIZE:
                yield view[start : start + min(length, BLOCK_SIZE)]
            # the count first: an open block's tells whether there is more to come
            _WORD.pack_into(view, start + COUNT_OFFSET, 0)
            _WORD.pack_into(view, start + STATUS_OFFSET, 0)
            self._current = (self._current + 1) % self._blocks

    @property
    def held(self) -> int | None:
        """The block in which the kernel still holds packets, or None."""
        start = self._current * BLOCK_SIZE
        _, count = _COUNT_AND_STATUS.unpack_from(
            self._memory.view, start + STATUS_OFFSET
        )
        return self._current if count else None

    @property
    def statistics(self) -> Statistics:
        """What the kernel has counted since the beginning."""
        counted = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        packets, dropped, _ = struct.unpack("=3I", counted)
        self._packets += packets  # the kernel begins again at 0
        self._dropped += dropped
        return Statistics(self._packets, self._dropped)

    def take_error(self) -> int:
        """Return what went wrong since the last time, as an errno: ENETDOWN, or 0."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def reject_all(self) -> None:
        """Let nothing more in."""
        attach(self._socket, REJECT_ALL)

    def close(self) -> None:
        """Give the ring and the socket back; again is harmless."""
        self._memory.close()
        self._socket.close()
