"""The plan: a pure function from a layout to the ordered steps that build it.

A step names interfaces, never indexes or descriptors, so a plan can be read and
compared as data. Adjacent steps of one place go to the kernel as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._checks import default_route_family
from ._layout import Cable, Interface, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._addresses import InterfaceAddress
    from .records import Bridge, Namespace, Neighbour, Record, Route


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan.

    Attributes:
        place: The namespace, or the hidden bridge, in which it happens.
        record: The record that it comes from, for the error message.
    """

    place: str
    record: Record


@dataclass(frozen=True, slots=True)
class CreateNamespace(Step):
    """``ip netns add``, without a name, and the sysctls that come before links."""

    sysctls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LendSwitch(Step):
    """A bridge in a namespace that nobody can look into, new or recycled."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class AddBridge(Step):
    """``ip link add NAME type bridge``, and up."""

    ifname: str
    bridge: Bridge


@dataclass(frozen=True, slots=True)
class AddVeth(Step):
    """``ip link add NAME type veth peer name PEER netns PLACE``; this end is up."""

    ifname: str
    peer_place: str
    peer_ifname: str
    lladdr: str | None = None
    peer_lladdr: str | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class SetUp(Step):
    """``ip link set NAME up``."""

    ifname: str


@dataclass(frozen=True, slots=True)
class SetMaster(Step):
    """``ip link set NAME master BRIDGE``."""

    ifname: str
    master: str


@dataclass(frozen=True, slots=True)
class AddAddress(Step):
    """``ip address add ADDRESS dev NAME``, without duplicate address detection."""

    ifname: str
    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class AddRoute(Step):
    """``ip route add``."""

    route: Route
    family: int


@dataclass(frozen=True, slots=True)
class AddNeighbour(Step):
    """``ip neighbour add ... nud permanent``."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class Settle(Step):
    """Wait until the link can transmit: it was up before its peer."""

    ifname: str


@dataclass(frozen=True, slots=True)
class AwaitAddress(Step):
    """Wait until packets to an IPv6 address are taken for the namespace's own.

    The kernel adds the address at once, but the route that delivers to it only
    when a work queue gets to it (``addrconf_dad_work()`` in net/ipv6/addrconf.c,
    also with nodad).
    """

    address: str


@dataclass(frozen=True, slots=True)
class DisableOffload(Step):
    """``ethtool -K NAME tx off tso off gso off gro off``."""

    ifname: str


@dataclass(frozen=True, slots=True)
class WriteSysctl(Step):
    """``sysctl -w``, for what exists only once an interface does."""

    key: str
    value: str


#: The steps that are one rtnetlink request each.
LinkStep = (
    AddBridge | AddVeth | SetUp | SetMaster | AddAddress | AddRoute | AddNeighbour
)

#: What every namespace of a test starts with: duplicate address detection would
#: hold back the first connection over IPv6 for two seconds.
_DEFAULT_SYSCTLS = (("net.ipv6.conf.default.accept_dad", "0"),)
_FORWARDING_SYSCTLS = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    # interfaces copy "default" when they are born
    ("net.ipv6.conf.default.forwarding", "1"),
)


def plan(layout: Layout, built: Layout | None = None) -> tuple[Step, ...]:
    """Return the steps that build what `layout` has and `built` has not.

    Args:
        layout: The whole network.
        built: The part of it that is there already; None for nothing.

    Returns:
        The steps, in the order in which the kernel must see them.
    """
    before = built or Layout()
    namespaces = [
        one for name, one in layout.namespaces.items() if name not in before.namespaces
    ]
    bridges = [
        one for name, one in layout.bridges.items() if name not in before.bridges
    ]
    cables = layout.cables[len(before.cables) :]
    return (
        *(CreateNamespace(one.name, one, _early_sysctls(one)) for one in namespaces),
        *(LendSwitch(one.name, one, one) for one in bridges if one.namespace is None),
        *_bridges(bridges),
        *_veths(cables),
        *_configuration(layout, namespaces, bridges, cables),
        *_plugging(cables),
        *_late_sysctls(namespaces),
        *_offload(cables),
        *_settling(cables),
        *_awaiting(layout, bridges, cables),
    )


def _bridges(bridges: list[Bridge]) -> Iterator[Step]:
    for bridge in bridges:
        if bridge.namespace is not None:
            yield AddBridge(bridge.namespace, bridge, bridge.name, bridge)


def _veths(cables: list[Cable]) -> Iterator[Step]:
    steps = []
    for cable in cables:
        near, far = _near_and_far(cable)
        steps.append(
            AddVeth(
                near.place,
                cable.record,
                near.ifname,
                far.place,
                far.ifname,
                near.lladdr,
                far.lladdr,
                near.mtu,
            )
        )
    yield from _by_place(steps)


