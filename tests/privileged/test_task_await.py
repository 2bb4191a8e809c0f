"""Tasks awaited in an event loop.

::

    left
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, Topology

pytestmark = pytest.mark.netns(Topology(Namespace("left")))


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace."""
    return netns["left"]


def test_value(left: NetworkNamespace) -> None:
    """Awaiting a task gives its value, before and after it has ended."""

    async def main() -> tuple[int, int]:
        task = left.spawn(len, "four")
        return await task, await task

    assert asyncio.run(main()) == (4, 4)


def test_exception(left: NetworkNamespace) -> None:
    """Awaiting a task raises its exception."""

    async def main() -> int:
        return await left.spawn(int, "four")

    with pytest.raises(ValueError, match="four"):
        asyncio.run(main())


def test_loop_goes_on(left: NetworkNamespace) -> None:
    """Other coroutines run while one awaits a task."""
    gate = threading.Event()

    async def open_gate() -> None:
        await asyncio.sleep(0.01)
        gate.set()

    async def main() -> bool:
        opening = asyncio.ensure_future(open_gate())
        passed = await left.spawn(gate.wait, 10)
        await opening
        return passed

    assert asyncio.run(main()) is True


def test_many_at_once(left: NetworkNamespace) -> None:
    """Tasks run at the same time when they are gathered."""
    together = threading.Barrier(10)

    async def main() -> list[int]:
        return await asyncio.gather(*(left.spawn(together.wait, 10) for _ in range(10)))

    assert sorted(asyncio.run(main())) == list(range(10))


def test_several_wait_for_one(left: NetworkNamespace) -> None:
    """Several coroutines, and loops, may await the same task."""
    gate = threading.Event()
    task = left.spawn(gate.wait, 10)

    async def wait() -> bool:
        return await task

    async def main() -> list[bool]:
        waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [True] * 3
    assert asyncio.run(wait()) is True


def test_timeout(left: NetworkNamespace) -> None:
    """A coroutine that gives up leaves the task, and the namespace, in order."""
    gate = threading.Event()

    def wait_for_gate() -> str:
        gate.wait(10)
        return threading.current_thread().name

    task = left.spawn(wait_for_gate)

    async def give_up() -> None:
        async def wait() -> str:
            return await task

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.02)

    asyncio.run(give_up())  # its loop is closed when the task ends
    gate.set()
    assert "left" in task.result(10)
    deadline = time.monotonic() + 10
    while not task.done() and time.monotonic() < deadline:
        time.sleep(0.001)
    for _ in range(3):
        assert left.spawn(len, "four").result(10) == 4


@pytest.mark.asyncio
async def test_in_a_test_that_is_a_coroutine(netns: Network) -> None:
    """Fixtures and tasks work in tests of pytest-asyncio."""
    left = netns["left"]
    assert await left.spawn(len, "four") == 4
    assert left.call(len, "four") == 4
    with left:
        await asyncio.sleep(0)
