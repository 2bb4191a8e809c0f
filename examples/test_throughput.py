"""How fast is it through a router with NAT? iperf3 in one line, and with statistics.

client ─── 10.0.0.1 gw 192.0.2.1 ─── server 192.0.2.2
"""

from __future__ import annotations

import pytest

from pytest_netns import (
    Bench,
    Iperf3,
    Masquerade,
    Namespace,
    Network,
    Route,
    Topology,
    Veth,
)

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("client", routes=[Route("default", via="10.0.0.1")]),
        Namespace("gw", forwarding=True, nat=[Masquerade(out_interface="wan")]),
        Namespace("server"),
        Veth("gw:lan", "client", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
        Veth("gw:wan", "server", address="192.0.2.1/24", peer_address="192.0.2.2/24"),
    )
)


def test_one_run(netns: Network, netns_iperf3: Iperf3) -> None:
    """What iperf3 reports, as an object; every byte went through the router."""
    wan = netns.link("gw:wan")
    before = wan.statistics.tx_bytes
    result = netns_iperf3(netns["client"], netns["server"], duration=0.5)
    assert result.bits_per_second > 1e6
    assert wan.statistics.tx_bytes - before >= result.bytes


def test_many_flows_at_once(netns: Network, netns_iperf3: Iperf3) -> None:
    """Four flows of 5 Mbit/s, each with a server of its own: all get what they want."""
    flows = [
        netns_iperf3.start(
            netns["client"],
            netns["server"],
            duration=1,
            protocol="udp",
            rate="5mbit",
        )
        for _ in range(4)
    ]
    for flow in flows:
        result = flow.result()
        assert result.bits_per_second == pytest.approx(5e6, rel=0.2)
        assert result.lost_percent is not None
        assert result.lost_percent < 10


def test_a_bottleneck(netns: Network, netns_bench: Bench) -> None:
    """A token bucket at the gateway is seen, by an interval and not by one figure."""
    limit = "tc qdisc add dev wan root tbf rate 100mbit burst 64kb latency 50ms"
    netns["gw"].run(limit)
    speed = netns_bench.throughput(netns["client"], netns["server"], budget=3)
    print(speed)
    assert speed.low > 50e6
    assert speed.high < 120e6
