"""The watcher's own program; it runs isolated, so it imports nothing of ours.

That is why it has its own way of doing what `_processes` does.

Usage: ``_watcher_main.py PID``, with a socket as standard input. Each message
is one of

* ``+INODE`` with a descriptor of the namespace: kill what is inside;
* ``-INODE``: let go of it;
* ``!NUMBER CHORE``: something to do once everything is killed, one of
  ``netlink PROTOCOL HEX`` (send these requests), ``unname PATH`` (unmount it and
  remove it), ``run PROGRAM ARGUMENT...`` (a program, with NUL between words) and
  ``remove NAME`` with a descriptor of the folder (a file that is in it);
* ``~NUMBER``: the chore is done.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

#: include/linux/fs.h
_MNT_DETACH = 2


def main(pid: int) -> None:
    """Follow orders until the run is gone, then end what it left."""
    connection = socket.socket(fileno=0)
    held: dict[int, int] = {}
    chores: dict[int, str] = {}
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
        message, descriptors, _, _ = socket.recv_fds(
            connection, 65536, 1, socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            break
        follow(message.decode(), descriptors, held, chores)
    end_processes(set(held))
    for number, chore in sorted(chores.items(), reverse=True):
        with contextlib.suppress(OSError):  # each for itself
            do(chore, held.get(-number, -1))


def follow(
    message: str, descriptors: list[int], held: dict[int, int], chores: dict[int, str]
) -> None:
    """Hold a namespace, let go of it, or note down what is to be done."""
    order, (word, _, chore) = message[0], message[1:].partition(" ")
    # that of a chore is held as if it were of a namespace with a number that none has
    number = -int(word) if order in "!~" else int(word)
    if descriptors:
        held[number] = descriptors[0]
    elif order in "-~" and number in held:
        os.close(held.pop(number))
    if order == "!":
        chores[-number] = chore
    elif order == "~":
        chores.pop(-number, None)


def do(chore: str, folder: int = -1) -> None:
    """Carry out one chore."""
    verb, what, rest = [*chore.split(" ", 2), ""][:3]
    if verb == "netlink":
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, int(what)) as netlink:
            netlink.send(bytes.fromhex(rest))
    elif verb == "run":
        words = chore.partition(" ")[2].split("\0")
        os.waitpid(os.posix_spawn(words[0], words, os.environ), 0)
    elif verb == "remove":
        os.unlink(chore.partition(" ")[2], dir_fd=folder)
    elif verb == "unname":
        import ctypes  # takes time that a watcher without this chore saves

        path = chore.partition(" ")[2]
        ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_DETACH)
        os.unlink(path)


def end_processes(inodes: set[int]) -> None:
    """Kill every process in these namespaces until none is found."""
    deadline = time.monotonic() + 10
    while inodes and (victims := list(find(inodes))) and time.monotonic() < deadline:
        for victim in victims:
            with contextlib.suppress(OSError):
                kill(victim, inodes)
        time.sleep(0.005)  # the kernel needs a moment to reap them


def kill(victim: int, inodes: set[int]) -> None:
    """Kill a process if it is inside: its number may be somebody else's by now."""
    try:
        fd = os.pidfd_open(victim)
    except ProcessLookupError:
        return
    except OSError:  # a kernel before 5.3
        os.kill(victim, signal.SIGKILL)
        return
    try:
        if is_inside(victim, inodes):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)


def find(inodes: set[int]) -> list[int]:
    """List the processes that are in one of these network or UTS namespaces."""
    numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [number for number in numbers if is_inside(number, inodes)]


def is_inside(number: int, inodes: set[int]) -> bool:
    """Tell whether a process is in one of these network or UTS namespaces."""
    for kind in ("net", "uts"):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{number}/ns/{kind}").st_ino in inodes:
                return True
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]))
