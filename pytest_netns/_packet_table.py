"""A table of captured packets, as people read it in the message of a failed test."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ._frame import Frame

#: How many rows are shown, unless told otherwise, and how many columns.
ROWS = 20
COLUMNS = 100

_HEADER = ("#", "seconds", "place", "", "summary")
_GAP = "  "
#: What stands for a remark that several rows have in common.
_MARKS = "*†‡"
#: A summary is cut to no less than this, were the table ever so wide.
_SHORTEST_SUMMARY = 24


class Row(NamedTuple):
    """A packet in the table.

    Attributes:
        number: Its number in the capture, from 0.
        time: When it was seen, in nanoseconds since the first packet.
        place: Where: ``"left:eth0"``.
        direction: ``"in"`` or ``"out"``.
        summary: What it is, in one line.
        remarks: What is odd about it.
    """

    number: int
    time: int
    place: str
    direction: str
    summary: str
    remarks: tuple[str, ...] = ()


def row_of(number: int, frame: Frame, start: int, summary: str) -> Row:
    """Return the row of a captured packet.

    Args:
        number: Its number in the capture.
        frame: The packet.
        start: The time of the first packet, in nanoseconds since the epoch.
        summary: What it is.
    """
    return Row(
        number,
        frame.time - start,
        frame.place,
        frame.direction,
        summary,
        tuple(remarks_on(frame)),
    )


def remarks_on(frame: Frame) -> Iterator[str]:
    """Say what of a packet is not as it would be on a wire, or not as it was."""
    if frame.has_partial_checksum:
        yield "checksum left to the hardware"
    if frame.is_unsegmented:
        yield f"{frame.length} bytes to be cut into segments"
    if len(frame.data) < frame.length:
        yield f"cut to {len(frame.data)} of {frame.length} bytes"


def table(
    count: int, row: Callable[[int], Row], *, limit: int = ROWS, columns: int = COLUMNS
) -> str:
    """Return the table of `count` packets, or of the first and the last of them.

    Args:
        count: How many packets there are.
        row: Returns a row, for 0 to `count` - 1; not called for what is not shown.
        limit: How many rows are shown at most.
        columns: How wide the table may be.
    """
    if count <= limit:
        return _table([row(at) for at in range(count)], (), 0, columns)
    head = [row(at) for at in range((limit + 1) // 2)]
    tail = [row(at) for at in range(count - limit // 2, count)]
    return _table(head, tail, count - limit, columns)


def _table(
    head: Sequence[Row], tail: Sequence[Row], left_out: int, columns: int
) -> str:
    rows = [*head, *tail]
    marks = _marks(rows)
    cells = [_HEADER, *(_cells(row, marks) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = columns - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    lines = [_line(_HEADER, widths)]
    lines += [
        _line((*_cells(row, marks)[:-1], _summary(row, marks, room)), widths)
        for row in rows
    ]
    if left_out:
        lines.insert(1 + len(head), f"... {left_out:,} more ...")
    lines += [f"{mark} {remark}" for remark, mark in marks.items()]
    return "\n".join(lines)


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    number, time, *words = zip(cells, widths, strict=True)
    numbers = (cell.rjust(width) for cell, width in (number, time))
    return _GAP.join([*numbers, *(cell.ljust(width) for cell, width in words)]).rstrip()


def _cells(row: Row, marks: dict[str, str]) -> tuple[str, ...]:
    summary = printable(row.summary) + _remarks(row, marks)
    return (
        str(row.number),
        f"{row.time / 1e9:.6f}",
        row.place,
        row.direction,
        summary,
    )


def _summary(row: Row, marks: dict[str, str], room: int) -> str:
    """Cut the summary so that the remarks stay readable."""
    remarks = _remarks(row, marks)
    return cut(printable(row.summary), max(room - len(remarks), _SHORTEST_SUMMARY)) + (
        remarks
    )


def _remarks(row: Row, marks: dict[str, str]) -> str:
    own = [remark for remark in row.remarks if remark not in marks]
    marked = "".join(marks[remark] for remark in row.remarks if remark in marks)
    return f" {marked}" * bool(marked) + f" [{', '.join(own)}]" * bool(own)


def _marks(rows: Iterable[Row]) -> dict[str, str]:
    """Return the remarks that several rows have in common, with their marks."""
    counted = Counter(remark for row in rows for remark in row.remarks)
    common = [remark for remark, count in counted.items() if count > 1]
    return dict(zip(common, _MARKS, strict=False))


def cut(text: str, width: int) -> str:
    """Cut a text that is too long, and show that it was."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def printable(text: str) -> str:
    """Show that there is something that cannot be shown, such as a line's end."""
    return "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text
    )
