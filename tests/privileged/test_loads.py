"""Latency, between a client and our server, or servers that misbehave.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, 10.0.0.3, fd00::2) right
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import select
import socket
import statistics
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, Topology, Veth
from pytest_netns._agent import Agent
from pytest_netns._loads import LatencySample, latency, serving
from pytest_netns.errors import BenchmarkError, BenchmarkTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns.throughput import Protocol

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth(
        "left:eth0",
        "right:eth0",
        address=["10.0.0.1/24", "fd00::1/64"],
        peer_address=["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64"],
    ),
)
PORT = 5000
TARGET = ("10.0.0.2", PORT)
EVERYWHERE = ["10.0.0.2", "10.0.0.3", "fd00::2"]
PROTOCOLS = ["tcp", "udp"]

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def client(netns: Network) -> Iterator[Agent]:
    """Give the process that asks."""
    with Agent(netns["left"]) as agent:
        yield agent


@pytest.fixture
def server(netns: Network) -> Iterator[Agent]:
    """Give the process that serves."""
    with Agent(netns["right"]) as agent:
        yield agent


@pytest.fixture
def right(netns: Network) -> NetworkNamespace:
    """Give the namespace of servers that are not ours."""
    return netns["right"]


def bound(right: NetworkNamespace, protocol: str) -> socket.socket:
    """Return a socket at the target's port."""
    with right:
        if protocol == "tcp":
            return socket.create_server(TARGET)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(TARGET)
        return datagrams


@contextlib.contextmanager
def served(
    right: NetworkNamespace, serve: Callable[[socket.socket], None]
) -> Iterator[None]:
    """Let a function serve the first TCP connection."""

    def accept(door: socket.socket) -> None:
        with contextlib.suppress(OSError), door.accept()[0] as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection)

    with bound(right, "tcp") as door:
        task = right.spawn(accept, door)
        yield
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        task.result(10)


def stalling(at: int, seconds: float) -> Callable[[socket.socket], None]:
    """Return a server that echoes, and once stops for a while, after some bytes."""

    def serve(connection: socket.socket) -> None:
        done, has_stalled = 0, False
        while data := connection.recv(1 << 16):
            done += len(data)
            if done >= at and not has_stalled:
                has_stalled = True
                time.sleep(seconds)  # this is the stall
            connection.sendall(data)

    return serve


