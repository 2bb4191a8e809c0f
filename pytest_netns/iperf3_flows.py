"""iperf3 between namespaces: one flow or many at once."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING

from ._iperf3 import PORT, Run, ports_from
from .errors import BenchmarkError, InvalidAddress
from .namespace import NetworkNamespace
from .throughput import Load, ThroughputResult

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._agents import Agents
    from .throughput import Protocol

_PORTS = range(1, 65_536)
#: After so many flows the first port comes again.
_PORTS_IN_TURN = 1000


class Iperf3:
    """Measures with iperf3 between two namespaces; call it.

    Client and server are each a process of its own in their namespaces. Several
    threads may measure at the same time.
    """

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._numbers = itertools.count()
        self._flows: list[Iperf3Flow] = []
        self._lock = threading.Lock()

    def __call__(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        duration: float = 2.0,
        protocol: Protocol = "tcp",
        parallel: int = 1,
        reverse: bool = False,
        rate: float | str | None = None,
        omit: int = 0,
        interval: float = 1.0,
        port: int | None = None,
        through: tuple[str, int] | None = None,
        family: int | None = None,
        timeout: float | None = None,
    ) -> ThroughputResult:
        """Measure how much arrives.

        Args:
            client: Where the client runs.
            server: Where a server runs as long; it may be the same namespace.
            duration: For how long data are sent, in seconds. libiperf before 3.7, and
                before 3.10 when it receives, goes on until they are whole.
            protocol: ``"tcp"`` or ``"udp"``.
            parallel: How many streams.
            reverse: Whether the server sends, and the client receives.
            rate: At most how much each stream sends: bits a second, or a string as
                tc takes it, ``"10mbit"``; None is as much as it can, for UDP too.
            omit: How many whole seconds at the start do not count, on top of
                `duration`.
            interval: The time from one intermediate result to the next, in seconds.
            port: The server's port; None takes one that is free.
            through: Address and port to which the client connects instead, if a proxy
                or a NAT rule forwards that to `server` and `port`.
            family: 4 or 6; None is what the client reaches the server by.
            timeout: After how many seconds all of it must be over; None is ten more
                than `duration` and `omit`.

        Raises:
            BenchmarkError: iperf3 says why not.
            BenchmarkTimeout: It did not end in time.
            InvalidAddress: The server has no such address.
            MissingTool: libiperf or its wrapper is not installed.
            TypeError: An argument is of another type.
            ValueError: An argument is out of its bounds.
        """
        with self.start(
            client,
            server,
            duration=duration,
            protocol=protocol,
            parallel=parallel,
            reverse=reverse,
            rate=rate,
            omit=omit,
            interval=interval,
            port=port,
            through=through,
            family=family,
            timeout=timeout,
        ) as flow:
            return flow.result()

    def start(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        duration: float = 2.0,
        protocol: Protocol = "tcp",
        parallel: int = 1,
        reverse: bool = False,
        rate: float | str | None = None,
        omit: int = 0,
        interval: float = 1.0,
        port: int | None = None,
        through: tuple[str, int] | None = None,
        family: int | None = None,
        timeout: float | None = None,
    ) -> Iperf3Flow:
        """Begin to measure, and let it go on; the arguments are those of the call.

        The server listens when this returns. Whatever still runs when the test ends
        is ended.

        Raises:
            BenchmarkError: The server cannot listen; says why.
            InvalidAddress: The server has no such address.
            MissingTool: libiperf or its wrapper is not installed.
            TypeError: An argument is of another type.
            ValueError: An argument is out of its bounds.
        """
        load = Load(
            duration=duration,
            protocol=protocol,
            parallel=parallel,
            reverse=reverse,
            rate=rate,
            omit=omit,
            interval=interval,
        )
        _check(client, server, port=port, through=through, family=family)
        _check_timeout(timeout)
        first = PORT + next(self._numbers) % _PORTS_IN_TURN
        flow = Iperf3Flow(
            self._agents,
            client,
            server,
            load,
            address=_address(client, server, family),
            ports=ports_from(first) if port is None else [port],
            through=through,
            timeout=timeout,
        )
        with self._lock:
            self._flows = [other for other in self._flows if not other.is_over] + [flow]
        return flow

    def close(self) -> None:
        """End the flows that still run."""
        with self._lock:
            flows, self._flows = self._flows, []
        for flow in flows:
            flow.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Iperf3Flow:
    """A measurement that goes on; a context manager that ends it.

    Attributes:
        client: The namespace of the client.
        server: The namespace of the server.
        port: The port of the server.
    """

    def __init__(
        self,
        agents: Agents,
        client: NetworkNamespace,
        server: NetworkNamespace,
        load: Load,
        *,
        address: str,
        ports: list[int],
        through: tuple[str, int] | None,
        timeout: float | None,
    ) -> None:
        self.client = client
        self.server = server
        self._result: ThroughputResult | None = None
        self._error: Exception | None = None
        self._lock = threading.Lock()
        with contextlib.ExitStack() as stack:
            self._run = stack.enter_context(
                Run(
                    stack.enter_context(agents.borrow(client)),
                    stack.enter_context(agents.borrow(server)),
                    load,
                    address=address,
                    ports=ports,
                    through=through,
                    timeout=timeout,
                )
            )
            self._stack = stack.pop_all()
        self.port = self._run.port

    def result(self, timeout: float | None = None) -> ThroughputResult:
        """Wait until it is over, and return what it has measured.

        Args:
            timeout: For how many seconds; None is until its own time is over.

        Raises:
            BenchmarkError: iperf3 says why there is no result.
            BenchmarkTimeout: It did not end in time; it was stopped.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._result is None:
                self._result = self._take(timeout)
            return self._result

    def _take(self, timeout: float | None) -> ThroughputResult:
        try:
            with self._stack:
                return self._run.result(timeout)
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        """End it, unless it is over."""
        with self._lock:
            if not self.is_over:
                self._error = BenchmarkError(f"{self!r} was closed before it was over")
                self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_over(self) -> bool:
        """Whether it has a result, has failed or was closed."""
        return self._result is not None or self._error is not None

    def __repr__(self) -> str:
        names = f"{self.client.name!r} to {self.server.name!r} port {self.port}"
        if self._result is not None:
            return f"<Iperf3Flow {names} {self._result!r}>"
        return f"<Iperf3Flow {names} {'running' if self._error is None else 'ended'}>"


