"""Broadcast domains: which addresses are on them, and which comes next."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from .errors import InvalidAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._addresses import InterfaceAddress, Network
    from ._record import Record


class Segments:
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
