"""Tells what a test run holds and runs; used from outside and by the inner tests.

Usage: ``leftovers.py MARK SECONDS`` prints what is left of the run whose processes
have MARK in their environment, as soon as that is nothing, or after SECONDS.

A namespace lives as long as a process is in it, or has a descriptor of it or of
one of its sockets. Going by the processes of one run, and not by all namespaces of the
machine, allows for other runs beside it; the kernel also gives the number of a
namespace to another one as soon as it can.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# include/uapi/linux/sockios.h: a descriptor of the socket's network namespace
SIOCGSKNS = 0x894C


def processes(mark: str) -> dict[int, str]:
    """Return the command lines of the processes of a run, by their numbers."""
    found = {}
    for entry in Path("/proc").iterdir():
        # it may end at any moment, or belong to somebody else
        with contextlib.suppress(OSError):
            if (
                entry.name.isdecimal()
                and mark.encode() in (entry / "environ").read_bytes()
            ):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace")
    return found


def held(pid: int) -> Iterator[tuple[str, str]]:
    """Yield (namespace, what holds it) for everything in a process."""
    process = Path(f"/proc/{pid}")
    for pattern in ("task/*/ns/net", "fd/*"):
        for link in process.glob(pattern):
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("net:["):
                    yield target, str(link)


def held_by_sockets() -> Iterator[tuple[str, str]]:
    """Yield (namespace, what holds it) for the sockets of this process."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            fd = int(link.name)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                namespace = fcntl.ioctl(fd, SIOCGSKNS)
                try:
                    yield str(Path(f"/proc/self/fd/{namespace}").readlink()), str(link)
                finally:
                    os.close(namespace)


def foreign() -> list[str]:
    """List what this run holds of namespaces other than the one it started in."""
    mark = os.environ["NETNS_TEST_RUN"]
    # the main thread of this process may be anywhere
    home = str(Path(f"/proc/{os.getppid()}/ns/net").readlink())
    everything = [*held_by_sockets()]
    for pid in processes(mark):
        everything += held(pid)
    return [
        f"{namespace} by {holder}"
        for namespace, holder in everything
        if namespace != home
    ]


def assert_nothing_left(seconds: float = 20.0) -> None:
    """Wait until this run holds no namespace but its own."""
    deadline = time.monotonic() + seconds
    while left := foreign():
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def main(mark: str, seconds: float) -> None:
    """Print what is left of a run once that is nothing, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := _but_for_this(mark)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid, command in left.items():
        sys.stdout.write(f"{pid} {command}\n")


def _but_for_this(mark: str) -> dict[int, str]:
    return {pid: text for pid, text in processes(mark).items() if pid != os.getpid()}


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
