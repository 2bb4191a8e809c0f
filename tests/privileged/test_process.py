"""`Process`: background processes while they run.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_netns import (
    ClosedError,
    KernelError,
    MissingProgram,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
    WaitTimeout,
)

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)
LONG = "600"

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that the processes run in."""
    return netns["left"]


def shell(script: str) -> list[str]:
    """Return a command that runs a script."""
    return ["sh", "-c", script]


def test_inside(left: NetworkNamespace) -> None:
    """A process runs inside, in the background, in a session of its own."""
    process = left.popen(["sleep", LONG])
    assert process.poll() is None
    assert process.returncode is None
    assert Path(f"/proc/{process.pid}/ns/net").stat().st_ino == left.inode
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert process.pid in left.pids()


def test_identity(left: NetworkNamespace) -> None:
    """It is called by its program's name, or as the test wants it."""
    process = left.popen(f"/bin/sleep {LONG}")
    assert (process.name, process.namespace) == ("sleep", "left")
    assert process.args == ["/bin/sleep", LONG]
    assert "'sleep' in 'left'" in repr(process)
    assert "running" in repr(process)
    assert left.popen(["sleep", LONG], name="sleeper").name == "sleeper"


def test_wait(left: NetworkNamespace) -> None:
    """The exit code is there once it has ended."""
    process = left.popen(shell("exit 7"), expect_exit=True)
    assert (
        process.wait() == process.wait(0) == process.poll() == process.returncode == 7
    )
    assert "ended with 7" in repr(process)


def test_wait_out_of_time(left: NetworkNamespace) -> None:
    """A wait that is too short shows what the process has said."""
    process = left.popen(shell(f"echo still here; sleep {LONG}"), name="stayer")
    process.wait_for_output("still")
    with pytest.raises(WaitTimeout, match=r"0\.05 s.*'stayer'.*'left'") as caught:
        process.wait(timeout=0.05)
    assert "still here" in str(caught.value)
    assert process.poll() is None


def test_terminate(left: NetworkNamespace) -> None:
    """SIGTERM reaches it and its children, and they may tidy up."""
    script = f"sleep {LONG} & trap 'echo tidy; exit 5' TERM; echo ready; wait"
    process = left.popen(shell(script))
    process.wait_for_output("ready")
    process.terminate()
    assert process.wait(10) == 5
    assert process.output == "ready\ntidy\n"
    left.wait_until(lambda: not left.pids(), message="the child to be gone")


def test_kill(left: NetworkNamespace) -> None:
    """SIGKILL ends what ignores SIGTERM, with its children."""
    process = left.popen(shell(f"trap '' TERM; sleep {LONG} & echo ready; wait"))
    process.wait_for_output("ready")
    process.terminate()
    with pytest.raises(WaitTimeout):
        process.wait(0.1)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    left.wait_until(lambda: not left.pids(), message="the child to be gone")


def test_signals_to_the_dead(left: NetworkNamespace) -> None:
    """Signals to a process that has ended go nowhere."""
    process = left.popen("true", expect_exit=True)
    process.wait(10)
    process.terminate()
    process.kill()
    process.send_signal(signal.SIGHUP)
    assert process.poll() == 0


def test_output(left: NetworkNamespace) -> None:
    """Its output is there while it runs, and after its end, both kinds in one."""
    process = left.popen(
        shell("echo one; echo two >&2; read -r _ < /tmp/../dev/null; sleep 600")
    )
    process.wait_for_output("two")
    assert process.output == "one\ntwo\n"
    assert process.output == "one\ntwo\n", "reading it does not take it away"
    process.kill()
    process.wait(10)
    assert process.output == "one\ntwo\n"


def test_output_after_close(netns_manager: NetworkManager) -> None:
    """Its output and exit code outlive the network."""
    with netns_manager.build(PAIR) as network:
        process = network["left"].popen(
            shell("trap 'echo bye; exit' TERM; echo x; wait")
        )
        process.wait(10) if process.poll() is not None else None
        process.expect_exit = True
        process.wait_for_output("x")
    assert process.output.startswith("x\n")
    assert process.poll() is not None


