"""`netns_iperf3`: one flow, and what it is asked for.

::

    client (10.0.0.1, fd00::1) --- br0 --- (10.0.0.2, fd00::2) server
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import Bridge, InvalidAddress, Namespace, Topology, UnknownName, Veth

if TYPE_CHECKING:
    from pytest_netns import Network, NetworkNamespace
    from pytest_netns.iperf3_flows import Iperf3

LAN = Topology(
    Namespace("client"),
    Namespace("server"),
    Bridge("br0"),
    Veth("client:eth0", "br0", address=["10.0.0.1/24", "fd00::1/64"]),
    Veth("server:eth0", "br0", address=["10.0.0.2/24", "fd00::2/64"]),
)

pytestmark = pytest.mark.netns(LAN)

#: Long enough to send something, short enough for a test, in seconds.
SHORT = 0.2


@pytest.fixture
def client(netns: Network) -> NetworkNamespace:
    """Give the namespace that asks."""
    return netns["client"]


@pytest.fixture
def server(netns: Network) -> NetworkNamespace:
    """Give the namespace that serves."""
    return netns["server"]


def test_tcp(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A run says what has arrived, in which time, and what it has cost."""
    result = netns_iperf3(client, server, duration=1)
    assert result.bytes > 0
    assert result.seconds == pytest.approx(1, abs=0.5)
    assert result.bits_per_second == pytest.approx(result.bytes * 8 / result.seconds)
    assert result.retransmits is not None
    assert result.cpu_client_percent
    assert result.cpu_server_percent
    assert result.jitter_ms is result.lost_percent is None
    assert result.raw["start"]["test_start"]["protocol"] == "TCP"
    assert result.raw["server_output_json"]["end"]
    assert repr(result).startswith("<ThroughputResult ")
    assert "bit/s" in repr(result)


