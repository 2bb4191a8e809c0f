"""What captures and senders need to know of interfaces, read at one stroke."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from . import _codec as codec
from ._netlink import RouteSocket, attribute, fields

if TYPE_CHECKING:
    from ._nsfile import NamespaceFile

# struct ifinfomsg, behind struct nlmsghdr: ifi_type, ifi_index and ifi_flags
_LINK = struct.Struct("=16x2xHiI4x")
_IFLA_ADDRESS = 1
_IFLA_BROADCAST = 2
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_ARPHRD_LOOPBACK = 772


class Link(NamedTuple):
    """An interface.

    Attributes:
        ifindex: Its index.
        name: Its name.
        hatype: What link layer it has (ARPHRD_*).
        lladdr: Its MAC address, or b"".
        mtu: Its MTU, in bytes.
        kind: ``"veth"``, ``"bridge"``, ..., or ``""``.
        flags: Its state and abilities (IFF_*).
        broadcast: The MAC address that reaches all, or b"".
    """

    ifindex: int
    name: str
    hatype: int
    lladdr: bytes
    mtu: int
    kind: str
    flags: int = 0
    broadcast: bytes = b""

    @property
    def is_loopback(self) -> bool:
        """Whether it is the loopback interface."""
        return self.hatype == _ARPHRD_LOOPBACK


def links_of(file: NamespaceFile) -> dict[int, Link]:
    """Return the interfaces of a namespace, by index; ``ip -d link show``."""
    with file.entered(), RouteSocket() as route:
        links = map(_link, route.dump(codec.dump(codec.RTM_GETLINK)))
        return {link.ifindex: link for link in links}


def link_at(route: RouteSocket, index: int) -> Link:
    """Return the interface with this index; ``ip -d link show dev NAME``.

    Raises:
        Refusal: There is none.
    """
    (message,) = route.query([codec.get_link(index)])
    return _link(message)


def _link(message: bytes) -> Link:
    hatype, index, flags = fields(_LINK, message)
    info = attribute(message, _IFLA_LINKINFO, _LINK.size) or b""
    mtu = attribute(message, _IFLA_MTU, _LINK.size) or b""
    return Link(
        index,
        _text(attribute(message, _IFLA_IFNAME, _LINK.size)),
        hatype,
        attribute(message, _IFLA_ADDRESS, _LINK.size) or b"",
        int.from_bytes(mtu[:4], sys.byteorder),
        _text(attribute(info, _IFLA_INFO_KIND)),
        flags,
        attribute(message, _IFLA_BROADCAST, _LINK.size) or b"",
    )


def _text(payload: bytes | None) -> str:
    return (payload or b"").rstrip(b"\0").decode(errors="replace")
