"""Which plots a measurement has, and what they say to those who do not see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _bench_words as words
from . import _plots as plots
from ._packet_table import printable
from .estimates import quantile, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .estimates import Estimate
    from .measurement import Measurement, Metric, Series

#: The metrics that say the most, with all that belong to them.
MAIN = ("throughput", "latency", "connections")
#: What a description of the latency's curve says.
_PARTS = (0.5, 0.9, 0.99, 0.999, 1.0)


def figures(measurement: Measurement, name: str) -> Iterator[tuple[str, str]]:
    """Yield the plots of a measurement: their titles, and SVG.

    Args:
        measurement: What was measured.
        name: What the ids of the pictures begin with.
    """
    for key in ("throughput", "connections"):
        metrics = [
            metric
            for metric in measurement.metrics
            if metric.key.partition(".")[0] == key and metric.values
        ]
        metrics = [metric for metric in metrics if metric.unit == metrics[0].unit]
        if metrics:
            label = f"Bars. {'. '.join(map(_said, metrics))}"
            drawn = plots.bars(
                measurement, metrics, name=f"{name}-{key}-bars", label=printable(label)
            )
            yield f"{key.capitalize()}, with 95 % intervals", drawn
    if any(measurement.requests.values()):
        label = f"Curves. Latency of requests. {_said_requests(measurement)}"
        drawn = plots.latencies(
            measurement, name=f"{name}-latency-curves", label=printable(label)
        )
        yield "Latency of requests", drawn
    yield from _over_time(measurement, name)


def _over_time(measurement: Measurement, name: str) -> Iterator[tuple[str, str]]:
    for key in MAIN:
        metric = measurement.metric(key)
        series = [one for one in measurement.series if one.key == key and one.points]
        if metric is None or not series:
            continue
        title = f"{metric.title[:1].upper()}{metric.title[1:]}, round by round"
        said = "; ".join(
            f"{one.path}: {_said_range(one, metric)}".removeprefix(": ")
            for one in series
        )
        drawn = plots.over_time(
            measurement,
            key,
            name=f"{name}-{key}-time",
            label=printable(f"Lines. {title}. {said}"),
        )
        yield title, drawn


def _said(metric: Metric) -> str:
    """Say what a group of bars shows."""
    values = (
        " ".join(filter(None, (path, words.value(one), _in_brackets(one))))
        for path, one in metric.values.items()
    )
    return f"{metric.title}: {'; '.join(values)}"


def _in_brackets(estimate: Estimate) -> str:
    between = words.interval(estimate)
    return f"({between})" if between else ""


def _said_requests(measurement: Measurement) -> str:
    said = []
    for path, times in measurement.requests.items():
        if times:
            parts = (
                f"{part * 100:g} % at most {show(quantile(times, part), 's')}"
                for part in _PARTS
            )
            said.append(f"{path}: {', '.join(parts)}".removeprefix(": "))
    return "; ".join(said)


def _said_range(series: Series, metric: Metric) -> str:
    values = [value for _, value in series.points]
    low, high = show(min(values), metric.unit), show(max(values), metric.unit)
    return f"{len(values)} rounds between {low} and {high}"
