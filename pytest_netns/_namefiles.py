"""Names under /run/netns for people: ``ip netns list`` and ``ip netns exec``.

A name is a file that the namespace is mounted on, as ip-netns(8) has it. While it
is there the namespace outlives its process, so each name carries that process's
number, and whoever makes names removes those of processes that are gone.

A process may have its number in another PID namespace, as in a container that
shares the directory. So it also has a lock on each namespace that has a name, which
the kernel takes away when the process and its watcher are gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from ._locks import locked
from ._places import NAMES
from ._syscalls import MS_BIND, MS_REC, MS_SHARED, detach, mount
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from ._nsfile import NamespaceFile
    from ._watcher import Watcher

#: NETNS_RUN_DIR of iproute2.
DIRECTORY = Path(NAMES)
_NAME = re.compile(r"pytest-(\d+)-.+")


#: Tells a directory that we made from one that was there: it goes with our last name.
_MADE_BY_US = stat.S_ISVTX

#: struct flock (fcntl_locking(2)): type, whence, start, length and process.
_LOCK = "hhqqi4x"


class NameFiles:
    """The names of one network's namespaces."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        #: namespace -> (its path, the watcher's chore)
        self._names: dict[str, tuple[Path, int]] = {}

    def give(self, files: Mapping[str, NamespaceFile]) -> None:
        """Give a name to those of `files` that have none; ``ip netns attach``.

        Raises:
            KernelError: The file cannot be made, or nothing be mounted on it.
        """
        unnamed = [file for name, file in files.items() if name not in self._names]
        if not unnamed:
            return
        with _alone():
            try:
                _make_directory()
                sweep()
            except OSError as error:
                raise KernelError(
                    error.errno or 0, f"make {DIRECTORY} for its name", unnamed[0].name
                ) from error
            for file in unnamed:
                self._name(file)

    def take(self, namespace: str) -> None:
        """Take a namespace's name away, if it has one; ``ip netns delete``."""
        if namespace in self._names:
            with _alone():
                self._unname(namespace)

    def _name(self, file: NamespaceFile) -> None:
        path = _free_path(f"pytest-{os.getpid()}-{file.name}")
        chore = self._watcher.leave_chore(f"unname {path}")
        self._names[file.name] = path, chore
        try:
            _lock(file.fd)
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
            mount(file.path, str(path), "", MS_BIND)
        except OSError as error:
            self._unname(file.name)
            raise KernelError(
                error.errno or 0, f"give it the name {path}", file.name
            ) from error

    def _unname(self, namespace: str) -> None:
        path, chore = self._names.pop(namespace)
        _remove(path)
        self._watcher.drop_chore(chore)
        _remove_directory()


def _alone() -> AbstractContextManager[None]:
    """Let no other run make or remove names meanwhile."""
    return locked(str(DIRECTORY.parent))


def sweep() -> None:
    """Remove the names that processes which are gone have left; no others."""
    for path in DIRECTORY.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and not _is_held(path, int(match[1])):
            _remove(path)


def _is_held(path: Path, pid: int) -> bool:
    """Tell whether somebody has locked the namespace of that name, or `pid` has it.

    A run has a descriptor of it as long as it is alive; a process that was given the
    number of a dead one has not.
    """
    if _is_locked(path):
        return True
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
    return False


def _lock(fd: int) -> None:
    """Lock a namespace as long as anybody has this descriptor, or a copy of it.

    Not by flock(2): that lock is for changing what is in a namespace.
    """
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _range(fcntl.F_RDLCK))


def _is_locked(path: Path) -> bool:
    """Tell whether a run has locked the namespace of a name."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _range(fcntl.F_WRLCK))
        finally:
            os.close(fd)
        kind: int = struct.unpack(_LOCK, found)[0]
        return kind != fcntl.F_UNLCK
    return False


def _range(kind: int) -> bytes:
    return struct.pack(_LOCK, kind, os.SEEK_SET, 0, 0, 0)


def _make_directory() -> None:
    """Make what ``ip netns add`` makes: a directory that is mounted on itself.

    If it were not, the first such command would do it later, and our names were
    there twice.
    """
    if not DIRECTORY.exists():
        DIRECTORY.mkdir()
        DIRECTORY.chmod(0o755 | _MADE_BY_US)
    try:
        mount("", str(DIRECTORY), "", MS_SHARED | MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is no mount point
            raise
        mount(str(DIRECTORY), str(DIRECTORY), "", MS_BIND | MS_REC)
        mount("", str(DIRECTORY), "", MS_SHARED | MS_REC)


def _remove_directory() -> None:
    """Remove the directory with the last name, if we made it."""
    if any(DIRECTORY.iterdir()) or not DIRECTORY.stat().st_mode & _MADE_BY_US:
        return
    with contextlib.suppress(OSError):  # somebody is in it: let it be
        detach(str(DIRECTORY))
        DIRECTORY.rmdir()


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
