"""What is in a namespace now: interfaces, addresses, routes, neighbours, sysctls."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

from . import _sysctl as sysctl
from . import interface as reading
from . import tables
from ._inside import Inside
from .errors import UnknownName
from .interface import Interface

if TYPE_CHECKING:
    import ipaddress

    from ._nsfile import NamespaceFile
    from .tables import NeighbourEntry, RouteEntry


class Views(Inside):
    """What looks at a namespace."""

    @property
    def ip(self) -> ipaddress.IPv4Address:
        """The first global IPv4 address.

        Raises:
            LookupError: There is none.
        """
        return self._first_address(4)  # type: ignore[return-value]  # by its version

    @property
    def ip6(self) -> ipaddress.IPv6Address:
        """The first global IPv6 address.

        Raises:
            LookupError: There is none.
        """
        return self._first_address(6)  # type: ignore[return-value]  # by its version

    def _first_address(
        self, version: int
    ) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        for address in reading.global_addresses(self._file):
            if address.version == version:
                return address.ip
        raise LookupError(f"namespace {self.name!r} has no global IPv{version} address")

    @property
    def interfaces(self) -> list[Interface]:
        """All interfaces that are there now, the loopback interface first."""
        return [
            self._interface(*one) for one in reading.interfaces_of(self._file).items()
        ]

    def interface(self, name: str) -> Interface:
        """Return the interface `name`.

        Raises:
            UnknownName: There is none; says which there are.
        """
        return self._interface(name, reading.index_of(self._file, name))

    def _interface(self, name: str, index: int) -> Interface:
        return Interface(
            self._file,
            name,
            index,
            declared=functools.partial(self._home.declared, self.name, name),
            peer=functools.partial(self._home.peer, self.name, name),
        )

    def routes(self) -> list[RouteEntry]:
        """List the routes that are there now; ``ip route show table all``."""
        return tables.routes_of(self._file)

    def neighbours(self) -> list[NeighbourEntry]:
        """List the ARP and neighbour-discovery entries; ``ip neighbour show``."""
        return tables.neighbours_of(self._file)

    @property
    def sysctl(self) -> MutableMapping[str, str]:
        """The sysctls below ``net.``, to read and to set."""
        return _Sysctls(self._file)


class _Sysctls(MutableMapping[str, str]):
    """The sysctls of a namespace; a key that is not there is a `KernelError`."""

    def __init__(self, file: NamespaceFile) -> None:
        self._file = file

    def __getitem__(self, key: str) -> str:
        self._check(key)
        with self._file.entered():
            return sysctl.read(key, namespace=self._file.name)

    def __setitem__(self, key: str, value: object) -> None:
        self._check(key)
        text = str(int(value)) if isinstance(value, bool) else str(value)
        with self._file.entered():
            sysctl.write(key, text, namespace=self._file.name)

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"sysctl {key!r} cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        with self._file.entered():
            found = [
                sysctl.key_of(os.path.join(directory, file))
                for directory, _, files in os.walk("/proc/sys/net")
                for file in files
            ]
        return iter(found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _check(self, key: str) -> None:
        # ``net/../kernel/hostname`` would be the machine's
        path = os.path.normpath(sysctl.path_of(key))
        if not path.startswith("/proc/sys/net/"):
            raise UnknownName(
                f"sysctl {key!r} is not below 'net.', and belongs to the whole machine"
            )
