"""Captures and reports as files that are there whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from importlib.metadata import version
from typing import TYPE_CHECKING

from . import _pcapng
from ._directories import directory, open_path
from ._invoker import give
from .errors import NetnsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from ._frame import Frame

_WRITE = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC
_NEW = _WRITE | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def save(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    places: Iterable[_pcapng.Place] = (),
    *,
    comment: str = "",
    dropped: int | None = None,
) -> None:
    """Write packets to a pcapng file, in place of what `path` was before.

    The file is written beside it under another name, and renamed when it is whole;
    whatever goes wrong before, `path` is as it was. A symbolic link is replaced
    itself, not what it points to. A device or a pipe cannot be replaced, and is
    written to. Directories are not made. Under sudo it belongs to who has called that.

    Args:
        path: Where to.
        frames: The packets, in their order.
        places: The interfaces that they come from.
        comment: What a reader should know of the file.
        dropped: How many packets the kernel dropped in all, or None; see
            `_pcapng.Writer`.

    Raises:
        OSError: The file cannot be written; it names `path`.
    """
    name = os.fsdecode(path)
    beside = f".{secrets.token_hex(8)}.pcapng"
    with _named(name, beside), _opened(name, beside) as file:
        _pcapng.write(
            file,
            frames,
            places,
            comment=comment,
            dropped=dropped,
            application=f"pytest-netns {version('pytest-netns')}",
        )


def save_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file in place of what `path` was before, in the same way.

    Raises:
        OSError: The file cannot be written; it names `path`.
    """
    name = os.fsdecode(path)
    beside = f".{secrets.token_hex(8)}.new"
    with _named(name, beside), _opened(name, beside) as file:
        file.write(text.encode())


@contextlib.contextmanager
def _named(name: str, beside: str) -> Iterator[None]:
    """Let errors name the file that was asked for, not a part of its path, or none."""
    try:
        yield
    except NetnsError:
        raise  # is not about the file
    except OSError as error:
        parts = {None, beside, *os.path.split(name)}
        if error.errno is None or error.filename not in parts:
            raise
        raise OSError(error.errno, error.strerror, name) from error


@contextlib.contextmanager
def _opened(name: str, beside: str) -> Iterator[BinaryIO]:
    parent, base = os.path.split(name)
    if parent == "/dev":  # /dev/stdout may be a link to a file, and is to stay one
        with open(name, "wb") as file:
            yield file
        return
    with directory(parent) as folder:
        device = _open_device(base, folder)
        if device is None:
            with _replacing(base, beside, folder) as file:
                yield file
        else:
            with open(device, "wb") as file:
                yield file


def _open_device(name: str, folder: int) -> int | None:
    """Open a device or a pipe, or a link to one; None is for a file, or for nothing.

    A trap is nothing: it is replaced like a file.
    """
    try:
        found = open_path(name, start=folder)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        mode = os.fstat(found).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if stat.S_ISREG(mode):
            return None
        # what was looked at, whatever has its name by now
        return os.open(f"/proc/self/fd/{found}", _WRITE)
    finally:
        os.close(found)


@contextlib.contextmanager
def _replacing(name: str, beside: str, folder: int) -> Iterator[BinaryIO]:
    """Give a file to write, and put it in the place of `name` when it is whole.

    It has no name until then, where the file system knows such files: it goes with
    this process, if that is killed.
    """
    descriptor = _open_nameless(folder)
    is_nameless = descriptor is not None
    if descriptor is None:
        descriptor = os.open(beside, _NEW, 0o644, dir_fd=folder)  # less the umask
    try:
        with open(descriptor, "wb") as file:
            give(descriptor)
            yield file
            file.flush()
            if is_nameless and _link(descriptor, name, folder):
                return
            if is_nameless:
                _link(descriptor, beside, folder)
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise


def _open_nameless(folder: int) -> int | None:
    """Open a new file that has no name (open(2), O_TMPFILE); None where none can be.

    Network file systems, for example, know none.
    """
    with contextlib.suppress(OSError):
        return os.open(".", _WRITE | os.O_TMPFILE, 0o644, dir_fd=folder)
    return None  # an error of the folder itself comes again


def _link(descriptor: int, name: str, folder: int) -> bool:
    """Give a file without a name one; False if something has that name already."""
    # only with a descriptor of a folder does Python follow the link (linkat(2))
    try:
        os.link(
            f"/proc/self/fd/{descriptor}",
            name,
            src_dir_fd=folder,
            dst_dir_fd=folder,
            follow_symlinks=True,
        )
    except FileExistsError:
        return False
    return True
