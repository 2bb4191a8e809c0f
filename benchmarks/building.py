"""Measure building the pair network once, and again and again."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from contestants import OneCallAtATime, Ours, ShellScript
from floor import Floor
from measure import Series, interleave
from peers import PeerContestant, PeerError
from quiet import QuietKernel
from report import Row, Section, timed_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from measure import Contestant, Progress
    from peers import Peer

_BUILD_GOAL: Final = 1.3
_CYCLE_GOAL: Final = 1.5
_SHELL_GOAL: Final = 25.0
_WARM_UP: Final = 10


@dataclass(frozen=True)
class _Entry:
    """A contestant and how much of the machine's time it may have.

    Attributes:
        contestant: Who builds.
        every: Builds in each n-th round.
        share: The part of a block's cycles that it does.
        every_block: Cycles in each n-th block.
    """

    contestant: Contestant
    every: int
    share: float
    every_block: int = 1


class _Field:
    """All contestants; those that cannot take part become rows that say why."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.ours = Ours()
        self.floor = Floor()
        self.shell = ShellScript()
        self.entries = [
            _Entry(self.ours, 1, 1),
            _Entry(self.floor, 1, 1),
            _Entry(Floor(keep_bridge=False), 1, 0.5),
            _Entry(OneCallAtATime(), 2, 0.2),
            _Entry(self.shell, 10, 0.1),
        ]
        self.absent: list[Row] = []
        shares = {"dummynet": (50, 0.02, 3), "mininet": (10, 0.1, 1)}
        for peer in peers:
            self._admit(peer, *shares[peer.name])

    def _admit(self, peer: Peer, every: int, share: float, every_block: int) -> None:
        try:
            contestant = _prove(peer)
        except PeerError as error:
            self.absent.append(Row(peer.name, f"not installed: {error}"))
        else:
            self.entries.append(_Entry(contestant, every, share, every_block))

    def rows(self, series: dict[str, Series], goal: float) -> list[Row]:
        """Return one row for each contestant, compared with the floor."""
        floor = self.floor.name, series[self.floor.name]
        rows = []
        for entry in self.entries:
            name = entry.contestant.name
            is_ours = entry.contestant is self.ours
            is_floor = entry.contestant is self.floor
            reference = None if is_floor else floor
            at_most = goal if is_ours else None
            rows.append(timed_row(name, series[name], "ms", reference, at_most=at_most))
        return rows + self.absent

    def stop(self) -> None:
        for entry in self.entries:
            entry.contestant.stop()


def _prove(peer: Peer) -> PeerContestant:
    """Return a peer that has built the network once."""
    if peer.problem:
        raise PeerError(peer.problem)
    contestant = PeerContestant(peer)
    contestant.build()
    contestant.close()
    return contestant


def measure(
    peers: Sequence[Peer], chosen: Sequence[str], progress: Progress, *, quick: bool
) -> list[Section]:
    """Return the sections "build" and "cycle", as far as they are chosen."""
    field = _Field(peers)
    quiet = QuietKernel()
    sections = []
    try:
        if "build" in chosen:
            sections.append(_measure_builds(field, quiet, progress, quick=quick))
        if "cycle" in chosen:
            sections.append(_measure_cycles(field, quiet, progress, quick=quick))
    finally:
        field.stop()
        quiet.close()
    return sections


def _measure_builds(
    field: _Field, quiet: QuietKernel, progress: Progress, *, quick: bool
) -> Section:
    """Time single builds, each on a kernel that has nothing else to do."""

    def timer(contestant: Contestant) -> Callable[[], float]:
        def build_once() -> float:
            start = time.perf_counter()
            contestant.build()
            seconds = time.perf_counter() - start
            contestant.close()
            quiet.wait()
            return seconds

        return build_once

    for entry in field.entries:
        timer(entry.contestant)()
    series = interleave(
        "build",
        {entry.contestant.name: timer(entry.contestant) for entry in field.entries},
        20 if quick else 150,
        progress=progress,
        every={entry.contestant.name: entry.every for entry in field.entries},
    )
    return Section("Build the pair network", field.rows(series, _BUILD_GOAL))


def _measure_cycles(
    field: _Field, quiet: QuietKernel, progress: Progress, *, quick: bool
) -> Section:
    """Time cycles of build and close in blocks, whose makers take turns."""
    per_block = 20 if quick else 50
    builds = {entry.contestant.name: Series() for entry in field.entries}

    def timer(entry: _Entry) -> Callable[[], float]:
        def run_block() -> float:
            cycles = max(1, round(per_block * entry.share))
            # The kernel takes networks down behind our back. In the middle of a long
            # session it is always busy with that, so a block must begin like that.
            _cycle(entry.contestant, min(_WARM_UP, cycles))
            start = time.perf_counter()
            medians = builds[entry.contestant.name].seconds
            medians[len(medians)] = _cycle(entry.contestant, cycles)
            seconds = time.perf_counter() - start
            quiet.wait()
            return seconds / cycles

        return run_block

    blocks = 3 if quick else 10
    series = interleave(
        f"cycle, blocks of {per_block}",
        {entry.contestant.name: timer(entry) for entry in field.entries},
        blocks,
        progress=progress,
        every={entry.contestant.name: entry.every_block for entry in field.entries},
    )
    rows = field.rows(series, _CYCLE_GOAL)
    rows.append(_compare_with_shell(field, series))
    ours, floor = field.ours.name, field.floor.name
    reference = f"{floor}, its build", builds[floor]
    rows.append(timed_row(f"{ours}, its build", builds[ours], "ms", reference))
    rows.append(timed_row(reference[0], builds[floor], "ms"))
    title = f"Whole cycle, sustained ({blocks * per_block} tests)"
    return Section(title, rows)


def _cycle(contestant: Contestant, times: int) -> float:
    """Build and close that often; return the median seconds of the builds."""
    builds = []
    for _ in range(times):
        start = time.perf_counter()
        contestant.build()
        builds.append(time.perf_counter() - start)
        contestant.close()
    return statistics.median(builds)


def _compare_with_shell(field: _Field, series: dict[str, Series]) -> Row:
    times = series[field.shell.name].ratio_to(series[field.ours.name])
    return Row(
        f"{field.ours.name}, times faster",
        f"{times:.1f} x",
        compared_with=field.shell.name,
        goal=f">= {_SHELL_GOAL:g} x",
        met=times >= _SHELL_GOAL,
    )
