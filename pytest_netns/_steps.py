"""The steps of a plan, as data: what the kernel, or a daemon, is to be told.

A step names interfaces, never indexes or descriptors, so a plan can be read and
compared. Adjacent steps of one kind and place are carried out together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._addresses import InterfaceAddress
    from ._record import Record
    from .entries import Neighbour, Route
    from .records import Bridge, Host, OVSBridge


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
class JoinHost(Step):
    """Make the test process's own namespace a place of the network.

    Refuses, before anything is there, what would be in the machine's way: names
    and addresses that it has, networks that it has a route to. A route comes with
    its family.
    """

    host: Host
    ifnames: tuple[str, ...]
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[tuple[Route, int], ...]


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
class SetMTU(Step):
    """``ip link set NAME mtu MTU``: a bridge keeps to what it is given once it is."""

    ifname: str
    mtu: int


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
class Sign(Step):
    """``ip link set NAME alias ...``, in the test process's own namespace.

    Whoever finds the interface there then knows whose it is.
    """

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
    """``ip neighbour replace ... nud permanent``."""

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


@dataclass(frozen=True, slots=True)
class LendOVS(Step):
    """A place for a bridge of Open vSwitch: the namespace of its daemons."""

    bridge: OVSBridge


@dataclass(frozen=True, slots=True)
class AddOVSBridge(Step):
    """``ovs-vsctl add-br PLACE``."""

    bridge: OVSBridge


@dataclass(frozen=True, slots=True)
class AddOVSPort(Step):
    """``ovs-vsctl add-port PLACE NAME``."""

    ifname: str


@dataclass(frozen=True, slots=True)
class DisableChecksums(Step):
    """``ethtool -K NAME tx off``, where Open vSwitch switches in user space.

    What its datapath is given by a packet socket has no checksum yet, and
    nobody on the way would compute it.
    """

    ifname: str


@dataclass(frozen=True, slots=True)
class LoadNat(Step):
    """``nft -f``: the ruleset of a namespace's NAT rules."""

    ruleset: str


@dataclass(frozen=True, slots=True)
class LoadNftables(Step):
    """``nft -f``: a ruleset of the user's own."""

    ruleset: str


@dataclass(frozen=True, slots=True)
class ShareConnection(Step):
    """Let packets from these interfaces of the machine out, with its address."""

    host: Host
    ifnames: tuple[str, ...]
    families: tuple[int, ...]


#: The steps that are one rtnetlink request each.
LinkStep = (
    AddBridge
    | SetMTU
    | AddVeth
    | SetUp
    | Sign
    | SetMaster
    | AddAddress
    | AddRoute
    | AddNeighbour
)

#: The steps that go into one transaction of the switch's database.
OVSStep = AddOVSBridge | AddOVSPort
