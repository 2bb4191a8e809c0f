"""The watcher's own program; it runs isolated, so it imports nothing of ours.

Usage: ``_watcher_main.py PID``, with a socket as standard input. Each message
is ``+INODE`` with a descriptor of the namespace, or ``-INODE``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time


def main(pid: int) -> None:
    """Follow orders until the run is gone, then end what it left."""
    connection = socket.socket(fileno=0)
    held: dict[int, int] = {}
    try:
        run = os.pidfd_open(pid)
    except OSError:
        run = -1  # gone already, or a kernel before 5.3: the socket tells as well
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if run >= 0:
        # a forked child may hold the socket open after the run itself is dead
        poll.register(run, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if run in ready and connection.fileno() not in ready:
            break
        message, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
        if not message:
            break
        follow(message.decode(), descriptors, held)
    end_processes(set(held))


def follow(message: str, descriptors: list[int], held: dict[int, int]) -> None:
    """Hold a namespace, or let go of it."""
    order, inode = message[0], int(message[1:])
    if order == "+":
        held[inode] = descriptors[0]
    elif inode in held:
        os.close(held.pop(inode))


def end_processes(inodes: set[int]) -> None:
    """Kill every process in these namespaces until none is found."""
    deadline = time.monotonic() + 10
    while inodes and (victims := list(find(inodes))) and time.monotonic() < deadline:
        for victim in victims:
            with contextlib.suppress(OSError):
                os.kill(victim, signal.SIGKILL)
        time.sleep(0.005)  # the kernel needs a moment to reap them


def find(inodes: set[int]) -> list[int]:
    """List the processes that are in one of these network or UTS namespaces."""
    found = []
    for entry in os.listdir("/proc"):
        for kind in ("net", "uts") if entry.isdecimal() else ():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/{kind}").st_ino in inodes:
                    found.append(int(entry))
                    break
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
