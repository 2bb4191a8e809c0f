"""Two networks on one switch, joined by on-link routes, and a TCP proxy in one of them.

left (10.0.1.1/24) --- br0 --- (10.0.0.1/24) right
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection

import pytest

from pytest_netns import Bridge, Namespace, Network, Route, Topology, Veth

CABLES = (
    Bridge("br0"),
    Veth("left:eth0", "br0", address="10.0.1.1/24"),
    Veth("right:eth0", "br0", address="10.0.0.1/24"),
)
APART = Topology(Namespace("left"), Namespace("right"), *CABLES)
LAN = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
    *CABLES,
)

# In place of the program that you want to test.
PROXY = """
import asyncio

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def serve(reader, writer):
    there = await asyncio.open_connection("10.0.0.1", 8000)
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

async def main():
    server = await asyncio.start_server(serve, "10.0.1.1", 80)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.mark.netns(APART)
def test_without_routes_the_networks_are_apart(netns: Network) -> None:
    """Each reaches itself, and finds the other's network unreachable."""
    assert netns["right"].ping("127.0.0.1")
    assert netns["right"].ping("10.0.0.1")
    assert netns["right"].ping("10.0.1.1").error == "network unreachable"


@pytest.mark.netns(LAN)
def test_right_reaches_left(netns: Network) -> None:
    """Told that the other network is on the link, they talk both ways."""
    assert netns["right"].ping("10.0.1.1")
    assert netns["left"].ping("10.0.0.1", count=2)


@pytest.mark.netns(LAN)
def test_a_proxy(netns: Network) -> None:
    """Who asks the proxy gets the server's answer; the server knows the proxy alone."""
    left, right = netns["left"], netns["right"]
    server = right.popen([sys.executable, "-um", "http.server", "8000"])
    server.wait_listening(8000)
    left.popen([sys.executable, "-c", PROXY], name="proxy").wait_listening(80)

    connection = HTTPConnection("10.0.1.1", timeout=5)
    with right:
        connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    server.wait_for_output(r'^10\.0\.1\.1 .* "GET / HTTP/1.1" 200')
