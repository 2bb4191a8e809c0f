"""A conversation as a ladder, as a picture: SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._ladder import gaps_of, milliseconds
from ._packet_table import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._ladder import Ladder, Rung

# All lengths are in pixels.
#: The width of a character: 0.6 of the size in nearly every fixed-width font.
_CHARACTER = 7.4
_MARGIN = 20
_TITLE = 30
_BOX = 26
_ROW = 40
_LINE = 20
#: How far an arrow whose other end is unknown reaches.
_STUB = 56
#: The longest label, in characters.
_LABEL = 72

#: Classes have a prefix, as the picture may stand in a page with others. Whatever
#: ignores the dark colours shows the light ones, on their own background.
_STYLE = """
.netns-flow text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas,
  "DejaVu Sans Mono", "Liberation Mono", monospace; fill: #1f2937; }
.netns-flow .title { font-size: 14px; font-weight: 600; }
.netns-flow .name { font-weight: 600; text-anchor: middle; }
.netns-flow .time, .netns-flow .note { fill: #6b7280; }
.netns-flow .time { text-anchor: end; }
.netns-flow .label { text-anchor: middle; }
.netns-flow .from { text-anchor: start; }
.netns-flow .halo { fill: #ffffff; }
.netns-flow .end { fill: #6b7280; font-size: 10px; text-anchor: middle; }
.netns-flow .page { fill: #ffffff; stroke: #e5e7eb; }
.netns-flow .box { fill: #eef2ff; stroke: #6366f1; }
.netns-flow .lane { stroke: #c7cbd4; stroke-width: 1.5; }
.netns-flow .arrow { stroke: #3730a3; stroke-width: 1.6; fill: none; }
.netns-flow .head { fill: #3730a3; }
.netns-flow .unseen { stroke-dasharray: 5 4; }
.netns-flow .lost { stroke: #dc2626; }
@media (prefers-color-scheme: dark) {
  .netns-flow text { fill: #e5e7eb; }
  .netns-flow .time, .netns-flow .note, .netns-flow .end { fill: #9ca3af; }
  .netns-flow .page, .netns-flow .halo { fill: #111827; }
  .netns-flow .page { stroke: #374151; }
  .netns-flow .box { fill: #1e1b4b; stroke: #818cf8; }
  .netns-flow .lane { stroke: #4b5563; }
  .netns-flow .arrow { stroke: #a5b4fc; }
  .netns-flow .head { fill: #a5b4fc; }
  .netns-flow .lost { stroke: #f87171; }
}
"""


def as_svg(ladder: Ladder) -> str:
    """Draw a ladder as an SVG document that needs nothing else."""
    return "\n".join(_Picture(ladder).lines()) + "\n"


class _Picture:
    """Where everything is, in pixels."""

    def __init__(self, ladder: Ladder) -> None:
        rungs = [rung._replace(label=cut(rung.label, _LABEL)) for rung in ladder.rungs]
        self._ladder = ladder = ladder._replace(rungs=tuple(rungs))
        names = [_width(name) / 2 + 12 for name in ladder.names] or [0]
        stubs = [rung for rung in rungs if rung.is_stub]
        at_left = any(map(ladder.leaves_at_left, stubs))
        times = max((len(milliseconds(rung.time)) for rung in rungs), default=2)
        self._times = _MARGIN + times * _CHARACTER
        first = self._times + _MARGIN + max(names[0], (_STUB + 14) * at_left)
        self._lanes = [first] if ladder.lanes else []
        for gap in gaps_of(ladder)[1]:
            self._lanes.append(self._lanes[-1] + gap * _CHARACTER)
        self._top = _MARGIN + _TITLE * bool(ladder.title)
        rows = len(rungs) + bool(ladder.left_out)
        self._foot = self._top + _BOX + rows * _ROW + _LINE
        self._height = self._foot + _LINE * len(ladder.legend) + _MARGIN / 2
        right = max([names[-1], (_STUB + 14) * bool(stubs)])
        ends = [self._start(rung) + _width(rung.label) for rung in rungs]
        ends += [_MARGIN + _width(text) for text in (*ladder.legend, ladder.title)]
        ends += [first + 10 + _width(self._left_out)] * bool(ladder.left_out)
        last = self._lanes[-1] if self._lanes else first
        self._width = max(last + right, *ends) + _MARGIN

    def lines(self) -> Iterator[str]:
        """Yield the document, from the back to the front."""
        width, height = f"{self._width:.0f}", f"{self._height:.0f}"
        title = self._ladder.title or f"Packets between {', '.join(self._ladder.lanes)}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="netns-flow" role="img" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        )
        yield f"<title>{_escaped(title)}</title>"
        yield f"<style>{_STYLE}</style>"
        yield (
            '<rect class="page" x="0.5" y="0.5" rx="8" '
            f'width="{self._width - 1:.0f}" height="{self._height - 1:.0f}"/>'
        )
        if self._ladder.title:
            yield _text("title", _MARGIN, _MARGIN + 12, self._ladder.title)
        yield from self._drawn_lanes()
        yield from self._rows()
        for number, note in enumerate(self._ladder.legend):
            yield _text("note", _MARGIN, self._foot + _LINE * number + 6, note)
        yield "</svg>"

    def _drawn_lanes(self) -> Iterator[str]:
        if self._lanes:
            yield _text("time", self._times, self._top + 17, "ms")
        for lane, name in zip(self._lanes, self._ladder.names, strict=True):
            top, bottom = self._top + _BOX, self._foot - _LINE / 2
            yield (
                f'<line class="lane" x1="{lane:.1f}" y1="{top}" '
                f'x2="{lane:.1f}" y2="{bottom:.1f}"/>'
            )
            half = _width(name) / 2 + 10
            yield (
                f'<rect class="box" x="{lane - half:.1f}" y="{self._top}" rx="5" '
                f'width="{2 * half:.1f}" height="{_BOX}"/>'
            )
            yield _text("name", lane, self._top + 17, name)

    @property
    def _left_out(self) -> str:
        return f"... {self._ladder.left_out:,} more ..."

    def _rows(self) -> Iterator[str]:
        above, below = self._ladder.halves
        line = self._top + _BOX + _ROW - 6
        for rung in above:
            yield from self._rung(rung, line)
            line += _ROW
        if self._ladder.left_out:
            start = self._lanes[0] + 10
            yield self._halo(start, line - 8, self._left_out)
            yield _text("note", start, line - 8, self._left_out)
            line += _ROW
        for rung in below:
            yield from self._rung(rung, line)
            line += _ROW

    def _rung(self, rung: Rung, y: float) -> Iterator[str]:
        yield _text("time", self._times, y + 4, milliseconds(rung.time))
        kind = "arrow" + " unseen" * rung.is_unseen + " lost" * rung.is_lost
        if rung.is_loop:
            lane = self._lanes[rung.heads[0]]
            yield (
                f'<path class="{kind}" d="M{lane:.1f},{y - 16} h24 '
                f'q8,0 8,8 q0,8 -8,8 h-24"/>'
            )
            yield _head(lane, y, -1)
        elif rung.is_stub:
            yield from self._stub(rung, y, kind)
        else:
            yield from self._line(rung, y, kind)
        start = self._start(rung)
        yield self._halo(start, y - 8, rung.label)
        yield _text("from", start, y - 8, rung.label)

    def _start(self, rung: Rung) -> float:
        """Return where the label begins."""
        places = [self._lanes[lane] for lane in rung.lanes]
        if rung.is_loop:
            return places[0] + 40
        middle = (min(places) + max(places) - _width(rung.label)) / 2
        return max(middle, min(places) + 8)

    def _stub(self, rung: Rung, y: float, kind: str) -> Iterator[str]:
        lane = self._lanes[rung.lanes[0]]
        step = -1 if self._ladder.leaves_at_left(rung) else 1
        far = lane + step * _STUB
        yield _line(kind, lane, far, y)
        if rung.is_lost:
            yield _cross(far, y)
            return
        yield _text("end", far + step * 10, y + 4, "?")
        if rung.source is None:
            yield _head(lane, y, -step)
        else:
            yield _head(far, y, step)

    def _line(self, rung: Rung, y: float, kind: str) -> Iterator[str]:
        assert rung.source is not None  # noqa: S101  # else it is a stub
        source = self._lanes[rung.source]
        heads = [self._lanes[head] for head in rung.heads]
        if rung.is_lost:
            heads = [source + (heads[0] - source) * 2 / 3]
        for end in sorted({min(source, *heads), max(source, *heads)} - {source}):
            yield _line(kind, source, end, y)
        step = 1 if heads[0] > source else -1
        if rung.source_name:
            at = source + step * (12 + len(rung.source_name) * 3)
            yield _text("end", at, y + 12, rung.source_name)
        if rung.is_lost:
            yield _cross(heads[0], y)
            return
        names = rung.head_names or ("",) * len(heads)
        for head, name in zip(heads, names, strict=True):
            step = 1 if head > source else -1
            yield _head(head, y, step)
            if name:
                yield _text("end", head - step * (16 + len(name) * 3), y + 12, name)

    def _halo(self, start: float, y: float, text: str) -> str:
        """Hide the lanes behind a text."""
        return (
            f'<rect class="halo" x="{start - 3:.1f}" y="{y - 11:.1f}" '
            f'width="{_width(text) + 6:.1f}" height="14"/>'
        )


def _width(text: str) -> float:
    return len(text) * _CHARACTER


def _line(kind: str, start: float, end: float, y: float) -> str:
    return f'<path class="{kind}" d="M{start:.1f},{y} H{end:.1f}"/>'


def _head(x: float, y: float, step: int) -> str:
    return f'<path class="head" d="M{x:.1f},{y} l{-9 * step},-5 v10 z"/>'


def _cross(x: float, y: float) -> str:
    return f'<path class="arrow lost" d="M{x - 5:.1f},{y - 5} l10,10 m0,-10 l-10,10"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """Write a text for XML, which has no place for control characters."""
    text = printable(text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
