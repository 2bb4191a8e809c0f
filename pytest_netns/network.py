"""The live network: namespaces by name, and what is added while it is there."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

from ._declared import declared_requests
from ._hosts import addresses_towards, hosts_file, resolv_file
from ._mounts import HostSurroundings, Surroundings
from ._nsfile import go_home, is_home
from ._teardown import end_processes_of, end_threads_of
from ._watched import Watched
from .errors import ClosedError, InvalidAddress, NetnsError, TeardownError, UnknownName
from .interface import Interface, index_of
from .namespace import HostNamespace, NetworkNamespace
from .openvswitch import OpenVSwitch
from .records import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from ._addresses import Address
    from ._fabric import Fabric
    from ._layout import Layout
    from ._nsfile import NamespaceFile
    from ._record import Record
    from .process import Process
    from .task import Task
    from .topology import Topology


class Workshop(Protocol):
    """What a network needs of its manager."""

    def extend(
        self,
        fabric: Fabric,
        layout: Layout,
        built: Layout,
        finish: Callable[[], None],
    ) -> None:
        """Bring `fabric` from `built` to `layout` and finish, or leave it as it was."""

    def dismantle(self, network: Network) -> None:
        """Call `network.take_down()` where nothing interrupts it."""

    def watch(self, file: NamespaceFile) -> None:
        """See to it that processes inside end if this process is killed."""

    def forget(self, inode: int) -> None:
        """Undo `watch`."""

    def looking_around(self) -> AbstractContextManager[None]:
        """Say that it is us who opens namespaces in the block."""


class Network(Watched):
    """What a topology has become; made by a `NetworkManager`.

    A context manager that closes it, and raises what went wrong unnoticed in
    the background: processes that ended by themselves, tasks that failed.
    """

    def __init__(self, topology: Topology, fabric: Fabric, workshop: Workshop) -> None:
        super().__init__(topology, fabric)
        self._workshop = workshop
        #: The namespaces that somebody has asked for.
        self._live: dict[str, NetworkNamespace] = {}
        #: The bridges of Open vSwitch that somebody has asked for.
        self._switches: dict[str, OpenVSwitch] = {}
        self._reported: set[int] = set()
        self._lock = threading.Lock()
        #: Called when the network is closed; a second time does no harm.
        self.when_closed: list[Callable[[], None]] = []
        #: Whether failures in the background are raised when it is closed.
        self.raises_failures = True

    # contents

    @property
    def topology(self) -> Topology:
        """What it was built from, and everything added since."""
        return self._topology

    def __getitem__(self, name: str) -> NetworkNamespace:
        """Return a namespace by name; for a bridge of Open vSwitch, `switch(name)`.

        Raises:
            UnknownName: There is none; says which there are.
        """
        if self._topology.layout.is_ovs(name):
            return cast("NetworkNamespace", self.switch(name))  # for people
        with self._lock:
            if name not in self._live:
                self._live[name] = self._come_alive(name)
            return self._live[name]

    def __contains__(self, namespace: object) -> bool:
        """Tell whether there is a namespace with this name, or this namespace."""
        if isinstance(namespace, NetworkNamespace):
            return self._live.get(namespace.name) is namespace
        return namespace in self._topology.layout.machines

    def __iter__(self) -> Iterator[NetworkNamespace]:
        """Iterate over the namespaces, in order of declaration; the host is none."""
        return iter([self[name] for name in self._topology.layout.namespaces])

    def __len__(self) -> int:
        """Count the namespaces."""
        return len(self._topology.layout.namespaces)

    def add(self, *records: Record) -> None:
        """Build more: any records, at any time.

        Raises:
            TopologyError: They do not fit to what is there; kernel untouched.
            KernelError: The kernel refuses; nothing of them is left.
            ClosedError: The network is closed.
        """
        with self._lock:
            self._check_open()
            extended = self._topology.with_records(*records)
            before = self._topology.layout

            def adopt() -> None:  # before any signal that came meanwhile is heard
                self._topology = extended

            self._workshop.extend(self._fabric, extended.layout, before, adopt)
        for namespace in list(self._live.values()):
            namespace.update_files()
        if self.recording is not None:
            self.recording.extend()

    def switch(self, name: str) -> OpenVSwitch:
        """Return a bridge of Open vSwitch by name.

        Raises:
            UnknownName: There is none; says which there are.
            ClosedError: The network is closed.
        """
        layout = self._topology.layout
        if not layout.is_ovs(name):
            known = filter(layout.is_ovs, layout.bridges)
            raise UnknownName.among(
                name, known, what="bridge of Open vSwitch", where="the network"
            )
        with self._lock:
            if name not in self._switches:
                self._check_open()
                assert self._fabric.ovs is not None  # noqa: S101  # it has a bridge
                self._switches[name] = OpenVSwitch(name, self._fabric.ovs)
            return self._switches[name]

    def link(self, endpoint: str) -> Interface:
        """Return the interface ``"namespace:ifname"`` or ``"bridge:port"``.

        Raises:
            UnknownName: There is none; says which there are.
            ClosedError: The network is closed.
        """
        self._check_open()
        node, ifname = split_endpoint(endpoint)
        layout = self._topology.layout
        if ifname is None:
            raise UnknownName(f"{endpoint!r} names no interface; write '{node}:eth0'")
        if node in layout.machines:
            return self[node].interface(ifname)
        if node not in layout.bridges:
            raise UnknownName.among(
                node, layout.nodes, what="namespace or bridge", where=endpoint
            )
        place = layout.place_of(node)
        file = self._fabric.file_of(place)
        peer = functools.partial(self.peer, place, ifname)
        return Interface(file, ifname, index_of(file, ifname), peer=peer)

    # the end

    def close(self) -> None:
        """Take everything down: processes, threads, namespaces; again is harmless.

        Raises:
            TeardownError: Something could not be taken down.
        """
        if self._closed and not self.when_closed:
            return
        try:
            self._workshop.dismantle(self)
        finally:
            for callback in self.when_closed:
                callback()
            self.when_closed.clear()
            self._bring_caller_home()

    def _bring_caller_home(self) -> None:
        """Do not leave the calling thread in a namespace that nobody has any more."""
        inodes = {namespace.inode for namespace in self._live.values()}
        if not is_home() and os.stat("/proc/thread-self/ns/net").st_ino in inodes:
            go_home("of a closed network")

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def processes(self) -> list[Process]:
        """All background processes that were started, in order of namespaces."""
        return [
            process
            for namespace in list(self._live.values())
            for process in namespace.processes
        ]

    def take_failures(self) -> list[BaseException]:
        """Return what went wrong in the background and was not returned before."""
        background: list[Process | Task[Any]] = [*self._fabric.daemons()]
        for namespace in list(self._live.values()):
            background += [*namespace.processes, *namespace.tasks]
        failures: list[BaseException] = []
        for one in background:
            if id(one) not in self._reported and (failure := one.failure()) is not None:
                self._reported.add(id(one))
                failures.append(failure)
        return failures

    def show_switches(self) -> str:
        """Return what ``ovs-vsctl show`` prints; "" without Open vSwitch."""
        if self._fabric.ovs is None:
            return ""
        try:
            return self._fabric.ovs.run(["ovs-vsctl", "show"])
        except NetnsError as error:  # it is for the report of another one
            return str(error)

    def take_down(self) -> None:
        """Carry out `close`, once; for the manager, who puts Ctrl-C off."""
        if self._closed:
            return
        self._closed = True
        live = list(self._live.values())
        visited = [namespace for namespace in live if namespace.visited]
        watched = [inode for namespace in visited for inode in namespace.inodes()]
        leftovers: list[str] = []
        # a thread that ends may let go of the last reference to one
        sockets = [one for namespace in live for one in namespace.open_sockets()]
        leftovers += self._end_captures()
        for namespace in live:
            namespace.end_sending()
        try:
            if visited:
                leftovers += end_processes_of(visited)
                keep = {file.fd for file in self._fabric.files.values()}
                keep |= self._descriptors
                looking = self._workshop.looking_around
                leftovers += end_threads_of(visited, keep, looking)
        finally:
            for one in sockets:
                one.close()
            for namespace in live:
                namespace.close_surroundings()
            self._fabric.close()
            for inode in watched:
                self._workshop.forget(inode)
        if leftovers:
            raise TeardownError(leftovers)

    # for the namespaces

    def _come_alive(self, name: str) -> NetworkNamespace:
        """Make the live object for a namespace, when somebody first asks for it."""
        layout = self._topology.layout
        if name not in layout.machines:
            raise UnknownName.among(
                name, layout.machines, what="namespace", where="the network"
            )
        if self._closed:
            raise ClosedError(f"namespace {name!r} is closed, with all of its network")
        file = self._fabric.files[name]
        if layout.is_host(name):
            return HostNamespace(name, file, HostSurroundings(file), self)
        texts = functools.partial(self._files_of, name)
        hostname = layout.namespaces[name].hostname or name
        surroundings = Surroundings(file, hostname, texts)
        surroundings.when_made = self._fabric.watch_also
        return NetworkNamespace(name, file, surroundings, self)

    def _files_of(self, name: str) -> dict[str, str]:
        layout = self._topology.layout
        return {
            "/etc/hosts": hosts_file(layout, name),
            "/etc/resolv.conf": resolv_file(layout, name),
        }

    def find(self, target: str, viewer: str, family: int | None = None) -> Address:
        """Return the address by which `viewer` reaches the namespace `target`."""
        layout = self._topology.layout
        if target not in layout.machines:
            where = "the network"
            raise UnknownName.among(
                target, layout.machines, what="address or namespace", where=where
            )
        for address in addresses_towards(layout, target, viewer):
            if family in (None, address.version):
                return address.ip
        what = "no" if family is None else f"no IPv{family}"
        raise InvalidAddress(f"namespace {target!r} was declared with {what} address")

    def declared(self, name: str, ifname: str) -> list[bytearray]:
        """Return the requests that bring back what an interface was declared with."""
        return declared_requests(
            self._topology.layout, self._fabric.indexes, name, ifname
        )

    def draw(self) -> str:
        """Return its picture, as text."""
        return self._topology.diagram()

    def expect_processes(self, file: NamespaceFile) -> None:
        """See to it that processes inside end if this process is killed."""
        self._workshop.watch(file)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failures = self.take_failures() if self.raises_failures and kind is None else []
        if value is not None:
            with contextlib.suppress(NetnsError):  # the first error is what counts
                self.close()
            return
        self.close()
        if failures:
            raise failures[0]

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self._topology.layout.namespaces))
        return f"<Network {names}{' closed' if self._closed else ''}>"
