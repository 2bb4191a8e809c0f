"""SIGTERM: the normal teardown, in a plain run and under xdist."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: As shells report a process that SIGTERM has ended.
TERMINATED = 128 + signal.SIGTERM

#: A test that is waited for, and fixtures of each scope that say farewell.
WAITING = """
    import contextlib

    @pytest.fixture(scope="session")
    def first():
        yield
        Path("farewell-session").write_text(str(os.getpid()))

    @pytest.fixture
    def farewell(first, netns):
        yield
        assert netns["left"].ping("right")
        Path("farewell-test").touch()

    @pytest.mark.netns(CABLE)
    def test_waits(netns, farewell):
        netns["left"].popen(["sleep", "600"])
        Path("ready").write_text(str(os.getpid()))
        try:
            while True:
                with contextlib.suppress(Exception):  # as loops do that try again
                    time.sleep(60)
        except BaseException as error:
            Path("interruption").write_text(type(error).__name__)
            raise

    @pytest.mark.netns(CABLE)
    @pytest.mark.parametrize("number", range(4))
    def test_next(netns, number):
        Path("next").touch()
"""


def end(run: subprocess.Popen[str]) -> str:
    """Return the output of a run that has been told to end."""
    output, _ = run.communicate(timeout=60)
    return output


def test_fixtures_are_torn_down(inner: Inner) -> None:
    """The test ends, then the session; the summary names the signal and the test."""
    inner.write(WAITING)
    run = inner.start()
    inner.read("ready")
    run.terminate()
    output = end(run)
    assert run.returncode == TERMINATED, output
    assert "Terminated: SIGTERM in test_inner.py::test_waits !" in output
    assert (inner.path / "farewell-test").exists()
    assert (inner.path / "farewell-session").exists()
    assert not (inner.path / "next").exists()
    assert inner.remains() == ""


@pytest.mark.parametrize("whom", ["controller", "group", "twice"])
def test_xdist(inner: Inner, whom: str) -> None:
    """The controller has its workers tear down, and reports; whoever else was told.

    That a signal comes twice at once, as timeout(1) sends it, changes nothing.
    """
    inner.write(WAITING)
    inner.pytester.makeconftest(
        """
        import os
        from pathlib import Path

        def pytest_runtest_logfinish():
            if "PYTEST_XDIST_WORKER" not in os.environ:
                Path("reported").touch()
        """
    )
    run = inner.start("-n", "2")
    inner.read("ready")
    inner.eventually((inner.path / "reported").exists, "a report")
    if whom != "group":
        run.terminate()
    if whom != "controller":
        os.killpg(run.pid, signal.SIGTERM)
    output = end(run)
    assert run.returncode == TERMINATED, output
    assert "Terminated: SIGTERM !" in output
    assert "passed" in output
    assert inner.read("interruption") == "Terminated"
    assert (inner.path / "farewell-test").exists()
    assert (inner.path / "farewell-session").exists()
    assert inner.remains() == ""


def test_workers_end_with_their_controller(inner: Inner) -> None:
    """When it is killed they tear down at once, and not when xdist interrupts them."""
    inner.write(WAITING)
    run = inner.start("-n", "2")
    inner.read("ready")
    run.kill()
    inner.eventually((inner.path / "farewell-session").exists, "the worker's teardown")
    assert inner.read("interruption") == "Terminated"
    assert (inner.path / "farewell-test").exists()
    assert inner.remains() == ""


def test_no_teardown_is_interrupted(inner: Inner) -> None:
    """A signal that comes in one waits for its end, and no further test begins."""
    inner.write(
        """
        @pytest.fixture
        def slow(netns):
            yield
            Path("ready").write_text("yes")
            eventually(Path("sent").exists)
            Path("farewell").touch()

        @pytest.mark.netns(CABLE)
        def test_passes(slow):
            pass

        def test_never():
            Path("reached").touch()
        """
    )
    run = inner.start()
    inner.read("ready")
    run.terminate()
    (inner.path / "sent").touch()
    output = end(run)
    assert run.returncode == TERMINATED, output
    assert "1 passed" in output
    assert (inner.path / "farewell").exists()
    assert not (inner.path / "reached").exists()


def test_a_second_signal_ends_it_at_once(inner: Inner) -> None:
    """Whoever has no more patience with a teardown need not have; nothing is left."""
    inner.write(
        """
        @pytest.fixture(scope="session")
        def stubborn(netns_manager):
            yield
            Path("ready").write_text("yes")
            time.sleep(600)

        @pytest.mark.netns(CABLE)
        def test_waits(netns, stubborn):
            netns["left"].popen(["sleep", "600"])
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        """
    )
    run = inner.start()
    inner.read("ready")

    def has_ended() -> bool:
        run.terminate()  # what comes within a second counts as the first
        return run.poll() is not None

    inner.eventually(has_ended, "the end")
    end(run)
    assert run.returncode == -signal.SIGTERM
    assert inner.remains() == ""


def test_what_was_swallowed_ends_the_next_test(inner: Inner) -> None:
    """A test that catches everything is not asked twice: it is the last one."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_swallows(netns):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            except BaseException as error:
                assert type(error).__name__ == "Terminated"

        def test_never():
            Path("reached").touch()
        """
    )
    result = inner.run()
    assert result.ret == TERMINATED
    result.assert_outcomes(passed=1)
    assert not (inner.path / "reached").exists()


def test_only_who_has_networks_listens(inner: Inner) -> None:
    """Without any, with a handler of one's own, and with --pdb all is as it was."""
    inner.write(
        """
        def test_before():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

        @pytest.mark.netns(CABLE)
        def test_during(netns, request):
            is_listening = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            assert is_listening != request.config.getoption("usepdb")
        """,
        name="test_a",
    )
    inner.write(
        """
        def own(number, frame):
            pass

        @pytest.fixture(scope="session", autouse=True)
        def handler():
            signal.signal(signal.SIGTERM, own)
            yield
            assert signal.getsignal(signal.SIGTERM) is own

        @pytest.mark.netns(CABLE)
        def test_own(handler, netns):
            assert signal.getsignal(signal.SIGTERM) is own
        """,
        name="test_b",
    )
    inner.pytester.makeconftest(
        """
        import atexit, os, signal

        @atexit.register
        def say():
            os.write(1, f"after: {signal.getsignal(signal.SIGTERM)!r}\\n".encode())
        """
    )
    for arguments in (["test_a.py"], ["--pdb", "test_a.py"]):
        result = inner.run(*arguments)
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(["*after: *SIG_DFL*"])
    inner.run("test_b.py").assert_outcomes(passed=1)


