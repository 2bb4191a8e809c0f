"""A small process that ends what a killed test run leaves running.

Namespaces, interfaces and routes go with the last descriptor, but a daemon that
runs in a namespace keeps it. The watcher holds a descriptor of each namespace
that may have processes, so that its inode cannot become somebody else's, and
kills what is inside when this process is gone.

It is started when something is first started that could outlive us.
"""

from __future__ import annotations

import contextlib
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
        self._lock = threading.Lock()  # any thread may be the first to enter

    def watch(self, inode: int, fd: int) -> None:
        """Have the processes in a namespace ended if this process dies."""
        with self._lock:
            if inode in self._watched:
                return
            self._watched[inode] = fd
            if self._connection is not None and _send(self._connection, inode, fd):
                return
            self.close()  # if there was one, somebody has killed it
            connection = self._start()
            for watched in self._watched.items():
                _send(connection, *watched)

    def forget(self, inode: int) -> None:
        """Stop watching a namespace; the watcher lets go of it."""
        with self._lock:
            if self._watched.pop(inode, None) is None or self._connection is None:
                return
            with contextlib.suppress(OSError):  # a dead one has let go of all
                self._connection.send(f"-{inode}\n".encode())

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


def _send(connection: socket.socket, inode: int, fd: int) -> bool:
    try:
        socket.send_fds(connection, [f"+{inode}\n".encode()], [fd])
    except OSError:
        return False
    return True
