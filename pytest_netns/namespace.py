"""The live namespace: everything that a test does inside one machine.

A new helper is a method in the class of its theme: `_inside`, `_commands`,
`_sockets`, `_views`, or here.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from . import waiting
from ._captures import Captures
from ._commands import Commands
from ._nsfile import NamespaceFile
from ._packets import Packets
from ._processes import processes_in
from ._signals import deferred_signals
from ._sockets import Sockets
from ._views import Views
from .ping import PingResult, ping

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from ._addresses import Address
    from ._inside import Home
    from ._mounts import Surroundings

T = TypeVar("T")


class NetworkNamespace(Captures, Commands, Packets, Sockets, Views):
    """A machine of the test; made by `Network`, never by hand.

    Attributes:
        name: Its name in the topology.
        processes: The background processes that were started, in order.
        tasks: What was spawned, in order.
    """

    def ping(
        self,
        target: str,
        *,
        count: int = 1,
        interval: float = 0.1,
        timeout: float = 1.0,
    ) -> PingResult:
        """Send echo requests and report what came back; needs no program.

        Args:
            target: An address, or the name of a namespace of the network.
            count: How many echoes.
            interval: The time from one to the next, in seconds.
            timeout: How long to wait after the last one, in seconds.

        Returns:
            A result that is true if every echo was answered.

        Raises:
            UnknownName: `target` is neither an address nor a known name.
        """
        try:
            address = ipaddress.ip_address(target)
        except ValueError:
            address = self.address_of(target)
        self.allow_ping()
        return ping(
            self._file, address, count=count, interval=interval, timeout=timeout
        )

    def address_of(self, target: str, *, family: int | None = None) -> Address:
        """Return the declared address by which this namespace reaches another one.

        That is one of a network that both are in, if they are in one.

        Args:
            target: The name of a namespace of the network.
            family: 4 or 6; None is either.

        Raises:
            UnknownName: There is no such namespace.
            InvalidAddress: It was declared with no such address.
        """
        return self._home.find(target, self.name, family)

    def wait_listening(
        self,
        port: int,
        *,
        protocol: str = "tcp",
        address: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        """Wait until somebody listens on `port` inside; never by connecting.

        Args:
            port: The port.
            protocol: ``"tcp"`` or ``"udp"``.
            address: The local address that must be served; None is any.
            timeout: The deadline, in seconds.

        Raises:
            WaitTimeout: Nobody does; it lists who listens where.
        """
        waiting.wait_listening(
            self._file, port, protocol=protocol, address=address, timeout=timeout
        )

    def wait_until(
        self,
        function: Callable[[], T],
        *,
        timeout: float = 5.0,
        message: str | None = None,
    ) -> T:
        """Wait until `function` returns something true, called inside; return that.

        Args:
            function: Called again and again; an `AssertionError` is "not yet".
            timeout: The deadline, in seconds.
            message: What is waited for, in words.

        Raises:
            WaitTimeout: The deadline has passed; it says what was last seen.
        """
        with self._file.entered():
            return waiting.wait_until(function, timeout=timeout, message=message)

    @property
    def inode(self) -> int:
        """The kernel's number of the network namespace, unique while it lives."""
        return self._file.inode

    @property
    def path(self) -> str:
        """A path for ``nsenter --net=``, valid while the network is there."""
        self.prepare_for_processes()
        return self._file.path

    @property
    def closed(self) -> bool:
        """Whether its network was closed."""
        return self._file.closed

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<NetworkNamespace {self.name!r} inode={self._file.inode}{state}>"

    # for the network

    @property
    def fd(self) -> int:
        """The descriptor that holds it."""
        return self._file.fd

    def update_files(self) -> None:
        """Write its ``/etc/hosts`` and the like anew."""
        self._surroundings.rewrite()

    def own_inodes(self) -> Iterator[int]:
        """Yield the inode of the network namespace, if nobody else is inside."""
        yield self._file.inode

    def inodes(self) -> Iterator[int]:
        """Yield the inodes by which its processes are found."""
        yield from self.own_inodes()
        uts = self._surroundings.uts_inode
        if uts is not None:
            yield uts

    def end_threads(self) -> None:
        """Let its threads end; those that are busy do so when their calls have."""
        self._threads.close(grace=0)

    def open_sockets(self) -> list[socket.socket]:
        """List the sockets that `socket` gave out and that somebody has."""
        known = list(self._sockets.values())
        return [one for reference in known if (one := reference()) is not None]

    def end_sending(self) -> None:
        """Begin to close what it sends packets through, without waiting for it."""
        self._packet_sockets.begin_closing()

    def close_surroundings(self) -> None:
        """Let go of its mount and UTS namespaces, and wait for what is being closed."""
        self._surroundings.close()
        self._packet_sockets.close()


class HostNamespace(NetworkNamespace):
    """The namespace of the test process, as a machine of the network.

    Others are in it as well: nothing is ended there but what was started here,
    and what belongs to the whole machine can be read only.
    """

    def __init__(
        self, name: str, file: NamespaceFile, surroundings: Surroundings, home: Home
    ) -> None:
        super().__init__(name, file, surroundings, home)
        self._one_at_a_time = threading.Lock()

    def own_inodes(self) -> Iterator[int]:
        """Yield nothing: the machine is in it."""
        yield from ()

    def prepare_for_processes(self) -> None:
        """See to it, once, that whatever is started here ends with the test."""
        if self.visited:
            return
        self._threads.call(int)  # the first thread makes the surroundings
        with deferred_signals() as deferred, self._one_at_a_time:
            if not self.visited:
                fd = os.dup(self._surroundings.uts_fd)
                self._started_here = NamespaceFile(fd, self.name)
                self._home.expect_processes(self._started_here)
                self.visited = self._is_watched = True
        deferred.deliver()

    def prepare_for_sockets(self) -> None:
        """See to it, once, that what is started here ends with the test."""
        self.prepare_for_processes()

    def allow_ping(self) -> None:
        """Leave it to the machine who may send echoes."""

    @property
    def sysctl(self) -> Mapping[str, str]:  # type: ignore[override]  # to read only
        """The sysctls below ``net.``, to read."""
        return MappingProxyType(super().sysctl)

    def pids(self) -> list[int]:
        """List the processes that were started here."""
        return processes_in(set(self.inodes()))

    def close_surroundings(self) -> None:
        """Let go of what tells its processes from the machine's."""
        super().close_surroundings()
        if self.visited:
            self._started_here.close()
