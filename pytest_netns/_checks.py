"""What makes sense only in the whole: routes, gateways and neighbours of a layout."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from .errors import DuplicateName, InvalidAddress, UnknownName
from .nat import DNAT
from .records import Bridge, Namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._addresses import Network
    from ._layout import Interface, Layout
    from ._record import Record
    from .entries import Route
    from .records import Host


#: IPV6_MIN_MTU (include/uapi/linux/ipv6.h), RFC 8200: below, the kernel has no IPv6.
_MIN_MTU_OF_IPV6 = 1280
#: RT_TABLE_MAIN (include/uapi/linux/rtnetlink.h).
_MAIN_TABLE = 254


def check_layout(layout: Layout) -> None:
    """Check what machines say about their interfaces.

    Raises:
        UnknownName: A route, neighbour or NAT rule names an interface that is not
            there.
        InvalidAddress: A gateway is off every connected network, a source
            address is not the namespace's own, or an MTU is too small for IPv6.
        DuplicateName: One route or neighbour is declared twice.
    """
    for machine in layout.machines.values():
        interfaces = {one.ifname: one for one in layout.interfaces_of(machine.name)}
        _check_mtus(machine, interfaces, layout)
        _check_unique(
            machine,
            machine.routes,
            [(_network(r), r.metric, r.table or _MAIN_TABLE) for r in machine.routes],
        )
        for route in machine.routes:
            _check_route(route, machine, interfaces)
        if isinstance(machine, Namespace):
            _check_namespace(machine, interfaces)


def _check_namespace(namespace: Namespace, interfaces: dict[str, Interface]) -> None:
    neighbours = namespace.neighbours
    _check_unique(namespace, neighbours, [(n.address, n.dev) for n in neighbours])
    for neighbour in neighbours:
        _check_dev(neighbour.dev, neighbour, namespace, interfaces)
    for rule in namespace.nat:
        dev = rule.in_interface if isinstance(rule, DNAT) else rule.out_interface
        if dev is not None:
            _check_dev(dev, rule, namespace, interfaces)


def _check_mtus(
    machine: Namespace | Host, interfaces: dict[str, Interface], layout: Layout
) -> None:
    """Check that nothing of IPv6 is where the kernel has turned it off."""
    for ifname, interface in interfaces.items():
        mtu = _mtu(interface, layout)
        if mtu is None or mtu >= _MIN_MTU_OF_IPV6:
            continue
        of_ipv6: list[Record] = [
            *(interface.record for one in interface.addresses if one.version == 6),
            *(one for one in machine.routes if one.dev == ifname and one.family == 6),
        ]
        if isinstance(machine, Namespace):
            of_ipv6 += (
                one
                for one in machine.neighbours
                if one.dev == ifname and ":" in one.address
            )
        for record in of_ipv6:
            raise InvalidAddress(
                f"{record!r} of {machine.kind} {machine.name!r}: IPv6 needs an MTU of "
                f"{_MIN_MTU_OF_IPV6:,} bytes, and {ifname!r} has {mtu}"
            )


def _mtu(interface: Interface, layout: Layout) -> int | None:
    """Return the MTU of an interface, or None for that of Ethernet."""
    record = interface.record
    if interface.mtu is not None or not isinstance(record, Bridge):
        return interface.mtu
    # it follows the smallest of its ports: br_mtu_auto_adjust() in net/bridge/br_if.c
    return min((one.mtu for one in layout.ports[record.name] if one.mtu), default=None)


def _check_unique(
    machine: Namespace | Host, records: Sequence[Record], keys: Sequence[object]
) -> None:
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise DuplicateName(
                f"{machine.kind} {machine.name!r} has two records for one thing: "
                f"{records[keys.index(key)]!r} and {records[position]!r}"
            )


def _network(route: Route) -> object:
    """Return what a route leads to, under one name for both ways to say "default"."""
    if route.destination != "default":
        return ipaddress.ip_network(route.destination)
    if route.family is None:
        return route.destination
    return ipaddress.ip_network("0.0.0.0/0" if route.family == 4 else "::/0")


def _check_route(
    route: Route, machine: Namespace | Host, interfaces: dict[str, Interface]
) -> None:
    if route.dev is not None:
        _check_dev(route.dev, route, machine, interfaces)
    where = f"{route!r} of {machine.kind} {machine.name!r}"
    own = {address.ip for one in interfaces.values() for address in one.addresses}
    if route.source is not None and ipaddress.ip_address(route.source) not in own:
        raise InvalidAddress(
            f"{where}: the source is not an address of the {machine.kind}"
        )
    if route.via is None:
        return
    gateway = ipaddress.ip_address(route.via)
    if gateway in own:
        raise InvalidAddress(f"{where}: the gateway is the {machine.kind} itself")
    connected = _connected(machine, interfaces, route.dev)
    if gateway.is_link_local or any(gateway in network for network in connected):
        return
    known = ", ".join(map(str, connected)) or "none"
    raise InvalidAddress(
        f"{where}: gateway {gateway} is off every connected network"
        f"{f' of {route.dev!r}' if route.dev else ''}; connected: {known}"
    )


def _connected(
    machine: Namespace | Host, interfaces: dict[str, Interface], dev: str | None
) -> list[Network]:
    """List the networks that are reached without a gateway, on-link routes included."""
    of_interfaces = (
        address.network
        for one in interfaces.values()
        if dev in (None, one.ifname)
        for address in one.addresses
    )
    on_link = (
        ipaddress.ip_network(route.destination)
        for route in machine.routes
        if route.via is None
        and route.destination != "default"
        and dev in (None, route.dev)
    )
    return [*of_interfaces, *on_link]


def _check_dev(
    dev: str,
    record: Record,
    machine: Namespace | Host,
    interfaces: dict[str, Interface],
) -> None:
    if dev != "lo" and dev not in interfaces:
        raise UnknownName.among(
            dev,
            interfaces,
            what="interface",
            where=f"{record!r} of {machine.kind} {machine.name!r}",
        )


def default_route_family(route: Route, interfaces: dict[str, Interface]) -> int:
    """Return 4 or 6; a default route without an address takes its device's family."""
    if route.family is not None:
        return route.family
    device = interfaces.get(route.dev or "")
    families = {address.version for address in device.addresses} if device else set()
    return 6 if families == {6} else 4
