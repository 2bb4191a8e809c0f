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
from .errors import NetnsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from ._frame import Frame

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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
    written to. Directories are not made.

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
    beside = os.path.join(os.path.dirname(name), f".{secrets.token_hex(8)}.pcapng")
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
    beside = os.path.join(os.path.dirname(name), f".{secrets.token_hex(8)}.new")
    with _named(name, beside), _opened(name, beside) as file:
        file.write(text.encode())


@contextlib.contextmanager
def _named(name: str, beside: str) -> Iterator[None]:
    """Let errors name the file that was asked for, not the one beside it, or none."""
    try:
        yield
    except NetnsError:
        raise  # is not about the file
    except OSError as error:
        if error.errno is None or error.filename not in {None, beside}:
            raise
        raise OSError(error.errno, error.strerror, name) from error


@contextlib.contextmanager
def _opened(name: str, beside: str) -> Iterator[BinaryIO]:
    if _is_replaceable(name):
        with _replacing(name, beside) as file:
            yield file
    else:
        with open(name, "wb") as file:
            yield file


def _is_replaceable(name: str) -> bool:
    """Tell a file, present or future, from a device or pipe, or a link to one."""
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    # /dev/stdout may be a link to a file, and is to stay one.
    return stat.S_ISREG(mode) and os.path.dirname(name) != "/dev"


@contextlib.contextmanager
def _replacing(name: str, beside: str) -> Iterator[BinaryIO]:
    descriptor = os.open(beside, _NEW, 0o644)  # less the umask
    try:
        with open(descriptor, "wb") as file:
            yield file
        os.replace(beside, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
