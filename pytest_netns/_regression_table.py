"""What is said of benchmarks that were compared with a saved run, in lines."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ._bench_words import NOTHING, heading
from ._packet_table import cut, printable
from .estimates import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ._regression import Judged, Judgement, Verdict
    from .estimates import Interval, Unit
    from .measurement import Measurement

_INDENT = "  "
_HEADER = ("", "then", "now", "change")
#: From here on a change is said as so many times, not as a part.
_MANY = 4.0
#: No line is cut to less than this.
_NARROWEST = 40


def comparison_lines(judgement: Judgement, width: int) -> Iterator[str]:
    """Yield the table of all that was compared, and what could not be.

    Args:
        judgement: What to show.
        width: How wide a line may be, in characters; less than 40 is taken as 40.
    """
    width = max(width, _NARROWEST)
    for judged in judgement.judged:
        yield from _lines_of(judged, width)
    yield from _listed("not in the saved run", judgement.new, width)
    yield from _listed("in the saved run only", judgement.missing, width)


def slower_lines(judgement: Judgement) -> Iterator[str]:
    """Yield what is slower, for those who want to know why the run has failed."""
    told = ""
    for measurement, verdict in judgement.slower:
        if (name := _name(measurement)) != told:
            yield name
            told = name
        before, now = _shown(verdict.before, verdict), _shown(verdict.now, verdict)
        yield (
            f"{_INDENT}{_what(verdict)}: {before} then, {now} now: "
            f"{_change(verdict.change)}"
        )


def _lines_of(judged: Judged, width: int) -> Iterator[str]:
    yield cut(_name(judged.measurement), width)
    if judged.other_machine:
        yield from _wrapped(
            f"another machine, so only ratios are judged "
            f"({printable('; '.join(judged.other_machine))})",
            width,
        )
    if not judged.verdicts:
        yield f"{_INDENT}nothing can be compared"
        return
    for line in _rows(judged.verdicts, width - len(_INDENT)):
        yield f"{_INDENT}{line}"
    for text in _doubts(judged.verdicts):
        yield from _wrapped(text, width)


def _rows(verdicts: Sequence[Verdict], width: int) -> list[str]:
    """Return the table, without the intervals where there is no room for them."""
    title, named = _subjects(verdicts)
    lines: list[str] = []
    for change in (_change, _short_change):
        rows = [_row(name, one, change) for name, one in named]
        lines = list(_aligned([(title, *_HEADER), *rows]))
        if max(map(len, lines)) <= width:
            return lines
    return [cut(line, width) for line in lines]


def _subjects(verdicts: Sequence[Verdict]) -> tuple[str, list[tuple[str, Verdict]]]:
    """Return what is said of all verdicts, and of each: its path, if they differ."""
    paths = {verdict.path for verdict in verdicts}
    if len({path.partition("/")[0] for path in paths}) > 1:
        return "", [(_what(one), one) for one in verdicts]
    title = printable(max(paths, key=len))
    return title, [(printable(one.metric), one) for one in verdicts]


def _row(
    name: str, verdict: Verdict, change: Callable[[Interval | None], str]
) -> tuple[str, ...]:
    return (
        name,
        verdict.word.upper() if verdict.word == "slower" else verdict.word,
        _shown(verdict.before, verdict),
        _shown(verdict.now, verdict),
        change(verdict.change),
    )


def _doubts(verdicts: Iterable[Verdict]) -> list[str]:
    """Say each reason not to judge once, with all that it is about."""
    about: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.why:
            reason = f"{verdict.word}: {printable(verdict.why)}"
            about.setdefault(reason, []).append(_what(verdict))
    return [f"{reason}: {'; '.join(what)}" for reason, what in about.items()]


def _what(verdict: Verdict) -> str:
    metric = printable(verdict.metric)
    return f"{metric}, {printable(verdict.path)}" if verdict.path else metric


def _name(measurement: Measurement) -> str:
    name = heading(measurement)
    return f"{printable(measurement.test)}: {name}" if measurement.test else name


def _shown(value: float | None, verdict: Verdict) -> str:
    if value is None:
        return NOTHING
    unit: Unit = verdict.unit
    return show(value, unit)


def _change(change: Interval | None) -> str:
    """Return a change as people say it: "-12 % (-13 to -9)", "5.1x (4.8 to 5.5)"."""
    if change is None:
        return ""
    if change.high >= _MANY:
        return f"{change.median:.3g}x ({change.low:.3g} to {change.high:.3g})"
    low, high = _percent(change.low), _percent(change.high)
    return f"{_short_change(change)} ({low} to {high})"


def _short_change(change: Interval | None) -> str:
    if change is None:
        return ""
    if change.high >= _MANY:
        return f"{change.median:.3g}x"
    return f"{_percent(change.median)} %"


def _percent(ratio: float) -> str:
    part = (ratio - 1) * 100
    return f"{part:+.0f}" if abs(part) >= 9.95 else f"{part:+.1f}"


def _listed(
    title: str, measurements: Sequence[Measurement], width: int
) -> Iterator[str]:
    if measurements:
        yield f"{title}:"
        yield from (cut(f"{_INDENT}{_name(one)}", width) for one in measurements)


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for line in zip(*columns, strict=True):
        cells = zip(line, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2
    )
