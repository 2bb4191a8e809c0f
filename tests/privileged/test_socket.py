"""Sockets and asyncio streams of a namespace.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_netns import (
    ClosedError,
    Namespace,
    Network,
    NetworkManager,
    Topology,
    Veth,
)

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet=["10.0.0.0/24", "fd00::/64"]),
)
#: Every address of left that a client may name.
PLACES = ["left", "10.0.0.1", "fd00::1"]

pytestmark = pytest.mark.netns(PAIR)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the client's address and what it sent."""
    peer = writer.get_extra_info("peername")[0]
    writer.write(f"{peer} {(await reader.readline()).decode()}".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(network: Network, host: str, port: int) -> str:
    """Return what a server answers to right."""
    reader, writer = await network["right"].open_connection(host, port)
    writer.write(b"hello\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def exchange(network: Network, listen: str | None, host: str) -> str:
    """Return what right hears from a server in left."""
    server = await network["left"].start_server(echo, listen, 8000)
    async with server:
        return await asyncio.wait_for(ask(network, host, 8000), 20)


class TestSocket:
    """`ns.socket`."""

    @pytest.mark.parametrize(
        ("family", "address"),
        [(socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")],
    )
    def test_stream(self, netns: Network, family: int, address: str) -> None:
        """Sockets of two namespaces talk, from a thread that is in neither."""
        here = Path("/proc/thread-self/ns/net").stat().st_ino
        with (
            netns["left"].socket(family) as server,
            netns["right"].socket(family) as client,
        ):
            server.bind((address, 8000))
            server.listen()
            client.settimeout(10)
            client.connect((address, 8000))
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello")
                assert client.recv(100) == b"hello"
        assert Path("/proc/thread-self/ns/net").stat().st_ino == here

    def test_plain(self, netns: Network) -> None:
        """It is a socket like any other, of the kind that was asked for."""
        with netns["left"].socket() as plain:
            assert type(plain) is socket.socket
            assert (plain.family, plain.type) == (socket.AF_INET, socket.SOCK_STREAM)
            assert not os.get_inheritable(plain.fileno())
        with netns["left"].socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain:
            assert (plain.family, plain.type) == (socket.AF_INET6, socket.SOCK_DGRAM)

    def test_datagram(self, netns: Network) -> None:
        """Datagrams reach the other namespace, and no other socket of that port."""
        kind = socket.SOCK_DGRAM
        with (
            netns["left"].socket(type=kind) as left,
            netns["right"].socket(type=kind) as right,
        ):
            left.bind(("0.0.0.0", 9000))
            right.bind(("0.0.0.0", 9000))
            right.sendto(b"one", ("10.0.0.1", 9000))
            left.settimeout(10)
            assert left.recvfrom(100) == (b"one", ("10.0.0.2", 9000))
            with pytest.raises(BlockingIOError):
                right.recv(100, socket.MSG_DONTWAIT)

    def test_raw(self, netns: Network) -> None:
        """A raw socket sees the packets of its namespace."""
        with netns["left"].socket(
            type=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP
        ) as raw:
            raw.settimeout(10)
            assert netns["right"].ping("10.0.0.1")
            packet = raw.recv(2048)
        assert socket.inet_ntoa(packet[12:16]) == "10.0.0.2"
        assert packet[20] == 8, "an echo request"

    def test_packet(self, netns: Network) -> None:
        """A packet socket sends and sees the frames of its namespace."""
        protocol = 0x88B5  # IEEE 802.1, for experiments
        kind, proto = socket.SOCK_RAW, socket.htons(protocol)
        frame = (
            b"\xff" * 6 + b"\x02\0\0\0\0\1" + struct.pack("!H", protocol) + b"x" * 46
        )
        with (
            netns["left"].socket(socket.AF_PACKET, kind, proto) as left,
            netns["right"].socket(socket.AF_PACKET, kind, proto) as right,
        ):
            left.bind(("eth0", protocol))
            right.bind(("eth0", protocol))
            left.settimeout(10)
            right.send(frame)
            assert left.recv(2048) == frame

    def test_any_thread(self, netns: Network) -> None:
        """A socket works in other threads, and in other namespaces."""
        with (
            netns["left"].socket(type=socket.SOCK_DGRAM) as left,
            ThreadPoolExecutor(1) as pool,
        ):
            left.bind(("10.0.0.1", 9000))
            left.settimeout(10)

            def send() -> None:
                with netns["right"].socket(type=socket.SOCK_DGRAM) as right:
                    right.sendto(b"x", ("10.0.0.1", 9000))

            pool.submit(send).result(10)
            assert netns["right"].call(left.recv, 100) == b"x"

    def test_refused_family(self, netns: Network) -> None:
        """A kind of socket that is none is the kernel's error."""
        with pytest.raises(OSError, match=r"not supported|Invalid"):
            netns["left"].socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)

    def test_closed_with_the_network(self, netns_manager: NetworkManager) -> None:
        """A socket that nobody closed ends with its network, and so does the call."""
        network = netns_manager.build(PAIR)
        left_open = network["left"].socket()
        network.close()
        assert left_open.fileno() == -1
        with pytest.raises(ClosedError, match="left"):
            network["left"].socket()


class TestStreams:
    """`ns.open_connection` and `ns.start_server`."""

    @pytest.mark.parametrize("host", PLACES)
    def test_to_a_server_of_all_addresses(self, netns: Network, host: str) -> None:
        """A server without a host serves IPv4 and IPv6, by address and by name."""
        for listen in (None, ""):
            answer = asyncio.run(exchange(netns, listen, host))
            assert answer.split() in (
                ["::ffff:10.0.0.2", "hello"],
                ["10.0.0.2", "hello"],
                ["fd00::2", "hello"],
            )

    @pytest.mark.parametrize("place", PLACES)
    def test_to_a_server_of_one_address(self, netns: Network, place: str) -> None:
        """A server may be given an address or a name of its namespace."""
        answer = asyncio.run(exchange(netns, place, place))
        assert answer in {"10.0.0.2 hello\n", "fd00::2 hello\n"}

    def test_link_local(self, netns: Network) -> None:
        """An address with a zone means the interface of that namespace."""
        address = next(
            str(one.ip)
            for one in netns["left"].interface("eth0").addresses
            if one.ip.version == 6 and one.ip.is_link_local
        )
        answer = asyncio.run(exchange(netns, f"{address}%eth0", f"{address}%eth0"))
        assert answer.split()[0].startswith("fe80:")

    def test_chosen_port(self, netns: Network) -> None:
        """Port 0 lets the kernel choose, and the server says which."""

        async def main() -> str:
            async with await netns["left"].start_server(echo, "10.0.0.1", 0) as server:
                return await ask(netns, "10.0.0.1", server.sockets[0].getsockname()[1])

        assert asyncio.run(main()) == "10.0.0.2 hello\n"

    def test_arguments_of_asyncio(self, netns: Network) -> None:
        """Other arguments are asyncio's, such as the limit of a line."""
        seen: list[str] = []
        served = asyncio.Event()

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                await reader.readline()
            except ValueError as error:
                seen.append(str(error))
            writer.close()
            served.set()

        async def main() -> None:
            async with await netns["left"].start_server(
                serve, "10.0.0.1", 8000, limit=16
            ):
                _, writer = await netns["right"].open_connection(
                    "10.0.0.1", 8000, limit=16
                )
                writer.write(b"x" * 100 + b"\n")
                await served.wait()
                writer.close()

        asyncio.run(asyncio.wait_for(main(), 20))
        assert "limit" in seen[0]

    def test_many_at_once(self, netns: Network) -> None:
        """Connections are made side by side in one loop."""

        async def main() -> list[str]:
            async with await netns["left"].start_server(echo, None, 8000):
                asking = (ask(netns, PLACES[index % 3], 8000) for index in range(30))
                return await asyncio.gather(*asking)

        assert all("hello" in answer for answer in asyncio.run(main()))

    def test_refused(self, netns: Network) -> None:
        """A port where nobody listens refuses, and no socket is left open."""
        for host in ("10.0.0.1", "fd00::1"):
            with pytest.raises(ConnectionRefusedError):
                asyncio.run(ask(netns, host, 8000))
        with pytest.raises(ConnectionRefusedError):
            asyncio.run(ask(netns, "left", 8000))

    def test_second_address(self, netns: Network) -> None:
        """A name is tried by all of its addresses until one answers."""
        assert asyncio.run(exchange(netns, "fd00::1", "left")) == "fd00::2 hello\n"
        assert asyncio.run(exchange(netns, "10.0.0.1", "left")) == "10.0.0.2 hello\n"

    def test_unknown_host(self, netns: Network) -> None:
        """A name that nobody has is asyncio's usual error."""
        with pytest.raises(socket.gaierror):
            asyncio.run(ask(netns, "nobody.invalid", 8000))

    def test_not_ours_to_listen_on(self, netns: Network) -> None:
        """A server cannot have an address of another namespace, or a port twice."""
        with pytest.raises(OSError, match="Cannot assign"):
            asyncio.run(exchange(netns, "10.0.0.2", "10.0.0.2"))
        with netns["left"].socket() as taken:
            taken.bind(("10.0.0.1", 8000))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                asyncio.run(exchange(netns, "10.0.0.1", "10.0.0.1"))

    def test_cancelled(self, netns: Network) -> None:
        """A connection that nobody waits for any more leaves no socket open."""
        netns["right"].run("ip route add blackhole 10.9.9.9")
        netns["right"].run(
            "ip neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0"
        )

        async def main() -> None:
            connecting = netns["right"].open_connection("10.0.0.77", 80)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(connecting, 0.05)

        before = len(list(Path("/proc/self/fd").iterdir()))
        asyncio.run(main())
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    @pytest.mark.asyncio
    async def test_in_a_test_that_is_a_coroutine(self, netns: Network) -> None:
        """Streams work in tests of pytest-asyncio."""
        assert await exchange(netns, None, "10.0.0.1") in {
            "10.0.0.2 hello\n",
            "::ffff:10.0.0.2 hello\n",
        }
