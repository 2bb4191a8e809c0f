"""`netns_iperf3` through routers, NAT and proxies.

::

    client (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                   --- (10.1.0.2, fd01::2) server
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    DNAT,
    BenchmarkTimeout,
    Masquerade,
    Namespace,
    Route,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns import Network, NetworkNamespace
    from pytest_netns.iperf3_flows import Iperf3

ROUTED = Topology(
    Namespace(
        "client",
        routes=[Route("default", via="10.0.0.2"), Route("default", via="fd00::2")],
    ),
    Namespace(
        "gw",
        forwarding=True,
        nat=[
            DNAT("10.1.0.2:5201", port=7001, in_interface="west"),
            DNAT("10.1.0.2:5201", port=7001, protocol="udp", in_interface="west"),
            Masquerade(out_interface="east"),
        ],
    ),
    Namespace(
        "server",
        routes=[Route("default", via="10.1.0.1"), Route("default", via="fd01::1")],
    ),
    Veth("client:eth0", "gw:west", subnet=["10.0.0.0/24", "fd00::/64"]),
    Veth("gw:east", "server:eth0", subnet=["10.1.0.0/24", "fd01::/64"]),
)

pytestmark = pytest.mark.netns(ROUTED)

SHORT = 0.2


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_through_a_router(
    netns: Network, netns_iperf3: Iperf3, protocol: Any, family: int
) -> None:
    """Packets that are forwarded are measured as all others."""
    before = netns["gw"].interface("east").statistics.tx_packets
    result = netns_iperf3(
        netns["client"],
        netns["server"],
        protocol=protocol,
        family=family,
        rate="100mbit",
        duration=SHORT,
    )
    assert result.bytes > 0
    assert netns["gw"].interface("east").statistics.tx_packets > before


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("reverse", [False, True])
def test_through_nat(
    netns: Network, netns_iperf3: Iperf3, protocol: Any, *, reverse: bool
) -> None:
    """The client connects to where a rule of NAT leads to the server."""
    result = netns_iperf3(
        netns["client"],
        netns["server"],
        through=("10.0.0.2", 7001),
        port=5201,
        protocol=protocol,
        reverse=reverse,
        rate="100mbit",
        duration=SHORT,
    )
    assert result.bytes > 0
    (connected,) = result.raw["start"]["connected"]
    assert (connected["remote_host"], connected["remote_port"]) == ("10.0.0.2", 7001)
    (other,) = result.raw["server_output_json"]["start"]["connected"]
    assert other["remote_host"] == "10.1.0.1"


@contextlib.contextmanager
def proxy(gw: NetworkNamespace, delay: float) -> Iterator[threading.Event]:
    """Forward connections from port 8000 of the gateway, each chunk this much later.

    The event that this gives holds back what arrives, once it is set.
    """
    held_back = threading.Event()
    with gw.socket() as listener, contextlib.ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("10.0.0.2", 8000))
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    one, _ = listener.accept()
                    other = stack.enter_context(gw.socket())
                    other.connect(("10.1.0.2", 5201))
                    stack.enter_context(one)
                    for source, target in ((one, other), (other, one)):
                        chunks: queue.Queue[tuple[float, bytes]] = queue.Queue(8)
                        start(_receive, source, chunks, held_back)
                        start(_send, target, chunks, delay)

        def start(function: Callable[..., None], *arguments: Any) -> None:
            threading.Thread(target=function, args=arguments, daemon=True).start()

        start(accept)
        yield held_back
        listener.shutdown(socket.SHUT_RDWR)


def _receive(
    source: socket.socket,
    chunks: queue.Queue[tuple[float, bytes]],
    held_back: threading.Event,
) -> None:
    with contextlib.suppress(OSError):
        while (data := source.recv(65536)) and not held_back.is_set():
            chunks.put((time.monotonic(), data))
    if not held_back.is_set():
        chunks.put((time.monotonic(), b""))


def _send(
    target: socket.socket, chunks: queue.Queue[tuple[float, bytes]], delay: float
) -> None:
    with contextlib.suppress(OSError):
        while True:
            arrived, data = chunks.get()
            time.sleep(max(0.0, arrived + delay - time.monotonic()))  # the delay itself
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_clock_starts_with_the_data(
    netns: Network, netns_iperf3: Iperf3, *, reverse: bool
) -> None:
    """However long the handshake takes, data flow for as long as they were to.

    Each message of the handshake takes 0.1 s here, all of them longer than the test.
    """
    begun = time.monotonic()
    with proxy(netns["gw"], 0.1):
        result = netns_iperf3(
            netns["client"],
            netns["server"],
            through=("10.0.0.2", 8000),
            port=5201,
            duration=0.3,
            reverse=reverse,
        )
    assert time.monotonic() - begun > 0.7  # so it was slow indeed
    assert result.seconds > 0.25
    assert result.bytes > 0


@pytest.mark.parametrize("reverse", [False, True])
def test_a_path_on_which_nothing_moves(
    netns: Network, netns_iperf3: Iperf3, *, reverse: bool
) -> None:
    """A run through a proxy that does not forward any more ends at its limit."""
    with proxy(netns["gw"], 0.0) as held_back:
        flow = netns_iperf3.start(
            netns["client"],
            netns["server"],
            through=("10.0.0.2", 8000),
            port=5201,
            duration=0.5,
            reverse=reverse,
            timeout=1.5,
        )
        netns["client"].wait_until(lambda: _bytes(netns) > 1_000_000)
        held_back.set()
        with pytest.raises(
            BenchmarkTimeout, match="iperf3_client in namespace 'client'"
        ):
            flow.result()


def _bytes(netns: Network) -> int:
    statistics = netns["client"].interface("eth0").statistics
    return statistics.rx_bytes + statistics.tx_bytes
