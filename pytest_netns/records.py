"""The records that a topology is made of: frozen, validated one by one, pure data.

What a record can know about itself is checked here, at construction; what
needs its neighbours is checked by `Topology`. A new kind of record is a new
class here, a branch in `_layout`, and a step in `_plan`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields
from typing import Any, ClassVar

from ._addresses import (
    canonical_addresses,
    canonical_hosts,
    canonical_subnets,
    parse_address,
    parse_lladdr,
    parse_network,
)
from ._frozen import FrozenMap
from ._names import check_ifname, check_name
from .errors import InvalidAddress, InvalidName, TopologyError

#: What may be given as one address or several.
Addresses = str | Sequence[str]

_SCOPES = ("global", "host", "link", "site")


class Record:
    """What all records share: a short `repr`, and fields set once."""

    __slots__ = ()
    #: The fields that are shown without their name.
    _positional: ClassVar[tuple[str, ...]] = ()

    def _set(self, name: str, value: object) -> None:
        # frozen dataclasses normalise their fields this way in __post_init__
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = [repr(getattr(self, name)) for name in self._positional]
        for one in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, one.name)
            if one.name not in self._positional and value != _default(one):
                shown.append(f"{one.name}={_plain(value)!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _default(one: Any) -> object:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default


def _plain(value: object) -> object:
    """Show a sequence of one as that one: it is how people write it."""
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return value


@dataclass(frozen=True, slots=True, repr=False)
class Route(Record):
    """A route of a namespace, as ``ip route add`` would make it.

    Args:
        destination: A network, an address, or ``"default"``.
        via: The gateway's address.
        dev: The interface; needed when `via` is absent or link-local.
        source: The preferred source address.
        metric: The priority; lower wins.
        table: The number of the routing table; None is the main table.
        scope: ``"global"``, ``"site"``, ``"link"`` or ``"host"``; None lets the
            kind of route decide, as ip-route(8) does.

    Raises:
        InvalidAddress: A field is not an address, or families differ.
        TopologyError: Neither `via` nor `dev` is given.
    """

    _positional = ("destination",)

    destination: str
    _: KW_ONLY
    via: str | None = None
    dev: str | None = None
    source: str | None = None
    metric: int | None = None
    table: int | None = None
    scope: str | None = None

    def __post_init__(self) -> None:
        """Normalise, and check the fields against one another."""
        what = f"Route({self.destination!r})"
        if self.destination != "default":
            self._set("destination", str(parse_network(self.destination, what)))
        for name in ("via", "source"):
            if (value := getattr(self, name)) is not None:
                self._set(name, str(parse_address(value, f"{what} {name}")))
        if self.dev is not None:
            check_ifname(self.dev, f"{what} dev")
        if self.via is None and self.dev is None:
            raise TopologyError(f"{what} needs a gateway (via=) or an interface (dev=)")
        self._check_numbers(what)
        if len(self._families()) > 1:
            raise InvalidAddress(f"{self!r} mixes IPv4 and IPv6")
        if (
            self.via
            and self.dev is None
            and ipaddress.ip_address(self.via).is_link_local
        ):
            raise InvalidAddress(f"{self!r}: a link-local gateway needs dev=")

    def _check_numbers(self, what: str) -> None:
        for name in ("metric", "table"):
            value = getattr(self, name)
            if value is not None and not _is_number(value, 0, 2**32 - 1):
                raise TopologyError(f"{what} {name}: {value!r} is not a 32-bit number")
        if self.scope is not None and self.scope not in _SCOPES:
            raise TopologyError(
                f"{what} scope: {self.scope!r} is not one of {', '.join(_SCOPES)}"
            )

    def _families(self) -> set[int]:
        known = [value for value in (self.via, self.source) if value is not None]
        if self.destination != "default":
            known.append(self.destination.partition("/")[0])
        return {ipaddress.ip_address(value).version for value in known}

    @property
    def family(self) -> int | None:
        """4, 6, or None for a default route that names a device alone."""
        return next(iter(self._families()), None)


@dataclass(frozen=True, slots=True, repr=False)
class Neighbour(Record):
    """A permanent ARP or neighbour-discovery entry, as ``ip neighbour add``.

    Raises:
        InvalidAddress: The address or the link-layer address is none.
    """

    _positional = ("address", "lladdr")

    address: str
    lladdr: str
    _: KW_ONLY
    dev: str

    def __post_init__(self) -> None:
        """Normalise and check."""
        what = f"Neighbour({self.address!r})"
        self._set("address", str(parse_address(self.address, what)))
        self._set("lladdr", parse_lladdr(self.lladdr, f"{what} lladdr"))
        check_ifname(self.dev, f"{what} dev")


@dataclass(frozen=True, slots=True, repr=False)
class Namespace(Record):
    """A machine of the test: a network namespace with a name.

    Args:
        name: Its name, and its host name unless `hostname` is given.
        routes: Its routes, beside those that its addresses bring.
        neighbours: Its permanent ARP and neighbour-discovery entries.
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

    name: str
    _: KW_ONLY
    routes: Sequence[Route] = ()
    neighbours: Sequence[Neighbour] = ()
    forwarding: bool = False
    sysctls: Mapping[str, Any] = field(default_factory=lambda: FrozenMap({}))
    hosts: Mapping[str, Any] = field(default_factory=lambda: FrozenMap({}))
    nameservers: Addresses = ()
    hostname: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        check_name(self.name, "namespace")
        what = f"Namespace({self.name!r})"
        _check_flags(self, "forwarding")
        self._set("routes", _records(self.routes, Route, f"{what} routes"))
        self._set(
            "neighbours", _records(self.neighbours, Neighbour, f"{what} neighbours")
        )
        self._set("sysctls", _sysctls(self.sysctls, what))
        self._set("hosts", _hosts(self.hosts, what))
        self._set(
            "nameservers", canonical_hosts(self.nameservers, f"{what} nameservers")
        )
        if self.hostname is not None:
            check_name(self.hostname, f"{what} hostname")


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
        check_ifname(self.name, "bridge")
        if self.name == "lo":
            raise InvalidName(
                "bridge name 'lo' is reserved: it is the loopback interface"
            )
        what = f"Bridge({self.name!r})"
        if self.namespace is not None:
            check_name(self.namespace, f"{what} namespace")
        _check_flags(self, "stp", "vlan_filtering")
        self._set("address", canonical_addresses(self.address, f"{what} address"))
        self._set("subnet", canonical_subnets(self.subnet, f"{what} subnet") or None)
        if self.address and self.namespace is None:
            raise TopologyError(
                f"{self!r} has an address but no namespace: a bridge without a "
                f"namespace is out of everyone's sight; give it namespace="
            )
        _check_mtu(self.mtu, what)
        if self.lladdr is not None:
            self._set("lladdr", parse_lladdr(self.lladdr, f"{what} lladdr"))


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
        _check_flags(self, "offload")
        self._set("address", canonical_addresses(self.address, f"{what} address"))
        self._set(
            "peer_address",
            canonical_addresses(self.peer_address, f"{what} peer_address"),
        )
        self._set("subnet", canonical_subnets(self.subnet, f"{what} subnet") or None)
        _check_mtu(self.mtu, what)
        for name in ("lladdr", "peer_lladdr"):
            if (value := getattr(self, name)) is not None:
                self._set(name, parse_lladdr(value, f"{what} {name}"))


