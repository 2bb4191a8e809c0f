r"""A person at a terminal opens a shell in a namespace.

::

    red (veth-red 192.168.15.1) --- (192.168.15.2 veth-blue) blue
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inner, Terminal

    Start = Callable[..., Terminal]

pytestmark = pytest.mark.usefixtures("privileged")

TESTS = """
    import termios

    PAIR = Topology(
        Namespace("red"),
        Namespace("blue"),
        Veth("red:veth-red", "blue:veth-blue", subnet="192.168.15.0/24"),
    )

    @pytest.mark.netns(PAIR)
    def test_shell(netns):
        code = netns["red"].shell()
        with open("/dev/tty") as tty:
            assert os.tcgetpgrp(tty.fileno()) == os.getpgrp()
        Path("code").write_text(str(code))

    def test_afterwards():
        pass
"""
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio")
#: A command that has the terminal when it says so.
BUSY = "sh -c 'echo busy; exec sleep 600'"
#: Ctrl-C, and Enter: with the one the kernel may throw away a prompt not yet read.
CTRL_C = "\x03\n"
PROMPT = r"^namespace red> "


@pytest.fixture
def person(inner: Inner, terminal: Start) -> Terminal:
    """Run `TESTS` on a terminal, and wait for the shell's first prompt."""
    inner.write(TESTS)
    one = terminal(*PYTEST)
    one.see("^shell in namespace 'red': exit or Ctrl-D leaves it$")
    one.see(PROMPT)
    return one


def leave(person: Terminal, inner: Inner) -> str:
    """Wait for the end of a run that passes; return the shell's exit code."""
    person.see("2 passed")
    assert person.wait() == 0
    assert person.settings() == person.settings_before
    return inner.read("code")


def test_commands_are_inside(person: Terminal, inner: Inner) -> None:
    """They see the namespace's interfaces, neighbours' names and host name."""
    person.type("cd /sys/class/net && echo * && hostname && echo is $NETNS\n")
    person.see("^lo veth-red\nred\nis red$")
    person.see(PROMPT)
    person.type("ping -c1 blue\n")
    person.see("1 received")
    person.type("exit 7\n")
    assert leave(person, inner) == "7"


def test_end_of_file_leaves(person: Terminal, inner: Inner) -> None:
    """Ctrl-D does what exit does."""
    person.type("(exit 3)\n")
    person.see(PROMPT)
    person.type("\x04")
    assert leave(person, inner) == "3"


def test_ctrl_c_stays_inside(person: Terminal, inner: Inner) -> None:
    """Neither at the prompt nor in a command does it end pytest."""
    person.type(f"half a line{CTRL_C}")
    person.see(PROMPT)
    person.type(f"{BUSY}\n")
    person.see("^busy$")
    person.type(CTRL_C)
    person.see(PROMPT)
    person.type("exit\n")
    assert leave(person, inner) == "130"


def test_jobs_can_be_stopped_and_continued(person: Terminal, inner: Inner) -> None:
    """Ctrl-Z stops the command and not pytest; so does suspending the shell."""
    person.type("sh -c 'echo busy; exec cat'\n")
    person.see("^busy$")
    person.type("seen\n")
    person.see("^seen\nseen$")
    person.type("\x1a")
    person.see("Stopped")
    person.see(PROMPT)
    person.type("fg\n")
    person.type("again\n")
    person.see("^again$")
    person.type("\x04")
    person.see(PROMPT)
    person.type("kill -STOP $$\n")
    person.see(PROMPT)
    person.type("exit 4\n")
    assert leave(person, inner) == "4"


def test_the_terminal_is_as_before(person: Terminal, inner: Inner) -> None:
    """A shell that is killed leaves no settings behind, and not the terminal."""
    person.type("stty -icanon -echo -opost -isig; echo done; kill -KILL $$\n")
    person.see("^done")
    assert leave(person, inner) == "-9"


def test_what_it_leaves_running_ends_with_the_test(
    person: Terminal, inner: Inner
) -> None:
    """Background jobs, also those in sessions of their own."""
    person.type("sleep 600 & setsid sleep 600 & disown -a; exit\n")
    assert leave(person, inner) == "0"
    assert inner.remains() == ""


