"""A shell inside a namespace, on the terminal, for people."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import termios
from typing import TYPE_CHECKING

from ._processes import signal_group
from .errors import KernelError, NoTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._nsfile import NamespaceFile
    from ._threads import Threads

_TERMINAL = "/dev/tty"
#: Set by xdist in its workers, which have one terminal together.
_SHARED = "PYTEST_XDIST_WORKER"
#: Holds the namespace's name inside. A prompt that names a variable shows what is
#: in it as it is, whatever the name would mean in a prompt.
_VARIABLE = "NETNS"
_PROMPT = f"namespace ${_VARIABLE}> "
#: What bash reads instead of ~/.bashrc; other prompts must not come back.
_BASHRC = f"""\
if [ -r ~/.bashrc ]; then . ~/.bashrc; fi
unset PROMPT_COMMAND
shopt -s promptvars
PS1='{_PROMPT}'
"""
#: Ignored by Python, or at times by those who start it; no shell expects that.
_SIGNALS = (
    *(signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTERM, signal.SIGHUP),
)


def interact(file: NamespaceFile, threads: Threads) -> int:
    """Run a shell on the terminal until it ends; see `NetworkNamespace.shell`."""
    shell = _Shell(file)
    return threads.call_undisturbed(shell.perform, cancel=shell.kill)


class _Shell:
    """One shell, from its start to its end."""

    def __init__(self, file: NamespaceFile) -> None:
        self._file = file
        self._pid = 0
        self._killed = False

    def perform(self) -> int:
        """Run it, on the thread that this is called on, one of the namespace."""
        with _terminal(self._file.name) as tty, _bashrc() as rcfile:
            os.write(tty, self._greeting())
            try:
                self._pid = self._start(tty, rcfile)
                if self._killed:
                    self.kill()
                status = self._follow(tty)
            finally:
                self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End it, from any thread, also before it has begun."""
        self._killed = True
        if self._pid:
            signal_group(self._pid, signal.SIGKILL)

    def _greeting(self) -> bytes:
        text = f"\nshell in namespace {self._file.name!r}: exit or Ctrl-D leaves it\n"
        return text.encode(errors="replace")

    def _start(self, tty: int, rcfile: str) -> int:
        """Start it in a process group of its own.

        Not by `subprocess`, which takes no group before Python 3.11, and forks
        where it is told to call something.
        """
        words, environment = _command(rcfile)
        try:
            return os.posix_spawn(
                words[0],
                words,
                {**os.environ, **environment, _VARIABLE: self._file.name},
                file_actions=[(os.POSIX_SPAWN_DUP2, tty, fd) for fd in range(3)],
                setpgroup=0,
                setsigmask=(),
                setsigdef=_SIGNALS,
            )
        except OSError as error:
            raise KernelError(
                error.errno or 0, f"run {words[0]!r}", self._file.name
            ) from error

    def _follow(self, tty: int) -> int:
        """Give it the terminal, and wait for its end."""
        while True:
            # it stops if it asks for the terminal before it has it
            with contextlib.suppress(OSError):  # the terminal is closed: it ends
                _give_terminal(tty, self._pid)
            signal_group(self._pid, signal.SIGCONT)
            _, status = os.waitpid(self._pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                return status


def _command(rcfile: str) -> tuple[list[str], dict[str, str]]:
    """Return the user's bash, else any bash, else sh; and what it finds its prompt in.

    Bash finds it in the file: scripts take a PS1 in the environment for a person.
    """
    own = os.environ.get("SHELL", "")
    bash = own if os.path.basename(own) == "bash" else "bash"
    if found := shutil.which(bash) or shutil.which("bash"):
        return [found, "--rcfile", rcfile, "-i"], {}
    return [shutil.which("sh") or "/bin/sh", "-i"], {"PS1": _PROMPT}


@contextlib.contextmanager
def _bashrc() -> Iterator[str]:
    """Give the path of a file that nobody else can see."""
    fd = os.memfd_create("bashrc", os.MFD_CLOEXEC)
    try:
        os.write(fd, _BASHRC.encode())
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


@contextlib.contextmanager
def _terminal(namespace: str) -> Iterator[int]:
    """Open the terminal; leave it with the settings and the group it had.

    Raises:
        NoTerminal: There is none, or others have it.
    """
    try:
        tty = os.open(_TERMINAL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _no_terminal(namespace, "there is no terminal") from error
    try:
        if _SHARED in os.environ:
            raise _no_terminal(namespace, "workers of xdist share their terminal")
        group = os.getpgrp()
        if os.tcgetpgrp(tty) != group:
            raise _no_terminal(namespace, "somebody else has the terminal")
        settings = termios.tcgetattr(tty)
        try:
            yield tty
        finally:
            with contextlib.suppress(OSError, termios.error):  # it was closed
                _give_terminal(tty, group)
                termios.tcsetattr(tty, termios.TCSADRAIN, settings)
    finally:
        os.close(tty)


def _give_terminal(tty: int, group: int) -> None:
    """Make a process group that of the foreground, from whichever we are in."""
    # else it stops us (tcsetpgrp(3)); of this thread alone, unlike a handler
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(tty, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _no_terminal(namespace: str, reason: str) -> NoTerminal:
    return NoTerminal(
        f"cannot open a shell in namespace {namespace!r}: {reason}\n"
        "  a shell is for people: it must be run in the foreground of a terminal, "
        "a test also without xdist (-p no:xdist)"
    )
