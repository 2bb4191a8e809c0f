"""Patterns of packets: scapy packets of which only the given fields matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._pattern_fields import check_of, given, is_packet, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._pattern_fields import Check
    from ._scapy import Packet

#: What an ICMP error quotes, and what fills a frame up, is of a class derived from the
#: real thing (IPerror, IPerror6, Padding), and is not the real thing.
_QUOTED = ("error", "error6")
_FILLING = "Padding"
_ABSENT = object()


def layers_of(packet: Packet) -> Iterator[Packet]:
    """Yield the layers of a packet, with those inside fields such as `DNS.qd`."""
    layer = packet
    while layer:
        yield layer
        for field in layer.packetfields:
            inside = layer.fields.get(field.name)
            for one in inside if isinstance(inside, list) else [inside]:
                if is_packet(one):
                    yield from layers_of(one)
        layer = layer.payload


def chain_of(packet: Packet) -> Iterator[Packet]:
    """Yield the layers of a packet, each the payload of the one before."""
    while packet:
        yield packet
        packet = packet.payload


def is_of(kind: type, wanted: type[Packet], *, may_be_quoted: bool = False) -> bool:
    """Say whether a layer of class `kind` is what somebody means by `wanted`."""
    if kind is wanted or not issubclass(kind, wanted):
        return kind is wanted
    if kind.__name__.endswith(_QUOTED):
        return may_be_quoted
    return kind.__name__ != _FILLING


class Pattern:
    """A scapy packet of which only the explicitly given fields matter.

    A field that is None, or a list that is as empty as its default, is not given.

    Raises:
        TypeError: A field has a random value, or raw bytes.
    """

    def __init__(self, packet: Packet) -> None:
        layers = list(chain_of(packet))
        self._layers = tuple(
            _Layer(layer, may_be_quoted=any(map(_is_icmp, layers[:place])))
            for place, layer in enumerate(layers)
        )

    def __str__(self) -> str:
        """Return the layers with the fields that matter: ``IP / TCP(dport=80)``."""
        return " / ".join(map(str, self._layers))

    def fits(self, packet: Packet) -> bool:
        """Look for the pattern's layers in order; others may be around them.

        The first layer that fits is always a good choice, as what one layer needs
        does not depend on where another was found.
        """
        found = 0
        for layer in layers_of(packet):
            if self._layers[found].fits(layer):
                found += 1
                if found == len(self._layers):
                    return True
        return False

    def distance(self, packet: Packet) -> int:
        """Count the fields that differ; a missing layer counts for more than those."""
        return self._nearest(list(layers_of(packet)))[0]

    def misses(self, packet: Packet) -> list[str]:
        """Say in words what differs, if the pattern is laid where it fits best."""
        layers = list(layers_of(packet))
        missing: list[_Layer] = []
        misses: list[str] = []
        _, places = self._nearest(layers)
        for wanted, place in zip(self._layers, places, strict=True):
            if place is None:
                missing.append(wanted)
            else:
                misses += wanted.differences(layers[place])
        return [_missing(missing, layers), *misses] if missing else misses

    def _nearest(self, layers: list[Packet]) -> tuple[int, tuple[int | None, ...]]:
        """Return the smallest distance, and where each of the pattern's layers is then.

        From the last of the pattern's layers to the first: `best[place]` holds what
        those that are already done come to, behind that place in the packet.
        """
        end = len(layers)
        best: list[tuple[int, tuple[int | None, ...]]] = [(0, ())] * (end + 1)
        for wanted in reversed(self._layers):
            behind, best = best, list(best)
            for place in range(end, -1, -1):
                cost, places = behind[place]
                options = [(cost + wanted.weight, (None, *places))]
                if place < end:
                    options.insert(0, best[place + 1])
                    if wanted.is_kind_of(layers[place]):
                        cost, places = behind[place + 1]
                        cost += wanted.count_wrong(layers[place])
                        options.insert(0, (cost, (place, *places)))
                best[place] = min(options, key=lambda option: option[0])
        return best[0]


class _Layer:
    """One layer of a pattern."""

    def __init__(self, layer: Packet, *, may_be_quoted: bool) -> None:
        self._kind = type(layer)
        self._may_be_quoted = may_be_quoted
        self._known: dict[type, bool] = {}
        self._fields = tuple(
            _Field(layer, name, value) for name, value in given(layer).items()
        )
        self.weight = 2 + len(self._fields)  # if the layer is missing

    def __str__(self) -> str:
        fields = ", ".join(map(str, self._fields))
        return f"{self._kind.__name__}({fields})" if fields else self._kind.__name__

    @property
    def name(self) -> str:
        return self._kind.__name__

    def is_kind_of(self, layer: Packet) -> bool:
        kind = type(layer)
        known = self._known.get(kind)
        if known is None:
            known = is_of(kind, self._kind, may_be_quoted=self._may_be_quoted)
            self._known[kind] = known
        return known

    def fits(self, layer: Packet) -> bool:
        return self.is_kind_of(layer) and all(one.fits(layer) for one in self._fields)

    def count_wrong(self, layer: Packet) -> int:
        return sum(not one.fits(layer) for one in self._fields)

    def differences(self, layer: Packet) -> Iterator[str]:
        return (one.difference(layer) for one in self._fields if not one.fits(layer))


class _Field:
    """A field of a pattern that matters."""

    def __init__(self, layer: Packet, name: str, value: Any) -> None:
        self._name = name
        self._value = value
        self._accepts = check_of(layer, name, value, _inside)
        self._text = shown(layer, name, value)

    def __str__(self) -> str:
        return f"{self._name}={self._text}"

    def fits(self, layer: Packet) -> bool:
        value = layer.fields.get(self._name, _ABSENT)
        return value is not _ABSENT and self._accepts(value)

    def difference(self, layer: Packet) -> str:
        what = f"{type(layer).__name__}.{self._name}"
        value = layer.fields.get(self._name, _ABSENT)
        if value is _ABSENT:
            return f"{what} is not there, let alone {self._text}"
        if value is None and self._name == "chksum":
            return f"{what} is left to the hardware, not {self._text}"
        if inner := self._inner_difference(value):
            return f"{what}: {inner}"
        text = shown(layer, self._name, value)
        if text == self._text and isinstance(value, bytes):
            return f"{what} differs from byte {_agreement(value, self._value)} on"
        return f"{what} is {text}, not {self._text}"

    def _inner_difference(self, seen: Any) -> str:
        """Say what is different in the nearest of the packets that a field holds."""
        wanted, held = (
            list(filter(is_packet, value if isinstance(value, list) else [value]))
            for value in (self._value, seen)
        )
        if len(wanted) != 1 or not held:
            return ""
        pattern = Pattern(wanted[0])
        return "; ".join(pattern.misses(min(held, key=pattern.distance)))


def _is_icmp(layer: Packet) -> bool:
    """Say whether what follows this layer may be a quotation."""
    return type(layer).__name__.startswith("ICMP")


def _inside(packet: Packet) -> Check:
    """Return the function that compares a packet which is the value of a field."""
    pattern = Pattern(packet)
    return lambda seen: is_packet(seen) and pattern.fits(seen)


def _missing(missing: list[_Layer], layers: list[Packet]) -> str:
    names = " and no ".join(layer.name for layer in missing)
    seen = [type(layer).__name__ for layer in layers]
    order = " in this order" if {layer.name for layer in missing} & set(seen) else ""
    shown = " / ".join(seen[1:] if len(seen) > 1 and seen[0] == "Ether" else seen)
    return f"no {names} layer{order}: {shown}"


def _agreement(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    differing = (at for at, (left, right) in pairs if left != right)
    return next(differing, min(len(one), len(other)))
