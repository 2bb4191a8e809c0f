"""Routes and neighbours of a namespace, as they are now."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _codec as codec
from ._netlink import RouteSocket
from .interface import interfaces_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._nsfile import NamespaceFile

_SCOPE_NAMES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_PROTOCOL_NAMES = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
}
_ROUTE_KINDS = {
    1: "unicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
_STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A route as the kernel has it.

    Attributes:
        destination: The network, or ``"default"``.
        via: The gateway's address, or None.
        dev: The interface's name, or None.
        source: The preferred source address, or None.
        metric: The priority; lower wins.
        table: The number of the routing table; 254 is the main table.
        scope: ``"global"``, ``"site"``, ``"link"`` or ``"host"``.
        protocol: Who made it: ``"kernel"``, ``"static"``, ``"boot"``, ...
        kind: ``"unicast"``, ``"blackhole"``, ``"unreachable"``, ...
        family: 4 or 6.
    """

    destination: str
    via: str | None
    dev: str | None
    source: str | None
    metric: int
    table: int
    scope: str
    protocol: str
    kind: str
    family: int


@dataclass(frozen=True, slots=True)
class NeighbourEntry:
    """An ARP or neighbour-discovery entry as the kernel has it.

    Attributes:
        address: The neighbour's IP address.
        lladdr: Its MAC address, or None while it is unknown.
        dev: The interface's name.
        state: ``"reachable"``, ``"stale"``, ``"failed"``, ``"permanent"``, ...
    """

    address: str
    lladdr: str | None
    dev: str
    state: str


def routes_of(file: NamespaceFile) -> list[RouteEntry]:
    """List the routes that people make: no local, broadcast or multicast ones.

    A route with several next hops is listed once for each of them.
    """
    names = {index: name for name, index in interfaces_of(file).items()}
    with file.entered(), RouteSocket() as route:
        messages = map(codec.decode, route.dump(codec.dump(codec.RTM_GETROUTE)))
        return [
            entry
            for message in messages
            if message["family"] in (socket.AF_INET, socket.AF_INET6)
            for entry in _route_entries(message, names)
        ]


def _route_entries(message: Any, names: dict[int, str]) -> Iterator[RouteEntry]:
    kind = _ROUTE_KINDS.get(message["type"])
    if kind is None or message["flags"] & 0x200:  # RTM_F_CLONED: a cache entry
        return
    network = message.get_attr("RTA_DST")
    multicast = str(network).startswith("ff00:")
    if multicast:
        return
    several = [
        (hop.get_attr("RTA_GATEWAY"), hop["oif"])
        for hop in message.get_attr("RTA_MULTIPATH") or ()
    ]
    one = (message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_OIF") or 0)
    for via, index in several or [one]:
        yield RouteEntry(
            destination=f"{network}/{message['dst_len']}" if network else "default",
            via=via,
            dev=names.get(index),
            source=message.get_attr("RTA_PREFSRC"),
            metric=message.get_attr("RTA_PRIORITY") or 0,
            table=message.get_attr("RTA_TABLE") or message["table"],
            scope=_SCOPE_NAMES.get(message["scope"], str(message["scope"])),
            protocol=_PROTOCOL_NAMES.get(message["proto"], str(message["proto"])),
            kind=kind,
            family=4 if message["family"] == socket.AF_INET else 6,
        )


def neighbours_of(file: NamespaceFile) -> list[NeighbourEntry]:
    """List ARP and neighbour-discovery entries; ``ip neighbour show``."""
    names = {index: name for name, index in interfaces_of(file).items()}
    with file.entered(), RouteSocket() as route:
        messages = list(map(codec.decode, route.dump(codec.dump(codec.RTM_GETNEIGH))))
    return [
        NeighbourEntry(
            address=str(message.get_attr("NDA_DST")),
            lladdr=message.get_attr("NDA_LLADDR"),
            dev=names.get(message["ifindex"], str(message["ifindex"])),
            state=_STATES.get(message["state"], "none"),
        )
        for message in messages
        if message["family"] in (socket.AF_INET, socket.AF_INET6)
        # multicast and loopback entries are the kernel's own book-keeping
        and not message["state"] & 0x40
    ]
