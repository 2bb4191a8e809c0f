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
def netns_agents(
    request: pytest.FixtureRequest, netns_manager: NetworkManager
) -> Iterator[Agents]:
    """Keep the processes of loads for as long as a test runs.

    Under xdist, tests with loads wait for one another.
    """
    from ._agents import Agents
    from ._bench_notes import one_at_a_time

    del netns_manager  # it decides whether this machine can build networks at all
    with one_at_a_time(request), Agents() as agents:
        yield agents


@pytest.fixture
def netns_iperf3(netns_agents: Agents) -> Iterator[Iperf3]:
    """Measure with iperf3: ``netns_iperf3(client, server)``."""
    from .iperf3_flows import Iperf3

    with Iperf3(netns_agents) as iperf3:
        yield iperf3


@pytest.fixture
def netns_bench(
    request: pytest.FixtureRequest, netns_agents: Agents
) -> Iterator[Bench]:
    """Measure with statistics: ``netns_bench.proxy(...)``, ``.throughput(...)``."""
    from ._bench_notes import BenchNotes
    from .bench import Bench

    notes = BenchNotes.of(request.config)
    with notes.noting(request) as note:
        yield Bench(netns_agents, note=note, progress=notes.line.show)
