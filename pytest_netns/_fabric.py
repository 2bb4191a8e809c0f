"""What a network has in the kernel, by the names that its records use."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from . import _codec as codec
from ._host import HostSide
from ._netlink import RouteSocket
from ._nsfile import NamespaceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._namefiles import NameFiles
    from ._ovs_daemons import Daemon, Daemons
    from ._ovs_loan import Loan
    from ._ovs_pool import OVSPool
    from ._steps import JoinHost, LendOVS, OVSStep, ShareConnection
    from ._switches import Switch, Switches
    from ._watcher import Watcher

LOOPBACK_INDEX = 1
#: A build keeps a socket open in each namespace, but not one descriptor more than
#: a large network needs: it has one in each anyway, and 1,024 is a common limit.
_MAX_KEPT_SOCKETS = 100


def first_free_index() -> int:
    """Return the first index that is free in the calling thread's namespace."""
    return max(index for index, _ in socket.if_nameindex()) + 1


class FreshIndex:
    """The first free index of a new namespace: asked once, the same for all.

    It is 2, but where drivers such as ip_gre put devices into every namespace.
    """

    def __init__(self) -> None:
        self._known: int | None = None

    def look(self) -> int:
        """Return it; the calling thread is in a new namespace."""
        if self._known is None:
            self._known = first_free_index()
        return self._known

    def forget(self) -> bool:
        """Ask anew the next time, since a driver may be new; False if never asked."""
        known, self._known = self._known, None
        return known is not None


