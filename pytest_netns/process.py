"""Background processes of a namespace."""

from __future__ import annotations

import codecs
import contextlib
import functools
import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import waiting
from ._processes import GRACE, open_pidfd, signal_group, wait_readable
from .command import ERRORS, Arguments, split_arguments, start
from .errors import ProcessEnded, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from ._nsfile import NamespaceFile
    from ._threads import Threads

_CHUNK = 1 << 20
#: How much of an output is kept at least, in bytes.
_LONGEST = 1 << 26
_LEFT_OUT = f"... only the last {_LONGEST} bytes are kept ...\n"


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
        stdin: int | None = None,
    ) -> None:
        self.args = split_arguments(args)
        self.name = name or os.path.basename(self.args[0])
        self.namespace = file.name
        self.expect_exit = expect_exit
        self._file = file
        self._ended_by_us = False
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(ERRORS)
        self._read_up_to = 0
        self._lock = threading.Lock()
        self._log = os.memfd_create(f"output of {self.name}", os.MFD_CLOEXEC)
        try:
            # appending: a daemon that opens /dev/stderr anew must not overwrite
            writing = os.open(f"/proc/self/fd/{self._log}", os.O_WRONLY | os.O_APPEND)
            try:
                starting = functools.partial(
                    start,
                    file,
                    self.args,
                    stdin=subprocess.DEVNULL if stdin is None else stdin,
                    stdout=writing,
                    stderr=writing,
                    env=env,
                    cwd=cwd,
                )
                self._popen: subprocess.Popen[bytes] | _Past = threads.call_undisturbed(
                    starting, undo=_abandon
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
        r"""All that it has written so far; bytes that are not UTF-8 as ``\\xff``.

        Of more than 64 MiB it may be the last 64 MiB.
        """
        with self._lock:
            if self._log >= 0:
                self._read(os.fstat(self._log).st_size)
            return self._text

    def _read(self, size: int) -> None:
        """Read what is new, as far as it was written by now."""
        if size < self._read_up_to:
            self._read_up_to = 0  # ``> /dev/stderr`` has emptied the file
        if size - self._read_up_to > _LONGEST:
            # it can be made as long as anybody likes, without being written
            self._read_up_to = size - _LONGEST
            self._decoder.reset()
            self._text = _LEFT_OUT
        while self._read_up_to < size:
            wanted = min(_CHUNK, size - self._read_up_to)
            if not (data := os.pread(self._log, wanted, self._read_up_to)):
                break
            self._read_up_to += len(data)
            self._text += self._decoder.decode(data)
        if len(self._text) > 2 * _LONGEST:
            self._text = _LEFT_OUT + self._text[-_LONGEST:]

    def wait_for_output(self, regex: str, timeout: float = 5.0) -> re.Match[str]:
        """Wait until its output matches `regex`, and return the match.

        Raises:
            WaitTimeout: It does not within `timeout` seconds; shows the output.
            ProcessEnded: It ended without a match.
        """
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
        # that of subprocess has a __del__, in which Ctrl-C would get lost
        self._popen = _Past(self.pid, self._popen.wait())

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


@dataclass(frozen=True, slots=True)
class _Past:
    """A process that has ended."""

    pid: int
    returncode: int

    def poll(self) -> int:
        """Return the exit code, or minus the signal."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, or minus the signal, at once."""
        del timeout
        return self.returncode


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started when nobody wanted it any more."""
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
