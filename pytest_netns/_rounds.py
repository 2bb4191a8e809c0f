"""Rounds: every path measured in turn, again and again, until it is enough.

What is compared is measured side by side, so that what slows the machine down for a
while slows all of it down. A round of a load is one sample on each path; rounds of
different loads alternate, so that each load sees the whole time.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import BenchmarkError
from .estimates import FEWEST_SAMPLES, estimate, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

#: What one measurement on one path gives.
Sample = TypeVar("Sample")

#: Rounds of each load that are made as long as there is time, however alike they are.
FEWEST_ROUNDS = 5
#: Rounds of each load that the time should suffice for, when samples get their length.
_PLANNED_ROUNDS = 7
#: How much shorter samples may become for that.
_SHORTEST = 0.3
#: How long the warm-up's samples are, as a part of those that are wanted.
_WARM_UP = 0.3
#: For `FEWEST_SAMPLES` of each load it may take so much longer than the budget: a
#: part of it, or at least so many seconds.
_OVERTIME, _LEAST_OVERTIME = 0.3, 4.0


@dataclass(frozen=True, slots=True)
class Load(Generic[Sample]):
    """Something to measure on each path.

    Attributes:
        key: What the results are found by.
        title: What people read: "throughput".
        seconds: How long a sample should be, if there is time.
        shortest: How long it must be; less would tell nothing.
        measure: Called with a path and seconds; returns a sample.
        value: Takes the number out of a sample that must become precise.
        serving: What must go on during a round: the server listens.
    """

    key: str
    title: str
    seconds: float
    measure: Callable[[str, float], Sample]
    value: Callable[[Sample], float]
    shortest: float = 0.0
    serving: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext


@dataclass(frozen=True, slots=True)
class Taken(Generic[Sample]):
    """A sample, and when it was taken, in seconds since the rounds began."""

    at: float
    sample: Sample


class Rounds(Generic[Sample]):
    """Measures loads on paths, pair by pair.

    There are at least `FEWEST_ROUNDS` of each load. If the budget is spent before,
    `FEWEST_SAMPLES` are made as long as that takes not much longer. Rounds go on
    for those loads whose interval is not narrow enough, where the next one is for
    the load that has had the least time. A load whose rounds take so long that they
    would cost the others theirs comes after them.

    Args:
        loads: What to measure.
        paths: On what; others are compared with the first one.
        budget: How many seconds it may take, the warm-up included.
        precision: How narrow is narrow enough: half of the interval of each ratio
            (of the value, if there is one path) as a part of it.
        progress: Called with a line for people.
        clock: What tells the time, in seconds.
    """

    def __init__(
        self,
        loads: Sequence[Load[Sample]],
        paths: Sequence[str],
        *,
        budget: float,
        precision: float,
        progress: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loads = loads
        self._paths = paths
        self._budget = budget
        self._precision = precision
        self._progress = progress
        self._clock = clock
        self._random = random.Random(0)  # noqa: S311  # no secret
        self._began = clock()
        self._spent = {load.key: 0.0 for load in loads}
        self._cost = dict(self._spent)  # of the newest round, in seconds
        self._precise: set[str] = set()
        self._seconds = {load.key: load.seconds for load in loads}
        self._orders: dict[str, list[str]] = {}
        #: The rounds of each load's key: a sample of each path.
        self.taken: dict[str, list[dict[str, Taken[Sample]]]] = {
            load.key: [] for load in loads
        }

    def run(self) -> None:
        """Measure all that the budget allows, or that is needed.

        Raises:
            BenchmarkError: Something cannot be measured; says on which path.
        """
        self._warm_up()
        while (load := self._next()) is not None:
            self._make_round(load)

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    def _warm_up(self) -> None:
        """Make a short round of each load that does not count; plan by its time."""
        overhead = 0.0
        for load in self._loads:
            began = self._clock()
            shorter = load.seconds * _WARM_UP
            self._measure(load, self._paths, shorter, "warm-up")
            taken = self._cost[load.key] = self._clock() - began
            overhead += max(0.0, taken - shorter * len(self._paths))
        wanted = sum(load.seconds for load in self._loads) * len(self._paths)
        a_round = (self._budget - self.elapsed) / _PLANNED_ROUNDS
        scale = min(1.0, max(_SHORTEST, (a_round - overhead) / wanted))
        self._seconds = {
            load.key: max(load.shortest, load.seconds * scale) for load in self._loads
        }

    def _next(self) -> Load[Sample] | None:
        """Choose what the next round is for, None if it is enough."""
        wanting = [
            load
            for load in self._loads
            if load.key not in self._precise and self._has_time_for(load)
        ]
        return min(wanting, key=self._turn, default=None)

    def _turn(self, load: Load[Sample]) -> tuple[bool, int, float]:
        """Let those come first that have had few rounds, then the least time."""
        few = min(self._count(load), FEWEST_ROUNDS)
        return few < FEWEST_ROUNDS and self._is_slow(load), few, self._spent[load.key]

    def _is_slow(self, load: Load[Sample]) -> bool:
        """Whether the fewest rounds of it would take most of the budget."""
        return self._cost[load.key] * FEWEST_SAMPLES > self._budget / 2

    def _has_time_for(self, load: Load[Sample]) -> bool:
        count = self._count(load)
        a_round = self._spent[load.key] / count if count else self._cost[load.key]
        end = self._budget
        if count < FEWEST_SAMPLES:
            end += max(self._budget * _OVERTIME, _LEAST_OVERTIME)
        return self.elapsed + a_round <= end

    def _make_round(self, load: Load[Sample]) -> None:
        began = self._clock()
        what = f"round {self._count(load) + 1}"
        paths = self._order(load)
        samples = self._measure(load, paths, self._seconds[load.key], what)
        self.taken[load.key].append({path: samples[path] for path in self._paths})
        self._cost[load.key] = self._clock() - began
        self._spent[load.key] += self._cost[load.key]
        if self._count(load) >= FEWEST_ROUNDS and self._is_precise(load):
            self._precise.add(load.key)

    def _order(self, load: Load[Sample]) -> list[str]:
        """Return the paths in any order, and the next time the other way round.

        So nobody is always first, or always after the same one.
        """
        if self._count(load) % 2:
            return self._orders[load.key][::-1]
        self._orders[load.key] = self._random.sample(self._paths, len(self._paths))
        return self._orders[load.key]

    def _measure(
        self, load: Load[Sample], paths: Sequence[str], seconds: float, what: str
    ) -> dict[str, Taken[Sample]]:
        samples = {}
        with load.serving():
            for path in paths:
                where = f" {path}" if path else ""
                self._progress(
                    f"{load.title}{where}, {what}, "
                    f"{self.elapsed:.1f} s of {self._budget:.3g} s"
                )
                at = self.elapsed
                with _telling(load.title, path):
                    samples[path] = Taken(at, load.measure(path, seconds))
        return samples

    def _is_precise(self, load: Load[Sample]) -> bool:
        values = {
            path: [load.value(one[path].sample) for one in self.taken[load.key]]
            for path in self._paths
        }
        first, *others = values.values()
        estimates = [ratio(other, first) for other in others] or [estimate(first, "")]
        return all(one.interval.half_width <= self._precision for one in estimates)

    def _count(self, load: Load[Sample]) -> int:
        return len(self.taken[load.key])


@contextlib.contextmanager
def _telling(title: str, path: str) -> Iterator[None]:
    """Let an error say what was measured, and on which path."""
    try:
        yield
    except BenchmarkError as error:
        where = f" on path {path!r}" if path else ""
        raise type(error)(f"cannot measure {title}{where}: {error}") from error
