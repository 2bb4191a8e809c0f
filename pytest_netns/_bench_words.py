"""What tables and pages say of a measurement, in words and numbers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ._packet_table import printable
from .estimates import show

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .estimates import Estimate
    from .measurement import Measurement, Metric

#: What stands where a number would not be believed.
UNSTABLE = "unstable"
#: What stands where nothing was measured.
NOTHING = "–"  # noqa: RUF001  # a dash as wide as a number looks

#: What differs between reasons that are the same otherwise.
_FACTOR = re.compile(r"a factor of (\d+(?:\.\d+)?)")
_ANY = "a factor of "
_NUMBER = re.compile(r"[-+\d.,]*x?")


def parts_of(text: str) -> tuple[str, str]:
    """Split a shown value where columns are aligned: ``("9.41", " Gbit/s")``."""
    match = _NUMBER.match(text)
    end = match.end() if match else 0
    return text[:end], text[end:]


def value(estimate: Estimate | None) -> str:
    """Say what was measured, or that it cannot be said."""
    if estimate is None:
        return NOTHING
    if estimate.unstable is not None:
        return UNSTABLE
    return show(estimate.median, estimate.unit)


def interval(estimate: Estimate | None) -> str:
    """Say between what it lies: "9.38 to 9.44 Gbit/s"; nothing if unstable."""
    if estimate is None or estimate.unstable is not None:
        return ""
    low, high = show(estimate.low, estimate.unit), show(estimate.high, estimate.unit)
    number, unit = parts_of(low)
    return f"{number if unit == parts_of(high)[1] else low} to {high}"


def ratio(estimate: Estimate | None) -> str:
    """Say how it compares: "0.62x (0.60 to 0.65)"."""
    if estimate is None:
        return ""
    if estimate.unstable is not None:
        return UNSTABLE
    digits = _digits(estimate.median)
    low, high = f"{estimate.low:.{digits}f}", f"{estimate.high:.{digits}f}"
    return f"{estimate.median:.{digits}f}x ({low} to {high})"


def _digits(number: float) -> int:
    """Return how many digits behind the point tell ratios of this size apart."""
    if not math.isfinite(number) or not number:
        return 2
    exponent = math.floor(math.log10(abs(number)))
    if exponent < 0:
        return min(1 - exponent, 6)
    return max(0, 2 - exponent)


def verdict(metric: Metric, path: str) -> str:
    """Say whether a path is surely "better" or "worse" than the first; else ""."""
    ratio = metric.ratios.get(path)
    if ratio is None or ratio.unstable is not None or ratio.low <= 1 <= ratio.high:
        return ""
    return "better" if (ratio.low > 1) == (metric.better == "higher") else "worse"


def heading(measurement: Measurement) -> str:
    """Return what a measurement is called."""
    name, title = printable(measurement.name), printable(measurement.title)
    return f"{name}: {title}" if name and title else name or title or measurement.kind


def doubts(measurement: Measurement) -> list[tuple[str, str]]:
    """Return each reason not to believe something, and what it is about.

    Reasons that differ in a factor alone become one: "a factor of 3.2 to 5.4".
    """
    about: dict[str, list[str]] = {}
    factors: dict[str, set[float]] = {}
    for metric in measurement.metrics:
        found: dict[str, set[tuple[bool, str]]] = {}
        for place, reason in _doubted(metric):
            alike = _FACTOR.sub(_ANY, reason)
            found.setdefault(alike, set()).add(place)
            numbers = map(float, _FACTOR.findall(reason))
            factors.setdefault(alike, set()).update(numbers)
        for reason, places in found.items():
            about.setdefault(reason, []).append(
                printable(metric.title) + _in_brackets(metric, places)
            )
    return [
        (printable(reason.replace(_ANY, _factors(factors[reason]))), "; ".join(what))
        for reason, what in about.items()
    ]


def _doubted(metric: Metric) -> Iterator[tuple[tuple[bool, str], str]]:
    """Yield whether it is a ratio, of which path, and why it is doubted."""
    for is_ratio, estimates in ((False, metric.values), (True, metric.ratios)):
        for path, estimate in estimates.items():
            if estimate.unstable is not None:
                yield (is_ratio, path), estimate.unstable


def _in_brackets(metric: Metric, places: Collection[tuple[bool, str]]) -> str:
    """Say which of a metric's numbers are meant; nothing if all of them are."""
    if len(places) == len(metric.values) + len(metric.ratios):
        return ""
    named = [printable(path) for path in metric.values if (False, path) in places]
    of = [printable(path) for path in metric.ratios if (True, path) in places]
    if of and len(of) == len(metric.ratios):
        named.append("ratio" if len(of) == 1 else "all ratios")
    elif of:
        named.append(f"ratio{'s' * (len(of) > 1)} of {', '.join(of)}")
    return f" ({', '.join(named)})"


def _factors(factors: Collection[float]) -> str:
    low, high = min(factors, default=0), max(factors, default=0)
    return f"{_ANY}{low:g}" if low == high else f"{_ANY}{low:g} to {high:g}"


def effort(measurement: Measurement) -> str:
    """Say how much was measured: "9 rounds in 12.3 s"."""
    counts: dict[str, set[int]] = {}
    for key, count in measurement.rounds.items():
        counts.setdefault(key.partition(".")[0], set()).add(count)
    time = f"in {measurement.seconds:.1f} s"
    if len(set(measurement.rounds.values())) > 1:
        each = ", ".join(
            f"{_range(found)} of {printable(key)}" for key, found in counts.items()
        )
        return f"rounds: {each}; {time}"
    for found in counts.values():
        return f"{_range(found)} round{'s' * (found != {1})} {time}"
    return f"measured {time}"


def _range(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
