"""Which frames are one packet: seen where it left, and where it arrived."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._frame import Frame

_LOOPBACK = "lo"


class Hop(NamedTuple):
    """A packet on its way over one cable or switch.

    Attributes:
        out: The packet where it left; None if nobody listened there.
        ins: The packet where it arrived: at several places if it was flooded,
            nowhere if it was lost or if nobody listened there.
    """

    out: Frame | None
    ins: tuple[Frame, ...]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All that was captured of it."""
        return self.ins if self.out is None else (self.out, *self.ins)


def pair(frames: Iterable[Frame], peers: Mapping[str, str]) -> list[Hop]:
    """Find out which frames are one packet; return the hops in order of time.

    What goes out and comes in elsewhere with the same bytes is one packet. Where
    several have the same bytes, they stay in order, and an arrival belongs to the
    latest departure that no later arrival at the same place needs: so what was lost
    and sent again is not mistaken for a slow one. If more arrived than left, what
    came first is what was sent.

    Args:
        frames: What was captured.
        peers: For an endpoint the other end of its cable, as far as both were
            captured: what arrives there can come from nowhere else.
    """
    alike: dict[tuple[int, bytes], list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: frame.time):
        alike[frame.length, frame.data].append(frame)
    hops = [hop for group in alike.values() for hop in _pair_alike(group, peers)]
    return sorted(hops, key=lambda hop: hop.frames[0].time)


def _pair_alike(frames: Sequence[Frame], peers: Mapping[str, str]) -> list[Hop]:
    """Pair frames of the same bytes, which are in order of time."""
    outs = [frame for frame in frames if frame.direction == "out"]
    arrived: list[list[Frame]] = [[] for _ in outs]
    lonely: list[Frame] = []
    at_place: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.direction != "out":
            at_place[frame.place].append(frame)
    for place, ins in at_place.items():
        rest = _assign(ins, outs, _sources(place, outs, peers), arrived)
        # what came back to where it left from went round a loop
        own = [at for at, out in enumerate(outs) if out.place == place]
        unanswered = [at for at in own if not arrived[at]]
        lonely += _assign(rest, outs, unanswered, arrived)
    hops = [
        Hop(out, tuple(sorted(ins, key=lambda frame: frame.time)))
        for out, ins in zip(outs, arrived, strict=True)
    ]
    return hops + [Hop(None, (frame,)) for frame in lonely]


def _sources(place: str, outs: Sequence[Frame], peers: Mapping[str, str]) -> list[int]:
    """Return the numbers of the departures that may have arrived at `place`."""
    if place.endswith(f":{_LOOPBACK}"):
        return [at for at, out in enumerate(outs) if out.place == place]
    if place in peers:
        return [at for at, out in enumerate(outs) if out.place == peers[place]]
    return [
        at
        for at, out in enumerate(outs)
        if out.place != place
        and out.interface != _LOOPBACK
        and peers.get(out.place, place) == place
    ]


def _assign(
    ins: Sequence[Frame],
    outs: Sequence[Frame],
    sources: Sequence[int],
    arrived: list[list[Frame]],
) -> list[Frame]:
    """Give arrivals at one place their departures; return those that have none."""
    if len(ins) > len(sources):
        return _assign_first(ins, outs, sources, arrived)
    left = list(sources)
    lonely: list[Frame] = []
    for frame in reversed(ins):
        while left and outs[left[-1]].time > frame.time:
            left.pop()
        if left:
            arrived[left.pop()].append(frame)
        else:
            lonely.append(frame)
    return lonely[::-1]


def _assign_first(
    ins: Sequence[Frame],
    outs: Sequence[Frame],
    sources: Sequence[int],
    arrived: list[list[Frame]],
) -> list[Frame]:
    """Give departures, of which there are too few, the first arrivals after them."""
    rest = deque(ins)
    lonely: list[Frame] = []
    for source in sources:
        while rest and rest[0].time < outs[source].time:
            lonely.append(rest.popleft())
        if rest:
            arrived[source].append(rest.popleft())
    return [*lonely, *rest]
