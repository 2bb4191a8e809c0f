"""Names under /run/netns for people: ``ip netns list`` and ``ip netns exec``.

A name is a file that the namespace is mounted on, as ip-netns(8) has it. While it
is there the namespace outlives its process, so each name carries that process's
number, and whoever makes names removes those of processes that are gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ._syscalls import MS_BIND, detach, mount
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._nsfile import NamespaceFile
    from ._watcher import Watcher

#: NETNS_RUN_DIR of iproute2.
DIRECTORY = Path("/run/netns")
_NAME = re.compile(r"pytest-(\d+)-.+")


class NameFiles:
    """The names of one network's namespaces."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        #: namespace -> (its path, the watcher's chore)
        self._names: dict[str, tuple[Path, int]] = {}
        self._made_directory = False

    def path_of(self, namespace: str) -> Path | None:
        """Return the file of a namespace's name, or None if it has none."""
        named = self._names.get(namespace)
        return named and named[0]

    def give(self, files: Mapping[str, NamespaceFile]) -> None:
        """Give a name to those of `files` that have none; ``ip netns attach``.

        Raises:
            KernelError: The file cannot be made, or nothing be mounted on it.
        """
        unnamed = [name for name in files if name not in self._names]
        if not unnamed:
            return
        if not self._names:
            sweep()
        for name in unnamed:
            self._name(files[name])

    def take(self, namespace: str) -> None:
        """Take a namespace's name away, if it has one; ``ip netns delete``."""
        named = self._names.pop(namespace, None)
        if named is None:
            return
        path, chore = named
        _remove(path)
        self._watcher.drop_chore(chore)
        if not self._names and self._made_directory:
            with contextlib.suppress(OSError):  # somebody else has put names there
                DIRECTORY.rmdir()

    def _name(self, file: NamespaceFile) -> None:
        path = _free_path(f"pytest-{os.getpid()}-{file.name}")
        chore = self._watcher.leave_chore(f"unname {path}")
        self._names[file.name] = path, chore
        try:
            self._made_directory |= _make_empty(path)
            mount(file.path, str(path), "", MS_BIND)
        except OSError as error:
            self.take(file.name)
            raise KernelError(
                error.errno or 0, f"give it the name {path}", file.name
            ) from error


def sweep() -> None:
    """Remove the names that processes which are gone have left; no others."""
    names: list[Path] = []
    with contextlib.suppress(FileNotFoundError):
        names = [*DIRECTORY.iterdir()]
    for path in names:
        match = _NAME.fullmatch(path.name)
        if match and not _is_held(path, int(match[1])):
            _remove(path)


def _is_held(path: Path, pid: int) -> bool:
    """Tell whether process `pid` has a descriptor of the namespace of that name.

    A run has one as long as it is alive; a process that was given the number of
    a dead one has not.
    """
    try:
        named = path.stat()
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return True  # not ours to judge
    except OSError:
        return False
    for entry in descriptors:
        with contextlib.suppress(OSError):
            held = os.stat(f"/proc/{pid}/fd/{entry}")
            if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
                return True
    # between the making of the file and the mount upon it
    return not os.path.ismount(path) and _is_young(path)


def _is_young(path: Path) -> bool:
    import time  # on the rare way

    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < 10
    return False


def _make_empty(path: Path) -> bool:
    """Make an empty file; return whether its directory was made for it.

    Another run may remove the directory at the moment when it is empty.
    """
    made = False
    while True:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(mode=0o755)
                made = True
        else:
            return made


def _free_path(name: str) -> Path:
    """Return a path that is free: two networks of a process may have one name."""
    path, number = DIRECTORY / name, 1
    while os.path.lexists(path):
        number += 1
        path = DIRECTORY / f"{name}-{number}"
    return path


def _remove(path: Path) -> None:
    try:
        detach(str(path))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):  # nothing is mounted there
            raise
    # that also ends the copies of the mount in other mount namespaces
    path.unlink(missing_ok=True)
