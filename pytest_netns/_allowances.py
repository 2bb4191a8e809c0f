"""What a machine lets those with privileges do, and how much of it: for the doctor."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

from . import _sysctl as sysctl
from . import _trials as trials
from ._findings import Finding, Subject
from ._mounts import Surroundings
from ._nsfile import NamespaceFile
from ._obstacles import UNCOVERED, advice, least_limit, process_limit
from .privileges import proc_obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: A network of a few namespaces with daemons and captures has this at most.
_FILES = 256
_NAMESPACES = 32
_PROCESSES = 64


def examine_ground(*, privileged: bool, rootless: bool) -> Finding:
    """Find out whether a network namespace can be made, as a ground for all else."""
    subject = Subject(
        "network namespaces", "everything", "a kernel with CONFIG_NET_NS", required=True
    )
    if not privileged and not rootless:
        return subject.unknown("cannot be tried without privileges")
    reason = trials.attempt(trials.stay, rootless=not privileged)
    if reason is None:
        return subject.found()
    return subject.lacking(reason, _remedy_for(reason) or subject.remedy)


def examine_allowances(ground: Finding, *, rootless: bool) -> Iterator[Finding]:
    """Yield what is allowed here, and how much of it."""
    yield from try_out(_TRIALS, ground, rootless=rootless)
    yield _open_files()
    yield _namespaces()
    yield _processes()


def try_out(
    features: Iterable[tuple[Subject, Callable[[], None]]],
    ground: Finding,
    *,
    rootless: bool,
) -> Iterator[Finding]:
    """Yield what comes of trials, each in a network namespace of its own.

    Args:
        features: What is tried, and how.
        ground: Whether there are network namespaces.
        rootless: Whether to take a user namespace for the privileges they need.
    """
    lacking = "privileges" if ground.present is None else "network namespaces"
    for subject, trial in features:
        if not ground.present:
            yield subject.unknown(f"cannot be tried without {lacking}")
        elif reason := trials.attempt(trial, rootless=rootless):
            yield subject.lacking(reason, _remedy_for(reason) or subject.remedy)
        else:
            yield subject.found()


def _remedy_for(reason: str) -> str:
    """Return what helps where not a feature is missing but a permission; "" if not."""
    for number in (errno.EPERM, errno.ENOSPC):
        text = os.strerror(number)
        if reason.startswith(text) or f"{text} (" in reason:  # as errors of ours say it
            return advice(number)
    return ""


# --- tried ---


def _forward() -> None:
    """``sysctl -w net.ipv4.ip_forward=1``."""
    sysctl.write("net.ipv4.ip_forward", "1", namespace="trial")


def _look_around() -> None:
    """Have what the processes of a namespace have: its own /sys and host name."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    surroundings = Surroundings(NamespaceFile(here, "trial"), "trial", dict)
    surroundings.arrive()
    if surroundings.lacks:
        raise OSError("; ".join(surroundings.lacks))


_TRIALS: tuple[tuple[Subject, Callable[[], None]], ...] = (
    (
        Subject("sysctls", "Namespace(forwarding=..., sysctls=...)", UNCOVERED),
        _forward,
    ),
    (
        Subject(
            "mounts",
            "what processes in namespaces see: their /sys, /etc/hosts, host name",
            UNCOVERED,
        ),
        _look_around,
    ),
)


# --- read ---


def examine_proc() -> Finding:
    """Find out whether there is a /proc, of this process."""
    subject = Subject(
        "/proc", "everything", "as root: mount -t proc proc /proc", required=True
    )
    if obstacle := proc_obstacle():
        return subject.lacking(obstacle)
    return subject.found()


def _open_files() -> Finding:
    subject = Subject(
        "open files",
        "networks of several namespaces, captures",
        "ulimit -n 4096; in Docker: --ulimit nofile=4096",
    )
    return _enough(subject, resource.getrlimit(resource.RLIMIT_NOFILE)[0], _FILES)


def _namespaces() -> Finding:
    kind, limit = least_limit() or ("net", None)
    subject = Subject(
        "number of namespaces",
        "networks of several namespaces",
        f"as root: sysctl -w user.max_{kind}_namespaces=10000",
    )
    return _enough(subject, limit, _NAMESPACES)


def _processes() -> Finding:
    subject = Subject(
        "number of processes",
        "processes in namespaces",
        "ulimit -u unlimited; in Docker: --pids-limit=-1",
    )
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    limits = [process_limit(), None if soft == resource.RLIM_INFINITY else soft]
    known = [limit for limit in limits if limit is not None]
    return _enough(subject, min(known, default=None), _PROCESSES)


def _enough(subject: Subject, limit: int | None, needed: int) -> Finding:
    if limit is None or limit < 0:  # RLIM_INFINITY
        return subject.found("any number")
    if limit < needed:
        return subject.lacking(f"{limit} at most")
    return subject.found(f"{limit} at most")
