"""The records that a topology is made of: frozen, validated one by one, pure data.

What a record can know about itself is checked here, at construction; what
needs its neighbours is checked by `Topology`. A new kind of record is a new
class here, a branch in `_layout`, and a step in `_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from ._addresses import (
    canonical_addresses,
    canonical_hosts,
    canonical_subnets,
    parse_lladdr,
)
from ._frozen import FrozenMap
from ._names import check_ifname, check_name
from ._record import (
    Addresses,
    Record,
    check_flags,
    check_mtu,
    check_text,
    is_number,
    records_of,
)
from ._shown import shown
from .entries import Neighbour, Route
from .errors import InvalidName, TopologyError
from .nat import DNAT, SNAT, Masquerade, NatRule


@dataclass(frozen=True, slots=True, repr=False)
class Namespace(Record):
    """A machine of the test: a network namespace with a name.

    Args:
        name: Its name, and its host name unless `hostname` is given.
        routes: Its routes, beside those that its addresses bring.
        neighbours: Its permanent ARP and neighbour-discovery entries.
        nat: Its rules of network address translation, the first that fits wins.
        nftables: Its own rules, as ``nft -f`` reads them.
        forwarding: Whether it routes IPv4 and IPv6 between its interfaces.
        sysctls: ``{"net.ipv4.tcp_syncookies": 0}``: keys below ``net.`` only.
        hosts: More lines of its ``/etc/hosts``: ``{"name": "address"}``.
        nameservers: The addresses in its ``/etc/resolv.conf``.
        hostname: Its host name if it is not `name`.

    Raises:
        InvalidName: A name that the kernel would not take.
        InvalidAddress: A host's or name server's address is none.
        TopologyError: A sysctl that is not one of the network.
    """

    _positional = ("name",)
    #: What messages call it.
    kind: ClassVar[str] = "namespace"

    name: str
    _: KW_ONLY
    routes: Sequence[Route] = ()
    neighbours: Sequence[Neighbour] = ()
    nat: Sequence[NatRule] = ()
    nftables: str = ""
    forwarding: bool = False
    sysctls: Mapping[str, Any] = field(default_factory=lambda: FrozenMap({}))
    hosts: Mapping[str, Any] = field(default_factory=lambda: FrozenMap({}))
    nameservers: Addresses = ()
    hostname: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        check_name(self.name, "namespace")
        what = f"Namespace({self.name!r})"
        check_flags(self, "forwarding")
        self._set("routes", records_of(self.routes, Route, f"{what} routes"))
        self._set(
            "neighbours", records_of(self.neighbours, Neighbour, f"{what} neighbours")
        )
        self._set("nat", records_of(self.nat, (Masquerade, SNAT, DNAT), f"{what} nat"))
        if not isinstance(self.nftables, str):
            raise TopologyError(f"{what} nftables: {shown(self.nftables)} is not a str")
        check_text(self.nftables, f"{what} nftables")
        self._set("sysctls", _sysctls(self.sysctls, what))
        self._set("hosts", _hosts(self.hosts, what))
        self._set(
            "nameservers", canonical_hosts(self.nameservers, f"{what} nameservers")
        )
        if self.hostname is not None:
            check_name(self.hostname, f"{what} hostname")


@dataclass(frozen=True, slots=True, repr=False)
class Host(Record):
    """The namespace that the test process runs in, as a machine of the network.

    Only what the topology adds is added there: ends of cables, their addresses,
    and routes. All of it is taken away again. A topology has one at most.

    Args:
        name: Its name in the topology.
        routes: Its routes to networks behind others; none that the machine has.
        share_connection: Whether the network gets out through the machine's own
            connection. It changes the machine while the network is there: what
            comes from the network is forwarded, with the machine's address.

    Raises:
        InvalidName: A name that the kernel would not take.
    """

    _positional = ("name",)
    #: What messages call it.
    kind: ClassVar[str] = "host"

    name: str = "host"
    _: KW_ONLY
    routes: Sequence[Route] = ()
    share_connection: bool = False

    def __post_init__(self) -> None:
        """Normalise and check."""
        check_name(self.name, "host")
        check_flags(self, "share_connection")
        self._set(
            "routes", records_of(self.routes, Route, f"Host({self.name!r}) routes")
        )


@dataclass(frozen=True, slots=True, repr=False)
class Bridge(Record):
    """A Linux bridge.

    Args:
        name: Its name, that of its device.
        namespace: The namespace that has it as a device; None hides it from
            everyone, and then it has no address.
        address: Its addresses, with prefix; only with `namespace`.
        subnet: Hands out the next host address to every end that has none.
        stp: Whether it speaks the spanning tree protocol (ports then take 30 s).
            In a loop of bridges one has to: frames would go round for ever, and
            take all processors, for each broadcast.
        vlan_filtering: Whether it keeps VLANs apart (802.1Q).
        mtu: Its MTU in bytes, and that of cables into it that name none.
        lladdr: Its MAC address; None leaves it to the kernel.

    Raises:
        InvalidName: A name that the kernel would not take.
        InvalidAddress: An address or subnet is none.
        TopologyError: An address without a namespace, or an MTU out of range.
    """

    _positional = ("name",)

    name: str
    _: KW_ONLY
    namespace: str | None = None
    address: Addresses = ()
    subnet: Addresses | None = None
    stp: bool = False
    vlan_filtering: bool = False
    mtu: int | None = None
    lladdr: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        what = _check_switch(self)
        check_flags(self, "stp", "vlan_filtering")
        check_mtu(self.mtu, what)
        if self.lladdr is not None:
            self._set("lladdr", parse_lladdr(self.lladdr, f"{what} lladdr"))


@dataclass(frozen=True, slots=True, repr=False)
class OVSBridge(Record):
    """A bridge that Open vSwitch switches.

    Its daemons are the run's own. They switch in user space where the kernel
    has no datapath for them; checksums are then computed before packets leave.

    Args:
        name: Its name, that of its device.
        namespace: The namespace that has it as a device; None hides it from
            everyone, and then it has no address.
        address: Its addresses, with prefix; only with `namespace`.
        subnet: Hands out the next host address to every end that has none.

    Raises:
        InvalidName: A name that the kernel would not take.
        InvalidAddress: An address or subnet is none.
        TopologyError: An address without a namespace.
    """

    _positional = ("name",)

    name: str
    _: KW_ONLY
    namespace: str | None = None
    address: Addresses = ()
    subnet: Addresses | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        _check_switch(self)


@dataclass(frozen=True, slots=True, repr=False)
class Veth(Record):
    """A virtual Ethernet cable; `a` is this end, `b` the peer.

    Args:
        a: ``"namespace:ifname"``, ``"namespace"`` (the next free ``ethN``),
            ``"bridge"`` (a port with a derived name) or ``"bridge:portname"``.
        b: The other end, likewise.
        address: The addresses of `a`, with prefix.
        peer_address: The addresses of `b`, with prefix.
        subnet: Hands out the next host address to every end that has none.
        lladdr: The MAC address of `a`; None leaves it to the kernel.
        peer_lladdr: The MAC address of `b`.
        mtu: The MTU of both ends, in bytes.
        offload: False computes checksums and segments in software at both ends,
            so that what is on the wire is what a real wire would carry.

    Raises:
        InvalidName: An endpoint with a name that the kernel would not take.
        InvalidAddress: An address is none.
        TopologyError: An MTU out of range.
    """

    _positional = ("a", "b")

    a: str
    b: str
    _: KW_ONLY
    address: Addresses = ()
    peer_address: Addresses = ()
    subnet: Addresses | None = None
    lladdr: str | None = None
    peer_lladdr: str | None = None
    mtu: int | None = None
    offload: bool = True

    def __post_init__(self) -> None:
        """Normalise and check."""
        for endpoint in (self.a, self.b):
            split_endpoint(endpoint)
        what = f"Veth({self.a!r}, {self.b!r})"
        check_flags(self, "offload")
        self._set("address", canonical_addresses(self.address, f"{what} address"))
        self._set(
            "peer_address",
            canonical_addresses(self.peer_address, f"{what} peer_address"),
        )
        self._set("subnet", canonical_subnets(self.subnet, f"{what} subnet") or None)
        check_mtu(self.mtu, what)
        for name in ("lladdr", "peer_lladdr"):
            if (value := getattr(self, name)) is not None:
                self._set(name, parse_lladdr(value, f"{what} {name}"))


def _check_switch(bridge: Bridge | OVSBridge) -> str:
    """Normalise what both kinds of switches have; return what messages call it."""
    check_ifname(bridge.name, "bridge")
    if bridge.name == "lo":
        raise InvalidName("bridge name 'lo' is reserved: it is the loopback interface")
    what = f"{type(bridge).__name__}({bridge.name!r})"
    if bridge.namespace is not None:
        check_name(bridge.namespace, f"{what} namespace")
    addresses = canonical_addresses(bridge.address, f"{what} address")
    object.__setattr__(bridge, "address", addresses)
    subnets = canonical_subnets(bridge.subnet, f"{what} subnet")
    object.__setattr__(bridge, "subnet", subnets or None)
    if addresses and bridge.namespace is None:
        raise TopologyError(
            f"{bridge!r} has an address but no namespace: a bridge without a "
            f"namespace is out of everyone's sight; give it namespace="
        )
    return what


def split_endpoint(endpoint: object) -> tuple[str, str | None]:
    """Return (node, interface name or None) of an endpoint such as ``"left:eth0"``."""
    if not isinstance(endpoint, str):
        raise InvalidName(
            f"endpoint {shown(endpoint)} is not a str such as 'left:eth0'"
        )
    node, colon, ifname = endpoint.partition(":")
    check_name(node, f"endpoint {endpoint!r}: node")
    if not colon:
        return node, None
    return node, check_ifname(ifname, f"endpoint {endpoint!r}: interface")


def _sysctls(value: object, what: str) -> FrozenMap[str]:
    if not isinstance(value, Mapping):
        raise TopologyError(f"{what} sysctls: {shown(value)} is not a mapping")
    for key in value:
        if not isinstance(key, str) or not key.replace("/", ".").startswith("net."):
            raise TopologyError(
                f"{what} sysctls: {shown(key)} is not below 'net.', and would change "
                "the machine"
            )
        if not isinstance(value[key], str | int | float):
            raise TopologyError(
                f"{what} sysctls[{key!r}]: {shown(value[key])} is neither text "
                "nor a number"
            )
        if (
            ".." in key.split("/")
            or "//" in key
            or key[-1] in "/."
            or not key.isprintable()
        ):
            raise TopologyError(f"{what} sysctls: {key!r} is not the name of a sysctl")
    return FrozenMap(
        {
            key: _sysctl_text(setting, f"{what} sysctls[{key!r}]")
            for key, setting in value.items()
        }
    )


def _sysctl_text(setting: str | float, what: str) -> str:
    if isinstance(setting, bool):
        return str(int(setting))
    if isinstance(setting, int) and not is_number(setting, -(2**63), 2**64 - 1):
        raise TopologyError(f"{what}: {shown(setting)} is not a 64-bit number")
    return check_text(str(setting), what)


def _hosts(value: object, what: str) -> FrozenMap[tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TopologyError(f"{what} hosts: {shown(value)} is not a mapping")
    hosts: dict[str, tuple[str, ...]] = {}
    for name, addresses in value.items():
        check_name(name, f"{what} hosts: host")
        hosts[name] = canonical_hosts(addresses, f"{what} hosts[{name!r}]")
    return FrozenMap(hosts)