def split_endpoint(endpoint: object) -> tuple[str, str | None]:
    """Return (node, interface name or None) of an endpoint such as ``"left:eth0"``."""
    if not isinstance(endpoint, str):
        raise InvalidName(f"endpoint {endpoint!r} is not a str such as 'left:eth0'")
    node, colon, ifname = endpoint.partition(":")
    check_name(node, f"endpoint {endpoint!r}: node")
    if not colon:
        return node, None
    return node, check_ifname(ifname, f"endpoint {endpoint!r}: interface")


def _records(value: object, kind: type, what: str) -> tuple[Any, ...]:
    records = tuple(value) if isinstance(value, Iterable) else (value,)
    for record in records:
        if not isinstance(record, kind):
            raise TopologyError(f"{what}: {record!r} is not a {kind.__name__}")
    return records


def _sysctls(value: object, what: str) -> FrozenMap[str]:
    if not isinstance(value, Mapping):
        raise TopologyError(f"{what} sysctls: {value!r} is not a mapping")
    for key in value:
        if not isinstance(key, str) or not key.replace("/", ".").startswith("net."):
            raise TopologyError(
                f"{what} sysctls: {key!r} is not below 'net.', and would change "
                "the machine"
            )
        if (
            ".." in key.split("/")
            or "//" in key
            or key[-1] in "/."
            or not key.isprintable()
        ):
            raise TopologyError(f"{what} sysctls: {key!r} is not the name of a sysctl")
    return FrozenMap({key: _sysctl_text(setting) for key, setting in value.items()})


def _sysctl_text(setting: object) -> str:
    return str(int(setting)) if isinstance(setting, bool) else str(setting)


def _hosts(value: object, what: str) -> FrozenMap[tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TopologyError(f"{what} hosts: {value!r} is not a mapping")
    hosts: dict[str, tuple[str, ...]] = {}
    for name, addresses in value.items():
        check_name(name, f"{what} hosts: host")
        hosts[name] = canonical_hosts(addresses, f"{what} hosts[{name!r}]")
    return FrozenMap(hosts)


def _check_flags(record: Record, *names: str) -> None:
    for name in names:
        if not isinstance(value := getattr(record, name), bool):
            raise TopologyError(
                f"{record!r}: {name}={value!r} is neither True nor False"
            )


def _check_mtu(mtu: object, what: str) -> None:
    # ETH_MIN_MTU and ETH_MAX_MTU (include/uapi/linux/if_ether.h)
    if mtu is not None and not _is_number(mtu, 68, 65535):
        raise TopologyError(f"{what} mtu: {mtu!r} is not a number from 68 to 65535")


def _is_number(value: object, low: int, high: int) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    )
