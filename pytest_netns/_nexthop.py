"""Where packets of a namespace go, and who takes them: what its tables say."""

from __future__ import annotations

import errno
import ipaddress
import sys
from typing import TYPE_CHECKING, NamedTuple

from . import _codec_tables as codec_tables
from ._links import Link, link_at, links_of
from ._neighbours import PATIENCE, Neighbours
from ._netlink import Refusal, RouteSocket, attribute
from ._tpacket import ETHERNET_TYPES
from .errors import KernelError
from .interface import index_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from ._addresses import Address
    from ._neighbours import Key
    from ._nsfile import NamespaceFile

# include/uapi/linux/rtnetlink.h: struct rtmsg, behind struct nlmsghdr
_ROUTE_KIND = 16 + 7
_ROUTE_ATTRIBUTES = 16 + 12
_RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_VIA = 4, 5, 7, 18
_RTN_LOCAL, _RTN_BROADCAST = 2, 3
# include/uapi/linux/if.h
_IFF_UP = 0x1
_IFF_NOARP = 0x80

_LOOPBACK = 1
_ONE_LINK = ipaddress.ip_network("224.0.0.0/24")
_EVERYBODY = ipaddress.ip_address("255.255.255.255")


class Hop(NamedTuple):
    """The way of a packet out of a namespace.

    Attributes:
        destination: Where it is to go.
        link: The interface that it leaves through.
        neighbour: Who takes it: the gateway, or the destination itself.
        source: The address that the kernel would send from, or None.
        lladdr: The MAC address, if it does not take asking; b"" without link layer.
    """

    destination: Address
    link: Link
    neighbour: Address
    source: Address | None
    lladdr: bytes | None

    @property
    def key(self) -> Key:
        """The neighbour, and where it is."""
        return self.link.ifindex, self.neighbour.packed