# what is measured


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("address", EVERYWHERE)
def test_all_answered(
    client: Agent, server: Agent, address: str, protocol: Protocol
) -> None:
    """Every request is answered, at every address of the server, and has a time."""
    with serving(server, PORT, protocol=protocol):
        found = latency(
            client, (address, PORT), rate=1000, seconds=0.1, protocol=protocol
        )
    assert found.sent == found.answered == len(found.times) == 100
    assert 0 < found.quantile(0) <= found.quantile(0.5) <= found.quantile(1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_address_only(client: Agent, server: Agent, protocol: Protocol) -> None:
    """A server may be at one address, and is not at the others then."""
    with serving(server, PORT, address="10.0.0.3", protocol=protocol):
        latency(client, ("10.0.0.3", PORT), seconds=0.01, protocol=protocol)
        with pytest.raises(BenchmarkError, match="ECONNREFUSED"):
            latency(client, TARGET, seconds=0.01, protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [8, 1000, 40_000])
def test_sizes(client: Agent, server: Agent, size: int, protocol: Protocol) -> None:
    """Requests and answers may be as long as a datagram can be."""
    with serving(server, PORT, protocol=protocol):
        found = latency(
            client, TARGET, rate=500, seconds=0.05, size=size, protocol=protocol
        )
    assert found.sent == found.answered == 25


def test_beside_ping(netns: Network, client: Agent, server: Agent) -> None:
    """A request takes about as long as the kernel's own echo, in seconds."""
    with serving(server, PORT):
        found = latency(client, TARGET)
    echo = min(netns["left"].ping("10.0.0.2", count=5, interval=0.01).rtts)
    assert echo / 10 < found.quantile(0) < echo * 100


def test_delay(client: Agent, right: NetworkNamespace) -> None:
    """What takes 5 ms at least is measured as 5 ms at least."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            time.sleep(0.005)  # this is the delay
            connection.sendall(data)

    with served(right, serve):
        found = latency(client, TARGET, rate=20, seconds=0.3)
    assert found.answered == 6
    assert found.quantile(0) >= 0.005


def test_stall_is_seen(client: Agent, right: NetworkNamespace) -> None:
    """A stall of 100 ms is seen in all the requests that were due meanwhile."""
    with served(right, stalling(at=150 * 64, seconds=0.1)):
        found = latency(client, TARGET, rate=1000, seconds=0.4)
    assert found.answered == 400
    # a client that waits for each answer would have one
    assert sum(time > 0.02 for time in found.times) >= 75
    slowest = found.times.index(max(found.times))
    assert found.times[slowest] > 0.09
    # those due later have waited for less, by 1 ms each
    waiting = found.times[slowest : slowest + 60]
    steps = [first - second for first, second in itertools.pairwise(waiting)]
    assert statistics.median(steps) == pytest.approx(0.001, rel=0.2)


def test_stall_of_much(client: Agent, right: NetworkNamespace) -> None:
    """Requests that do not fit into the kernel's buffers wait, and are answered."""
    size = 65_000
    with served(right, stalling(at=50 * size, seconds=0.5)):
        found = latency(client, TARGET, rate=1000, seconds=0.6, size=size)
    assert found.sent == found.answered == 600
    assert found.quantile(1) > 0.4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_late(client: Agent, server: Agent, protocol: Protocol) -> None:
    """A client that cannot keep up with the rate says so."""
    with serving(server, PORT, protocol=protocol):
        easy = latency(client, TARGET, rate=500, seconds=0.1, protocol=protocol)
        hard = latency(client, TARGET, rate=1e6, seconds=0.02, protocol=protocol)
    assert hard.late > 0.001  # 20,000 requests in 20 ms
    assert hard.late > 10 * easy.late
    if hard.answered == hard.sent:  # latency counts from when a request was due
        assert hard.quantile(0.5) > hard.late


# what is lost


def test_datagrams_lost(client: Agent, right: NetworkNamespace) -> None:
    """Datagrams that are not answered are counted, and have no time."""

    def serve(datagrams: socket.socket) -> None:
        number = 0
        while number < 220:  # 20 of them do not count
            data, sender = datagrams.recvfrom(1 << 16)
            (number,) = struct.unpack_from("=Q", data)
            if number % 10 or not number:
                datagrams.sendto(data, sender)

    with bound(right, "udp") as datagrams:
        task = right.spawn(serve, datagrams)
        found = latency(client, TARGET, rate=1000, seconds=0.2, protocol="udp")
        task.result(10)
    assert (found.sent, found.answered, len(found.times)) == (200, 180, 180)
    assert found.quantile(0.9) < math.inf
    assert found.quantile(0.91) == math.inf


def test_packets_dropped(netns: Network, client: Agent, server: Agent) -> None:
    """Every tenth packet that a network drops is missed."""
    with serving(server, PORT, protocol="udp"):
        latency(client, TARGET, seconds=0.01, protocol="udp")
        netns["right"].nft(
            """
            table ip lossy {
                chain input {
                    type filter hook input priority 0
                    udp dport 5000 numgen inc mod 10 == 0 drop
                }
            }
            """
        )
        found = latency(client, TARGET, rate=1000, seconds=0.2, protocol="udp")
    assert (found.sent, found.answered) == (200, 180)


def test_stream_that_stops(client: Agent, right: NetworkNamespace) -> None:
    """What a stream does not answer until the end is counted, within the limit."""

    def serve(connection: socket.socket) -> None:
        left = 120 * 64
        while data := connection.recv(1 << 16):
            connection.sendall(data[:left])
            left -= len(data[:left])

    with served(right, serve):
        begun = time.monotonic()
        found = latency(client, TARGET, rate=1000, seconds=0.2, timeout=0.2)
        assert time.monotonic() - begun < 10
    assert found.sent == 200
    assert found.answered == 120 - 1 - 20  # one alone, 20 ms that do not count


# what fails


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refused(client: Agent, protocol: Protocol) -> None:
    """Where nobody listens, the client says that it was refused, and by whom."""
    with pytest.raises(
        BenchmarkError,
        match=r"10\.0\.0\.2:5000: Connection refused \(ECONNREFUSED\)",
    ):
        latency(client, TARGET, protocol=protocol)


def test_unreachable(client: Agent) -> None:
    """Where no route leads, the client says so."""
    with pytest.raises(BenchmarkError, match=r"192\.0\.2\.1:5000: .*ENETUNREACH"):
        latency(client, ("192.0.2.1", PORT))


def test_no_address(client: Agent) -> None:
    """A name is no address."""
    with pytest.raises(BenchmarkError, match="no address: 'right'"):
        latency(client, ("right", PORT))


def test_nobody_there(client: Agent) -> None:
    """An address that nobody has is given up in time."""
    with pytest.raises(BenchmarkTimeout, match=r"no answer within 0\.2 s"):
        latency(client, ("10.0.0.9", PORT), timeout=0.2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_silence(client: Agent, right: NetworkNamespace, protocol: Protocol) -> None:
    """A server that says nothing is given up in time."""
    with (
        bound(right, protocol),
        pytest.raises(BenchmarkTimeout, match="nothing comes back"),
    ):
        latency(client, TARGET, protocol=protocol, timeout=0.2)


def test_something_else_comes_back(client: Agent, right: NetworkNamespace) -> None:
    """A server that sends something else is not measured."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            connection.sendall(b"?" * len(data))

    with (
        served(right, serve),
        pytest.raises(BenchmarkError, match="not what was sent"),
    ):
        latency(client, TARGET)


def test_more_comes_back(client: Agent, right: NetworkNamespace) -> None:
    """A server that sends more than it was asked is not measured."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            connection.sendall(data * 3)

    with (
        served(right, serve),
        pytest.raises(BenchmarkError, match="not what was sent"),
    ):
        latency(client, TARGET)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_server_goes_away(
    client: Agent, right: NetworkNamespace, *, reset: bool
) -> None:
    """A connection that ends in the middle is an error, not a figure."""

    def serve(connection: socket.socket) -> None:
        for _ in range(50):
            connection.sendall(connection.recv(64))
        if reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with served(right, serve), pytest.raises(BenchmarkError, match="ECONNRESET"):
        latency(client, TARGET)


# the server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_port_in_use(server: Agent, protocol: Protocol) -> None:
    """A second server at a port says that it is in use."""
    with (
        serving(server, PORT, protocol=protocol),
        pytest.raises(BenchmarkError, match=rf"{protocol} port 5000: .*\(EADDRINUSE\)"),
        serving(server, PORT, protocol=protocol),
    ):
        pass


def test_not_our_address(server: Agent) -> None:
    """A server at an address that its namespace has not says so."""
    with (
        pytest.raises(BenchmarkError, match=r"5000 of 10\.0\.0\.1: .*EADDRNOTAVAIL"),
        serving(server, PORT, address="10.0.0.1"),
    ):
        pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_port_is_free_again(
    client: Agent, server: Agent, right: NetworkNamespace, protocol: Protocol
) -> None:
    """After a load anybody may have the server's port, without SO_REUSEADDR."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with serving(server, PORT, protocol=protocol):
        latency(client, TARGET, seconds=0.01, protocol=protocol)
        with (
            right,
            socket.socket(type=kind) as other,
            pytest.raises(OSError, match="in use"),
        ):
            other.bind(TARGET)
    with right, socket.socket(type=kind) as other:
        other.bind(TARGET)


def test_both_protocols_at_one_port(client: Agent, server: Agent) -> None:
    """TCP and UDP have the same port at the same time."""
    with serving(server, PORT), serving(server, PORT, protocol="udp"):
        for protocol in ("tcp", "udp"):
            found = latency(client, TARGET, seconds=0.01, protocol=protocol)
            assert found.answered == found.sent


def test_slow_reader(server: Agent, netns: Network) -> None:
    """The server keeps what a client does not take, and reads no more meanwhile."""
    data = os.urandom(1 << 20)
    with (
        serving(server, PORT),
        netns["left"],
        socket.create_connection(TARGET, 10) as connection,
    ):
        connection.settimeout(0)
        sent = 0
        # until all buffers are full
        while select.select((), (connection,), (), 0.3)[1]:
            sent += connection.send(data[sent % len(data) :])
        assert sent > len(data)
        connection.settimeout(10)
        with connection.makefile("rb") as back:
            whole, rest = divmod(sent, len(data))
            assert all(back.read(len(data)) == data for _ in range(whole))
            assert back.read(rest) == data[:rest]


def test_end_while_it_runs(netns: Network, client: Agent, server: Agent) -> None:
    """A server that is ended under a client gives an error, not a figure."""

    def ask() -> LatencySample:
        return latency(client, TARGET, rate=100, seconds=20)

    def is_connected() -> bool:
        table = netns["left"].run(["cat", "/proc/net/tcp"]).stdout
        return any(line.split()[3] == "01" for line in table.splitlines()[1:])

    with ThreadPoolExecutor(1) as pool:
        with serving(server, PORT):
            asking = pool.submit(ask)
            while not is_connected():
                assert not asking.done(), asking.result()
        with pytest.raises(BenchmarkError, match="ECONNRESET"):
            asking.result(10)
