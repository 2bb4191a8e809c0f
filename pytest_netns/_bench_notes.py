"""What the tests of this process measure, on its way into their reports."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ._bench_json import to_data
from ._bench_progress import ProgressLine
from ._bench_session import ATTRIBUTE, HAND_OVER, workers_note
from ._locks import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .estimates import Estimate
    from .measurement import Measurement, Metric

#: Where a pytest configuration has what its tests note, once there is a benchmark.
NOTES = pytest.StashKey["BenchNotes"]()


class BenchNotes:
    """Notes measurements, and hands them over with the next report of their test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._noted: list[Measurement] = []
        self.line = ProgressLine(config)

    @classmethod
    def of(cls, config: pytest.Config) -> BenchNotes:
        """Return those of this process."""
        if NOTES not in config.stash:
            config.stash[NOTES] = notes = cls(config)
            config.stash[HAND_OVER] = notes.hand_over
        return config.stash[NOTES]

    @contextlib.contextmanager
    def noting(
        self, request: pytest.FixtureRequest
    ) -> Iterator[Callable[[Measurement], None]]:
        """Give what a test calls with each of its measurements.

        If the test has pytest-benchmark's fixture, too, the figures become part of
        what that saves.
        """
        extra = _extra_info(request)

        def note(measurement: Measurement) -> None:
            self.line.clear()
            self._note(request.node, measurement)
            if extra is not None:
                extra.setdefault("netns", []).extend(figures(measurement))

        try:
            yield note
        finally:
            self.line.clear()

    def hand_over(self, report: pytest.TestReport) -> None:
        """Attach what has been noted since the last report."""
        noted, self._noted = self._noted, []
        if noted:
            vars(report)[ATTRIBUTE] = {
                "workers": worker_count(self._config),
                "measurements": [to_data(one) for one in noted],
            }

    def _note(self, test: pytest.Item, measurement: Measurement) -> None:
        notes = measurement.notes
        if workers := worker_count(self._config):
            notes += (workers_note(workers),)
        measurement = replace(measurement, test=name_of(test), notes=notes)
        self._noted.append(measurement)
        if _takes_properties(self._config):
            test.user_properties += properties(measurement)


@contextlib.contextmanager
def one_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the benchmarks of other workers of xdist waiting for the block."""
    if not worker_count(request.config):
        yield
        return
    try:
        own = request.getfixturevalue("tmp_path_factory").getbasetemp()
    except pytest.FixtureLookupError:  # -p no:tmpdir
        own = request.config.rootpath / "any"
    with turn(str(own.parent)):  # all workers have theirs in that of the controller
        yield


def worker_count(config: pytest.Config) -> int:
    """Return how many workers of xdist there are, 0 if this is none of several."""
    count = int(getattr(config, "workerinput", {}).get("workercount", 0))
    return count if count > 1 else 0


def name_of(test: pytest.Item) -> str:
    """Return the node id of a test, without the group that xdist adds to it."""
    groups = sorted(
        {
            str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
            for mark in test.iter_markers("xdist_group")
        }
    )
    # xdist adds all of them since 3.7, and before that the closest one
    for group in ("_".join(groups), *groups):
        if test.nodeid.endswith(f"@{group}"):
            return test.nodeid.removesuffix(f"@{group}")
    return test.nodeid


def figures(measurement: Measurement) -> list[dict[str, str | float | None]]:
    """Return the figures of a measurement, for the files of others."""
    return [
        {
            "name": measurement.name,
            "metric": metric.key,
            "path": path,
            "median": None if one.unstable else one.median,
            "low": None if one.unstable else one.low,
            "high": None if one.unstable else one.high,
            "unit": one.unit,
        }
        for metric, path, one in _numbers(measurement)
    ]


def properties(measurement: Measurement) -> list[tuple[str, str]]:
    """Return the figures of a measurement as properties of its test, for people."""
    return [
        (
            " ".join(filter(None, ("netns", measurement.name, metric.key, path))),
            str(one),
        )
        for metric, path, one in _numbers(measurement)
    ]


def _numbers(measurement: Measurement) -> Iterator[tuple[Metric, str, Estimate]]:
    for metric in measurement.metrics:
        first = next(iter(metric.values), "")
        for path, one in metric.values.items():
            yield metric, path, one
        for path, one in metric.ratios.items():
            yield metric, f"{path}/{first}", one


def _extra_info(request: pytest.FixtureRequest) -> dict[str, Any] | None:
    """Return what pytest-benchmark saves with a test's figures, if it does."""
    if "benchmark" not in request.fixturenames:
        return None
    extra = getattr(request.getfixturevalue("benchmark"), "extra_info", None)
    return extra if isinstance(extra, dict) else None


def _takes_properties(config: pytest.Config) -> bool:
    """Tell whether tests may have properties: the schema xunit2 knows none."""
    if not config.getoption("xmlpath", None):
        return True
    return config.getini("junit_family") in {"legacy", "xunit1"}
