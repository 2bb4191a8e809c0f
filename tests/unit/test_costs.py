"""What a process and its descendants use, held against what the kernel says."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_netns import BenchmarkError, _costs
from pytest_netns._costs import Meter, OwnThreads, ProcessTree, subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Burns as many CPU seconds as a line of its input says, and writes a line then.
BURN = """
import sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
SPIN = (
    BURN
    + """
for line in sys.stdin:
    burn(float(line))
    print("done", flush=True)
"""
)
#: Does the same in children, one after the other, each of which ends.
FORK = (
    BURN
    + """
import os, signal
{before}
for line in sys.stdin:
    for _ in range(5):
        pid = os.fork()
        if not pid:
            burn(float(line) / 5)
            os._exit(0)
        {wait}
    print("done", flush=True)
"""
)
#: Keeps more memory with each line: so many MiB, written to.
GROW = """
import sys
kept = []
for line in sys.stdin:
    kept.append(b"x" * (int(line) << 20))
    print("done", flush=True)
"""


class Worker:
    """A program that works when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self.process = process

    def work(self, amount: float) -> None:
        """Have it do something, and wait until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{amount}\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], 30)[0]
        assert self.process.stdout.readline() == "done\n"


@contextlib.contextmanager
def worker(program: str, **names: str) -> Iterator[Worker]:
    """Run a program."""
    text = program.replace("{before}", names.get("before", ""))
    text = text.replace("{wait}", names.get("wait", ""))
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


def test_the_time_of_a_process_is_read_exactly() -> None:
    """It is what the process itself has seen."""
    with worker(SPIN) as spinning, Meter(ProcessTree(spinning.pid)) as meter:
        spinning.work(0.2)

    assert 0.2 <= meter.cpu < 0.24


def test_a_process_that_waits_costs_nothing() -> None:
    """What it had used before does not count, nor does time that passes."""
    with worker(SPIN) as spinning:
        spinning.work(0.2)
        with Meter(ProcessTree(spinning.pid)) as meter:
            select.select([], [], [], 0.05)

    assert meter.cpu < 0.01


def test_little_is_seen_as_well() -> None:
    """The clock counts nanoseconds, not the ticks of /proc."""
    with worker(SPIN) as spinning:
        spinning.work(0.001)
        with Meter(ProcessTree(spinning.pid)) as meter:
            spinning.work(0.001)

    assert 0.001 <= meter.cpu < 0.01


WAITS = {
    "that are waited for": {"wait": "os.waitpid(pid, 0)"},
    "that nobody waits for": {
        "before": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "wait": "\n        with __import__('contextlib').suppress(ChildProcessError):"
        "\n            os.waitpid(pid, 0)",
    },
    "that become zombies": {"wait": "os.waitid(os.P_PID, pid, os.WEXITED|os.WNOWAIT)"},
}


@pytest.mark.parametrize("how", WAITS)
def test_the_time_of_children_counts(how: str) -> None:
    """Also if they have ended, whoever looks after them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with worker(FORK, **WAITS[how]) as forking:
        start = time.clock_gettime(_costs._clock(forking.pid))
        with Meter(ProcessTree(forking.pid)) as meter:
            forking.work(0.5)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert 0.4 <= meter.cpu < 0.6
    if how == "that are waited for":  # the only ones that the kernel sums up
        truth = sum(after[:2]) - sum(before[:2])
        assert truth - start - 0.05 < meter.cpu < truth + 0.01


def test_children_that_were_there_before_count_from_now_on() -> None:
    """What their parent is told when they end holds all of their life."""
    program = (
        BURN
        + """
import os
burn_first, wakes = os.pipe()
pid = os.fork()
if not pid:
    burn(0.3)
    os.write(wakes, b".")
    sys.stdin.readline()
    burn(0.1)
    os._exit(0)
os.read(burn_first, 1)
print("done", flush=True)
os.waitpid(pid, 0)
print("done", flush=True)
"""
    )
    with worker(program) as forking:
        assert forking.process.stdout is not None
        assert forking.process.stdout.readline() == "done\n"
        with Meter(ProcessTree(forking.pid)) as meter:
            forking.work(0)

    assert 0.07 <= meter.cpu < 0.15


def test_descendants_are_found() -> None:
    """Children of children, and those that threads have."""
    program = """
