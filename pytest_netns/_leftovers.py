"""What this process itself still has in namespaces that are to be closed.

A process can be killed; a thread or socket of ours cannot. Sockets are shut
down, which ends system calls that wait on them, and their descriptors are led
to /dev/null, so that the namespace is free and the number stays taken: whoever
has the socket object gets an error, and can still close it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# include/uapi/linux/sockios.h: a descriptor of the socket's network namespace
_SIOCGSKNS = 0x894C


def release_descriptors(inodes: Collection[int], keep: Collection[int]) -> None:
    """Shut down and let go of sockets, and descriptors, of these namespaces.

    Args:
        inodes: The network namespaces.
        keep: Descriptors to leave alone.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for fd in _descriptors_of(inodes):
            if fd not in keep:
                # closed meanwhile, there is nothing to let go
                with contextlib.suppress(OSError):
                    _let_go(fd, null)
    finally:
        os.close(null)


def _descriptors_of(inodes: Collection[int]) -> Iterator[int]:
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        try:
            status = os.fstat(fd)
            inode: int | None
            if stat.S_ISSOCK(status.st_mode):
                inode = _namespace_of_socket(fd)
            else:
                inode = status.st_ino if _is_namespace(fd) else None
        except OSError:
            continue  # closed meanwhile, or no socket of a network
        if inode in inodes:
            yield fd


def _namespace_of_socket(fd: int) -> int:
    namespace = fcntl.ioctl(fd, _SIOCGSKNS)
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def _is_namespace(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").startswith("net:[")


def _let_go(fd: int, null: int) -> None:
    """Lead a descriptor to `null`, and then shut down what it was.

    In this order: whoever wakes up may close the descriptor at once, and if it were
    led elsewhere only then, it would be open again, with nobody to close it.
    """
    copy = os.dup(fd)
    os.dup2(null, fd, inheritable=False)
    try:
        sock = socket.socket(fileno=copy)
    except OSError:  # it is no socket
        os.close(copy)
        return
    with sock, contextlib.suppress(OSError):  # never connected
        sock.shutdown(socket.SHUT_RDWR)


def threads_in(inodes: Collection[int]) -> list[threading.Thread | int]:
    """List the threads of this process inside, by native id where not Python's."""
    known = {thread.native_id: thread for thread in threading.enumerate()}
    inside: list[threading.Thread | int] = []
    for entry in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/self/task/{entry}/ns/net").st_ino in inodes:
                inside.append(known.get(int(entry), int(entry)))
    return inside
