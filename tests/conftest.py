"""Who may run, and what they may need: measurements that look like real ones.

Tests that build networks skip, or fail, with the plugin's reason.
"""

from __future__ import annotations

import signal
from functools import cache
from operator import truediv
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import settings

from pytest_netns.estimates import Estimate, Interval, Unit
from pytest_netns.measurement import Measurement, Metric, Series
from pytest_netns.privileges import is_in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    Kind = Literal["proxy", "compare", "throughput", "latency", "connections"]


def pytest_configure(config: pytest.Config) -> None:
    """Try the same inputs each time, but for --soak, and listen to signals."""
    settings.register_profile(
        "tests",
        deadline=None,
        max_examples=30,
        database=None,
        derandomize=not config.getoption("soak"),
    )
    settings.load_profile("tests")
    # jobs in the background, and nohup, ignore what tests send
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


#: Files whose tests send as fast as they can. A processor has one queue for what its
#: veth devices receive (net.core.netdev_max_backlog), whatever their namespace is: when
#: it is full, the packets of everybody else are dropped as well.
_FLOODS = {
    *("test_bench", "test_capture_much", "test_capture_odd", "test_replay"),
    *("test_iperf3", "test_iperf3_failures", "test_iperf3_many", "test_iperf3_paths"),
    *("test_loads", "test_loads_connections", "test_sending_odd"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests beside which nothing may run."""
    for item in items:
        if item.path.stem in _FLOODS:
            item.add_marker("alone")


@pytest.fixture
def privileged(request: pytest.FixtureRequest) -> None:
    """Skip where networks cannot be built, or fail under --netns-require."""
    request.getfixturevalue("netns_manager")


@pytest.fixture
def unconfined() -> None:
    """Skip in a user namespace: the kernel forbids its root what a test needs."""
    if is_in_user_namespace():
        pytest.skip("the kernel does not let root of a user namespace do this")


@pytest.fixture(autouse=True)
def _privileges_where_needed(request: pytest.FixtureRequest) -> None:
    """Ask for privileges in all of ``tests/privileged`` and ``tests/reliability``."""
    if {"privileged", "reliability"} & {*request.path.parts}:
        request.getfixturevalue("privileged")


#: What the benchmarks of `fake` have measured: metrics, and how they are spread.
_METRICS: dict[str, tuple[str, Unit, float]] = {
    "throughput": ("throughput", "bit/s", 38.2e9),
    "throughput.down": ("throughput, down", "bit/s", 36.9e9),
    "latency": ("latency, p50", "s", 21.3e-6),
    "latency.p90": ("latency, p90", "s", 29.8e-6),
    "latency.p99": ("latency, p99", "s", 61.0e-6),
    "latency.p99.9": ("latency, p99.9", "s", 0.41e-3),
    "latency.max": ("latency, max", "s", 1.9e-3),
    "connections": ("new connections", "1/s", 14_321.0),
    "connections.concurrent": ("500 connections at once", "1/s", 60_500.0),
    "cost.cpu": ("CPU time of the proxy", "s/GB", 0.61),
    "cost.memory": ("memory of the proxy", "B", 11.4 * 2**20),
}
#: How much slower than the first path each path is.
_SLOWER = (1.0, 1.61, 1.83, 12.4, 2.5, 3.0, 0.9)


def _estimate(taken: Iterable[float], unit: Unit, *, unstable: bool) -> Estimate:
    """Return an estimate without the bootstrap, which others test."""
    samples = tuple(taken)
    ordered, fifth = sorted(samples), len(samples) // 5
    interval = Interval(median(samples), ordered[fifth], ordered[-1 - fifth])
    why = "it may be off by a factor of 4.5 after 9 rounds" if unstable else None
    if len(samples) < 3:
        why = f"{len(samples)} of at least 3 rounds were measured"
    return Estimate(samples, unit, interval, why)


class Fake:
    """Makes measurements that look like real ones, always the same."""

    def __call__(
        self,
        kind: Kind = "proxy",
        *,
        paths: Sequence[str] = ("direct", "proxied"),
        keys: Sequence[str] = tuple(_METRICS),
        unstable: Collection[str] = (),
        rounds: int = 9,
        **fields: Any,
    ) -> Measurement:
        """Return a measurement.

        Args:
            kind: The method that would have made it.
            paths: What was measured; the cost only of those behind the first.
            keys: The metrics that were measured.
            unstable: The metrics that nobody should believe.
            rounds: How many rounds each metric had.
            **fields: Fields of the measurement.
        """
        metrics = [
            self._metric(key, tuple(paths), rounds, unstable=key in unstable)
            for key in keys
        ]
        given = {
            "title": "client to server through 10.0.0.2:8080",
            "machine": {"kernel": "6.18.1", "processor": "Fake 9000", "processors": 8},
            "topology": "client eth0 ─── br0 ─── eth0 server",
            "began": 1_700_000_000.25,
            "seconds": 12.34,
            "rounds": dict.fromkeys(keys, rounds),
            "series": tuple(
                Series(metric.key, path, self._points(estimate))
                for metric in metrics
                for path, estimate in metric.values.items()
            ),
            "requests": {path: self._requests(at) for at, path in enumerate(paths)}
            if "latency" in keys
            else {},
            "test": "tests/test_proxy.py::test_is_fast_enough",
        }
        return Measurement(kind=kind, metrics=tuple(metrics), **{**given, **fields})

    def several(self) -> tuple[Measurement, ...]:
        """Return one of each kind, with all that is hard to show."""
        one = ("",)
        return (
            self(unstable=["latency.max"], notes=("offloads are on at client:eth0",)),
            self(
                "compare",
                paths=("direct", "haproxy", "nginx", "mine"),
                unstable=["latency.p99.9"],
                title="3 proxies between client and server",
                name="proxies",
            ),
            self("throughput", paths=one, keys=["throughput"], title="a to b"),
            self(
                "latency",
                paths=one,
                keys=[key for key in _METRICS if key.startswith("latency")],
                title="größer & <b>bold</b>",
                test="tests/test_ü.py::test_x[<script>alert(1)</script>]",
            ),
            self(
                "connections",
                paths=one,
                keys=["connections", "connections.concurrent"],
                unstable=["connections"],
                held={"": 480},
                rounds=2,
                title="from a client with a long name to " + "a server far away " * 8,
            ),
        )

    @staticmethod
    @cache
    def _metric(
        key: str, paths: tuple[str, ...], rounds: int, *, unstable: bool
    ) -> Metric:
        title, unit, usual = _METRICS[key]
        higher = unit in {"bit/s", "1/s"}
        random = Random(key)
        samples = {
            path: tuple(
                usual * (1 / slower if higher else slower) * random.gauss(1, 0.02)
                for _ in range(rounds)
            )
            for path, slower in zip(paths, _SLOWER, strict=False)
            if path != "direct" or not key.startswith("cost")
        }
        first = samples.get("direct")
        return Metric(
            key,
            title,
            unit,
            "higher" if higher else "lower",
            {
                path: _estimate(taken, unit, unstable=unstable)
                for path, taken in samples.items()
            },
            {
                path: _estimate(map(truediv, taken, first), "", unstable=unstable)
                for path, taken in samples.items()
                if first and path != "direct"
            },
        )

    @staticmethod
    def _points(estimate: Estimate) -> tuple[tuple[float, float], ...]:
        return tuple((0.4 * at, value) for at, value in enumerate(estimate.samples))

    @staticmethod
    def _requests(at: int) -> tuple[float, ...]:
        random = Random(at)
        usual = 21.3e-6 * _SLOWER[at]
        return tuple(
            usual * 0.8 + usual * 0.2 * random.lognormvariate(0, 1.1)
            for _ in range(3000)
        )


@pytest.fixture(scope="session")
def fake() -> Fake:
    """Make measurements that nobody has to wait for."""
    return Fake()
