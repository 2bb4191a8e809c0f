"""The paths of a measurement: chosen, named, and joined with those of others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from .measurement import DIRECT, PROXIED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .measurement import Measurement, Metric

T = TypeVar("T")


def only(measurement: Measurement, name: str) -> Measurement:
    """Return what is about one proxy of several, as if there were no other."""
    metrics = [
        replace(
            metric,
            values=_chosen(metric.values, name),
            ratios=_chosen(metric.ratios, name),
        )
        for metric in measurement.metrics
    ]
    return replace(
        measurement,
        kind="proxy",
        title=f"{measurement.title}: {name}",
        metrics=tuple(metric for metric in metrics if PROXIED in metric.values),
        series=tuple(
            replace(one, path=DIRECT if one.path == DIRECT else PROXIED)
            for one in measurement.series
            if one.path in {DIRECT, name}
        ),
        requests=_chosen(measurement.requests, name),
        held=_chosen(measurement.held, name),
    )


def named(measurement: Measurement, name: str) -> Measurement:
    """Return the measurement of one proxy as that of several, where it has a name."""
    paths = {PROXIED: name}
    return replace(
        measurement,
        kind="compare",
        metrics=tuple(
            replace(
                metric,
                values=_renamed(metric.values, paths),
                ratios=_renamed(metric.ratios, paths),
            )
            for metric in measurement.metrics
        ),
        series=tuple(
            replace(one, path=paths.get(one.path, one.path))
            for one in measurement.series
        ),
        requests=_renamed(measurement.requests, paths),
        held=_renamed(measurement.held, paths),
    )


def joined(first: Measurement, *others: Measurement) -> Measurement:
    """Return one table's measurement of several, whose proxies have names.

    Each ratio stays one to the direct way of its own measurement; the direct way
    that is shown is the first one's.
    """
    for other in others:
        first = replace(
            first,
            metrics=tuple(_joined_metrics(first, other)),
            began=min(first.began, other.began),
            seconds=first.seconds + other.seconds,
            rounds={
                key: min(one.rounds[key] for one in (first, other) if key in one.rounds)
                for key in {**first.rounds, **other.rounds}
            },
            notes=tuple(dict.fromkeys([*first.notes, *other.notes])),
            series=(
                *first.series,
                *(one for one in other.series if one.path not in first.paths),
            ),
            requests={**other.requests, **first.requests},
            held={**other.held, **first.held},
        )
    return first


def _joined_metrics(first: Measurement, other: Measurement) -> Iterator[Metric]:
    metrics = {metric.key: metric for metric in (*other.metrics, *first.metrics)}
    for key, metric in metrics.items():
        more = other.metric(key) or metric
        yield replace(
            metric,
            values={**metric.values, **_less(more.values, metric.values)},
            ratios={**metric.ratios, **_less(more.ratios, metric.ratios)},
        )


def _less(values: Mapping[str, T], known: Mapping[str, T]) -> dict[str, T]:
    return {path: value for path, value in values.items() if path not in known}


def _renamed(values: Mapping[str, T], paths: Mapping[str, str]) -> dict[str, T]:
    return {paths.get(path, path): value for path, value in values.items()}


def _chosen(values: Mapping[str, T], name: str) -> dict[str, T]:
    """Return what is about one proxy, and the direct way."""
    paths = {DIRECT: DIRECT, name: PROXIED}
    return {paths[path]: value for path, value in values.items() if path in paths}
