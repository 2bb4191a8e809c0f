"""Whether benchmarks have become slower than they were in a saved run.

Judged by intervals, not by points: "slower" is what surely is, by more than a
threshold. Ratios are judged where there are some, since what makes a machine slow
today makes both paths slow; other numbers only if the machine is the same.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .estimates import Interval
from .measurement import DIRECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .estimates import Estimate, Unit
    from .measurement import Measurement, Metric

    Word = Literal[
        "slower", "same", "faster", "unclear", "unstable", "new", "not measured"
    ]
    _Key = tuple[str, str, str, int]

#: How sure the interval of a change is. A gate judges many numbers at once, where
#: each that fails by chance is one too many: 95 % would not do.
CONFIDENCE = 0.99
#: Fewer samples on either side tell nothing about a change: of three and three,
#: all are on the wrong side of each other by chance in one of ten cases.
FEWEST_SAMPLES = 5
#: How often samples are drawn anew.
_RESAMPLES = 2000

#: How much wider intervals of this confidence are than those of estimates.
_WIDER = 2.576 / 1.960
#: A greatest value of all grows with the time that is spent to look for it.
_NOT_JUDGED = {"latency.max"}

#: What must be the same for numbers of two runs to be compared as they are.
_SAME = ("processor", "processors", "processors of the control group", "kernel")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one number.

    Attributes:
        word: The verdict.
        metric: The metric's title.
        path: Of which path: "proxied", or "proxied/direct" for a ratio; may be empty.
        unit: The number's unit.
        better: Which way is better.
        before: The median of the saved run; None if it has none to be believed.
        now: The same of this run.
        change: The second by the first, if it could be told.
        why: Why it is unclear or unstable.
    """

    word: Word
    metric: str
    path: str
    unit: Unit
    better: Literal["higher", "lower"]
    before: float | None = None
    now: float | None = None
    change: Interval | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of a measurement.

    Attributes:
        measurement: That of this run.
        verdicts: One for each of its numbers that could be compared.
        other_machine: What is different about the machine: "kernel 6.1 is 6.12 now";
            if there is something, only ratios were judged.
    """

    measurement: Measurement
    verdicts: tuple[Verdict, ...]
    other_machine: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a run.

    Attributes:
        threshold: How much slower is slower, as a part: 0.1 is 10 %.
        judged: What was measured in both runs.
        new: What was measured in this run only.
        missing: What was measured in the saved run only.
    """

    threshold: float
    judged: tuple[Judged, ...]
    new: tuple[Measurement, ...] = ()
    missing: tuple[Measurement, ...] = ()

    @property
    def slower(self) -> list[tuple[Measurement, Verdict]]:
        """What is surely slower by more than the threshold."""
        return [
            (one.measurement, verdict)
            for one in self.judged
            for verdict in one.verdicts
            if verdict.word == "slower"
        ]


@dataclass(frozen=True, slots=True)
class _Number:
    """One number of a metric; two are the same if they mean the same."""

    metric: Metric = field(compare=False)
    path: str
    is_ratio: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.metric.key)


def judge(
    before: Iterable[Measurement], now: Iterable[Measurement], threshold: float
) -> Judgement:
    """Compare what was measured with what was saved.

    A measurement is found again by its test, the name that the test gives it, and its
    kind; of several like that, by their order.

    Args:
        before: The saved run.
        now: This run.
        threshold: How much slower is slower, as a part: 0.1 is 10 %.
    """
    saved, measured = _by_key(before), _by_key(now)
    return Judgement(
        threshold,
        tuple(
            _judge(saved[key], one, threshold)
            for key, one in measured.items()
            if key in saved
        ),
        new=tuple(one for key, one in measured.items() if key not in saved),
        missing=tuple(one for key, one in saved.items() if key not in measured),
    )


def change(before: Estimate, now: Estimate) -> Interval | None:
    """Return the second by the first, with an interval around it.

    Returns:
        None if there is none, because something was measured as nothing.
    """
    if _is_of_medians(before) and _is_of_medians(now):
        return _change_of_medians(before.samples, now.samples)
    return _change_of_intervals(before.interval, now.interval)


def _is_of_medians(one: Estimate) -> bool:
    """Tell whether it is what most rounds gave; it may be a quantile over all."""
    return one.interval.median == statistics.median(one.samples)


def _change_of_medians(
    before: Sequence[float], now: Sequence[float]
) -> Interval | None:
    """Draw both anew with replacement, each for itself (see `estimates.estimate`)."""
    draw = random.Random(len(before) + len(now)).choices  # noqa: S311  # no secret
    middle, below = statistics.median(now), statistics.median(before)
    drawn = [
        (_middle(draw(now, k=len(now))), _middle(draw(before, k=len(before))))
        for _ in range(_RESAMPLES)
    ]
    if not all(math.isfinite(a) and b > 0 for a, b in [(middle, below), *drawn]):
        return None
    ratios = sorted(a / b for a, b in drawn)
    outside = round(_RESAMPLES * (1 - CONFIDENCE) / 2)
    return Interval(middle / below, ratios[outside], ratios[-1 - outside])


