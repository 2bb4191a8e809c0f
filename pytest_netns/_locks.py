"""Locks between processes of tests, on something that all of them see."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import TYPE_CHECKING

from .errors import KernelError
from .privileges import status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long to wait for another run to do what takes it milliseconds, in seconds.
_PATIENCE = 10.0
#: How long to wait for somebody who is no other run, as far as can be seen.
_COURTESY = 0.5
#: A line of /proc/locks (proc_locks(5)): the process, and the number of the file.
_HOLDER = re.compile(r"^\d+: FLOCK +ADVISORY +\w+ +(\d+) +\w+:\w+:(\d+) ", re.MULTILINE)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep all other runs from what `path` stands for, for the length of the block.

    The kernel lets go of the lock when its holder dies (flock(2)). Whoever may read
    what is there may lock it, and never let go; so a lock counts only while its
    holder is seen to be root, or of this process's user.

    Raises:
        KernelError: Another process holds it for longer than anything takes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _take(fd)
        yield
    finally:
        os.close(fd)


def _take(fd: int) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            waited = time.monotonic() - began
            if waited > _COURTESY and not _is_held_by_ours(fd):
                return
            if waited > _PATIENCE:
                raise KernelError(
                    errno.EAGAIN, "lock it against other test runs", "host"
                ) from error
            time.sleep(0.001)
        else:
            return


def _is_held_by_ours(fd: int) -> bool:
    """Tell whether a process that could be a run as this one is holds the lock."""
    inode = str(os.fstat(fd).st_ino)
    with open("/proc/locks", encoding="ascii") as file:
        holders = {pid for pid, of in _HOLDER.findall(file.read()) if of == inode}
    # their effective users: not the owners of their directories in /proc, which a
    # process can make root (PR_SET_DUMPABLE of prctl(2))
    users = {user for pid in holders for user in status_of(pid, "Uid")[1:2]}
    return not users.isdisjoint({"0", str(os.geteuid())})


@contextlib.contextmanager
def turn(path: str) -> Iterator[None]:
    """Wait for all who have taken their turn at `path`, however long that is.

    The kernel ends a turn when who has taken it dies (flock(2)).

    Args:
        path: A file or a directory that all of them see, and that nobody else may
            open: whoever can may take a turn that never ends.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child may have the descriptor, too
        os.close(fd)
