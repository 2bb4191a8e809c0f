"""Why a machine refuses what this process has the privileges for, and what helps.

Asked for after a refusal, to explain it, and by the doctor before there is any.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from typing import TYPE_CHECKING

from .errors import KernelError
from .privileges import is_filtered, lacking

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The kinds of namespaces that a network takes (proc_sys_user(5)).
NAMESPACES = ("net", "mnt", "uts")
#: What helps in containers that let no more be mounted.
UNCOVERED = "in Docker: --security-opt systempaths=unconfined, or --privileged"

# include/uapi/linux/nsfs.h
_NS_GET_USERNS = 0xB701

# include/uapi/linux/capability.h
_CAPABILITIES = {
    12: "CAP_NET_ADMIN",
    13: "CAP_NET_RAW",
    18: "CAP_SYS_CHROOT",
    21: "CAP_SYS_ADMIN",
}


def refusal(
    error: OSError,
    action: str,
    namespace: str | None = None,
    *,
    namespaces: Iterable[str] = NAMESPACES,
) -> KernelError:
    """Return the error that says what was refused, and why, as far as can be told.

    Args:
        error: What the system call raised.
        action: Verb and object.
        namespace: The name of the namespace it was to happen in, or None.
        namespaces: The kinds of namespaces that were asked for.
    """
    number = error.errno or 0
    return KernelError(
        number, action, namespace, advice=advice(number, namespaces=namespaces)
    )


def advice(number: int, *, namespaces: Iterable[str] = NAMESPACES) -> str:
    """Return what may be behind a refusal and what helps; "" for nothing known.

    Args:
        number: The errno.
        namespaces: The kinds of namespaces that were asked for.
    """
    match number:
        case errno.EPERM | errno.EACCES:
            return forbidden()
        case errno.ENOSPC:
            return _too_many_namespaces(namespaces)
        case errno.EMFILE:
            return _too_many_files()
        case errno.EAGAIN:
            return too_many_processes()
    return ""


def forbidden() -> str:
    """Say what forbids the things that come with privileges."""
    if _home_belongs_to_others():
        return (
            "pytest is in a user namespace, and its network namespace is none of that: "
            "nobody would come back to it; unshare -Urnm takes both"
        )
    if missing := lacking_capabilities():
        options = " ".join(f"--cap-add={name[4:]}" for name in missing)
        return (
            f"this process lacks {' and '.join(missing)} "
            f"(in Docker: {options}, or --privileged)"
        )
    return (
        "this process has the capabilities for it, so "
        f"{' or '.join(security_modules()) or 'a security module forbids it'}"
    )


def _home_belongs_to_others() -> bool:
    """Tell whether the network namespace that we are in is not ours to return to."""
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(fcntl.ioctl(fd, _NS_GET_USERNS))
    except PermissionError:  # its owner is outside of our user namespace
        return True
    except OSError:  # Linux before 4.9 cannot tell
        return False
    finally:
        os.close(fd)
    return False


def lacking_capabilities() -> list[str]:
    """List the capabilities that some part of pytest-netns needs, and are missing."""
    return lacking(_CAPABILITIES)


def security_modules() -> list[str]:
    """Say what is in force that may forbid system calls to those with privileges."""
    found = []
    if is_filtered():
        found.append(
            "a seccomp filter forbids it (in Docker: --security-opt "
            "seccomp=unconfined, or a profile with unshare, setns and mount)"
        )
    if profile := _apparmor_profile():
        found.append(
            f"AppArmor's profile {profile!r} forbids it (in Docker: --security-opt "
            "apparmor=unconfined)"
        )
    return found


def _apparmor_profile() -> str | None:
    """Return the profile that confines this process, or None."""
    for path in (
        "/proc/thread-self/attr/apparmor/current",  # since Linux 5.8
        "/proc/thread-self/attr/current",
    ):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                label = file.read().strip("\0\n ")
        except OSError:
            continue
        profile, bracket, mode = label.rpartition(" (")
        return profile if bracket and mode == "enforce)" else None
    return None


def namespace_limit(kind: str) -> int | None:
    """Return how many namespaces of a kind this user may have; None for unknown."""
    return _number_in(f"/proc/sys/user/max_{kind}_namespaces")


def least_limit(kinds: Iterable[str] = NAMESPACES) -> tuple[str, int] | None:
    """Return the kind that this user may have the fewest of, and how many of it.

    None is for a kernel that tells of none.
    """
    limits = [(namespace_limit(kind), kind) for kind in kinds]
    known = [(limit, kind) for limit, kind in limits if limit is not None]
    if not known:
        return None
    limit, kind = min(known, key=lambda one: one[0])
    return kind, limit


def _too_many_namespaces(kinds: Iterable[str]) -> str:
    if (least := least_limit(kinds)) is None:
        return ""
    kind, limit = least
    return (
        f"/proc/sys/user/max_{kind}_namespaces is {limit}, and that is how many there "
        "are: those of networks that are not closed yet, and of other runs; as root: "
        f"sysctl -w user.max_{kind}_namespaces={max(10_000, 10 * limit)}"
    )


def _too_many_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"this process may have {soft} files open, and has them; "
    if soft < hard or hard == resource.RLIM_INFINITY:
        allowed = "unlimited" if hard == resource.RLIM_INFINITY else hard
        return text + f"before pytest: ulimit -n {allowed}"
    return text + (
        "as root, before pytest: ulimit -n 4096 (in Docker: --ulimit nofile=4096)"
    )


def too_many_processes() -> str:
    """Say which limits there are for processes and threads, and what helps."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = []
    if soft != resource.RLIM_INFINITY:
        limits.append(f"this user may have {soft} processes and threads (ulimit -u)")
    if (most := process_limit()) is not None:
        limits.append(
            f"this control group may have {most} processes and threads "
            "(in Docker: --pids-limit=-1)"
        )
    return "; ".join(limits)


def process_limit() -> int | None:
    """Return how many processes our control group may have; None for any number.

    It is that of cgroups(7), where it can be seen: of version 2, or of 1.
    """
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    for _, controllers, path in lines:
        if controllers not in {"", "pids"}:
            continue
        mounted = "/sys/fs/cgroup/pids" if controllers else "/sys/fs/cgroup"
        # in a container, the root of what is seen is the group itself
        for place in (mounted + path.rstrip("/"), mounted):
            limit = _number_in(f"{place}/pids.max")
            if limit is not None:
                return limit
    return None


def read_only_settings(error: OSError) -> str:
    """Say what to do where sysctls are read-only, and no /proc of our own helps."""
    return (
        "/proc/sys is mounted read-only, as containers have it, and another /proc "
        f"cannot be mounted ({error.strerror}); {UNCOVERED}"
    )


def _number_in(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # "max"
        return None
