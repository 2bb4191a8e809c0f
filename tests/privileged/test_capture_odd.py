"""Captures where something is odd: bad input, early ends, packets of others."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP

from pytest_netns import (
    ClosedError,
    InvalidName,
    Namespace,
    NetnsError,
    Network,
    PacketCapture,
    Topology,
    UnknownName,
    Veth,
    WaitTimeout,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns import NetworkNamespace


#: left (10.0.0.1) --- (10.0.0.2) right
PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)
pair = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the machine that sends."""
    netns["left"].ping("right")  # the neighbour is known
    return netns["left"]


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.005)


def soon(function: Callable[[], Any]) -> Any:
    """Return what a function returns that must not wait for its own deadline."""
    start = time.monotonic()
    try:
        return function()
    finally:
        assert time.monotonic() - start < 30


def echoes(capture: PacketCapture) -> list[tuple[str, str]]:
    """Return place and direction of each ICMP packet."""
    packets: list[Any] = [packet for packet in capture.packets if ICMP in packet]
    return [(packet.sniffed_on, packet.direction) for packet in packets]


HERE_AND_BACK = [("left:eth0", "out"), ("left:eth0", "in")]


@pair
class TestArguments:
    """What does not fit is refused, and said."""

    @pytest.mark.parametrize("wrong", [5, ["eth0"], None, b"eth0"])
    def test_no_name(self, netns: Network, left: NetworkNamespace, wrong: Any) -> None:
        """Interfaces are named by text."""
        with pytest.raises(TypeError, match=re.escape(f"str ('eth0'), not {wrong!r}")):
            left.capture(wrong)
        with pytest.raises(InvalidName, match="is not a str such as 'left:eth0'"):
            netns.capture(wrong).__enter__()

    @pytest.mark.parametrize("wrong", ["", "x" * 16, "eth 0", "left:eth0"])
    def test_no_interface(self, left: NetworkNamespace, wrong: str) -> None:
        """A name that no interface can have is no interface's."""
        with pytest.raises((InvalidName, UnknownName), match=wrong or "is empty"):
            left.capture(wrong).__enter__()

    @pytest.mark.parametrize("wrong", [0, -1, 262_145])
    def test_snaplen(self, netns: Network, left: NetworkNamespace, wrong: int) -> None:
        """Nothing at all, or more than there can be, is no length to keep."""
        for make in (left.capture, netns.capture):
            with pytest.raises(ValueError, match=f"snaplen is {wrong}, and not from 1"):
                make(snaplen=wrong)
        for length in (1, 262_144):
            with left.capture("eth0", noise=False, snaplen=length) as capture:
                left.ping("right")
            assert {len(frame.data) for frame in capture.frames} == {min(length, 98)}
            assert {frame.length for frame in capture.frames} == {98}

    @pytest.mark.parametrize("wrong", [5, b"icmp", ["icmp"], True])
    def test_no_filter(
        self, netns: Network, left: NetworkNamespace, wrong: Any
    ) -> None:
        """A filter is text, or describes packets in another way."""
        for make in (left.capture, netns.capture):
            with pytest.raises(TypeError, match=r"tcpdump's language \(str\), not by"):
                make(bpf_filter=wrong)

    @pytest.mark.parametrize(
        "wanted",
        [lambda p: p[ICMP].type == 8, ICMP, IP() / ICMP(), "icmp"],
        ids=["predicate", "class", "packet", "text"],
    )
    def test_filters(self, left: NetworkNamespace, wanted: Any) -> None:
        """What an assertion takes is a filter, too; no such layer means no."""
        with left.capture("eth0", bpf_filter=wanted) as capture:
            left.run("ip neigh flush all")
            left.ping("right")
            assert [type(one.payload.payload) for one in capture.wait()] == [ICMP]
        capture.assert_seen(ICMP)
        capture.assert_not_seen(ARP)

    def test_a_wrong_function(self, left: NetworkNamespace) -> None:
        """What is wrong with a filter is raised where packets are asked for."""
        with left.capture("eth0", bpf_filter=lambda p: p.typo == 8) as capture:
            left.ping("right")
            with pytest.raises(AttributeError):
                capture.wait()
        with pytest.raises(AttributeError):
            len(capture)

    def test_no_time(self, left: NetworkNamespace) -> None:
        """Without any time to wait, what has passed is there."""
        with left.capture("eth0", noise=False) as capture:
            with pytest.raises(WaitTimeout, match="waited 0 s for a packet on left"):
                capture.wait(timeout=0)
            with pytest.raises(WaitTimeout, match="waited 0 s for another packet on"):
                next(capture.follow(timeout=0))
            for count in range(1, 30):
                left.ping("right")
                assert len(capture.wait(2 * count, timeout=0)) == 2 * count
            assert len([*itertools.islice(capture.follow(timeout=0), 2 * count)]) == 58
            with pytest.raises(WaitTimeout):
                capture.wait(59, timeout=-1)

    def test_no_end_of_packets(self, left: NetworkNamespace) -> None:
        """A deadline is one, however many packets come that are not wanted."""
        with left.capture("eth0") as capture:
            flood = left.popen(
                [sys.executable, "-c", FLOOD], name="flood", expect_exit=True
            )
            capture.wait(matching="udp")
            for wanted in ("tcp", TCP):
                with pytest.raises(WaitTimeout, match="a packet that matches"):
                    soon(partial(capture.wait, matching=wanted, timeout=0.2))
            flood.kill()


