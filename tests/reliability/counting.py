"""A plugin of the inner run: counts, while tests run, what must not become more.

Each count is written as one line of JSON after every so many tests, once what the
last test had in the kernel is gone, which the kernel does a moment later.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._switches import Switches
from pytest_netns._syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, unshare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LIMITS = Path("/proc/sys/user")
_KINDS = {"net": CLONE_NEWNET, "mnt": CLONE_NEWNS, "uts": CLONE_NEWUTS}
#: No run holds more namespaces of a kind than this.
_MOST = 400
#: The kernel has taken down what it will when there are no fewer for so many looks;
#: for network namespaces that takes a moment, and longer on a busy machine.
_LOOKS = {"net": 12, "mnt": 2, "uts": 2}
_BETWEEN_LOOKS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Counting:
    """Counts after every `interval` tests."""

    def __init__(self, path: Path, interval: int) -> None:
        self._path = path
        self._interval = interval
        self._tests = 0

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """Count, if it is time."""
        self._tests += 1
        if self._tests % self._interval == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"tests": self._tests, **self._counts()}) + "\n")

    def _counts(self) -> dict[str, int]:
        gc.collect()
        counts = {f"{kind} namespaces": _settled(kind) for kind in _KINDS}
        counts["descriptors"] = sum(1 for _ in Path("/proc/self/fd").iterdir())
        counts["threads"] = sum(1 for _ in Path("/proc/self/task").iterdir())
        counts["processes"] = sum(1 for _ in _descendants(os.getpid()))
        counts["files"] = sum(map(_files, (os.environ["TMPDIR"], "/run/netns")))
        counts["memory"] = _resident()
        counts["bridges in stock"] = sum(map(len, self._stocks()))
        counts |= _objects()
        return counts

    @staticmethod
    def _stocks() -> Iterator[Collection[object]]:
        """Yield what managers keep of the bridges of earlier tests."""
        for one in gc.get_objects():
            if isinstance(one, Switches):
                yield from (one._resting, one._ready, one._aside)


def _settled(kind: str) -> int:
    """Return how many namespaces of a kind there are once that number is steady."""
    count = next(n for n in range(_MOST) if _are_below(n + 1, kind))
    looks = 0
    while looks < _LOOKS[kind]:
        time.sleep(_BETWEEN_LOOKS)
        looks += 1
        if _are_below(count, kind):
            count, looks = count - 1, 0
    return count


def _are_below(number: int, kind: str) -> bool:
    """Tell whether the user namespace of this run has fewer namespaces of a kind.

    Its own limit is the only one who tells: one more than there may be is ENOSPC
    (user_namespaces(7)). Nothing outside of this user namespace is affected. If there
    are fewer, then this makes one, which soon is gone with its thread.
    """
    limit = _LIMITS / f"max_{kind}_namespaces"
    before = limit.read_text(encoding="ascii")
    made: list[bool] = []

    def make() -> None:
        with contextlib.suppress(OSError):
            unshare(_KINDS[kind])
            made.append(True)

    try:
        limit.write_text(str(number), encoding="ascii")
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
    finally:
        limit.write_text(before, encoding="ascii")
    return bool(made)


def _descendants(pid: int) -> Iterator[int]:
    """Yield all processes below one, zombies as well."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text(encoding="ascii").split():
                yield int(child)
                yield from _descendants(int(child))


def _files(folder: str) -> int:
    """Count what is below a folder, but for what pytest keeps of failed tests."""
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith("pytest-of-")]
        count += len(folders) + len(files)
    return count


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * _PAGE


def _objects() -> dict[str, int]:
    """Count the objects of our own classes, by class."""
    found = Counter(
        f"object {kind.__module__}.{kind.__qualname__}"
        for kind in map(type, gc.get_objects())
        if kind.__module__.startswith("pytest_netns")
    )
    return {name: count for name, count in found.items() if count > 1}


def pytest_configure(config: pytest.Config) -> None:
    """Start to count."""
    path, interval = Path(os.environ["NETNS_COUNTS"]), int(os.environ["NETNS_INTERVAL"])
    config.pluginmanager.register(Counting(path, interval))
