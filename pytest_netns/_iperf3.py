"""A run of iperf3 between two agents."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from .errors import BenchmarkError, BenchmarkTimeout
from .throughput import Load, ThroughputResult, read_reports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._agent import Agent

#: iperf3's own; a server that may choose takes the first one from here that is free.
PORT = 5201
#: How many ports a server tries that may choose.
_CANDIDATES = 64
#: How much longer than its data a run may take by default, in seconds.
GRACE = 10.0
#: How long the other side has to say its last words, in seconds.
_LAST_WORDS = 0.5


def measure(
    client: Agent,
    server: Agent,
    *,
    address: str,
    port: int | None = None,
    through: tuple[str, int] | None = None,
    timeout: float | None = None,
    **load: Any,
) -> ThroughputResult:
    """Run iperf3 between two agents and return what it has measured.

    Args:
        client: Where the client runs.
        server: Where a server runs, for as long as this.
        address: An address of the server.
        port: The server's port; None takes one that is free.
        through: Address and port to which the client connects instead, if something
            between them forwards that to the server.
        timeout: After how many seconds it must be over; None is ten more than its
            data take.
        **load: What is sent; see `Load`.

    Raises:
        BenchmarkError: iperf3 says why not.
        BenchmarkTimeout: It did not end in time.
        MissingTool: libiperf or its wrapper is not installed.
        TypeError: Something is of another type.
        ValueError: Something is out of its bounds.
    """
    with Run(
        client,
        server,
        Load(**load),
        address=address,
        ports=ports_from(PORT) if port is None else [port],
        through=through,
        timeout=timeout,
    ) as run:
        return run.result()


def ports_from(first: int) -> list[int]:
    """Return the ports that a server tries that may choose."""
    return [*range(first, first + _CANDIDATES)]


class Run:
    """A client and a server that run now; a context manager that ends them.

    Args:
        client: Where the client runs.
        server: Where its server runs.
        load: What is sent.
        address: An address of the server.
        ports: The ports that the server tries.
        through: Where the client connects to instead.
        timeout: After how many seconds it must be over; None suits the load.

    Attributes:
        port: The port that the server has taken.
    """

    def __init__(
        self,
        client: Agent,
        server: Agent,
        load: Load,
        *,
        address: str,
        ports: Sequence[int],
        through: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> None:
        if timeout is None:
            timeout = load.omit + load.duration + GRACE
        self._deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as stack:
            self._serving = stack.enter_context(
                server.begin(
                    "iperf3_server",
                    ports=[*ports],
                    interval=load.interval,
                    address=_bound_to(address, through, load),
                )
            )
            self.port: int = self._serving.wait_ready(self._remaining())
            target, port = through or (address, self.port)
            self._asking = stack.enter_context(
                client.begin(
                    "iperf3_client",
                    address=target,
                    port=port,
                    seconds=load.duration,
                    omit=load.omit,
                    interval=load.interval,
                    protocol=load.protocol,
                    parallel=load.parallel,
                    reverse=load.reverse,
                    rate=load.bits_per_second,
                    connect_timeout=min(GRACE, self._remaining()) / 2,
                )
            )
            self._orders = stack.pop_all()

    def result(self, timeout: float | None = None) -> ThroughputResult:
        """Wait until it is over and return what it has measured.

        Args:
            timeout: For how many seconds; None is until its own time is over.

        Raises:
            BenchmarkError: iperf3 says why not.
            BenchmarkTimeout: It did not end in time.
        """
        try:
            remaining = self._remaining()
            report = self._asking.result(
                remaining if timeout is None else min(timeout, remaining)
            )
        except BenchmarkError as error:
            raise self._with_words_of_server(error) from error
        other = self._serving.result(self._remaining() + _LAST_WORDS)
        return read_reports(report, other)

    def close(self) -> None:
        """End what still runs of it."""
        self._orders.close()

    def _with_words_of_server(self, error: BenchmarkError) -> BenchmarkError:
        try:
            in_time = not isinstance(error, BenchmarkTimeout)
            self._serving.result(_LAST_WORDS if in_time else 0.0)
        except BenchmarkTimeout:
            return error  # it still waits: it knows nothing
        except BenchmarkError as other:
            return type(error)(f"{error}\n{other}")
        return error

    def _remaining(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _bound_to(address: str, through: tuple[str, int] | None, load: Load) -> str | None:
    """Return the address that the server binds to; None is all of them.

    A server of UDP answers from the address that the way back suggests, and the client
    does not take that for an answer if it is another one than it has asked.
    """
    if load.protocol == "tcp" or through is not None or "%" in address:
        return None  # the zone of an address is an interface of the client's
    return address
