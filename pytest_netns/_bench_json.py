"""Benchmarks as data for files: written, read, and described by a JSON Schema."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._bench_schema import SCHEMA, SCHEMA_ID, VERSION, errors
from .estimates import Estimate, Interval
from .measurement import Measurement, Metric, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["SCHEMA", "document", "from_data", "read_document", "to_data"]


def document(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return what a file of measurements holds; `SCHEMA` describes it."""
    return {
        "schema": SCHEMA_ID,
        "version": VERSION,
        "measurements": [to_data(one) for one in measurements],
    }


def read_document(data: object) -> list[Measurement]:
    """Return the measurements of a file.

    Args:
        data: What JSON gave.

    Raises:
        ValueError: It is no such file, or a newer one; says what is wrong, and where.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA_ID:
        raise ValueError(f'these are no benchmarks: "schema" is not "{SCHEMA_ID}"')
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(
            f"these benchmarks have version {version}, and this pytest-netns reads "
            f"versions up to {VERSION}: read them with a newer pytest-netns"
        )
    _check(errors(data))
    return [_measurement(one) for one in data["measurements"]]


def to_data(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as JSON has it; what is not a number becomes null."""
    return {
        "kind": measurement.kind,
        "title": measurement.title,
        "name": measurement.name,
        "test": measurement.test,
        "began": _number(measurement.began),
        "seconds": _number(measurement.seconds),
        "rounds": dict(measurement.rounds),
        "metrics": [_metric_data(metric) for metric in measurement.metrics],
        "series": [
            {
                "key": one.key,
                "path": one.path,
                "points": [[_number(x), _number(y)] for x, y in one.points],
            }
            for one in measurement.series
        ],
        "requests": {
            path: _numbers(times) for path, times in measurement.requests.items()
        },
        "held": dict(measurement.held),
        "machine": {
            name: _number(value) if isinstance(value, float) else value
            for name, value in measurement.machine.items()
        },
        "topology": measurement.topology,
        "notes": list(measurement.notes),
    }


def from_data(data: object) -> Measurement:
    """Return the measurement that `to_data` was given.

    Raises:
        ValueError: It is none; says what is wrong, and where.
    """
    _check(errors(data, SCHEMA["$defs"]["measurement"]))
    return _measurement(data)


def _metric_data(metric: Metric) -> dict[str, Any]:
    return {
        "key": metric.key,
        "title": metric.title,
        "unit": metric.unit,
        "better": metric.better,
        # lists, as the first path is the one compared to: objects have no order
        "values": _estimates_data(metric.values),
        "ratios": _estimates_data(metric.ratios),
    }


def _estimates_data(estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    return [
        {
            "path": path,
            "unit": estimate.unit,
            "median": _number(estimate.interval.median),
            "low": _number(estimate.interval.low),
            "high": _number(estimate.interval.high),
            "unstable": estimate.unstable,
            "samples": _numbers(estimate.samples),
        }
        for path, estimate in estimates.items()
    ]


def _number(value: float) -> float | None:
    """Return a number as JSON can have it (RFC 8259: neither NaN nor infinity)."""
    return value if math.isfinite(value) else None


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _check(wrong: Iterator[str]) -> None:
    first = next(wrong, None)
    if first is not None:
        raise ValueError(f"these are no benchmarks: {first}")


def _measurement(data: Any) -> Measurement:
    return Measurement(
        kind=data["kind"],
        title=data["title"],
        name=data["name"],
        test=data["test"],
        began=_float(data["began"]),
        seconds=_float(data["seconds"]),
        rounds=data["rounds"],
        metrics=tuple(map(_metric, data["metrics"])),
        series=tuple(map(_series, data["series"])),
        requests={path: _floats(times) for path, times in data["requests"].items()},
        held=data["held"],
        machine={
            name: math.nan if value is None else value
            for name, value in data["machine"].items()
        },
        topology=data["topology"],
        notes=tuple(data["notes"]),
    )


def _metric(data: Any) -> Metric:
    return Metric(
        key=data["key"],
        title=data["title"],
        unit=data["unit"],
        better=data["better"],
        values={one["path"]: _estimate(one) for one in data["values"]},
        ratios={one["path"]: _estimate(one) for one in data["ratios"]},
    )


def _estimate(data: Any) -> Estimate:
    interval = Interval(*_floats([data["median"], data["low"], data["high"]]))
    samples = _floats(data["samples"])
    return Estimate(samples, data["unit"], interval, data["unstable"])


def _series(data: Any) -> Series:
    points = tuple((_float(x), _float(y)) for x, y in data["points"])
    return Series(data["key"], data["path"], points)


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _floats(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(map(_float, values))
