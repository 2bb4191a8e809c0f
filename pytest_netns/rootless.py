"""Networks for people who are not root: the whole run in a user namespace."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .privileges import (
    is_filtered,
    missing_capabilities,
    proc_obstacle,
    user_namespace_obstacle,
)

if TYPE_CHECKING:
    from . import _userns as userns


@dataclass(frozen=True)
class Rootless:
    """What has come of it.

    Attributes:
        entered: Whether this process is in a user namespace that we have made.
        obstacle: Why it is not, where it should be; None if it need not.
    """

    entered: bool = False
    obstacle: str | None = None


#: What this process has come to: it can enter once, and nobody comes back.
_outcome = Rootless()


def go_rootless(mode: str) -> Rootless:
    """Enter a user, a network and a mount namespace, if need be and if possible.

    From then on this process, and all that it starts, is root there: with networks of
    its own, and with no way to the machine's.

    Args:
        mode: "always" or "never"; "auto" enters where privileges are missing.
    """
    global _outcome  # noqa: PLW0603  # one process has one user namespace
    if _outcome.entered or not _is_wanted(mode):
        return _outcome
    obstacle = _enter()
    _outcome = Rootless(entered=obstacle is None, obstacle=obstacle)
    return _outcome


def _is_wanted(mode: str) -> bool:
    return mode == "always" or (mode == "auto" and bool(missing_capabilities()))


def _enter() -> str | None:
    """Enter; return why not."""
    from . import _userns as userns
    from ._furnishing import furnish

    if obstacle := proc_obstacle() or _threads_obstacle():
        return obstacle
    refused = userns.try_out()
    if refused is None:
        _keep_name()
        try:
            userns.enter()
        except userns.Refused as error:  # the last one that was left was for the trial
            refused = error
        else:
            furnish()
            return None
    return user_namespace_obstacle() or _reason(refused)


def _threads_obstacle() -> str | None:
    number = _count_threads()
    if number > 1 and threading.active_count() == 1:
        _end_idle_threads()
        number = _count_threads()
    if number == 1:
        return None
    return (
        f"{number} threads run already, and a process with several cannot enter a "
        "user namespace (something imported before starts them: "
        "`python -m pytest -p pytest_netns.plugin` comes first)"
    )


def _count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _end_idle_threads() -> None:
    """Have libraries end threads that they can start again, as they do before a fork.

    Such are those of OpenBLAS, which numpy starts when it is imported, and with it
    plugins that can make use of numpy (pthread_atfork(3)).
    """
    with warnings.catch_warnings():
        # of threads that do stay: the child does nothing that could wait for them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _reason(refused: userns.Refused) -> str:
    """Say what may be behind a refusal that no switch in /proc/sys explains."""
    match refused.errno, refused.step:
        case errno.ENOSPC | errno.EUSERS, _:
            return (
                "this user has as many user namespaces as he may, or they are nested "
                "too deeply (user_namespaces(7): 32 levels)"
            )
        case errno.EINVAL | errno.ENOSYS, "user":
            return "the kernel has no user namespaces (CONFIG_USER_NS)"
        case errno.EPERM, "user" if is_filtered():
            return (
                "a seccomp filter forbids user namespaces, as Docker's default profile "
                "does (docker run --security-opt seccomp=unconfined)"
            )
        case errno.EPERM, "user":
            return "the kernel grants none, as in a chroot, or a security module"
        case _, "uid_map" | "gid_map" | "setgroups":
            return (
                f"its {refused.step} cannot be written ({refused.strerror}): a "
                "security module, or root without CAP_SETFCAP"
            )
    return (
        f"user namespaces give no privileges here ({refused.strerror}): a security "
        "module such as AppArmor takes them away"
    )


def _keep_name() -> None:
    """See that people, and their directories, are called as before.

    Who is root inside would be looked up as root, were it not in the environment.
    """
    import pwd

    user = os.getuid()
    try:
        name, directory = pwd.getpwuid(user).pw_name, pwd.getpwuid(user).pw_dir
    except KeyError:  # in containers, users need not have names
        name, directory = str(user), "/"
    if not any(os.environ.get(key) for key in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["LOGNAME"] = name  # what getpass.getuser() asks first
    os.environ.setdefault("HOME", directory)