class Ways:
    """The tables of a namespace, read for one call and remembered until its end.

    It belongs to one thread.

    Args:
        file: The namespace.
    """

    def __init__(self, file: NamespaceFile) -> None:
        self.file = file
        with file.entered():
            self._route = RouteSocket()
        self._links: dict[int, Link] = {}
        self._hops: dict[tuple[str, str | None, int | None], Hop | KernelError] = {}
        self._neighbours = Neighbours(file, self._route)

    def __enter__(self) -> Ways:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._route.close()

    def link(self, name: str) -> Link:
        """Return the interface `name`.

        Raises:
            UnknownName: There is none; says which there are.
        """
        return self._link_at(index_of(self.file, name))

    def _link_at(self, index: int) -> Link:
        if index not in self._links:
            try:
                self._links[index] = link_at(self._route, index)
            except Refusal as refusal:
                raise self._error(refusal, f"look at interface {index}") from refusal
        return self._links[index]

    def hop(
        self, destination: Address, *, source: Address | None = None, dev: Link | None
    ) -> Hop:
        """Return the way to `destination`; ``ip route get DESTINATION``.

        Args:
            destination: The address.
            source: The packet's own source address, on which the way may depend.
            dev: The interface it must leave through; None lets the routes decide.

        Raises:
            KernelError: There is none: ENETUNREACH, or what a route says.
            ValueError: It is link-local, and which link is not clear.
        """
        if dev is None and _is_link_local(destination):
            dev = self._only_link(destination)
        asker = None if source is None else str(source)
        key = (str(destination), asker, None if dev is None else dev.ifindex)
        if key not in self._hops:
            try:
                self._hops[key] = self._ask(*key)
            except KernelError as error:
                self._hops[key] = error
        found = self._hops[key]
        if isinstance(found, KernelError):
            raise found
        return found

    def _ask(self, destination: str, source: str | None, index: int | None) -> Hop:
        request = codec_tables.get_route(destination, source=source, index=index)
        try:
            (answer,) = self._route.query([request])
        except Refusal as refusal:
            # no route is known from an address that is somebody else's
            if source is not None and not self._is_own(source):
                return self._ask(destination, None, index)
            # the routes are not asked where only one interface is possible
            if index is None and _is_for_one_link(ipaddress.ip_address(destination)):
                links = self._links_out()
                if len(links) == 1:
                    return self._ask(destination, source, links[0].ifindex)
            action = f"send to {destination}"
            if index is not None:
                action += f" through {self._link_at(index).name!r}"
            raise self._error(refusal, action) from refusal
        return self._hop(ipaddress.ip_address(destination), answer)

    def _is_own(self, address: str) -> bool:
        try:
            (answer,) = self._route.query([codec_tables.get_route(address)])
        except Refusal:
            return False
        return answer[_ROUTE_KIND] == _RTN_LOCAL

    def _hop(self, destination: Address, answer: bytes) -> Hop:
        kind = answer[_ROUTE_KIND]
        index = _LOOPBACK
        if kind != _RTN_LOCAL:
            index = int.from_bytes(_value(answer, _RTA_OIF), sys.byteorder)
        # through a gateway of the other family: RTA_VIA is its family and address
        gateway = _value(answer, _RTA_GATEWAY) or _value(answer, _RTA_VIA)[2:]
        source = _value(answer, _RTA_PREFSRC)
        link = self._link_at(index)
        neighbour = ipaddress.ip_address(gateway) if gateway else destination
        return Hop(
            destination,
            link,
            neighbour,
            ipaddress.ip_address(source) if source else None,
            _known_lladdr(link, destination, kind),
        )

    def _only_link(self, destination: Address) -> Link:
        links = self._links_out()
        if len(links) == 1:
            return links[0]
        names = ", ".join(repr(link.name) for link in links) or "none"
        raise ValueError(
            f"{destination} is an address of one link only: say which with dev= "
            f"(interfaces of namespace {self.file.name!r} that are up: {names})"
        )

    def _links_out(self) -> list[Link]:
        """List the interfaces that are up and lead out of the namespace."""
        return [
            link
            for link in links_of(self.file).values()
            if link.flags & _IFF_UP and not link.is_loopback
        ]

    def lladdr(self, hop: Hop) -> bytes | None:
        """Return the MAC address that a packet needs; None if it is not known.

        It is b"" for interfaces without link layer.
        """
        if hop.lladdr is not None:
            return hop.lladdr
        return self._neighbours.lladdr(hop.key)

    def look_up(self, hops: Iterable[Hop]) -> None:
        """Read from the kernel's tables which neighbours it knows; ask nobody."""
        self._neighbours.look_up({hop.key for hop in hops if hop.lladdr is None})

    def resolve(self, hops: Iterable[Hop]) -> None:
        """Have the kernel ask for the neighbours it does not know, all at once.

        Raises:
            KernelError: The kernel refuses to ask.
        """
        self._neighbours.resolve({hop.key for hop in hops if hop.lladdr is None})

    def no_answer(self, hop: Hop) -> KernelError:
        """Make the error of a packet whose neighbour did not answer."""
        how = "ARP" if hop.neighbour.version == 4 else "neighbour discovery"
        role = "" if hop.neighbour == hop.destination else "gateway "
        return KernelError(
            errno.EHOSTUNREACH,
            f"send to {hop.destination} through {hop.link.name!r} (nobody has answered "
            f"{how} for {role}{hop.neighbour} within {PATIENCE:g} s)",
            self.file.name,
        )

    def _error(self, refusal: Refusal, action: str) -> KernelError:
        return KernelError(refusal.number, action, self.file.name, None, refusal.detail)


def _value(answer: bytes, kind: int) -> bytes:
    return attribute(answer, kind, _ROUTE_ATTRIBUTES) or b""


def _is_link_local(address: Address) -> bool:
    """Tell whether an IPv6 address means nothing without an interface."""
    if isinstance(address, ipaddress.IPv4Address):
        return False
    # ff01:: and ff02:: (RFC 4291, 2.7): of the interface, and of the link
    narrow = address.is_multicast and address.packed[1] & 15 in (1, 2)
    return address.is_link_local or narrow


def _is_for_one_link(address: Address) -> bool:
    """Tell whether no router would pass a packet to this IPv4 address on."""
    return address == _EVERYBODY or address in _ONE_LINK


def _known_lladdr(link: Link, destination: Address, kind: int) -> bytes | None:
    """Return the MAC address that follows from the destination alone, or None."""
    if link.hatype not in ETHERNET_TYPES:
        return b""
    if link.is_loopback:
        return link.lladdr
    if kind == _RTN_BROADCAST:
        return link.broadcast
    if destination.is_multicast:
        return _group_lladdr(destination)
    return link.lladdr if link.flags & _IFF_NOARP else None


def _group_lladdr(group: Address) -> bytes:
    """Return the MAC address of a multicast group (RFC 1112, 6.4; RFC 2464, 7)."""
    if isinstance(group, ipaddress.IPv6Address):
        return b"\x33\x33" + group.packed[12:]
    low = int(group) & 0x7F_FFFF
    return b"\x01\x00\x5e" + low.to_bytes(3, "big")
