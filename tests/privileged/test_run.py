"""`ns.run`: commands inside, from start to end.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_netns import (
    ClosedError,
    CommandError,
    CommandTimeout,
    KernelError,
    MissingProgram,
    MissingTool,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
)

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)
#: Long enough to be noticed, and never waited for.
LONG = "600"

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that the commands run in."""
    return netns["left"]


def shell(script: str) -> list[str]:
    """Return a command that runs a script."""
    return ["sh", "-c", script]


def test_inside(left: NetworkNamespace) -> None:
    """A command is in the namespace, and its outputs come back apart as text."""
    done = left.run(shell("readlink /proc/self/ns/net; echo grüße >&2"))
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.stdout == f"net:[{left.inode}]\n"
    assert done.stderr == "grüße\n"
    assert done.returncode == 0
    assert done.args == shell("readlink /proc/self/ns/net; echo grüße >&2")


def test_reaches_the_others(left: NetworkNamespace) -> None:
    """A command uses the namespace's own network."""
    assert left.run("ping -c1 -W2 10.0.0.2").returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("echo a   b", ["a", "b"]),
        ("echo 'a   b' \"c d\"", ["a   b", "c d"]),
        (r"echo a\ b", ["a b"]),
        ("echo $HOME * ; echo | cat > /tmp/x && exit", None),
    ],
)
def test_string(left: NetworkNamespace, args: str, words: list[str] | None) -> None:
    """A string is split as by shlex, and no shell ever sees it."""
    if words is None:
        words = args.split()[1:]
    assert left.run(args).stdout == " ".join(words) + "\n"


def test_words_of_any_kind(left: NetworkNamespace, tmp_path: Path) -> None:
    """Words may be paths, and tuples are as good as lists."""
    assert left.run(("ls", "-d", tmp_path)).stdout == f"{tmp_path}\n"
    assert left.run([Path("/bin/echo"), "x"]).stdout == "x\n"


@pytest.mark.parametrize("args", ["", "   ", [], "echo 'open"])
def test_no_command(left: NetworkNamespace, args: str | list[str]) -> None:
    """An empty command, or an open quote, is a `ValueError`."""
    with pytest.raises(ValueError, match=r"command|quot"):
        left.run(args)


def test_failure(left: NetworkNamespace) -> None:
    """Another exit code than 0 is an error that shows both outputs."""
    command = shell("echo to stdout; echo to stderr >&2; exit 3")
    with pytest.raises(CommandError) as caught:
        left.run(command)
    error = caught.value
    assert isinstance(error, subprocess.CalledProcessError)
    assert (error.returncode, error.cmd) == (3, command)
    assert (error.stdout, error.output, error.stderr) == (
        "to stdout\n",
        "to stdout\n",
        "to stderr\n",
    )
    for part in ("exit code 3", "'left'", "exit 3", "to stdout", "to stderr"):
        assert part in str(error)


def test_failure_by_signal(left: NetworkNamespace) -> None:
    """A command that a signal ended has minus its number as code."""
    with pytest.raises(CommandError, match="signal 9") as caught:
        left.run(shell("kill -9 $$"))
    assert caught.value.returncode == -signal.SIGKILL


def test_no_check(left: NetworkNamespace) -> None:
    """Without `check` the code is the caller's business."""
    done = left.run(shell("echo x; exit 3"), check=False)
    assert (done.returncode, done.stdout) == (3, "x\n")


def test_input(left: NetworkNamespace) -> None:
    """The input is what the command reads; none is an empty one."""
    assert left.run("cat", input="grüße\n").stdout == "grüße\n"
    assert left.run("cat", input="").stdout == ""
    assert left.run("cat", timeout=10).stdout == ""


def test_input_larger_than_a_pipe(left: NetworkNamespace) -> None:
    """A large input meets a large output without a standstill."""
    text = "0123456789abcdef" * (1 << 18)
    assert left.run("cat", input=text, timeout=30).stdout == text


def test_input_nobody_wants(left: NetworkNamespace) -> None:
    """A command may end without having read its input."""
    assert left.run("true", input="x" * (1 << 20)).returncode == 0
    assert left.run("head -c 1", input="x" * (1 << 20)).stdout == "x"


def test_environment(left: NetworkNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is that of pytest, or the given one alone."""
    monkeypatch.setenv("COLOUR", "green")
    assert left.run("printenv COLOUR").stdout == "green\n"
    env = {"PATH": os.environ["PATH"], "FRUIT": "apple"}
    assert left.run("printenv FRUIT", env=env).stdout == "apple\n"
    assert left.run("printenv COLOUR", env=env, check=False).returncode == 1
    assert left.run("/usr/bin/env", env={}).stdout == ""


def test_working_directory(
    left: NetworkNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is the caller's at that moment, or the given one."""
    assert left.run("pwd").stdout == f"{Path.cwd()}\n"
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert left.run("pwd").stdout == f"{tmp_path}\n"
    assert left.run("./script").stdout == f"{tmp_path}\n"
    assert left.run("pwd", cwd="/usr").stdout == "/usr\n"
    assert left.run("pwd", cwd=Path("..")).stdout == f"{tmp_path.parent}\n"


def test_timeout(left: NetworkNamespace) -> None:
    """A command out of time is killed with its children, and shows what it said."""
    script = f"echo before; echo oops >&2; sleep {LONG} & sleep {LONG}"
    start = time.monotonic()
    with pytest.raises(CommandTimeout) as caught:
        left.run(shell(script), timeout=0.3)
    assert 0.3 <= time.monotonic() - start < 20
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.stdout, error.stderr, error.timeout) == ("before\n", "oops\n", 0.3)
    for part in ("0.3 s", "'left'", "before", "oops"):
        assert part in str(error)
    left.wait_until(lambda: not left.pids(), message="children to be gone")


