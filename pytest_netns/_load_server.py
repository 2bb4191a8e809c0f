"""The server of all loads: it sends back what it gets."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from typing import TYPE_CHECKING, NoReturn

from ._load_main import Failure
from ._load_sockets import RESET_AT_CLOSE, allow_files, hurry, name, place, widen

if TYPE_CHECKING:
    from collections.abc import Callable

    from .throughput import Protocol

#: How many connections may wait to be accepted; net.core.somaxconn of the namespace
#: may make it fewer.
_BACKLOG = 4096
_BUFFER = 1 << 18
_MOST_EVENTS = 256
_GONE = select.EPOLLERR | select.EPOLLHUP
_NO_MORE_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_LONGEST_DATAGRAM = 65_535
#: What socket.IP_PKTINFO is, which Python has since 3.14.
_IP_PKTINFO = 8
_LINK_LOCAL = b"\xfe\x80"
_ROOM_FOR_ADDRESS = socket.CMSG_SPACE(20)  # struct in6_pktinfo, the longer one


def echo(
    say: Callable[..., None],
    *,
    port: int,
    address: str | None = None,
    protocol: Protocol = "tcp",
) -> NoReturn:
    """Send back what comes in, until killed.

    A connection that the other side ends is reset: nobody keeps its ports then, and
    what was on its way back is lost.

    Args:
        say: Is called when it listens.
        port: Where.
        address: Where; None is all addresses, of IPv4 and IPv6.
        protocol: ``"tcp"`` or ``"udp"``.
    """
    allow_files()
    hurry()
    listening = _listen(port, address, protocol)
    say()
    if protocol == "tcp":
        _Streams(listening).serve()
    if address is None:
        _echo_datagrams_from_where_asked(listening)
    _echo_datagrams(listening)


def _listen(port: int, address: str | None, protocol: Protocol) -> socket.socket:
    try:
        listening = _bind(port, address, protocol)
        if protocol == "tcp":
            listening.listen(_BACKLOG)
    except OSError as error:
        where = f"{protocol} port {port}" + (f" of {address}" if address else "")
        reason = name(error.errno)
        raise Failure(f"cannot listen on {where}: {reason}") from error
    return listening


def _bind(port: int, address: str | None, protocol: Protocol) -> socket.socket:
    family, kind, sockaddr = place(address or "::", port, protocol)
    try:
        listening = socket.socket(family, kind)
    except OSError as error:
        if address is not None or error.errno != errno.EAFNOSUPPORT:
            raise
        return _bind(port, "0.0.0.0", protocol)  # noqa: S104  # there is no IPv6
    if family == socket.AF_INET6:
        only_6 = int(address is not None)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_6)
    if protocol == "tcp":  # those that are accepted have these options, too
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        widen(listening)
    listening.bind(sockaddr)
    return listening


class _Streams:
    """All connections of a listening socket, in one loop: three calls an answer.

    They stay in blocking mode, which saves two calls for each: one is read only when
    there is something, and written to with MSG_DONTWAIT. They have no layer in
    Python, as `socket.socket` is, which takes 2 us for each.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._open: dict[int, socket.SocketType] = {}
        #: What the other side has not taken so far; no more is read before.
        self._owed: dict[int, bytes] = {}
        self._epoll = select.epoll()
        self._epoll.register(listening, select.EPOLLIN)
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> NoReturn:
        """Accept connections, and send back what they send."""
        door = self._listening.fileno()
        wait, connections, owed = self._epoll.poll, self._open, self._owed
        buffer = memoryview(bytearray(_BUFFER))
        at_once = socket.MSG_DONTWAIT
        while True:
            for fd, event in wait(None, _MOST_EVENTS):
                if fd == door:
                    self._accept()
                    continue
                try:
                    if fd in owed and not event & _GONE:
                        self._pay(fd)
                        continue
                    got = 0 if event & _GONE else connections[fd].recv_into(buffer)
                    if got:
                        sent = connections[fd].send(buffer[:got], at_once)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    got = 0
                if not got:
                    self._close(fd)
                elif sent < got:
                    owed[fd] = bytes(buffer[sent:got])
                    self._epoll.modify(fd, select.EPOLLOUT)

    def _accept(self) -> None:
        listening = self._listening
        try:
            # the layer in Python below accept() gives no more than the descriptor
            fd, _ = listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                self._turn_away()
            return  # or it has gone by now
        family, kind = listening.family, listening.type
        self._open[fd] = socket.SocketType(family, kind, 0, fd)
        self._epoll.register(fd, select.EPOLLIN)

    def _turn_away(self) -> None:
        """Reset a connection for which there is no descriptor: it would wait."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._listening.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _pay(self, fd: int) -> None:
        rest = self._owed[fd]
        rest = rest[self._open[fd].send(rest, socket.MSG_DONTWAIT) :]
        if rest:
            self._owed[fd] = rest
        else:
            del self._owed[fd]
            self._epoll.modify(fd, select.EPOLLIN)

    def _close(self, fd: int) -> None:
        self._owed.pop(fd, None)
        self._open.pop(fd).close()


def _echo_datagrams(listening: socket.socket) -> NoReturn:
    buffer = memoryview(bytearray(_LONGEST_DATAGRAM))
    while True:
        with contextlib.suppress(OSError):  # the sender cannot be reached any more
            size, sender = listening.recvfrom_into(buffer)
            listening.sendto(buffer[:size], sender)


def _echo_datagrams_from_where_asked(listening: socket.socket) -> NoReturn:
    """Answer from the very address that was asked: the sender insists on it.

    Source: ip(7), IP_PKTINFO; ipv6(7), IPV6_PKTINFO, which an IPv6 socket also takes
    for IPv4 (net/ipv4/ip_sockglue.c, ip_cmsg_send).
    """
    has_6 = listening.family == socket.AF_INET6
    if has_6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        listening.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    without_interface = _without_interface_6 if has_6 else _without_interface_4
    while True:
        with contextlib.suppress(OSError):
            data, ancillary, _, sender = listening.recvmsg(
                _LONGEST_DATAGRAM, _ROOM_FOR_ADDRESS
            )
            ((level, kind, info),) = ancillary
            ancillary = [(level, kind, without_interface(info))]
            listening.sendmsg([data], ancillary, 0, sender)


def _without_interface_4(info: bytes) -> bytes:
    return bytes(4) + info[4:]


def _without_interface_6(info: bytes) -> bytes:
    """Leave the way back to the routes, but where an address is of one link only."""
    return info if info.startswith(_LINK_LOCAL) else info[:16] + bytes(4)
