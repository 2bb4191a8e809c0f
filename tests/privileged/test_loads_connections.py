"""New connections, and many at once; directly and through a small proxy.

::

    left 10.0.0.1 --- 10.0.0.2 middle 10.0.1.2 --- 10.0.1.1 right

The proxy is in the middle. Left and the middle have a hundred ports for connections.
"""

from __future__ import annotations

import resource
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, Route, Topology, Veth
from pytest_netns._agent import Agent
from pytest_netns._loads import concurrent, connections, latency, serving
from pytest_netns.errors import BenchmarkError, BenchmarkTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEW_PORTS = {"net.ipv4.ip_local_port_range": "40000 40099"}
PATH = Topology(
    Namespace("left", routes=[Route("10.0.1.0/24", via="10.0.0.2")], sysctls=FEW_PORTS),
    Namespace("middle", forwarding=True, sysctls=FEW_PORTS),
    Namespace("right", routes=[Route("10.0.0.0/24", via="10.0.1.2")]),
    Veth("left", "middle", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
    Veth("right", "middle", address="10.0.1.1/24", peer_address="10.0.1.2/24"),
)
PORT = 5000
TARGET = ("10.0.1.1", PORT)
THROUGH = ("10.0.0.2", 7000)
PROXY = """
import asyncio

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()

async def accept(reader, writer):
    try:
        there, back = await asyncio.open_connection("10.0.1.1", 5000)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, back), pump(there, writer))

async def main():
    async with await asyncio.start_server(accept, "10.0.0.2", 7000) as server:
        await server.serve_forever()

asyncio.run(main())
"""
#: In /proc/net/tcp; include/net/tcp_states.h
TIME_WAIT, LISTEN = "06", "0A"

pytestmark = pytest.mark.netns(PATH)


@pytest.fixture
def client(netns: Network) -> Iterator[Agent]:
    """Give the process that connects."""
    with Agent(netns["left"]) as agent:
        yield agent


@pytest.fixture
def server(netns: Network) -> Iterator[Agent]:
    """Give the process that serves."""
    with Agent(netns["right"]) as agent:
        yield agent


@pytest.fixture
def proxy(netns: Network) -> None:
    """Have a small proxy run."""
    netns["middle"].popen([sys.executable, "-c", PROXY], expect_exit=True)
    netns["middle"].wait_listening(THROUGH[1])


def states(*namespaces: NetworkNamespace, but_port: str = "no") -> set[str]:
    """Return the states of all TCP sockets of namespaces, but of a port's."""
    lines = [
        line
        for namespace in namespaces
        for line in namespace.run(["cat", "/proc/net/tcp"]).stdout.splitlines()
    ]
    return {line.split()[3] for line in lines if but_port not in line} - {"st"}


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def use_up_ports(client: Agent) -> None:
    """Check that there are not as many ports as some test needs connections."""
    found = concurrent(client, TARGET, held=150, seconds=0.01, timeout=10)
    assert (found.held, found.failed) == (100, 50)
    assert found.reason == "EADDRNOTAVAIL"


def accepted(namespace: NetworkNamespace) -> int:
    """Return how many connections were accepted in a namespace, ever."""
    table = namespace.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    names, values = (line.split() for line in table if line.startswith("Tcp:"))
    return int(values[names.index("PassiveOpens")])


# new connections


@pytest.mark.parametrize("target", [TARGET, THROUGH], ids=["direct", "proxied"])
@pytest.mark.usefixtures("proxy")
def test_more_than_ports(client: Agent, server: Agent, target: tuple[str, int]) -> None:
    """More connections follow one another than there are ports: none is kept."""
    with serving(server, PORT):
        use_up_ports(client)
        count = 0
        while count < 500:
            found = connections(client, target, seconds=0.2)
            assert (found.failed, found.reason) == (0, None)
            assert found.per_second == found.count / found.seconds > 0
            count += found.count


@pytest.mark.usefixtures("proxy")
def test_no_time_wait(netns: Network, client: Agent, server: Agent) -> None:
    """After connections, no namespace has a socket left but those that listen."""
    with (
        netns["right"],
        socket.create_server(("10.0.1.1", 6000)) as door,
        netns["left"],
        socket.create_connection(("10.0.1.1", 6000)) as plain,
        door.accept()[0],
    ):
        plain.shutdown(socket.SHUT_WR)
    assert TIME_WAIT in states(netns["left"])  # as any other client has

    def remain() -> set[str]:
        return states(*everybody, but_port=f":{6000:04X}")

    everybody = [netns[name] for name in ("left", "middle", "right")]
    with serving(server, PORT):
        assert connections(client, TARGET).count
        assert connections(client, THROUGH).count
        assert concurrent(client, THROUGH, held=50).held == 50
        latency(client, THROUGH, seconds=0.05)
        eventually(lambda: remain() <= {LISTEN})
    assert remain() == {LISTEN}  # the proxy


def test_one_at_a_time(client: Agent, server: Agent) -> None:
    """One connection may follow the other."""
    with serving(server, PORT):
        found = connections(client, TARGET, in_flight=1)
    assert found.count > 1
    assert not found.failed


def test_time_is_kept(client: Agent, server: Agent) -> None:
    """Connections are opened for as long as was asked for."""
    with serving(server, PORT):
        found = connections(client, TARGET, seconds=0.3)
    assert found.seconds == pytest.approx(0.3, abs=0.2)


@pytest.mark.parametrize("order", [connections, concurrent])
def test_refused(client: Agent, order: Callable[..., object]) -> None:
    """Where nobody listens, the client says so at once."""
    begun = time.monotonic()
    with pytest.raises(
        BenchmarkError, match=r"10\.0\.1\.1:5000: Connection refused \(ECONNREFUSED\)"
    ):
        order(client, TARGET, timeout=20)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("order", [connections, concurrent])
def test_unreachable(client: Agent, order: Callable[..., object]) -> None:
    """Where no route leads, the client says so."""
    with pytest.raises(BenchmarkError, match="ENETUNREACH"):
        order(client, ("192.0.2.1", PORT))


@pytest.mark.parametrize("order", [connections, concurrent])
@pytest.mark.parametrize("address", ["10.0.1.1", "10.0.0.9"])
def test_silence(
    netns: Network, client: Agent, order: Callable[..., object], address: str
) -> None:
    """Who accepts and says nothing, or is not there, is given up in time."""
    with (
        netns["right"],
        socket.create_server(TARGET),
        pytest.raises(BenchmarkTimeout, match=r"no answer within 0\.2 s"),
    ):
        order(client, (address, PORT), timeout=0.2)


@pytest.mark.parametrize("order", [connections, concurrent])
@pytest.mark.usefixtures("proxy")
def test_proxy_without_server(client: Agent, order: Callable[..., object]) -> None:
    """A proxy that accepts connections, and then closes them, is not measured."""
    with pytest.raises(BenchmarkError, match="ECONNRESET"):
        order(client, THROUGH)


def test_server_ends_meanwhile(netns: Network, client: Agent, server: Agent) -> None:
    """Connections that fail on the way are counted, with the reason."""
    with serving(server, PORT):
        begun = client.begin(
            "connections", address=TARGET[0], port=PORT, seconds=2.0, in_flight=4
        )
        eventually(lambda: accepted(netns["right"]) > 20)
    found = begun.result(10)
    assert found["count"] > 0
    assert found["failed"] > 0
    assert found["reason"] in {"ECONNREFUSED", "ECONNRESET"}


# many at once


def test_thousand_held(netns: Network, client: Agent, server: Agent) -> None:
    """A thousand connections are held, and each gets answers."""
    netns["left"].sysctl["net.ipv4.ip_local_port_range"] = "32768 60999"
    with serving(server, PORT):
        found = concurrent(client, TARGET, held=1000)
    assert (found.held, found.failed, found.reason) == (1000, 0, None)
    assert found.requests > 1000
    assert found.opened_in > 0
    assert found.requests_per_second == found.requests / found.seconds


@pytest.mark.usefixtures("proxy")
def test_held_through_proxy(client: Agent, server: Agent) -> None:
    """As many connections as the proxy has ports are held through it."""
    with serving(server, PORT):
        found = concurrent(client, THROUGH, held=100)
    assert (found.held, found.failed) == (100, 0)
    assert found.requests > 0


def test_client_may_not(client: Agent) -> None:
    """A client that may not have as many files open says so."""
    resource.prlimit(client.process.pid, resource.RLIMIT_NOFILE, (64, 128))
    with pytest.raises(BenchmarkError, match=r"than the 128 files .*RLIMIT_NOFILE"):
        concurrent(client, TARGET, held=120)


def test_soft_limit(client: Agent, server: Agent) -> None:
    """A limit that a process may raise by itself limits nobody."""
    for agent in (client, server):
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (40, 1000))
    with serving(server, PORT):
        assert concurrent(client, TARGET, held=90).held == 90