def _check(
    client: object,
    server: object,
    *,
    port: object,
    through: object,
    family: object,
) -> None:
    for name, namespace in (("client", client), ("server", server)):
        if not isinstance(namespace, NetworkNamespace):
            raise TypeError(f"{name} must be a namespace, not {namespace!r}")
    if port is not None:
        _check_port("port", port)
    if family not in (None, 4, 6):
        raise ValueError(f"family must be 4 or 6, not {family!r}")
    if through is None:
        return
    if not isinstance(through, tuple) or len(through) != 2:
        raise TypeError(f"through must be an address and a port, not {through!r}")
    _check_port("the port of through", through[1])


def _check_port(name: str, port: object) -> None:
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"{name} must be a whole number, not {port!r}")
    if port not in _PORTS:
        raise ValueError(f"{name} must be 1 to 65535, not {port!r}")


def _check_timeout(timeout: object) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number, not {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0, not {timeout!r}")


def _address(
    client: NetworkNamespace, server: NetworkNamespace, family: int | None
) -> str:
    """Return by which address the client reaches the server."""
    if client is server:
        return "::1" if family == 6 else "127.0.0.1"
    try:
        return str(client.address_of(server.name, family=family))
    except InvalidAddress:
        for version in (4, 6) if family is None else (family,):
            with contextlib.suppress(LookupError):  # one that was added by hand
                return str(server.ip if version == 4 else server.ip6)
        raise
