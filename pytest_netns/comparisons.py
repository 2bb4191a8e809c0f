"""What comparing proxies gives: views of a measurement that are nice to assert on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._bench_paths import only
from .errors import BenchmarkError
from .estimates import Estimate
from .measurement import DIRECT, PROXIED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .measurement import Measurement, Metric


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric on two paths.

    Attributes:
        metric: What it is called, and which way is better.
        direct: What was measured without the proxy.
        proxied: What was measured through it.
        ratio: The second by the first, round by round.
    """

    metric: Metric
    direct: Estimate
    proxied: Estimate
    ratio: Estimate

    def __str__(self) -> str:
        return (
            f"{self.metric.title}: {DIRECT} {self.direct}, "
            f"{PROXIED} {self.proxied}, ratio {self.ratio}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@dataclass(frozen=True, slots=True, repr=False)
class ThroughputComparison(Comparison):
    """What the client sends to the server.

    Attributes:
        down: What the server sends to the client.
    """

    down: Comparison


@dataclass(frozen=True, slots=True, repr=False)
class LatencyComparison(Comparison):
    """The time that half of the requests take at most, from when they are due.

    Attributes:
        p90: The time that 90 % take at most: each round's, like the first.
        p99: The time that 99 % take at most, too.
        p999: The time that 99.9 % take at most, of the requests of all rounds.
        maximum: The longest of all rounds.
    """

    p90: Comparison
    p99: Comparison
    p999: Comparison
    maximum: Comparison


@dataclass(frozen=True, slots=True, repr=False)
class ConcurrentComparison(Comparison):
    """Requests a second over many connections that are open at once.

    Attributes:
        held: How many were open at the least, through the proxy.
    """

    held: int


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionsComparison(Comparison):
    """New connections a second, each used for one byte.

    Attributes:
        concurrent: Requests a second over many open ones.
    """

    concurrent: ConcurrentComparison


@dataclass(frozen=True, slots=True)
class Cost:
    """What the process of a proxy used, with all its descendants.

    Attributes:
        cpu: CPU seconds for a gigabyte (10^9 bytes) that it moved, up and down.
        memory: The most memory that it had while it moved them, in bytes; pages that
            processes share are shared out (PSS), buffers in the kernel do not count.
        memory_per_connection: How much more memory it had for each connection while
            it held many than before the benchmark, in bytes.
    """

    cpu: Estimate
    memory: Estimate
    memory_per_connection: Estimate

    def __str__(self) -> str:
        return (
            f"CPU {self.cpu}, memory {self.memory}, "
            f"memory per connection {self.memory_per_connection}"
        )


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class LatencyEstimate(Estimate):
    """The time that half of the requests take at most, from when they are due.

    Attributes:
        p90: The time that 90 % take at most: each round's, like the first.
        p99: The time that 99 % take at most, too.
        p999: The time that 99.9 % take at most, of the requests of all rounds.
        maximum: The longest of all rounds.
    """

    p90: Estimate
    p99: Estimate
    p999: Estimate
    maximum: Estimate


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ConnectionsEstimate(Estimate):
    """New connections a second, each used for one byte.

    Attributes:
        concurrent: Requests a second over many connections that are open at once.
        held: How many were open at the least.
    """

    concurrent: Estimate
    held: int


class _Report:
    """What can be shown of a measurement.

    Attributes:
        measurement: All of it, as data.
    """

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement

    def table(self) -> str:
        """Return a table, as text."""
        from ._bench_table import table

        return table([self.measurement])

    def to_json(self) -> str:
        """Return all of it as JSON; ``benchmark.schema.json`` describes it."""
        import json

        from ._bench_json import to_data

        return json.dumps(to_data(self.measurement), indent=2) + "\n"

    def to_html(self, path: str | os.PathLike[str]) -> str:
        """Write a page with plots, which needs no other file; return its path.

        A file that is there is replaced when the page is whole. Directories are
        not made.

        Raises:
            MissingTool: matplotlib is not installed.
            OSError: The file cannot be written.
        """
        from ._bench_page import page
        from ._files import save_text

        save_text(path, page([self.measurement]))
        return os.fsdecode(path)

    def __str__(self) -> str:
        return self.table()


class ProxyComparison(_Report):
    """What a proxy costs, beside the direct way.

    Attributes:
        measurement: All of it, as data.
    """

    @property
    def throughput(self) -> ThroughputComparison:
        """What the client sends; ``.down`` is the other way."""
        return ThroughputComparison(
            *self._parts("throughput"), down=self._comparison("throughput.down")
        )

    @property
    def latency(self) -> LatencyComparison:
        """The median time of a request; ``.p90``, ``.p99``, ``.p999``, ``.maximum``."""
        return LatencyComparison(
            *self._parts("latency"),
            p90=self._comparison("latency.p90"),
            p99=self._comparison("latency.p99"),
            p999=self._comparison("latency.p99.9"),
            maximum=self._comparison("latency.max"),
        )

    @property
    def connections(self) -> ConnectionsComparison:
        """New connections a second; ``.concurrent`` is about many open ones."""
        key = "connections.concurrent"
        concurrent = ConcurrentComparison(
            *self._parts(key), held=self.measurement.held.get(PROXIED, 0)
        )
        return ConnectionsComparison(*self._parts("connections"), concurrent=concurrent)

    @property
    def cost(self) -> Cost | None:
        """What the proxy's process used; None if none was given."""
        if self.measurement.metric("cost.cpu") is None:
            return None
        return Cost(
            *(
                self._metric(f"cost.{key}").values[PROXIED]
                for key in ("cpu", "memory", "memory_per_connection")
            )
        )

    def _comparison(self, key: str) -> Comparison:
        return Comparison(*self._parts(key))

    def _parts(self, key: str) -> tuple[Metric, Estimate, Estimate, Estimate]:
        metric = self._metric(key)
        values = metric.values
        return metric, values[DIRECT], values[PROXIED], metric.ratios[PROXIED]

    def _metric(self, key: str) -> Metric:
        metric = self.measurement.metric(key)
        if metric is None:
            name = key.partition(".")[0]
            raise BenchmarkError(f"{name} was not measured: it is not in metrics=")
        return metric

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{metric.title} {metric.ratios[PROXIED]}"
            for metric in self.measurement.metrics
            if PROXIED in metric.ratios and "." not in metric.key
        )
        return f"<ProxyComparison {shown}>"


class ProxyComparisons(_Report):
    """What several proxies cost, beside the direct way that they share.

    Attributes:
        measurement: All of it, as data.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The proxies' names."""
        return tuple(path for path in self.measurement.paths if path != DIRECT)

    def __getitem__(self, name: str) -> ProxyComparison:
        """Return what one of them costs.

        Raises:
            KeyError: There is none of this name.
        """
        if name not in self.names:
            raise KeyError(f"no proxy {name!r}; known: {', '.join(self.names)}")
        return ProxyComparison(only(self.measurement, name))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the proxies' names."""
        return iter(self.names)

    def __len__(self) -> int:
        """Count the proxies."""
        return len(self.names)

    def __repr__(self) -> str:
        return f"<ProxyComparisons {', '.join(self.names)}>"