def test_server_may_not(client: Agent, server: Agent) -> None:
    """A server that may not have as many files open turns away those that are more."""
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with serving(server, PORT):
        found = concurrent(client, TARGET, held=90)
        assert 30 < found.held < 64
        assert found.held + found.failed == 90
        assert found.reason == "ECONNRESET"
        assert found.requests > 0
        assert connections(client, TARGET, in_flight=1).count > 0


def test_nothing_is_left(client: Agent, server: Agent) -> None:
    """Orders leave neither processes nor descriptors behind."""
    agents = (client, server)

    def children() -> list[str]:
        return [
            pid
            for agent in agents
            for pid in Path(
                f"/proc/{agent.process.pid}/task/{agent.process.pid}/children"
            )
            .read_text()
            .split()
        ]

    def files() -> list[int]:
        return [
            len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))
            for agent in agents
        ]

    with serving(server, PORT):
        connections(client, TARGET, seconds=0.01)  # both are up now
        eventually(lambda: len(children()) == 1)
        before = files()
        connections(client, TARGET)
        concurrent(client, TARGET, held=20)
        latency(client, TARGET, seconds=0.01)
        with pytest.raises(BenchmarkError):
            connections(client, ("10.0.1.1", 5001))
    eventually(lambda: not children())
    assert files() == before
