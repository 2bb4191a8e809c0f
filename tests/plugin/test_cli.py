"""The program pytest-netns, each time in a process of its own.

::

    left (10.0.1.1) --- br0 --- (10.0.0.1) right
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import Topology
from tests.plugin.people import ORDINARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Inner, Program, Terminal

    Start = Callable[..., Terminal]
    Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
LAB = str(ROOT / "examples" / "two_networks.toml")
PROGRAM = (sys.executable, "-m", "pytest_netns")
#: How long anything may take at most, in seconds; nothing should come near.
DEADLINE = 30.0
#: Runs a command where /run is empty and its own, and stays there, to look.
PRIVATE_RUN = (
    *("unshare", "--mount", "--propagation=slave", "sh", "-c"),
    'mount -t tmpfs tmpfs /run && "$@"; echo code $?; exec sleep 60',
    "sh",
)

#: What ends the program.
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

needs_root = pytest.mark.usefixtures("privileged")


@pytest.fixture
def run(inner: Inner) -> Run:
    """Give a function that runs the program to its end."""

    def run(
        *arguments: str | Path, prefix: list[str] | None = None, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        completed = subprocess.run(
            [*(prefix or []), *PROGRAM, *map(str, arguments)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=inner.path,
            timeout=DEADLINE,
        )
        assert "Traceback" not in completed.stderr
        return completed

    return run


def complaint(completed: subprocess.CompletedProcess[str]) -> str:
    """Return what a run that failed says, which is all there is to see."""
    assert completed.stdout == ""
    assert completed.stderr.startswith("pytest-netns: ")
    return completed.stderr


# --- exec ---


def test_the_network_of_the_article_is_ten_lines() -> None:
    """What took a script of fifty lines: namespaces, cables, a switch and routes."""
    assert len(Path(LAB).read_text().splitlines()) <= 10
    assert Topology.from_file(LAB).diagram().splitlines() == [
        "br0",
        "├── left:left_inner   10.0.1.1/24",
        "└── right:right_inner 10.0.0.1/24",
        "",
        "left:   10.0.0.0/24 dev left_inner",
        "right:  10.0.1.0/24 dev right_inner",
    ]


@needs_root
def test_exec_pings(run: Run) -> None:
    """One command builds the network, and right reaches left."""
    completed = run("exec", LAB, "right", "--", "ping", "-c1", "-W5", "10.0.1.1")

    assert completed.returncode == 0
    assert "1 received" in completed.stdout
    assert completed.stderr == ""


@needs_root
def test_exec_hands_on_what_it_has(run: Run) -> None:
    """Standard input, both outputs, arguments as they are, and the exit code."""
    script = 'cat; echo "$1" >&2; hostname; echo /sys/class/net/*; exit 9'
    words = ("sh", "-c", script, "sh", "--help -- $x")
    completed = run("exec", LAB, "left", "--", *words, text="from outside\n")

    assert completed.returncode == 9
    assert completed.stdout == (
        "from outside\nleft\n/sys/class/net/left_inner /sys/class/net/lo\n"
    )
    assert completed.stderr == "--help -- $x\n"


@needs_root
@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("sh", "-c", "kill -KILL $$"), 128 + 9, ""),
        (("sh", "-c", "kill -TERM $$"), 128 + 15, ""),
        (("no-such-program",), 127, "pytest-netns: no such program: no-such-program\n"),
        (("/etc/hosts",), 126, "pytest-netns: cannot run /etc/hosts: Permission d"),
    ],
    ids=["KILL", "TERM", "missing", "no program"],
)
def test_exit_codes_are_those_of_shells(
    run: Run, words: tuple[str, ...], code: int, error: str
) -> None:
    """128 more than the signal, 127 for what is not there, 126 for what cannot run."""
    completed = run("exec", LAB, "left", "--", *words)

    assert completed.returncode == code
    assert completed.stderr.startswith(error)
    assert completed.stdout == ""


@needs_root
def test_exec_leaves_nothing_running(run: Run, inner: Inner) -> None:
    """What the command leaves in the background ends with the network."""
    script = "setsid sleep 600 >/dev/null 2>&1 & sleep 600 >/dev/null 2>&1 & echo on"
    completed = run("exec", LAB, "left", "--", "sh", "-c", script)

    assert (completed.returncode, completed.stdout) == (0, "on\n")
    assert inner.remains() == ""


#: Counts how often Ctrl-C comes.
COUNTING = """
n=0
trap 'n=$((n + 1)); echo caught $n' INT
trap 'exit 5' TERM
echo ready
while :; do sleep 0.01; done
"""


@needs_root
def test_ctrl_c_reaches_the_command(terminal: Start) -> None:
    """Once each time, and what it does then is its own decision."""
    person = terminal(*PROGRAM, "exec", LAB, "left", "--", "sh", "-c", COUNTING)
    person.see("^ready")
    for number in (1, 2):
        person.type("\x03")
        person.see(f"caught {number}$")
    person.process.terminate()
    assert "caught" not in person.rest()
    assert person.process.returncode == 5


@needs_root
@pytest.mark.parametrize("number", ENDING)
def test_signals_are_passed_on(
    inner: Inner, background: Callable[..., Program], number: signal.Signals
) -> None:
    """A command in the background is ended by ending the program."""
    script = "trap 'exit 6' INT TERM HUP; echo ready; while :; do sleep 0.01; done"
    program = background(*PROGRAM, "exec", LAB, "left", "--", "sh", "-c", script)
    program.see("ready")
    program.process.send_signal(number)
    assert program.wait() == 6
    assert inner.remains() == ""


# --- shell ---


@needs_root
def test_shell(terminal: Start) -> None:
    """A shell in a machine of the file, whose exit code is that of the program."""
    person = terminal(*PROGRAM, "shell", LAB, "right")
    person.see("^namespace right> ")
    person.type("ping -c1 left\n")
    person.see("1 received")
    person.see("^namespace right> ")
    person.type("exit 8\n")
    assert person.wait() == 8
    assert person.settings() == person.settings_before


@needs_root
def test_shell_without_a_terminal(run: Run) -> None:
    """It cannot be had there."""
    completed = run("shell", LAB, "right", prefix=["setsid", "--wait"])

    assert completed.returncode == 1
    assert "there is no terminal" in complaint(completed)


# --- up ---


def held_by(pid: int) -> set[str]:
    """Return the network namespaces that a process has made."""
    found = {one for one in held_or_entered(Path(f"/proc/{pid}")) if "net:[" in one}
    return found - {str(Path("/proc/self/ns/net").readlink())}


def assert_deserted(namespaces: set[str]) -> None:
    """Wait until nobody holds these namespaces."""
    assert namespaces
    deadline = time.monotonic() + DEADLINE
    while left := namespaces & set().union(*map(held_or_entered, processes())):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def processes() -> Iterator[Path]:
    """Yield the directories of all processes."""
    return Path("/proc").glob("[0-9]*")


def held_or_entered(process: Path) -> set[str]:
    """Return what a process has descriptors of, and the namespaces of its threads."""
    found = set()
    for pattern in ("fd/*", "task/*/ns/net"):
        for link in process.glob(pattern):
            with contextlib.suppress(OSError):  # it has ended
                found.add(str(link.readlink()))
    return found


@pytest.fixture(params=["as root", "rootless"])
def person(request: pytest.FixtureRequest) -> list[str]:
    """Who brings a network up, and goes in from another terminal."""
    if request.param == "rootless":
        return ORDINARY
    request.getfixturevalue("unconfined")  # there is no terminal outside
    return []


@needs_root
@pytest.mark.parametrize("number", ENDING)
def test_up_stays_until_it_is_told_to_end(
    inner: Inner,
    background: Callable[..., Program],
    person: list[str],
    number: signal.Signals,
) -> None:
    """It shows the picture and how to get in, and takes everything down in the end."""
    program = background(*person, *PROGRAM, "up", "--no-names", LAB)
    shown = program.see("Ctrl-C")
    assert shown.startswith(Topology.from_file(LAB).diagram())
    namespaces = held_by(program.process.pid)
    for name in ("left", "right"):
        (command,) = re.findall(rf"\n  {name} +(nsenter .*) bash\n", shown)
        look = "hostname; cd /sys/class/net; echo *; ping -c1 left"
        entered = subprocess.run(
            [*person, *shlex.split(command), "sh", "-c", look],
            capture_output=True,
            text=True,
            check=True,
        )
        interfaces = " ".join(sorted(["lo", f"{name}_inner"]))
        assert entered.stdout.startswith(f"{name}\n{interfaces}\n")
    program.process.send_signal(number)
    assert program.wait() == 0
    assert_deserted(namespaces)
    assert inner.remains() == ""


def inside_of(program: Program, *command: str) -> list[str]:
    """Return a command that runs where a program behind `PRIVATE_RUN` runs."""
    return ["nsenter", f"--mount=/proc/{program.process.pid}/ns/mnt", *command]


def names_seen_by(program: Program) -> Path:
    """Return /run/netns as a program behind `PRIVATE_RUN` sees it."""
    return Path(f"/proc/{program.process.pid}/root/run/netns")


@needs_root
@pytest.mark.usefixtures("unconfined")
@pytest.mark.parametrize("number", ENDING)
def test_up_makes_names(
    background: Callable[..., Program], number: signal.Signals
) -> None:
    """``ip netns exec`` enters while the network is there; no name is left behind."""
    program = background(*PRIVATE_RUN, *PROGRAM, "up", LAB)
    shown = program.see("Ctrl-C")
    (pid,) = map(
        int, re.findall(r"left   ip netns exec pytest-(\d+)-left bash\n", shown)
    )
    assert f"right  ip netns exec pytest-{pid}-right bash\n" in shown
    name = f"pytest-{pid}-right"
    ping = inside_of(program, "ip", "netns", "exec", name, "ping", "-c1", "10.0.1.1")
    subprocess.run(ping, check=True, capture_output=True)
    os.kill(pid, number)
    program.see("^code 0$")
    assert not names_seen_by(program).exists()


@needs_root
@pytest.mark.usefixtures("unconfined")
def test_up_is_killed(inner: Inner, background: Callable[..., Program]) -> None:
    """Nothing of it is left: no process, no namespace, no name."""
    program = background(*PRIVATE_RUN, *PROGRAM, "up", LAB)
    shown = program.see("Ctrl-C")
    (pid,) = map(int, re.findall(r"ip netns exec pytest-(\d+)-left", shown))
    namespaces = held_by(pid)
    visit = inside_of(
        program, "ip", "netns", "exec", f"pytest-{pid}-left", "sh", "-c", "echo in; cat"
    )
    with subprocess.Popen(
        visit, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as visitor:
        assert visitor.stdout is not None
        assert visitor.stdout.readline() == b"in\n"
        os.kill(pid, signal.SIGKILL)
        assert visitor.wait(DEADLINE) == -signal.SIGKILL
    program.see("^code 137$")
    names = names_seen_by(program)
    inner.eventually(lambda: not names.exists() or not any(names.iterdir()), "no names")
    assert_deserted(namespaces)


@needs_root
def test_up_is_interrupted_while_building(
    inner: Inner, background: Callable[..., Program]
) -> None:
    """A signal at any moment ends it, and leaves nothing."""
    for number in range(8):
        program = background(*PROGRAM, "up", "--no-names", LAB)
        pid = program.process.pid
        inner.eventually(functools.partial(held_by, pid), "a namespace")
        time.sleep(number / 1000)  # not to wait for anything: any moment will do
        program.process.terminate()
        said = program.rest()
        assert program.wait() in (0, 128 + signal.SIGTERM), said
        assert "Traceback" not in said
    assert inner.remains() == ""


@needs_root
def test_signals_that_are_ignored_stay_so(background: Callable[..., Program]) -> None:
    """What nohup has seen to is not undone."""
    program = background("nohup", *PROGRAM, "up", "--no-names", LAB)
    program.see("Ctrl-C")
    program.process.send_signal(signal.SIGHUP)
    state = Path(f"/proc/{program.process.pid}/status").read_text()
    (ignored,) = re.findall(r"^SigIgn:\s*(\w+)$", state, re.MULTILINE)
    assert int(ignored, 16) >> (signal.SIGHUP - 1) & 1
    program.process.terminate()
    assert program.wait() == 0


# --- draw ---


def test_draw(run: Run, unprivileged: list[str]) -> None:
    """It needs no privileges; text is what it draws if it is not told."""
    topology = Topology.from_file(LAB)
    drawn = {
        name: run("draw", LAB, "--format", name, prefix=unprivileged).stdout
        for name in ("text", "mermaid", "dot")
    }

    assert drawn["text"] == f"{topology.diagram()}\n"
    assert drawn["mermaid"] == topology.to_mermaid()
    assert drawn["dot"] == topology.to_dot()
    assert run("draw", LAB).stdout == drawn["text"]


@pytest.mark.skipif(not shutil.which("dot"), reason="needs the program dot (graphviz)")
def test_draw_svg(run: Run) -> None:
    """Graphviz draws it."""
    completed = run("draw", LAB, "--format=svg")

    assert completed.returncode == 0
    assert completed.stdout.startswith("<?xml")
    assert ">left</text>" in completed.stdout


def test_draw_without_graphviz(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    completed = run("draw", LAB, "--format=svg")

    assert completed.returncode == 1
    assert "package graphviz" in complaint(completed)


def test_a_reader_who_has_seen_enough(inner: Inner) -> None:
    """``| head`` is no error of ours."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        completed = subprocess.run(
            [*PROGRAM, "draw", LAB],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (completed.returncode, completed.stderr) == (128 + signal.SIGPIPE, "")


