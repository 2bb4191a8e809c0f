"""Finding and ending the processes of a place, by the inodes of their namespaces."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: How long processes get to end after SIGTERM, in seconds.
GRACE = 0.5


def processes_in(inodes: Collection[int]) -> list[int]:
    """List the processes that are in one of these network or UTS namespaces.

    This process is left out: only some of its threads are inside.
    """
    own = os.getpid()
    return [
        pid
        for entry in os.listdir("/proc")
        if entry.isdecimal() and (pid := int(entry)) != own and _is_in(pid, inodes)
    ]


def _is_in(pid: int, inodes: Collection[int]) -> bool:
    for kind in ("net", "uts"):
        try:
            if os.stat(f"/proc/{pid}/ns/{kind}").st_ino in inodes:
                return True
        except OSError:
            return False  # it has ended, or belongs to somebody else
    return False


def end_processes(inodes: Collection[int], groups: Iterable[int] = ()) -> list[int]:
    """End process groups, and whatever is in these namespaces; return what remains.

    SIGTERM first, so that daemons can put their files away; SIGKILL to all that
    is still there after `GRACE` seconds, until nothing is found any more.
    """
    for group in groups:
        signal_group(group, signal.SIGTERM)
    victims = processes_in(inodes)
    for pid in victims:
        _signal(pid, signal.SIGTERM, inodes)
    await_end(victims, GRACE)
    deadline = time.monotonic() + 2.0
    while victims := processes_in(inodes):  # they may have had children meanwhile
        if time.monotonic() > deadline:
            return victims
        for pid in victims:
            _signal(pid, signal.SIGKILL, inodes)
        await_end(victims, 0.2)
    return []


def await_end(pids: Iterable[int], timeout: float) -> None:
    """Wait until all of `pids` have ended, or for `timeout` seconds."""
    deadline = time.monotonic() + timeout
    for pid in pids:
        fd = open_pidfd(pid)
        if fd is None:
            continue
        try:
            wait_readable(fd, deadline - time.monotonic())
        finally:
            os.close(fd)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that is readable once `pid` has ended, None if it has."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Wait until `fd` is readable, for `timeout` seconds; return whether it is."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _signal(pid: int, number: int, inodes: Collection[int]) -> None:
    """Send a signal to a process if it is in one of these namespaces.

    Its number alone could be that of somebody else by now.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # a kernel before 5.3
            os.kill(pid, number)
            return
        try:
            if _is_in(pid, inodes):
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
