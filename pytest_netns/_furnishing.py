"""What a run in a user namespace finds in its file system: its own /sys, and names.

As far as the machine lets us; nothing of it is needed to build networks.
"""

from __future__ import annotations

import contextlib
import os

from ._places import NAMES, mount_sys
from ._syscalls import (
    MS_BIND,
    MS_DATA,
    MS_REC,
    MS_SLAVE,
    detach,
    mount,
)


def furnish() -> None:
    """Mount what belongs to the new namespaces, where only this process sees it."""
    with contextlib.suppress(OSError):  # it may be said of mount points only
        mount("", "/", "", MS_REC | MS_SLAVE)
    with contextlib.suppress(OSError):  # who sees but a part of /sys gets no other one
        mount_sys()
    with contextlib.suppress(OSError):
        _make_room_for_names()


def _make_room_for_names() -> None:
    """Let ``ip netns add`` make names, which those outside do not see."""
    if os.path.isdir(NAMES):
        mount("tmpfs", NAMES, "tmpfs", MS_DATA, "mode=755")
        return
    _cover(os.path.dirname(NAMES))
    os.mkdir(NAMES)


def _cover(directory: str) -> None:
    """Lay a directory of our own over one that is not, with all that is in it."""
    covered = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # after the mount, nobody finds the entries by their names
        entries = list(os.scandir(directory))
        mount("tmpfs", directory, "tmpfs", MS_DATA, "mode=755")
        try:
            for entry in entries:
                _show(entry, f"/proc/self/fd/{covered}/{entry.name}")
        except BaseException:
            detach(directory)
            raise
    finally:
        os.close(covered)


def _show(entry: os.DirEntry[str], source: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(source), entry.path)
        return
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(entry.path)
    else:
        os.close(os.open(entry.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    mount(source, entry.path, "", MS_BIND | MS_REC)
