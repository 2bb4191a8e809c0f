"""How much does my proxy cost? Measured beside the direct way, and a gate for merges.

client 10.0.0.1 ───┐
proxy  10.0.0.2 ───┼─── br0      :8080 the proxy
server 10.0.0.3 ───┘             :5201 where it forwards to

The proxy is at the end of this file, which is also the program that is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from pytest_netns import Bench, Bridge, Namespace, Network, Process, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Bridge("br0", subnet="10.0.0.0/24"),
        *(Namespace(name) for name in ("client", "proxy", "server")),
        *(Veth(name, "br0") for name in ("client", "proxy", "server")),
    )
)


@pytest.fixture
def proxy(netns: Network) -> Process:
    """Give the proxy, listening."""
    program = [sys.executable, __file__, "8080", "10.0.0.3", "5201"]
    process = netns["proxy"].popen(program, name="proxy")
    process.wait_listening(8080)
    return process


def test_what_the_proxy_costs(
    netns: Network, netns_bench: Bench, proxy: Process
) -> None:
    """The ends of the intervals say what is sure: noise decides nothing."""
    result = netns_bench.proxy(
        netns["client"],
        netns["server"],
        through=("10.0.0.2", 8080),
        port=5201,
        process=proxy,
        budget=4.0,
    )
    print(result.table())
    assert result.throughput.ratio.low > 0.01  # surely more
    assert result.latency.ratio.low < 50  # not surely more
    assert result.latency.p99.proxied.low < 1.0
    assert result.connections.ratio.low < 1
    assert result.cost is not None
    assert result.cost.cpu.low > 0


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, until nothing does."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def serve(port: int, server: str, server_port: int) -> None:
    """Forward every connection, each by two pumps."""

    async def forward(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(server, server_port)
        except OSError:
            out.transport.abort()
            return
        await asyncio.gather(pump(reader, back), pump(there, out))
        for writer in (out, back):
            writer.close()

    listener = await asyncio.start_server(forward, "0.0.0.0", port, backlog=4096)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
