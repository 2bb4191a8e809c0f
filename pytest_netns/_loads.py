"""Loads between two namespaces: latency, new connections, many connections."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._agent import Agent
    from .throughput import Protocol

_PROTOCOLS = ("tcp", "udp")
#: A request holds its number: 8 bytes. The most is what a datagram can be of.
_SMALLEST, _LARGEST = 8, 65_507
#: So that all their times are in memory with ease.
_MOST_REQUESTS = 1_000_000
#: An agent ends by itself what takes too long; if even that fails, it is killed.
_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class LatencySample:
    """What requests at a fixed rate have met.

    Attributes:
        times: Seconds from when each was due until it was answered, in the order
            they were due; those without an answer are left out.
        sent: How many were sent.
        answered: How many of them were answered.
        late: How late half of them at least were sent, in seconds. Beside `times`
            it should be nothing: else the client could not keep up with the rate.
    """

    times: tuple[float, ...]
    sent: int
    answered: int
    late: float

    def quantile(self, part: float) -> float:
        """Return the seconds within which a part of the requests were answered.

        One that was not answered counts as infinitely slow.

        Args:
            part: From 0 (the fastest) to 1 (the slowest); 0.5 is the median.
        """
        if not 0 <= part <= 1:
            raise ValueError(f"a part is from 0 to 1, not {part!r}")
        place = max(1, math.ceil(part * self.sent))
        return sorted(self.times)[place - 1] if place <= self.answered else math.inf


@dataclass(frozen=True, slots=True)
class ConnectionsSample:
    """How many connections were opened, used for one byte, and closed.

    Attributes:
        count: How many.
        seconds: Within how many seconds.
        failed: How many others failed.
        reason: Why the first of those failed, such as "ECONNREFUSED"; or None.
    """

    count: int
    seconds: float
    failed: int
    reason: str | None

    @property
    def per_second(self) -> float:
        """How many a second."""
        return self.count / self.seconds


@dataclass(frozen=True, slots=True)
class ConcurrentSample:
    """What many connections got done, each with one request under way all the time.

    Attributes:
        requests: How many were answered.
        seconds: Within how many seconds.
        held: How many connections were open all the time.
        failed: How many others could not be opened, or broke.
        reason: Why the first of those failed, such as "ECONNREFUSED"; or None.
        opened_in: How many seconds it took until all were open, and answered once.
    """

    requests: int
    seconds: float
    held: int
    failed: int
    reason: str | None
    opened_in: float

    @property
    def requests_per_second(self) -> float:
        """How many requests a second were answered."""
        return self.requests / self.seconds


@contextlib.contextmanager
def serving(
    server: Agent,
    port: int,
    *,
    address: str | None = None,
    protocol: Protocol = "tcp",
    timeout: float = 5.0,
) -> Iterator[None]:
    """Have a server run that sends back what it gets; the port is free after it.

    Args:
        server: Runs it.
        port: Where it listens.
        address: Where it listens; None is on all addresses, of IPv4 and IPv6.
        protocol: ``"tcp"`` or ``"udp"``.
        timeout: How many seconds it may take until it listens.

    Raises:
        BenchmarkError: It cannot listen there.
    """
    _check_port(port)
    _check_protocol(protocol)
    arguments = {"port": port, "address": address, "protocol": protocol}
    with server.begin("echo", **arguments) as order:
        order.wait_ready(timeout)
        yield


def latency(
    client: Agent,
    target: tuple[str, int],
    *,
    rate: float = 2000.0,
    seconds: float = 0.25,
    size: int = 64,
    protocol: Protocol = "tcp",
    timeout: float = 5.0,
) -> LatencySample:
    """Measure how long after they are due requests at a fixed rate are answered.

    None waits for the answer to another: a stall is seen in all that fell due
    meanwhile. The first 20 ms do not count. A client in Python keeps up with some
    20,000 requests per second.

    Args:
        client: Asks.
        target: Address and port of a server of `serving`, or of what leads to it.
        rate: Requests per second.
        seconds: How long requests are sent that count.
        size: The length of requests and of answers, in bytes.
        protocol: ``"tcp"``: all on one connection; or ``"udp"``.
        timeout: How many seconds it may take besides, to connect and at the end.

    Raises:
        BenchmarkError: There is no such server, or it went away.
        BenchmarkTimeout: It does not answer at all.
    """
    address, port = _check_target(target)
    _check_positive(rate=rate, seconds=seconds, timeout=timeout)
    _check_protocol(protocol)
    if rate * seconds > _MOST_REQUESTS:
        raise ValueError(f"that is more than {_MOST_REQUESTS:,} requests")
    _check_count(size=size)
    if not _SMALLEST <= size <= _LARGEST:
        raise ValueError(f"size is {_SMALLEST} to {_LARGEST} bytes, not {size!r}")
    found = client.carry_out(
        "latency",
        2 * timeout + seconds + _GRACE,
        address=address,
        port=port,
        rate=rate,
        seconds=seconds,
        size=size,
        protocol=protocol,
        patience=timeout,
    )
    return LatencySample(
        times=tuple(time / 1e9 for time in found["times"]),
        sent=found["sent"],
        answered=found["answered"],
        late=found["late"] / 1e9,
    )


def connections(
    client: Agent,
    target: tuple[str, int],
    *,
    seconds: float = 0.1,
    in_flight: int = 16,
    timeout: float = 5.0,
) -> ConnectionsSample:
    """Count how many connections can be opened, used for one byte, and closed.

    Args:
        client: Connects.
        target: Address and port of a server of `serving`, or of what leads to it.
        seconds: For how long connections are opened.
        in_flight: How many are under way at the same time.
        timeout: How many seconds the first may take.

    Raises:
        BenchmarkError: None could be opened; says why.
        BenchmarkTimeout: Nobody answered.
    """
    address, port = _check_target(target)
    _check_positive(seconds=seconds, timeout=timeout)
    _check_count(in_flight=in_flight)
    found = client.carry_out(
        "connections",
        timeout + seconds + _GRACE,
        address=address,
        port=port,
        seconds=seconds,
        in_flight=in_flight,
        patience=timeout,
    )
    return ConnectionsSample(**found)


def concurrent(
    client: Agent,
    target: tuple[str, int],
    *,
    held: int = 500,
    seconds: float = 0.1,
    timeout: float = 10.0,
) -> ConcurrentSample:
    """Count the requests that many connections together get answered.

    Each has one request under way all the time.

    Args:
        client: Connects and asks.
        target: Address and port of a server of `serving`, or of what leads to it.
        held: How many connections.
        seconds: For how long requests are counted, when all are open.
        timeout: How many seconds it may take until all are open.

    Raises:
        BenchmarkError: None could be opened, or so many files are not allowed.
        BenchmarkTimeout: Nobody answered.
    """
    address, port = _check_target(target)
    _check_positive(seconds=seconds, timeout=timeout)
    _check_count(held=held)
    found = client.carry_out(
        "concurrent",
        timeout + seconds + _GRACE,
        address=address,
        port=port,
        held=held,
        seconds=seconds,
        patience=timeout,
    )
    return ConcurrentSample(**found)


def _check_target(target: tuple[str, int]) -> tuple[str, int]:
    address, port = target
    _check_port(port)
    return address, port


def _check_port(port: int) -> None:
    if not 0 < port < 1 << 16:
        raise ValueError(f"a port is from 1 to 65535, not {port!r}")


def _check_protocol(protocol: str) -> None:
    if protocol not in _PROTOCOLS:
        raise ValueError(f"protocol is 'tcp' or 'udp', not {protocol!r}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} is more than 0, not {value!r}")


def _check_count(**values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is a whole number from 1, not {value!r}")
