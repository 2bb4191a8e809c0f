"""What may this process do? Answers with a reason that people can act on."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import PrivilegeError

# include/uapi/linux/capability.h
_CAP_NET_ADMIN = 12
_CAP_SYS_ADMIN = 21
NEEDED_CAPABILITIES = {_CAP_NET_ADMIN: "CAP_NET_ADMIN", _CAP_SYS_ADMIN: "CAP_SYS_ADMIN"}


def check_privileges(*, program: str = "python -m pytest") -> None:
    """Check that this process may create network namespaces.

    Args:
        program: What the message tells people to run.

    Raises:
        PrivilegeError: It may not; the message says what is missing and the
            ways to get it.
    """
    missing = missing_capabilities()
    if missing:
        raise PrivilegeError(explain(missing, program=program))


def missing_capabilities() -> list[str]:
    """List the capabilities that are needed and not effective (capabilities(7))."""
    effective = _effective_capabilities()
    return [
        name for bit, name in NEEDED_CAPABILITIES.items() if not effective >> bit & 1
    ]


def _effective_capabilities() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def explain(missing: list[str], *, program: str = "python -m pytest") -> str:
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
    obstacle = user_namespace_obstacle()
    if obstacle:
        return f"{text}\n  or rootless, which does not work here: {obstacle}"
    return text + (
        f"\n  or rootless, in a user namespace:\n    unshare -Urnm {program}"
    )


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
