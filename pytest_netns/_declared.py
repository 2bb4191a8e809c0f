"""What an interface was declared with, as requests that bring it back."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from . import _codec_tables as codec_tables
from ._checks import default_route_family
from .records import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._layout import Interface, Layout
    from .records import Host


def declared_requests(
    layout: Layout, indexes: dict[tuple[str, str], int], name: str, ifname: str
) -> list[bytearray]:
    """Return the requests that bring back what an interface had before it was down.

    That is its addresses, the routes and the neighbours that lead through it;
    none for an interface that the test made itself.
    """
    interface = layout.interfaces.get(name, {}).get(ifname)
    if interface is None:
        return []
    index = indexes[name, ifname]
    return [
        *(
            codec_tables.add_address(index, one, replace=True)
            for one in interface.addresses
        ),
        *_routes(layout, interface, index),
        *_neighbours(layout.machines[name], interface, index),
    ]


def _neighbours(
    machine: Namespace | Host, interface: Interface, index: int
) -> Iterator[bytearray]:
    for neighbour in machine.neighbours if isinstance(machine, Namespace) else ():
        if neighbour.dev == interface.ifname:
            yield codec_tables.add_neighbour(neighbour, index, replace=True)


def _routes(layout: Layout, interface: Interface, index: int) -> Iterator[bytearray]:
    interfaces = layout.interfaces[interface.place]
    for route in layout.machines[interface.place].routes:
        family = default_route_family(route, interfaces)
        if route.dev == interface.ifname:
            yield codec_tables.add_route(route, family, index, replace=True)
        elif route.dev is None and _reaches(interface, route.via):
            yield codec_tables.add_route(route, family, None, replace=True)


def _reaches(interface: Interface, via: str | None) -> bool:
    return via is not None and any(
        ipaddress.ip_address(via) in address.network for address in interface.addresses
    )
