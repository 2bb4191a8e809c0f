"""Keeping threads on processors; all that we may use is what there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from pytest_netns._costs import OwnThreads, ProcessTree
from pytest_netns._pinning import check_pins, pinned

USABLE = os.sched_getaffinity(0)
FIRST = min(USABLE)
several = pytest.mark.skipif(len(USABLE) < 2, reason="there is one processor only")


@pytest.mark.parametrize("wanted", [FIRST, {FIRST}, [FIRST], (FIRST, FIRST)])
def test_a_pin_is_a_processor_or_several(wanted: int | list[int]) -> None:
    """Each role has its own; who has none is left alone."""
    assert check_pins({"client": wanted}) == {"client": frozenset({FIRST})}
    assert check_pins(None) == {}


@pytest.mark.parametrize(
    ("pin", "message"),
    [
        (
            {"server": 4096},
            "'server' cannot run on processor 4096; those .* used: 0, 1",
        ),
        ({"proxy": {0, -1}}, "'proxy' cannot run on processor -1"),
        ({"clint": 0}, "unknown role 'clint'; known: client, server, proxy"),
        ({"client": []}, "no processor for 'client'"),
    ],
)
def test_a_wrong_pin_is_an_error(pin: dict[str, int], message: str) -> None:
    """It says what there is."""
    with pytest.raises(ValueError, match=message):
        check_pins(pin, usable={0, 1})


PROGRAM = """
import os, signal, sys, threading
def wait():
    gate.wait()
gate = threading.Event()
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
if not os.fork():
    signal.pause()
print("there", flush=True)
sys.stdin.readline()
threading.Thread(target=wait, daemon=True).start()
print("one more", flush=True)
sys.stdin.readline()
"""


@several
def test_threads_are_put_back_where_they_were() -> None:
    """All of a process and its children, and those that began meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        tree = ProcessTree(process.pid)
        with pinned(tree, {FIRST}):
            threads = tree.threads()
            inside = [os.sched_getaffinity(thread) for thread in threads]
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"one more\n"
            more = tree.threads()
            born = [os.sched_getaffinity(thread) for thread in more]
        after = [os.sched_getaffinity(thread) for thread in tree.threads()]
        for pid in reversed(tree.pids()):
            os.kill(pid, signal.SIGKILL)

    assert len(threads) == 5
    assert inside == [{FIRST}] * 5
    assert set(more) - set(threads)
    assert born == [{FIRST}] * len(more)
    assert after == [USABLE] * len(after)


@several
def test_a_thread_that_has_its_own_processors_gets_them_back() -> None:
    """It is not the pin's business to change them."""
    end, begun = threading.Event(), threading.Event()

    def choose() -> None:
        os.sched_setaffinity(0, {max(USABLE)})
        begun.set()
        end.wait()

    thread = threading.Thread(target=choose)
    thread.start()
    assert begun.wait(10)
    assert thread.native_id is not None
    subject = OwnThreads(thread.native_id)
    with pinned(subject, {FIRST}):
        inside = os.sched_getaffinity(thread.native_id)
    after = os.sched_getaffinity(thread.native_id)
    end.set()
    thread.join()

    assert inside == {FIRST}
    assert after == {max(USABLE)}
    assert os.sched_getaffinity(0) == USABLE


@several
def test_an_error_puts_them_back_as_well() -> None:
    """Whatever happens in the block."""
    with subprocess.Popen(["sleep", "600"]) as process:
        with pytest.raises(KeyError), pinned(ProcessTree(process.pid), {FIRST}):
            raise KeyError
        after = os.sched_getaffinity(process.pid)
        process.kill()

    assert after == USABLE
