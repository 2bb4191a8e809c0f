"""Measure networks of many namespaces on one bridge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import contestants
import floor
from measure import interleave
from quiet import QuietKernel
from report import Row, Section, timed_row, with_ratio_goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Contestant, Progress, Series

_SIZES: Final = (10, 50, 100, 250, 500)
_GOAL: Final = 1.3


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Return the milliseconds per namespace for networks of 10 to 500."""
    quiet = QuietKernel()
    timers: dict[str, Callable[[], float]] = {}
    every: dict[str, int] = {}
    fields: list[Contestant] = []
    for size in _SIZES:
        fields.append(contestants.Ours(contestants.star(size)))
        fields.append(floor.Floor(floor.star(size)))
        for kind, contestant in zip(("ours", "floor"), fields[-2:], strict=True):
            name = _name(kind, size)
            timers[name] = _timer(contestant, size, quiet)
            # As many namespaces of each size would take too long.
            every[name] = 1 if size <= 50 else 2
        timers[_name("topology", size)] = _declaration_timer(size)
    series = interleave(
        "scale", timers, 2 if quick else 8, progress=progress, every=every
    )
    for contestant in fields:
        contestant.stop()
    quiet.close()
    return [_section(series)]


def _name(kind: str, size: int) -> str:
    return f"{kind} {size}"


def _timer(
    contestant: Contestant, size: int, quiet: QuietKernel
) -> Callable[[], float]:
    def build_once() -> float:
        start = time.perf_counter()
        contestant.build()
        seconds = time.perf_counter() - start
        contestant.close()
        quiet.wait()
        return seconds / size

    return build_once


def _declaration_timer(size: int) -> Callable[[], float]:
    def declare() -> float:
        start = time.perf_counter()
        contestants.star(size)
        return (time.perf_counter() - start) / size

    return declare


def _section(series: dict[str, Series]) -> Section:
    smallest, largest = _SIZES[0], _SIZES[-1]
    rows = []
    for size in _SIZES:
        ours, raw = series[_name("ours", size)], series[_name("floor", size)]
        what = f"build, {size} namespaces"
        rows.append(timed_row(what, ours, "ms", (f"floor, {size}", raw)))
    rows += [
        timed_row(f"floor, {size} namespaces", series[_name("floor", size)], "ms")
        for size in _SIZES
    ]
    rows += [
        timed_row(f"declare Topology, {size}", series[_name("topology", size)], "ms")
        for size in (smallest, largest)
    ]
    for kind, title in (("ours", "build"), ("floor", "floor")):
        growth = series[_name(kind, largest)].ratio_to(series[_name(kind, smallest)])
        row = Row(
            f"{title}, {largest} against {smallest}",
            f"{growth:.2f} x",
            compared_with=f"{title}, {smallest}",
            ratio=growth,
        )
        if kind == "ours":
            row = with_ratio_goal(row, _GOAL)
        rows.append(row)
    return Section("Many namespaces on one bridge (ms per namespace)", rows)
