"""A /proc of our own, where the one that is mounted is read-only: as in Docker.

Settings of the network follow the thread that writes them (``net_ctl_root`` in the
kernel's net/sysctl_net.c), whichever /proc it goes through.
"""

from __future__ import annotations

import functools
import os
import threading

from ._syscalls import (
    CLONE_NEWNS,
    MS_BIND,
    MS_DATA,
    MS_SLAVE,
    detach,
    mount,
    unshare,
)

_SETTINGS = "/proc/sys/net"


def settings_are_read_only() -> bool:
    """Tell whether nothing below /proc/sys/net can be written, whoever tries."""
    try:
        return bool(os.statvfs(_SETTINGS).f_flag & os.ST_RDONLY)
    except OSError:
        return False  # there are none


@functools.cache
def own_settings() -> int:
    """Return a descriptor of /proc/sys in a /proc that nobody else sees.

    The descriptor keeps it, and stays open as long as the process lives.

    Raises:
        OSError: The kernel mounts none, as for root of a user namespace where the
            machine's own is covered in part (mount_namespaces(7)).
    """
    opened: list[int | OSError] = []
    thread = threading.Thread(
        target=lambda: opened.append(_mount_and_open()), name="mounts /proc"
    )
    thread.start()
    thread.join()
    (result,) = opened
    if isinstance(result, OSError):
        raise result
    return result


def _mount_and_open() -> int | OSError:
    """Mount a /proc in a mount namespace that goes with the calling thread."""
    try:
        unshare(CLONE_NEWNS)
        mount("", "/proc", "", MS_SLAVE)
        mount("proc", "/proc", "proc", MS_DATA)
        return os.open("/proc/sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return error


def make_settings_writable(scratch: str) -> None:
    """Lay a writable /proc/sys/net over one that is not, in this mount namespace.

    Args:
        scratch: A directory to cover for a moment.

    Raises:
        OSError: The kernel mounts no /proc.
    """
    mount("proc", scratch, "proc", MS_DATA)
    try:
        mount(f"{scratch}/sys/net", _SETTINGS, "", MS_BIND)
    finally:
        detach(scratch)
