"""The only rtnetlink speaker: batches of requests, their acknowledgements, dumps.

A netlink request is carried out while it is sent: when ``send()`` returns, the
answers lie in the socket. So a batch is one system call, asks for a single
acknowledgement (errors are reported in any case), and never waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

# include/uapi/linux/netlink.h
NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_CAP_ACK = 10
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_ACK_TLVS = 0x200
_NLM_F_CAPPED = 0x100
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_NLMSGERR_ATTR_MSG = 1

_HEADER = struct.Struct("=IHHII")
_KIND = struct.Struct("=4xH")
#: struct nlmsgerr, behind struct nlmsghdr.
_ERROR = struct.Struct("=16xi")

#: A batch stays well below the send buffer (net.core.wmem_default is 208 KiB).
_MAX_BATCH = 32 * 1024
#: The kernel puts no more into one datagram (netlink_dump() in af_netlink.c).
_LARGEST_DATAGRAM = 32 * 1024
#: Every link that is read back costs about 2 KiB of the receive buffer.
_MAX_REPLIES = 32


@dataclass(slots=True, eq=False)  # not frozen: context managers set __traceback__
class Refusal(Exception):
    """The kernel refused one request of a batch.

    Attributes:
        number: The errno.
        position: Which request of the batch it was.
        detail: What the kernel says about it, or "".
    """

    number: int
    position: int
    detail: str


class RouteSocket:
    """An rtnetlink socket of the namespace that the calling thread makes it in.

    It belongs to one thread at a time.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        self._sequence = 0
        # answers without the request, with the kernel's own words
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def apply(self, requests: Sequence[bytearray]) -> None:
        """Send `requests` in as few system calls as fit, in order.

        The kernel goes on after a request that it refuses; the first refusal
        is raised once it has seen the whole chunk.

        Raises:
            Refusal: One of them was refused.
        """
        start = 0
        while start < len(requests):
            end, size = start, 0
            while end < len(requests) and (
                end == start or size + len(requests[end]) <= _MAX_BATCH
            ):
                size += len(requests[end])
                end += 1
            self._apply_chunk(requests[start:end], start)
            start = end

    def delete(self, requests: Sequence[bytearray]) -> None:
        """Send requests that delete; what is not there any more is no error.

        Raises:
            Refusal: One of them was refused for another reason.
        """
        try:
            self.apply(requests)
        except Refusal as refusal:
            if refusal.number != errno.ENODEV:
                raise

    def _apply_chunk(self, requests: Sequence[bytearray], offset: int) -> None:
        first = self._number(requests)
        last = requests[-1]
        _patch_flags(last, _NLM_F_ACK)
        self._socket.send(b"".join(requests))
        refusal: Refusal | None = None
        final = first + len(requests) - 1
        sequence = -1
        while sequence != final:
            for kind, flags, sequence, message in self._receive(first, final):
                if kind != _NLMSG_ERROR:
                    continue
                (code,) = fields(_ERROR, message)
                if code and refusal is None:
                    detail = _extended_message(message, flags)
                    refusal = Refusal(-code, offset + sequence - first, detail)
        if refusal is not None:
            raise refusal

    def query(self, requests: Sequence[bytearray]) -> Iterator[bytes]:
        """Send requests for single objects and yield each answer, in order.

        Raises:
            Refusal: One of them was refused.
        """
        for start in range(0, len(requests), _MAX_REPLIES):
            chunk = requests[start : start + _MAX_REPLIES]
            first = self._number(chunk)
            self._socket.send(b"".join(chunk))
            answers = 0
            while answers < len(chunk):
                final = first + len(chunk) - 1
                for kind, flags, sequence, message in self._receive(first, final):
                    answers += 1
                    if answers > len(chunk):
                        raise OSError("netlink: more answers than requests")
                    if kind == _NLMSG_ERROR:
                        (code,) = fields(_ERROR, message)
                        detail = _extended_message(message, flags)
                        raise Refusal(-code, start + sequence - first, detail)
                    yield message

    def dump(self, request: bytearray) -> list[bytes]:
        """Send a request for all objects of a kind and return them.

        Raises:
            Refusal: It was refused.
        """
        while True:
            messages, interrupted = self._dump_once(request)
            if not interrupted:  # else it changed meanwhile: ask again (netlink(7))
                return messages

    def _dump_once(self, request: bytearray) -> tuple[list[bytes], bool]:
        number = self._number([request])
        _patch_flags(request, _NLM_F_DUMP)
        self._socket.send(request)
        messages: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, _, message in self._receive(number, number):
                interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                if kind == _NLMSG_DONE:
                    return messages, interrupted
                if kind == _NLMSG_ERROR:
                    (code,) = fields(_ERROR, message)
                    raise Refusal(-code, 0, _extended_message(message, flags))
                messages.append(message)

    def _number(self, requests: Sequence[bytearray]) -> int:
        first = self._sequence + 1
        for request in requests:
            self._sequence += 1
            struct.pack_into("=I", request, 8, self._sequence)
        return first

    def _receive(self, first: int, final: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (type, flags, sequence number, message) of one datagram.

        What does not belong to the requests `first` to `final` is left out: who has
        been refused one of several objects may not have read of the others.
        """
        for one in split_messages(self._socket.recv(_LARGEST_DATAGRAM)):
            if first <= one[2] <= final:
                yield one


class Announcements:
    """What the kernel tells of changes in the namespace where this is made.

    Args:
        groups: Which changes: a mask of RTMGRP_*.
    """

    def __init__(self, groups: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        self._socket.bind((0, groups))

    def __enter__(self) -> Announcements:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def await_some(self, timeout: float) -> Iterator[bytes]:
        """Yield what comes first within `timeout` seconds; nothing, if nothing does."""
        self._socket.settimeout(max(timeout, 1e-6))
        with contextlib.suppress(TimeoutError):
            data = self._socket.recv(_LARGEST_DATAGRAM)
            yield from (message for _, _, _, message in split_messages(data))


def split_messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, sequence number, message) of each message in `data`.

    Raises:
        OSError: `data` is not a row of whole netlink messages.
    """
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise OSError(f"netlink: {len(data) - offset} stray bytes after a message")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise OSError(f"netlink: a message of {length} bytes does not fit")
        yield kind, flags, sequence, data[offset : offset + length]
        offset += (length + 3) & ~3


def fields(layout: struct.Struct, message: bytes) -> tuple[Any, ...]:
    """Return the fields that a message begins with.

    Raises:
        OSError: It is too short to have them.
    """
    if len(message) < layout.size:
        raise OSError(f"netlink: a message of {len(message)} bytes is too short")
    return layout.unpack_from(message)


def kind_of(message: bytes) -> int:
    """Return the type of a message (struct nlmsghdr).

    Raises:
        OSError: It is too short to have one.
    """
    kind: int = fields(_KIND, message)[0]
    return kind


def _patch_flags(request: bytearray, flags: int) -> None:
    (before,) = struct.unpack_from("=H", request, 6)
    struct.pack_into("=H", request, 6, before | flags | _NLM_F_REQUEST)


def _extended_message(message: bytes, flags: int) -> str:
    """Return the text that the kernel attached to an error, or "".

    Source: include/uapi/linux/netlink.h, enum nlmsgerr_attrs.
    """
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    offset = 16 + 4 + 16  # header, error code, header of the refused request
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            break
        if kind & 0x3FFF == _NLMSGERR_ATTR_MSG:
            return (
                message[offset + 4 : offset + length]
                .rstrip(b"\0")
                .decode(errors="replace")
            )
        offset += (length + 3) & ~3
    return ""


def strerror(refusal: Refusal) -> str:
    """Return the refusal in words."""
    return refusal.detail or os.strerror(refusal.number)


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (type, payload) of each attribute in `data`, from `offset` on."""
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute(data: bytes, wanted: int, offset: int = 0) -> bytes | None:
    """Return the payload of the first attribute of type `wanted`, or None."""
    for kind, payload in attributes(data, offset):
        if kind == wanted:
            return payload
    return None