# --- errors and help ---


@pytest.mark.parametrize("command", ["up", "draw", "exec", "shell"])
def test_a_mistake_in_the_file(run: Run, inner: Inner, command: str) -> None:
    """Exit code 2, and the words of the error; nothing is built."""
    file = inner.path / "lab.toml"
    file.write_text('[[namespace]]\nname = "a"\n[[veth]]\na = "a"\nb = "c"\n')
    rest = {"exec": ("a", "--", "true"), "shell": ("a",)}.get(command, ())
    completed = run(command, file, *rest)

    assert completed.returncode == 2
    assert re.search("unknown namespace or bridge 'c'", complaint(completed))
    file.unlink()
    assert run(command, file, *rest).returncode == 2


def test_a_mistake_in_the_name(run: Run) -> None:
    """Known before anything is built, so without privileges as well."""
    completed = run("exec", LAB, "lefd", "--", "true")

    assert completed.returncode == 2
    assert "did you mean 'left'?" in complaint(completed)


def test_without_privileges(run: Run, unprivileged: list[str]) -> None:
    """Exit code 1, and what to do, with this program's name."""
    completed = run("exec", LAB, "left", "--", "true", prefix=unprivileged)

    assert completed.returncode == 1
    said = complaint(completed)
    assert "need CAP_NET_ADMIN and CAP_SYS_ADMIN" in said
    assert re.search("sudo .* pytest-netns exec FILE", said)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("down",),
        ("up",),
        ("exec", LAB, "left"),
        ("exec", LAB, "left", "true"),
        ("exec", LAB, "--", "true"),
        ("shell", LAB, "left", "--", "true"),
        ("draw", LAB, "--format", "png"),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_a_mistake_in_the_command_line(run: Run, words: tuple[str, ...]) -> None:
    """Exit code 2, and what is expected."""
    completed = run(*words)

    assert completed.returncode == 2
    assert completed.stderr.startswith("usage: pytest-netns ")


