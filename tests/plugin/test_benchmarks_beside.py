"""Benchmarks beside others: on a terminal, under xdist, with pytest-benchmark."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._bench_progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inner, Terminal

PLUGIN = ("-p", "made_up")

#: Two tests with loads for each of two workers.
TURNS = """
    import contextlib

    @contextlib.contextmanager
    def writing_down(event):
        def write(what):
            fd = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(fd, f"{what} {os.getpid()}\\n".encode())
            os.close(fd)

        write("begin")
        yield
        write("end")

    LOG = Path(__file__).with_name("log")
"""


@pytest.fixture(autouse=True)
def _made_up(inner: Inner) -> None:
    inner.pytester.makepyfile(
        made_up=Path(__file__).with_name("made_up.py").read_text(encoding="utf-8")
    )
    inner.monkeypatch.setenv("PYTHONPATH", str(inner.path))


def section(result: pytest.RunResult) -> str:
    """Return what the run says of benchmarks, and all behind that."""
    return str(result.stdout).partition("= netns benchmarks =")[2]


class Screen:
    """A terminal's screen: as much of it as the progress line needs.

    Attributes:
        seen: All lines that have been on it.
    """

    _PIECE = re.compile(r"\x1b\[(?P<n>[0-9;]*)(?P<end>[A-Za-z])|\x1b(?P<two>.)|(.|\n)")

    def __init__(self, width: int, height: int) -> None:
        self.seen: set[str] = set()
        self._width = width
        self._rows = [[" "] * width for _ in range(height)]
        self._x = self._y = 0
        self._kept = (0, 0)

    @property
    def lines(self) -> list[str]:
        """What is on it, from top to bottom."""
        return ["".join(row).rstrip() for row in self._rows]

    def feed(self, text: str) -> None:
        """Show what was written to the terminal."""
        for match in self._PIECE.finditer(text):
            sequence = f"[{match['end']}" if match["end"] else match["two"]
            if sequence:
                self._control(sequence)
                self.seen |= set(self.lines)
            else:
                self._put(match[0])

    def _put(self, character: str) -> None:
        if character == "\r":
            self._x = 0
        elif character == "\n":
            self.seen |= set(self.lines)
            self._x = 0
            self._down()
        else:
            if self._x == self._width:
                self._put("\n")
            self._rows[self._y][self._x] = character
            self._x += 1

    def _control(self, sequence: str) -> None:
        match sequence:
            case "D":
                self._down()
            case "M":
                assert self._y > 0
                self._y -= 1
            case "7":
                self._kept = self._x, self._y
            case "8":
                self._x, self._y = self._kept
            case "[B":
                self._y = min(self._y + 1, len(self._rows) - 1)
            case "[K":
                self._rows[self._y][self._x :] = [" "] * (self._width - self._x)
            case "[m":
                pass  # colours
            case _:
                raise AssertionError(f"what does {sequence!r} do?")

    def _down(self) -> None:
        if self._y < len(self._rows) - 1:
            self._y += 1
        else:
            self._rows = [*self._rows[1:], [" "] * self._width]


class TestProgress:
    """The line that is there while a benchmark runs."""

    LINE = "netns: throughput, round 1"

    #: Says three things, of which the second comes too early to be shown.
    TESTS = """
    from pytest_netns._bench_notes import BenchNotes

    def test_a(noted, request, capsys):
        line = BenchNotes.of(request.config).line
        for pause, text in enumerate(["first", "too early", "second \\x1b[2J"]):
            eventually(lambda: pause != 2 or time.monotonic() > line._next)
            line.show(text + ", and so on" * 20)
            print("captured")
        assert capsys.readouterr().out == "captured\\n" * 3

    def test_b(noted):
        noted()

    def test_c():
        pass
    """

    def run(
        self, terminal: Callable[..., Terminal], *arguments: str, columns: int = 80
    ) -> str:
        """Return what pytest has written to a terminal."""
        one = terminal(
            *("sh", "-c", f'stty cols {columns} rows 24 && exec "$0" "$@"'),
            # readline, where it was imported, leaves COLUMNS to children
            *(
                "env",
                "-u",
                "COLUMNS",
                "TERM=xterm",
                "NO_COLOR=1",
                sys.executable,
                "-m",
                "pytest",
            ),
            *("-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"),
            *("-p", "no:hypothesispytest", *PLUGIN, *arguments),
        )
        text = one.see(r"(?s).* in [0-9.]+s .*\n")
        assert one.wait() == 0
        return text

    def test_shown_and_cleared(
        self, inner: Inner, terminal: Callable[..., Terminal]
    ) -> None:
        """The line is there while a test runs, and leaves nothing behind."""
        inner.write(self.TESTS)
        text = self.run(terminal)
        assert f"{self.LINE}\x1b[K" in text
        screen = Screen(80, 60)
        screen.feed(text)
        assert self.LINE in screen.seen
        assert "netns: first, and so on" in "\n".join(screen.seen)
        assert "netns: second" in "\n".join(screen.seen)
        assert "too early" not in text
        assert "\x1b[2J" not in text
        assert "captured" not in text
        assert not [line for line in screen.lines if "netns: " in line]
        whole = re.compile(r"test_inner\.py \.\.\. +\[100%\]")
        assert [line for line in screen.lines if whole.fullmatch(line)]

    def test_verbose(self, inner: Inner, terminal: Callable[..., Terminal]) -> None:
        """Lines that pytest has begun are as if nothing had been there."""
        inner.write(self.TESTS)
        screens = []
        for arguments in (("-v",), ("-v", "--capture=no", "-k", "test_b or test_c")):
            screen = Screen(80, 70)
            screen.feed(self.run(terminal, *arguments))
            screens.append(screen)
        for screen in screens:
            for name in ("b", "c"):
                line = re.compile(rf"test_inner\.py::test_{name} PASSED( +\[ *\d+%\])?")
                assert [one for one in screen.lines if line.fullmatch(one)]
        # with -s the terminal is the test's own
        assert [self.LINE in screen.seen for screen in screens] == [True, False]

    def test_bottom(self, inner: Inner, terminal: Callable[..., Terminal]) -> None:
        """On the last line of a terminal there is room for it, too."""
        inner.write(self.TESTS)
        text = self.run(terminal, "-v")
        screen = Screen(80, 5)
        screen.feed(text)
        assert self.LINE in screen.seen
        done = [line for line in screen.seen if "PASSED" in line]
        assert {line.split()[0][-1] for line in done} == set("abc")

    def test_narrow(self, inner: Inner, terminal: Callable[..., Terminal]) -> None:
        """A long line is cut, so that it is one line."""
        inner.write(self.TESTS)
        shown = re.findall(r"netns: [^\x1b]*", self.run(terminal, columns=50))
        assert max(map(len, shown)) == 49

    def test_elsewhere(self, inner: Inner, terminal: Callable[..., Terminal]) -> None:
        """There is none in files, on workers, or on terminals that cannot."""
        inner.write(self.TESTS)
        assert self.LINE in self.run(terminal)
        assert "netns: throughput" not in str(inner.run(*PLUGIN, "--color=yes").stdout)
        assert "netns: throughput" not in self.run(terminal, "-n", "2")
        one = terminal(sys.executable, "-m", "pytest", *PLUGIN)  # TERM=dumb
        text = one.see(r"(?s).* in [0-9.]+s .*\n")
        assert "passed" in text
        assert "netns: throughput" not in text
        assert "\x1b" not in text

    def test_interrupted(self, inner: Inner, terminal: Callable[..., Terminal]) -> None:
        """Ctrl-C leaves no line behind."""
        inner.write(
            """
            from pytest_netns._bench_notes import BenchNotes

            def test_a(noted, request):
                BenchNotes.of(request.config).line.show("going on")
                time.sleep(60)
            """
        )
        one = terminal(
            *("env", "-u", "COLUMNS", "TERM=xterm", "NO_COLOR=1"),
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN),
        )
        text = one.see("netns: going on")
        one.type("\x03")
        text += one.rest()
        screen = Screen(80, 60)
        screen.feed(text)
        assert "KeyboardInterrupt" in text
        assert not [line for line in screen.lines if "netns: " in line]

    def test_pause(self, pytestconfig: pytest.Config) -> None:
        """There are no more than five lines a second, and the first comes at once."""
        now = [100.0]
        shown: list[float] = []

        class Line(ProgressLine):
            def _write(self, line: str) -> None:
                shown.append(now[0])
                assert line

        line = Line(pytestconfig, lambda: now[0])
        line.wanted = True
        for _ in range(100):
            line.show("text")
            now[0] += 0.02
        assert shown[0] == 100.0
        assert 8 <= len(shown) <= 10


class TestWorkers:
    """Benchmarks on several workers of xdist."""

    def test_said(self, inner: Inner) -> None:
        """What was measured beside other tests says so, also where it is saved."""
        inner.write("def test_one(noted): noted()")
        result = inner.run(*PLUGIN, "-n", "2", "--netns-bench-save=main")
        text = " ".join(section(result).split())
        note = "measured under xdist with 2 workers: tests on the others may have"
        assert f"note: {note} disturbed it" in text
        assert text.count(note) == 2
        data = json.loads((inner.path / ".netns-benchmarks/main.json").read_text())
        assert data["measurements"][0]["notes"][0].startswith(note)

    @pytest.mark.parametrize("arguments", [(), ("-n", "1"), ("-n", "0")])
    def test_alone(self, inner: Inner, arguments: tuple[str, ...]) -> None:
        """One worker has no others."""
        inner.write("def test_one(noted): noted()")
        result = inner.run(*PLUGIN, *arguments)
        assert "client to server" in section(result)
        assert "xdist" not in section(result)

    @pytest.mark.usefixtures("privileged")
    @pytest.mark.parametrize("arguments", [(), ("-p", "no:tmpdir")])
    def test_one_at_a_time(self, inner: Inner, arguments: tuple[str, ...]) -> None:
        """Tests with loads wait for one another; others do not."""
        inner.write(
            TURNS
            + """
    @pytest.mark.parametrize("number", range(4))
    def test_load(number, request):
        # both workers have come so far before one of them has its turn
        Path(f"here-{os.environ['PYTEST_XDIST_WORKER']}").touch()
        eventually(lambda: len(list(Path().glob("here-*"))) == 2)
        request.getfixturevalue("netns_agents")
        with writing_down("load"):
            time.sleep(0.2)  # as long as a load may take
