"""Measure our client and server of requests beside programs in C."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from report import Row, Section

import pytest_netns
from pytest_netns import Namespace, Topology, Veth
from pytest_netns._agent import Agent
from pytest_netns._loads import concurrent, connections, latency, serving
from pytest_netns.estimates import estimate, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from measure import Progress

    from pytest_netns import Network
    from pytest_netns.throughput import Protocol

# left (10.0.0.1) --- (10.0.0.2) right
_PAIR: Final = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
)
_ADDRESS: Final = "10.0.0.2"
_OURS, _SOCKPERF, _NGINX = 5402, 5403, 5404
_RATE, _SIZE = 2000, 64
_IN_FLIGHT: Final = 16
#: What a client in Python may add to the median, in seconds.
_GOAL: Final = 10e-6
_PARTS: Final = (0.5, 0.9, 0.99)
_PERCENTILE: Final = re.compile(r"percentile (\d+\.\d+) = +(\d+\.\d+)")
_PER_SECOND: Final = re.compile(r"Requests/sec: +([\d.]+)")
_CONFIGURATION: Final = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    keepalive_timeout 0;
    server {{ listen {address}:{port} backlog=4096; location / {{ return 200 "x"; }} }}
}}
"""

T = TypeVar("T")

#: Quantiles of one run, in seconds.
_Quantiles = dict[float, float]


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Measure latency beside sockperf, then connections beside wrk."""
    return [
        _measure_latency(progress, 5 if quick else 25),
        _measure_connections(progress, 5 if quick else 20),
    ]


def _measure_latency(progress: Progress, rounds: int) -> Section:
    title = f"Latency of {_RATE} requests of {_SIZE} bytes a second, one path"
    if shutil.which("sockperf") is None:
        return Section(title, [Row("sockperf", "not installed")])
    rows: list[Row] = []
    with (
        pytest_netns.build(_PAIR) as network,
        Agent(network["left"]) as client,
        Agent(network["right"]) as server,
    ):
        for protocol in ("tcp", "udp"):
            with (
                serving(server, _OURS, address=_ADDRESS, protocol=protocol),
                _sockperf_server(network, protocol),
            ):
                contestants = {
                    "ours": partial(_our_latency, client, protocol),
                    "sockperf": partial(_their_latency, network, protocol),
                }
                what = f"latency, {protocol.upper()}"
                runs = _in_turn(what, contestants, rounds, progress)
            rows += _latency_rows(protocol.upper(), runs["ours"], runs["sockperf"])
    return Section(title, rows)


@contextmanager
def _sockperf_server(network: Network, protocol: Protocol) -> Iterator[None]:
    command = ["sockperf", "server", "-i", _ADDRESS, "-p", str(_SOCKPERF)]
    if protocol == "tcp":
        command.append("--tcp")
    with network["right"].popen(command, expect_exit=True) as process:
        process.wait_listening(_SOCKPERF, protocol=protocol)
        yield


def _our_latency(client: Agent, protocol: Protocol) -> _Quantiles:
    target = (_ADDRESS, _OURS)
    found = latency(
        client, target, rate=_RATE, seconds=0.6, size=_SIZE, protocol=protocol
    )
    assert found.answered == found.sent
    return {part: found.quantile(part) for part in _PARTS}


def _their_latency(network: Network, protocol: Protocol) -> _Quantiles:
    """Let sockperf run for a second, of which 0.6 count: it warms up before."""
    command = ["sockperf", "under-load", "-i", _ADDRESS, "-p", str(_SOCKPERF)]
    command += [f"--mps={_RATE}", "--reply-every=1", "-m", str(_SIZE), "-t", "1"]
    command.append("--full-rtt")  # it says half of it otherwise
    if protocol == "tcp":
        command.append("--tcp")
    output = network["left"].run(command).stdout
    found = {
        float(percent) / 100: float(us) * 1e-6
        for percent, us in _PERCENTILE.findall(output)
    }
    return {part: found[part] for part in _PARTS}


def _latency_rows(
    protocol: str, ours: list[_Quantiles], theirs: list[_Quantiles]
) -> list[Row]:
    rows = []
    for part in _PARTS:
        mine, other = ([run[part] for run in runs] for runs in (ours, theirs))
        name = f"{protocol}, p{part * 100:g}"
        pairs = zip(mine, other, strict=True)
        more = estimate([one - two for one, two in pairs], "s").interval
        is_judged = part == 0.5
        difference = f"{more.median * 1e6:+.1f} us ({_range(more.low, more.high, 1e6)})"
        rows += [
            Row(
                f"ours, {name}",
                *_shown(mine, 1e6, "us"),
                compared_with=f"sockperf: {difference}",
                ratio=ratio(mine, other).interval.median,
                goal=f"<= {_GOAL * 1e6:+g} us" if is_judged else "",
                met=more.median <= _GOAL if is_judged else None,
                samples=mine,
            ),
            Row(f"sockperf, {name}", *_shown(other, 1e6, "us"), samples=other),
        ]
    return rows


def _measure_connections(progress: Progress, rounds: int) -> Section:
    title = f"New connections, {_IN_FLIGHT} at a time, and 500 at once"
    with (
        pytest_netns.build(_PAIR) as network,
        Agent(network["left"]) as client,
        Agent(network["right"]) as server,
        serving(server, _OURS),
        _nginx(network) as is_there,
    ):
        contestants = {
            "ours": partial(_our_connections, client),
            "500 held": partial(_our_requests, client),
        }
        if is_there:
            contestants["wrk and nginx"] = partial(_their_connections, network)
        runs = _in_turn("connections", contestants, rounds, progress)
    theirs = runs.pop("wrk and nginx", None)
    rows = [
        Row(
            "ours, new connections",
            *_shown(runs["ours"], 1.0, "/s"),
            compared_with="wrk and nginx" if theirs else "",
            ratio=ratio(runs["ours"], theirs).interval.median if theirs else None,
            samples=runs["ours"],
        ),
        Row(
            "ours, requests on 500 connections",
            *_shown(runs["500 held"], 1.0, "/s"),
            samples=runs["500 held"],
        ),
    ]
    if theirs:
        shown = _shown(theirs, 1.0, "/s")
        rows.append(Row("wrk and nginx, without keep-alive", *shown, samples=theirs))
    return Section(title, rows)


@contextmanager
def _nginx(network: Network) -> Iterator[bool]:
    """Have nginx run, if it is there, and wrk."""
    if not (shutil.which("nginx") and shutil.which("wrk")):
        yield False
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "nginx.conf")
        file.write_text(
            _CONFIGURATION.format(folder=folder, address=_ADDRESS, port=_NGINX)
        )
        command = ["nginx", "-c", str(file)]
        with network["right"].popen(command, expect_exit=True) as process:
            process.wait_listening(_NGINX)
            yield True


def _our_connections(client: Agent) -> float:
    found = connections(client, (_ADDRESS, _OURS), seconds=0.5, in_flight=_IN_FLIGHT)
    assert not found.failed
    return found.per_second


def _our_requests(client: Agent) -> float:
    found = concurrent(client, (_ADDRESS, _OURS), held=500, seconds=0.5)
    assert found.held == 500
    return found.requests_per_second


def _their_connections(network: Network) -> float:
    command = ["wrk", "-t1", f"-c{_IN_FLIGHT}", "-d1", "-H", "Connection: close"]
    output = network["left"].run([*command, f"http://{_ADDRESS}:{_NGINX}/"]).stdout
    found = _PER_SECOND.search(output)
    assert found, output
    return float(found[1])


def _in_turn(
    what: str,
    contestants: Mapping[str, Callable[[], T]],
    rounds: int,
    progress: Progress,
) -> dict[str, list[T]]:
    """Let all run once a round; who comes first changes from round to round."""
    for run in contestants.values():
        run()  # the first one warms up
    runs: dict[str, list[T]] = {name: [] for name in contestants}
    for turn in range(rounds):
        progress.show(f"{what}, round", turn, rounds)
        for name in sorted(contestants, reverse=turn % 2 == 1):
            runs[name].append(contestants[name]())
    return runs


def _shown(samples: list[float], factor: float, unit: str) -> tuple[str, str]:
    """Return the median, and the interval around it."""
    interval = estimate(samples, "").interval
    digits = 1 if unit == "us" else 0
    median = f"{interval.median * factor:,.{digits}f} {unit}"
    return median, _range(interval.low, interval.high, factor, digits)


def _range(low: float, high: float, factor: float, digits: int = 1) -> str:
    return f"{low * factor:,.{digits}f} - {high * factor:,.{digits}f}"
