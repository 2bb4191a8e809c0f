"""What a benchmark measures: loads on the paths from a client to a server."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _iperf3, _loads
from ._costs import Meter
from ._rounds import Load
from ._settings import KINDS
from .errors import BenchmarkError, BenchmarkTimeout
from .measurement import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ._agent import Agent
    from ._costs import Subject
    from ._settings import Kind, Settings
    from .throughput import ThroughputResult

    _Measure = Callable[[str, float], "Metered[Any]"]


#: How many round trips a sample must last at least: TCP has found its rate by then.
_ROUND_TRIPS = 20
#: And so long on any path, in seconds: a proxy's memory is seen every 20 ms.
_SHORTEST = 0.05
#: No sample is made longer for that than this, in seconds.
_LONGEST = 2.0

#: How long it may take to open many connections, in seconds: time for one SYN more
#: where the proxy's backlog is short (RFC 6298: after a second).
_OPENING = 2.0
#: How often a flow is tried that somebody else's connection may have disturbed, or
#: that was over before anybody had a processor; and how many times longer each time.
_ATTEMPTS, _LONGER = 3, 4

T = TypeVar("T")


class _NothingArrived(Exception):
    """A flow has ended, but not one byte has come through."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a proxy used during a sample; see `Meter`."""

    cpu: float
    memory: float | None


