"""The live namespace: everything that a test does inside one machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _sysctl as sysctl
from . import interface as reading
from . import process as processes
from . import waiting
from ._processes import processes_in
from ._threads import Threads
from .errors import NamespaceRestoreError, UnknownName
from .interface import Interface, NeighbourEntry, RouteEntry
from .ping import PingResult, ping
from .process import Arguments, Process
from .task import Task

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

    from ._addresses import Address
    from ._mounts import Surroundings
    from ._nsfile import NamespaceFile, Visit

T = TypeVar("T")


class Home(Protocol):
    """What a namespace needs of the network that it belongs to."""

    def find(self, target: str, viewer: str) -> Address:
        """Return the address by which `viewer` reaches the namespace `target`."""

    def declared(self, name: str, ifname: str) -> list[bytearray]:
        """Return the requests that bring back what an interface was declared with."""

    def expect_processes(self, namespace: NetworkNamespace) -> None:
        """Be told, once, that processes may be inside from now on."""


class _Stays(threading.local):
    """The visits that the current thread has not ended, innermost last."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []


class NetworkNamespace:
    """A machine of the test; made by `Network`, never by hand.

    Attributes:
        name: Its name in the topology.
    """

    def __init__(
        self,
        name: str,
        file: NamespaceFile,
        surroundings: Surroundings,
        home: Home,
    ) -> None:
        self.name = name
        self._file = file
        self._surroundings = surroundings
        self._threads = Threads(f"namespace {name!r}", surroundings.arrive)
        self._home = home
        self._stays = _Stays()
        self.processes: list[Process] = []
        self.tasks: list[Task[Any]] = []
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        #: Whether something may be inside that is not ours to see.
        self.visited = False

    # entering

    def __enter__(self) -> NetworkNamespace:
        """Bring the calling thread inside until the end of the block.

        Sockets that it opens belong there; so do its children's. It affects
        the calling thread only, nests, and costs two system calls each way.

        Raises:
            ClosedError: The network is closed.
        """
        if not self.visited:
            self._prepare_for_processes()
        visit = self._file.entered()
        visits = self._stays.visits
        visits.append(visit)
        try:
            visit.__enter__()
        except BaseException:
            visits.remove(visit)
            visit.leave()  # Ctrl-C may come when it has just entered
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Bring the calling thread back to where it was.

        Raises:
            NamespaceRestoreError: It cannot come back; never use it again.
        """
        visits = self._stays.visits
        try:
            visits[-1].leave()
        except NamespaceRestoreError:
            raise
        except BaseException:
            visits[-1].leave()  # Ctrl-C may come when it is about to leave
            raise
        finally:
            visits.pop()

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function inside, on a thread of the namespace, and return its value.

        Beside the network it sees the namespace's own ``/sys``, ``/etc/hosts``,
        ``/etc/resolv.conf`` and host name.

        Raises:
            Exception: Whatever the function raises, with its traceback.
            ClosedError: The network is closed.
        """
        __tracebackhide__ = True
        self._prepare_for_processes()
        return self._threads.call(function, *args, **kwargs)

    def spawn(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Task[T]:
        """Call a function inside, in the background.

        A task that fails while nobody asks for its result fails the test. When
        the test ends, sockets of its namespace are shut down under it.

        Raises:
            ClosedError: The network is closed.
        """
        self._prepare_for_processes()
        name = getattr(function, "__qualname__", repr(function))
        task = Task(
            name,
            self.name,
            self._threads.submit(functools.partial(function, *args, **kwargs)),
        )
        self.tasks.append(task)
        return task

    # processes

    def run(
        self,
        args: Arguments,
        *,
        check: bool = True,
        timeout: float | None = None,
        input: str | None = None,  # the name that subprocess has for it
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        r"""Run a command inside until it ends, and return its outputs as text.

        It ends with the command itself, even if that leaves a daemon behind that
        holds its output. Bytes that are not UTF-8 are shown as ``\\xff``.

        Args:
            args: The words of the command, or a string that is split as by
                `shlex`; never a shell.
            check: Whether an exit code other than 0 is an error.
            timeout: After how many seconds to kill it and its children.
            input: The text of its standard input; None gives it none.
            env: Its environment; None passes that of this process on.
            cwd: Its working directory; None is the caller's.

        Raises:
            CommandError: It ended with a code other than 0; shows both outputs.
            CommandTimeout: It did not end in time.
            MissingProgram: There is no such program.
            ClosedError: The network is closed.
        """
        __tracebackhide__ = True
        self._prepare_for_processes()
        return processes.run(
            self._file,
            self._threads,
            args,
            check=check,
            timeout=timeout,
            input=input,
            env=env,
            cwd=cwd,
        )

    def popen(
        self,
        args: Arguments,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        expect_exit: bool = False,
    ) -> Process:
        """Start a background process inside.

        It and all its descendants end with the test. If it ends by itself while
        the test still runs, the test fails and shows its output.

        Args:
            args: The words of the command, or a string that is split as by
                `shlex`; never a shell.
            name: What messages call it; None is the program's name.
            env: Its environment; None passes that of this process on.
            cwd: Its working directory; None is the caller's.
            expect_exit: Whether it may end by itself.

        Raises:
            MissingProgram: There is no such program.
            ClosedError: The network is closed.
        """
        __tracebackhide__ = True
        self._prepare_for_processes()
        process = Process(
            self._file,
            self._threads,
            args,
            name=name,
            env=env,
            cwd=cwd,
            expect_exit=expect_exit,
        )
        self.processes.append(process)
        return process

    def pids(self) -> list[int]:
        """List the processes inside, but for this one; ``ip netns pids``."""
        return processes_in({self._file.inode})

    # sockets

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # the name that socket has for it
        proto: int = 0,
    ) -> socket.socket:
        """Return a plain socket of this namespace, for any thread and any loop."""
        with self._file.entered():
            made = socket.socket(family, type, proto)
        self._sockets.add(made)
        return made

    async def open_connection(
        self, host: str, port: int, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from inside; otherwise `asyncio.open_connection`.

        Raises:
            OSError: No address of `host` can be reached.
        """
        errors: list[OSError] = []
        for family, address in await self._resolve(host, port):
            connection = self.socket(family)
            connection.setblocking(False)  # noqa: FBT003  # takes no keyword
            try:
                await asyncio.get_running_loop().sock_connect(connection, address)
            except OSError as error:
                connection.close()
                errors.append(error)
            except BaseException:
                connection.close()
                raise
            else:
                return await asyncio.open_connection(sock=connection, **kwargs)
        if len({error.errno for error in errors}) == 1:
            raise errors[0]
        raise OSError(f"cannot connect: {errors}")

    async def start_server(
        self,
        callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
        host: str | None,
        port: int,
        **kwargs: Any,
    ) -> asyncio.Server:
        """Listen inside; otherwise `asyncio.start_server`.

        Args:
            callback: Called with reader and writer for each connection.
            host: An address or name of this namespace; None or "" is all of
                them, IPv4 and IPv6.
            port: The port; 0 lets the kernel choose.
            **kwargs: Passed on to `asyncio.start_server`.

        Raises:
            OSError: The address is not one of this namespace, or in use.
        """
        family: int = socket.AF_INET6
        address: Any = ("::", port)
        if host:
            family, address = (await self._resolve(host, port))[0]
        listener = self.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not host:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
        return await asyncio.start_server(callback, sock=listener, **kwargs)

    async def _resolve(self, host: str, port: int) -> list[tuple[int, Any]]:
        """Look a name up as a process inside would, without blocking the loop."""
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            family = {4: socket.AF_INET, 6: socket.AF_INET6}[address.version]
            if "%" not in host:  # a zone is an interface's name, known inside only
                return [(family, (host, port))]
        self._prepare_for_processes()
        found = await Task(
            "getaddrinfo",
            self.name,
            self._threads.submit(
                lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ),
        )
        return [(entry[0], entry[4]) for entry in found]

    # the network

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
        __tracebackhide__ = True
        try:
            address = ipaddress.ip_address(target)
        except ValueError:
            address = self._home.find(target, self.name)
        return ping(
            self._file, address, count=count, interval=interval, timeout=timeout
        )

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
        __tracebackhide__ = True
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
        __tracebackhide__ = True
        with self._file.entered():
            return waiting.wait_until(function, timeout=timeout, message=message)

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
            self._file, name, index, lambda: self._home.declared(self.name, name)
        )

    def routes(self) -> list[RouteEntry]:
        """List the routes that are there now; ``ip route show table all``."""
        return reading.routes_of(self._file)

    def neighbours(self) -> list[NeighbourEntry]:
        """List the ARP and neighbour-discovery entries; ``ip neighbour show``."""
        return reading.neighbours_of(self._file)

    @property
    def sysctl(self) -> MutableMapping[str, str]:
        """The sysctls below ``net.``, to read and to set."""
        return _Sysctls(self._file)

    # identity

    @property
    def inode(self) -> int:
        """The kernel's number of the network namespace, unique while it lives."""
        return self._file.inode

    @property
    def path(self) -> str:
        """A path for ``nsenter --net=``, valid while the network is there."""
        self._prepare_for_processes()
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

    def _prepare_for_processes(self) -> None:
        if not self.visited:
            _ = self._file.fd  # raises if it is closed
            self._home.expect_processes(self)
            self.visited = True

    def update_files(self) -> None:
        """Write its ``/etc/hosts`` and the like anew."""
        self._surroundings.rewrite()

    def inodes(self) -> Iterator[int]:
        """Yield the inodes by which its processes are found."""
        yield self._file.inode
        uts = self._surroundings.uts_inode
        if uts is not None:
            yield uts

    def end_threads(self, grace: float) -> list[threading.Thread]:
        """End its threads; return those that are still busy after `grace` seconds."""
        return self._threads.close(grace)

    def close_sockets(self) -> None:
        """Close the sockets that `socket` gave out and nobody closed."""
        for left_open in list(self._sockets):
            left_open.close()

    def close_surroundings(self) -> None:
        """Let go of its mount and UTS namespaces."""
        self._surroundings.close()


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
                os.path.relpath(os.path.join(directory, file), "/proc/sys").replace(
                    "/", "."
                )
                for directory, _, files in os.walk("/proc/sys/net")
                for file in files
            ]
        return iter(found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _check(self, key: str) -> None:
        if not key.replace("/", ".").startswith("net."):
            raise UnknownName(
                f"sysctl {key!r} is not below 'net.', and belongs to the whole machine"
            )


__all__ = ["NetworkNamespace"]
