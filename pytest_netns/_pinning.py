"""Keeping processes on processors, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ._costs import Subject

#: Who can be pinned.
ROLES = ("client", "server", "proxy")

#: More often than this nobody starts threads just while we look.
_LOOKS = 10


def check_pins(
    pin: Mapping[str, int | Collection[int]] | None,
    *,
    usable: Collection[int] | None = None,
) -> dict[str, frozenset[int]]:
    """Return the processors of each role that has some.

    Args:
        pin: What the user wants.
        usable: The processors that there are; None asks the kernel.

    Raises:
        ValueError: There is no such role, or no such processor for us.
    """
    usable = os.sched_getaffinity(0) if usable is None else usable
    pins = {}
    for role, wanted in (pin or {}).items():
        if role not in ROLES:
            raise ValueError(f"pin: unknown role {role!r}; known: {', '.join(ROLES)}")
        cpus = frozenset([wanted] if isinstance(wanted, int) else wanted)
        if not cpus:
            raise ValueError(f"pin: no processor for {role!r}; leave it out instead")
        if unknown := cpus - set(usable):
            raise ValueError(
                f"pin: {role!r} cannot run on processor {_listed(unknown)}; "
                f"those that may be used: {_listed(usable)}"
            )
        pins[role] = cpus
    return pins


@contextlib.contextmanager
def pinned(subject: Subject, cpus: Collection[int]) -> Iterator[None]:
    """Keep all threads of a subject on these processors during the block.

    Threads that it starts meanwhile are born there; in the end they get what those
    have that were there before.
    """
    before: dict[int, set[int]] = {}
    usual = os.sched_getaffinity(0)
    try:
        for _ in range(_LOOKS):
            new = [thread for thread in subject.threads() if thread not in before]
            if not new:
                break
            for thread in new:
                with contextlib.suppress(ProcessLookupError):
                    before[thread] = os.sched_getaffinity(thread)
                    os.sched_setaffinity(thread, cpus)
        usual = next(iter(before.values()), usual)
        yield
    finally:
        for thread in {*before, *subject.threads()}:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, before.get(thread, usual))


def _listed(cpus: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))