def _near_and_far(cable: Cable) -> tuple[Interface, Interface]:
    """Choose the end that sends the request: a port, if there is one.

    All cables of a switch are then made by a single batch.
    """
    if cable.a.master is None and cable.b.master is not None:
        return cable.b, cable.a
    return cable.a, cable.b


def _configuration(
    layout: Layout,
    namespaces: list[Namespace],
    bridges: list[Bridge],
    cables: list[Cable],
) -> Iterator[Step]:
    steps: list[Step] = [SetUp(one.name, one, "lo") for one in namespaces]
    for cable in cables:
        _, far = _near_and_far(cable)
        steps.append(SetUp(far.place, cable.record, far.ifname))
    for interface in _new_interfaces(layout, bridges, cables):
        steps += (
            AddAddress(interface.place, interface.record, interface.ifname, address)
            for address in interface.addresses
        )
    for namespace in namespaces:
        steps += _tables(namespace, layout)
    yield from _by_place(steps)


def _new_interfaces(
    layout: Layout, bridges: list[Bridge], cables: list[Cable]
) -> Iterator[Interface]:
    for bridge in bridges:
        if device := layout.bridge_devices.get(bridge.name):
            yield device
    for cable in cables:
        yield from (cable.a, cable.b)


def _tables(namespace: Namespace, layout: Layout) -> Iterator[Step]:
    interfaces = layout.interfaces.get(namespace.name, {})
    # routes without a gateway first: a gateway may be reached through them
    for route in sorted(namespace.routes, key=lambda route: route.via is not None):
        family = default_route_family(route, interfaces)
        yield AddRoute(namespace.name, namespace, route, family)
    for neighbour in namespace.neighbours:
        yield AddNeighbour(namespace.name, namespace, neighbour)


def _plugging(cables: list[Cable]) -> Iterator[Step]:
    """Make ports of a bridge of all that is plugged into one.

    Last, when both ends are up: what a machine says when it comes up would go
    to every port that is there already, and each further port would cost more.
    """
    steps = [
        SetMaster(end.place, cable.record, end.ifname, end.master)
        for cable in cables
        for end in (cable.a, cable.b)
        if end.master is not None
    ]
    yield from _by_place(steps)


def _settling(cables: list[Cable]) -> Iterator[Step]:
    steps = []
    for cable in cables:
        near, _ = _near_and_far(cable)
        steps.append(Settle(near.place, cable.record, near.ifname))
    yield from _by_place(steps)


def _awaiting(
    layout: Layout, bridges: list[Bridge], cables: list[Cable]
) -> Iterator[Step]:
    # ::1 is there when the loopback interface is up (init_loopback() in addrconf.c)
    steps: list[Step] = []
    for interface in _new_interfaces(layout, bridges, cables):
        steps += (
            AwaitAddress(interface.place, interface.record, str(address.ip))
            for address in interface.addresses
            if address.version == 6
            and not _disables_ipv6(layout.namespaces[interface.place], interface.ifname)
        )
    yield from _by_place(steps)


def _disables_ipv6(namespace: Namespace, ifname: str) -> bool:
    """Tell whether its sysctls leave an interface without any IPv6 address."""
    return any(
        namespace.sysctls.get(f"net.ipv6.conf.{where}.disable_ipv6", "0") != "0"
        for where in ("all", "default", ifname)
    )


def _offload(cables: list[Cable]) -> Iterator[Step]:
    for cable in cables:
        if not cable.record.offload:
            for end in (cable.a, cable.b):
                yield DisableOffload(end.place, cable.record, end.ifname)


def _early_sysctls(namespace: Namespace) -> tuple[tuple[str, str], ...]:
    forwarding = _FORWARDING_SYSCTLS if namespace.forwarding else ()
    early = (
        (key, value) for key, value in namespace.sysctls.items() if not _is_late(key)
    )
    return (*_DEFAULT_SYSCTLS, *forwarding, *early)


def _late_sysctls(namespaces: list[Namespace]) -> Iterator[Step]:
    for namespace in namespaces:
        for key, value in namespace.sysctls.items():
            if _is_late(key):
                yield WriteSysctl(namespace.name, namespace, key, value)


def _is_late(key: str) -> bool:
    """Tell whether a sysctl belongs to one interface, which must be there first."""
    words = key.replace("/", ".").split(".")
    return (
        len(words) > 3
        and words[2] in {"conf", "neigh"}
        and words[3] not in {"all", "default"}
    )


def _by_place(steps: Sequence[Step]) -> Iterator[Step]:
    """Sort by place, in order of first appearance: one batch for each place."""
    places: dict[str, list[Step]] = {}
    for step in steps:
        places.setdefault(step.place, []).append(step)
    for batch in places.values():
        yield from batch
