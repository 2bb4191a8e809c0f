"""Numbers with an interval that says how far to believe them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from .errors import UnstableBenchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    #: What is taken of the rounds that were drawn, by their numbers from 0.
    Statistic = Callable[[Sequence[int]], float]

#: How sure an interval is.
CONFIDENCE = 0.95
#: Fewer samples than this say nothing about how far apart they lie.
FEWEST_SAMPLES = 3
#: A number that may be off by more than this factor is none.
WIDEST = 3.0
#: How often samples are drawn anew.
_RESAMPLES = 2000

#: "bit/s", "s", "1/s", "s/GB" (CPU seconds a gigabyte), "B", "%", "" for a ratio.
Unit = Literal["bit/s", "s", "1/s", "s/GB", "B", "%", ""]


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with the interval around it, whether it can be believed or not."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval as a part of the median; infinite around zero."""
        if not self.median:
            return 0.0 if self.low == self.high else math.inf
        return (self.high - self.low) / 2 / abs(self.median)

    @property
    def factor(self) -> float:
        """By which factor the median may be off; infinite around zero."""
        if self.low == self.high:
            return 1.0
        if self.low <= 0 or self.median <= 0:
            return math.inf
        return max(self.median / self.low, self.high / self.median)


@dataclass(frozen=True, slots=True, repr=False)
class Estimate:
    """What was measured several times: its median, and a 95 % interval around it.

    An estimate whose samples lie far apart has no median to believe, and asking for
    it is an error. The ends of its interval can be asked for: assertions on them are
    safe, since a wide interval does not pass.

    Attributes:
        samples: What each round has measured.
        unit: The unit of all its numbers.
        interval: What the samples give, also if it is not to be believed.
        unstable: Why it is not to be believed; None if it is.
    """

    samples: tuple[float, ...]
    unit: Unit
    interval: Interval
    unstable: str | None = None

    @property
    def median(self) -> float:
        """The median.

        Raises:
            UnstableBenchmark: The samples do not give it.
        """
        return self._believed().median

    @property
    def low(self) -> float:
        """The lower end of the interval.

        Raises:
            UnstableBenchmark: There are too few samples, or they are wrong.
        """
        return self._bounds().low

    @property
    def high(self) -> float:
        """The upper end of the interval.

        Raises:
            UnstableBenchmark: There are too few samples, or they are wrong.
        """
        return self._bounds().high

    def doubted(self, reason: str | None) -> Estimate:
        """Return the same with one more reason not to believe it; None is none."""
        if reason is None:
            return self
        return replace(self, unstable="; ".join(filter(None, (self.unstable, reason))))

    def _bounds(self) -> Interval:
        enough = len(self.samples) >= FEWEST_SAMPLES
        if enough and self.unstable == _why_unstable(self.samples, self.interval):
            return self.interval
        return self._believed()

    def _believed(self) -> Interval:
        if self.unstable is not None:
            raise UnstableBenchmark(
                f"no number can be given: {self.unstable}; measure for longer "
                "(budget=), pin the processes to processors (pin=), or let nothing "
                "else run meanwhile. What was measured is in .samples, and if it is "
                "only far apart, .low and .high are the ends of its interval"
            )
        return self.interval

    def __str__(self) -> str:
        if self.unstable is not None:
            return f"unstable: {self.unstable}"
        low, high = (show(value, self.unit) for value in (self.low, self.high))
        return f"{show(self.median, self.unit)} ({low} to {high})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}; {len(self.samples)} rounds>"


