"""What a process and its descendants use: processor time and memory."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from .errors import BenchmarkError
from .process import Process
from .task import Task
from .waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

#: From one look to the next, in seconds. What a process has used since the last
#: look is lost if it then ends and nobody waits for it.
_PAUSE = 0.02
#: A look at many processes takes its time (the kernel walks through all of their
#: pages); the pause after it is so many times as long.
_PAUSES_A_LOOK = 5

# include/linux/posix-timers.h: a clock is the inverted number of its process or
# thread, and three bits that say which of its clocks; see clock_getcpuclockid(3).
_CPUCLOCK_SCHED = 2
_CPUCLOCK_PERTHREAD = 4

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

#: Number and time of birth: a number alone may come again.
_Key = tuple[int, int]


class Subject(Protocol):
    """What can be asked how much it has used."""

    def times(self) -> tuple[dict[_Key, float], dict[_Key, float]]:
        """Return, of each part, its CPU seconds, and those of its waited-for children.

        Both since it was born.
        """

    def memory(self) -> float | None:
        """Return the memory that it has now, in bytes; None if that cannot be told."""

    def threads(self) -> list[int]:
        """List its threads, by the kernel's number."""


class ProcessTree:
    """A process and all its descendants, as they are when asked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def pids(self) -> list[int]:
        """List the processes, ancestors first."""
        found = [self.pid]
        for pid in found:
            found += _children(pid)
        return found

    def times(self) -> tuple[dict[_Key, float], dict[_Key, float]]:
        """Return CPU seconds: of each process, and of its waited-for children."""
        own: dict[_Key, float] = {}
        of_children: dict[_Key, float] = {}
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it has ended
                _, born, children = _read_stat(pid)
                own[pid, born] = time.clock_gettime(_clock(pid))
                of_children[pid, born] = children
        return own, of_children

    def memory(self) -> float | None:
        """Return the memory in bytes, where shared pages are shared out (PSS)."""
        parts = [one for pid in self.pids() if (one := _memory(pid)) is not None]
        return sum(parts) if parts else None

    def threads(self) -> list[int]:
        """List the threads of all processes."""
        return [thread for pid in self.pids() for thread in _threads(pid)]


class OwnThreads:
    """The threads of this process that are in the network namespace of one of them.

    A callable that runs in a namespace, and the threads that it has started, which
    are born where it is. Its memory cannot be told from that of the process.

    Args:
        thread: The kernel's number of one of them.
    """

    def __init__(self, thread: int) -> None:
        self._place = _place(thread)
        self._kept_out = {os.getpid(), threading.get_native_id()}

    def times(self) -> tuple[dict[_Key, float], dict[_Key, float]]:
        """Return CPU seconds of each thread; threads have no children."""
        times: dict[_Key, float] = {}
        for thread in self.threads():
            with contextlib.suppress(OSError):  # it has ended
                clock = _clock(thread) | _CPUCLOCK_PERTHREAD
                times[thread, 0] = time.clock_gettime(clock)
        return times, {}

    def memory(self) -> float | None:
        """Return None."""
        return None

    def threads(self) -> list[int]:
        """List the threads, by the kernel's number."""
        return [
            thread
            for thread in _threads(os.getpid())
            if thread not in self._kept_out and _place(thread) == self._place
        ]