def test_children_end_as_ever(inner: Inner) -> None:
    """A forked child has no handler: the signal ends it, also from a namespace."""
    inner.write(
        """
        import multiprocessing

        @pytest.mark.netns(CABLE)
        def test_forked(netns):
            context = multiprocessing.get_context("fork")
            child = context.Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join()
            assert child.exitcode == -signal.SIGTERM

        @pytest.mark.netns(CABLE)
        def test_forked_by_a_thread(netns):
            def fork():
                reading, writing = os.pipe()
                pid = os.fork()
                if not pid:
                    os.close(reading)
                    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
                    os.write(writing, b"1" if is_default else b"0")
                    os._exit(0)
                os.waitpid(pid, 0)
                with open(reading, "rb") as file:
                    os.close(writing)
                    return file.read()
            assert netns["left"].call(fork) == b"1"

        @pytest.mark.netns(CABLE)
        def test_started(netns):
            child = netns["left"].popen(["sleep", "60"])
            child.terminate()
            assert child.wait(20) == -signal.SIGTERM
        """
    )
    result = inner.run("-W", "ignore::DeprecationWarning")  # of fork beside threads
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_that_comes_where_no_line_is(inner: Inner, number: str) -> None:
    """Python does not know the line of each instruction, and pytest wants one."""
    inner.write(
        f"""
        @pytest.fixture
        def farewell():
            yield
            Path("farewell").touch()

        @pytest.mark.netns(CABLE)
        def test_nowhere(netns, farewell):
            code = compile("signal.raise_signal(signal.{number})", "nowhere", "exec")
            exec(code.replace(co_linetable=b""))
        """
    )
    result = inner.run()
    assert result.ret == (TERMINATED if number == "SIGTERM" else 2), result.outlines
    assert "Traceback" not in str(result.stderr)
    assert (inner.path / "farewell").exists()
