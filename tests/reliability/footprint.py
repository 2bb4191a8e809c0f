"""What a machine has that a run of tests could have left there.

A machine is what the calling process sees: the processes of its PID namespace, the
interfaces of its network namespace, the mounts of its mount namespace, and the files
of the folders that are for temporary ones.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: Where programs put what shall not stay.
TEMPORARY = (Path("/tmp"), Path("/run"), Path("/dev/shm"))
_LOOK = (
    "ip -oneline address",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "nft list ruleset",
)
_SYSCTLS = ("ipv4/ip_forward", "ipv4/conf/*/forwarding", "ipv6/conf/*/forwarding")
#: What `unshare` says where there are as many namespaces as there may be.
_TOO_MANY = "No space left on device"

#: Options of `unshare`, by the kernel's words.
_OPTIONS = {"net": "--net", "mnt": "--mount", "uts": "--uts"}

#: One line for each thing.
Footprint = frozenset[str]


def take(within: Collection[Path] = ()) -> Footprint:
    """Return what there is now.

    Args:
        within: Folders whose files are nobody's business, but for hidden ones.
    """
    return frozenset([*_processes(), *_network(), *_mounts(), *_files(within)])


def _processes() -> Iterator[str]:
    """Yield all processes but this one, whose children have been waited for."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                where = [str((entry / "ns" / one).readlink()) for one in ("net", "uts")]
                yield f"process {entry.name} ({state}) {command.decode()!r} in {where}"


def _network() -> Iterator[str]:
    for _, name in socket.if_nameindex():
        yield f"interface {name}"
    for command in _LOOK:
        completed = subprocess.run(
            command.split(), check=True, text=True, stdout=subprocess.PIPE
        )
        for line in completed.stdout.splitlines():
            yield f"{command}: {' '.join(line.split())}"
    for pattern in _SYSCTLS:
        for path in Path("/proc/sys/net").glob(pattern):
            yield f"{path}: {path.read_text().strip()}"


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        _, _, _, root, point, *_ = line.split()
        yield f"mount of {root} at {point}"


def _files(within: Collection[Path]) -> Iterator[str]:
    for top in TEMPORARY:
        device = top.stat().st_dev
        for folder, folders, names in os.walk(top):
            here = Path(folder)
            is_ours = any(here.is_relative_to(one) for one in within)
            for name in (*folders, *names):
                if not is_ours or name.startswith("."):
                    yield f"file {here / name}"
            # what is mounted there is not temporary
            folders[:] = [one for one in folders if _device(here / one) == device]


def _device(path: Path) -> int | None:
    try:
        return path.lstat().st_dev
    except OSError:
        return None


class NamespaceCount:
    """Counts the namespaces of a kind in a user namespace, by the kernel's own count.

    The kernel makes no more of them than it is allowed to, and its limits are those
    of the user namespace: lowering them there is nobody else's business.

    Args:
        kind: ``"net"``, ``"mnt"`` or ``"uts"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._limit = Path(f"/proc/sys/user/max_{kind}_namespaces")
        self._free = self._limit.read_text()
        assert self.exceeds(0), "the machine's own is one"

    def exceeds(self, count: int) -> bool:
        """Tell whether there are more than `count`."""
        self._limit.write_text(str(count + 1))
        try:
            completed = subprocess.run(
                [
                    "unshare",
                    {"mnt": "--mount"}.get(self.kind, f"--{self.kind}"),
                    "true",
                ],
                text=True,
                stderr=subprocess.PIPE,
                check=False,
            )
        finally:
            self._limit.write_text(self._free)
        assert not completed.returncode or _TOO_MANY in completed.stderr, completed
        return bool(completed.returncode)
