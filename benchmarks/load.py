"""Measure what loads measure, against the programs that one would run by hand."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final

from report import Row, Section

import pytest_netns
from pytest_netns import Namespace, Topology, Veth
from pytest_netns._agents import Agents
from pytest_netns.estimates import estimate, ratio
from pytest_netns.iperf3_flows import Iperf3

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress

    from pytest_netns import Network
    from pytest_netns.estimates import Estimate

# left (10.0.0.1) --- (10.0.0.2) right
_PAIR: Final = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
)
_PORT: Final = 5401
_GOAL: Final = 0.03
#: Names, arguments, options of the program, and how many pairs of runs.
_LOADS: Final[tuple[tuple[str, dict[str, Any], list[str], int], ...]] = (
    ("TCP", {}, [], 40),
    ("TCP, the server sends", {"reverse": True}, ["--reverse"], 20),
    ("TCP, 4 streams", {"parallel": 4}, ["--parallel=4"], 20),
    (
        "UDP, 200 Mbit/s",
        {"protocol": "udp", "rate": "200mbit"},
        ["--udp", "--bitrate=200M"],
        10,
    ),
)


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Measure throughput by the fixture and by the program, in turn."""
    return [_measure_throughput(progress, quick=quick)]


def _measure_throughput(progress: Progress, *, quick: bool) -> Section:
    title = "Throughput between two namespaces, runs of one second"
    if shutil.which("iperf3") is None:
        return Section(title, [Row("iperf3", "not installed")])
    rows: list[Row] = []
    with pytest_netns.build(_PAIR) as network, Agents() as agents:
        ours = Iperf3(agents)
        for what, load, options, pairs in _LOADS:
            contestants = {
                "netns_iperf3": _fixture(ours, network, load),
                "iperf3": _program(network, options),
            }
            count = pairs // 4 if quick else pairs
            rows += _compare(what, contestants, count, progress)
    return Section(title, rows)


def _fixture(
    measure: Iperf3, network: Network, load: dict[str, Any]
) -> Callable[[], float]:
    def run() -> float:
        left, right = network["left"], network["right"]
        return measure(left, right, duration=1, **load).bits_per_second

    return run


def _program(network: Network, options: list[str]) -> Callable[[], float]:
    port = f"--port={_PORT}"
    serve = ["iperf3", "--server", "--one-off", port]
    ask = ["iperf3", "--client=10.0.0.2", port, "--time=1", "--json", *options]

    def run() -> float:
        with network["right"].popen(serve, expect_exit=True) as server:
            server.wait_listening(_PORT)
            report = json.loads(network["left"].run(ask).stdout)
        return float(report["end"]["sum_received"]["bits_per_second"])

    return run


def _compare(
    what: str,
    contestants: dict[str, Callable[[], float]],
    pairs: int,
    progress: Progress,
) -> list[Row]:
    """Run both in turn; who comes first changes from pair to pair."""
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()  # the first one warms up
    for turn in range(pairs):
        progress.show(f"load: {what}, pair", turn, pairs)
        for name in sorted(contestants, reverse=turn % 2 == 1):
            samples[name].append(contestants[name]())
    ours, theirs = samples["netns_iperf3"], samples["iperf3"]
    quotient = ratio(ours, theirs).interval
    return [
        Row(
            f"netns_iperf3, {what}",
            *_shown(estimate(ours, "bit/s")),
            compared_with="the program",
            ratio=quotient.median,
            goal=f"within {_GOAL:.0%} ({quotient.low:.3f} - {quotient.high:.3f})",
            met=abs(quotient.median - 1) <= _GOAL,
            samples=ours,
        ),
        Row(
            f"iperf3, {what}",
            *_shown(estimate(theirs, "bit/s")),
            samples=theirs,
        ),
    ]


def _shown(measured: Estimate) -> tuple[str, str]:
    """Return the median, and the interval around it."""
    interval = measured.interval
    low, high = interval.low / 1e9, interval.high / 1e9
    return f"{interval.median / 1e9:.2f} Gbit/s", f"{low:.2f} - {high:.2f}"
