"""Time things side by side, so that the machine's noise meets all of them alike."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Contestant(Protocol):
    """Somebody who builds the same network again and again."""

    name: str

    def build(self) -> None:
        """Build the network."""

    def close(self) -> None:
        """Take down what ``build`` made."""

    def stop(self) -> None:
        """Let go of everything; called once, at the end."""


@dataclass
class Series:
    """Measured seconds by the round they were measured in."""

    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle of all rounds."""
        return statistics.median(self.seconds.values())

    def ratio_to(self, other: Series) -> float:
        """Return the median of self / other, round by round.

        Pairs of one round were measured within moments of each other, so what
        slowed the machine down slowed both.
        """
        return statistics.median(
            self.seconds[turn] / other.seconds[turn]
            for turn in self._common_rounds(other)
        )

    def difference_to(self, other: Series) -> float:
        """Return the median of self - other in seconds, round by round."""
        return statistics.median(
            self.seconds[turn] - other.seconds[turn]
            for turn in self._common_rounds(other)
        )

    def _common_rounds(self, other: Series) -> list[int]:
        return sorted(self.seconds.keys() & other.seconds.keys())

    def quartiles(self) -> tuple[float, float]:
        """Return the seconds that a quarter, and three quarters, stay below."""
        values = list(self.seconds.values())
        if len(values) < 2:
            return values[0], values[0]
        low, _, high = statistics.quantiles(values, n=4)
        return low, high


class Progress:
    """Says on standard error what is being measured, and how far it is."""

    def __init__(self) -> None:
        """Start with nothing shown."""
        self._overwrites = sys.stderr.isatty()
        self._shown = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done; costs little if frequent."""
        now = time.monotonic()
        seldom = 0.1 if self._overwrites else 10.0
        if done < total and now - self._shown < seldom:
            return
        self._shown = now
        end = "\r" if self._overwrites else "\n"
        sys.stderr.write(f"{f'{what} {done} of {total}':<78}{end}")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Show one line that stays."""
        sys.stderr.write(f"{text:<78}\n")
        sys.stderr.flush()


def time_calls(function: Callable[[], object], times: int = 1) -> float:
    """Return the seconds that one of ``times`` calls took, on average."""
    repeats = range(times)
    start = time.perf_counter()
    for _ in repeats:
        function()
    return (time.perf_counter() - start) / times


def interleave(
    what: str,
    timers: Mapping[str, Callable[[], float]],
    rounds: int,
    *,
    progress: Progress,
    every: Mapping[str, int] | None = None,
) -> dict[str, Series]:
    """Call every timer once a round, in an order that changes with each round.

    Args:
        what: Named in the progress line.
        timers: Each measures once and returns seconds.
        rounds: How often.
        progress: Is told of each round.
        every: Timers so slow that they take part in each n-th round alone.

    Returns:
        The measured series by the timer's name.
    """
    seldom = every or {}
    series = {name: Series() for name in timers}
    names = list(timers)
    for turn in range(rounds):
        # Whoever comes next to a slow one must not be the same one every time.
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if turn % seldom.get(name, 1) == 0:
                gc.collect()
                progress.show(f"{what}: {name}, round", turn, rounds)
                series[name].seconds[turn] = timers[name]()
    progress.show(f"{what}: round", rounds, rounds)
    return series


def as_milliseconds(values: Sequence[float]) -> list[float]:
    """Round seconds to milliseconds that are short enough for a file."""
    return [round(value * 1e3, 5) for value in values]
