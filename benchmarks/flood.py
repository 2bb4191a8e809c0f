"""Send small packets at a steady rate: ``flood.py PACKETS RATE``.

It says "ready" when it can begin, begins when it is told anything, and says at the
end how many seconds it took. It uses the interface ``eth0`` of the namespace that it
is started in, and nothing but the standard library: many packets with one system
call (sendmmsg(2)), and one such burst each millisecond.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from typing import Final

_SLOT: Final = 1e-3
_LARGEST_BURST: Final = 1024  # UIO_MAXIOV

#: As captures count them, without the checksum at the end of a frame.
FRAME_LENGTH: Final = 60


class _Message(ctypes.Structure):
    """struct mmsghdr; all but the pieces stays 0."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("pieces_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint),
    )


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def frame() -> bytes:
    """Return a UDP datagram that nobody waits for, in the shortest of all frames.

    It is addressed to another machine, so the one that gets it throws it away, but
    only after everybody has captured it.
    """
    ethernet = bytes.fromhex("020000000099 020000000001 0800")
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 99])
    length = FRAME_LENGTH - len(ethernet)
    ip = struct.pack(">BxHIBB2x", 0x45, length, 0, 64, socket.IPPROTO_UDP)
    total = sum(struct.unpack(">10H", ip + addresses))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    ip = ip[:10] + struct.pack(">H", checksum) + addresses
    udp = struct.pack(">HHHH", 4000, 9, length - len(ip), 0)
    return (ethernet + ip + udp).ljust(FRAME_LENGTH, b"\0")


class Sender:
    """A packet socket that sends the same frame again and again."""

    def __init__(self, ifname: str) -> None:
        """Open it on an interface of this namespace."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((ifname, 0))
        data = frame()
        self._data = ctypes.create_string_buffer(data, len(data))
        self._piece = _Piece(ctypes.addressof(self._data), len(data))
        self._messages = (_Message * _LARGEST_BURST)()
        for message in self._messages:
            message.pieces = ctypes.addressof(self._piece)
            message.pieces_length = 1

    def send(self, count: int) -> None:
        """Send it so many times."""
        while count:
            sent = self._libc.sendmmsg(
                self._socket.fileno(), self._messages, min(count, _LARGEST_BURST), 0
            )
            if sent < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            count -= sent


def flood(sender: Sender, packets: int, rate: int) -> float:
    """Send packets, `rate` of them a second; return the seconds that it took."""
    start = time.perf_counter()
    sent = 0
    while sent < packets:
        elapsed = time.perf_counter() - start
        due = min(packets, int((elapsed + _SLOT) * rate))
        sender.send(due - sent)
        sent = due
        time.sleep(_SLOT)  # and if it was longer, the next burst makes up for it
    return time.perf_counter() - start


def _main() -> None:
    packets, rate = map(int, sys.argv[1:])
    sender = Sender("eth0")
    print("ready", flush=True)
    sys.stdin.readline()
    print(flood(sender, packets, rate), flush=True)


if __name__ == "__main__":
    _main()
