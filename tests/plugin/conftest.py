"""Runs pytest inside pytest, each time in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import termios
import textwrap
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns.privileges import missing_capabilities
from tests.plugin.people import CONFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Warnings are errors, and neither other plugins nor earlier runs have a say.
STRICT = ("-W", "error", "--strict-markers", "-p", "no:cacheprovider")
#: Other plugins; `-p NAME` in a run brings one back.
OTHERS = (
    "anyio",
    "asyncio",
    "hypothesispytest",
    "pytest_cov",
    "randomly",
    "rerunfailures",
    "timeout",
)
PLAIN = (*STRICT, *(f"-pno:{name}" for name in OTHERS))

#: How long anything may take at most, in seconds; nothing should come near.
DEADLINE = 30.0

#: Prints what remains of a run; also a module that the inner tests can import.
LEFTOVERS = Path(__file__).with_name("leftovers.py")

#: What the test files of inner runs may use without importing it.
PREAMBLE = """\
import os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
import pytest
from pytest_netns import *

CABLE = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)

def eventually(condition):
    deadline = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value

"""


@pytest.fixture(params=[(), ("-n", "2")], ids=["plain", "xdist"])
def plugin_args(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Give the arguments that run the tests here, or on two workers of xdist."""
    arguments: tuple[str, ...] = request.param
    return arguments


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a prefix of commands, behind which networks cannot be built."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--netns-rootless=never")
    if missing_capabilities():
        return []
    return CONFINED


class Inner:
    """A directory of test files, and runs of pytest in it."""

    STRICT = STRICT

    def __init__(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        self.path = pytester.path
        # every process of the run inherits it, whatever becomes of its parents
        self._mark = f"pytest-netns-{uuid.uuid4().hex}"
        monkeypatch.setenv("NETNS_TEST_RUN", self._mark)
        for name in ("", "_COUNT"):  # the runs are no part of the one around them
            monkeypatch.delenv(f"PYTEST_XDIST_WORKER{name}", raising=False)
        pytester.makepyfile(leftovers=LEFTOVERS.read_text(encoding="utf-8"))
        self._started: list[subprocess.Popen[str]] = []

    def write(self, tests: str, name: str = "test_inner") -> None:
        """Write a file of tests, with `PREAMBLE` above them."""
        self.pytester.makepyfile(**{name: PREAMBLE + textwrap.dedent(tests)})

    def place(self, text: str, name: str = "test_inner") -> str:
        """Return ``FILE:LINE`` of the one line that `text` is in."""
        path = self.path / f"{name}.py"
        (line,) = [
            number
            for number, line in enumerate(path.read_text().splitlines(), start=1)
            if text in line
        ]
        return f"{path}:{line}"

    def run(self, *arguments: str, always: tuple[str, ...] = PLAIN) -> pytest.RunResult:
        """Run the tests."""
        return self.pytester.runpytest_subprocess(*always, *arguments, timeout=120)

    def run_behind(self, prefix: list[str], *arguments: str) -> pytest.RunResult:
        """Run the tests by a command that begins with `prefix`."""
        return self.pytester.run(*prefix, *_command(*arguments), timeout=120)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start to run the tests."""
        process = subprocess.Popen(
            _command(*arguments),
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def read(self, name: str) -> str:
        """Return the text of a file that a test writes, once it has."""
        path = self.path / name
        self.eventually(lambda: path.exists() and path.read_text(), f"file {name}")
        return path.read_text()

    def remains(self, seconds: float = DEADLINE) -> str:
        """Return what is left of the runs, if it does not end in `seconds`."""
        return subprocess.run(
            [sys.executable, str(LEFTOVERS), self._mark, str(seconds)],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    def stop(self) -> None:
        """End the runs that were started and did not end."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @staticmethod
    def eventually(condition: Callable[[], object], what: str) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"still waiting for {what}"
            time.sleep(0.005)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *PLAIN, *arguments]


@pytest.fixture
def inner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Inner]:
    """Give a directory for test files; after the test nothing remains of its runs."""
    inner = Inner(pytester, monkeypatch)
    yield inner
    inner.stop()
    assert inner.remains() == ""


class Program:
    """A program that is running, and what can be read from it.

    Attributes:
        process: The program itself.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self._seen = b""

    def see(self, regex: str) -> str:
        """Wait for something to read; return it, and all before it not yet seen."""
        pattern = re.compile(regex, re.MULTILINE)
        deadline = time.monotonic() + DEADLINE
        while not (match := pattern.search(self._text())):
            assert time.monotonic() < deadline, f"no {regex!r} in:\n{self._text()}"
            assert self._read(1.0), f"no {regex!r}, and no more, in:\n{self._text()}"
        seen, rest = self._text()[: match.end()], self._text()[match.end() :]
        self._seen = rest.encode()
        return seen

    def wait(self) -> int:
        """Wait until it ends, reading what it has to say; return its exit code."""
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it still runs:\n{self._text()}"
            if not self._read(0.05):
                self.process.wait(DEADLINE)
        return self.process.returncode

    def rest(self) -> str:
        """Wait until it ends; return what it said that was not yet seen."""
        self.wait()
        while self._is_readable(0) and self._read(0):
            pass
        return self._text()

    def close(self) -> None:
        """End it, if it has not ended, and its group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._output)

    def _text(self) -> str:
        return self._seen.decode(errors="replace").replace("\r\n", "\n")

    def _read(self, timeout: float) -> bool:
        """Read what has come within `timeout` seconds; False when all was said."""
        if not self._is_readable(timeout):
            return True
        data = os.read(self._output, 1 << 16)
        self._seen += data
        return bool(data)

    def _is_readable(self, timeout: float) -> bool:
        return bool(select.select([self._output], [], [], timeout)[0])


class Terminal(Program):
    """A terminal on which a program runs; the test is the person before it."""

    def __init__(self, command: list[str], directory: Path) -> None:
        ours, self._theirs = os.openpty()
        #: The terminal's settings before anybody has changed them.
        self.settings_before = self.settings()
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            cwd=directory,
        )
        super().__init__(process, ours)

    def type(self, text: str) -> None:
        r"""Type; ``"\x03"`` is Ctrl-C, ``"\x04"`` Ctrl-D."""
        os.write(self._output, text.encode())

    def settings(self) -> list[object]:
        """Return the settings of the terminal (termios(3))."""
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        """Hang up."""
        super().close()
        os.close(self._theirs)


@pytest.fixture
def terminal(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Terminal]]:
    """Give a function that starts a command on a new terminal, at home in `inner`."""
    monkeypatch.setenv("TERM", "dumb")  # no colours, and no brackets around pastes
    monkeypatch.setenv("HOME", str(inner.path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    with contextlib.ExitStack() as terminals:

        def start(*command: str) -> Terminal:
            one = Terminal(list(command), inner.path)
            terminals.callback(one.close)
            return one

        yield start


@pytest.fixture
def background(inner: Inner) -> Iterator[Callable[..., Program]]:
    """Give a function that starts a command which reads nothing from anybody."""
    with contextlib.ExitStack() as programs:

        def start(*command: str) -> Program:
            ours, theirs = os.pipe()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=inner.path,
                start_new_session=True,
            )
            os.close(theirs)
            one = Program(process, ours)
            programs.callback(one.close)
            return one

        yield start