FLOOD = """
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        sender.sendto(b"x", ("10.0.0.2", 9))
        time.sleep(0.0005)
    except OSError:
        pass
"""


@pair
class TestInterfaces:
    """What happens to an interface while it is captured on."""

    def test_removed(self, left: NetworkNamespace) -> None:
        """What was captured before it went stays; nobody waits for more."""
        follower = Follower()
        with left.capture("eth0") as capture:
            follower.start(capture.follow(timeout=None))
            left.ping("right")
            left.run("ip link delete eth0")
            assert echoes(capture) == HERE_AND_BACK
            capture.wait(2)
            with pytest.raises(WaitTimeout, match="left:eth0 was removed"):
                soon(lambda: capture.wait(3, matching=ICMP, timeout=60))
            with pytest.raises(WaitTimeout, match="left:eth0 was removed"):
                soon(lambda: [*capture.follow(timeout=60)])
            follower.ends_with("WaitTimeout")
        assert len(follower.seen) == len(capture)
        assert echoes(capture) == HERE_AND_BACK

    def test_down_first(self, netns: Network, left: NetworkNamespace) -> None:
        """Who has seen that it is down learns that it was removed, too."""
        with left.capture("eth0") as capture:
            netns.link("left:eth0").set_down()
            with pytest.raises(WaitTimeout, match=r"left:eth0 was down$"):
                capture.wait(timeout=0.02)
            left.run("ip link delete eth0")
            with pytest.raises(WaitTimeout, match="left:eth0 was removed"):
                soon(lambda: capture.wait(timeout=60))

    def test_one_of_two(self, left: NetworkNamespace) -> None:
        """As long as there is another one, there may be more."""
        with left.capture("eth0", "lo") as capture:
            left.ping("right")
            left.run("ip link delete eth0")
            left.ping("127.0.0.1")
            assert len(capture.wait(4, matching=ICMP)) == 4
            with pytest.raises(WaitTimeout, match=r"waited 0\.02 s for.*was removed"):
                capture.wait(5, matching=ICMP, timeout=0.02)

    def test_down_at_once(self, netns: Network, left: NetworkNamespace) -> None:
        """What passed right before an interface went down is there, 50 times."""
        cable = netns.link("left:eth0")
        for number in range(50):
            with left.capture("eth0") as capture:
                left.ping("right")
                cable.set_down()
                if number % 2:
                    assert echoes(capture) == HERE_AND_BACK
            assert echoes(capture) == HERE_AND_BACK
            cable.set_up()
            left.ping("right")

    def test_down_and_up(self, netns: Network, left: NetworkNamespace) -> None:
        """An interface that comes back is seen again, and can be waited for."""
        cable = netns.link("left:eth0")
        with left.capture("eth0") as capture:
            cable.set_down()
            with pytest.raises(WaitTimeout, match=r"waited 0\.02 s .*eth0 was down"):
                capture.wait(matching=ICMP, timeout=0.02)
            cable.set_up()
            left.ping("right")
            assert capture.wait(2, matching=ICMP)

    def test_renamed(self, netns: Network, left: NetworkNamespace) -> None:
        """An interface is called as it was at the beginning, or as it is declared."""
        with left.capture("eth0") as one, netns.capture(positive_control=True) as all_:
            left.ping("right")
            left.run("ip link set eth0 down")
            left.run("ip link set eth0 name other")
            left.run("ip link set other up")
            left.ping("right")
        for capture in (one, all_):
            here = [place for place, _ in echoes(capture) if place.startswith("left")]
            assert here == ["left:eth0"] * 4
        all_.assert_not_seen(UDP)
        with left.capture("other") as capture:
            left.ping("right")
        assert echoes(capture)[0] == ("left:other", "out")
        with pytest.raises(UnknownName, match="'eth0'"):
            left.capture("eth0").__enter__()

    def test_come_and_gone(self, left: NetworkNamespace) -> None:
        """What nobody could look up any more has a number for a name."""
        with left.capture(noise=False) as capture:
            left.run("ip link add brief type veth peer name other")
            index = left.interface("brief").index
            for name in ("brief", "other"):
                left.run(f"ip link set {name} up")
            # the kernel does it a little later
            eventually(
                lambda: "LOWER_UP" in left.run("ip link show brief").stdout, "it"
            )
            with left, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
                for _ in range(3):
                    raw.sendto(bytes(60), ("brief", 0))
            left.run("ip link delete brief")
        packets: list[Any] = [*capture.packets]
        places = [one.sniffed_on for one in packets if one.direction == "out"]
        assert places.count(f"left:if{index}") == 3

    def test_moved(self, netns: Network, left: NetworkNamespace) -> None:
        """An interface that is moved to another namespace is gone."""
        with left.capture("eth0") as capture:
            left.ping("right")
            netns.add(Namespace("elsewhere"))
            left.run(f"ip link set eth0 netns {netns['elsewhere'].path}")
            with pytest.raises(WaitTimeout, match="left:eth0 was removed"):
                soon(lambda: capture.wait(matching=UDP, timeout=60))
        assert echoes(capture) == HERE_AND_BACK


