"""Many connections: how fast they can be opened, and what they get done together."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from ._load_main import Failure
from ._load_sockets import RESET_AT_CLOSE, allow_files, cause, hurry, name, place, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_EVENTS = 256
#: Connections that are opened at the same time to be held: fewer than the shortest
#: queue of those who are not accepted yet (100 in asyncio), as who finds it full
#: tries again only after a second.
_OPENED_AT_ONCE = 64
_SIZE_HELD = 64
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EAGAIN})
_GONE = select.EPOLLERR | select.EPOLLHUP


def connections(
    say: Callable[..., None],
    *,
    address: str,
    port: int,
    seconds: float,
    in_flight: int,
    patience: float = 5.0,
) -> dict[str, Any]:
    """Open connections, exchange one byte on each, and close them; count them.

    The time begins with the first that is done, which does not count.

    Args:
        say: Not needed.
        address: Whom to connect to.
        port: Where.
        seconds: For how long.
        in_flight: How many are under way at the same time.
        patience: How long the first may take, in seconds.

    Returns:
        The fields of a `ConnectionsSample`.
    """
    del say
    hurry()
    allow_files(in_flight)
    crowd = _Crowd(address, port, size=1)
    _await_first(crowd, in_flight, patience)
    count = 0
    start = now = time.perf_counter()
    end = start + seconds
    while now < end:
        for _ in range(in_flight - len(crowd)):
            crowd.open()
        for fd in crowd.answered(end - now):
            crowd.close(fd)
            count += 1
        now = time.perf_counter()
    return {"count": count, "seconds": now - start, **crowd.end()}


def _await_first(crowd: _Crowd, in_flight: int, timeout: float) -> None:
    deadline = time.perf_counter() + timeout
    for _ in range(in_flight):
        crowd.open()
    while (left := deadline - time.perf_counter()) > 0:
        if not len(crowd):
            break
        if answered := crowd.answered(left):
            for fd in answered:
                crowd.close(fd)
            return
    raise crowd.failure(timeout)


def concurrent(
    say: Callable[..., None],
    *,
    address: str,
    port: int,
    held: int,
    seconds: float,
    patience: float = 10.0,
) -> dict[str, Any]:
    """Hold connections, each with one request under way, and count the answers.

    Args:
        say: Not needed.
        address: Whom to connect to.
        port: Where.
        held: How many connections.
        seconds: For how long, when all are open.
        patience: How long it may take until then, in seconds.

    Returns:
        The fields of a `ConcurrentSample`.
    """
    del say
    hurry()
    allow_files(held)
    crowd = _Crowd(address, port, size=_SIZE_HELD)
    begun = time.perf_counter()
    opened = _open_all(crowd, held, begun + patience)
    if not opened:
        raise crowd.failure(patience)
    requests = 0
    start = now = time.perf_counter()
    end = start + seconds
    for fd in opened:
        crowd.ask(fd)
    while now < end and len(crowd):
        for fd in crowd.answered(end - now):
            crowd.ask(fd)
            requests += 1
        now = time.perf_counter()
    return {
        "requests": requests,
        "seconds": now - start,
        "held": len(crowd),
        "opened_in": start - begun,
        **crowd.end(),
    }


def _open_all(crowd: _Crowd, held: int, deadline: float) -> list[int]:
    """Open connections, and return those that have had an answer."""
    opened: list[int] = []
    while (left := deadline - time.perf_counter()) > 0:
        begun = len(crowd) + crowd.failed
        waiting = len(crowd) - len(opened)
        for _ in range(min(held - begun, _OPENED_AT_ONCE - waiting)):
            crowd.open()
        if len(crowd) == len(opened):
            break
        opened += crowd.answered(left)
        opened = [fd for fd in opened if fd in crowd]  # before its number comes again
    crowd.give_up_all_but(opened)
    return opened


class _Crowd:
    """Connections to one place, with questions and answers of one length.

    Args:
        address: Whom to connect to.
        port: Where.
        size: The length of questions and answers, in bytes.
    """

    def __init__(self, address: str, port: int, size: int) -> None:
        family, kind, self._sockaddr = place(address, port, "tcp")
        self._kind = (family, kind | socket.SOCK_NONBLOCK)
        self._where = shown(address, port)
        self._question = bytes(size)
        self._buffer = bytearray(size)
        self._epoll = select.epoll()
        # without the layer in Python that socket.socket is: 2 us for each
        self._open: dict[int, socket.SocketType] = {}
        self._missing: dict[int, int] = {}  # bytes of answers that came in part
        #: How many have failed.
        self.failed = 0
        self._reason: int | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, fd: int) -> bool:
        return fd in self._open

    def open(self) -> None:
        """Begin one more, and ask as soon as it is connected."""
        connection = socket.SocketType(*self._kind)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        fd = connection.fileno()
        self._open[fd] = connection
        refusal = connection.connect_ex(self._sockaddr)
        if refusal and refusal not in _UNDER_WAY:
            self._fail(fd, refusal)
            return
        try:  # over a veth the handshake is often done by now
            connection.send(self._question)
        except BlockingIOError:
            self._epoll.register(fd, select.EPOLLOUT)
        except OSError as error:
            self._fail(fd, error.errno)
        else:
            self._epoll.register(fd, select.EPOLLIN)

    def ask(self, fd: int) -> None:
        """Ask on a connection that has no question open."""
        try:
            self._open[fd].send(self._question)
        except OSError as error:
            self._fail(fd, error.errno)

    def answered(self, timeout: float) -> list[int]:
        """Wait for something, and return the connections that were answered."""
        answered = []
        for fd, event in self._epoll.poll(timeout, _MOST_EVENTS):
            if event & _GONE:
                self._fail(fd, self._error(fd))
            elif event & select.EPOLLOUT:
                self._epoll.modify(fd, select.EPOLLIN)
                self.ask(fd)
            elif self._has_answer(fd):
                answered.append(fd)
        return answered

    def close(self, fd: int) -> None:
        """Close a connection, which resets it."""
        self._open.pop(fd).close()

    def give_up_all_but(self, fds: list[int]) -> None:
        """Count as failed those that have not been answered."""
        for fd in self._open.keys() - set(fds):
            self._fail(fd, errno.ETIMEDOUT)

    def end(self) -> dict[str, Any]:
        """Close all; return how many have failed, and the first reason."""
        for fd in list(self._open):
            self.close(fd)
        self._epoll.close()
        reason = None if self._reason is None else errno.errorcode.get(self._reason)
        return {"failed": self.failed, "reason": reason}

    def failure(self, timeout: float) -> Failure:
        """Return what to say when not one was answered."""
        where = f"no connection to tcp {self._where}"
        if self._reason in {None, errno.ETIMEDOUT}:
            return Failure(f"{where}: no answer within {timeout:g} s", "timeout")
        return Failure(f"{where}: {name(self._reason)}")

    def _has_answer(self, fd: int) -> bool:
        size = self._missing.pop(fd, 0) or len(self._question)
        try:
            got = self._open[fd].recv_into(self._buffer, size)
        except OSError as error:
            self._fail(fd, error.errno)
            return False
        if not got:
            self._fail(fd, errno.ECONNRESET)
        elif got < size:
            self._missing[fd] = size - got
        return got == size

    def _error(self, fd: int) -> int:
        pending = self._open[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return pending or errno.ECONNRESET

    def _fail(self, fd: int, reason: int | None) -> None:
        self.failed += 1
        if self._reason is None:
            self._reason = cause(reason)
        self._missing.pop(fd, None)
        self.close(fd)
