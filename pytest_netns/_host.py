"""The test process's own namespace, as a place of a network.

Everybody else on the machine is there as well. So nothing is added that would be
in somebody's way, every index is noted before its interface exists, and all of
it is deleted again: by us, or by the watcher if this process is killed.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from typing import TYPE_CHECKING

from . import _codec as codec
from ._netlink import NETLINK_ROUTE, Refusal, RouteSocket
from ._nsfile import NamespaceFile, home
from ._sharing import Sharing, sweep
from .errors import DuplicateName, InvalidAddress
from .interface import addresses_by_interface, interfaces_of
from .tables import routes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._addresses import Network
    from ._steps import JoinHost, ShareConnection
    from ._watcher import Watcher
    from .records import Host
    from .tables import RouteEntry

#: Indexes from here on are nobody's: the kernel counts up from 1.
_FIRST_INDEX = 1 << 29


class HostSide:
    """What a network adds to the test process's own namespace.

    Attributes:
        name: What the topology calls it.
        file: That namespace.
    """

    def __init__(self, host: Host, watcher: Watcher) -> None:
        self.name = host.name
        self.file = NamespaceFile(os.dup(home().fd), host.name)
        self._watcher = watcher
        #: index -> the watcher's chore
        self._links: dict[int, int] = {}
        self._sharing: Sharing | None = None
        sweep(self.file)

    def check(self, step: JoinHost) -> None:
        """Check that nothing of the machine is in the way, and nothing in its way.

        Raises:
            DuplicateName: It has an interface of that name.
            InvalidAddress: It has that address, or a route to some of its network.
        """
        taken = interfaces_of(self.file)
        for ifname in step.ifnames:
            if ifname in taken:
                raise DuplicateName(
                    f"{step.host!r}: this machine has an interface {ifname!r} already; "
                    "name the end of the cable otherwise"
                )
        for ifname, address in addresses_by_interface(self.file):
            if any(address.ip == one.ip for one in step.addresses):
                raise InvalidAddress(
                    f"{step.host!r}: address {address.ip} is this machine's own, "
                    f"on {ifname!r}; choose one that it does not have"
                )
        wanted = [
            *((str(one), one.network) for one in step.addresses),
            *((repr(one), _destination(one.destination, one)) for one in step.routes),
        ]
        existing = list(_routes_in_use(routes_of(self.file)))
        for what, network in wanted:
            for other, route in existing:
                if network is not None and _overlap(network, other):
                    raise InvalidAddress(
                        f"{step.host!r}: {what} would shadow this machine's route to "
                        f"{route.destination} (dev {route.dev}); "
                        "choose a network that it has no route to"
                    )

    def new_index(self) -> int:
        """Choose the index of a new interface; it is deleted whatever happens."""
        index = _FIRST_INDEX + int.from_bytes(os.urandom(3), "big")
        request = codec.delete_link(index).hex()
        self._links[index] = self._watcher.leave_chore(
            f"netlink {NETLINK_ROUTE} {request}"
        )
        return index

    def share_connection(self, step: ShareConnection) -> None:
        """Let packets from the network's interfaces out, with the machine's address."""
        if self._sharing is not None:
            self._sharing.stop()
        self._sharing = Sharing(self.file, self._watcher)
        self._sharing.start(step)

    def forget(self, index: int) -> None:
        """Note that an interface was deleted."""
        self._watcher.drop_chore(self._links.pop(index))

    def take_away(self) -> None:
        """Take away everything that was added; when it returns all of it is gone."""
        try:
            if self._sharing is not None:
                self._sharing.stop()
                self._sharing = None
        finally:
            with self.file.entered(), RouteSocket() as route:
                for index in list(self._links):
                    _delete(route, index)
                    self.forget(index)
            self.file.close()


def _delete(route: RouteSocket, index: int) -> None:
    try:
        route.apply([codec.delete_link(index)])
    except Refusal as refusal:
        if refusal.number != errno.ENODEV:  # never made, or gone with its peer
            raise


def _routes_in_use(
    routes: Iterable[RouteEntry],
) -> Iterator[tuple[Network | None, RouteEntry]]:
    for route in routes:
        network = _destination(route.destination, route)
        # every interface has those
        if network is None or not network.is_link_local:
            yield network, route


def _destination(destination: str, route: object) -> Network | None:
    """Return the network of a route; for a default route that of its family."""
    if destination != "default":
        return ipaddress.ip_network(destination)
    family = getattr(route, "family", None)
    return ipaddress.ip_network("::/0" if family == 6 else "0.0.0.0/0")


def _overlap(network: Network, other: Network | None) -> bool:
    """Tell whether one is part of the other; everything is part of the default."""
    if other is None or network.version != other.version:
        return False
    if (network.prefixlen == 0) != (other.prefixlen == 0):
        return False
    return network.overlaps(other)
