"""What may this process do? Answers with a reason that people can act on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# include/uapi/linux/capability.h
NEEDED_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}


def check_privileges(
    *, program: str = "python -m pytest", rootless: str | None = None
) -> None:
    """Check that this process may create network namespaces.

    Args:
        program: What the message tells people to run.
        rootless: What it says of user namespaces, if the caller knows.

    Raises:
        PrivilegeError: It may not; the message says what is missing and the
            ways to get it.
        MissingFeature: There is no /proc to tell, and to build networks by.
    """
    missing = missing_capabilities()
    if obstacle := proc_obstacle():
        from .errors import MissingFeature

        raise MissingFeature(obstacle)
    if missing:
        from .errors import PrivilegeError  # a long tree, which most runs never need

        raise PrivilegeError(explain(missing, program=program, rootless=rootless))


def proc_obstacle() -> str | None:
    """Return what is wrong with /proc, or None."""
    if os.path.exists("/proc/thread-self/ns/net"):
        return None
    if not os.path.exists("/proc/self"):
        return (
            "/proc is not mounted, and networks are built, entered and left by it; "
            "as root: mount -t proc proc /proc"
        )
    return (
        "the kernel has no network namespaces: /proc/thread-self/ns/net is not there; "
        "a kernel with CONFIG_NET_NS has them"
    )


def missing_capabilities() -> list[str]:
    """List the capabilities that are needed and not effective (capabilities(7))."""
    return lacking(NEEDED_CAPABILITIES)


def lacking(capabilities: Mapping[int, str]) -> list[str]:
    """Name those capabilities, by number, that the calling thread has not in effect."""
    effective = int("".join(status_of("thread-self", "CapEff")) or "0", 16)
    return [name for bit, name in capabilities.items() if not effective >> bit & 1]


def is_filtered() -> bool:
    """Tell whether seccomp filters what this process may ask of the kernel."""
    # SECCOMP_MODE_FILTER, include/uapi/linux/seccomp.h
    return status_of("thread-self", "Seccomp") == ["2"]


def status_of(process: int | str, field: str) -> list[str]:
    """Return the words that proc_pid_status(5) has of a process; none if it is gone.

    Args:
        process: Its number, or "thread-self" for the calling thread.
        field: What is wanted to know.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_bytes().splitlines()
    except OSError:
        return []
    name = f"{field}:".encode()
    found = (line for line in lines if line.startswith(name))
    return next(found, b"").decode().split()[1:]


def explain(
    missing: list[str],
    *,
    program: str = "python -m pytest",
    rootless: str | None = None,
) -> str:
    """Say what is missing, and how to get it."""
    who = (
        "root in a restricted container"
        if os.geteuid() == 0
        else f"user {os.geteuid()}"
    )
    text = (
        f"network namespaces need {' and '.join(missing)}, which {who} does not have\n"
        "  either: run as root, for example\n"
        f'    sudo -E env PATH="$PATH" {program}'
    )
    if os.geteuid() == 0:
        text += "\n    (in Docker: --privileged, or --cap-add of both)"
    return f"{text}\n  or rootless, {rootless or _rootless(program)}"


def _rootless(program: str) -> str:
    if obstacle := user_namespace_obstacle():
        return does_not_work(obstacle)
    return f"in a user namespace:\n    unshare -Urnm {program}"


def does_not_work(obstacle: str) -> str:
    """Say of user namespaces that there is an obstacle."""
    return f"which does not work here: {obstacle}"


def is_in_user_namespace() -> bool:
    """Tell whether this process is in a user namespace that somebody has made."""
    try:
        first = Path("/proc/self/uid_map").read_text().split()
    except OSError:
        return False  # this kernel has none
    return first != ["0", "0", str(2**32 - 1)]  # the first one's (user_namespaces(7))


def user_namespace_obstacle() -> str | None:
    """Return what forbids user namespaces here, or None if nothing is known to."""
    for path, forbidding, remedy in (
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sysctl -w user.max_user_namespaces=10000",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue  # this kernel has no such switch
        if value == forbidding:
            return f"{path} is {value} (as root: {remedy})"
    if not Path("/proc/self/ns/user").exists():
        return "the kernel has no user namespaces (CONFIG_USER_NS)"
    return None
