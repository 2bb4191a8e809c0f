"""Locks that somebody else holds, and never lets go."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import KernelError, _locks
from pytest_netns._locks import locked
from pytest_netns.privileges import is_in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

STRANGER = 1234
#: Holds a lock until its standard input ends; the child outlives its parent.
PROGRAM = """
import fcntl, os, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
if sys.argv[3] == "orphaned" and os.fork():
    os._exit(0)
os.write(1, b"held")
sys.stdin.read()
"""


class Holder:
    """A process that holds the lock of a file; a context manager."""

    def __init__(self, path: Path, user: int, kind: str = "alone") -> None:
        words = [sys.executable, "-I", "-S", "-c", PROGRAM, str(path), str(user), kind]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.read(4) == b"held"
        return self

    def release(self) -> None:
        """Let go of the lock."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def __exit__(self, *_: object) -> None:
        self.release()
        assert self._process.wait(10) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def path() -> Iterator[Path]:
    """Make a file that anybody may open."""
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o644)
        yield Path(file.name)


@pytest.fixture(autouse=True)
def as_root() -> None:
    """Skip where there is no stranger to be had."""
    if os.geteuid() != 0 or is_in_user_namespace():
        pytest.skip("only root can become somebody else")


@pytest.mark.parametrize("kind", ["alone", "orphaned"])
def test_a_stranger_cannot_keep_a_run_waiting(path: Path, kind: str) -> None:
    """Neither itself nor by a child whose parent took the lock and is gone."""
    with Holder(path, STRANGER, kind):
        began = time.monotonic()
        with locked(str(path)):
            waited = time.monotonic() - began
    assert _locks._COURTESY <= waited < _locks._PATIENCE / 2


def test_root_is_waited_for(path: Path) -> None:
    """It may be another run; its lock is taken when it lets go."""
    with Holder(path, 0) as holder:
        began = time.monotonic()
        threading.Timer(2.5 * _locks._COURTESY, holder.release).start()
        with locked(str(path)):
            assert time.monotonic() - began > 2 * _locks._COURTESY


def test_root_is_not_waited_for_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what for."""
    monkeypatch.setattr(_locks, "_PATIENCE", 3 * _locks._COURTESY)
    with (
        Holder(path, 0),
        pytest.raises(KernelError, match="against other test runs") as caught,
        locked(str(path)),
    ):
        pass
    assert caught.value.errno == errno.EAGAIN
