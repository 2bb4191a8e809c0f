"""A small process that ends what a killed test run leaves running.

Namespaces, interfaces and routes go with the last descriptor, but a daemon that
runs in a namespace keeps it. The watcher holds a descriptor of each namespace
that may have processes, so that its inode cannot become somebody else's, and
kills what is inside when this process is gone. What this process has changed
outside of its namespaces is put right by chores that the watcher then does.

It is started when something is first started that could outlive us.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from ._nsfile import Visit, home
from ._processes import await_end

_PROGRAM = Path(__file__).with_name("_watcher_main.py")


class Watcher:
    """This side of the watcher: tells it what to watch."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        #: inode -> descriptor of the namespaces that the watcher knows
        self._watched: dict[int, int] = {}
        #: what to do when this process is gone, by number, and with which descriptors
        self._chores: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # any thread may be the first to enter

    def watch(self, inode: int, fd: int) -> None:
        """Have the processes in a namespace ended if this process dies."""
        with self._lock:
            if inode in self._watched:
                return
            self._watched[inode] = fd
            self._tell(f"+{inode}", fd)

    def watch_also(self, inode: int, fd: int) -> None:
        """Do so with one more namespace; a watcher was told of another one before.

        Starts none: the calling thread is one of a namespace, where none may be.
        """
        with self._lock:
            self._watched[inode] = fd
            self._tell_if_there(f"+{inode}", fd)

    def forget(self, inode: int) -> None:
        """Stop watching a namespace; the watcher lets go of it."""
        with self._lock:
            if self._watched.pop(inode, None) is not None:
                self._tell_if_there(f"-{inode}")

    def leave_chore(self, chore: str, *descriptors: int) -> int:
        """Have something done if this process dies; return the chore's number.

        Told before the thing itself is done, it leaves no moment uncovered.

        Args:
            chore: One of those in ``_watcher_main``; the last one is done first.
            descriptors: What it needs; open until it is dropped.
        """
        with self._lock:
            number = next(self._numbers)
            self._chores[number] = chore, descriptors
            self._tell(f"!{number} {chore}", *descriptors)
            return number

    def drop_chore(self, number: int) -> None:
        """Take a chore back: it is done."""
        with self._lock:
            if self._chores.pop(number, None) is not None:
                self._tell_if_there(f"~{number}")

    def _tell(self, message: str, *descriptors: int) -> None:
        """Tell the watcher; start one, which is then told everything, if need be."""
        if self._connection is not None and _send(
            self._connection, message, *descriptors
        ):
            return
        self.close()  # if there was one, somebody has killed it
        connection = self._start()
        for inode, fd in self._watched.items():
            _send(connection, f"+{inode}", fd)
        for number, (chore, needed) in self._chores.items():
            _send(connection, f"!{number} {chore}", *needed)

    def _tell_if_there(self, message: str, *descriptors: int) -> None:
        if self._connection is not None:
            # a dead one has let go of all, and its successor is told all
            _send(self._connection, message, *descriptors)

    def close(self) -> None:
        """End the watcher."""
        if self._connection is None or self._process is None:
            return
        self._connection.close()
        await_end([self._process.pid], 2.0)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._connection = self._process = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # at home, or it would keep the namespace that the calling thread is in
        with theirs, Visit(home().fd, "home"):
            # isolated and without site: it starts in 10 ms, beside us
            self._process = subprocess.Popen(  # our own program
                [sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C is not for it
            )
        self._connection = ours
        return ours


def _send(connection: socket.socket, message: str, *descriptors: int) -> bool:
    try:
        socket.send_fds(connection, [message.encode()], descriptors)
    except OSError:
        return False
    return True