class Follower:
    """A thread that follows a capture.

    Attributes:
        seen: What it has seen.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._end: list[str] = []
        self._thread: threading.Thread

    def start(self, packets: Iterator[Any]) -> None:
        """Begin to follow."""

        def follow() -> None:
            try:
                self.seen.extend(packets)
                self._end.append("end")
            except Exception as error:  # looked at below
                self._end.append(type(error).__name__)

        self._thread = threading.Thread(target=follow)
        self._thread.start()

    def ends_with(self, what: str) -> None:
        """Check how it ends, which must be soon."""
        self._thread.join(20)
        assert self._end == [what]


class TestEnds:
    """Networks that are closed while somebody captures."""

    def test_closed(self) -> None:
        """What was captured until then is there, and the capture has ended."""
        with build(PAIR) as network, network["left"].capture("eth0") as capture:
            network["left"].ping("right")
            network.close()
            assert echoes(capture) == HERE_AND_BACK
            assert "the network was closed" in repr(capture)
            with pytest.raises(WaitTimeout, match="ended: the network was closed"):
                soon(lambda: capture.wait(100, timeout=60))
            assert len([*capture.follow(timeout=60)]) == len(capture)
            assert "echo-request" in str(capture.flow())
        assert echoes(capture) == HERE_AND_BACK

    def test_somebody_waits(self) -> None:
        """Those who wait on other threads are told at once."""
        outcome: list[str] = []
        with build(PAIR) as network:
            left, follower = network["left"], Follower()
            capture = left.capture("eth0").__enter__()

            def wait() -> None:
                try:
                    capture.wait(matching=TCP, timeout=60)
                except WaitTimeout as error:
                    outcome.append(str(error))

            waiters = [threading.Thread(target=wait) for _ in range(3)]
            for waiter in waiters:
                waiter.start()
            follower.start(capture.follow(timeout=None))
            left.ping("right")
            eventually(lambda: follower.seen, "the first packet")
            network.close()
            for waiter in waiters:
                waiter.join(20)
            follower.ends_with("end")
        assert len(outcome) == 3
        assert all("ended: the network was closed" in text for text in outcome)
        assert len(follower.seen) == len(capture) > 1

    def test_tasks_wait(self) -> None:
        """Tasks that wait for packets do not keep a network from closing."""
        with build(PAIR) as network:
            network.raises_failures = False
            left = network["left"]
            task = left.spawn(
                lambda: left.capture("eth0").__enter__().wait(timeout=60, matching=TCP)
            )
            left.ping("right")
            eventually(lambda: network.captures, "the capture")
        with pytest.raises(NetnsError):
            task.result(timeout=20)

    def test_no_network(self) -> None:
        """Nobody captures on a closed network."""
        with build(PAIR) as network:
            left = network["left"]
            made = [left.capture("eth0"), left.capture(), network.capture("left:eth0")]
        for capture in made:
            with pytest.raises(ClosedError, match="closed"):
                capture.__enter__()
        for make in (left.capture, network.capture):
            with pytest.raises(ClosedError, match="the network is closed"):
                make()

    def test_left_open(self) -> None:
        """A capture that nobody ends, ends with the network; nothing of it is left."""
        before = resources()
        with build(PAIR) as network:
            captures = [network["left"].capture("eth0") for _ in range(3)]
            for capture in captures:
                capture.__enter__()
            network["left"].ping("right")
            assert resources() != before
        for capture in captures:
            assert not capture.is_running
            assert echoes(capture) == HERE_AND_BACK
        nothing_is_left(before)

    def test_exceptions(self, netns: Network) -> None:
        """An exception in the block ends the capture, and stays as it is."""
        netns.add(*PAIR)
        left = netns["left"]
        left.ping("right")
        capture = left.capture("eth0")

        def fail() -> None:
            with capture:
                left.ping("right")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert not capture.is_running
        assert echoes(capture) == HERE_AND_BACK

    def test_ended_early(self, netns: Network) -> None:
        """A capture may end before its block does, once or more often."""
        netns.add(*PAIR)
        left = netns["left"]
        left.ping("right")
        with left.capture("eth0") as capture:
            left.ping("right")
            capture.end()
            left.ping("right")
            capture.end()
        assert echoes(capture) == HERE_AND_BACK
        capture.assert_not_seen(TCP)

    def test_nothing_is_left_of_a_failed_begin(self, netns: Network) -> None:
        """If one of several cannot begin, none has."""
        netns.add(*PAIR)
        before = resources()
        for _ in range(20):
            with pytest.raises(NetnsError, match="'porty'"):
                netns.capture("left:eth0", "right", bpf_filter="tcp porty").__enter__()
            with pytest.raises(UnknownName):
                netns.capture("left:eth0", "right:eth9").__enter__()
        nothing_is_left(before)
        assert not any(capture.is_running for capture in netns.captures)


def resources() -> tuple[int, int, int]:
    """Count descriptors, threads, and memory shared with packet sockets."""
    rings = Path("/proc/self/maps").read_text(encoding="utf-8").count("socket:")
    return len([*Path("/proc/self/fd").iterdir()]), threading.active_count(), rings


def nothing_is_left(before: tuple[int, int, int]) -> None:
    """Check that as much is open as before, or will be soon."""
    eventually(
        lambda: all(now <= then for now, then in zip(resources(), before, strict=True)),
        f"{resources()} to become {before}",
    )


class Alarm(Exception):
    """What a signal handler raises, as that of Ctrl-C does."""


@contextlib.contextmanager
def alarms() -> Iterator[None]:
    """Have SIGALRM raise `Alarm`.

    But not where Python collects garbage: it would swallow it, and complain.
    """

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("how", ["plain", "control", "ring"])
def test_interrupted(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Ctrl-C may come at any moment: nothing leaks, and the next capture works."""
    if how == "ring":
        monkeypatch.setattr("pytest_netns._tap.Queue", not_permitted)
    before = resources()
    with build(PAIR) as network:
        left = network["left"]
        left.ping("right")
        begun = time.monotonic()
        with left.capture("eth0", positive_control=how == "control"):
            pass
        longest = (time.monotonic() - begun) * 1.2
        interrupted = forgotten = 0
        with alarms():
            for number in range(100):
                try:
                    signal.setitimer(signal.ITIMER_REAL, longest * (number + 1) / 100)
                    with left.capture("eth0", positive_control=how == "control"):
                        pass
                    with network.capture():
                        pass
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Alarm:
                    interrupted += 1
                for one in [one for one in network.captures if one.is_running]:
                    forgotten += 1
                    one.end()
        assert interrupted > 5  # how many depends on how busy the machine is
        # Python may interrupt __exit__() before its first instruction
        assert forgotten <= 2
        with left.capture("eth0") as capture:
            left.ping("right")
        assert echoes(capture) == HERE_AND_BACK
    nothing_is_left(before)


