"""`call`, `spawn` and `Task`: functions that run inside.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import socket
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    ClosedError,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
    WaitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar(
    "VARIABLE", default="unset"
)

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that most tests call into."""
    return netns["left"]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give an event that tasks wait for, set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def here() -> int:
    """Return the inode of the calling thread's network namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def describe(*args: object, **kwargs: object) -> tuple[object, ...]:
    """Return where this is called, and with what."""
    return here(), args, kwargs


def fail_deep_inside() -> None:
    """Raise an error two calls down."""

    def deeper() -> None:
        raise LookupError("deep inside")

    deeper()


def names_in(error: BaseException) -> list[str]:
    """Return the functions in the traceback of `error`."""
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)]


class TestCall:
    """`ns.call`."""

    def test_value(self, left: NetworkNamespace) -> None:
        """The function gets its arguments inside, and its value comes back."""
        outside = here()
        assert left.call(describe, 1, two=2) == (left.inode, (1,), {"two": 2})
        assert left.call(lambda: None) is None
        assert here() == outside

    def test_any_argument_name(self, left: NetworkNamespace) -> None:
        """Keyword arguments may have any name but `function`."""
        named = {"args": 1, "kwargs": 2, "timeout": 3, "name": 4}
        assert left.call(describe, **named)[2] == named

    def test_exception(self, left: NetworkNamespace) -> None:
        """An exception comes back with the traceback of where it was raised."""
        with pytest.raises(LookupError, match="deep inside") as caught:
            left.call(fail_deep_inside)
        assert names_in(caught.value)[-2:] == ["fail_deep_inside", "deeper"]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_exceptions_that_end_programs(
        self, left: NetworkNamespace, kind: type[BaseException]
    ) -> None:
        """Every exception is the caller's, and the thread serves on."""

        def fail() -> None:
            raise kind("from inside")

        with pytest.raises(kind, match="from inside"):
            left.call(fail)
        assert left.call(here) == left.inode

    def test_pytest_outcomes(self, left: NetworkNamespace) -> None:
        """`pytest.skip` and `pytest.fail` inside act on the test."""
        with pytest.raises(pytest.skip.Exception, match="not here"):
            left.call(pytest.skip, "not here")
        with pytest.raises(pytest.fail.Exception, match="wrong"):
            left.call(pytest.fail, "wrong")

    def test_context_variables(self, left: NetworkNamespace) -> None:
        """The function sees the caller's context variables, and changes its own."""

        def change() -> str:
            seen = VARIABLE.get()
            VARIABLE.set("changed inside")
            return seen

        token = VARIABLE.set("outside")
        try:
            assert left.call(change) == "outside"
            assert VARIABLE.get() == "outside"
            assert left.call(VARIABLE.get) == "outside"
        finally:
            VARIABLE.reset(token)

    def test_working_directory(
        self, left: NetworkNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The function is where its caller is, before and after the caller moves."""
        assert left.call(os.getcwd) == str(Path.cwd())
        monkeypatch.chdir(tmp_path)
        assert left.call(os.getcwd) == str(tmp_path)
        assert left.spawn(os.getcwd).result() == str(tmp_path)
        left.call(os.chdir, "/")
        assert str(Path.cwd()) == str(tmp_path), "the caller stays"
        assert left.call(os.getcwd) == str(tmp_path)

    def test_working_directory_that_is_gone(
        self, left: NetworkNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A caller whose directory was removed can still call."""
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert left.call(here) == left.inode

    def test_concurrent_calls(self, left: NetworkNamespace) -> None:
        """Calls at the same time do not wait for one another."""
        together = threading.Barrier(10)

        def meet() -> int:
            together.wait(10)
            return here()

        with ThreadPoolExecutor(10) as pool:
            calls = [pool.submit(left.call, meet) for _ in range(10)]
            assert {call.result() for call in calls} == {left.inode}

    def test_reentrant(self, netns: Network) -> None:
        """A called function may call again, into the same namespace and another one."""
        left, right = netns["left"], netns["right"]

        def visit() -> list[int]:
            return [here(), left.call(here), right.call(left.call, here), here()]

        assert left.call(visit) == [left.inode] * 4

    def test_threads_are_used_again(self, left: NetworkNamespace) -> None:
        """One call after another needs one thread."""
        assert len({left.call(threading.get_ident) for _ in range(20)}) == 1

    def test_values_are_let_go(self, left: NetworkNamespace) -> None:
        """Neither arguments nor values live on in the namespace's thread."""

        class Thing:
            pass

        thing = left.call(lambda one: one, Thing())
        reference = weakref.ref(thing)
        del thing
        gc.collect()
        assert reference() is None

    def test_home_is_another_namespace(self, netns: Network) -> None:
        """A call from within another namespace is inside its own, too."""
        with netns["right"]:
            assert netns["left"].call(here) == netns["left"].inode
            assert here() == netns["right"].inode

    def test_function_that_strays(self, netns: Network) -> None:
        """A function that leaves its thread elsewhere by itself is brought back."""
        left = netns["left"]
        stack = contextlib.ExitStack()
        left.call(stack.enter_context, netns["right"])
        assert left.call(here) == left.inode
        assert left.call(here) == left.inode

    def test_asyncio_run_inside(self, left: NetworkNamespace) -> None:
        """A function may run an event loop of its own."""

        async def visit() -> int:
            await asyncio.sleep(0)
            return here()

        assert left.call(asyncio.run, visit()) == left.inode

    def test_from_a_running_loop(self, left: NetworkNamespace) -> None:
        """A coroutine may call, and the called function may run another loop."""

        async def visit() -> int:
            await asyncio.sleep(0)
            return here()

        async def main() -> int:
            return left.call(lambda: asyncio.run(visit()))

        assert asyncio.run(main()) == left.inode

    def test_closed(self, netns_manager: NetworkManager) -> None:
        """A closed network takes no calls, whether there were some before or not."""
        network = netns_manager.build(PAIR)
        left, right = network["left"], network["right"]
        left.call(here)
        network.close()
        for closed in (left, right):
            with pytest.raises(ClosedError, match=closed.name):
                closed.call(here)
            with pytest.raises(ClosedError, match=closed.name):
                closed.spawn(here)


class TestSpawn:
    """`ns.spawn` and its `Task`."""

    def test_result(self, left: NetworkNamespace) -> None:
        """The value is there when asked for, as often as wanted."""
        task = left.spawn(describe, 1, two=2)
        assert task.result() == task.result(0) == (left.inode, (1,), {"two": 2})
        assert task.done()

    def test_in_the_background(
        self, left: NetworkNamespace, gate: threading.Event
    ) -> None:
        """It returns at once, and tells whether the task has ended."""
        task = left.spawn(gate.wait, 10)
        assert not task.done()
        assert "running" in repr(task)
        gate.set()
        assert task.result(10) is True
        assert task.done()
        assert "ended" in repr(task)

    def test_timeout(self, left: NetworkNamespace, gate: threading.Event) -> None:
        """A result that does not come in time is a `WaitTimeout`; the task goes on."""

        def wait_for_gate() -> str:
            gate.wait(10)
            return "late"

        task = left.spawn(wait_for_gate)
        start = time.monotonic()
        with pytest.raises(
            WaitTimeout, match=r"0\.05 s.*wait_for_gate.*'left'"
        ) as caught:
            task.result(timeout=0.05)
        assert time.monotonic() - start >= 0.05
        assert isinstance(caught.value, TimeoutError)
        gate.set()
        assert task.result(10) == "late"

    def test_exception(self, left: NetworkNamespace) -> None:
        """Its exception comes with its traceback, each time it is asked for."""
        task = left.spawn(fail_deep_inside)
        for _ in range(2):
            with pytest.raises(LookupError, match="deep inside") as caught:
                task.result(10)
            assert names_in(caught.value)[-2:] == ["fail_deep_inside", "deeper"]

    def test_failed_unobserved(self, netns_manager: NetworkManager) -> None:
        """A task whose error nobody has asked for fails the block of its network."""

        def forget() -> None:
            with netns_manager.build(PAIR) as network:
                task = network["left"].spawn(fail_deep_inside)
                network["left"].wait_until(task.done)

        with pytest.raises(LookupError, match="deep inside") as caught:
            forget()
        assert "deeper" in names_in(caught.value)

    def test_failed_observed(self, netns_manager: NetworkManager) -> None:
        """A task whose error was seen is nobody's business any more."""
        with netns_manager.build(PAIR) as network:
            task = network["left"].spawn(fail_deep_inside)
            with pytest.raises(LookupError):
                task.result(10)
            assert task.failure() is None
            assert network.take_failures() == []

    def test_context_variables(self, left: NetworkNamespace) -> None:
        """A task sees the context variables of the moment it was spawned."""
        token = VARIABLE.set("then")
        task = left.spawn(VARIABLE.get)
        VARIABLE.reset(token)
        assert task.result(10) == "then"

    def test_server_and_client(self, netns: Network) -> None:
        """A server in the background serves a client that is called."""
        with netns["left"]:
            listener = socket.create_server(("10.0.0.1", 8000))

        def serve() -> tuple[str, int]:
            connection, peer = listener.accept()
            with connection:
                connection.sendall(b"hello")
            return str(peer[0]), here()

        def ask() -> bytes:
            with socket.create_connection(("left", 8000), timeout=10) as connection:
                return connection.recv(100)

        with listener:
            server = netns["left"].spawn(serve)
            assert netns["right"].call(ask) == b"hello"
            assert server.result(10) == ("10.0.0.2", netns["left"].inode)
