"""Network address translation: the rules of a namespace, as frozen records.

What they become in nftables is in `_ruleset`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import KW_ONLY, dataclass

from ._addresses import canonical_networks, parse_address, text_of
from ._names import check_ifname
from ._record import Addresses, Record, is_number
from ._shown import shown
from .errors import InvalidAddress, InvalidName, TopologyError

_PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, slots=True, repr=False)
class Masquerade(Record):
    """Packets leave with the address of the interface they leave through.

    Like ``nft add rule ... ip saddr SOURCE oifname OUT masquerade``, and
    ``iptables -t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE``.

    Args:
        source: The networks whose packets are changed; none means all, of
            both families.
        out_interface: The interface they leave through; None is any.

    Raises:
        InvalidAddress: A source is no network.
        InvalidName: No interface can have that name.
    """

    _: KW_ONLY
    source: Addresses | None = None
    out_interface: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        _set_networks(self, "source", "Masquerade()")
        _check_interface(self.out_interface, "Masquerade() out_interface")


@dataclass(frozen=True, slots=True, repr=False)
class SNAT(Record):
    """Packets leave with another source address.

    Like ``nft add rule ... ip saddr SOURCE oifname OUT snat to ADDRESS``.

    Args:
        to: The new source, ``"address"`` or ``"address:port"``, with IPv6 in
            brackets if a port follows; a port applies to TCP and UDP alone.
        source: The networks whose packets are changed; none means all.
        out_interface: The interface they leave through; None is any.

    Raises:
        InvalidAddress: `to` or a source is no address, or families differ.
        InvalidName: No interface can have that name.
    """

    _positional = ("to",)

    to: str
    _: KW_ONLY
    source: Addresses | None = None
    out_interface: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        what = f"SNAT({shown(self.to)})"
        self._set("to", _canonical_target(self.to, what))
        _set_networks(self, "source", what)
        _check_interface(self.out_interface, f"{what} out_interface")
        _check_families(self, self.to, self.source)


@dataclass(frozen=True, slots=True, repr=False)
class DNAT(Record):
    """Port forwarding: packets for a port of this namespace go to somebody else.

    Like ``nft add rule ... tcp dport PORT dnat to ADDRESS:PORT`` in prerouting.
    Connections that the namespace itself opens are left alone.

    Args:
        to: Where they go, ``"address"`` or ``"address:port"``, with IPv6 in
            brackets if a port follows; without one it stays the same.
        port: The port they come for.
        protocol: ``"tcp"`` or ``"udp"``.
        destination: The networks or addresses they come for; none means the
            namespace's own addresses, ``"0.0.0.0/0"`` whatever passes.
        in_interface: The interface they come through; None is any.

    Raises:
        InvalidAddress: `to` or a destination is no address, or families differ.
        InvalidName: No interface can have that name.
        TopologyError: The port or the protocol is none.
    """

    _positional = ("to",)

    to: str
    _: KW_ONLY
    port: int
    protocol: str = "tcp"
    destination: Addresses | None = None
    in_interface: str | None = None

    def __post_init__(self) -> None:
        """Normalise and check."""
        what = f"DNAT({shown(self.to)})"
        self._set("to", _canonical_target(self.to, what))
        if not is_number(self.port, 1, 65535):
            raise TopologyError(
                f"{what} port: {shown(self.port)} is not a number from 1 to 65535"
            )
        if self.protocol not in _PROTOCOLS:
            raise TopologyError(
                f"{what} protocol: {shown(self.protocol)} is not one of "
                f"{', '.join(_PROTOCOLS)}"
            )
        _set_networks(self, "destination", what)
        _check_interface(self.in_interface, f"{what} in_interface")
        _check_families(self, self.to, self.destination)


#: What `Namespace(nat=...)` may hold.
NatRule = Masquerade | SNAT | DNAT


def split_target(target: str) -> tuple[str, int | None]:
    """Return (address, port or None) of ``"address"`` or ``"address:port"``."""
    address, port = _split(target)
    return address, None if port is None else int(port)


def _split(target: str) -> tuple[str, str | None]:
    if target.startswith("[") and "]" in target:
        address, _, rest = target[1:].partition("]")
        return address, rest[1:] if rest[:1] == ":" else (f"]{rest}" if rest else None)
    if target.count(":") == 1:
        address, _, port = target.partition(":")
        return address, port
    return target, None


def _canonical_target(target: object, what: str) -> str:
    address, port = _split(text_of(target, f"{what} to"))
    parsed = parse_address(address, f"{what} to")
    if parsed.is_unspecified or parsed.is_multicast:
        raise InvalidAddress(f"{what} to: {address!r} is not the address of one host")
    if port is None:
        return str(parsed)
    if not (
        port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536
    ):
        raise InvalidAddress(
            f"{what} to: {port!r} is not a port; write 'address:port', "
            f"with IPv6 '[address]:port'"
        )
    host = f"[{parsed}]" if parsed.version == 6 else str(parsed)
    return f"{host}:{int(port)}"


def _set_networks(rule: Masquerade | SNAT | DNAT, name: str, what: str) -> None:
    networks = canonical_networks(getattr(rule, name), f"{what} {name}")
    object.__setattr__(rule, name, networks or None)


def _check_interface(ifname: str | None, what: str) -> None:
    if ifname is None:
        return
    if '"' in check_ifname(ifname, what):
        raise InvalidName(f"{what} name {ifname!r}: nftables cannot write a quote")
    # it stands as \*, which must fit, and takes away every backslash before
    if ifname.endswith("*") and ("\\" in ifname or len(ifname.encode()) == 15):
        raise InvalidName(
            f"{what} name {ifname!r}: nftables cannot write a final '*' as the "
            "fifteenth character, or behind a backslash"
        )


def _check_families(rule: Record, to: str, networks: Addresses | None) -> None:
    family = ipaddress.ip_address(split_target(to)[0]).version
    if any(ipaddress.ip_network(one).version != family for one in networks or ()):
        raise InvalidAddress(f"{rule!r} mixes IPv4 and IPv6")
