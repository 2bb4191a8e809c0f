"""The foreground of the program: signals that end it, and a command in its place."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, NoReturn

from ._signals import deferred_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from .namespace import NetworkNamespace

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal has come that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def ended_by_signals(
    handle: Callable[[int, FrameType | None], object] | None = None,
) -> Iterator[None]:
    """Raise `Ended`, or call `handle`, for signals that would end the process.

    Those that it was told to ignore, as nohup does, it still ignores.
    """
    before = {
        number: signal.signal(number, handle or _end)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(number)


def wait_for_end() -> None:
    """Wait until the handler of a signal raises; whichever thread the signal is for.

    Between a look at what has come and a system call that waits there is a moment
    in which a signal would wait as well, but for the byte that it leaves here.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = signal.set_wakeup_fd(writing)
    try:
        while True:
            select.select([reading], [], [])
            os.read(reading, 1)
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def run(namespace: NetworkNamespace, words: Sequence[str]) -> int:
    """Run a command with our standard input and outputs; return how it ended.

    It is in our process group and has the terminal that we have. Signals that
    come for us alone are passed on to it.

    Raises:
        FileNotFoundError: There is no such program.
        PermissionError: It may not be run.
    """
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            raise Ended(number)
        if number != signal.SIGINT or not _is_foreground():
            process.send_signal(number)  # else it came from the terminal, to both

    with ended_by_signals(pass_on):
        with deferred_signals() as deferred:  # until there is somebody to pass them to
            process = namespace.call(_start, words)
        deferred.deliver()
        return process.wait()


def _start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words)


def _is_foreground() -> bool:
    """Tell whether Ctrl-C on the terminal reaches our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