def test_in_time(left: NetworkNamespace) -> None:
    """A timeout that is not needed changes nothing."""
    assert left.run("echo x", timeout=30).stdout == "x\n"


def test_huge_output(left: NetworkNamespace) -> None:
    """A command may print 100 MB."""
    size = 100 << 20
    done = left.run(f"head -c {size} /dev/zero", timeout=60)
    assert len(done.stdout) == size


def test_huge_outputs_of_both_kinds(left: NetworkNamespace) -> None:
    """Much on both outputs causes no standstill, and the error shows the end of it."""
    script = (
        "head -c 5000000 /dev/zero | tr '\\0' y | tee /dev/stderr; echo end >&2; exit 1"
    )
    with pytest.raises(CommandError) as caught:
        left.run(shell(script), timeout=60)
    assert len(caught.value.stdout) == 5_000_000
    assert len(caught.value.stderr) == 5_000_004
    assert "end" in str(caught.value)
    assert len(str(caught.value)) < 20_000


def test_bytes_that_are_no_text(left: NetworkNamespace) -> None:
    """Bytes that are not UTF-8 stay readable."""
    assert left.run(["printf", r"a\377b\303\244"]).stdout == r"a\xffbä"
    assert left.run(["printf", r"a\r\nb\n"]).stdout == "a\r\nb\n"


def test_missing_program(left: NetworkNamespace) -> None:
    """A program that is not there is an error that names it and the search path."""
    with pytest.raises(MissingProgram, match=r"'no-such-program'.*'left'") as caught:
        left.run("no-such-program --help")
    assert isinstance(caught.value, MissingTool)
    assert isinstance(caught.value, FileNotFoundError)
    assert os.environ["PATH"] in str(caught.value)
    with pytest.raises(MissingProgram, match="/nowhere/at/all"):
        left.run("echo", env={"PATH": "/nowhere/at/all"})


def test_missing_directory(left: NetworkNamespace, tmp_path: Path) -> None:
    """A directory that is not there is the error, not the program."""
    with pytest.raises(KernelError, match="no-such-directory") as caught:
        left.run("echo", cwd=tmp_path / "no-such-directory")
    assert caught.value.errno == errno.ENOENT
    assert not isinstance(caught.value, MissingProgram)


def test_permission_denied(left: NetworkNamespace, tmp_path: Path) -> None:
    """A file that is no program is an error with the kernel's errno."""
    (tmp_path / "file").write_text("text")
    with pytest.raises(KernelError, match=r"file.*'left'.*EACCES") as caught:
        left.run([tmp_path / "file"])
    assert caught.value.errno == errno.EACCES


def test_daemon_that_keeps_the_output(left: NetworkNamespace) -> None:
    """It returns with the command, although a daemon still holds its output."""
    done = left.run(shell(f"setsid sleep {LONG} & echo started"), timeout=30)
    assert done.stdout == "started\n"
    left.wait_until(left.pids, message="the daemon")


def test_output_that_is_closed_early(left: NetworkNamespace) -> None:
    """It waits for the command itself, not for the end of its output."""
    script = "echo x; exec >&- 2>&-; read -r line < /proc/uptime; sleep 0.1; exit 3"
    done = left.run(shell(script), check=False)
    assert (done.returncode, done.stdout) == (3, "x\n")


def test_no_descriptors_of_ours(left: NetworkNamespace) -> None:
    """The command gets its three descriptors and no others."""
    assert left.run("ls /proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


def test_leaves_no_descriptors(left: NetworkNamespace) -> None:
    """Commands that end, fail, or run out of time leave no descriptor behind."""

    def once() -> None:
        left.run("true", input="x")
        with pytest.raises(CommandError):
            left.run("false")
        with pytest.raises(CommandTimeout):
            left.run(["sleep", LONG], timeout=0)
        with pytest.raises(MissingProgram):
            left.run("no-such-program")

    once()
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(10):
        once()
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_many_at_once(netns: Network) -> None:
    """Commands run side by side, and each gets its own output."""

    def ask(number: int) -> tuple[int, str]:
        namespace = netns["left" if number % 2 else "right"]
        return namespace.inode, namespace.run("readlink /proc/self/ns/net").stdout

    with ThreadPoolExecutor(10) as pool:
        for inode, shown in pool.map(ask, range(40)):
            assert shown == f"net:[{inode}]\n"


def test_keyboard_interrupt(left: NetworkNamespace) -> None:
    """Ctrl-C ends the command and its children, and is the caller's."""
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        left.wait_until(lambda: len(left.pids()) >= 2, message="the command")
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = left.spawn(interrupt)
    with pytest.raises(KeyboardInterrupt):
        left.run(shell(f"sleep {LONG} & sleep {LONG}"))
    interrupter.result(10)
    left.wait_until(lambda: not left.pids(), message="the command to be gone")


def test_closed(netns_manager: NetworkManager) -> None:
    """Nothing runs in a closed network."""
    network = netns_manager.build(PAIR)
    network.close()
    with pytest.raises(ClosedError, match="left"):
        network["left"].run("true")
