"""scapy, imported when a test first needs it: what is used of it, and nothing more.

scapy reads interfaces, addresses and routes when it is imported, and keeps them
for the whole process. It is therefore imported at home, where pytest was started,
and whatever asks it about interfaces or routes is answered before it can look.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from ._frame import ETHERNET
from ._invoker import own_home
from ._nsfile import Visit, home, is_home
from ._packet_table import printable
from ._signals import deferred_signals

if TYPE_CHECKING:
    from scapy.packet import Packet as Packet  # noqa: PLC0414  # others need the types
    from scapy.plist import PacketList as PacketList  # noqa: PLC0414

    from ._frame import Frame

#: How many parsed packets a list keeps, so that they can be changed and compared.
_KEPT = 10_000


@functools.cache
def load() -> Any:
    """Import scapy and the usual protocols; return the module `scapy`.

    The submodules are its attributes: ``load().layers.inet.IP``.
    """
    # a module that was interrupted is imported again, but not those that it had told
    # of its layers: scapy would never again know them
    with deferred_signals() as deferred:
        scapy = _imported()
    deferred.deliver()
    return scapy


def _imported() -> Any:
    # without privileges nobody is elsewhere, nor may they enter what they are in
    visit = contextlib.nullcontext() if is_home() else Visit(home().fd, "home")
    with visit, own_home():
        import scapy
        import scapy.layers.dhcp
        import scapy.layers.dhcp6
        import scapy.layers.dns
        import scapy.layers.inet
        import scapy.layers.inet6
        import scapy.layers.l2
        import scapy.layers.vxlan
        import scapy.plist
        import scapy.sendrecv
        import scapy.utils
    return scapy


def dissect(frame: Frame) -> Packet:
    """Parse a captured packet; what scapy cannot parse becomes `Raw`, never an error.

    Beside what scapy itself has (`time`, `wirelen`, `direction`), the packet
    has `sniffed_on` (``"left:eth0"``), `namespace` and `interface`. A checksum
    that was left to the hardware is None: not there yet.
    """
    packet = _parse(frame.data, frame.linktype)
    packet.time = load().utils.EDecimal(frame.time) / 1_000_000_000
    packet.wirelen = frame.length
    packet.sniffed_on = frame.place
    # not setattr(): it would change a field of this name
    for name in ("direction", "namespace", "interface"):
        object.__setattr__(packet, name, getattr(frame, name))
    if frame.has_partial_checksum:
        _forget_checksum(packet)
    return packet


def _parse(data: bytes, linktype: int) -> Packet:
    layers = load().layers
    raw = load().packet.Raw
    if not data:
        kind = raw  # of nothing, the others make a packet of their own
    elif linktype == ETHERNET:
        kind = layers.l2.Ether
    else:
        kind = layers.inet6.IPv6 if data[0] >> 4 == 6 else layers.inet.IP
    try:
        return cast("Packet", kind(data))
    except Exception:  # too short, or a user's own layer fails
        return cast("Packet", raw(data))


def _forget_checksum(packet: Packet) -> None:
    """Take out the checksum of the innermost TCP or UDP header."""
    inet = load().layers.inet
    found = None
    layer: Any = packet
    while layer:
        if isinstance(layer, (inet.TCP, inet.UDP)):
            found = layer
        layer = layer.payload
    if found is not None:
        found.chksum = None


class Parsed(Sequence["Packet"]):
    """Captured packets, each parsed when it is touched; the first ones are kept.

    Args:
        frames: What was captured.
        numbers: Which of them, and in what order; None for all.
        kept: The parsed packets by number, shared by all slices.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        numbers: range | None = None,
        kept: dict[int, Packet] | None = None,
    ) -> None:
        self._frames = frames
        self._numbers = range(len(frames)) if numbers is None else numbers
        self._kept = {} if kept is None else kept

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, item: int) -> Packet: ...
    @overload
    def __getitem__(self, item: slice) -> Parsed: ...
    def __getitem__(self, item: int | slice) -> Packet | Parsed:
        if isinstance(item, slice):
            return Parsed(self._frames, self._numbers[item], self._kept)
        number = self._numbers[item]
        if (packet := self._kept.get(number)) is None:
            packet = self._parse(number, self._frames[number])
        return packet

    def __iter__(self) -> Iterator[Packet]:
        if self._numbers != range(len(self._frames)):
            yield from map(self.__getitem__, range(len(self)))
            return
        for number, frame in enumerate(self._frames):
            yield self._kept.get(number) or self._parse(number, frame)

    def _parse(self, number: int, frame: Frame) -> Packet:
        packet = dissect(frame)
        if len(self._kept) < _KEPT:
            self._kept[number] = packet
        return packet

    def __add__(self, other: Sequence[Packet]) -> list[Packet]:
        """Join two lists, as lists."""
        return [*self, *other]


def packet_list(packets: Sequence[Packet], name: str) -> PacketList:
    """Wrap packets, which need not exist before they are touched, in scapy's list."""
    return cast("PacketList", load().plist.PacketList(packets, name))


def summary_of(packet: Packet) -> str:
    """Describe a packet in one line, in scapy's words, without "Ether"."""
    try:
        return printable(packet.summary().removeprefix("Ether / "))
    except Exception:  # a user's own layer fails
        return type(packet).__name__
