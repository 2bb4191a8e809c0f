"""From the samples of rounds to metrics with their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ._rounds import FEWEST_ROUNDS
from ._settings import KINDS
from .estimates import estimate, pooled, quantile, ratio
from .measurement import Metric, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ._experiment import Experiment, Metered, Used
    from ._rounds import Taken
    from .estimates import Statistic, Unit

    #: The rounds of one load: what each path has given.
    Rounds = Sequence[Mapping[str, Taken[Metered[Any]]]]

T = TypeVar("T")

#: What is shown of the latency's distribution beside the median. Those of the first
#: kind are taken of each round, those of the other of all rounds together.
_PARTS = {"p90": 0.90, "p99": 0.99}
_RARE_PARTS = {"p99.9": 0.999, "max": 1.0}
#: So many requests of a path are kept for the picture of their distribution.
_MOST_REQUESTS = 4000
#: The client must send half of the requests within this part of the time between two.
_LATEST = 0.5


class Summary:
    """What the rounds of an experiment say.

    Args:
        experiment: What was measured.
        taken: Its rounds, by the keys of the loads.
        idle: The memory of each proxy before all, in bytes, where it is known.
    """

    def __init__(
        self,
        experiment: Experiment,
        taken: Mapping[str, Rounds],
        idle: Mapping[str, float | None],
    ) -> None:
        self._experiment = experiment
        self._taken = taken
        self._idle = idle
        self._paths = list(experiment.targets)

    def metrics(self) -> Iterator[Metric]:
        """Yield what was measured, in the order in which it is shown."""
        for key in self._taken:
            yield self._metric(key, KINDS[key].value)
            if key == "latency":
                yield from self._tails()
        if self._experiment.subjects:
            yield from self._costs()

    def _metric(
        self, key: str, value: Callable[[Any], float], part: str = ""
    ) -> Metric:
        kind = KINDS[key]
        values = {
            path: [value(result) for result in self._results(key, path)]
            for path in self._paths
        }
        first, *others = self._paths
        return self._doubted(
            key,
            Metric(
                f"{key}.{part}" if part else key,
                f"latency, {part}" if part else self._experiment.title(key),
                kind.unit,
                kind.better,
                {path: estimate(values[path], kind.unit) for path in self._paths},
                {path: ratio(values[path], values[first]) for path in others},
            ),
        )

    def _tails(self) -> Iterator[Metric]:
        for name, part in _PARTS.items():

            def value(requests: Any, part: float = part) -> float:
                return quantile(requests.times, part)

            yield self._metric("latency", value, name)
        for name, part in _RARE_PARTS.items():
            yield self._doubted("latency", self._tail(name, part))

    def _tail(self, name: str, part: float) -> Metric:
        times = {
            path: [requests.times for requests in self._results("latency", path)]
            for path in self._paths
        }
        samples = {
            path: [quantile(one, part) for one in times[path]] for path in self._paths
        }
        statistics = {path: pooled(times[path], part) for path in self._paths}
        first, *others = self._paths
        return Metric(
            f"latency.{name}",
            f"latency, {name}",
            "s",
            "lower",
            {
                path: estimate(samples[path], "s", statistic=statistics[path])
                for path in self._paths
            },
            {
                path: estimate(
                    _divided(samples[path], samples[first]),
                    "",
                    statistic=_quotient(statistics[path], statistics[first]),
                )
                for path in others
            },
        )

    def _doubted(self, key: str, metric: Metric) -> Metric:
        """Return a metric with all that speaks against believing it."""
        doubts = {path: self._doubt(key, path) for path in self._paths}
        first = doubts[self._paths[0]]
        values = {
            path: one.doubted(doubts[path]) for path, one in metric.values.items()
        }
        ratios = {
            path: one.doubted(doubts[path] or first)
            for path, one in metric.ratios.items()
        }
        return replace(metric, values=values, ratios=ratios)

    def _doubt(self, key: str, path: str) -> str | None:
        results = self._results(key, path)
        where = f" on path {path!r}" if path else ""
        if key == "latency":
            return self._doubt_latency(results, where)
        if key in {"connections", "connections.concurrent"}:
            failed = sum(result.failed for result in results)
            good = sum(getattr(result, "count", 0) or result.held for result in results)
            if failed:
                reason = next(result.reason for result in results if result.failed)
                return (
                    f"{failed:,} of {failed + good:,} connections failed{where} "
                    f"({reason})"
                )
        return None

    def _doubt_latency(self, results: Sequence[Any], where: str) -> str | None:
        sent = sum(requests.sent for requests in results)
        missing = sent - sum(requests.answered for requests in results)
        if missing:
            return f"{missing:,} of {sent:,} requests were not answered{where}"
        late = quantile([requests.late for requests in results] or [0.0], 0.5)
        if late > _LATEST / self._experiment.settings.rate:
            return (
                f"the client could not keep the rate{where}: half of the requests "
                f"were sent {late * 1e6:.0f} µs late or more"
            )
        return None

    def _costs(self) -> Iterator[Metric]:
        per_gigabyte, peaks, growth = {}, {}, {}
        for path in self._experiment.subjects:
            up, down = (
                self._used("throughput", path),
                self._used("throughput.down", path),
            )
            per_gigabyte[path] = [
                _cpu_per_gigabyte(pair) for pair in zip(up, down, strict=False)
            ]
            peaks[path] = [used.memory for _, used in up if used.memory is not None]
            growth[path] = [*self._growth(path)]
        yield _cost("cpu", "CPU time per GB", "s/GB", per_gigabyte)
        yield _cost("memory", "memory of the proxy", "B", peaks)
        yield _cost("memory_per_connection", "memory per open connection", "B", growth)

    def _growth(self, path: str) -> Iterator[float]:
        """Yield how much memory a connection took in each round of many."""
        idle = self._idle.get(path)
        for result, used in self._used("connections.concurrent", path):
            if idle is not None and used.memory is not None and result.held:
                yield max(0.0, used.memory - idle) / result.held

    def _used(self, key: str, path: str) -> list[tuple[Any, Used]]:
        return [
            (one.result, one.used)
            for one in self._metered(key, path)
            if one.used is not None
        ]

    def series(self) -> Iterator[Series]:
        """Yield how each load went on in time."""
        for key, rounds in self._taken.items():
            for path in self._paths:
                points = tuple(
                    (one[path].at, KINDS[key].value(one[path].sample.result))
                    for one in rounds
                )
                yield Series(key, path, points)

    def requests(self) -> dict[str, tuple[float, ...]]:
        """Return the times of requests on each path, evenly picked, sorted."""
        return {
            path: tuple(
                _picked(
                    sorted(
                        time
                        for requests in self._results("latency", path)
                        for time in requests.times
                    )
                )
            )
            for path in self._paths
            if "latency" in self._taken
        }

    def held(self) -> dict[str, int]:
        """Return how many connections were open at the least on each path."""
        key = "connections.concurrent"
        return {
            path: min(result.held for result in self._results(key, path))
            for path in self._paths
            if self._taken.get(key)
        }

    def versions(self) -> dict[str, str]:
        """Return the version of libiperf, if it was asked."""
        for result in self._results("throughput", self._paths[0]):
            version = str(result.raw.get("start", {}).get("version", ""))
            return {"libiperf": version.removeprefix("iperf ")} if version else {}
        return {}

    def notes(self) -> Iterator[str]:
        """Yield what a reader must know."""
        few = [
            f"{len(rounds)} of {self._experiment.title(key)}"
            for key, rounds in self._taken.items()
            if len(rounds) < FEWEST_ROUNDS
        ]
        if few:
            yield (
                f"the budget sufficed for few rounds: {', '.join(few)}; from fewer "
                f"than {FEWEST_ROUNDS} an interval is too narrow"
            )

    def _results(self, key: str, path: str) -> list[Any]:
        return [one.result for one in self._metered(key, path)]

    def _metered(self, key: str, path: str) -> list[Metered[Any]]:
        return [one[path].sample for one in self._taken.get(key, ())]


def _cost(
    key: str, title: str, unit: Unit, values: Mapping[str, Sequence[float]]
) -> Metric:
    estimates = {path: estimate(samples, unit) for path, samples in values.items()}
    return Metric(f"cost.{key}", title, unit, "lower", estimates)


def _cpu_per_gigabyte(flows: Sequence[tuple[Any, Used]]) -> float:
    """Return CPU seconds for 10^9 bytes of what was sent up and down."""
    moved = sum(int(result.bytes) for result, _ in flows)
    return sum(used.cpu for _, used in flows) / (moved / 1e9)


def _divided(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True) if other]


def _quotient(above: Statistic, below: Statistic) -> Statistic:
    """Return the ratio of two statistics of the same rounds."""

    def statistic(drawn: Sequence[int]) -> float:
        return above(drawn) / below(drawn)

    return statistic


def _picked(values: Sequence[T]) -> Iterator[T]:
    """Yield at most some thousands of them, with the first and the last."""
    last = len(values) - 1
    steps = min(last, _MOST_REQUESTS - 1)
    for step in range(steps + 1):
        yield values[round(step * last / steps) if steps else 0]
