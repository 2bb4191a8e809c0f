"""``with ns:`` brings the calling thread inside, and always back.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import subprocess
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    ClosedError,
    Namespace,
    Network,
    NetworkManager,
    Topology,
    Veth,
    build,
)
from pytest_netns._nsfile import go_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)
THREADS = 50

pytestmark = pytest.mark.netns(PAIR)


def here() -> int:
    """Return the inode of the calling thread's network namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


@pytest.fixture(autouse=True)
def _back_home_after_each() -> Iterator[None]:
    """Check that the main thread is where it was, whatever the test did."""
    before = here()
    yield
    assert here() == before


def in_thread(function: Callable[[], int]) -> int:
    """Return what `function` returns in a new thread."""
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(10)
    return results[0]


def test_inside(netns: Network) -> None:
    """The thread is in the namespace within the block, and back after it."""
    outside = here()
    with netns["left"] as entered:
        assert entered is netns["left"]
        assert here() == netns["left"].inode
        assert {name for _, name in socket.if_nameindex()} >= {"lo", "eth0"}
    assert here() == outside
    assert outside not in {netns["left"].inode, netns["right"].inode}


def test_namespaces_are_different(netns: Network) -> None:
    """Two namespaces of a network have inodes of their own."""
    assert netns["left"].inode != netns["right"].inode


def test_nesting(netns: Network) -> None:
    """Each inner block leads back to the outer one, the same namespace included."""
    left, right = netns["left"], netns["right"]
    with left:
        with right:
            with left, left:
                assert here() == left.inode
            assert here() == right.inode
        assert here() == left.inode


def test_deep_nesting_leaves_no_descriptors(netns: Network) -> None:
    """A hundred nested blocks close every descriptor that they needed."""
    with netns["left"]:
        pass  # what is made once is there
    before = len(list(Path("/proc/self/fd").iterdir()))
    with contextlib.ExitStack() as stack:
        for number in range(100):
            stack.enter_context(netns["left" if number % 2 else "right"])
        assert here() == netns["left"].inode
        assert len(list(Path("/proc/self/fd").iterdir())) > before, (
            "it could have leaked"
        )
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_exception_inside(netns: Network) -> None:
    """An exception passes through unchanged, and the thread is back."""
    outside = here()
    error = ValueError("inside")
    with pytest.raises(ValueError, match="inside") as caught, netns["left"]:
        raise error
    assert caught.value is error
    assert here() == outside


def test_skip_inside(netns: Network) -> None:
    """`pytest.skip` passes through as well."""
    with pytest.raises(pytest.skip.Exception), netns["left"]:
        pytest.skip("not today")


def test_return_and_continue(netns: Network) -> None:
    """Leaving the block by return or continue brings the thread back."""

    def visit() -> int:
        for _ in range(3):
            with netns["left"]:
                continue
        with netns["right"]:
            return here()

    assert visit() == netns["right"].inode


def test_generator_that_is_closed_inside(netns: Network) -> None:
    """A generator that enters, such as a fixture, leaves when it is closed."""

    def steps() -> Iterator[int]:
        with netns["left"]:
            yield here()

    generator = steps()
    assert next(generator) == netns["left"].inode
    generator.close()  # type: ignore[attr-defined]  # it is a generator
    assert here() != netns["left"].inode


