"""Commands and background processes inside a namespace."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import waiting
from ._processes import (
    GRACE,
    open_pidfd,
    signal_group,
    wait_readable,
)
from .errors import (
    CommandError,
    CommandTimeout,
    KernelError,
    MissingProgram,
    ProcessEnded,
    WaitTimeout,
)

if TYPE_CHECKING:
    from types import TracebackType

    from ._nsfile import NamespaceFile
    from ._threads import Threads

#: One command: words, or a string that is split as by `shlex`.
Arguments = str | Sequence[str | os.PathLike[str]]

#: Bytes that are not UTF-8 stay readable in output, as ``\\xff``.
_ERRORS = "backslashreplace"
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
    """Run a command to its end; see `NetworkNamespace.run`."""
    __tracebackhide__ = True
    words = split_arguments(args)
    process = _start(
        file,
        threads,
        words,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    conversation = _Conversation(process, input)
    try:
        in_time = conversation.hold(timeout)
    except BaseException:
        signal_group(process.pid, signal.SIGKILL)
        raise
    finally:
        if process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        stdout, stderr = conversation.close()
    if not in_time:
        raise CommandTimeout(words, timeout or 0.0, stdout, stderr, file.name)
    if check and process.returncode:
        raise CommandError(process.returncode, words, stdout, stderr, file.name)
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def _start(
    file: NamespaceFile,
    threads: Threads,
    words: list[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
) -> subprocess.Popen[bytes]:
    """Start a process on a thread of the namespace, all of whose view it inherits."""
    __tracebackhide__ = True

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # what the test asks for
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,  # its own group, to end all of it
        )

    try:
        return threads.call(start)
    except FileNotFoundError as error:
        if cwd is not None and not os.path.isdir(cwd):
            raise KernelError(
                errno.ENOENT,
                f"run {words[0]!r} in directory {os.fspath(cwd)!r}",
                file.name,
            ) from error
        path = (env or os.environ).get("PATH", os.defpath)
        raise MissingProgram(
            f"cannot run {words[0]!r} in namespace {file.name!r}: no such program "
            f"(PATH={path}); install it, or give its path"
        ) from error
    except OSError as error:
        raise KernelError(error.errno or 0, f"run {words[0]!r}", file.name) from error


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
            b"".join(chunks).decode(errors=_ERRORS) for chunks in self._outputs.values()
        )
        return stdout, stderr

    def _watch(self, fd: int, events: int) -> None:
        os.set_blocking(fd, False)
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


class Process:
    """A background process of a namespace, and a context manager that ends it.

    Its standard output and error go to one file in memory, which nobody shares.

    Attributes:
        name: What messages call it.
        namespace: The name of its namespace.
        args: Its command.
    """

    def __init__(
        self,
        file: NamespaceFile,
        threads: Threads,
        args: Arguments,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        expect_exit: bool = False,
    ) -> None:
        self.args = split_arguments(args)
        self.name = name or os.path.basename(self.args[0])
        self.namespace = file.name
        self.expect_exit = expect_exit
        self._file = file
        self._ended_by_us = False
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
        self._read_up_to = 0
        self._log = os.memfd_create(f"output of {self.name}", os.MFD_CLOEXEC)
        try:
            # appending: a daemon that opens /dev/stderr anew must not overwrite
            writing = os.open(f"/proc/self/fd/{self._log}", os.O_WRONLY | os.O_APPEND)
            try:
                self._popen = _start(
                    file,
                    threads,
                    self.args,
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    env=env,
                    cwd=cwd,
                )
            finally:
                os.close(writing)
        except BaseException:
            os.close(self._log)
            self._log = -1
            raise

    @property
    def pid(self) -> int:
        """The process's number, also that of its group and session."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._popen.poll()

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal; None while it runs."""
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended and return its exit code.

        Raises:
            WaitTimeout: It has not within `timeout` seconds; shows its output.
        """
        __tracebackhide__ = True
        if not self._wait(timeout):
            raise WaitTimeout(
                f"process {self.name!r} in namespace {self._file.name!r} to end",
                timeout or 0.0,
                f"it runs; output so far:\n{self.output}",
            )
        return self._popen.wait()

    def terminate(self) -> None:
        """Ask it and its group to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its group at once (SIGKILL)."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal to it and its group; after one that ends it, it may end."""
        if number in {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT}:
            self._ended_by_us = self._ended_by_us or self.poll() is None
        if self.poll() is None:
            signal_group(self.pid, number)

    @property
    def output(self) -> str:
        r"""All that it has written so far; bytes that are not UTF-8 as ``\\xff``."""
        if self._log >= 0:
            while data := os.pread(self._log, 1 << 20, self._read_up_to):
                self._read_up_to += len(data)
                self._text += self._decoder.decode(data)
        return self._text

    def wait_for_output(self, regex: str, timeout: float = 5.0) -> re.Match[str]:
        """Wait until its output matches `regex`, and return the match.

        Raises:
            WaitTimeout: It does not within `timeout` seconds; shows the output.
            ProcessEnded: It ended without a match.
        """
        __tracebackhide__ = True
        pattern = re.compile(regex, re.MULTILINE)

        def look() -> re.Match[str] | None:
            ended = self.poll() is not None
            match = pattern.search(self.output)
            if match is None and ended:
                raise self._ended()
            return match

        awaited = (
            f"output that matches {regex!r} of process {self.name!r} "
            f"in namespace {self._file.name!r}"
        )
        try:
            return waiting.wait_until(look, timeout=timeout)
        except WaitTimeout:
            raise WaitTimeout(awaited, timeout, self.output or "no output") from None

    def wait_listening(
        self, port: int, protocol: str = "tcp", timeout: float = 5.0
    ) -> None:
        """Wait until somebody listens on `port` in its namespace.

        Raises:
            WaitTimeout: Nobody does within `timeout` seconds.
            ProcessEnded: It ended before.
        """
        __tracebackhide__ = True

        def still_hopeful() -> None:
            if self.poll() is not None:
                raise self._ended()

        waiting.wait_listening(
            self._file,
            port,
            protocol=protocol,
            timeout=timeout,
            still_hopeful=still_hopeful,
        )

    def failure(self) -> ProcessEnded | None:
        """Return the error to raise if it ended although it should not have."""
        if self.expect_exit or self._ended_by_us or self.poll() is None:
            return None
        return self._ended()

    def _ended(self) -> ProcessEnded:
        code = self._popen.wait()
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {_signal_name(-code)}"
        return ProcessEnded(self.name, self._file.name, self.args, how, self.output)

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after a grace; does nothing if it has ended."""
        self.terminate()
        if not self._wait(GRACE):
            self.kill()
            self._popen.wait()

    def close(self) -> None:
        """Stop it, and keep its output for the last time."""
        self.stop()
        if self._log >= 0:
            _ = self.output
            os.close(self._log)
            self._log = -1

    def _wait(self, timeout: float | None) -> bool:
        if self._popen.poll() is not None:
            return True
        fd = open_pidfd(self.pid)
        if fd is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
            return self._popen.poll() is not None
        try:
            return wait_readable(fd, timeout) and self._popen.wait() is not None
        finally:
            os.close(fd)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        code = self.poll()
        state = "running" if code is None else f"ended with {code}"
        return f"<Process {self.name!r} in {self._file.name!r} pid={self.pid} {state}>"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
