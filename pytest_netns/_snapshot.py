"""What another network could notice of a bridge, compared with when it was new.

All that the kernel tells is compared, but for what moves by itself: counters,
timers, carrier. Comparing is on the way of every build, so messages that are
the same to the byte are not parsed.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _codec as codec
from ._netlink import RouteSocket, attribute, attributes, fields

if TYPE_CHECKING:
    from collections.abc import Iterator

_AF_BRIDGE = 7
_LINK_HEADER = 32  # struct nlmsghdr and struct ifinfomsg
# behind struct nlmsghdr: ifi_index; ifi_type, ifi_index and ifi_flags; struct ndmsg
_INDEX = struct.Struct("=20xi")
_LINK = struct.Struct("=18xHiI")
_ENTRY = struct.Struct("=20xiHBB")

# include/uapi/linux/if_link.h
_IFLA_ADDRESS, _IFLA_LINKINFO, _IFLA_INFO_DATA, _IFLA_AF_SPEC = 1, 18, 2, 26
_AF_INET6 = 10
_VOLATILE = frozenset(
    {
        _IFLA_ADDRESS,  # compared on its own
        3,  # IFNAME: each borrower's own
        7,  # STATS
        16,  # OPERSTATE
        23,  # STATS64
        33,  # CARRIER
        35,  # CARRIER_CHANGES
        47,  # CARRIER_UP_COUNT
        42,  # PAD: aligns what follows, and depends on the length of the name
        48,  # CARRIER_DOWN_COUNT
        59,  # TSO_MAX_SIZE: what the last port had
    }
)
_VOLATILE_OF_BRIDGE = frozenset(
    {
        10,  # ROOT_ID: the MAC address again
        11,  # BRIDGE_ID
        40,  # PAD
        *range(12, 20),  # ROOT_PORT ... GC_TIMER: where the protocol stands
    }
)
_VOLATILE_OF_INET6 = frozenset({3, 5, 6})  # STATS, CACHEINFO, ICMP6STATS
_IFF_RUNNING_AND_LOWER_UP = 0x40 | 0x10000
# include/uapi/linux/neighbour.h
_NDA_LLADDR, _NDA_VLAN = 2, 5

_Facts = frozenset[tuple[object, ...]]


@dataclass(frozen=True)
class Snapshot:
    """The state of a namespace that holds one bridge, at one moment.

    Attributes:
        links: The answers to a dump of the links, which is also how many there are.
        others: The answers to all other dumps.
        lladdr: The MAC address of the bridge.
    """

    links: tuple[bytes, ...]
    others: tuple[tuple[bytes, ...], ...]
    lladdr: bytes

    @classmethod
    def take(cls, route: RouteSocket, index: int, links: list[bytes]) -> Snapshot:
        """Read the rest of the namespace of `route`, whose bridge has `index`."""
        return cls(tuple(links), _others(route), _lladdr(links, index))

    def equals(self, other: Snapshot) -> bool:
        """Tell whether nothing differs but what moves by itself and the MAC address."""
        return (
            self.links == other.links or self._link_facts == other._link_facts
        ) and (self.others == other.others or self._other_facts == other._other_facts)

    @functools.cached_property
    def _link_facts(self) -> list[list[object]]:
        return [_still_parts(message) for message in self.links]

    @functools.cached_property
    def _other_facts(self) -> _Facts:
        vlans, addresses, forwarding, multicast, queues = self.others
        return frozenset(
            (
                *_vlans(vlans),
                *(("address", message[16:]) for message in addresses),
                *_forwarding(forwarding, self.lladdr),
                *_multicast(multicast),
                *(("queue", message[16:36]) for message in queues),
            )
        )


def read_links(route: RouteSocket) -> list[bytes]:
    """Read the links of the namespace of `route`, where a snapshot begins."""
    return route.dump(codec.dump(codec.RTM_GETLINK))


def _others(route: RouteSocket) -> tuple[tuple[bytes, ...], ...]:
    return tuple(
        tuple(route.dump(codec.dump(kind, family)))
        for kind, family in (
            (codec.RTM_GETLINK, _AF_BRIDGE),
            (codec.RTM_GETADDR, 0),
            (codec.RTM_GETNEIGH, _AF_BRIDGE),
            (codec.RTM_GETMDB, _AF_BRIDGE),
            (codec.RTM_GETQDISC, 0),
        )
    )


def _lladdr(links: list[bytes], index: int) -> bytes:
    for message in links:
        if fields(_INDEX, message) == (index,):
            return attribute(message, _IFLA_ADDRESS, _LINK_HEADER) or b""
    return b""


def _still_parts(message: bytes) -> list[object]:
    """Return what does not move by itself of a link, in the order of the message."""
    kind, index, flags = fields(_LINK, message)
    parts: list[object] = [kind, index, flags & ~_IFF_RUNNING_AND_LOWER_UP]
    for number, payload in attributes(message, _LINK_HEADER):
        if number == _IFLA_AF_SPEC:
            parts += _families(payload)
        elif number == _IFLA_LINKINFO:
            parts += (
                one
                for one in attributes(_info_data(payload))
                if one[0] not in _VOLATILE_OF_BRIDGE
            )
        elif number not in _VOLATILE:
            parts.append((number, payload))
    return parts


def _families(specification: bytes) -> Iterator[tuple[int, int, bytes]]:
    for family, nested in attributes(specification):
        for number, payload in attributes(nested):
            if family != _AF_INET6 or number not in _VOLATILE_OF_INET6:
                yield family, number, payload


def _vlans(messages: tuple[bytes, ...]) -> Iterator[tuple[object, ...]]:
    for message in messages:
        for number, payload in attributes(message, _LINK_HEADER):
            if number == _IFLA_AF_SPEC:
                yield "vlans", payload


def _forwarding(
    messages: tuple[bytes, ...], own: bytes
) -> Iterator[tuple[object, ...]]:
    """List the forwarding database, but for the bridge's `own` address."""
    for message in messages:
        index, state, flags, kind = fields(_ENTRY, message)
        entry = dict(attributes(message, 28))
        lladdr = entry.get(_NDA_LLADDR, b"")
        if lladdr != own:
            yield "forwarding", index, state, flags, kind, lladdr, entry.get(_NDA_VLAN)


def _multicast(messages: tuple[bytes, ...]) -> Iterator[tuple[object, ...]]:
    """List multicast groups and router ports.

    An entry without any port is one that the kernel is about to collect.
    """
    for message in messages:
        # struct nlmsghdr and struct br_port_msg
        for kind, table in attributes(message, 24):
            for _, entry in attributes(table):
                yield from (
                    ("multicast", kind, number, payload)
                    for number, payload in attributes(entry)
                )


def _info_data(linkinfo: bytes) -> bytes:
    return attribute(linkinfo, _IFLA_INFO_DATA) or b""


def bridge_settings(message: bytes) -> dict[int, bytes]:
    """Return the settings of a bridge in a link message, by number (IFLA_BR_*)."""
    linkinfo = attribute(message, _IFLA_LINKINFO, _LINK_HEADER) or b""
    return dict(attributes(_info_data(linkinfo)))
