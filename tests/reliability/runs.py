"""A run of the suite `busy`, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection

SUITE = Path(__file__).with_name("busy.py")
_PYTEST = (
    *("-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:hypothesispytest"),
    *("-p", "no:benchmark", "-p", "no:anyio", "-p", "no:faulthandler"),
    *("--basetemp=base", "--netns-require", "--netns-names"),
    *("--netns-artifacts=artifacts", "--netns-capture=all", "test_busy.py"),
)
#: How long a run may take to begin, and to end, in seconds; nothing comes near.
_PATIENCE = 60.0


class Job(NamedTuple):
    """One run, and how it is ended.

    Attributes:
        how: KILL, TERM, INT, worker, controller, exit, segfault, unwatched or
            finish, which is to do each thing once.
        moment: When, in seconds after its manager.
        seed: Of its order of tests.
    """

    how: str
    moment: float
    seed: int

    @classmethod
    def parse(cls, text: str) -> Job:
        """Read what `str` writes."""
        how, moment, seed = text.split(":")
        return cls(how, float(moment), int(seed))

    def __str__(self) -> str:
        return f"{self.how}:{self.moment:.4f}:{self.seed}"


class Run:
    """One run of the suite.

    Args:
        job: How it is ended.
        folder: Where; a new one.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self._job = job
        self.folder = folder
        folder.mkdir()
        shutil.copy(SUITE, folder / "test_busy.py")
        environment = {
            **os.environ,
            "BUSY_SEED": str(job.seed),
            "BUSY_UNWATCHED": "1" if job.how == "unwatched" else "",
            "BUSY_NUMBER": folder.name,
            "BUSY_ROUNDS": "1" if job.how == "finish" else "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(folder),
        }
        if job.how in {"exit", "segfault"}:
            environment["BUSY_END"] = f"{job.how}:{job.moment}"
        self._is_distributed = job.how in {"worker", "controller"}
        self.pid = os.fork()
        if not self.pid:
            self._become_pytest(environment)

    def _become_pytest(self, environment: dict[str, str]) -> None:
        """Run pytest in this child: the time to start Python once more is saved."""
        try:
            os.setsid()
            os.chdir(self.folder)
            output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.environ.clear()
            os.environ.update(environment)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            workers = ("-n", "2") if self._is_distributed else ("-p", "no:xdist")
            code = pytest.main([*_PYTEST, *workers])
            sys.stdout.flush()
            os._exit(int(code))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)

    def end(self, *, beside: Collection[int] = ()) -> int:
        """End it when its moment has come; return its exit status.

        Args:
            beside: The processes of other runs, for which others wait.
        """
        deadline = time.monotonic() + _PATIENCE
        is_unwatched = self._job.how == "unwatched"
        while not (self.folder / ("held" if is_unwatched else "begun")).exists():
            assert time.monotonic() < deadline, self.output
            assert not os.waitpid(self.pid, os.WNOHANG)[0], self.output
            time.sleep(0.002)
        how = self._job.how
        if how not in {"exit", "segfault", "finish"}:
            time.sleep(self._job.moment)  # not to wait for anything
        if how in {"KILL", "TERM", "INT"}:
            os.kill(self.pid, signal.Signals[f"SIG{how}"])
        elif how in {"controller", "unwatched"}:
            os.kill(self.pid, signal.SIGKILL)
        elif how == "worker":
            victim = random.Random(self._job.seed).choice(self._workers())
            os.kill(victim, signal.SIGKILL)
            (self.folder / "enough").touch()
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, self.output
            reap(but=[self.pid, *beside])
            time.sleep(0.002)
        while self._others():  # workers end by themselves when their controller has
            assert time.monotonic() < deadline, self.output
            reap(but=beside)
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(ended[1])

    def _others(self) -> list[str]:
        """Return the processes in pytest's session: what tests start has others."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    found.append(path.parent.name)
        return found

    def _workers(self) -> list[int]:
        """Return the numbers of the processes that run tests, dead or alive."""
        return [int(path.name[7:]) for path in self.folder.glob("worker-*")]

    @property
    def output(self) -> str:
        """What it has said so far."""
        with contextlib.suppress(OSError):
            return (self.folder / "output").read_text(errors="replace")[-3000:]
        return ""


def reap(*, but: Collection[int] = ()) -> None:
    """Wait for all children that have ended, also those of others."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) not in {*but, os.getpid()}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(entry.name), os.WNOHANG)
