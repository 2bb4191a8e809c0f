"""Packets of scapy's, made ready to leave a namespace.

Where a test leaves addresses open, scapy looks them up in tables that it has for
the whole process. Here they are filled in from the tables of the namespace, before
scapy can look: in copies, the test's own packets stay as they are.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._packet_socket import ETH_P_ARP, ETH_P_IP, ETH_P_IPV6
from ._scapy import load
from ._tpacket import ETHERNET_TYPES
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._addresses import Address
    from ._links import Link
    from ._nexthop import Hop, Ways
    from ._scapy import Packet

_WHO_HAS = 1
_BROADCAST = b"\xff" * 6


@dataclass(slots=True)
class Departure:
    """A packet that is ready to leave.

    Attributes:
        packet: What the test wants to send, with all addresses but perhaps one.
        link: The interface that it leaves through.
        hop: Whose MAC address it needs; None if it has one.
        protocol: The EtherType, if the link layer is not part of the packet.
    """

    packet: Packet
    link: Link
    hop: Hop | None
    protocol: int | None = None

    @property
    def is_delivered_here(self) -> bool:
        """Whether it is an IPv4 packet to the namespace itself.

        The kernel takes one for its own only if it has routed it itself: on the
        loopback interface its source address would be a martian
        (``fib_validate_source()``). IPv6 knows no martians.
        """
        return self.link.is_loopback and self.protocol == ETH_P_IP

    def frame(self, lladdr: bytes) -> bytes:
        """Return it as bytes, for the neighbour with this MAC address."""
        if self.protocol is None:
            if self.hop is not None:
                _set(self.packet, "dst", _text(lladdr))
            return bytes(self.packet)
        if self.link.hatype not in ETHERNET_TYPES or self.is_delivered_here:
            return bytes(self.packet)
        header = lladdr + self.link.lladdr + self.protocol.to_bytes(2, "big")
        return header + bytes(self.packet)


def expand(what: object) -> Iterator[Packet]:
    """Yield a copy of every packet that `what` stands for, as scapy understands it.

    Raises:
        TypeError: It is neither a packet nor several.
    """
    kind = load().packet.Packet
    if isinstance(what, kind):
        yield from what
        return
    if isinstance(what, Iterable) and not isinstance(what, (str, bytes)):
        for one in what:
            if not isinstance(one, kind):
                raise TypeError(f"cannot send {one!r}: it is not a packet of scapy's")
            yield from one
        return
    raise TypeError(
        f"cannot send {what!r}: it is neither a packet of scapy's nor a list of them"
    )


def at_network_layer(packet: Packet, ways: Ways, dev: str | None) -> Departure:
    """Make a packet ready that begins with IP, IPv6 or ARP.

    Args:
        packet: The packet; it is changed.
        ways: The tables of the namespace.
        dev: The interface that it must leave through; None lets the routes decide.

    Raises:
        KernelError: There is no way to its destination.
        UnknownName: There is no such interface.
        ValueError: It has no destination, or one that needs `dev`.
    """
    destination, zone = _destination(packet)
    if destination is None:
        # not its summary(), for which scapy would look things up
        names = "/".join(type(layer).__name__ for layer in packet.iterpayloads())
        raise ValueError(
            f"{names} does not begin with an IP address to find a way by: "
            "send it with sendp(), srp() or srp1()"
        )
    link = None if dev is None and zone is None else ways.link(dev or str(zone))
    hop = ways.hop(destination, source=_own_source(packet), dev=link)
    protocol = ETH_P_IPV6 if destination.version == 6 else ETH_P_IP
    if isinstance(packet, load().layers.l2.ARP):
        # no address is too near to ask for it: where it is announced, it is our own
        protocol, link = ETH_P_ARP, link or hop.link
        is_for_all = packet.op == _WHO_HAS or link != hop.link
        hop = hop._replace(
            link=link, lladdr=link.broadcast if is_for_all else hop.lladdr
        )
    _Filler(ways, hop.link).fill(packet, hop)
    return Departure(packet, hop.link, hop, protocol)


def at_link_layer(packet: Packet, ways: Ways, link: Link) -> Departure:
    """Make a packet ready that begins with its link layer.

    Args:
        packet: The packet; it is changed.
        ways: The tables of the namespace.
        link: The interface that it leaves through.

    Raises:
        KernelError: Its MAC address is left open, and there is no way through `link`.
    """
    filler = _Filler(ways, link)
    hop = filler.next_hop_of(packet) if _lacks_destination(packet) else None
    filler.fill(packet, hop, is_frame=True)
    if hop is None and _lacks_destination(packet):
        _set(packet, "dst", _text(_BROADCAST))  # as scapy does, which warns
    return Departure(packet, link, hop)


class _Filler:
    """Fills in the addresses that a packet leaves open.

    Args:
        ways: The tables of the namespace.
        link: The interface that the packet leaves through.
    """

    def __init__(self, ways: Ways, link: Link) -> None:
        self._ways = ways
        self._link = link
        self._nearest: Address | None = None

    def next_hop_of(self, frame: Packet) -> Hop | None:
        """Return whom a frame is for by what is in it; None is everybody."""
        l2 = load().layers.l2
        layer = frame.payload
        while isinstance(layer, (l2.Dot1Q, l2.Dot1AH, l2.LLC, l2.SNAP)):
            layer = layer.payload
        destination, _ = _destination(layer)
        if destination is None or (isinstance(layer, l2.ARP) and layer.op == _WHO_HAS):
            return None
        hop = self._ways.hop(destination, source=_own_source(layer), dev=self._link)
        # what is for oneself, and is to leave all the same, is for all to hear
        return hop if hop.link == self._link else None

    def fill(self, packet: Packet, hop: Hop | None, *, is_frame: bool = False) -> None:
        """Fill in what is left open but the MAC address that a frame goes to.

        Args:
            packet: The packet.
            hop: The way of the outermost IP packet, if it is known.
            is_frame: Whether the packet begins with its link layer.
        """
        dev = self._link if is_frame else None
        for layer in packet.iterpayloads():
            destination, _ = _destination(layer)
            for name, field in _open_fields(layer):
                if not (is_frame and layer is packet and name == "dst"):
                    value = self._value(field, layer, destination, hop, dev)
                    _set(layer, name, value)
            if destination is not None:
                self._nearest = _own_source(layer)
                hop = dev = None  # what is in a tunnel goes its own way

    def _value(
        self,
        field: Any,
        layer: Packet,
        destination: Address | None,
        hop: Hop | None,
        dev: Link | None,
    ) -> str:
        fields, l2 = load().fields, load().layers.l2
        if isinstance(field, l2.SourceMACField):
            return _text(self._link.lladdr)
        if isinstance(field, l2.DestMACField):
            return _text(self._known_lladdr(layer))
        source = self._nearest
        if destination is not None:
            hop = hop or self._way(destination, dev)
            source = hop and hop.source
        is_six = isinstance(field, fields.SourceIP6Field)
        nobody = ipaddress.ip_address("::" if is_six else 0)
        return str(source if source and source.version == nobody.version else nobody)

    def _way(self, destination: Address, dev: Link | None) -> Hop | None:
        try:
            return self._ways.hop(destination, dev=dev)
        except (KernelError, ValueError):
            return None  # it is sent all the same, from nobody

    def _known_lladdr(self, frame: Packet) -> bytes:
        """Return the MAC address for a frame in a tunnel; nobody is asked for it."""
        destination, _ = _destination(frame.payload)
        hop = None if destination is None else self._way(destination, None)
        if hop is None:
            return _BROADCAST
        self._ways.look_up([hop])
        return self._ways.lladdr(hop) or _BROADCAST


def _lacks_destination(frame: Packet) -> bool:
    return any(
        name == "dst" and isinstance(field, load().layers.l2.DestMACField)
        for name, field in _open_fields(frame)
    )


def _open_fields(layer: Packet) -> Iterator[tuple[str, Any]]:
    """Yield name and field where scapy would look something up."""
    kinds = _kinds()
    for name in _looked_up(type(layer)):
        if layer.getfieldval(name) is None:
            field = _bare(layer.get_field(name))
            if isinstance(field, load().fields.MultipleTypeField):
                field, _ = field._find_fld_pkt_val(layer, None)  # noqa: SLF001  # the only way to know which of its types
            if isinstance(field, kinds):
                yield name, field


@functools.lru_cache(maxsize=512)
def _looked_up(layer: type[Packet]) -> tuple[str, ...]:
    kinds = (*_kinds(), load().fields.MultipleTypeField)
    return tuple(
        field.name for field in layer.fields_desc if isinstance(_bare(field), kinds)
    )


def _kinds() -> tuple[type[Any], ...]:
    fields, l2 = load().fields, load().layers.l2
    return (
        fields.SourceIPField,
        fields.SourceIP6Field,
        l2.SourceMACField,
        l2.DestMACField,
    )


def _bare(field: Any) -> Any:
    """Take off what only emphasises a field, or makes it depend on others."""
    fields = load().fields
    while isinstance(field, (fields.ConditionalField, fields.Emph)):
        field = field.fld
    return field


def _set(layer: Packet, name: str, value: str) -> None:
    # not setattr(): the layer would be taken for one with alternatives again
    layer.fields[name] = _bare(layer.get_field(name)).any2i(layer, value)


def _destination(layer: Packet) -> tuple[Address | None, str | None]:
    """Return where a layer goes, and its zone; None where it has no such field."""
    layers = load().layers
    if isinstance(layer, layers.l2.ARP):
        value = layer.pdst
    elif isinstance(layer, (layers.inet.IP, layers.inet6.IPv6)):
        value = layer.dst
    else:
        return None, None
    return _address(value), getattr(value, "scope", None)


def _own_source(layer: Packet) -> Address | None:
    """Return the source address that a test has given; None if it has not."""
    name = "psrc" if isinstance(layer, load().layers.l2.ARP) else "src"
    address = _address(layer.getfieldval(name))
    return None if address is None or address.is_unspecified else address


def _address(value: object) -> Address | None:
    if not isinstance(value, str):
        return None
    try:
        # the forms with fewer than four parts are scapy's, too
        packed = socket.inet_aton(value) if ":" not in value else None
        return ipaddress.ip_address(value if packed is None else packed)
    except (OSError, ValueError):
        return None


def _text(lladdr: bytes) -> str:
    return lladdr.hex(":")
