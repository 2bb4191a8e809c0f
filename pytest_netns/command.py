"""Commands inside a namespace: started there, and run to their end."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ._obstacles import advice
from ._processes import (
    GRACE,
    open_pidfd,
    signal_group,
)
from ._programs import hint_of_sudo
from .errors import (
    CommandError,
    CommandTimeout,
    KernelError,
    MissingProgram,
)

if TYPE_CHECKING:
    from ._nsfile import NamespaceFile
    from ._threads import Threads

#: One command: words, or a string that is split as by `shlex`.
Arguments = str | Sequence[str | os.PathLike[str]]

#: Bytes that are not UTF-8 stay readable in output, as ``\\xff``.
ERRORS = "backslashreplace"
_CHUNK = 1 << 16
#: How often to look where the kernel has no pidfd (before 5.3), in seconds.
_LOOK_EVERY = 0.005


def split_arguments(args: Arguments) -> list[str]:
    """Return the words of a command; never with a shell.

    Raises:
        ValueError: There is no word, or a quote is not closed.
    """
    words = (
        shlex.split(args)
        if isinstance(args, str)
        else [os.fspath(word) for word in args]
    )
    if not words:
        raise ValueError("an empty command")
    return words


def run(
    file: NamespaceFile,
    threads: Threads,
    args: Arguments,
    *,
    check: bool,
    timeout: float | None,
    input: str | None,  # the name that subprocess has for it
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; see `NetworkNamespace.run`.

    All of it is done by one thread of the namespace, whose view the command
    inherits: handing over once more would cost more than the command.
    """
    command = _Command(file, split_arguments(args), input, env, cwd)
    completed = threads.call_undisturbed(
        functools.partial(command.perform, timeout), cancel=command.kill
    )
    if check:
        command.check(completed)
    return completed


class _Command:
    """One command, from its start to its end."""

    def __init__(
        self,
        file: NamespaceFile,
        words: list[str],
        text: str | None,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> None:
        self._file = file
        self._words = words
        self._text = text
        self._env = env
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def perform(self, timeout: float | None) -> subprocess.CompletedProcess[str]:
        """Run it, on the thread that this is called on."""
        self._process = process = start(
            self._file,
            self._words,
            stdin=subprocess.DEVNULL if self._text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            cwd=self._cwd,
        )
        if self._killed:
            self.kill()
        conversation = _Conversation(process, self._text)
        try:
            in_time = conversation.hold(timeout)
        finally:
            if process.returncode is None:
                self.kill()
                process.wait()
            stdout, stderr = conversation.close()
        if not in_time:
            raise CommandTimeout(
                self._words, timeout or 0.0, stdout, stderr, self._file.name
            )
        return subprocess.CompletedProcess(
            self._words, process.returncode, stdout, stderr
        )

    def check(self, completed: subprocess.CompletedProcess[str]) -> None:
        """Raise `CommandError` if it failed."""
        if completed.returncode:
            raise CommandError(
                completed.returncode,
                self._words,
                completed.stdout,
                completed.stderr,
                self._file.name,
            )

    def kill(self) -> None:
        """End it and its group, from any thread, also before it has begun."""
        self._killed = True
        process = self._process
        if process is not None and process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)


def start(
    file: NamespaceFile,
    words: list[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
) -> subprocess.Popen[bytes]:
    """Start a process; the calling thread is one of the namespace.

    Raises:
        MissingProgram: There is no such program.
        KernelError: It cannot be started.
    """
    try:
        return subprocess.Popen(  # what the test asks for
            words,
            bufsize=0,  # we read the descriptors ourselves
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,  # its own group, to end all of it
        )
    except FileNotFoundError as error:
        if cwd is not None and not os.path.isdir(cwd):
            raise KernelError(
                errno.ENOENT,
                f"run {words[0]!r} in directory {os.fspath(cwd)!r}",
                file.name,
            ) from error
        raise MissingProgram(
            errno.ENOENT,
            f"cannot run {words[0]!r} in namespace {file.name!r}: "
            + _what_is_missing(words[0], os.environ if env is None else env),
        ) from error
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            number,
            f"run {words[0]!r}",
            file.name,
            # a file that is not executable needs no explanation
            advice="" if isinstance(error, PermissionError) else advice(number),
        ) from error


def _what_is_missing(program: str, env: Mapping[str, str]) -> str:
    path = env.get("PATH", os.defpath)
    if shutil.which(program, path=path) is not None:
        return "it is there, but not the interpreter that its first line names"
    return (
        f"no such program (PATH={path}); install it, or give its path{hint_of_sudo()}"
    )


class _Conversation:
    """Feeds a process and collects its outputs until it ends.

    Unlike `subprocess.Popen.communicate` it ends with the process itself: a
    daemon that it leaves behind may hold the other ends of the pipes for ever.
    """

    def __init__(self, process: subprocess.Popen[bytes], text: str | None) -> None:
        self._process = process
        self._poll = select.poll()
        self._outputs: dict[int, list[bytes]] = {}
        self._open: set[int] = set()
        self._input = memoryview((text or "").encode())
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None  # noqa: S101  # run() asked for both
            self._outputs[pipe.fileno()] = []
            self._watch(pipe.fileno(), select.POLLIN)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._watch(process.stdin.fileno(), select.POLLOUT)
        self._pidfd = open_pidfd(process.pid)
        if self._pidfd is not None:
            self._poll.register(self._pidfd, select.POLLIN)

    def hold(self, timeout: float | None) -> bool:
        """Go on until the process has ended; False if not in `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            pause = None if self._pidfd is not None else _LOOK_EVERY
            if deadline is not None:
                remaining = max(0.0, deadline - time.monotonic())
                pause = remaining if pause is None else min(pause, remaining)
            ready = self._poll.poll(None if pause is None else pause * 1000)
            ended = False
            for fd, _ in ready:
                if fd == self._pidfd:
                    ended = True
                elif fd in self._outputs:
                    self._read(fd)
                else:
                    self._feed(fd)
            if (ended or self._pidfd is None) and self._process.poll() is not None:
                for fd in self._open & self._outputs.keys():
                    self._read_rest(fd)
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def close(self) -> tuple[str, str]:
        """Close all pipes and return both outputs as text."""
        if self._pidfd is not None:
            os.close(self._pidfd)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        stdout, stderr = (
            b"".join(chunks).decode(errors=ERRORS) for chunks in self._outputs.values()
        )
        return stdout, stderr

    def _watch(self, fd: int, events: int) -> None:
        self._poll.register(fd, events)
        self._open.add(fd)

    def _unwatch(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._open.discard(fd)

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._unwatch(fd)
            return False
        self._outputs[fd].append(data)
        return True

    def _read_rest(self, fd: int) -> None:
        # what a child that it left behind writes from now on is not its output
        os.set_blocking(fd, False)
        budget = time.monotonic() + GRACE
        while self._read(fd) and time.monotonic() < budget:
            pass

    def _feed(self, fd: int) -> None:
        try:
            written = os.write(fd, self._input[:_CHUNK]) if self._input else 0
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._input)  # it does not want more
        self._input = self._input[written:]
        if not self._input:
            self._unwatch(fd)
            assert self._process.stdin is not None  # noqa: S101  # else not watched
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