class Meter:
    """Reads what a subject uses during a block.

    The clocks of processes count nanoseconds (clock_getcpuclockid(3)). A process
    that ends meanwhile counts with what was last read of it, or with what its
    parent was told when it waited for it (times(2), in ticks of 10 ms), whichever
    is more.

    Attributes:
        cpu: CPU seconds, of the block that has ended last.
        memory_before: The memory when it began, in bytes; None if unknown.
        memory: The most that was seen since, in bytes; None if unknown.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.cpu = 0.0
        self.memory_before: float | None = None
        self.memory: float | None = None

    def __enter__(self) -> Self:
        self.memory_before = self.memory = self._subject.memory()
        self._first, self._children_first = self._subject.times()
        self._last = dict(self._first)
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=self._look_on, name="costs of a proxy", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        live, of_children = self._subject.times()
        self.cpu = self._sum_up(live, of_children)
        self._look_at_memory()

    def _look_on(self) -> None:
        pause = _PAUSE
        while not self._end.wait(pause):
            began = time.monotonic()
            self._last.update(self._subject.times()[0])
            self._look_at_memory()
            pause = max(_PAUSE, (time.monotonic() - began) * _PAUSES_A_LOOK)

    def _look_at_memory(self) -> None:
        now = self._subject.memory()
        if now is not None:
            self.memory = max(self.memory or 0.0, now)

    def _sum_up(self, live: dict[_Key, float], of_children: dict[_Key, float]) -> float:
        self._last.update(live)
        ended = self._last.keys() - live.keys()
        seen = sum(self._since_first(key) for key in ended)
        waited_for = sum(
            seconds - self._children_first.get(key, 0.0)
            for key, seconds in of_children.items()
        )
        # what they had used before counts there as well
        waited_for -= sum(
            self._first[key] + self._children_first.get(key, 0.0)
            for key in ended & self._first.keys()
        )
        return sum(map(self._since_first, live)) + max(seen, waited_for)

    def _since_first(self, key: _Key) -> float:
        return self._last[key] - self._first.get(key, 0.0)


def subject_of(process: Process | Task[Any] | int) -> Subject:
    """Return what can be asked how much a proxy uses.

    Args:
        process: The proxy: a process, its number, or a call in the background.

    Raises:
        BenchmarkError: It has ended.
    """
    if isinstance(process, Task):
        return OwnThreads(_thread_of(process))
    pid = process if isinstance(process, int) else process.pid
    if isinstance(process, Process) and process.poll() is not None:
        raise BenchmarkError(
            f"the proxy's {process!r} has ended; a proxy that goes into the background "
            "must be told to stay, so that its costs can be read"
        )
    if not _threads(pid):
        raise BenchmarkError(f"there is no process {pid}")
    return ProcessTree(pid)


def _thread_of(task: Task[Any]) -> int:
    """Return the kernel's number of the thread that makes a call."""

    def look() -> int | None:
        if task.done():
            raise BenchmarkError(f"the proxy's {task!r} has ended")
        threads = threading.enumerate()
        return next(
            (one.native_id for one in threads if one.ident == task.thread), None
        )

    return wait_until(look, message=f"{task!r} to begin")


def _clock(number: int) -> int:
    return (~number << 3) | _CPUCLOCK_SCHED


def _read_stat(pid: int) -> tuple[int, int, float]:
    """Return parent, birth, and the CPU seconds of children that were waited for.

    Raises:
        OSError: It has ended.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        # the name may hold anything, also blanks and parentheses; see proc(5)
        fields = file.read().rpartition(b")")[2].split()
    waited_for = (int(fields[13]) + int(fields[14])) * _TICK
    return int(fields[1]), int(fields[19]), waited_for


def _children(pid: int) -> list[int]:
    # CONFIG_PROC_CHILDREN
    if os.path.exists("/proc/thread-self/children"):
        return children_as_listed(pid)
    return children_by_parent(pid)


def children_as_listed(pid: int) -> list[int]:
    """List the children of a process where the kernel lists them."""
    return [
        int(child)
        for thread in _threads(pid)
        for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def children_by_parent(pid: int) -> list[int]:
    """List the children of a process by looking at all processes."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            if _read_stat(int(entry))[0] == pid:
                found.append(int(entry))
    return found


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):  # it has ended
        return [int(entry) for entry in os.listdir(f"/proc/{pid}/task")]
    return []


def _memory(pid: int) -> float | None:
    rollup = _read(f"/proc/{pid}/smaps_rollup")  # since Linux 4.14
    for line in rollup.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if fields else None


def _read(path: str) -> bytes:
    """Return the content of a file, b"" if there is none, or none for us."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _place(thread: int) -> int | None:
    try:
        return os.stat(f"/proc/self/task/{thread}/ns/net").st_ino
    except OSError:
        return None  # it has ended