def test_only_the_calling_thread(netns: Network) -> None:
    """Threads that were there before stay where they are."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        outside = pool.submit(here).result()
        with netns["left"]:
            assert pool.submit(here).result() == outside
            assert here() != outside


def test_thread_started_inside(netns: Network) -> None:
    """A thread started inside is inside, and stays there while its starter leaves."""
    left, go = netns["left"], threading.Event()
    seen: list[int] = []

    def look() -> None:
        assert go.wait(10)
        seen.append(here())

    with left:
        assert in_thread(here) == left.inode
        thread = threading.Thread(target=look)
        thread.start()
    go.set()
    thread.join(10)
    assert seen == [left.inode]


def test_child_started_inside(netns: Network) -> None:
    """A process started inside is inside, by whatever means it is started."""
    with netns["left"]:
        seen = subprocess.check_output(["readlink", "/proc/self/ns/net"], text=True)
    assert seen.strip() == f"net:[{netns['left'].inode}]"


def test_socket_made_inside(netns: Network) -> None:
    """A socket belongs to the namespace it was made in, and works outside of it."""
    with netns["left"]:
        listener = socket.create_server(("10.0.0.1", 8000))
    with netns["right"]:
        client = socket.create_connection(("10.0.0.1", 8000), timeout=5)
    with listener, client:
        server, peer = listener.accept()
        with server:
            assert peer[0] == "10.0.0.2"


def test_keyboard_interrupt_inside(netns: Network) -> None:
    """Ctrl-C inside the block brings the thread back."""
    main = threading.main_thread().ident
    assert main is not None

    def visit(thread: int) -> None:
        with netns["left"]:
            signal.pthread_kill(thread, signal.SIGINT)
            pytest.fail("there was no Ctrl-C")

    with pytest.raises(KeyboardInterrupt):
        visit(main)
    assert here() != netns["left"].inode


def test_interrupts_at_any_moment(netns: Network) -> None:
    """Ctrl-C while entering or leaving is undone, but for one moment.

    Python cannot prevent it from coming just before `__exit__` begins; the
    plugin then brings the main thread home at the end of the test.
    """
    outside, interrupted, armed = here(), 0, False

    def interrupt(number: int, frame: object) -> None:
        if armed:
            raise KeyboardInterrupt

    gc.collect()
    gc.disable()  # a finalizer that is interrupted is not what is tested
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in range(1, 400):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, delay * 1e-6)
                for _ in range(20):
                    with netns["left"]:
                        pass
                armed = False
            except KeyboardInterrupt as error:
                armed = False
                interrupted += 1
                if here() != outside:
                    *_, where, _ = traceback.walk_tb(error.__traceback__)
                    assert where[0].f_code.co_name == "__exit__"
                    assert where[1] == where[0].f_code.co_firstlineno
                    go_home("left")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interrupted > 50


def test_closed(netns_manager: NetworkManager) -> None:
    """A namespace of a closed network cannot be entered, and says so."""
    network = netns_manager.build(PAIR)
    left = network["left"]
    network.close()
    with pytest.raises(ClosedError, match="left"), left:
        pass


def test_fifty_threads_never_meet(netns: Network) -> None:
    """Fifty threads that enter fifty namespaces at once each see their own."""
    names = [f"m{number}" for number in range(THREADS)]
    netns.add(*map(Namespace, names))
    inodes = {netns[name].inode for name in names}
    assert len(inodes) == THREADS
    together = threading.Barrier(THREADS)

    def visit(name: str) -> set[int]:
        seen = set()
        outside = here()
        together.wait(20)
        for _ in range(50):
            with netns[name] as entered:
                seen.add(here() - entered.inode)
            seen.add(here() - outside)
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        assert set().union(*pool.map(visit, names)) == {0}


def test_fifty_threads_in_one(netns: Network) -> None:
    """Fifty threads may be in one namespace at once, and meet there."""
    together = threading.Barrier(THREADS)

    def visit(_: int) -> int:
        with netns["left"]:
            together.wait(20)  # all of them are inside now
            return here()

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(visit, range(THREADS))) == {netns["left"].inode}


def children() -> set[str]:
    """List the child processes of all threads of this process."""
    return {
        child
        for task in Path("/proc/self/task").iterdir()
        for child in _read(task / "children").split()
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def test_first_visits_at_once_leave_nothing() -> None:
    """Threads that are the first to enter, all at once, leave no process behind."""
    before = children()
    together = threading.Barrier(THREADS)
    with build(
        Topology(*(Namespace(f"m{number}") for number in range(THREADS)))
    ) as network:

        def visit(name: str) -> bool:
            together.wait(20)
            with network[name]:
                return here() == network[name].inode

        with ThreadPoolExecutor(THREADS) as pool:
            assert all(pool.map(visit, [namespace.name for namespace in network]))
        assert len(children() - before) == 1, "one watcher, which ends with the network"
    assert children() == before