def estimate(
    samples: Sequence[float],
    unit: Unit,
    *,
    statistic: Statistic | None = None,
) -> Estimate:
    """Estimate the median of independent samples, by the bootstrap.

    The samples are drawn anew with replacement, 2,000 times, and the interval holds
    95 % of what the statistic is then (Efron, "Bootstrap Methods", 1979); of few
    samples it holds more, since these lie too close together (the expanded percentile
    interval: Hesterberg, "What Teachers Should Know About the Bootstrap", 2014).
    The same samples always give the same interval.

    From five samples on it holds the true median about as often as it says. No
    interval can with fewer: that from the least to the greatest of three samples
    misses it in one of four cases, since all may lie on the same side.

    Args:
        samples: What each round has measured.
        unit: Their unit.
        statistic: What to take instead of their median: from the numbers of the
            rounds that were drawn, counted from 0.
    """
    values = tuple(map(float, samples))
    if statistic is None:

        def statistic(rounds: Sequence[int]) -> float:
            return _median([values[number] for number in rounds])

    if not values:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Estimate(values, unit, nothing, "nothing was measured")
    everything = range(len(values))
    middle = statistic(everything)
    draw = random.Random(len(values)).choices  # noqa: S311  # no secret
    drawn = sorted(
        statistic(draw(everything, k=len(values))) for _ in range(_RESAMPLES)
    )
    outside = round(_RESAMPLES * _part_outside(len(values)))
    interval = Interval(middle, drawn[outside], drawn[-1 - outside])
    return Estimate(values, unit, interval, _why_unstable(values, interval))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Estimate the median ratio of pairs that were measured side by side."""
    pairs = zip(numerators, denominators, strict=True)
    return estimate([above / below for above, below in pairs if below], "")


def _part_outside(size: int) -> float:
    """Return the part of the drawn statistics on each side of the interval."""
    normal = NormalDist()
    wide = -normal.inv_cdf((1 - CONFIDENCE) / 2)
    freedom = max(1, size - 1)
    # Student's t by the normal distribution: Fisher and Cornish, 1960
    student = (
        wide
        + (wide**3 + wide) / (4 * freedom)
        + (5 * wide**5 + 16 * wide**3 + 3 * wide) / (96 * freedom**2)
    )
    return normal.cdf(-student * math.sqrt(size / freedom))


def _median(values: list[float]) -> float:
    """Do what `statistics.median` does, in half the time."""
    values.sort()
    half = len(values) // 2
    if len(values) % 2:
        return values[half]
    return (values[half - 1] + values[half]) / 2


def quantile(values: Sequence[float], part: float) -> float:
    """Return the least value that at least this part of all are not above.

    Args:
        values: All of them, in any order; not none.
        part: From 0 to 1, which gives the greatest.
    """
    ordered = sorted(values)
    return ordered[max(0, len(ordered) - 1 - _count_above(len(ordered), part))]


def pooled(rounds: Sequence[Sequence[float]], part: float) -> Statistic:
    """Return the quantile over all values of the rounds that are drawn.

    For what is so rare that one round shows too few of it.
    """
    sizes = [len(one) for one in rounds]
    # no value below these can be the one
    kept = _count_above(len(rounds) * max(sizes, default=0), part) + 1
    highest = [sorted(one, reverse=True)[:kept] for one in rounds]

    def statistic(drawn: Sequence[int]) -> float:
        above = _count_above(sum([sizes[number] for number in drawn]), part)
        candidates = [value for number in drawn for value in highest[number]]
        candidates.sort(reverse=True)
        return candidates[above] if candidates else math.nan

    return statistic


def _count_above(size: int, part: float) -> int:
    """Count the values of a set above its quantile, but for rounding errors."""
    return math.floor(size * (1 - part) + 1e-9)


def _why_unstable(values: Sequence[float], interval: Interval) -> str | None:
    if len(values) < FEWEST_SAMPLES:
        return f"{len(values)} of at least {FEWEST_SAMPLES} rounds were measured"
    if interval.factor > WIDEST:
        return f"it may be off by {_factor(interval)} after {len(values)} rounds"
    return None


def _factor(interval: Interval) -> str:
    factor = interval.factor
    if math.isinf(factor):
        return "any factor"
    return f"a factor of {factor:.{1 if factor < 10 else 0}f}"


def show(value: float, unit: Unit) -> str:
    """Return a value with three digits and the prefix that suits it: "9.41 Gbit/s"."""
    if not math.isfinite(value):
        return str(value)
    if unit == "":
        return f"{value:.3g}x" if abs(value) < 1000 else f"{value:.0f}x"
    if unit == "%":
        return f"{value:.3g} %"
    step = 1024 if unit == "B" else 1000
    prefixes = ["", "Ki", "Mi", "Gi"] if unit == "B" else ["", "k", "M", "G", "T"]
    if unit in {"s", "s/GB"}:
        prefixes, value = ["n", "µ", "m", ""], value * 1e9
    if unit == "1/s":
        prefixes = [""]
    while abs(value) >= step * 0.9995 and len(prefixes) > 1:
        value /= step
        prefixes.pop(0)
    if unit == "1/s":
        return f"{value:,.0f}/s" if abs(value) >= 100 else f"{value:.3g}/s"
    size = float(f"{abs(value):.3g}")  # 9.996 is 10.0
    digits = max(0, 2 - math.floor(math.log10(size))) if size else 0
    return f"{value:.{digits}f} {prefixes[0]}{unit}"