def not_permitted(*_: object, **__: object) -> None:
    """Refuse to make a long queue, as to the root of a user namespace."""
    raise PermissionError


@pair
class TestSeveral:
    """More than one capture at a time."""

    def test_on_one_interface(self, left: NetworkNamespace) -> None:
        """Captures do not disturb each other, side by side or one in another."""
        outer = left.capture("eth0")
        with outer:
            left.ping("right")
            with left.capture("eth0") as inner, left.capture() as other:
                left.ping("right")
            left.ping("right")
        assert echoes(inner) == echoes(other) == HERE_AND_BACK
        assert echoes(outer) == HERE_AND_BACK * 3

    def test_on_many_threads(self, netns: Network, left: NetworkNamespace) -> None:
        """Eight threads capture at the same time, each what it sends itself."""
        failures: list[BaseException] = []

        def capture_own(number: int) -> None:
            try:
                for _ in range(10):
                    port = 9000 + number
                    with netns.capture(
                        "left:eth0", "right:eth0", bpf_filter=f"udp port {port}"
                    ) as capture:
                        with left.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                            sender.sendto(b"x", ("10.0.0.2", port))
                        capture.wait(2)
                    places = [(p.namespace, p.direction) for p in every(capture)]
                    assert places[:2] == [("left", "out"), ("right", "in")]
            except BaseException as error:  # raised below
                failures.append(error)

        before = resources()
        threads = [
            threading.Thread(target=capture_own, args=(number,)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if failures:
            raise failures[0]
        nothing_is_left(before)

    def test_looked_at_while_it_ends(self, left: NetworkNamespace) -> None:
        """Others may look at a capture at the very moment of its end."""
        failures: list[BaseException] = []
        for _ in range(30):
            with left.capture("eth0") as capture:

                def look(capture: PacketCapture = capture) -> None:
                    try:
                        while capture.is_running:
                            assert len(capture) >= capture.dropped == 0
                            capture.assert_not_seen("tcp")
                    except BaseException as error:  # raised below
                        failures.append(error)

                thread = threading.Thread(target=look)
                thread.start()
                left.ping("right")
            thread.join(20)
        if failures:
            raise failures[0]

    def test_inside(self, netns: Network, left: NetworkNamespace) -> None:
        """It does not matter where a thread is that captures."""
        with left, netns["right"].capture("eth0") as capture:
            assert socket.if_nameindex()[-1][1] == "eth0"
            left.ping("right")
            assert capture.packets
        assert [place for place, _ in echoes(capture)] == ["right:eth0"] * 2

        def capture_here() -> PacketCapture:
            with left.capture("eth0") as capture:
                left.ping("right")
            return capture

        for capture in (left.call(capture_here), left.spawn(capture_here).result()):
            assert echoes(capture) == HERE_AND_BACK


def every(capture: PacketCapture) -> list[Any]:
    """Return all packets; scapy's types do not know what a direction is here."""
    return list(capture.packets)


@pair
class TestProcesses:
    """Other processes, which inherit what a capture has."""

    def test_programs(self, left: NetworkNamespace) -> None:
        """A program that is started meanwhile has no descriptor of a capture."""
        code = "import os; print(*(os.readlink('/proc/self/fd/' + fd) for fd in FDS))"
        code = code.replace("FDS", "os.listdir('/proc/self/fd') if int(fd) > 3")
        with left.capture("eth0"):
            plain = subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                text=True,
                close_fds=False,
                stdout=subprocess.PIPE,
            )
        assert "socket:" not in plain.stdout
        assert "eventfd" not in plain.stdout

    def test_forks(self, left: NetworkNamespace) -> None:
        """A child that goes on does not disturb the capture, nor what comes later."""
        fork = multiprocessing.get_context("fork")
        go_on = fork.Event()
        before = resources()
        with left.capture("eth0") as capture:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python 3.12 on: there are threads
                child = fork.Process(target=go_on.wait, args=(20,))
                child.start()
            left.ping("right")
            capture.assert_seen(ICMP, count=2)
        assert echoes(capture) == HERE_AND_BACK
        nothing_is_left((before[0] + 8, *before[1:]))  # those of the child itself
        with left.capture("eth0") as again:
            left.ping("right")
        assert echoes(again) == HERE_AND_BACK
        go_on.set()
        child.join(20)
        assert child.exitcode == 0
        child.close()

    def test_a_child_that_leaves_the_block(self, left: NetworkNamespace) -> None:
        """What a forked child does with a capture is no concern of the parent's."""
        child = -1
        try:
            with warnings.catch_warnings(), left.capture("eth0") as capture:
                warnings.simplefilter("ignore")  # Python 3.12 on: there are threads
                left.ping("right")
                if (child := os.fork()) == 0:
                    leave_with(capture)
                assert os.waitpid(child, 0)[1] == 0
                left.ping("right")
        except Alarm:
            os._exit(0)
        finally:
            if child == 0:
                os._exit(1)
        assert echoes(capture) == HERE_AND_BACK * 2


def leave_with(capture: PacketCapture) -> None:
    """Look at a capture and leave its block."""
    assert len(capture) <= 2
    raise Alarm


@pair
def test_memory(left: NetworkNamespace) -> None:
    """Who lets go of a capture, and its packets, gets the memory back at once."""
    gc.collect()
    gc.disable()
    try:
        with left.capture("eth0", bpf_filter=ICMP, positive_control=True) as capture:
            left.ping("right")
            capture.assert_seen(ICMP)
        packets, store = capture.packets, weakref.ref(capture._store)
        capture = left.capture("eth0")
        assert packets[1][ICMP].type == 0  # as long as somebody has them
        del packets
        eventually(lambda: store() is None, "the thread to end")
    finally:
        gc.enable()
