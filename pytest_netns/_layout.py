"""Records resolved against one another: who is joined to whom, under which name.

Resolution goes strictly in order of declaration, so that a topology with more
records appended resolves its first part as before: what is live never moves.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._names import derive_port_name
from .errors import DuplicateName, InvalidAddress, TopologyError, UnknownName
from .records import Bridge, Namespace, Record, Veth, split_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._addresses import InterfaceAddress, Network

#: BR_MAX_PORTS (net/bridge/br_private.h) is 1,024, and port number 0 is reserved.
MAX_PORTS = 1023


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of the layout.

    Attributes:
        place: The namespace that has it, or the hidden bridge it is a port of.
        master: The bridge it is a port of, or None.
    """

    place: str
    ifname: str
    record: Bridge | Veth
    addresses: tuple[InterfaceAddress, ...] = ()
    lladdr: str | None = None
    mtu: int | None = None
    master: str | None = None

    @property
    def endpoint(self) -> str:
        """``"namespace:ifname"``, as one writes it in a record."""
        return f"{self.place}:{self.ifname}"


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth with both ends resolved."""

    record: Veth
    a: Interface
    b: Interface


@dataclass(slots=True)
class Layout:
    """Everything of a topology, resolved; treat as read-only once resolved."""

    namespaces: dict[str, Namespace] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    #: The devices of bridges that live in a namespace, by the bridge's name.
    bridge_devices: dict[str, Interface] = field(default_factory=dict)
    cables: list[Cable] = field(default_factory=list)
    #: place -> interface name -> interface
    interfaces: dict[str, dict[str, Interface]] = field(default_factory=dict)
    #: bridge -> its ports
    ports: dict[str, list[Interface]] = field(default_factory=dict)

    def interfaces_of(self, namespace: str) -> list[Interface]:
        """Return the interfaces of `namespace`, in order of declaration."""
        return list(self.interfaces.get(namespace, {}).values())

    def peer_of(self, interface: Interface) -> Interface | None:
        """Return the other end of the cable that `interface` is an end of."""
        for cable in self.cables:
            if cable.a is interface:
                return cable.b
            if cable.b is interface:
                return cable.a
        return None


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
        elif isinstance(record, Veth):
            resolver.plug(record)
    return resolver.layout


class _Resolver:
    """Carries what must be remembered while records are resolved."""

    def __init__(self) -> None:
        self.layout = Layout()
        self._segments = _Segments()
        self._taken: dict[str, dict[str, Record]] = {}

    def declare(self, record: Record) -> None:
        if not isinstance(record, Namespace | Bridge | Veth):
            raise TopologyError(
                f"{record!r} is not a record of a topology: "
                "those are Namespace, Bridge and Veth"
            )
        if isinstance(record, Veth):
            return
        layout = self.layout
        if other := layout.namespaces.get(record.name) or layout.bridges.get(
            record.name
        ):
            raise DuplicateName(
                f"two records are named {record.name!r}: {other!r} and {record!r}"
            )
        if isinstance(record, Namespace):
            layout.namespaces[record.name] = record
        else:
            layout.bridges[record.name] = record
            layout.ports[record.name] = []

    def place_bridge(self, bridge: Bridge) -> None:
        if bridge.namespace is None:
            return
        if bridge.namespace not in self.layout.namespaces:
            raise self._unknown(bridge.namespace, bridge)
        self._claim(bridge.namespace, bridge.name, bridge)
        addresses = tuple(map(ipaddress.ip_interface, bridge.address))
        self._segments.claim(bridge.name, addresses, bridge)
        addresses += self._segments.hand_out(
            bridge.name, bridge.subnet, addresses, bridge
        )
        device = Interface(
            bridge.namespace, bridge.name, bridge, addresses, bridge.lladdr, bridge.mtu
        )
        self.layout.bridge_devices[bridge.name] = device
        self._add(device)

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
        if node in self.layout.namespaces:
            return _End(node, ifname, None)
        if node not in self.layout.bridges:
            raise self._unknown(node, veth)
        bridge = self.layout.bridges[node]
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
            (a, b), key=lambda end: (end.ifname is None, end.bridge is not None)
        ):
            if end.ifname is not None:
                name = end.ifname
            elif end.bridge is None:
                name = self._next_eth(end.place)
            else:
                peer = b if end is a else a
                leads_to = peer.bridge.name if peer.bridge else peer.place
                name = derive_port_name(
                    leads_to,
                    end.bridge.name if peer.bridge else names[id(peer)],
                    self._taken.get(end.place, {}),
                )
            self._claim(end.place, name, veth)
            names[id(end)] = name
        return names[id(a)], names[id(b)]

    def _next_eth(self, place: str) -> str:
        taken = self._taken.get(place, {})
        # counting from the number taken would miss gaps that explicit names leave
        return next(
            name for n in range(len(taken) + 1) if (name := f"eth{n}") not in taken
        )

    def _claim(self, place: str, ifname: str, record: Record) -> None:
        taken = self._taken.setdefault(place, {})
        if ifname == "lo":
            raise DuplicateName(
                f"{record!r}: 'lo' in {place!r} is the loopback interface"
            )
        if place in self.layout.bridges and ifname == place:
            raise DuplicateName(
                f"{record!r}: port {ifname!r} has the name of its bridge "
                f"{self.layout.bridges[place]!r}"
            )
        if ifname in taken:
            raise DuplicateName(
                f"two links claim interface {ifname!r} of {place!r}: "
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
        inherited = [end.bridge.mtu for end in (a, b) if end.bridge and end.bridge.mtu]
        return min(inherited, default=None)

    @staticmethod
    def _subnets(a: _End, b: _End) -> Iterator[Iterable[str] | None]:
        for end in (a, b):
            if end.bridge is not None:
                yield end.bridge.subnet

    def _unknown(self, name: str, record: Record) -> UnknownName:
        known = [*self.layout.namespaces, *self.layout.bridges]
        return UnknownName.among(
            name, known, what="namespace or bridge", where=repr(record)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """One end of a cable before it has a name."""

    place: str
    ifname: str | None
    bridge: Bridge | None

    def segment(self, ifname: str) -> str:
        """Name the broadcast domain that this end is on."""
        return self.bridge.name if self.bridge else f"{self.place}:{ifname}"


class _Segments:
    """Broadcast domains: which addresses are on them, and which is next."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._addresses: dict[str, dict[object, tuple[InterfaceAddress, Record]]] = {}
        self._next: dict[tuple[str, str], int] = {}

    def find(self, name: str) -> str:
        parents = self._parents
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = parents[parent]
            name = parents[name]
        return name

    def join(self, one: str, other: str, record: Record) -> str:
        """Make two domains one, and return its name."""
        kept, gone = self.find(one), self.find(other)
        if len(self._addresses.get(gone, ())) > len(self._addresses.get(kept, ())):
            kept, gone = gone, kept
        if kept != gone:
            self._parents[gone] = kept
            for address, known in self._addresses.pop(gone, {}).values():
                self.claim(kept, (address,), known, joined_by=record)
        return kept

    def claim(
        self,
        name: str,
        addresses: Iterable[InterfaceAddress],
        record: Record,
        joined_by: Record | None = None,
    ) -> None:
        """Put `addresses` on a domain; each may be there only once."""
        taken = self._addresses.setdefault(self.find(name), {})
        for address in addresses:
            if address.ip in taken:
                joined = f" (joined by {joined_by!r})" if joined_by else ""
                raise InvalidAddress(
                    f"address {address.ip} is twice on one segment: "
                    f"{taken[address.ip][1]!r} and {record!r}{joined}"
                )
            taken[address.ip] = (address, record)

    def hand_out(
        self,
        name: str,
        subnets: Iterable[str] | None,
        has: tuple[InterfaceAddress, ...],
        record: Record,
    ) -> tuple[InterfaceAddress, ...]:
        """Claim the next free host of each subnet whose family `has` lacks."""
        families = {address.version for address in has}
        handed: list[InterfaceAddress] = []
        for text in subnets or ():
            subnet = ipaddress.ip_network(text)
            if subnet.version in families:
                continue
            address = self._next_host(self.find(name), subnet, record)
            self.claim(name, (address,), record)
            handed.append(address)
            families.add(subnet.version)
        return tuple(handed)

    def _next_host(
        self, domain: str, subnet: Network, record: Record
    ) -> InterfaceAddress:
        taken = self._addresses.get(domain, {})
        # a subnet of two (RFC 3021, RFC 6164) or one has no address to spare
        first, last = 1, subnet.num_addresses - (2 if subnet.version == 4 else 1)
        if subnet.num_addresses <= 2:
            first, last = 0, subnet.num_addresses - 1
        for number in range(self._next.get((domain, str(subnet)), first), last + 1):
            address = subnet[number]
            if address not in taken:
                self._next[domain, str(subnet)] = number + 1
                return ipaddress.ip_interface(f"{address}/{subnet.prefixlen}")
        raise InvalidAddress(f"subnet {subnet} has no host address left for {record!r}")
