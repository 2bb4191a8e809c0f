"""Receiving many packets with one system call (recvmmsg(2)), by ctypes."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MSG_DONTWAIT = 0x40
#: struct sockaddr_ll
_ADDRESS_SIZE = 20
#: A time, and what a packet socket says about a packet.
_CONTROL_SIZE = 128


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint32))


#: It never waits, and so it keeps the interpreter's lock: from a test that computes
#: it would get that back once in five milliseconds only.
_recvmmsg = ctypes.PyDLL(None, use_errno=True).recvmmsg
_recvmmsg.argtypes = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_void_p,
)


class Inbox:
    """Room for some packets of any length.

    Args:
        size: The length of the longest packet, in bytes.
        count: How many packets there is room for.
    """

    def __init__(self, size: int, count: int = 32) -> None:
        self._size = size
        self._count = count
        # pages that no packet reaches are never there
        self._data = mmap.mmap(-1, size * count)
        self._names = ctypes.create_string_buffer(_ADDRESS_SIZE * count)
        self._controls = ctypes.create_string_buffer(_CONTROL_SIZE * count)
        self._iovecs = (_Iovec * count)()
        self._headers = (_Header * count)()
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._data))
        for number, (header, iovec) in enumerate(
            zip(self._headers, self._iovecs, strict=True)
        ):
            iovec.base, iovec.length = base + number * size, size
            message = header.message
            message.iov, message.iov_length = ctypes.addressof(iovec), 1
            message.name = ctypes.addressof(self._names) + number * _ADDRESS_SIZE
            message.name_length = _ADDRESS_SIZE
            message.control = ctypes.addressof(self._controls) + number * _CONTROL_SIZE
            message.control_length = _CONTROL_SIZE
        self._fresh = bytes(self._headers)

    def receive(self, fd: int) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield address, control messages and bytes of the packets that are there.

        Raises:
            OSError: What the socket says, such as ENETDOWN.
        """
        # the kernel has written over the lengths
        ctypes.memmove(self._headers, self._fresh, len(self._fresh))
        received = _recvmmsg(fd, self._headers, self._count, _MSG_DONTWAIT, None)
        if received < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return
            raise OSError(number, os.strerror(number))
        names, controls = self._names.raw, self._controls.raw
        for number in range(received):
            start = number * self._size
            name, control = number * _ADDRESS_SIZE, number * _CONTROL_SIZE
            yield (
                names[name : name + _ADDRESS_SIZE],
                controls[control : control + _CONTROL_SIZE],
                self._data[start : start + self._headers[number].length],
            )
