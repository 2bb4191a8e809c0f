from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import _agent
from pytest_netns._agent import Agent
from pytest_netns._agents import Agents
from pytest_netns._processes import wait_readable
from pytest_netns.errors import BenchmarkError, BenchmarkTimeout, MissingTool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Orders that a load has no use for, and that show what can become of one.
ORDERS = """
import os, signal, sys, threading, time
from pytest_netns import _load_main
from pytest_netns._load_main import Failure

def add(say, a, b): return a + b
def long(say, length): return [0.125] * length
def listen(say, port): say(port); time.sleep(60)
def fail(say, kind): raise Failure("no such thing", kind)
def refuse(say): raise ConnectionRefusedError(111, "Connection refused")
def crash(say): return 1 / 0
def leave(say): os._exit(7)
def be_killed(say): os.kill(os.getpid(), signal.SIGKILL)
def write(say): print("to nobody", flush=True); return os.getpid()
def processors(say): return sorted(os.sched_getaffinity(0))
def end_everything(say): os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
def slowly(say, number): time.sleep(0.05); return [number] * 50_000

_load_main._function = lambda order: globals()[order]
_load_main.main()
"""


class Started:
    """What an agent needs of a process."""

    def __init__(self, args: Sequence[str], stdin: int | None) -> None:
        self._popen = subprocess.Popen(
            args,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self.output = ""

    def kill(self) -> None:
        """End it."""
        self._popen.kill()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._popen.wait()
        assert self._popen.stdout is not None
        if not self._popen.stdout.closed:
            self.output = self._popen.stdout.read().decode()
            self._popen.stdout.close()


class Here:
    """A place that is no namespace: this machine, where nothing is sent."""

    name = "here"

    def __init__(self) -> None:
        self.started: list[Started] = []

    def popen(self, args: Sequence[str], *, stdin: int | None = None, **_: Any) -> Any:
        """Start a process that has the orders of this file."""
        where = args.index("-c") + 1
        paths = "import sys; sys.path[:0] = sys.argv[1:]\n"
        started = Started([*args[:where], paths + ORDERS, *args[where + 1 :]], stdin)
        self.started.append(started)
        return started


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Give an agent."""
    with Agent(Here()) as agent:
        yield agent


def test_an_order_has_a_result(agent: Agent) -> None:
    """The function is called with the arguments, in another process."""
    assert agent.carry_out("add", 5, a=2, b=3) == 5
    assert agent.carry_out("write", 5) not in {os.getpid(), agent.process.pid}


def test_a_long_answer_arrives_whole(agent: Agent) -> None:
    """Longer than what a socket takes at once."""
    assert agent.carry_out("long", 5, length=1_000_000) == [0.125] * 1_000_000


def test_orders_are_carried_out_side_by_side(agent: Agent) -> None:
    """Their answers come in any order, and none is cut by another one."""
    orders = [agent.begin("slowly", number=number) for number in range(20)]

    for number, order in reversed([*enumerate(orders)]):
        assert order.result(20) == [number] * 50_000


def test_a_server_says_when_it_listens(agent: Agent) -> None:
    """And goes on until it is stopped, which the next order does not notice."""
    with agent.begin("listen", port=5201) as server:
        assert server.wait_ready() == 5201
        assert agent.carry_out("add", 5, a=1, b=1) == 2
    with pytest.raises(BenchmarkError, match=r"listen in namespace 'here' has ended"):
        server.result(1)


@pytest.mark.parametrize(
    ("order", "kind", "message"),
    [
        ({"order": "fail", "kind": "failed"}, BenchmarkError, "failed: no such thing"),
        ({"order": "fail", "kind": "timeout"}, BenchmarkTimeout, "no such thing"),
        ({"order": "fail", "kind": "missing"}, MissingTool, "^no such thing$"),
        ({"order": "refuse"}, BenchmarkError, "refuse in namespace 'here' failed: .*"),
        ({"order": "crash"}, BenchmarkError, "ZeroDivisionError: division by zero"),
        ({"order": "leave"}, BenchmarkError, r"leave in .* has ended \(7\)"),
        ({"order": "be_killed"}, BenchmarkError, r"has ended \(-9\)"),
    ],
)
def test_what_can_become_of_an_order(
    agent: Agent, order: dict[str, str], kind: type[Exception], message: str
) -> None:
    """Each end is an error of its own, and spoils nothing but its order."""
    with pytest.raises(kind, match=message):
        agent.carry_out(order.pop("order"), 5, **order)
    assert agent.carry_out("add", 5, a=1, b=1) == 2


def test_a_limit_in_time(agent: Agent) -> None:
    """What is not done in time is stopped."""
    order = agent.begin("listen", port=1)
    order.wait_ready()
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    assert children.read_text().split()

    with pytest.raises(BenchmarkTimeout, match=r"not done within 0.05 s"):
        order.result(0.05)
    assert not children.read_text().split()


def test_the_program_itself_ends(agent: Agent) -> None:
    """The error comes at once, not when time has run out."""
    began = time.monotonic()
    with pytest.raises(BenchmarkError, match="process of the load in namespace 'here'"):
        agent.carry_out("end_everything", 60)
    assert time.monotonic() - began < 30


def test_closing_ends_all_that_was_begun() -> None:
    """Also a server that nobody has stopped."""
    agent = Agent(Here())
    server = agent.begin("listen", port=1)
    server.wait_ready()
    pid = agent.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    watch = os.pidfd_open(int(child))
    try:
        agent._connection.close()
        agent.process.wait()
        assert wait_readable(watch, 10)
    finally:
        os.close(watch)
    agent.close()


def test_processors(agent: Agent) -> None:
    """An agent is kept to the processors that it is given, and so are its orders."""
    everything = os.sched_getaffinity(0)
    assert agent.carry_out("processors", 5) == sorted(everything)
    one = min(everything)
    with Agent(Here(), {one}) as pinned:
        assert pinned.carry_out("processors", 5) == [one]


def test_an_agent_is_lent_again() -> None:
    """One that is idle is; another thread gets one of its own at the same time."""
    place = Here()
    with Agents() as agents:
        with agents.borrow(place) as first:
            pass
        with agents.borrow(place) as second, agents.borrow(place) as third:
            assert second is first
            assert third is not first
        with agents.borrow(place, {min(os.sched_getaffinity(0))}) as pinned:
            assert pinned not in (first, third)
    assert len(place.started) == 3
    codes = [started._popen.poll() for started in place.started]
    assert codes == [-9] * 3


def test_an_agent_that_failed_is_not_lent_again() -> None:
    """Something of it might still run."""
    place = Here()
    with Agents() as agents:
        with pytest.raises(BenchmarkError), agents.borrow(place) as first:
            first.carry_out("leave", 5)
        with agents.borrow(place) as second:
            assert second is not first
            assert second.carry_out("add", 5, a=1, b=1) == 2


def test_many_threads_borrow() -> None:
    """Each carries out its own order."""
    place = Here()
    results: list[int] = []

    def work(number: int) -> None:
        with agents.borrow(place) as agent:
            results.append(agent.carry_out("add", 20, a=number, b=0))

    with Agents() as agents:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == list(range(8))


def test_the_program_needs_nothing_from_outside() -> None:
    """It starts without what the package depends on."""
    program = (
        "import sys; before = set(sys.modules); import pytest_netns._load_main; "
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(_agent.__file__).parents[1])
    completed = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0]=[{root!r}]; {program}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(completed.stdout.split())
    assert "pytest_netns._load_main" in loaded
    assert {name.partition(".")[0] for name in loaded} <= {
        "pytest_netns",
        *sys.stdlib_module_names,
    }