import subprocess, sys, threading
def start():
    global child
    child = subprocess.Popen(["sh", "-c", "sleep 600 & echo done; wait"])
thread = threading.Thread(target=start)
thread.start()
thread.join()
sys.stdin.readline()
child.kill()
"""
    with worker(program) as parent:
        assert parent.process.stdout is not None
        assert parent.process.stdout.readline() == "done\n"
        pids = ProcessTree(parent.pid).pids()
        os.kill(pids[-1], signal.SIGKILL)

    assert pids[0] == parent.pid
    assert len(pids) == 3


def test_children_are_found_without_the_kernels_list() -> None:
    """A kernel may be built without it (CONFIG_PROC_CHILDREN)."""
    with worker(SPIN) as one, worker(SPIN) as other:
        listed = _costs.children_as_listed(os.getpid())
        found = _costs.children_by_parent(os.getpid())

    assert {one.pid, other.pid} <= set(found)
    assert sorted(found) == sorted(listed)


def test_memory_is_the_most_that_was_seen() -> None:
    """While it grows, and when it has."""
    with worker(GROW) as growing:
        growing.work(1)
        with Meter(ProcessTree(growing.pid)) as meter:
            growing.work(32)

    assert meter.memory_before is not None
    assert meter.memory is not None
    assert 30 << 20 < meter.memory - meter.memory_before < 40 << 20


def test_memory_that_processes_share_counts_once() -> None:
    """A proxy of many processes is not as many times as large."""
    program = """
import os, sys
kept = b"x" * (64 << 20)
pids = []
for _ in range(4):
    pids.append(os.fork())
    if not pids[-1]:
        sys.stdin.readline()
        os._exit(0)
print("done", flush=True)
for pid in pids:
    os.kill(pid, 9) if sys.stdin.readline() == "" else os.waitpid(pid, 0)
"""
    with worker(program) as forking:
        assert forking.process.stdout is not None
        assert forking.process.stdout.readline() == "done\n"
        tree = ProcessTree(forking.pid)
        memory, processes = tree.memory(), len(tree.pids())
        for pid in tree.pids()[1:]:
            os.kill(pid, signal.SIGKILL)

    assert processes == 5
    assert memory is not None
    assert 64 << 20 < memory < 120 << 20


def test_a_process_that_has_ended_has_no_memory() -> None:
    """And costs what was seen of it."""
    with worker(SPIN) as spinning:
        tree = ProcessTree(spinning.pid)
        with Meter(tree) as meter:
            spinning.work(0.1)
            spinning.process.kill()
            spinning.process.wait()

    assert tree.memory() is None
    assert tree.threads() == []
    assert 0.0 <= meter.cpu < 0.2


def test_the_time_of_threads_is_read() -> None:
    """Those of this process that are where one of them is."""
    ready, end = threading.Event(), threading.Event()

    def burn() -> None:
        clock = time.thread_time
        start = clock()
        while clock() - start < 0.1:
            pass
        ready.set()
        end.wait()

    # in a thread of its own, as the thread that measures is left out
    measured: list[float] = []

    def measure() -> None:
        thread = threading.Thread(target=burn)
        subject = OwnThreads(threading.main_thread().native_id or 0)
        with Meter(subject) as meter:
            thread.start()
            assert ready.wait(10)
        measured.append(meter.cpu)
        assert subject.memory() is None
        assert thread.native_id in subject.threads()
        assert threading.get_native_id() not in subject.threads()
        end.set()
        thread.join()

    measuring = threading.Thread(target=measure)
    measuring.start()
    measuring.join()
    assert 0.1 <= measured[0] < 0.15


def test_a_process_number_is_enough() -> None:
    """For proxies that nobody here has started."""
    with worker(SPIN) as spinning:
        subject = subject_of(spinning.pid)
        assert isinstance(subject, ProcessTree)
        assert subject.pid == spinning.pid


def test_a_process_that_is_not_there_is_an_error() -> None:
    """Before anything is measured."""
    with worker(SPIN) as spinning:
        pass

    with pytest.raises(BenchmarkError, match=f"there is no process {spinning.pid}"):
        subject_of(spinning.pid)
