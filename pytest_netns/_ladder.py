"""A conversation as a ladder, as text: a lane for each machine, a rung for a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._packet_table import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: How far lanes are apart at least, in characters.
_NARROWEST = 14
#: The longest name of a lane.
_NAME = 20
#: An arrow whose other end is unknown: ``├╌╌╌▶ ?``
_STUB = 7
#: What the signs of a picture mean, where they occur.
UNSEEN = "dashed: seen at one end only"
LOST = "x: it was not seen to arrive"


class Rung(NamedTuple):
    """An arrow, and what is written on it.

    Attributes:
        time: When, in nanoseconds since the first.
        label: What it is.
        source: The number of the lane that it starts from; None if unknown.
        heads: The lanes that it goes to; none if unknown.
        source_name: What is written where it starts.
        head_names: What is written where it ends: for each of `heads`, or nothing.
        is_unseen: Whether it was not seen at one of its ends.
        is_lost: Whether it did not arrive where it was to go.
    """

    time: int
    label: str
    source: int | None
    heads: tuple[int, ...]
    source_name: str = ""
    head_names: tuple[str, ...] = ()
    is_unseen: bool = False
    is_lost: bool = False

    @property
    def lanes(self) -> tuple[int, ...]:
        """The lanes that it touches."""
        return self.heads if self.source is None else (self.source, *self.heads)

    @property
    def is_loop(self) -> bool:
        """Whether it ends where it starts."""
        return self.heads == (self.source,) and not self.is_lost

    @property
    def is_stub(self) -> bool:
        """Whether it has no other lane to go to, or to come from."""
        return len(set(self.lanes)) == 1 and not self.is_loop


class Ladder(NamedTuple):
    """The picture.

    Attributes:
        lanes: The names on top.
        rungs: The arrows that are shown, in order of time.
        left_out: How many more there are in the middle.
        title: What stands above all.
    """

    lanes: tuple[str, ...]
    rungs: tuple[Rung, ...]
    left_out: int = 0
    title: str = ""

    @property
    def names(self) -> list[str]:
        """The names on top, none of them too long."""
        return [cut(printable(name), _NAME) for name in self.lanes]

    @property
    def halves(self) -> tuple[tuple[Rung, ...], tuple[Rung, ...]]:
        """The rungs above and below those that are left out."""
        middle = (len(self.rungs) + 1) // 2 if self.left_out else len(self.rungs)
        return self.rungs[:middle], self.rungs[middle:]

    @property
    def legend(self) -> list[str]:
        """What has to be explained."""
        unseen = any(rung.is_unseen for rung in self.rungs)
        lost = any(rung.is_lost for rung in self.rungs)
        return [UNSEEN] * unseen + [LOST] * lost

    def leaves_at_left(self, rung: Rung) -> bool:
        """Say on which side of its lane an arrow with one end is drawn."""
        return rung.lanes[0] == 0 and len(self.lanes) > 1


def gaps_of(ladder: Ladder) -> tuple[list[int], list[int]]:
    """Return how far lanes must be apart, and how far they should be for the labels.

    Returns:
        Two lists of a number for each pair of neighbours, in characters.
    """
    names = ladder.names
    least = [
        max(_NARROWEST, (len(names[at]) + len(names[at + 1]) + 1) // 2 + 2)
        for at in range(len(names) - 1)
    ]
    wanted = list(least)
    spans = [(min(rung.lanes), max(rung.lanes), rung) for rung in ladder.rungs]
    for first, last, rung in sorted(spans, key=lambda span: span[1] - span[0]):
        lacking = _length(rung) - sum(wanted[first:last])
        if lacking > 0 and first < last:
            share = -(-lacking // (last - first))
            wanted[first:last] = [gap + share for gap in wanted[first:last]]
    return least, wanted


def _length(rung: Rung) -> int:
    return max(len(rung.label) + 4, _length_for_names(rung))


def _length_for_names(rung: Rung) -> int:
    names = len(rung.source_name) + max(map(len, rung.head_names), default=0)
    return names and names + 11


def milliseconds(time: int) -> str:
    """Write a time in nanoseconds as milliseconds, with the microseconds."""
    return f"{time / 1e6:.3f}"


def as_text(ladder: Ladder, columns: int = 100) -> str:
    """Draw a ladder with lines of text; lanes are narrowed to fit into `columns`."""
    if not ladder.rungs:
        return "\n".join([*filter(None, [printable(ladder.title)]), "no packets"])
    return "\n".join(line.rstrip() for line in _Drawing(ladder, columns).lines())


class _Drawing:
    """Where everything is, in characters."""

    def __init__(self, ladder: Ladder, columns: int) -> None:
        self._ladder = ladder
        self._times = max(len(milliseconds(rung.time)) for rung in ladder.rungs)
        stubs = [rung for rung in ladder.rungs if rung.is_stub]
        at_left = any(map(ladder.leaves_at_left, stubs))
        names = ladder.names
        first = self._times + 3 + max(len(names[0]) // 2, _STUB * at_left)
        right = max(len(names[-1]) // 2 + 1, _STUB * bool(stubs))
        self._lanes = [first]
        for gap in _fitted(*gaps_of(ladder), columns - first - right):
            self._lanes.append(self._lanes[-1] + gap)
        self._width = max(columns, self._lanes[-1] + right)

    def lines(self) -> Iterator[str]:
        if self._ladder.title:
            yield printable(self._ladder.title)
        yield self._header()
        above, below = self._ladder.halves
        for rung in above:
            yield from self._rung(rung)
        if self._ladder.left_out:
            yield self._left_out()
        for rung in below:
            yield from self._rung(rung)
        yield from self._ladder.legend

    def _header(self) -> str:
        line = list(" " * self._width)
        _put(line, self._times - 2, "ms")
        for lane, name in zip(self._lanes, self._ladder.names, strict=True):
            _put(line, lane - len(name) // 2, name)
        return "".join(line)

    def _left_out(self) -> str:
        line = self._bars("⋮")
        text = f" ... {self._ladder.left_out:,} more ... "
        _put(line, self._lanes[0] + 2, text)
        return "".join(line)

    def _bars(self, bar: str = "│") -> list[str]:
        line = list(" " * self._width)
        for lane in self._lanes:
            line[lane] = bar
        return line

    def _rung(self, rung: Rung) -> Iterator[str]:
        label, arrow = self._bars(), self._bars()
        _put(arrow, 0, milliseconds(rung.time).rjust(self._times))
        start = self._start_of_label(rung)
        if rung.is_loop:
            lane = self._lanes[rung.heads[0]]
            _put(label, lane, "├──╮")
            _put(arrow, lane, "│◀─╯")
        elif rung.is_stub:
            self._draw_stub(arrow, rung)
        else:
            self._draw_line(arrow, rung)
        room = self._width - self._times - 4
        text = cut(printable(rung.label), room)
        start = max(min(start, self._width - len(text)), self._times + 3)
        _put(label, start - 1, f" {text} ")
        yield "".join(label)
        yield "".join(arrow)

    def _start_of_label(self, rung: Rung) -> int:
        places = [self._lanes[lane] for lane in rung.lanes]
        if rung.is_loop:
            return places[0] + 6
        middle = (min(places) + max(places) + 1 - len(rung.label)) // 2
        return max(middle, min(places) + 2)

    def _draw_stub(self, line: list[str], rung: Rung) -> None:
        lane = self._lanes[rung.lanes[0]]
        leaves = rung.source is not None
        left, right = ("? ◀╌╌╌┤", "├╌╌╌▶ ?") if leaves else ("? ╌╌╌▶│", "│◀╌╌╌ ?")
        if rung.is_lost:
            left, right = "  x────┤", "├────x"
        if self._ladder.leaves_at_left(rung):
            _put(line, lane - len(left) + 1, left)
        else:
            _put(line, lane, right)

    def _draw_line(self, line: list[str], rung: Rung) -> None:
        assert rung.source is not None  # noqa: S101  # else it is a stub
        source = self._lanes[rung.source]
        heads = [self._lanes[head] for head in rung.heads]
        if rung.is_lost:
            heads = [source + (heads[0] - source) * 2 // 3]
        low, high = min(source, *heads), max(source, *heads)
        for place in range(low + 1, high):
            crossed = place in self._lanes
            line[place] = "┼" if crossed else "╌" if rung.is_unseen else "─"
        line[source] = "├" if low == source else "┤" if high == source else "┼"
        for head in heads:
            step = 1 if head > source else -1
            line[head - step] = "▶" if step > 0 else "◀"
        if rung.is_lost:
            _put(line, heads[0], "x")
            line[heads[0] - (1 if heads[0] > source else -1)] = "─"
        self._write_names(line, rung, source, heads)

    def _write_names(
        self, line: list[str], rung: Rung, source: int, heads: Sequence[int]
    ) -> None:
        """Write the names on the line, at its ends, if it is long enough."""
        if min(abs(head - source) for head in heads) < _length_for_names(rung):
            return
        rightward = heads[0] > source
        if name := rung.source_name:
            at = source + 2 if rightward else source - 3 - len(name)
            _put(line, at, f" {printable(name)} ")
        for head, name in zip(heads, rung.head_names, strict=False):
            if name and not rung.is_lost:
                at = head - 4 - len(name) if head > source else head + 3
                _put(line, at, f" {printable(name)} ")


def _fitted(least: Iterable[int], wanted: Sequence[int], room: int) -> list[int]:
    """Narrow the gaps, though none below its least, until they fit into the room."""
    least = list(least)
    spare, used = room - sum(least), sum(wanted) - sum(least)
    part = min(max(spare, 0) / max(used, 1), 1)
    return [
        low + int((high - low) * part) for low, high in zip(least, wanted, strict=True)
    ]


def _put(line: list[str], start: int, text: str) -> None:
    line[start : start + len(text)] = text
