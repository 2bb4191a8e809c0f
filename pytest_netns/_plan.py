"""The plan: a pure function from a layout to the ordered steps that build it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._checks import default_route_family
from ._layout import Cable, Interface, Layout
from ._ruleset import nat_ruleset
from ._steps import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddOVSBridge,
    AddOVSPort,
    AddRoute,
    AddVeth,
    AwaitAddress,
    CreateNamespace,
    DisableChecksums,
    DisableOffload,
    JoinHost,
    LendOVS,
    LendSwitch,
    LoadNat,
    LoadNftables,
    SetMaster,
    SetMTU,
    Settle,
    SetUp,
    ShareConnection,
    Sign,
    Step,
    WriteSysctl,
)
from .records import Bridge, Namespace, OVSBridge, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .records import Host

#: What every namespace of a test starts with: duplicate address detection would
#: hold back the first connection over IPv6 for two seconds.
DEFAULT_SYSCTLS = (("net.ipv6.conf.default.accept_dad", "0"),)
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
    new = _New(layout, before)
    return (
        *_host(new),
        *(
            CreateNamespace(one.name, one, _early_sysctls(one))
            for one in new.namespaces
        ),
        *_switches(new.bridges),
        *_veths(new),
        *_configuration(new),
        *_plugging(new),
        *_neighbours(new),
        *_late_sysctls(new.namespaces),
        *_offload(new),
        *_settling(new),
        *_awaiting(new),
        *_filters(new),
    )


class _New:
    """What a layout has that was not there before.

    Attributes:
        layout: The whole of it.
        machines: The new namespaces, and the host if it is new.
    """

    def __init__(self, layout: Layout, before: Layout) -> None:
        self.layout = layout
        self.namespaces = [
            one
            for name, one in layout.namespaces.items()
            if name not in before.namespaces
        ]
        self.bridges = [
            one for name, one in layout.bridges.items() if name not in before.bridges
        ]
        self.cables = layout.cables[len(before.cables) :]
        self.host = layout.host if before.host is None else None
        self.machines: list[Namespace | Host] = [*self.namespaces]
        if self.host is not None:
            self.machines.append(self.host)

    def interfaces(self) -> Iterator[Interface]:
        """Yield the new devices of bridges, then the ends of the new cables."""
        for bridge in self.bridges:
            if isinstance(bridge, Bridge) and bridge.namespace is not None:
                yield self.layout.bridge_devices[bridge.name]
        for cable in self.cables:
            yield from (cable.a, cable.b)

    def interfaces_of_host(self) -> list[Interface]:
        """List the new interfaces of the host."""
        return [one for one in self.interfaces() if self.layout.is_host(one.place)]

    def near_and_far(self, cable: Cable) -> tuple[Interface, Interface]:
        """Choose the end that sends the request for a cable: a port, if there is one.

        All cables of a switch are then made by a single batch. Never the host:
        what is born at the far end appears there with all that it has.
        """
        host = self.layout.is_host
        if (
            cable.a.master is None
            and cable.b.master is not None
            and not host(cable.b.place)
        ) or host(cable.a.place):
            return cable.b, cable.a
        return cable.a, cable.b


def _host(new: _New) -> Iterator[Step]:
    host = new.layout.host
    if host is None:
        return
    interfaces = new.interfaces_of_host()
    if new.host is None and not interfaces:
        return
    known = new.layout.interfaces.get(host.name, {})
    routes = ((route, default_route_family(route, known)) for route in host.routes)
    yield JoinHost(
        host.name,
        host,
        host,
        tuple(one.ifname for one in interfaces),
        tuple(address for one in interfaces for address in one.addresses),
        tuple(routes) if new.host else (),
    )


def _switches(bridges: list[Bridge | OVSBridge]) -> Iterator[Step]:
    for bridge in bridges:
        if isinstance(bridge, OVSBridge):
            yield LendOVS(bridge.name, bridge, bridge)
        elif bridge.namespace is None:
            yield LendSwitch(bridge.name, bridge, bridge)
    for bridge in bridges:
        if isinstance(bridge, Bridge) and bridge.namespace is not None:
            yield AddBridge(bridge.namespace, bridge, bridge.name, bridge)
            if bridge.mtu is not None:
                yield SetMTU(bridge.namespace, bridge, bridge.name, bridge.mtu)


def _veths(new: _New) -> Iterator[Step]:
    steps = []
    for cable in new.cables:
        near, far = new.near_and_far(cable)
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


def _configuration(new: _New) -> Iterator[Step]:
    steps: list[Step] = [SetUp(one.name, one, "lo") for one in new.namespaces]
    for cable in new.cables:
        _, far = new.near_and_far(cable)
        steps.append(SetUp(far.place, cable.record, far.ifname))
    steps += (
        Sign(one.place, one.record, one.ifname) for one in new.interfaces_of_host()
    )
    for interface in new.interfaces():
        steps += (
            AddAddress(interface.place, interface.record, interface.ifname, address)
            for address in interface.addresses
        )
    for machine in new.machines:
        steps += _tables(machine, new.layout)
    yield from _by_place(steps)


def _tables(machine: Namespace | Host, layout: Layout) -> Iterator[Step]:
    interfaces = layout.interfaces.get(machine.name, {})
    # routes without a gateway first: a gateway may be reached through them
    for route in sorted(machine.routes, key=lambda route: route.via is not None):
        family = default_route_family(route, interfaces)
        yield AddRoute(machine.name, machine, route, family)


def _plugging(new: _New) -> Iterator[Step]:
    """Make ports of a bridge of all that is plugged into one.

    Last, when both ends are up: what a machine says when it comes up would go
    to every port that is there already, and each further port would cost more.
    """
    ports = [
        (cable, end, end.master)
        for cable in new.cables
        for end in (cable.a, cable.b)
        if end.master is not None
    ]
    is_ovs = new.layout.is_ovs
    yield from _by_place(
        [
            SetMaster(end.place, cable.record, end.ifname, master)
            for cable, end, master in ports
            if not is_ovs(master)
        ]
    )
    for bridge in new.bridges:
        if isinstance(bridge, OVSBridge):
            yield AddOVSBridge(bridge.name, bridge, bridge)
    for cable, end, master in ports:
        if is_ovs(master):
            yield AddOVSPort(master, cable.record, end.ifname)


def _neighbours(new: _New) -> Iterator[Step]:
    """Add the entries of new machines, and again those that a new port takes away."""
    # a bridge takes the lowest MAC address of its ports, and with its old one go even
    # permanent entries: neigh_changeaddr() in net/core/neighbour.c
    devices = new.layout.bridge_devices
    plugged = {
        devices[end.master].endpoint
        for end in new.interfaces()
        if end.master in devices
    }
    for machine in new.layout.namespaces.values():
        for one in machine.neighbours:
            if machine in new.machines or f"{machine.name}:{one.dev}" in plugged:
                yield AddNeighbour(machine.name, machine, one)


def _settling(new: _New) -> Iterator[Step]:
    steps = []
    for cable in new.cables:
        near, _ = new.near_and_far(cable)
        steps.append(Settle(near.place, cable.record, near.ifname))
    yield from _by_place(steps)


def _awaiting(new: _New) -> Iterator[Step]:
    # ::1 is there when the loopback interface is up (init_loopback() in addrconf.c)
    steps: list[Step] = []
    for interface in new.interfaces():
        steps += (
            AwaitAddress(interface.place, interface.record, str(address.ip))
            for address in interface.addresses
            if address.version == 6
            and not _disables_ipv6(
                new.layout.namespaces.get(interface.place), interface.ifname
            )
        )
    yield from _by_place(steps)


def _disables_ipv6(namespace: Namespace | None, ifname: str) -> bool:
    """Tell whether its sysctls leave an interface without any IPv6 address."""
    return namespace is not None and any(
        namespace.sysctls.get(f"net.ipv6.conf.{where}.disable_ipv6", "0") != "0"
        for where in ("all", "default", ifname)
    )


def _offload(new: _New) -> Iterator[Step]:
    is_ovs = new.layout.is_ovs
    for cable in new.cables:
        for end, other in ((cable.a, cable.b), (cable.b, cable.a)):
            if isinstance(cable.record, Veth) and not cable.record.offload:
                yield DisableOffload(end.place, cable.record, end.ifname)
            elif is_ovs(other.master):
                yield DisableChecksums(end.place, cable.record, end.ifname)


def _filters(new: _New) -> Iterator[Step]:
    """Load rules last: they name interfaces, and may drop what builds need."""
    for namespace in new.namespaces:
        # rulesets often begin with "flush ruleset", which would take NAT away
        if namespace.nftables:
            yield LoadNftables(namespace.name, namespace, namespace.nftables)
        if namespace.nat:
            yield LoadNat(namespace.name, namespace, nat_ruleset(namespace.nat))
    host = new.layout.host
    if host is None or not host.share_connection or not new.interfaces_of_host():
        return
    interfaces = new.layout.interfaces_of(host.name)
    families = {one.version for end in interfaces for one in end.addresses}
    ifnames = tuple(one.ifname for one in interfaces)
    if families:
        yield ShareConnection(host.name, host, host, ifnames, tuple(sorted(families)))


def _early_sysctls(namespace: Namespace) -> tuple[tuple[str, str], ...]:
    forwarding = _FORWARDING_SYSCTLS if namespace.forwarding else ()
    early = (
        (key, value) for key, value in namespace.sysctls.items() if not _is_late(key)
    )
    return (*DEFAULT_SYSCTLS, *forwarding, *early)


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
