"""Entries of a namespace's tables: routes and neighbours, as frozen records."""

from __future__ import annotations

import ipaddress
from dataclasses import KW_ONLY, dataclass

from ._addresses import parse_address, parse_lladdr, parse_network
from ._names import check_ifname
from ._record import Record, is_number
from ._shown import shown
from .errors import InvalidAddress, TopologyError

_SCOPES = ("global", "host", "link", "site")


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
        what = f"Route({shown(self.destination)})"
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
            if value is not None and not is_number(value, 0, 2**32 - 1):
                raise TopologyError(
                    f"{what} {name}: {shown(value)} is not a 32-bit number"
                )
        if self.scope is not None and self.scope not in _SCOPES:
            raise TopologyError(
                f"{what} scope: {shown(self.scope)} is not one of {', '.join(_SCOPES)}"
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
        what = f"Neighbour({shown(self.address)})"
        self._set("address", str(parse_address(self.address, what)))
        self._set("lladdr", parse_lladdr(self.lladdr, f"{what} lladdr"))
        check_ifname(self.dev, f"{what} dev")
