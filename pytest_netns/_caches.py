"""What a run as root leaves in a user's own directory, given to that user.

Else the next run without sudo cannot write it: pytest's cache, compiled modules,
coverage data. Only what root has written since this process began is given away, and
only if it lies in a directory that is the user's already; each is opened by its name
in the one before, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ._directories import FOLDER, STEP, directory
from ._invoker import give, invoker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Timestamps of files lag behind by up to a tick of the kernel's, or what their file
#: system stores; in seconds.
_LAG = 2.0
_COMPILED = "__pycache__"


def give_back(root: str, names: Iterable[str], trees: Iterable[str]) -> None:
    """Give what this run has left below a directory to the user behind sudo.

    That is what this process has compiled, and what is asked for. Nothing happens if
    the directory is not the user's, or there is no such user.

    Args:
        root: The directory.
        names: Patterns of files in it.
        trees: Paths, below it, of files and of directories with all that they hold.
    """
    owner = invoker()
    if owner is None:
        return
    with contextlib.suppress(OSError), directory(root) as found:
        if os.fstat(found).st_uid != owner[0]:
            return
        giver = _Giver(found, owner[0])
        for name in _names_in(found):
            if any(fnmatchcase(name, pattern) for pattern in names):
                giver.give([name])
        for path in trees:
            giver.give(_below(root, path), deep=True)
        for folder in _folders_of_modules():
            compiled = os.path.join(folder, _COMPILED)
            if giver.is_new(compiled):  # of many modules, hardly any were compiled now
                giver.give(_below(root, compiled), deep=True)


class _Giver:
    """Gives away what is below a directory of a user.

    Args:
        root: A descriptor of the directory.
        user: The user.
    """

    def __init__(self, root: int, user: int) -> None:
        self._root = root
        self._user = user
        self._since = _birth() - _LAG

    def is_new(self, path: str) -> bool:
        """Tell whether anything has come into a directory since this process began."""
        with contextlib.suppress(OSError):
            return os.stat(path).st_mtime >= self._since
        return False

    def give(self, names: list[str], *, deep: bool = False) -> None:
        """Give away what a way leads to, and with `deep` all that is in it.

        Nothing happens if there is nothing, or if it is not below the directory.
        """
        if not names or not set(names).isdisjoint({"", ".", ".."}):
            return
        with contextlib.ExitStack() as closing, contextlib.suppress(OSError):
            parent = self._root
            for name in names[:-1]:
                parent = os.open(name, FOLDER, dir_fd=parent)
                closing.callback(os.close, parent)
            self._give(names[-1], parent, deep=deep)

    def _give(self, name: str, parent: int, *, deep: bool) -> None:
        if os.fstat(parent).st_uid != self._user:
            return
        fd = os.open(name, STEP, dir_fd=parent)
        try:
            status = os.fstat(fd)
            is_folder = stat.S_ISDIR(status.st_mode)
            # what has further names is perhaps in use elsewhere
            is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            if (is_folder or is_file) and status.st_mtime >= self._since:
                give(fd)
            if deep and is_folder:
                for one in _names_in(fd):
                    with contextlib.suppress(OSError):  # it has gone
                        self._give(one, fd, deep=True)
        finally:
            os.close(fd)


def _names_in(found: int) -> list[str]:
    """List what is in a directory of which there is a descriptor, be it an O_PATH."""
    folder = os.open(".", FOLDER, dir_fd=found)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)


def _below(root: str, path: str) -> list[str]:
    """Return the way from a directory down to a path; nothing if it is elsewhere."""
    with contextlib.suppress(ValueError):
        return list(Path(path).relative_to(root).parts)
    return []


def _folders_of_modules() -> Iterator[str]:
    """Yield the directories of what was imported, each once."""
    files = [getattr(one, "__file__", None) for one in list(sys.modules.values())]
    yield from dict.fromkeys(
        os.path.dirname(file) for file in files if isinstance(file, str)
    )


def _birth() -> float:
    """Return when this process began, in seconds since the epoch."""
    with open("/proc/self/stat", "rb") as file:
        # the name may hold anything; see proc_pid_stat(5)
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
