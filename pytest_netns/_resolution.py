"""Records resolved against one another: who is joined to whom, under which name.

Resolution goes strictly in order of declaration, so that a topology with more
records appended resolves its first part as before: what is live never moves.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._layout import Cable, Interface, Layout
from ._names import derive_port_name
from ._segments import Segments
from ._shown import shown
from .errors import DuplicateName, InvalidAddress, TopologyError, UnknownName
from .records import Bridge, Host, Namespace, OVSBridge, Veth, split_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._addresses import InterfaceAddress
    from ._record import Record

#: BR_MAX_PORTS (net/bridge/br_private.h) is 1,024, and port number 0 is reserved.
MAX_PORTS = 1023

#: What resolution calls the one database that all Open vSwitch bridges of a
#: network share, in which a port has one name; no node can be called so.
_OVS = "Open vSwitch"


def resolve(records: Iterable[Record]) -> Layout:
    """Resolve `records` in order.

    Raises:
        TopologyError: They do not make a network; its subclass says how.
    """
    resolver = _Resolver()
    records = tuple(records)
    # names first: a cable may be declared before the machines that it joins
    for record in records:
        resolver.declare(record)
    for record in records:
        if isinstance(record, Bridge):
            resolver.place_bridge(record)
        elif isinstance(record, OVSBridge):
            resolver.place_ovs_bridge(record)
        elif isinstance(record, Veth):
            resolver.plug(record)
    return resolver.layout


class _Resolver:
    """Carries what must be remembered while records are resolved."""

    def __init__(self) -> None:
        self.layout = Layout()
        self._segments = Segments()
        self._taken: dict[str, dict[str, Record]] = {}

    def declare(self, record: Record) -> None:
        if not isinstance(record, Namespace | Host | Bridge | OVSBridge | Veth):
            raise TopologyError(
                f"{shown(record)} is not a record of a topology: "
                "those are Namespace, Host, Bridge, OVSBridge and Veth"
            )
        if isinstance(record, Veth):
            return
        layout = self.layout
        machines = layout.machines
        if other := machines.get(record.name) or layout.bridges.get(record.name):
            raise DuplicateName(
                f"two records are named {record.name!r}: {other!r} and {record!r}"
            )
        if isinstance(record, Namespace):
            layout.namespaces[record.name] = record
        elif isinstance(record, Host):
            if layout.host is not None:
                raise DuplicateName(
                    "two records are for the one namespace that the test runs in: "
                    f"{layout.host!r} and {record!r}"
                )
            layout.host = record
        else:
            layout.bridges[record.name] = record
            layout.ports[record.name] = []
            if isinstance(record, OVSBridge):
                self._claim(record.name, record.name, record)

    def place_bridge(self, bridge: Bridge) -> None:
        if bridge.namespace is None:
            return
        addresses = self._device(bridge, bridge.namespace)
        device = Interface(
            bridge.namespace, bridge.name, bridge, addresses, bridge.lladdr, bridge.mtu
        )
        self.layout.bridge_devices[bridge.name] = device
        self._add(device)

    def place_ovs_bridge(self, bridge: OVSBridge) -> None:
        if bridge.namespace is None:
            return
        addresses = self._device(bridge, bridge.namespace)
        port = derive_port_name(bridge.namespace, bridge.name, self._names(bridge.name))
        self._claim(bridge.name, port, bridge)
        device = Interface(bridge.namespace, bridge.name, bridge, addresses)
        end = Interface(bridge.name, port, bridge, master=bridge.name)
        self.layout.bridge_devices[bridge.name] = device
        self._add(device)
        self._add(end)
        self.layout.cables.append(Cable(bridge, device, end))

    def _device(
        self, bridge: Bridge | OVSBridge, machine: str
    ) -> tuple[InterfaceAddress, ...]:
        """Claim the device of `bridge` in `machine`; return its addresses."""
        if machine not in self.layout.machines:
            raise self._unknown(machine, bridge)
        self._claim(machine, bridge.name, bridge)
        addresses = tuple(map(ipaddress.ip_interface, bridge.address))
        self._segments.claim(bridge.name, addresses, bridge)
        return addresses + self._segments.hand_out(
            bridge.name, bridge.subnet, addresses, bridge
        )

    def plug(self, veth: Veth) -> None:
        a = self._end(veth, veth.a)
        b = self._end(veth, veth.b)
        names = self._ifnames(veth, a, b)
        segment = self._segments.join(a.segment(names[0]), b.segment(names[1]), veth)
        if veth.subnet and a.bridge and b.bridge:
            raise InvalidAddress(
                f"{veth!r} has a subnet, but no end that takes an address: "
                "ports of a bridge have none"
            )
        mtu = self._mtu(veth, a, b)
        ends = []
        wanted = (
            (a, names[0], veth.address, veth.lladdr),
            (b, names[1], veth.peer_address, veth.peer_lladdr),
        )
        explicit = [
            tuple(map(ipaddress.ip_interface, texts)) for _, _, texts, _ in wanted
        ]
        for addresses in explicit:
            self._segments.claim(segment, addresses, veth)
        for (end, ifname, _, lladdr), given in zip(wanted, explicit, strict=True):
            addresses = given
            if end.bridge is None:
                for subnet in (veth.subnet, *self._subnets(a, b)):
                    addresses += self._segments.hand_out(
                        segment, subnet, addresses, veth
                    )
            elif addresses:
                raise InvalidAddress(
                    f"{veth!r} gives an address to a port of bridge "
                    f"{end.bridge.name!r}; the machine at the other end has the address"
                )
            master = end.bridge.name if end.bridge else None
            interface = Interface(
                end.place, ifname, veth, addresses, lladdr, mtu, master
            )
            ends.append(interface)
            self._add(interface)
        self.layout.cables.append(Cable(veth, *ends))

    def _end(self, veth: Veth, endpoint: str) -> _End:
        node, ifname = split_endpoint(endpoint)
        if node in self.layout.machines:
            return _End(node, ifname, None, is_host=self.layout.is_host(node))
        if node not in self.layout.bridges:
            raise self._unknown(node, veth)
        bridge = self.layout.bridges[node]
        if isinstance(bridge, OVSBridge):
            return _End(node, ifname, bridge)
        if len(self.layout.ports[node]) >= MAX_PORTS:
            raise TopologyError(
                f"bridge {node!r} is full: the kernel has 1,024 port numbers "
                f"for a bridge (BR_MAX_PORTS) and reserves number 0, so "
                f"{MAX_PORTS:,} ports is the limit; {veth!r} would be one more"
            )
        return _End(bridge.namespace or node, ifname, bridge)

    def _ifnames(self, veth: Veth, a: _End, b: _End) -> tuple[str, str]:
        """Name both ends; ends of machines first, since ports are named after them."""
        names: dict[int, str] = {}
        for end in sorted(
            (a, b), key=lambda end: (end.ifname is None, end.is_named_after_its_peer)
        ):
            if end.ifname is not None:
                name = end.ifname
            elif not end.is_named_after_its_peer:
                name = self._next_eth(end.place)
            else:
                name = self._name_after_peer(end, b if end is a else a, names)
            self._claim(end.place, name, veth)
            names[id(end)] = name
        return names[id(a)], names[id(b)]

    def _name_after_peer(self, end: _End, peer: _End, names: dict[int, str]) -> str:
        leads_to = peer.bridge.name if peer.bridge else peer.place
        own = end.bridge.name if end.bridge else end.place
        return derive_port_name(
            leads_to,
            own if peer.bridge else names.get(id(peer), own),
            self._names(end.place),
        )

    def _next_eth(self, place: str) -> str:
        taken = self._names(place)
        # counting from the number taken would miss gaps that explicit names leave
        return next(
            name for n in range(len(taken) + 1) if (name := f"eth{n}") not in taken
        )

    def _names(self, place: str) -> dict[str, Record]:
        """Return the interface names that are taken where `place` has its own."""
        scope = _OVS if self.layout.is_ovs(place) else place
        return self._taken.setdefault(scope, {})

    def _claim(self, place: str, ifname: str, record: Record) -> None:
        taken = self._names(place)
        if ifname == "lo":
            raise DuplicateName(
                f"{record!r}: 'lo' in {place!r} is the loopback interface"
            )
        bridge = self.layout.bridges.get(place)
        if ifname == place and isinstance(bridge, Bridge):
            raise DuplicateName(
                f"{record!r}: port {ifname!r} has the name of its bridge {bridge!r}"
            )
        if ifname in taken:
            where = f"{place!r}"
            if isinstance(bridge, OVSBridge):
                where += ", where all bridges of Open vSwitch share their names"
            raise DuplicateName(
                f"two links claim interface {ifname!r} of {where}: "
                f"{taken[ifname]!r} and {record!r}"
            )
        taken[ifname] = record

    def _add(self, interface: Interface) -> None:
        self.layout.interfaces.setdefault(interface.place, {})[interface.ifname] = (
            interface
        )
        if interface.master is not None:
            self.layout.ports[interface.master].append(interface)

    @staticmethod
    def _mtu(veth: Veth, a: _End, b: _End) -> int | None:
        if veth.mtu is not None:
            return veth.mtu
        bridges = [end.bridge for end in (a, b) if isinstance(end.bridge, Bridge)]
        inherited = [bridge.mtu for bridge in bridges if bridge.mtu]
        return min(inherited, default=None)

    @staticmethod
    def _subnets(a: _End, b: _End) -> Iterator[Iterable[str] | None]:
        for end in (a, b):
            if end.bridge is not None:
                yield end.bridge.subnet

    def _unknown(self, name: str, record: Record) -> UnknownName:
        return UnknownName.among(
            name, self.layout.nodes, what="namespace or bridge", where=repr(record)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """One end of a cable before it has a name."""

    place: str
    ifname: str | None
    bridge: Bridge | OVSBridge | None
    is_host: bool = False

    @property
    def is_named_after_its_peer(self) -> bool:
        """``eth0`` and its like are taken on any machine that tests run on."""
        return self.bridge is not None or self.is_host

    def segment(self, ifname: str) -> str:
        """Name the broadcast domain that this end is on."""
        return self.bridge.name if self.bridge else f"{self.place}:{ifname}"
