"""What a benchmark has measured, in the one form that all its outputs are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .estimates import Estimate, Unit

#: The path without a proxy, to which all others are compared.
DIRECT = "direct"
#: The path through the proxy, if there is one proxy only.
PROXIED = "proxied"


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that was measured on one path or several.

    Attributes:
        key: What it is called in files: ``"throughput"``, ``"throughput.down"``,
            ``"latency"``, ``"latency.p90"`` (``p99``, ``p99.9``, ``max``),
            ``"connections"``, ``"connections.concurrent"``, ``"cost.cpu"``,
            ``"cost.memory"``, ``"cost.memory_per_connection"``.
        title: What people read: "latency, p99".
        unit: Its unit; see `Estimate`.
        better: Which way is better.
        values: The estimate of each path, the one compared to first. A path is
            ``"direct"``, ``"proxied"`` or a proxy's name; ``""`` if there is one only.
        ratios: Of each other path, to the first one, pair by pair.
    """

    key: str
    title: str
    unit: Unit
    better: Literal["higher", "lower"]
    values: Mapping[str, Estimate]
    ratios: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """How a metric went on in time on one path.

    Attributes:
        key: The metric's key.
        path: The path's name.
        points: (seconds since the measurement began, value).
    """

    key: str
    path: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A benchmark's result.

    Attributes:
        kind: The method that made it: ``"proxy"``, ``"compare"``, ``"throughput"``...
        title: What people read: "client to server through 10.0.0.2:8080".
        metrics: What was measured.
        machine: Where: names and values, such as ``{"kernel": "6.18.1"}``.
        topology: The network's picture, as text.
        began: When, in seconds since 1970.
        seconds: How long it took.
        rounds: How many rounds each metric's key has had, without the warm-up.
        notes: What a reader must know: "offloads are on at ...".
        series: How it went on in time.
        requests: The time of each request of the latency on each path, in seconds;
            at most some thousands, evenly picked.
        held: How many connections were open at once on each path, at the least, in
            ``"connections.concurrent"``.
        test: The test's node id, and what it calls it itself; both may be empty.
        name: What the test calls it, to tell several of one test apart.
    """

    kind: Literal["proxy", "compare", "throughput", "latency", "connections"]
    title: str
    metrics: tuple[Metric, ...]
    machine: Mapping[str, str | int | float]
    topology: str
    began: float
    seconds: float
    rounds: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()
    requests: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    test: str = ""
    name: str = ""

    def metric(self, key: str) -> Metric | None:
        """Return a metric, None if it was not measured."""
        return next((one for one in self.metrics if one.key == key), None)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that were measured, the one compared to first."""
        return tuple(dict.fromkeys(path for m in self.metrics for path in m.values))
