"""Nothing is to be heard from Python, where it looks more closely than usual."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: What a suite may use, once each.
TESTS = """
    import asyncio

    KEPT = []
    LAN = Topology(
        Namespace("client", routes=[Route("default", via="10.0.0.254")]),
        Namespace("gateway", forwarding=True, nat=[Masquerade(out_interface="eth1")]),
        Namespace("server", nameservers=["10.1.0.254"]),
        Bridge("br0"),
        Veth("client:eth0", "br0", address="10.0.0.1/24"),
        Veth("gateway:eth0", "br0", address="10.0.0.254/24"),
        Veth("gateway:eth1", "server:eth0", subnet="10.1.0.0/24"),
    )
    pytestmark = pytest.mark.netns(LAN)

    @pytest.fixture(scope="module")
    def shared(netns_manager):
        with netns_manager.build(LAN) as network:
            yield network

    def serve(namespace):
        server = namespace.socket()
        server.bind(("", 80))
        server.listen()
        return server

    def test_daemons(netns):
        with netns["server"].popen([sys.executable, "-m", "http.server", "80"]) as web:
            web.wait_listening(80)
            assert netns["client"].call(
                socket.create_connection, (str(netns["server"].ip), 80)
            ).close() is None
        netns["client"].popen(["sh", "-c", "sleep 600 & sleep 600"])

    def test_threads(netns, shared):
        client, _, server = netns
        with serve(server) as listener:
            task = server.spawn(listener.accept)
            with client, client.socket() as one:
                one.connect((str(server.ip), 80))
            accepted, (address, _) = task.result(10)
            assert address == str(netns["gateway"].interface("eth1").addresses[0].ip)
            accepted.close()
        client.spawn(client.socket(type=socket.SOCK_DGRAM).recv, 1)
        assert shared["client"].ping(server.ip)

    def test_captures(netns, tmp_path):
        with netns.capture("client:eth0", "server:eth0", bpf_filter="icmp") as capture:
            assert netns["client"].ping(netns["server"].ip)
            assert capture.wait(4)[0].haslayer("ICMP")
        capture.save(tmp_path / "all.pcapng")

    def test_packets(netns):
        from scapy.layers.inet import ICMP, IP

        client = netns["client"]
        assert client.sr1(IP(dst=str(netns["server"].ip)) / ICMP(), timeout=5)

    def test_changes(netns):
        netns.add(Namespace("late"), Veth("late", "client", subnet="10.2.0.0/24"))
        assert netns["late"].ping("client")
        netns["late"].nft("table inet own {}")
        netns.link("client:eth0").set_down()
        assert not netns["client"].ping("10.0.0.254", timeout=0.1)
        assert netns["late"].sysctl["net.ipv4.ip_forward"] == "0"

    def test_loop(netns):
        async def main():
            async with await netns["server"].start_server(answer, "", 80):
                ip = str(netns["server"].ip)
                reader, writer = await netns["client"].open_connection(ip, 80)
                assert await reader.readline() == b"words\\n"
                writer.close()
                await writer.wait_closed()

        async def answer(reader, writer):
            writer.write(b"words\\n")
            writer.close()
            await writer.wait_closed()

        asyncio.run(main())

    def test_left_open(netns):
        KEPT.append(netns["client"].socket())
        netns["client"].capture("eth0").__enter__()
        netns["server"].__enter__()
"""


@pytest.fixture
def developing(inner: Inner) -> list[str]:
    """Give a command that runs pytest in Python's development mode."""
    return [
        *(sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-W", "error"),
        *("--strict-markers", "-p", "no:cacheprovider", "-p", "no:asyncio"),
        *("-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:pytest_cov"),
        *("-p", "no:randomly", "-p", "no:rerunfailures", "-p", "no:timeout"),
        *("-p", "no:benchmark"),
    ]


@pytest.mark.parametrize("arguments", [(), ("--netns-names",), ("-n", "2")])
def test_quiet(inner: Inner, developing: list[str], arguments: tuple[str, ...]) -> None:
    """A suite that uses everything warns of nothing, also when the process ends.

    ::

        client (10.0.0.1) --- br0 --- gateway --- (10.1.0.2) server
    """
    inner.write(TESTS)
    result = inner.pytester.run(*developing, *arguments, timeout=120)
    result.assert_outcomes(passed=7)
    result.stdout.no_re_match_line("=.* warning")
    assert str(result.stderr) == ""


def test_loud(inner: Inner, developing: list[str]) -> None:
    """What a test itself leaves open at the very end would have been heard."""
    inner.write(
        """
        KEPT = []

        @pytest.mark.netns(CABLE)
        def test_one(netns):
            KEPT.append(socket.socket())
        """
    )
    result = inner.pytester.run(*developing)
    result.assert_outcomes(passed=1)
    result.stderr.fnmatch_lines("*ResourceWarning: unclosed <socket.socket*")