def test_own_settings_come_first(inner: Inner, terminal: Start) -> None:
    """The user's .bashrc is read, but the prompt is ours."""
    (inner.path / ".bashrc").write_text(
        "greet() { echo hello from $FUNCNAME; }\n"
        "PS1='mine> '\n"
        "PROMPT_COMMAND=\"PS1='theirs> '\"\n"
        "shopt -u promptvars\n"
    )
    inner.write(TESTS)
    person = terminal(*PYTEST)
    person.see(PROMPT)
    person.type("greet\n")
    person.see("^hello from greet\nnamespace red> ")
    person.type("exit\n")
    assert leave(person, inner) == "0"


@pytest.mark.parametrize("with_bash", [True, False], ids=["bash", "sh"])
def test_a_name_means_nothing_in_a_prompt(
    inner: Inner, terminal: Start, monkeypatch: pytest.MonkeyPatch, *, with_bash: bool
) -> None:
    """It is shown as it is, whatever shells make of such characters in prompts."""
    if not with_bash:
        only_sh(inner, monkeypatch)
    inner.write(TESTS.replace('"red', r""""a$(id)`id`\\w\\$'!%"""))
    person = terminal(*PYTEST)
    person.see(r"^namespace a\$\(id\)`id`\\w\\\$'!%> ")
    person.type("exit 5\n")
    assert leave(person, inner) == "5"


def only_sh(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a PATH in which there is sh, but no bash."""
    folder = inner.path / "bin"
    folder.mkdir()
    for program in ("sh", "sleep", "setsid"):
        (folder / program).symlink_to(shutil.which(program) or program)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("SHELL", "/bin/fish")


def test_without_bash_there_is_sh(
    inner: Inner, terminal: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the same prompt, and Ctrl-C is its own as well."""
    only_sh(inner, monkeypatch)
    inner.write(TESTS)
    person = terminal(*PYTEST)
    person.see(PROMPT)
    person.type("echo this is $0\n")
    person.see("^this is .*/sh$")
    person.see(PROMPT)
    person.type(f"{BUSY}\n")
    person.see("^busy$")
    person.type(CTRL_C)
    person.see(PROMPT)
    person.type("exit 6\n")
    assert leave(person, inner) == "6"


def test_interrupted_from_elsewhere(person: Terminal, inner: Inner) -> None:
    """Ctrl-C for pytest itself ends the shell, and gives the terminal back."""
    person.process.send_signal(signal.SIGINT)
    person.see("KeyboardInterrupt")
    assert person.wait() == pytest.ExitCode.INTERRUPTED
    assert person.settings() == person.settings_before
    assert inner.remains() == ""


def test_pytest_is_killed(person: Terminal, inner: Inner) -> None:
    """The shell goes with it."""
    person.type("sleep 600 &\n")
    person.see(PROMPT)
    person.process.kill()
    assert person.wait() == -signal.SIGKILL
    assert inner.remains() == ""


def test_without_a_terminal(inner: Inner) -> None:
    """The error says what to do."""
    inner.write(TESTS)
    result = inner.run_behind(["setsid", "--wait"])
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NoTerminal: cannot open a shell in namespace 'red': there is no terminal",
            "*it must be run in the foreground of a terminal,*without xdist*",
        ]
    )


def test_a_shared_terminal(inner: Inner, terminal: Start) -> None:
    """Workers of xdist would take the terminal out of each other's hands."""
    inner.write(TESTS)
    person = terminal(*PYTEST, "-n", "2")
    person.see("NoTerminal: .* workers of xdist share their terminal")
    person.see("1 failed, 1 passed")
    assert person.wait() == pytest.ExitCode.TESTS_FAILED


def test_in_the_background(inner: Inner, terminal: Start) -> None:
    """A run that has not got the terminal does not take it."""
    inner.write(TESTS)
    shell = terminal("sh", "-mc", f"{' '.join(PYTEST)} & wait $!; echo code $?")
    shell.see("NoTerminal: .* somebody else has the terminal")
    shell.see("code 1")
    assert shell.wait() == os.EX_OK