def test_output_as_it_grows(left: NetworkNamespace) -> None:
    """Letters whose bytes come apart are put together."""
    script = r"printf 'a\303'; sleep 0.05; printf '\244\377'; sleep 600"
    process = left.popen(shell(script))
    match = process.wait_for_output(r"\\xff")
    assert match[0] == r"\xff"
    assert process.output == r"aä\xff"


def test_output_read_by_many(left: NetworkNamespace) -> None:
    """Threads that read the output at the same time all read it right."""
    lines = "".join(f"{number}\n" for number in range(200_000))
    process = left.popen("seq 0 199999", expect_exit=True)

    def read(_: int) -> bool:
        while process.poll() is None:
            if not lines.startswith(process.output):
                return False
        return process.output == lines

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_output_is_its_own(netns: Network, capfd: pytest.CaptureFixture[str]) -> None:
    """Processes write neither into one another's output nor into the test's."""
    script = 'for i in 1 2 3 4 5; do echo "$0" out; echo "$0" err >&2; done; sleep 600'
    names = [f"p{number}" for number in range(6)]
    processes = {
        name: netns["left" if index % 2 else "right"].popen([*shell(script), name])
        for index, name in enumerate(names)
    }
    for name, process in processes.items():
        process.wait_for_output(f"(?s)({name} err.*){{5}}")
        assert process.output == f"{name} out\n{name} err\n" * 5
    assert capfd.readouterr() == ("", "")


def test_reopened_outputs(left: NetworkNamespace) -> None:
    """A daemon that opens /dev/stderr anew appends to what is there."""
    script = (
        "echo one; echo two >> /dev/stderr; "
        "echo three >> /dev/stdout; echo four; sleep 600"
    )
    process = left.popen(shell(script))
    process.wait_for_output("four")
    assert process.output == "one\ntwo\nthree\nfour\n"


def test_emptied_outputs(left: NetworkNamespace, tmp_path: Path) -> None:
    """A daemon that empties its output as it opens it anew is heard from then on."""
    script = (
        "echo one and more; until test -e go; do sleep 0.01; done; "
        "echo two > /dev/stderr"
    )
    process = left.popen(shell(script), cwd=tmp_path, expect_exit=True)
    process.wait_for_output("one")
    (tmp_path / "go").touch()
    process.wait_for_output("two")
    assert process.output == "one and more\ntwo\n"


def test_input_is_empty(left: NetworkNamespace) -> None:
    """It has no input, and no hold of pytest's."""
    process = left.popen(shell("cat; echo end"), expect_exit=True)
    assert process.wait(10) == 0
    assert process.output == "end\n"


def test_environment_and_directory(
    left: NetworkNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment and directory are the caller's, or the given ones."""
    monkeypatch.setenv("COLOUR", "green")
    monkeypatch.chdir(tmp_path)
    process = left.popen(shell("echo $COLOUR; pwd"), expect_exit=True)
    assert process.wait(10) == 0
    assert process.output == f"green\n{tmp_path}\n"
    env = {"COLOUR": "red", "PATH": os.environ["PATH"]}
    process = left.popen(
        shell("echo $COLOUR; pwd"), env=env, cwd="/usr", expect_exit=True
    )
    assert process.wait(10) == 0
    assert process.output == "red\n/usr\n"


def test_cannot_start(left: NetworkNamespace, tmp_path: Path) -> None:
    """What cannot be started is an error at once, and leaves no descriptor."""
    left.run("true")
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with pytest.raises(MissingProgram, match="no-such-program"):
            left.popen("no-such-program")
        with pytest.raises(KernelError, match="no-such-directory"):
            left.popen("true", cwd=tmp_path / "no-such-directory")
        with pytest.raises(ValueError, match="empty command"):
            left.popen([])
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert left.processes == []


def test_closed(netns_manager: NetworkManager) -> None:
    """Nothing starts in a closed network."""
    network = netns_manager.build(PAIR)
    network.close()
    with pytest.raises(ClosedError, match="left"):
        network["left"].popen("true")


def test_started_in_a_thread(left: NetworkNamespace) -> None:
    """A process may be started, and awaited, by any thread."""
    codes: list[int] = []

    def start() -> None:
        codes.append(left.popen(shell("exit 3"), expect_exit=True).wait(10))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(20)
    assert codes == [3]
