"""A signal whose handler raises, such as Ctrl-C or a timeout's, at any line of ours."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pytest_netns
from pytest_netns import Namespace, NetworkManager, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from pytest_netns import Network

LONE = Topology(Namespace("left"))

#: The files at whose lines a network may come into being, or go, half-way.
FILES = ("manager.py", "network.py", "_signals.py")


class Interruption(BaseException):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, before)


class Lines:
    """Lines of the package, at each of which work is interrupted once."""

    def __init__(self) -> None:
        self.met: set[tuple[str, int]] = set()
        #: The file of the line that was met last.
        self.last = ""

    def interrupt(self, work: Callable[[], object]) -> bool:
        """Work, and be interrupted at a line that was not met before, if there is one.

        Returns:
            Whether the signal was sent; its handler may have been put off.
        """
        self._is_sent = False
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            with contextlib.suppress(Interruption):
                work()
        finally:
            sys.settrace(before)
        return self._is_sent

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if self._is_sent or Path(frame.f_code.co_filename).name not in FILES:
            return None
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and place not in self.met:
            self.met.add(place)
            self.last = frame.f_code.co_filename
            self._is_sent = True
            signal.raise_signal(signal.SIGALRM)
        return self._trace


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """Give a manager that has built before, so that what it keeps is there."""
    with NetworkManager() as manager:
        manager.build(LONE).close()
        yield manager


def is_held(inode: int) -> bool:
    """Tell whether a descriptor of this process is of a namespace."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()) == f"net:[{inode}]":
                return True
    return False


def test_build(manager: NetworkManager) -> None:
    """A build that is interrupted anywhere leaves no network with the manager."""
    lines = Lines()
    built: list[Network] = []
    manager.when_built.append(built.append)

    def build() -> None:
        network = manager.build(LONE)
        sys.settrace(None)  # from here on it is the caller's
        network.close()

    while lines.interrupt(build):
        assert manager.networks == []
        for network in built:
            assert network.closed
    assert len(built) > 20
    assert len({name for name, _ in lines.met}) == len(FILES)


def test_close(manager: NetworkManager) -> None:
    """A network whose end is interrupted is gone, or there to be closed again."""
    lines = Lines()
    counts = {True: 0, False: 0}
    is_sent = True
    while is_sent:
        network = manager.build(LONE)
        process = network["left"].popen(["sleep", "600"])
        inode = network["left"].inode
        assert is_held(inode)
        is_sent = lines.interrupt(network.close)
        counts[network.closed] += 1
        if not network.closed:
            # once it has come to signals, it goes on by itself
            assert not lines.last.endswith("_signals.py")
            assert process.poll() is None
            assert network["left"].run(["true"]).returncode == 0
        network.close()
        assert process.poll() is not None
        assert not is_held(inode)
        assert manager.networks == []
    assert min(counts.values()) > 0
    assert counts[True] > 20


def test_scapy() -> None:
    """The import of scapy is not interrupted half-way: it would not know its layers."""
    package = str(Path(pytest_netns.__file__).parent.parent)
    program = f"""
import signal, sys
sys.path.insert(0, {package!r})
from pytest_netns import _scapy

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "scapy.layers.inet":
            signal.raise_signal(signal.SIGALRM)

def interrupt(number, frame):
    raise BrokenPipeError("scapy.sendrecv" in sys.modules)

signal.signal(signal.SIGALRM, interrupt)
sys.meta_path.insert(0, Finder())
try:
    _scapy.load()
except BrokenPipeError as error:
    assert error.args == (True,), "in the middle"
else:
    raise AssertionError("not interrupted")
layers = _scapy.load().layers
packet = layers.inet.UDP(sport=67, dport=68) / layers.dhcp.BOOTP()
assert layers.dhcp.BOOTP in layers.inet.UDP(bytes(packet))
"""
    manager = pytest_netns.build(LONE)
    with manager as network:
        network["left"].run([sys.executable, "-c", program])


def test_sockets(manager: NetworkManager) -> None:
    """Nothing of ours runs when a socket goes: what a handler raises would get lost."""
    with manager.build(LONE) as network:
        made = network["left"].socket()
        made.close()
        events = []

        def trace(frame: FrameType, event: str, _: object) -> None:
            events.append((frame.f_code.co_filename, frame.f_code.co_name))

        before = sys.gettrace()
        sys.settrace(trace)
        del made
        sys.settrace(before)
        assert events == []
        # those that are still there are known
        kept = network["left"].socket()
        assert network["left"].open_sockets() == [kept]
        kept.close()
