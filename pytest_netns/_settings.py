"""What a benchmark can measure, and how it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .estimates import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .estimates import Unit

#: How long what hangs may take, in seconds; see `_patience`.
_LEAST_PATIENCE, _MOST_PATIENCE = 2.0, 5.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A load that can be measured.

    Attributes:
        title: What people read; ``{held}`` is how many connections are held.
        unit: The unit of its number.
        better: Which way is better.
        seconds: How long a sample should be.
        value: Takes the number out of what the load gives.
    """

    title: str
    unit: Unit
    better: Literal["higher", "lower"]
    seconds: float
    value: Callable[[Any], float]


#: All loads, in the order in which they are measured and shown.
KINDS = {
    "throughput": Kind(
        "throughput", "bit/s", "higher", 0.2, lambda flow: flow.bits_per_second
    ),
    "throughput.down": Kind(
        "throughput, down", "bit/s", "higher", 0.2, lambda flow: flow.bits_per_second
    ),
    "latency": Kind(
        "latency, p50", "s", "lower", 0.25, lambda sample: quantile(sample.times, 0.5)
    ),
    "connections": Kind(
        "new connections", "1/s", "higher", 0.1, lambda sample: sample.per_second
    ),
    "connections.concurrent": Kind(
        "requests over {held} connections",
        "1/s",
        "higher",
        0.1,
        lambda sample: sample.requests_per_second,
    ),
}
#: What can be asked for, and the loads that it takes.
METRICS = {
    "throughput": ("throughput", "throughput.down"),
    "latency": ("latency",),
    "connections": ("connections", "connections.concurrent"),
}


def loads_of(metrics: Collection[str]) -> list[str]:
    """Return the keys of the loads that metrics take.

    Raises:
        ValueError: There is no such metric, or none was asked for.
    """
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"metrics must be some of {_listed(METRICS)}, not {metrics!r}")
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; known: {_listed(METRICS)}")
    return [key for name in METRICS if name in metrics for key in METRICS[name]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is to be measured, and how.

    Attributes:
        loads: Some keys of `KINDS`.
        budget: How many seconds it may take.
        precision: How narrow intervals shall be; see `Rounds`.
        rate: Requests a second, for latency.
        size: The length of these requests, in bytes.
        protocol: ``"tcp"`` or ``"udp"``, for latency.
        held: How many connections are open at once in "connections.concurrent".
        flow: What else iperf3 is told; see `throughput.Load`.
    """

    loads: Collection[str] = tuple(KINDS)
    budget: float = 10.0
    precision: float = 0.05
    rate: float = 2000.0
    size: int = 64
    protocol: Literal["tcp", "udp"] = "tcp"
    held: int = 500
    flow: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("budget", "precision", "rate", "held"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be above 0, not {value!r}")

    @property
    def patience(self) -> float:
        """How long one that hangs is waited for, in seconds."""
        return min(_MOST_PATIENCE, max(_LEAST_PATIENCE, self.budget / 2))


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(map(repr, names))
