"""Parsing of addresses, networks and link-layer addresses, with errors that say why."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from ._shown import shown
from .errors import InvalidAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface

#: Prefixes as short as these are as good as a default route: VPNs write halves and
#: eighths of everything, to stay in front of one.
_EVERYTHING = {4: 1, 6: 4}

_LLADDR = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def parse_address(text: object, what: str) -> Address:
    """Return the address that `text` is, or raise `InvalidAddress`."""
    try:
        address = ipaddress.ip_address(text_of(text, what))
    except ValueError as error:
        raise InvalidAddress(
            f"{what}: {shown(text)} is not an IPv4 or IPv6 address"
        ) from error
    if "%" in str(address):
        raise InvalidAddress(
            f"{what}: {shown(text)} has a scope; name the interface instead"
        )
    return address


def parse_network(text: object, what: str) -> Network:
    """Return the network that `text` is; host bits must be zero."""
    try:
        network = ipaddress.ip_network(text_of(text, what))
    except ValueError as error:
        raise InvalidAddress(
            f"{what}: {shown(text)} is not a network: {_why(text)}"
        ) from error
    if "%" in str(network):
        raise InvalidAddress(
            f"{what}: {shown(text)} has a scope; name the interface instead"
        )
    return network


def network_of(destination: str, family: int | None) -> Network:
    """Return the network of a route's destination; of a default route all there is."""
    if destination == "default":
        return ipaddress.ip_network("::/0" if family == 6 else "0.0.0.0/0")
    return ipaddress.ip_network(destination)


def is_everything(network: Network) -> bool:
    """Tell whether a route to `network` is a default route, or takes its place."""
    return network.prefixlen <= _EVERYTHING[network.version]


def parse_interface_address(text: object, what: str) -> InterfaceAddress:
    """Return the address with prefix that `text` is, if a host can have it."""
    written = text_of(text, what)
    try:
        parsed = ipaddress.ip_interface(written)
    except ValueError as error:
        raise InvalidAddress(
            f"{what}: {shown(text)} is not an address with a prefix, such as "
            "'10.0.0.1/24'"
        ) from error
    if "/" not in written:
        raise InvalidAddress(
            f"{what}: {shown(text)} has no prefix; write {written + '/24'!r}"
            if parsed.version == 4
            else f"{what}: {shown(text)} has no prefix; write {written + '/64'!r}"
        )
    _check_host(parsed, text, what)
    return parsed


def _check_host(parsed: InterfaceAddress, text: object, what: str) -> None:
    address, network = parsed.ip, parsed.network
    if "%" in str(parsed):  # parsed.ip has lost it
        raise InvalidAddress(
            f"{what}: {shown(text)} has a scope; an interface needs none"
        )
    if address.is_multicast or address.is_unspecified:
        raise InvalidAddress(f"{what}: {shown(text)} is not the address of one host")
    if network.num_addresses > 2 and address == network.network_address:
        raise InvalidAddress(
            f"{what}: host bits are missing in {shown(text)}, which is the network "
            "itself; its first host is "
            f"'{network.network_address + 1}/{network.prefixlen}'"
        )
    if (
        parsed.version == 4
        and network.num_addresses > 2
        and address == network.broadcast_address
    ):
        raise InvalidAddress(
            f"{what}: {shown(text)} is the broadcast address of {network}"
        )


def parse_lladdr(text: object, what: str) -> str:
    """Return `text` in lower case if it is the MAC address of one station."""
    lladdr = text_of(text, what).lower().replace("-", ":")
    if not _LLADDR.fullmatch(lladdr):
        raise InvalidAddress(
            f"{what}: {shown(text)} is not a MAC address such as '02:00:00:00:00:01'"
        )
    if int(lladdr[:2], 16) & 1:
        raise InvalidAddress(f"{what}: {shown(text)} is a multicast MAC address")
    if lladdr == "00:00:00:00:00:00":
        raise InvalidAddress(f"{what}: {shown(text)} is not the address of one station")
    return lladdr


def canonical_hosts(value: object, what: str) -> tuple[str, ...]:
    """Return one address without prefix, or several, as a tuple of canonical text."""
    return tuple(str(parse_address(text, what)) for text in _several(value, what))


def canonical_addresses(value: object, what: str) -> tuple[str, ...]:
    """Return one address or a sequence of them as a tuple of canonical text."""
    return tuple(
        str(parse_interface_address(text, what)) for text in _several(value, what)
    )


def canonical_networks(value: object, what: str) -> tuple[str, ...]:
    """Return one network or address, or several, as a tuple of canonical text."""
    return tuple(str(parse_network(text, what)) for text in _several(value, what))


def canonical_subnets(value: object, what: str) -> tuple[str, ...]:
    """Return one subnet, or one of each family, as a tuple of canonical text."""
    networks = [parse_network(text, what) for text in _several(value, what)]
    if len({network.version for network in networks}) != len(networks):
        raise InvalidAddress(
            f"{what}: at most one subnet of each family, not {shown(value)}"
        )
    return tuple(map(str, networks))


def _several(value: object, what: str) -> tuple[object, ...]:
    if value is None:
        return ()
    # a network object is iterable, too: over all its addresses
    if isinstance(value, str | Network) or not isinstance(value, Iterable):
        return (value,)
    if isinstance(value, (bytes, dict)):
        raise InvalidAddress(
            f"{what}: {shown(value)} is not a str or a sequence of them"
        )
    return tuple(value)


def text_of(value: object, what: str) -> str:
    """Return the text of what is meant as an address, without blanks around it."""
    # ipaddress objects are welcome; numbers would be taken for addresses by accident
    if isinstance(value, (int, float, bytes)) or value is None:
        raise InvalidAddress(f"{what}: {shown(value)} is not an address")
    try:
        return str(value).strip()
    except Exception as error:
        raise InvalidAddress(f"{what}: {shown(value)} is not an address") from error


def _why(text: object) -> str:
    try:
        network = ipaddress.ip_network(text_of(text, ""), strict=False)
    except ValueError:
        return "write it as '10.0.0.0/24' or 'fd00::/64'"
    return f"it has host bits set; the network is {str(network)!r}"
