"""Sockets of the loads, and in plain words what the kernel says about them."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import socket
import struct
from typing import TYPE_CHECKING, Any

from ._load_main import Failure

if TYPE_CHECKING:
    from .throughput import Protocol

#: A connection that is closed is reset: no side keeps its port for a minute in
#: TIME_WAIT (socket(7), SO_LINGER; net/ipv4/tcp.c, __tcp_close).
RESET_AT_CLOSE = struct.pack("ii", 1, 0)

#: Beyond net.core.rmem_max (socket(7)); not in Python before 3.14.
_SO_RCVBUFFORCE = 33
_ROOM = 1 << 23
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
#: Files that are open besides connections.
_OTHER_FILES = 32


def place(address: str, port: int, protocol: Protocol) -> tuple[int, int, Any]:
    """Return family, kind and address, as socket calls want them.

    Raises:
        Failure: It is no address.
    """
    try:  # a str would cost the import of idna
        found = socket.getaddrinfo(
            address.encode("ascii", "replace"),
            port,
            type=_KINDS[protocol],
            flags=socket.AI_NUMERICHOST,
        )
    except OSError as error:
        raise Failure(f"no address: {address!r}") from error
    family, kind, _, _, sockaddr = found[0]
    return family, kind, sockaddr


def cause(number: int | None) -> int:
    """Return an errno, where a reset has one only.

    One that comes after the other side has closed is EPIPE otherwise
    (net/ipv4/tcp_input.c, tcp_reset).
    """
    return errno.ECONNRESET if number == errno.EPIPE else number or 0


def name(number: int | None) -> str:
    """Return an errno in words, with its name."""
    code = cause(number)
    return f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"


def shown(address: str, port: int) -> str:
    """Return address and port as one writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def connect(
    address: str, port: int, protocol: Protocol, timeout: float
) -> socket.socket:
    """Return a connected socket, which sends at once and does not block.

    Raises:
        Failure: Nobody answers in time, or somebody says no.
    """
    family, kind, sockaddr = place(address, port, protocol)
    connection = socket.socket(family, kind)
    try:
        connection.settimeout(timeout)
        connection.connect(sockaddr)
    except OSError as error:
        connection.close()
        where = f"cannot connect to {protocol} {shown(address, port)}"
        if isinstance(error, TimeoutError):
            text = f"{where}: no answer within {timeout:.2g} s"
            raise Failure(text, "timeout") from error
        raise Failure(f"{where}: {name(error.errno)}") from error
    connection.settimeout(0.0)
    if protocol == "tcp":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    else:
        widen(connection)
    return connection


def widen(datagrams: socket.socket) -> None:
    """Have room for what comes in while we or the other side get no processor."""
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        with contextlib.suppress(PermissionError):
            datagrams.setsockopt(socket.SOL_SOCKET, option, _ROOM)


def allow_files(connections: int | None = None) -> None:
    """Let this process have as many files open as it ever may.

    Args:
        connections: How many it needs.

    Raises:
        Failure: It may not have that many.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if connections is not None and connections + _OTHER_FILES > hard:
        raise Failure(
            f"{connections} connections at once need more than the {hard} files "
            "that a process may have open (RLIMIT_NOFILE, ulimit -Hn)"
        )


def hurry() -> None:
    """Let nothing but the kernel keep this process waiting.

    Garbage is not collected any more, and the kernel's timers are exact (the other
    way to say it is prctl(2), PR_SET_TIMERSLACK; see proc(5)).
    """
    gc.disable()
    with (
        contextlib.suppress(OSError),  # without this /proc it is 50 us later
        open("/proc/self/timerslack_ns", "wb", buffering=0) as file,
    ):
        file.write(b"1")