def test_it_takes_two_seconds_by_default(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """Data are sent for two seconds, with a result for each."""
    result = netns_iperf3(client, server)
    assert result.raw["start"]["test_start"]["duration"] == 2
    assert len(result.intervals) == 2


@pytest.mark.parametrize("reverse", [False, True])
def test_udp(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    server: NetworkNamespace,
    *,
    reverse: bool,
) -> None:
    """Datagrams fit into packets; it is known how many were lost, and the jitter."""
    result = netns_iperf3(
        client, server, protocol="udp", rate="8mbit", duration=SHORT, reverse=reverse
    )
    assert 0 < result.bits_per_second < 16e6
    assert result.lost_percent is not None
    assert result.jitter_ms is not None
    assert result.retransmits is None
    started = result.raw["start"]["test_start"]
    assert started["protocol"] == "UDP"
    assert 1000 < started["blksize"] < 1500
    assert result.intervals[0].lost_percent is not None


def test_udp_without_a_rate_goes_as_fast_as_it_can(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """The program would send one megabit a second."""
    result = netns_iperf3(client, server, protocol="udp", duration=SHORT)
    assert result.bits_per_second > 2e6


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("family", "address"),
    [(None, "10.0.0.2"), (4, "10.0.0.2"), (6, "fd00::2")],
)
def test_families(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    server: NetworkNamespace,
    *,
    protocol: Any,
    family: int | None,
    address: str,
) -> None:
    """It runs over IPv4 and IPv6."""
    result = netns_iperf3(
        client, server, protocol=protocol, family=family, duration=SHORT, rate="1gbit"
    )
    assert result.bytes > 0
    (connected,) = result.raw["start"]["connected"]
    assert connected["remote_host"] == address


def test_reverse(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """The server sends, and the client receives."""
    before = client.interface("eth0").statistics.rx_bytes
    result = netns_iperf3(client, server, reverse=True, duration=SHORT)
    after = client.interface("eth0").statistics.rx_bytes
    assert 0 < result.bytes <= after - before
    assert result.retransmits is not None
    assert result.intervals[0].retransmits is not None


def test_parallel(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """Several streams are measured as one."""
    result = netns_iperf3(client, server, parallel=4, duration=SHORT)
    assert len(result.raw["start"]["connected"]) == 4
    streams = [stream["receiver"]["bytes"] for stream in result.raw["end"]["streams"]]
    assert all(streams)
    assert result.bytes == sum(streams)


@pytest.mark.parametrize("rate", ["20mbit", 20_000_000, "2.5mbps"])
def test_rate(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    server: NetworkNamespace,
    rate: float | str,
) -> None:
    """A stream sends no more than it may."""
    free = netns_iperf3(client, server, duration=SHORT)
    limited = netns_iperf3(client, server, duration=1.0, rate=rate)
    assert limited.bits_per_second < 30e6 < free.bits_per_second


@pytest.mark.parametrize("reverse", [False, True])
def test_intervals(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    server: NetworkNamespace,
    *,
    reverse: bool,
) -> None:
    """The parts of the time follow one another, and hold all that has arrived."""
    result = netns_iperf3(client, server, duration=1, interval=0.25, reverse=reverse)
    assert len(result.intervals) in {3, 4, 5}  # a busy machine is late sometimes
    for one, other in zip(result.intervals, result.intervals[1:], strict=False):
        assert one.end == pytest.approx(other.start)
        assert one.bits_per_second == pytest.approx(
            one.bytes * 8 / (one.end - one.start), rel=0.01
        )
    total = sum(one.bytes for one in result.intervals)
    assert total == pytest.approx(result.bytes, rel=0.05)


def test_omit(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """What is omitted comes first, and counts nowhere."""
    before = server.interface("eth0").statistics.rx_bytes
    result = netns_iperf3(client, server, duration=0.5, omit=1, rate="80mbit")
    arrived = server.interface("eth0").statistics.rx_bytes - before
    assert result.seconds < 1
    assert result.bytes < arrived * 0.6
    assert sum(one.bytes for one in result.intervals) < arrived * 0.6


def test_a_part_of_a_second(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A duration need not be whole, which the library's own must be."""
    there = netns_iperf3(client, server, duration=0.3, rate="100mbit")
    assert 0.25 < there.seconds < 0.9
    back = netns_iperf3(client, server, duration=0.3, rate="100mbit", reverse=True)
    if back.raw["start"]["version"] != "iperf 3.9":  # it takes whole seconds
        assert 0.25 < back.seconds < 0.9


def test_a_port_of_its_own(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A server takes a port that nobody has, neither for TCP nor for UDP."""
    with server.socket() as one, server.socket(type=2) as other:
        one.bind(("10.0.0.2", 5201))
        one.listen()
        other.bind(("10.0.0.2", 5202))
        with netns_iperf3.start(client, server, duration=SHORT) as flow:
            assert flow.port not in {5201, 5202}
            assert flow.result().bytes > 0


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_asked_for(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    server: NetworkNamespace,
    protocol: Any,
) -> None:
    """A server listens where it is told to, again and again."""
    for _ in range(2):
        result = netns_iperf3(
            client, server, port=7000, protocol=protocol, rate=1e7, duration=SHORT
        )
        (connected,) = result.raw["start"]["connected"]
        assert connected["remote_port"] == 7000


@pytest.mark.parametrize(("family", "address"), [(None, "127.0.0.1"), (6, "::1")])
def test_inside_one_namespace(
    netns_iperf3: Iperf3,
    client: NetworkNamespace,
    family: int | None,
    address: str,
) -> None:
    """Client and server may be the same namespace: then it is its loopback."""
    result = netns_iperf3(client, client, duration=SHORT, family=family)
    assert result.bytes > 0
    assert result.raw["start"]["connected"][0]["remote_host"] == address


def test_an_address_that_was_added_by_hand(
    netns: Network, netns_iperf3: Iperf3, client: NetworkNamespace
) -> None:
    """A namespace that was declared with no address is reached by what it has now."""
    netns.add(Namespace("bare"), Veth("bare:eth0", "client:eth1"))
    bare = netns["bare"]
    bare.run("ip address add 10.9.0.2/24 dev eth0")
    client.run("ip address add 10.9.0.1/24 dev eth1")
    assert netns_iperf3(client, bare, duration=SHORT).bytes > 0
    with pytest.raises(InvalidAddress, match="'bare' was declared with no IPv6"):
        netns_iperf3(client, bare, family=6)


def test_address_of(client: NetworkNamespace) -> None:
    """A namespace knows by which address it reaches another one."""
    assert client.address_of("server") == ipaddress.ip_address("10.0.0.2")
    assert client.address_of("server", family=6) == ipaddress.ip_address("fd00::2")
    with pytest.raises(UnknownName, match=r"did you mean 'server'\?"):
        client.address_of("sever")