def _change_of_intervals(before: Interval, now: Interval) -> Interval | None:
    """Join the intervals of two numbers that have nothing to do with each other.

    Each is as far from its median as the two together say, and farther, as it is to
    be surer than they are (Zou and Donner, "Construction of confidence limits about
    effect measures", 2008).
    """
    numbers = (before.low, before.median, before.high, now.low, now.median, now.high)
    if not all(math.isfinite(one) and one > 0 for one in numbers):
        return None
    low, middle, high, low_now, middle_now, high_now = map(math.log, numbers)
    down = _WIDER * math.hypot(middle_now - low_now, high - middle)
    up = _WIDER * math.hypot(high_now - middle_now, middle - low)
    by = middle_now - middle
    return Interval(math.exp(by), math.exp(by - down), math.exp(by + up))


def _middle(values: list[float]) -> float:
    """Do what `statistics.median` does, in less time."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _by_key(measurements: Iterable[Measurement]) -> dict[_Key, Measurement]:
    seen: Counter[tuple[str, str, str]] = Counter()
    found: dict[_Key, Measurement] = {}
    for one in measurements:
        key = (one.test, one.name, one.kind)
        found[(one.test, one.name, one.kind, seen[key])] = one
        seen[key] += 1
    return found


def _judge(before: Measurement, now: Measurement, threshold: float) -> Judged:
    different = tuple(_differences(before.machine, now.machine))
    verdicts = tuple(
        _verdict(number, old, new, threshold)
        for number, old, new in _pairs(before, now)
        if number.is_ratio or not different
    )
    return Judged(now, verdicts, different)


def _differences(
    before: Mapping[str, object], now: Mapping[str, object]
) -> Iterator[str]:
    for name in _SAME:
        old, new = before.get(name), now.get(name)
        if old != new:
            yield f"{name}: {_or_none(old)} then, {_or_none(new)} now"


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _pairs(
    before: Measurement, now: Measurement
) -> Iterator[tuple[_Number, Estimate | None, Estimate | None]]:
    """Yield what is compared: first what is measured now, then what is no more."""
    old = {number: one for metric in before.metrics for number, one in _of(metric)}
    new = {number: one for metric in now.metrics for number, one in _of(metric)}
    for number in new | old:
        yield number, old.get(number), new.get(number)


def _of(metric: Metric) -> Iterator[tuple[_Number, Estimate]]:
    """Yield what is judged of a metric: ratios, and what has none.

    The direct path is what the others are measured by.
    """
    if metric.key in _NOT_JUDGED:
        return
    first = next(iter(metric.values), "")
    for path, one in metric.ratios.items():
        yield _Number(metric, f"{path}/{first}", is_ratio=True), one
    for path, one in metric.values.items():
        if path not in metric.ratios and path != DIRECT:
            yield _Number(metric, path), one


def _verdict(
    number: _Number, before: Estimate | None, now: Estimate | None, threshold: float
) -> Verdict:
    found: Interval | None = None
    word, why = _doubt(before, now)
    if before is not None and now is not None and word is None:
        found = change(before, now)
        word, why = "unclear", "it was measured as nothing"
        if found is not None:
            word, why = _word(found, number.metric.better, threshold), ""
    return Verdict(
        word or "unclear",
        number.metric.title,
        number.path,
        "" if number.is_ratio else number.metric.unit,
        number.metric.better,
        _median(before),
        _median(now),
        found,
        why,
    )


def _doubt(before: Estimate | None, now: Estimate | None) -> tuple[Word | None, str]:
    """Return what keeps two numbers from being compared, and why."""
    if before is None:
        return "new", ""
    if now is None:
        return "not measured", ""
    if now.unstable is not None:
        return "unstable", f"now: {now.unstable}"
    if before.unstable is not None:
        return "unstable", f"then: {before.unstable}"
    fewest = min(len(before.samples), len(now.samples))
    if fewest < FEWEST_SAMPLES:
        return "unclear", f"{fewest} of at least {FEWEST_SAMPLES} rounds were measured"
    return None, ""


def _word(found: Interval, better: str, threshold: float) -> Word:
    if 1 - threshold <= found.low and found.high <= 1 + threshold:
        return "same"
    if found.low > 1 + threshold:
        return "faster" if better == "higher" else "slower"
    if found.high < 1 - threshold:
        return "slower" if better == "higher" else "faster"
    return "unclear"


def _median(estimate: Estimate | None) -> float | None:
    if estimate is None or estimate.unstable is not None:
        return None
    return estimate.median
