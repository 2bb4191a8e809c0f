"""The test process's own namespace, as a place of a network.

Everybody else on the machine is there as well. So nothing is added that would be
in somebody's way, every index is noted before its interface exists, and all of
it is deleted again: by us, or by the watcher if this process is killed. Should that
be killed, too, interfaces are signed: the next run knows which have no owner.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from . import _codec as codec
from ._addresses import is_everything, network_of
from ._ledger import is_left, sweep
from ._netlink import NETLINK_ROUTE, RouteSocket
from ._nsfile import NamespaceFile, home
from ._sharing import Sharing
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
        self._sharing = Sharing(self.file, watcher)
        try:
            with self.file.entered(), RouteSocket() as route:
                sweep()
                _delete_left(route)
        except BaseException:
            self.file.close()
            raise

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
            *(
                (repr(route), network_of(route.destination, family))
                for route, family in step.routes
            ),
        ]
        ours = {name for name, index in taken.items() if index in self._links}
        for other, route in _routes_in_use(routes_of(self.file), ours):
            for what, network in wanted:
                if _overlap(network, other):
                    where = f"dev {route.dev}" if route.dev else route.kind
                    raise InvalidAddress(
                        f"{step.host!r}: {what} would shadow this machine's route to "
                        f"{route.destination} ({where}); "
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
        self._sharing.extend(step)

    def forget(self, index: int) -> None:
        """Note that an interface was deleted."""
        self._watcher.drop_chore(self._links.pop(index))

    def take_away(self) -> None:
        """Take away everything that was added; when it returns all of it is gone."""
        with contextlib.ExitStack() as leaving:
            leaving.callback(self.file.close)
            leaving.callback(self._delete_links)
            leaving.callback(self._sharing.stop)

    def _delete_links(self) -> None:
        with (
            self.file.entered(),
            RouteSocket() as route,
            contextlib.ExitStack() as leaving,
        ):
            for index in self._links:
                leaving.callback(self._delete_link, route, index)

    def _delete_link(self, route: RouteSocket, index: int) -> None:
        # it may be gone with its peer, or was never made
        route.delete([codec.delete_link(index)])
        self.forget(index)


def _delete_left(route: RouteSocket) -> None:
    """Delete the interfaces that killed runs have left."""
    for link in map(codec.decode, route.dump(codec.dump(codec.RTM_GETLINK))):
        if is_left(link.get_attr("IFLA_IFALIAS") or ""):
            route.delete([codec.delete_link(link["index"])])


def _routes_in_use(
    routes: Iterable[RouteEntry], ours: set[str]
) -> Iterator[tuple[Network, RouteEntry]]:
    for route in routes:
        network = network_of(route.destination, route.family)
        # every interface has a link-local network of IPv6
        everybodys = network.version == 6 and network.is_link_local
        if route.dev not in ours and not everybodys:
            yield network, route


def _overlap(network: Network, other: Network) -> bool:
    """Tell whether one is part of the other; everything is part of the default."""
    if network.version != other.version:
        return False
    if is_everything(network) != is_everything(other):
        return False
    return network.overlaps(other)
