"""The table of benchmarks at the end of a test run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from . import _bench_words as words
from ._packet_table import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .measurement import Measurement

    Row = tuple[str, ...]
    #: How many columns at the left are texts, and all cells; the header is first.
    Form = tuple[int, list[Row]]

#: How wide a table is, unless told otherwise; none is narrower than the least.
WIDTH = 100
NARROWEST = 40

#: A title is cut to no less than this, if that keeps a proxy beside the direct path.
_SHORTEST = 24
_INDENT = "  "
_GAP = "  "
_RATIO = "ratio (95 % interval)"


def table(measurements: Sequence[Measurement], *, width: int = WIDTH) -> str:
    """Return the tables of measurements, one below the other.

    Args:
        measurements: What was measured.
        width: How wide a line may be, in characters; less than 40 is taken as 40.
    """
    width = max(width, NARROWEST)
    return "\n\n".join("\n".join(_lines(one, width)) for one in measurements)


def _lines(measurement: Measurement, width: int) -> Iterator[str]:
    yield cut(words.heading(measurement), width)
    if measurement.test:
        yield _INDENT + _tail(printable(measurement.test), width - len(_INDENT))
    yield ""
    for line in _rows(measurement, width - len(_INDENT)):
        yield _INDENT + line
    yield ""
    for reason, about in words.doubts(measurement):
        yield from _wrapped(f"{words.UNSTABLE}: {reason}: {about}", width)
    for note in measurement.notes:
        yield from _wrapped(f"note: {printable(note)}", width)
    yield from _wrapped(words.effort(measurement), width)


def _rows(measurement: Measurement, width: int) -> list[str]:
    """Return the table in the first form that is narrow enough, or the last one."""
    lines: list[str] = []
    for form in _forms(measurement, width):
        lines = _aligned(*form)
        if max(map(len, lines)) <= width:
            return lines
    return [cut(line, width) for line in lines]


def _forms(measurement: Measurement, width: int) -> Iterator[Form]:
    """Yield the table's cells, from the widest form to the narrowest."""
    paths = measurement.paths
    if len(paths) <= 1:
        yield _of_one_path(measurement)
    if len(paths) == 2:
        yield _side_by_side(measurement, width)
        yield _side_by_side(measurement, _SHORTEST)
    yield _below_one_another(measurement, width)
    for longest in (width, 20, 14, 8, 5):
        yield _below_one_another(measurement, longest, brief=True)


def _of_one_path(measurement: Measurement) -> Form:
    rows: list[Row] = [("", "median", "95 % interval")]
    for metric in measurement.metrics:
        (estimate,) = metric.values.values() or [None]
        title = printable(metric.title)
        rows.append((title, words.value(estimate), words.interval(estimate)))
    return 1, rows


def _side_by_side(measurement: Measurement, longest: int) -> Form:
    first, other = measurement.paths
    rows: list[Row] = [
        ("", *(cut(printable(path), longest) for path in (first, other)), _RATIO)
    ]
    for metric in measurement.metrics:
        values = (words.value(metric.values.get(path)) for path in (first, other))
        ratio = words.ratio(metric.ratios.get(other))
        rows.append((cut(printable(metric.title), longest), *values, ratio))
    return 1, rows


def _below_one_another(
    measurement: Measurement, longest: int, *, brief: bool = False
) -> Form:
    rows: list[Row] = [
        ("", "", "median", _RATIO.partition(" ")[0] if brief else _RATIO)
    ]
    for metric in measurement.metrics:
        title = cut(printable(metric.title), longest)
        for path, estimate in metric.values.items():
            ratio = words.ratio(metric.ratios.get(path))
            ratio = ratio.partition(" ")[0] if brief else ratio
            named = cut(printable(path), longest)
            rows.append((title, named, words.value(estimate), ratio))
            title = ""
    return 2, rows


def _aligned(texts: int, rows: Sequence[Row]) -> list[str]:
    """Align numbers at their units, all else at the left."""
    header, *body = rows
    columns = [
        cells if at < texts else _column(cells)
        for at, cells in enumerate(zip(*body, strict=True))
    ]
    widths = [
        max(map(len, (title, *column)))
        for title, column in zip(header, columns or [()] * len(header), strict=True)
    ]
    lines = [header, *zip(*columns, strict=True)]
    return [_GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _column(cells: Sequence[str]) -> Row:
    parts = [words.parts_of(cell) for cell in cells]
    room = max(len(number) for number, _ in parts)
    return tuple(
        number.rjust(room) + rest if number else rest for number, rest in parts
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2
    )


def _tail(text: str, width: int) -> str:
    """Cut the beginning of a text that is too long: a test's name is at its end."""
    return text if len(text) <= width else f"…{text[1 - width :]}"