"""
        )
        result = inner.run("-n", "2", *arguments)
        result.assert_outcomes(passed=4)
        lines = (inner.path / "log").read_text().splitlines()
        assert len(lines) == 8
        for begin, end in zip(lines[::2], lines[1::2], strict=True):
            assert begin.split()[0] == "begin"
            assert end == begin.replace("begin", "end")
        assert len({line.split()[1] for line in lines}) == 2

    @pytest.mark.usefixtures("privileged")
    def test_killed(self, inner: Inner) -> None:
        """A worker that dies in its turn, and leaves children, ends its turn."""
        inner.write(
            """
            @pytest.mark.parametrize("number", range(2))
            def test_load(number, request):
                mine = os.environ["PYTEST_XDIST_WORKER"]
                request.getfixturevalue("netns_agents")
                try:
                    os.close(os.open("first", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                # the other one waits for us
                subprocess.Popen(["sleep", "3"], close_fds=False)
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
        result = inner.run("-n", "2")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running*"])

    @pytest.mark.usefixtures("privileged")
    def test_interrupted(self, inner: Inner) -> None:
        """Ctrl-C ends those who wait for their turn."""
        inner.write(
            """
            @pytest.mark.parametrize("number", range(2))
            def test_load(number, request):
                Path(f"here-{os.environ['PYTEST_XDIST_WORKER']}").touch()
                request.getfixturevalue("netns_agents")
                eventually(lambda: len(list(Path().glob("here-*"))) == 2)
                Path("waiting").write_text("yes")
                time.sleep(60)
            """
        )
        run = inner.start("-n", "2")
        inner.read("waiting")
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(20) == pytest.ExitCode.INTERRUPTED
        assert inner.remains() == ""


class TestPytestBenchmark:
    """The other plugin for benchmarks, in the same test."""

    TESTS = """
    def test_both(noted, benchmark):
        benchmark.pedantic(noted, kwargs={"name": "x"}, rounds=1)
        noted(name="y", keys=("latency",))

    def test_theirs(benchmark):
        benchmark(sum, [1])

    def test_ours(noted):
        noted()
    """

    @pytest.fixture(autouse=True)
    def _installed(self, inner: Inner) -> None:
        pytest.importorskip("pytest_benchmark")
        # it switches itself off under xdist, also under that of this very run
        inner.monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def test_json(self, inner: Inner) -> None:
        """Our figures are in what it saves, and only with their test."""
        inner.write(self.TESTS)
        result = inner.run(*PLUGIN, "--benchmark-json=x.json")
        result.assert_outcomes(passed=3)
        data = json.loads((inner.path / "x.json").read_text())
        both, theirs = sorted(data["benchmarks"], key=lambda one: one["name"])
        assert "netns" not in theirs["extra_info"]
        figures = both["extra_info"]["netns"]
        assert [(one["name"], one["metric"], one["path"]) for one in figures] == [
            ("x", "throughput", "direct"),
            ("x", "throughput", "proxied"),
            ("x", "throughput", "proxied/direct"),
            ("x", "latency", "direct"),
            ("x", "latency", "proxied"),
            ("x", "latency", "proxied/direct"),
            ("x", "cost.cpu", "proxied"),
            ("y", "latency", "direct"),
            ("y", "latency", "proxied"),
            ("y", "latency", "proxied/direct"),
        ]
        first = figures[0]
        assert first["low"] < first["median"] < first["high"]
        assert first["unit"] == "bit/s"
        assert len(json.dumps(figures)) < 3000
        assert section(result).count("client to server") == 3

    def test_unstable(self, inner: Inner) -> None:
        """A number that nobody should believe is none there either."""
        inner.write(
            """
            def test_both(noted, benchmark):
                benchmark.pedantic(noted, kwargs={"rounds": 2}, rounds=1)
            """
        )
        inner.run(*PLUGIN, "--benchmark-json=x.json").assert_outcomes(passed=1)
        (one,) = json.loads((inner.path / "x.json").read_text())["benchmarks"]
        assert {figure["median"] for figure in one["extra_info"]["netns"]} == {None}

    @pytest.mark.parametrize(
        "arguments", [("--benchmark-disable",), ("--benchmark-skip",), ("-n", "2")]
    )
    def test_switched_off(self, inner: Inner, arguments: tuple[str, ...]) -> None:
        """It may be switched off, or skip its tests; ours are there as ever."""
        inner.write(self.TESTS)
        result = inner.run(*PLUGIN, *arguments, "-W", "ignore::Warning:xdist")
        outcomes = result.parseoutcomes()
        skips = "--benchmark-skip" in arguments
        assert outcomes["passed"] == (1 if skips else 3)
        assert section(result).count("client to server") == (1 if skips else 3)

    def test_not_there(self, inner: Inner) -> None:
        """Without it, and with another fixture of that name, all is as ever."""
        inner.write(
            """
            @pytest.fixture
            def benchmark():
                return "something else"

            def test_both(noted, benchmark):
                noted()
            """
        )
        result = inner.run(*PLUGIN, "-p", "no:benchmark")
        result.assert_outcomes(passed=1)
        assert section(result).count("client to server") == 1
