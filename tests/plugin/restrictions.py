"""Commands that run others with less than a machine has: as containers do."""

from __future__ import annotations

import sys
from pathlib import Path

FILTERED = Path(__file__).with_name("filtered.py")


def mounted(script: str) -> list[str]:
    """Run a command in a mount namespace of its own, after some lines of sh."""
    return ["unshare", "--mount", "sh", "-euc", f'{script}\nexec "$@"', "sh"]


def without_capability(name: str) -> list[str]:
    """Run a command as root that lacks one capability."""
    return ["setpriv", f"--bounding-set=-{name}", f"--inh-caps=-{name}"]


def without_calls(*names: str) -> list[str]:
    """Run a command that may not make some system calls."""
    return [sys.executable, str(FILTERED), ",".join(names)]


def rootless(script: str = "") -> list[str]:
    """Run a command as root of a user namespace, after some lines of sh there."""
    return [
        *("unshare", "--user", "--map-root-user", "--net", "--mount"),
        *("sh", "-euc", f'{script}\nexec "$@"', "sh"),
    ]


#: What Docker does to /proc/sys.
READ_ONLY_SETTINGS = """
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
"""
#: What Docker covers (`maskedPaths` of a container's configuration); a mount in
#: /proc or /sys that covers something keeps others from being mounted by root of a
#: user namespace (mount_too_revealing() in the kernel's fs/namespace.c).
COVERED_PATHS = """
    for path in /proc/acpi /proc/kcore /proc/keys /proc/timer_list /sys/firmware; do
        if [ -d $path ]; then
            mount -t tmpfs -o ro none $path
        elif [ -e $path ]; then
            mount --bind /dev/null $path
        fi
    done
"""
READ_ONLY_SYS = "mount -o remount,bind,ro /sys"
#: A root directory where nothing is mounted, with the machine's directories in it, but
#: for /tmp and /run, and with one more: a directory to work in.
_PLAIN_ROOT = """
    mount -t tmpfs none {place}
    mkdir {place}/root
    for directory in /*; do
        if [ -L $directory ]; then
            cp -P $directory {place}/root$directory
        elif [ $directory != /tmp ] && [ $directory != /run ] && [ -d $directory ]; then
            mkdir {place}/root$directory
            mount --rbind $directory {place}/root$directory
        fi
    done
    for directory in {kept}; do
        mkdir -p {place}/root$directory
        mount --rbind $directory {place}/root$directory
    done
    mkdir {place}/root/a-chroot
    mount --rbind {work} {place}/root/a-chroot
    cd {place}
    exec chroot {place}/root env --chdir=/a-chroot HOME=/a-chroot TMPDIR=/a-chroot "$@"
"""


def changed_root(place: Path, work: Path) -> list[str]:
    """Run a command in a plain chroot, where nothing is mounted on the root itself.

    Args:
        place: An empty directory for it.
        work: The directory that is ``/a-chroot`` there.
    """
    kept = f"{sys.prefix} {Path(__file__).parents[2]}"
    return mounted(_PLAIN_ROOT.format(place=place, work=work, kept=kept))
