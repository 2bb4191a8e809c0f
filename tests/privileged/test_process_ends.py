"""`Process`: how background processes end, and what is left of them: nothing.

::

    left
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pytest_netns import (
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    ProcessEnded,
    Topology,
)

ALONE = Topology(Namespace("left"))
LONG = "600"

#: Forks twice, leaves its session, closes everything, and writes down its number.
DAEMON = """
import os, sys, time
if os.fork():
    os.wait()
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
null = os.open(os.devnull, os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def shell(script: str) -> list[str]:
    """Return a command that runs a script."""
    return ["sh", "-c", script]


def alive(pid: int) -> bool:
    """Tell whether a process is there, and not just its entry."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.netns(ALONE)
class TestWhileTheTestRuns:
    """What a test sees of processes that end."""

    @pytest.fixture
    def left(self, netns: Network) -> NetworkNamespace:
        """Give the namespace."""
        return netns["left"]

    def test_context_manager(self, left: NetworkNamespace) -> None:
        """The process ends with its block, without being called a failure."""
        with left.popen(["sleep", LONG]) as process:
            assert alive(process.pid)
        assert process.poll() == -signal.SIGTERM
        assert process.failure() is None

    def test_context_manager_and_exception(self, left: NetworkNamespace) -> None:
        """The process ends with its block when that fails, too."""
        with pytest.raises(KeyError), left.popen(["sleep", LONG]) as process:
            raise KeyError
        assert not alive(process.pid)

    def test_context_manager_of_the_stubborn(self, left: NetworkNamespace) -> None:
        """A process that ignores SIGTERM ends with its block all the same."""
        with left.popen(shell("trap '' TERM; echo ready; sleep 600 & wait")) as process:
            process.wait_for_output("ready")
        assert process.poll() == -signal.SIGKILL
        left.wait_until(lambda: not left.pids(), message="its child to be gone")

    def test_context_manager_of_the_dead(self, left: NetworkNamespace) -> None:
        """A process may have ended before its block."""
        with left.popen("true", expect_exit=True) as process:
            process.wait(10)
        assert process.poll() == 0

    def test_expected_exit(self, left: NetworkNamespace) -> None:
        """A process that may end by itself is no failure, whatever its code."""
        process = left.popen(shell("exit 9"), expect_exit=True)
        assert process.wait(10) == 9
        assert process.failure() is None

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
    def test_ended_by_the_test(
        self, netns: Network, left: NetworkNamespace, number: signal.Signals
    ) -> None:
        """A process that the test itself ends is no failure."""
        process = left.popen(["sleep", LONG])
        process.send_signal(number)
        assert process.wait(10) == -number
        assert process.failure() is None
        assert netns.take_failures() == []

    @pytest.mark.parametrize(
        ("script", "how"),
        [
            ("echo 'bad option' >&2; exit 3", "ended with exit code 3"),
            ("echo 'bad option' >&2; exit 0", "ended with exit code 0"),
            ("echo 'bad option' >&2; kill -SEGV $$", "was killed by SIGSEGV"),
        ],
    )
    def test_ended_by_itself(
        self, netns: Network, left: NetworkNamespace, script: str, how: str
    ) -> None:
        """A process that ends by itself is a failure, once, and shows its output."""
        process = left.popen(shell(script), name="server")
        process.wait(10)
        (failure,) = netns.take_failures()
        assert isinstance(failure, ProcessEnded)
        for part in (how, "'server'", "'left'", "bad option", "expect_exit"):
            assert part in str(failure)
        assert netns.take_failures() == []

    def test_signal_after_the_end(self, netns: Network, left: NetworkNamespace) -> None:
        """A process that had ended by itself before is still a failure."""
        process = left.popen(shell("exit 3"))
        process.wait(10)
        process.terminate()
        assert len(netns.take_failures()) == 1

    def test_harmless_signal(self, netns: Network, left: NetworkNamespace) -> None:
        """A process that answers a reload by ending is a failure."""
        process = left.popen(
            shell("trap 'exit 2' HUP; echo ready; while :; do sleep 0.01; done")
        )
        process.wait_for_output("ready")
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 2
        assert len(netns.take_failures()) == 1


def test_failure_leaves_the_block(netns_manager: NetworkManager) -> None:
    """The block of a network raises what ended by itself in it."""
    network = netns_manager.build(ALONE)
    with pytest.raises(ProcessEnded, match="exit code 3"), network:
        network["left"].popen(shell("exit 3")).wait(10)


def test_first_error_counts(netns_manager: NetworkManager) -> None:
    """The block's own exception is not covered by a process's failure."""
    network = netns_manager.build(ALONE)

    def fail() -> None:
        with network:
            network["left"].popen(shell("exit 3")).wait(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_close_ends_all(netns_manager: NetworkManager, tmp_path: Path) -> None:
    """Nothing survives: no daemon, nobody who ignores signals, no orphan."""
    network = netns_manager.build(ALONE)
    left = network["left"]
    number = tmp_path / "pid"
    left.run([sys.executable, "-c", DAEMON, str(number)])
    left.wait_until(number.exists, timeout=20)
    daemon = int(number.read_text())
    assert os.getsid(daemon) != daemon, "no leader, as daemons are"
    ignoring = "trap '' TERM INT HUP; echo ready; while :; do sleep 600; done"
    stubborn = left.popen(shell(ignoring))
    stubborn.wait_for_output("ready")
    orphan = left.run(
        shell(f"(trap '' TERM; setsid sleep {LONG}) > /dev/null & echo $!")
    )
    pids = left.pids()
    assert {daemon, stubborn.pid, int(orphan.stdout)} <= set(pids)
    assert all(map(alive, pids))
    start = time.monotonic()
    network.close()
    assert time.monotonic() - start < 10
    assert not any(map(alive, pids))
    assert stubborn.poll() == -signal.SIGKILL
    assert stubborn.output == "ready\n"


def test_close_lets_processes_tidy_up(
    netns_manager: NetworkManager, tmp_path: Path
) -> None:
    """A process gets a SIGTERM and some time before it is killed."""
    network = netns_manager.build(ALONE)
    script = (
        "trap 'sleep 0.05; echo tidy > \"$0\"; exit 0' TERM; "
        "echo ready; while :; do sleep 0.01; done"
    )
    process = network["left"].popen([*shell(script), str(tmp_path / "file")])
    process.wait_for_output("ready")
    network.close()
    assert (tmp_path / "file").read_text() == "tidy\n"
    assert process.poll() == 0


def test_close_finds_strays(netns_manager: NetworkManager) -> None:
    """A process that moved to another network namespace is found by its host name."""
    network = netns_manager.build(ALONE)
    stray = network["left"].popen(
        ["unshare", "-n", "sh", "-c", "setsid sleep 600 & echo $!; wait"]
    )
    pid = int(stray.wait_for_output(r"\d+")[0])
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino != network["left"].inode
    network.close()
    assert not alive(pid)
    assert not alive(stray.pid)


def test_close_ends_what_was_started_in_a_block(netns_manager: NetworkManager) -> None:
    """A process that a test starts by itself inside ends as well."""
    network = netns_manager.build(ALONE)
    with network["left"]:
        pid = os.posix_spawnp("sleep", ["sleep", LONG], os.environ)
    assert pid in network["left"].pids()
    network.close()
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM


def test_close_spares_the_others(netns_manager: NetworkManager) -> None:
    """Processes of other networks, and of the machine, go on."""
    with netns_manager.build(ALONE) as other:
        bystander = other["left"].popen(["sleep", LONG])
        own = os.posix_spawnp("sleep", ["sleep", LONG], os.environ)
        try:
            with netns_manager.build(ALONE) as network:
                process = network["left"].popen(["sleep", LONG])
            assert not alive(process.pid)
            assert alive(bystander.pid)
            assert alive(own)
        finally:
            os.kill(own, signal.SIGKILL)
            os.waitpid(own, 0)
