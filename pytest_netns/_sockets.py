"""Sockets and streams of a namespace, for any thread and any loop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import weakref
from typing import TYPE_CHECKING, Any

from ._inside import Inside
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._inside import Home
    from ._mounts import Surroundings
    from ._nsfile import NamespaceFile


class Sockets(Inside):
    """What opens sockets in a namespace."""

    def __init__(
        self, name: str, file: NamespaceFile, surroundings: Surroundings, home: Home
    ) -> None:
        super().__init__(name, file, surroundings, home)
        # by descriptor, of which there are only so many; not in a WeakSet: it runs
        # code when a socket goes, in which Ctrl-C or a test's timeout would get lost
        self._sockets: dict[int, weakref.ref[socket.socket]] = {}

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # the name that socket has for it
        proto: int = 0,
    ) -> socket.socket:
        """Return a plain socket of this namespace, for any thread and any loop."""
        self.prepare_for_sockets()  # accept() gives out more of them
        with self._file.entered():
            made = socket.socket(family, type, proto)
        self._sockets[made.fileno()] = weakref.ref(made)
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
        self.prepare_for_processes()
        found = await Task(
            "getaddrinfo",
            self.name,
            self._threads.submit(
                lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ),
        )
        return [(entry[0], entry[4]) for entry in found]
