"""A plugin for runs of pytest in which nobody should wait for real measurements."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_netns._bench_notes import BenchNotes
from pytest_netns.estimates import Unit, estimate, ratio
from pytest_netns.measurement import DIRECT, Measurement, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Which machine has measured, unless a test says something else.
MACHINE: dict[str, str | int | float] = {
    "processor": "Fake 9000",
    "processors": 8,
    "kernel": "6.18.1",
}


class Noted(Protocol):
    """Notes a measurement as `netns_bench` does."""

    def __call__(self, **arguments: Any) -> None:
        """See `measured`."""


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Iterator[Noted]:
    """Note measurements in the way in which the fixture of benchmarks does."""
    notes = BenchNotes.of(request.config)
    with notes.noting(request) as note:

        def measure(**arguments: Any) -> None:
            notes.line.show("throughput, round 1")
            note(measured(**arguments))

        yield measure


def measured(
    *,
    ratio_of: float = 0.6,
    speed: float = 1.0,
    spread: float = 0.01,
    rounds: int = 9,
    name: str = "",
    requests: int = 10,
    machine: dict[str, str | int | float] = MACHINE,
    keys: tuple[str, ...] = ("throughput", "latency", "cost.cpu"),
) -> Measurement:
    """Return what a proxy might have come to.

    Args:
        ratio_of: How good it is: 1 is as good as none.
        speed: How fast the whole machine is.
        spread: How far the samples are spread around that, as a part of it.
        rounds: How many samples there are on each path.
        name: What its test calls it.
        requests: How many requests are kept.
        machine: What it was measured on.
        keys: What was measured.
    """
    random = Random(f"{ratio_of} {speed} {name}")
    kinds: dict[str, tuple[Unit, float]] = {
        "throughput": ("bit/s", 10e9 * speed),
        "latency": ("s", 20e-6 / speed),
        "cost.cpu": ("s/GB", 0.5 / speed),
    }
    metrics = []
    for key in keys:
        unit, usual = kinds[key]
        is_higher_better = unit == "bit/s"
        factor = ratio_of if is_higher_better else 1 / ratio_of
        direct, proxied = (
            [usual * one * random.gauss(1, spread) for _ in range(rounds)]
            for one in (1.0, factor)
        )
        has_pairs = not key.startswith("cost")
        samples = (
            {DIRECT: direct, "proxied": proxied} if has_pairs else {"proxied": proxied}
        )
        metrics.append(
            Metric(
                key,
                key,
                unit,
                "higher" if is_higher_better else "lower",
                {path: estimate(values, unit) for path, values in samples.items()},
                {"proxied": ratio(proxied, direct)} if has_pairs else {},
            )
        )
    return Measurement(
        kind="proxy",
        title="client to server",
        metrics=tuple(metrics),
        machine=machine,
        topology="client --- server",
        began=1_700_000_000.0,
        seconds=1.5,
        rounds=dict.fromkeys(keys, rounds),
        requests={DIRECT: tuple(random.random() for _ in range(requests))},
        name=name,
    )