def test_help_and_version(run: Run) -> None:
    """Help has examples; the version is that of the distribution."""
    shown = run("--help").stdout

    assert "examples:\n  pytest-netns up lab.toml" in shown
    assert all(
        command in shown for command in ("up", "exec", "shell", "draw", "doctor")
    )
    assert "FILE NAMESPACE -- COMMAND..." in run("exec", "--help").stdout
    assert re.fullmatch(r"pytest-netns \d+\.\d+\S*\n", run("--version").stdout)


def test_the_program_is_installed() -> None:
    """Under its own name, beside the Python that the package is installed for."""
    program = Path(sys.executable).with_name("pytest-netns")

    assert program.exists(), "install the package anew: pip install -e ."
    completed = subprocess.run([program, "draw", LAB], capture_output=True, check=True)
    assert completed.stdout.decode().startswith("br0\n")


def test_little_is_imported(inner: Inner) -> None:
    """Drawing needs neither the kernel's layers nor pytest."""
    program = (
        "import sys\n"
        "from pytest_netns.cli import main\n"
        f"main(['draw', {LAB!r}])\n"
        "heavy = {'asyncio', 'ctypes', 'pyroute2', 'pytest', 'scapy'}\n"
        "print('heavy:', *heavy & sys.modules.keys())\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert completed.stdout.endswith("heavy:\n")
