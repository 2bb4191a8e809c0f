"""Turn measurements into a table for people and JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measure import as_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from measure import Series

_COLUMNS = (
    "what", "value", "middle half", "compared with", "ratio", "goal", "met"
)  # fmt: skip
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: The figure with its unit, or why there is none.
        middle_half: The values that a quarter, and three quarters, stay below.
        compared_with: What ``ratio`` is the ratio to.
        ratio: Median of the ratios, pair by pair.
        goal: The figure to reach, in words.
        met: Whether it was reached; None without a goal.
        samples: The single measurements in order; times in milliseconds.
    """

    what: str
    value: str
    middle_half: str = ""
    compared_with: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    samples: Sequence[float] = ()

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the table's columns."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = {None: "", True: "yes", False: "NO"}[self.met]
        left = (self.what, self.value, self.middle_half, self.compared_with)
        return (*left, ratio, self.goal, met)


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: Sequence[Row]


def timed_row(
    what: str,
    series: Series,
    unit: str,
    reference: tuple[str, Series] | None = None,
    *,
    at_most: float | None = None,
) -> Row:
    """Return the row of one timed series.

    Args:
        what: What was timed.
        series: Its measurements.
        unit: "s", "ms" or "us".
        reference: Name and measurements of what it is compared with.
        at_most: The goal: the largest ratio to the reference.
    """
    row = Row(
        what,
        format_seconds(series.median, unit),
        middle_half=" - ".join(_digits(edge, unit) for edge in series.quartiles()),
        samples=as_milliseconds(list(series.seconds.values())),
    )
    if reference is None:
        return row
    name, other = reference
    row = dataclasses.replace(row, compared_with=name, ratio=series.ratio_to(other))
    return row if at_most is None else with_ratio_goal(row, at_most)


def with_ratio_goal(row: Row, at_most: float) -> Row:
    """Return the row with a goal for its ratio."""
    met = row.ratio is not None and row.ratio <= at_most
    return dataclasses.replace(row, goal=f"ratio <= {at_most:g}", met=met)


def with_time_goal(row: Row, seconds: float, at_most: float, unit: str) -> Row:
    """Return the row with a goal for its value."""
    goal = f"<= {at_most * _UNITS[unit]:g} {unit}"
    return dataclasses.replace(row, goal=goal, met=seconds <= at_most)


def format_seconds(seconds: float, unit: str) -> str:
    """Return seconds in the given unit, with the digits that mean something."""
    return f"{_digits(seconds, unit)} {unit}"


def _digits(seconds: float, unit: str) -> str:
    return f"{seconds * _UNITS[unit]:.2f}"


def to_markdown(sections: Sequence[Section], machine: Mapping[str, str]) -> str:
    """Return all sections as tables that are readable as plain text too."""
    lines = [", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    for section in sections:
        table = [_COLUMNS, *(row.cells() for row in section.rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*table)]  # noqa: B905 - rows are equally long by construction
        lines += [f"### {section.title}", ""]
        lines.append(_line(table[0], widths))
        lines.append("| " + " | ".join("-" * width for width in widths) + " |")
        lines += [_line(cells, widths) for cells in table[1:]]
        lines.append("")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def write(
    folder: Path, sections: Sequence[Section], machine: Mapping[str, str]
) -> None:
    """Write ``results.json`` and ``results.md`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": dict(machine),
        "sections": [dataclasses.asdict(section) for section in sections],
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "results.md").write_text(to_markdown(sections, machine))
