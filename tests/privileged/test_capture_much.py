"""Captures of many packets: from the queue to the ring, and from memory to a file."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    Namespace,
    Network,
    PacketCapture,
    Topology,
    Veth,
    _ring,
    _tap,
)
from pytest_netns.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns._frame import Frame

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("left"),
        Namespace("right"),
        Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
    )
)
HEAD = bytes.fromhex("020000000099 020000000001 88b6")  # nobody takes these
#: Sends a frame from when it is told to begin until nobody listens to it any more.
SENDER = """
import select, socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
raw.bind(("eth0", 0))
frame, sent = bytes.fromhex(sys.argv[1]), 0
orders = socket.socket(fileno=0)
assert orders.recv(5) == b"begin"
while not select.select([orders], [], [], 0)[0]:
    for _ in range(100):
        raw.send(frame)
    sent += 100
print(sent)
"""


@pytest.fixture
def flood(netns: Network) -> Iterator[Callable[[int], None]]:
    """Give a function that sends numbered frames as fast as one can."""
    raw = netns["left"].socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.bind(("eth0", 0))
    sent = 0

    def flood(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            raw.send(HEAD + struct.pack("!I", sent) + bytes(42))
            sent += 1

    yield flood
    raw.close()


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both see packets: the queue goes on until there are some in the ring."""
    begin = _ring.Ring.begin

    def begin_and_wait(ring: _ring.Ring) -> int:
        since = begin(ring)
        wait_until(lambda: ring.held is not None, timeout=5)
        return since

    monkeypatch.setattr(_ring.Ring, "begin", begin_and_wait)


def numbers(frames: list[Frame]) -> list[int]:
    """Return the numbers of the frames that `flood` has sent."""
    return [
        struct.unpack_from("!I", frame.data, len(HEAD))[0]
        for frame in frames
        if frame.data.startswith(HEAD)
    ]


def has_rings(capture: PacketCapture) -> list[bool]:
    """Tell which taps of a capture have a ring."""
    return [tap.has_ring for tap in capture._taps]


def seen_twice(capture: PacketCapture) -> list[int]:
    """Tell how many packets both the queue and the ring of each tap have seen."""
    return [tap._seam.count if tap._seam else 0 for tap in capture._taps]


@pytest.mark.usefixtures("unconfined")
@pytest.mark.usefixtures("twice")
def test_from_the_queue_to_the_ring(
    netns: Network, flood: Callable[[int], None]
) -> None:
    """Each packet is there once, and in order, whichever socket has seen it."""
    with netns.capture("left:eth0", "right:eth0") as capture:
        while not all(has_rings(capture)):
            flood(1000)
        flood(20_000)
    frames = list(capture.frames)
    left = numbers([frame for frame in frames if frame.namespace == "left"])
    right = numbers([frame for frame in frames if frame.namespace == "right"])
    assert left == list(range(len(left)))
    assert right == left
    assert len(left) > 20_000
    assert all(seen_twice(capture))
    assert capture.dropped == 0
    assert capture._taps[0].counted.packets == len(
        [frame for frame in frames if frame.namespace == "left"]
    )


@pytest.mark.usefixtures("unconfined")
@pytest.mark.usefixtures("twice")
def test_equal_packets(netns: Network) -> None:
    """Packets that differ in nothing but their time count one by one."""
    frame = HEAD + bytes(46)
    ours, theirs = socket.socketpair()
    # a process of its own does not wait where this one is busy with the change
    sender = netns["left"].popen(
        [sys.executable, "-c", SENDER, frame.hex()],
        stdin=theirs.fileno(),
        expect_exit=True,
    )
    with theirs, netns.capture("left:eth0", "right:eth0") as capture:
        with ours:
            ours.send(b"begin")
            wait_until(lambda: all(has_rings(capture)) and len(capture) > 20_000)
        assert sender.wait(timeout=5) == 0
    sent = int(sender.output)
    seen = [one.namespace for one in capture.frames if one.data == frame]
    assert (seen.count("left"), seen.count("right")) == (sent, sent)
    assert all(seen_twice(capture))


@pytest.mark.usefixtures("unconfined")
def test_an_end_at_any_moment(
    netns: Network, flood: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture that ends while its ring is made, or was just made, is complete."""
    monkeypatch.setattr(_tap, "_MANY", 50)
    expected = 0
    seen = []
    for turn in range(60):
        count = 300 * turn
        with netns["right"].capture("eth0") as capture:
            flood(count)
        assert numbers(list(capture.frames)) == [*range(expected, expected + count)]
        expected += count
        seen.append(capture._taps[0].has_ring)
    assert set(seen) == {True, False}


@pytest.mark.usefixtures("unconfined")
def test_large_packets(netns: Network) -> None:
    """What a fast connection sends is there once: as much as the interface counts.

    Pieces of 64 KiB fill a ring in no time, so it is not used for them.
    """
    left, right = netns["left"], netns["right"]
    with right.socket() as server, left.socket() as client:
        server.bind((str(right.ip), 80))
        server.listen()
        client.connect((str(right.ip), 80))
        served, _ = server.accept()
        task = right.spawn(lambda: sum(iter(lambda: len(served.recv(1 << 20)), 0)))
        before = left.interface("eth0").statistics
        with served, left.capture("eth0") as capture:
            for _ in range(100):  # as much as the queue holds
                client.sendall(bytes(1 << 20))
            client.shutdown(socket.SHUT_WR)
            assert task.result(timeout=10) == 100 << 20
    after = left.interface("eth0").statistics
    packets = after.tx_packets - before.tx_packets
    packets += after.rx_packets - before.rx_packets
    assert abs(len(capture) + capture.dropped - packets) <= 4  # others, since then
    assert capture.dropped == 0
    assert any(frame.is_unsegmented for frame in capture.frames)
    assert has_rings(capture) == [False]


def test_without_a_long_queue(
    netns: Network, flood: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not have a long queue has a ring from the beginning."""

    def refuse(*_args: Any, **_options: Any) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(_tap, "Queue", refuse)
    with netns["right"].capture("eth0") as capture:
        assert has_rings(capture) == [True]
        flood(3000)
        assert numbers(list(capture.frames)) == list(range(3000))
        flood(3000)
    assert numbers(list(capture.frames)) == list(range(6000))


@pytest.mark.usefixtures("unconfined")
def test_without_a_ring(
    netns: Network, flood: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no memory for a ring, the queue has to do, and does."""
    tried = []

    def refuse(*_args: Any, **_options: Any) -> None:
        tried.append(1)
        raise OSError(errno.ENOMEM, "no")

    monkeypatch.setattr(_tap.Tap, "_make_ring", refuse)
    monkeypatch.setattr(_tap, "_MANY", 50)
    with netns["right"].capture("eth0") as capture:
        while not tried:
            flood(100)
        flood(3000)
        assert has_rings(capture) == [False]
    seen = numbers(list(capture.frames))
    assert seen == list(range(len(seen)))
    assert len(seen) > 3000
    assert tried == [1]


def test_more_than_fits(
    netns: Network, flood: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into memory is looked at in a file, and no one sees it."""
    monkeypatch.setattr("pytest_netns._blocks._IN_MEMORY", 100_000)
    with netns["right"].capture("eth0", noise=False) as capture:
        flood(30_000)
    assert capture.frames[0].data.startswith(HEAD)
    assert capture._store.spilled > 1_000_000
    assert numbers([capture.frames[20_000]]) == [20_000]
    assert numbers(list(capture.frames)) == list(range(30_000))
    assert capture.packets[12_345].load[:4] == struct.pack("!I", 12_345)