@dataclass(frozen=True, slots=True)
class Metered(Generic[T]):
    """What a load gives, and what the proxy used, if that is known."""

    result: T
    used: Used | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """A client, a server, and the paths between them.

    Attributes:
        client: Asks.
        server: Answers.
        address: The server's own address.
        ports: Where it listens for each path.
        targets: What the client connects to on each path.
        subjects: Whose use is read, by path.
        settings: What is measured.
    """

    client: Agent
    server: Agent
    address: str
    ports: Mapping[str, int]
    targets: Mapping[str, tuple[str, int]]
    subjects: Mapping[str, Subject]
    settings: Settings

    def check(self) -> float:
        """See whether the server answers on each path, and in how many seconds.

        Raises:
            BenchmarkError: It does not; says where from and where to.
        """
        slowest = 0.0
        with self._echo():
            for path, (address, port) in self.targets.items():
                try:
                    sample = _loads.latency(
                        self.client,
                        (address, port),
                        rate=1000,
                        seconds=0.01,
                        protocol=self.settings.protocol,
                        timeout=self.settings.patience,
                    )
                except BenchmarkError as error:
                    raise type(error)(self._complaint(path, error)) from error
                slowest = max(slowest, min(sample.times, default=0.0))
        return slowest

    def _complaint(self, path: str, error: BenchmarkError) -> str:
        address, port = self.targets[path]
        where = f"{address} port {port}, tried from namespace {self.client.namespace!r}"
        server = (
            f"the server in namespace {self.server.namespace!r}, "
            f"port {self.ports[path]}"
        )
        if path in {"", DIRECT}:
            return f"{server}, does not answer at {where}: {error}"
        return (
            f"path {path!r}: what listens at {where}, does not forward to {server}, "
            f"which does answer directly: {error}"
        )

    def loads(self, round_trip: float) -> list[Load[Metered[Any]]]:
        """Return what is to be measured.

        Args:
            round_trip: How long an answer takes, in seconds; samples are longer.
        """
        shortest = min(_LONGEST, round_trip * _ROUND_TRIPS)
        flow, no_server = self._flow, contextlib.nullcontext
        how: dict[str, tuple[_Measure, Callable[[], AbstractContextManager[None]]]] = {
            "throughput": (flow, no_server),
            "throughput.down": (functools.partial(flow, reverse=True), no_server),
            "latency": (self._latency, self._echo),
            "connections": (self._connections, self._echo),
            "connections.concurrent": (self._concurrent, self._echo),
        }
        return [
            Load(
                key,
                self.title(key),
                max(KINDS[key].seconds, shortest),
                measure,
                functools.partial(_number, KINDS[key]),
                shortest=max(_SHORTEST, shortest),
                serving=serving,
            )
            for key, (measure, serving) in how.items()
            if key in self.settings.loads
        ]

    def title(self, key: str) -> str:
        """Return what people read for the key of a load."""
        return KINDS[key].title.format(held=self.settings.held)

    @contextlib.contextmanager
    def _echo(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for port in sorted(set(self.ports.values())):
                serving = _loads.serving(
                    self.server,
                    port,
                    protocol=self.settings.protocol,
                    timeout=self.settings.patience,
                )
                stack.enter_context(serving)
            yield

    # the loads: each takes a path and seconds

    def _flow(
        self, path: str, seconds: float, *, reverse: bool = False
    ) -> Metered[ThroughputResult]:
        for attempt in range(_ATTEMPTS):
            longer = seconds * _LONGER**attempt
            try:
                return self._metered(
                    path,
                    functools.partial(self._run_iperf3, path, longer, reverse=reverse),
                )
            except _NothingArrived as error:
                failure: BenchmarkError = BenchmarkTimeout(str(error))
            except BenchmarkTimeout:
                raise
            except BenchmarkError as error:
                failure = error  # somebody else's connection may have come first
        raise failure

    def _run_iperf3(
        self, path: str, seconds: float, *, reverse: bool
    ) -> ThroughputResult:
        target, own = self.targets[path], (self.address, self.ports[path])
        result = _iperf3.measure(
            self.client,
            self.server,
            address=self.address,
            port=self.ports[path],
            through=None if target == own else target,
            duration=seconds,
            timeout=seconds + self.settings.patience,
            **{"reverse": reverse, **self.settings.flow},
        )
        if not result.bytes:
            raise _NothingArrived(f"nothing arrived within {seconds:.2g} s")
        return result

    def _latency(self, path: str, seconds: float) -> Metered[_loads.LatencySample]:
        sample = _loads.latency(
            self.client,
            self.targets[path],
            rate=self.settings.rate,
            seconds=seconds,
            size=self.settings.size,
            protocol=self.settings.protocol,
            timeout=self.settings.patience,
        )
        if not sample.answered:
            raise BenchmarkTimeout(f"none of {sample.sent} requests was answered")
        return Metered(sample)

    def _connections(
        self, path: str, seconds: float
    ) -> Metered[_loads.ConnectionsSample]:
        sample = _loads.connections(
            self.client,
            self.targets[path],
            seconds=seconds,
            timeout=self.settings.patience,
        )
        if not sample.count:
            raise BenchmarkTimeout(f"no connection was answered within {seconds:.2g} s")
        self._settle(path)
        return Metered(sample)

    def _concurrent(
        self, path: str, seconds: float
    ) -> Metered[_loads.ConcurrentSample]:
        measured = self._metered(
            path,
            lambda: _loads.concurrent(
                self.client,
                self.targets[path],
                held=self.settings.held,
                seconds=seconds,
                timeout=max(_OPENING, seconds),
            ),
        )
        self._settle(path)
        return measured

    def _settle(self, path: str) -> None:
        """Wait until a proxy has got round to connections that were opened before.

        Else it would still connect to the next server, which may be that of iperf3,
        and that takes whoever comes first for its client.
        """
        if path not in {"", DIRECT}:
            _loads.connections(
                self.client,
                self.targets[path],
                seconds=0.001,
                in_flight=1,
                timeout=self.settings.patience,
            )

    def _metered(self, path: str, measure: Callable[[], T]) -> Metered[T]:
        if path not in self.subjects:
            return Metered(measure())
        with Meter(self.subjects[path]) as meter:
            result = measure()
        return Metered(result, Used(meter.cpu, meter.memory))


def _number(kind: Kind, sample: Metered[Any]) -> float:
    return kind.value(sample.result)
