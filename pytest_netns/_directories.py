"""Ways to files that this process writes: nobody leads it elsewhere.

It may be root, and write below a directory such as ``/tmp`` where everybody may have
put something. So each directory is opened by its name in the one before, and what
was checked is what is used, whatever happens to the names meanwhile.

A link is followed if its owner is root, this process's user, or the user behind
sudo; without sudo also if it belongs to the owner of the directory that it is in,
unless all the world may write there. (The kernel's own rule is similar, where it
is switched on: protected_symlinks in proc_sys_fs(5).) The same goes for pipes and
devices.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from ._invoker import give, invoker, trusted_users

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A step on a way, to whatever has the name; and one to a directory, to read it.
STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: No pipe without a writer is to be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Not for all the world to write to, whatever the umask is.
_MODE = 0o775
#: MAXSYMLINKS of the kernel's include/linux/namei.h.
_MOST_LINKS = 40


@contextlib.contextmanager
def directory(path: str, *, make: bool = False) -> Iterator[int]:
    """Give a descriptor of a directory, to be used as ``dir_fd``.

    Args:
        path: The directory.
        make: Whether to make those that are missing; they belong to the user behind
            sudo, if there is one.

    Raises:
        OSError: It cannot be opened or made, or a link is not to be trusted; the
            error names `path`.
    """
    fd = open_path(path, make=make)
    try:
        yield fd
    finally:
        os.close(fd)


def make_directories(path: str) -> None:
    """Make a directory and those above it, as far as they are missing.

    Raises:
        OSError: See `directory`.
    """
    with directory(path, make=True):
        pass


def open_path(path: str, *, start: int | None = None, make: bool = False) -> int:
    """Return a descriptor (O_PATH of open(2)) of what a path leads to.

    Args:
        path: The path.
        start: A descriptor of the directory that it is relative to; None is the
            current one.
        make: Whether to make what is missing, as directories.

    Raises:
        OSError: Something is missing, or not to be trusted; names `path`.
    """
    try:
        return _walk(path, start, make=make)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def make_directory(name: str, parent: int) -> int:
    """Make a directory that was not there, and return a descriptor of it.

    It belongs to the user behind sudo, if there is one.

    Args:
        name: Its name.
        parent: A descriptor of the directory that it is made in.

    Raises:
        FileExistsError: There is something of that name.
        OSError: It cannot be made.
    """
    os.mkdir(name, _MODE, dir_fd=parent)
    made = os.open(name, FOLDER, dir_fd=parent)
    give(made)
    return made


def give_files(folder: int) -> None:
    """Give the files of a directory that this process has made to the user behind sudo.

    Args:
        folder: A descriptor of the directory.
    """
    if invoker() is None:
        return
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # it is a link, or has gone
            fd = os.open(name, _FILE, dir_fd=folder)
            try:
                # what has further names is perhaps in use elsewhere
                if os.fstat(fd).st_nlink == 1:
                    give(fd)
            finally:
                os.close(fd)


def _walk(path: str, start: int | None, *, make: bool) -> int:
    way = _Way(os.open("/" if path.startswith("/") else ".", STEP, dir_fd=start))
    try:
        names = path.split("/")[::-1]
        while names:
            if (name := names.pop()) not in {"", "."}:
                names += reversed(way.go(name, make=make))
    except BaseException:
        os.close(way.fd)
        raise
    return way.fd


class _Way:
    """A way through directories; `fd` is how far it has come."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._links = 0

    def go(self, name: str, *, make: bool) -> list[str]:
        """Go a step further; return the names that come next, if it is a link."""
        child = _open(name, self.fd, make=make)
        try:
            status = os.fstat(child)
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                _check(name, status, os.fstat(self.fd))
            if not stat.S_ISLNK(status.st_mode):
                self.fd, child = child, self.fd
                return []
            self._links += 1
            if self._links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink("", dir_fd=child)
        finally:
            os.close(child)
        if target.startswith("/"):
            os.close(self.fd)
            self.fd = os.open("/", STEP)
        return target.split("/")


def _open(name: str, parent: int, *, make: bool) -> int:
    """Open what a directory has under a name, links themselves."""
    flags = STEP
    # in /proc there are links that their text does not lead along, and nobody's own
    if os.fstat(parent).st_dev == os.stat("/proc").st_dev:
        flags &= ~os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    try:
        return make_directory(name, parent)
    except FileExistsError:  # somebody else has made it meanwhile
        return os.open(name, STEP, dir_fd=parent)


def _check(name: str, one: os.stat_result, parent: os.stat_result) -> None:
    """Check that nobody has put a link, a pipe or a device there as a trap.

    Raises:
        PermissionError: It is not to be trusted; says whose it is.
    """
    trusted = trusted_users()
    if invoker() is None and not parent.st_mode & stat.S_IWOTH:
        trusted.add(parent.st_uid)
    if one.st_uid not in trusted:
        what = "link" if stat.S_ISLNK(one.st_mode) else "pipe or device"
        why = f"{name!r} is a {what} of user {one.st_uid}, which may be a trap"
        raise PermissionError(errno.EACCES, why)