class Fabric:
    """The namespaces, switches and interfaces of one network.

    Attributes:
        files: The network namespaces, by name.
        switches: The hidden bridges, by name.
        indexes: The interface indexes, by (place, interface name).
    """

    def __init__(
        self, lender: Switches, fresh: FreshIndex, watcher: Watcher, ovs: OVSPool
    ) -> None:
        self.files: dict[str, NamespaceFile] = {}
        self.switches: dict[str, Switch] = {}
        self.indexes: dict[tuple[str, str], int] = {}
        self._lender = lender
        self._fresh = fresh
        self._watcher = watcher
        self._ovs_pool = ovs
        #: What it has of Open vSwitch, if anything.
        self.ovs: Loan | None = None
        self._next_index: dict[str, int] = {}
        self._host: HostSide | None = None
        #: Names for people, if they are wanted.
        self.names: NameFiles | None = None
        #: Sockets of namespaces that are being built, until they are.
        self._sockets: dict[str, RouteSocket] = {}

    # names for people

    def give_names(self) -> None:
        """Give every namespace a name under /run/netns, where that is wanted."""
        if self.names is not None:
            machines = {
                name: file
                for name, file in self.files.items()
                if not self.is_host(name)
            }
            self.names.give(machines)

    # what may outlive this process

    def watch_also(self, inode: int, fd: int) -> None:
        """Have processes ended as well that have left the network namespace alone."""
        self._watcher.watch_also(inode, fd)

    # the host

    def is_host(self, place: str) -> bool:
        """Tell whether a place is the namespace of the test process."""
        return self._host_at(place) is not None

    def _host_at(self, place: str) -> HostSide | None:
        host = self._host
        return host if host is not None and host.name == place else None

    def join_host(self, step: JoinHost) -> None:
        """Make the test process's own namespace a place; nothing is changed yet.

        Raises:
            DuplicateName: The machine has an interface of that name.
            InvalidAddress: It has that address, or a route into that network.
        """
        host = self._host or HostSide(step.host, self._watcher)
        try:
            host.check(step)
        except BaseException:
            if self._host is None:
                host.take_away()
            raise
        self._host = host
        self.files[host.name] = host.file

    def share_connection(self, step: ShareConnection) -> None:
        """Let the network out through the machine's own connection."""
        assert self._host is not None  # noqa: S101  # its place comes first in a plan
        self._host.share_connection(step)

    # Open vSwitch

    @property
    def ovs_is_in_user_space(self) -> bool:
        """Whether Open vSwitch reads its ports by packet sockets."""
        return self.ovs is not None and self.ovs.daemons.in_user_space

    def lend_ovs(self, steps: list[LendOVS]) -> None:
        """Borrow daemons for bridges of Open vSwitch.

        Raises:
            MissingTool: Open vSwitch is not installed.
            SwitchError: The daemons do not start.
            ProcessEnded: One of them ended at once.
        """
        if self.ovs is None:
            self.ovs = self._ovs_pool.borrow(steps[0].bridge)
        self.ovs.contents.places.update(step.place for step in steps)

    def plug_into_ovs(self, steps: list[OVSStep]) -> None:
        """Make the bridges, and make ports of what is plugged into them.

        Raises:
            SwitchError: Open vSwitch cannot.
            MissingFeature: The kernel lacks what it needs.
            ProcessEnded: One of the daemons is dead.
        """
        assert self.ovs is not None  # noqa: S101  # a bridge is lent before it is made
        self.ovs.plug(steps)

    def daemons(self) -> list[Daemon]:
        """Return the processes that switch for this network."""
        return [] if self.ovs is None else self.ovs.daemons.processes

    # places

    def file_of(self, place: str) -> NamespaceFile:
        """Return the namespace of a place, be it that of a hidden bridge."""
        switch = self._switch(place)
        return self.files[place] if switch is None else switch.file

    def _switch(self, place: str) -> Switch | Daemons | None:
        """Return what has a hidden bridge, or None where a place is no such bridge."""
        if self.ovs is not None and place in self.ovs.contents.places:
            return self.ovs.daemons
        return self.switches.get(place)

    @contextlib.contextmanager
    def route_socket(self, place: str) -> Iterator[RouteSocket]:
        """Give an rtnetlink socket inside a place, for the length of the block."""
        switch = self._switch(place)
        if kept := switch.socket if switch else self._sockets.get(place):
            yield kept
            return
        with self.files[place].entered(), RouteSocket() as route:
            yield route

    def new_index(self, place: str, ifname: str) -> int:
        """Choose an index for a new interface, so that none has to be read back."""
        if switch := self._switch(place):
            index = switch.next_port_index()
        elif host := self._host_at(place):
            index = host.new_index()
        else:
            index = self._next_index.get(place) or self._first_free_index(place)
            self._next_index[place] = index + 1
        self.indexes[place, ifname] = index
        return index

    def _first_free_index(self, place: str) -> int:
        with self.files[place].entered():
            return first_free_index()

    def add_namespace(self, name: str, prepare: Callable[[], None]) -> None:
        """Make a namespace, and call `prepare` inside."""

        def prepare_and_look() -> None:
            prepare()
            self._next_index[name] = self._fresh.look()
            if len(self._sockets) < _MAX_KEPT_SOCKETS:
                self._sockets[name] = RouteSocket()

        self.files[name] = NamespaceFile.create(name, prepare_and_look)
        self.indexes[name, "lo"] = LOOPBACK_INDEX

    def master_index(self, place: str, bridge: str) -> int:
        """Return the index of a port's bridge."""
        if bridge in self.switches:
            return self.switches[bridge].index
        return self.indexes[place, bridge]

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back everything that came in the block, if the block fails."""
        files, switches, indexes = (
            set(self.files),
            set(self.switches),
            dict(self.indexes),
        )
        ovs = None if self.ovs is None else self.ovs.before()
        self._next_index.clear()
        try:
            yield
        except BaseException:
            if self.ovs is not None and ovs is not None:
                self.ovs.take_back(ovs)
                switches |= self.ovs.contents.places
            for place, ifname in self.indexes.keys() - indexes.keys():
                if place in files or place in switches:
                    self._delete_link(place, self.indexes[place, ifname])
            self.indexes = indexes
            self._close_sockets()
            self._let_go(self.files.keys() - files, self.switches.keys() - switches)
            if self.ovs is not None and ovs is not None:
                self.ovs.contents = ovs
            elif self.ovs is not None:
                self._give_back_ovs()
            raise
        finally:
            self._close_sockets()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.popitem()[1].close()

    def close(self) -> None:
        """Let go of all namespaces, and give the switches back."""
        with contextlib.ExitStack() as leaving:
            leaving.callback(self._let_go, set(self.files), set(self.switches))
            if self.ovs is not None:  # while its ports are there
                leaving.callback(self._give_back_ovs)

    def _give_back_ovs(self) -> None:
        if self.ovs is not None:
            self._ovs_pool.give_back(self.ovs)
            self.ovs = None

    def _let_go(self, files: set[str], switches: set[str]) -> None:
        with contextlib.ExitStack() as leaving:
            # in the kernel their ports go with the namespaces at the other ends
            for name in switches:
                leaving.callback(self._lender.give_back, self.switches.pop(name))
            for name in files:
                leaving.callback(self.files.pop(name).close)
                if self.names is not None:
                    leaving.callback(self.names.take, name)
            if self._host is not None and self._host.name in files:
                # first of all: what goes with its other end is gone only later
                leaving.callback(self._host.take_away)
                self._host = None

    def _delete_link(self, place: str, index: int) -> None:
        with self.route_socket(place) as route:
            # it may be gone with its peer, or was never made
            route.delete([codec.delete_link(index)])
        if host := self._host_at(place):
            host.forget(index)
