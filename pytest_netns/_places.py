"""Where the kernel and iproute2 show network namespaces in the file system.

Imported at the start of a run in a user namespace, so it needs little itself.
"""

from __future__ import annotations

import os

from ._syscalls import MS_BIND, MS_DATA, MS_RDONLY, MS_REC, mount

#: Where ip-netns(8) looks for names.
NAMES = "/run/netns"
#: File systems below /sys that programs look for: a JVM or Go program reads its
#: limits from the control groups.
_BELOW_SYS = ("/sys/fs/cgroup", "/sys/fs/bpf")


def mount_sys() -> None:
    """Show this namespace's interfaces in /sys, and keep what is mounted below it."""
    kept = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC)
        for path in _BELOW_SYS
        if os.path.ismount(path)
    }
    try:
        _mount_own_sys()
        for path, fd in kept.items():
            mount(f"/proc/thread-self/fd/{fd}", path, "", MS_BIND | MS_REC)
    finally:
        for fd in kept.values():
            os.close(fd)


def _mount_own_sys() -> None:
    """Mount the /sys of the calling thread's network namespace, where there is a /sys.

    Raises:
        PermissionError: The kernel does not let us; the machine's interfaces are
            out of sight then: no /sys is better than a wrong one.
    """
    if not os.path.isdir("/sys"):
        return
    try:
        try:
            mount("sysfs", "/sys", "sysfs", MS_DATA)
        except PermissionError:
            # whoever has but a read-only /sys, as in a container, and is root of a
            # user namespace alone, gets no other (mount_too_revealing() in the
            # kernel's fs/namespace.c)
            mount("sysfs", "/sys", "sysfs", MS_DATA | MS_RDONLY)
    except PermissionError:
        for path in ("/sys/class/net", "/sys/devices/virtual/net"):
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", MS_DATA | MS_RDONLY, "mode=755")
        raise
