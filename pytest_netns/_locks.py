"""Locks between processes of tests, on something that all of them see."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long to wait for another run to do what takes it milliseconds, in seconds.
_PATIENCE = 10.0


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep all other runs from what `path` stands for, for the length of the block.

    The kernel lets go of the lock when its holder dies (flock(2)).

    Raises:
        KernelError: Another process holds it for longer than anything takes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise KernelError(
                        errno.EAGAIN, "lock it against other test runs", "host"
                    ) from error
                time.sleep(0.001)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def turn(path: str) -> Iterator[None]:
    """Wait for all who have taken their turn at `path`, however long that is.

    The kernel ends a turn when who has taken it dies (flock(2)).

    Args:
        path: A file or a directory that all of them see.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child may have the descriptor, too
        os.close(fd)
