"""Who opens a namespace that is nobody's business.

A namespace that is out of sight can be found all the same, for example below
``/proc/PID/fd``, and what is done in there cannot be read back in full: sysctls,
rulesets, traffic control, sockets, processes. But nobody gets in by its path
without opening it, and that can be seen.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from ._syscalls import inotify_add_watch, inotify_init, inotify_rm_watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._nsfile import NamespaceFile

# include/uapi/linux/inotify.h
_IN_OPEN = 0x20
_EVENT = struct.Struct("=iIII")
_LARGEST_READ = 1 << 16
#: The number of the event that stands for all that did not fit any more.
_OVERFLOW = -1


class Openings:
    """Tells which of some namespaces were opened by anybody; not by one's own setns.

    Where the machine allows for no more watches (fs.inotify in sysctl(8)), it
    sees nothing.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._numbers: dict[int, int] = {}
        self._opened: set[int] = set()

    def watch(self, file: NamespaceFile) -> None:
        """Watch a namespace, which lives until `forget` or `close`."""
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._fd = inotify_init(os.O_NONBLOCK | os.O_CLOEXEC)
            self._numbers[file.inode] = inotify_add_watch(
                self._fd, f"/proc/self/fd/{file.fd}", _IN_OPEN
            )

    def forget(self, file: NamespaceFile) -> None:
        """Let go of a namespace; one that is not watched is none to forget."""
        number = self._numbers.pop(file.inode, None)
        if number is not None:
            self._opened.discard(number)
            with contextlib.suppress(OSError):
                inotify_rm_watch(self._fd, number)

    def noticed(self, file: NamespaceFile) -> bool:
        """Tell whether somebody has opened a namespace since it is watched."""
        self._opened.update(self._events())
        number = self._numbers.get(file.inode)
        return number is not None and bool({number, _OVERFLOW} & self._opened)

    @contextlib.contextmanager
    def disregarded(self) -> Iterator[None]:
        """Overlook who opens one in the block: we do."""
        self._opened.update(self._events())
        try:
            yield
        finally:
            for _ in self._events():
                pass

    def close(self) -> None:
        """Let go of all of them; again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._numbers.clear()
        self._opened.clear()

    def _events(self) -> Iterator[int]:
        """Yield the numbers of the watches that were opened since the last time."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _LARGEST_READ)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                number, _, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                yield number
