"""A user namespace for this process, in which it may do what root may.

Whoever is alone in a process may take one, without any privilege
(user_namespaces(7)); nobody comes back from there. Files keep their owners: who
took the namespace is root in it, and is still himself outside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, NoReturn

from ._syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWUTS, unshare
from .privileges import lacking

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/capability.h
#: Who has them may map any user and group.
_CAPABILITIES = {6: "CAP_SETGID", 7: "CAP_SETUID"}

# include/uapi/linux/sockios.h and if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


class Refused(OSError):
    """The kernel has refused a step; `step` says which."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.step = step


def enter() -> None:
    """Take a user, a network and a mount namespace: ``unshare -Urnm``.

    The loopback interface is up.

    Raises:
        Refused: The kernel does not let us; some of it may be done.
    """
    become_root()
    _step("network", lambda: unshare(CLONE_NEWNET | CLONE_NEWNS))
    _step("loopback", _set_loopback_up)


def become_root() -> None:
    """Take a user namespace, and be root in it; ``unshare --map-root-user``.

    Raises:
        Refused: The kernel does not let us.
    """
    if lacking(_CAPABILITIES):
        _map_own_ids()
    else:
        _keep_all_ids()


def _map_own_ids() -> None:
    user, group = os.geteuid(), os.getegid()
    _step("user", lambda: unshare(CLONE_NEWUSER))
    for name, text in (
        ("setgroups", "deny"),  # or else a group that may do less could be left
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        _write_map("self", name, text)


def _keep_all_ids() -> None:
    """Map every id to itself; whoever is inside already may map but his own."""
    maps = {name: _identity(name) for name in ("uid_map", "gid_map")}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        _write_maps_of_parent(maps, reading)
    os.close(reading)
    try:
        _step("user", lambda: unshare(CLONE_NEWUSER))
        os.write(writing, b"!")
    finally:
        os.close(writing)
        _, status = os.waitpid(child, 0)
    if status:
        raise Refused("uid_map", OSError(errno.EPERM, os.strerror(errno.EPERM)))


def _write_maps_of_parent(maps: dict[str, str], turn: int) -> NoReturn:
    code = 1
    try:
        if os.read(turn, 1):
            for name, text in maps.items():
                _write_map(str(os.getppid()), name, text)
            code = 0
    finally:
        os._exit(code)


def _identity(name: str) -> str:
    """Return the map of all ids that there are here, each to itself."""
    with open(f"/proc/self/{name}", encoding="utf-8") as file:
        extents = [line.split() for line in file]
    return "".join(f"{first} {first} {count}\n" for first, _, count in extents)


def _write_map(process: str, name: str, text: str) -> None:
    def write() -> None:
        with open(f"/proc/{process}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    _step(name, write)


def try_out() -> Refused | None:
    """Tell why `enter` would not get through, in a child; None if it would.

    What it cannot undo must not be left half-done. It forks: call it where there
    is one thread only.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _report_trial(writing)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        report = pipe.read()
    _, status = os.waitpid(child, 0)
    if status == 0 and not report:
        return None
    number, _, step = report.partition(" ")
    code = int(number or errno.EPERM)
    return Refused(step or "user", OSError(code, os.strerror(code)))


def _report_trial(report: int) -> NoReturn:
    code = 1
    try:
        try:
            become_root()
            # as telling as a network namespace, and made in no time
            _step("network", lambda: unshare(CLONE_NEWUTS))
        except Refused as error:
            os.write(report, f"{error.errno} {error.step}".encode())
        code = 0
    finally:
        os._exit(code)


def _set_loopback_up() -> None:
    """``ip link set lo up``."""
    request = struct.pack("16sh14x", b"lo", _IFF_UP)  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def _step(name: str, take: Callable[[], None]) -> None:
    try:
        take()
    except OSError as error:
        raise Refused(name, error) from error
