"""A layout: the records of a topology, resolved against one another; plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .records import OVSBridge

if TYPE_CHECKING:
    from ._addresses import InterfaceAddress
    from .records import Bridge, Host, Namespace, Veth


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of the layout.

    Attributes:
        place: The namespace that has it, or the hidden bridge it is a port of.
        master: The bridge it is a port of, or None.
    """

    place: str
    ifname: str
    record: Bridge | OVSBridge | Veth
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
    """A veth with both ends resolved.

    Attributes:
        record: The cable, or the bridge of Open vSwitch that a machine has as a
            device: the cable then leads from that device to the switch.
    """

    record: Veth | OVSBridge
    a: Interface
    b: Interface


@dataclass(slots=True)
class Layout:
    """Everything of a topology, resolved; treat as read-only once resolved."""

    namespaces: dict[str, Namespace] = field(default_factory=dict)
    host: Host | None = None
    bridges: dict[str, Bridge | OVSBridge] = field(default_factory=dict)
    #: The devices of bridges that live in a namespace, by the bridge's name.
    bridge_devices: dict[str, Interface] = field(default_factory=dict)
    cables: list[Cable] = field(default_factory=list)
    #: place -> interface name -> interface
    interfaces: dict[str, dict[str, Interface]] = field(default_factory=dict)
    #: bridge -> its ports
    ports: dict[str, list[Interface]] = field(default_factory=dict)

    @property
    def machines(self) -> dict[str, Namespace | Host]:
        """The namespaces in order of declaration, and the host."""
        machines: dict[str, Namespace | Host] = {**self.namespaces}
        if self.host is not None:
            machines[self.host.name] = self.host
        return machines

    @property
    def nodes(self) -> list[str]:
        """The names that a cable can lead to."""
        return [*self.machines, *self.bridges]

    def is_host(self, place: str) -> bool:
        """Tell whether `place` is the namespace of the test process."""
        return self.host is not None and self.host.name == place

    def is_ovs(self, name: str | None) -> bool:
        """Tell whether `name` is that of a bridge of Open vSwitch."""
        return isinstance(self.bridges.get(name or ""), OVSBridge)

    def place_of(self, node: str) -> str:
        """Return the place of a machine's interfaces, or of a bridge's ports."""
        if node in self.machines or self.is_ovs(node):
            return node  # the ports of Open vSwitch are hidden, wherever its device is
        return self.bridges[node].namespace or node

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
