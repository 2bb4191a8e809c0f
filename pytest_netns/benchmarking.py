"""The fixtures of benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._agents import Agents
    from .bench import Bench
    from .iperf3_flows import Iperf3
    from .manager import NetworkManager


@pytest.fixture
def netns_agents(netns_manager: NetworkManager) -> Iterator[Agents]:
    """Keep the processes of loads for as long as a test runs."""
    from ._agents import Agents

    del netns_manager  # it decides whether this machine can build networks at all
    with Agents() as agents:
        yield agents


@pytest.fixture
def netns_iperf3(netns_agents: Agents) -> Iperf3:
    """Measure with iperf3: ``netns_iperf3(client, server)``."""
    from .iperf3_flows import Iperf3

    return Iperf3(netns_agents)


@pytest.fixture
def netns_bench(netns_agents: Agents) -> Bench:
    """Measure with statistics: ``netns_bench.proxy(...)``, ``.throughput(...)``."""
    from .bench import Bench

    return Bench(netns_agents)
