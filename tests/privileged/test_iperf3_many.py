"""`netns_iperf3`: many flows at once, and what they leave alone.

::

    client (10.0.0.1) --- br0 --- (10.0.0.2) server
"""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    BenchmarkError,
    Bridge,
    ClosedError,
    Namespace,
    Topology,
    Veth,
    WaitTimeout,
    build,
)
from pytest_netns._agents import Agents
from pytest_netns.iperf3_flows import Iperf3

if TYPE_CHECKING:
    from pytest_netns import Network

LAN = Topology(
    Namespace("client"),
    Namespace("server"),
    Bridge("br0"),
    Veth("client:eth0", "br0", address=["10.0.0.1/24", "fd00::1/64"]),
    Veth("server:eth0", "br0", address=["10.0.0.2/24", "fd00::2/64"]),
)

pytestmark = pytest.mark.netns(LAN)


def test_flows_at_once(netns: Network, netns_iperf3: Iperf3) -> None:
    """Flows go on at the same time, each with a server and a port of its own."""
    flows = [
        netns_iperf3.start(
            netns["client"],
            netns["server"],
            protocol="udp" if number % 4 == 0 else "tcp",
            reverse=number % 2 == 1,
            family=6 if number < 4 else 4,
            rate="20mbit",
            duration=1,
        )
        for number in range(8)
    ]
    assert not any(flow.is_over for flow in flows)
    results = [flow.result() for flow in flows]
    assert all(result.bytes > 0 for result in results)
    assert len({flow.port for flow in flows}) == 8
    assert len({result.raw["start"]["cookie"] for result in results}) == 8
    assert flows[0].result() is results[0]


def test_threads_at_once(netns: Network, netns_iperf3: Iperf3) -> None:
    """Any thread may measure, whatever the others do."""
    together = threading.Barrier(8)

    def measure(number: int) -> int:
        together.wait(30)
        one, other = netns["client"], netns["server"]
        if number % 2:
            one, other = other, one
        return netns_iperf3(one, other, rate="20mbit", duration=0.5).bytes

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(measure, range(8)))


def test_ports_of_two_who_know_nothing_of_one_another(netns: Network) -> None:
    """Whoever else takes the same ports at the same time, each server has its own."""
    with Agents() as agents, Agents() as others:
        both = [Iperf3(agents), Iperf3(others)]
        with ThreadPoolExecutor(8) as pool:
            flows = list(
                pool.map(
                    lambda number: both[number % 2].start(
                        netns["client"], netns["server"], rate="10mbit", duration=0.5
                    ),
                    range(8),
                )
            )
        assert all(flow.result().bytes > 0 for flow in flows)
        assert len({flow.port for flow in flows}) == 8


def test_a_long_report(netns: Network, netns_iperf3: Iperf3) -> None:
    """A report may be longer than what a pipe takes (64 KiB)."""
    result = netns_iperf3(
        netns["client"],
        netns["server"],
        parallel=32,
        duration=2,
        interval=0.1,
        rate="5mbit",
    )
    assert len(repr(result.raw)) > 4 * 65_536
    assert len(result.intervals) > 10


def test_output_of_the_test_is_its_own(
    netns: Network, netns_iperf3: Iperf3, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the test prints while flows run arrives, and nothing of iperf3's does."""
    before = Path("/proc/self/fd/1").readlink()
    flows = [
        netns_iperf3.start(netns["client"], netns["server"], duration=0.5, rate="1mbit")
        for _ in range(2)
    ]
    os.write(1, b"while it runs\n")
    for flow in flows:
        flow.result()
    os.write(1, b"afterwards\n")
    assert Path("/proc/self/fd/1").readlink() == before
    assert capfd.readouterr() == ("while it runs\nafterwards\n", "")


def test_nothing_is_left() -> None:
    """Runs leave no process, descriptor or thread behind, failed ones neither."""

    def run() -> tuple[int, int]:
        with build(LAN) as network:
            client, server = network["client"], network["server"]
            with Agents() as agents, Iperf3(agents) as measure:
                measure(client, server, duration=0.1)
                with pytest.raises(BenchmarkError):
                    measure(client, server, through=("10.0.0.2", 9))
                measure.start(client, server, duration=60)
                assert client.pids()
                assert server.pids()
            assert client.pids() == server.pids() == []
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return descriptors, threading.active_count()

    run()  # what is made once is there now
    assert run() == run()


def test_agents_are_used_again(netns: Network) -> None:
    """A second run has the processes of the first one."""
    with Agents() as agents, Iperf3(agents) as measure:
        measure(netns["client"], netns["server"], duration=0.1)
        before = netns["client"].pids(), netns["server"].pids()
        measure(netns["client"], netns["server"], duration=0.1)
        assert (netns["client"].pids(), netns["server"].pids()) == before


def test_a_flow_that_is_closed(netns: Network, netns_iperf3: Iperf3) -> None:
    """A flow that is closed has ended, and has no result."""
    with netns_iperf3.start(netns["client"], netns["server"], duration=60) as flow:
        netns["server"].wait_listening(flow.port)
        assert "running" in repr(flow)
    with pytest.raises(WaitTimeout):
        netns["server"].wait_listening(flow.port, timeout=0.0)
    assert flow.is_over
    assert "ended" in repr(flow)
    with pytest.raises(BenchmarkError, match="was closed before it was over"):
        flow.result()
    flow.close()


def test_a_flow_that_is_left_alone(netns: Network, netns_iperf3: Iperf3) -> None:
    """Whatever still runs when the test ends is ended, before its network is."""
    netns_iperf3.start(netns["client"], netns["server"], duration=60)


def test_a_flow_that_outlives_its_network(netns_iperf3: Iperf3, netns: Network) -> None:
    """A flow whose network is closed has failed; there it cannot be tried again."""
    flow = netns_iperf3.start(netns["client"], netns["server"], duration=60)
    netns.close()
    with pytest.raises(BenchmarkError, match="has ended"):
        flow.result()
    with pytest.raises(ClosedError):
        netns_iperf3(netns["client"], netns["server"])
