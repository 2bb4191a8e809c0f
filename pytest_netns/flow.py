"""A conversation between namespaces, drawn as people draw it on paper."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ._frame import ETHERNET
from ._labels import label_of
from ._ladder import Ladder, Rung, as_text
from ._ladder_svg import as_svg
from ._pairing import pair
from ._scapy import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from ._frame import Frame
    from ._pairing import Hop

#: How many arrows are drawn; of more, the first and the last.
DRAWN = 200


@dataclass(frozen=True, slots=True)
class Arrow:
    """A packet on its way over one cable or switch.

    Attributes:
        time: When it was first seen, in seconds since the flow's first packet.
        source: The endpoint that it left from (``"left:eth0"``), or the namespace
            alone (``"left"``) if nobody listened there and its sender is known by
            the link-layer address; else None.
        destinations: The endpoints that it arrived at, or the namespace that it was
            sent to, likewise. Several if it was flooded, none if unknown.
        label: What it is.
        frames: All that was captured of it.
        is_lost: Whether it did not arrive at `destinations`.
    """

    time: float
    source: str | None
    destinations: tuple[str, ...]
    label: str
    frames: tuple[Frame, ...]
    is_lost: bool = False

    @property
    def destination(self) -> str | None:
        """The endpoint that it arrived at; the first of several, None if unknown."""
        return self.destinations[0] if self.destinations else None

    def __str__(self) -> str:
        """Return ``"left:eth0 -> right:eth0: ARP who has 10.0.0.2? ..."``."""
        destinations = ", ".join(self.destinations) or "?"
        lost = " (lost)" if self.is_lost else ""
        return f"{self.source or '?'} -> {destinations}{lost}: {self.label}"


class Flow:
    """What was said between namespaces, packet by packet.

    A packet that was captured where it left and where it arrived is one arrow. One
    that was captured at one end only comes from, or goes to, whoever has its
    link-layer address, or an unknown place.

    ``str(flow)`` and `to_text` draw it with characters, `to_svg` as a picture, and
    notebooks show that by themselves.

    Args:
        frames: The packets, in any order.
        lanes: In which order namespaces are drawn; others, as they appear, follow.
        label: What is written on an arrow; None is `label_of` the parsed packet.
        peers: For an endpoint the other end of its cable.
        captured: The endpoints that were listened to. A packet that left for one of
            these (see `peers`) and was not seen there is lost.
        owners: For a link-layer address the namespace that has it.
        title: What stands above the picture.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        lanes: Iterable[str] | None = None,
        label: Callable[[Frame], str] | None = None,
        *,
        peers: Mapping[str, str] | None = None,
        captured: Collection[str] = (),
        owners: Mapping[str, str] | None = None,
        title: str = "",
    ) -> None:
        frames = list(frames)
        self._order = tuple(lanes or ())
        self._label = label or _label
        self._owners = {key.lower(): name for key, name in (owners or {}).items()}
        self._captured = frozenset(captured)
        listened = self._captured | {frame.place for frame in frames}
        self._peers = {
            one: other
            for one, other in (peers or {}).items()
            if listened.issuperset((one, other))
        }
        self._hops = pair(frames, self._peers)
        self.title = title

    def __len__(self) -> int:
        """Count the arrows."""
        return len(self._hops)

    def __iter__(self) -> Iterator[Arrow]:
        return iter(self.arrows)

    def __repr__(self) -> str:
        return f"<Flow of {len(self)} arrows between {', '.join(self.lanes) or 'none'}>"

    def __str__(self) -> str:
        """Draw it with characters, 100 columns wide."""
        return self.to_text()

    @cached_property
    def arrows(self) -> tuple[Arrow, ...]:
        """All packets, in order of time."""
        return tuple(map(self._arrow, self._hops))

    @cached_property
    def lanes(self) -> tuple[str, ...]:
        """The namespaces that take part, in the order in which they are drawn."""
        seen: dict[str, None] = {}
        for hop in self._hops:
            source, destinations, _ = self._ends(hop)
            for end in (source, *destinations):
                if end is not None:
                    seen[_namespace(end)] = None
        known = [name for name in dict.fromkeys(self._order) if name in seen]
        return (*known, *(name for name in seen if name not in known))

    def to_text(self, columns: int = 100) -> str:
        """Draw it with characters.

        Args:
            columns: How wide the picture may be; labels are cut if they must.
        """
        return as_text(self._ladder(), columns)

    def to_svg(self) -> str:
        """Draw it as a picture: an SVG document that needs nothing else."""
        return as_svg(self._ladder())

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _ends(self, hop: Hop) -> tuple[str | None, tuple[str, ...], bool]:
        """Return where a packet came from, where it went, and whether it got lost."""
        if hop.out is None:
            return self._owner(hop.ins[0], 6), (hop.ins[0].place,), False
        source = hop.out.place
        if hop.ins:
            return source, tuple(frame.place for frame in hop.ins), False
        peer = self._peers.get(source)
        # one of many segments may have arrived in pieces, with other bytes
        if peer in self._captured and not hop.out.is_unsegmented:
            return source, (peer,), True
        owner = self._owner(hop.out, 0)
        return source, (owner,) if owner else (), False

    def _owner(self, frame: Frame, at: int) -> str | None:
        """Return who has the address at a place in an Ethernet header."""
        if frame.linktype != ETHERNET:
            return None
        return self._owners.get(frame.data[at : at + 6].hex(":"))

    def _arrow(self, hop: Hop) -> Arrow:
        source, destinations, is_lost = self._ends(hop)
        first = hop.frames[0]
        seconds = (first.time - self._hops[0].frames[0].time) / 1e9
        label = self._label(first)
        return Arrow(seconds, source, destinations, label, hop.frames, is_lost)

    def _ladder(self) -> Ladder:
        hops = self._hops
        left_out = max(len(hops) - DRAWN, 0)
        if left_out:
            hops = [*hops[: DRAWN // 2], *hops[-DRAWN // 2 :]]
        numbers = {name: number for number, name in enumerate(self.lanes)}
        several = self._with_several_interfaces()
        rungs = [
            rung for hop in hops for rung in _rungs(self._arrow(hop), numbers, several)
        ]
        return Ladder(self.lanes, tuple(rungs), left_out, self.title)

    def _with_several_interfaces(self) -> set[str]:
        """Return the namespaces where it matters which interface it was."""
        places = {frame.place for hop in self._hops for frame in hop.frames}
        names = [_namespace(place) for place in places]
        return {name for name in names if names.count(name) > 1}


def _rungs(
    arrow: Arrow, numbers: Mapping[str, int], several: Collection[str]
) -> Iterator[Rung]:
    """Yield what is drawn for a packet: one line, and a loop if it also came back."""
    lane = {end: numbers[_namespace(end)] for end in arrow.destinations}
    source = None if arrow.source is None else numbers[_namespace(arrow.source)]
    away = [end for end in arrow.destinations if lane[end] != source]
    back = [end for end in arrow.destinations if lane[end] == source]
    for ends in (away, back[:1]) if arrow.destinations else ((),):
        if not ends and arrow.destinations:
            continue
        heads = {lane[end]: _interface(end, several) for end in ends}
        yield Rung(
            time=round(arrow.time * 1e9),
            label=arrow.label,
            source=source,
            heads=tuple(heads),
            source_name=_interface(arrow.source or "", several),
            head_names=tuple(heads.values()),
            is_unseen=not arrow.is_lost and len(arrow.frames) == 1,
            is_lost=arrow.is_lost,
        )


def _namespace(end: str) -> str:
    return end.partition(":")[0]


def _interface(end: str, several: Collection[str]) -> str:
    namespace, _, interface = end.partition(":")
    return interface if namespace in several else ""


def _label(frame: Frame) -> str:
    return label_of(dissect(frame))
