"""Numbers with an interval that says how far to believe them."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import UnstableBenchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How sure an interval is.
CONFIDENCE = 0.95
#: Fewer samples than this say nothing about how far apart they lie.
FEWEST_SAMPLES = 3
#: An interval whose half is wider than this part of its median says nothing.
WIDEST = 0.5
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was measured several times: its median, and a 95 % interval around it.

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
            UnstableBenchmark: The samples do not give it.
        """
        return self._believed().low

    @property
    def high(self) -> float:
        """The upper end of the interval.

        Raises:
            UnstableBenchmark: The samples do not give it.
        """
        return self._believed().high

    def _believed(self) -> Interval:
        if self.unstable is not None:
            raise UnstableBenchmark(
                f"no number can be given: {self.unstable}; measure for longer "
                "(budget=), pin the processes to processors (pin=), or let nothing "
                "else run meanwhile. What was measured is in .samples"
            )
        return self.interval

    def __str__(self) -> str:
        if self.unstable is not None:
            return f"unstable: {self.unstable}"
        low, high = (show(value, self.unit) for value in (self.low, self.high))
        return f"{show(self.median, self.unit)} ({low} to {high})"


def estimate(
    samples: Sequence[float],
    unit: Unit,
    *,
    statistic: Callable[[Sequence[int]], float] | None = None,
) -> Estimate:
    """Estimate the median of independent samples, by the bootstrap.

    The samples are drawn anew with replacement, 2,000 times; the interval holds
    95 % of what the statistic is then (Efron, "Bootstrap Methods", 1979). The same
    samples always give the same interval.

    Args:
        samples: What each round has measured.
        unit: Their unit.
        statistic: What to take instead of their median: from the numbers of the
            rounds that were drawn, counted from 0.
    """
    values = tuple(map(float, samples))
    if statistic is None:

        def statistic(rounds: Sequence[int]) -> float:
            return statistics.median([values[number] for number in rounds])

    if not values:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Estimate(values, unit, nothing, "nothing was measured")
    everything = range(len(values))
    middle = statistic(everything)
    draw = random.Random(len(values)).choices  # noqa: S311  # no secret
    drawn = sorted(
        statistic(draw(everything, k=len(values))) for _ in range(_RESAMPLES)
    )
    outside = round(_RESAMPLES * (1 - CONFIDENCE) / 2)
    interval = Interval(middle, drawn[outside], drawn[-1 - outside])
    return Estimate(values, unit, interval, _why_unstable(values, interval))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Estimate the median ratio of pairs that were measured side by side."""
    pairs = zip(numerators, denominators, strict=True)
    return estimate([above / below for above, below in pairs if below], "")


def _why_unstable(values: Sequence[float], interval: Interval) -> str | None:
    if len(values) < FEWEST_SAMPLES:
        return f"{len(values)} of at least {FEWEST_SAMPLES} rounds were measured"
    if interval.half_width > WIDEST:
        return (
            f"the interval is ±{interval.half_width:.0%} of the median "
            f"after {len(values)} rounds"
        )
    return None


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
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f} {prefixes[0]}{unit}"
