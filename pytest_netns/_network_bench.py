"""Benchmarks of what is between two namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._benchmark import Benchmarks, Options, Plan, Way
from ._settings import Settings, loads_of
from .comparisons import ConnectionsEstimate, LatencyEstimate

if TYPE_CHECKING:
    from ._benchmark import Pins, Target
    from .estimates import Estimate, Interval, Unit
    from .measurement import Measurement
    from .namespace import NetworkNamespace
    from .throughput import Protocol

#: Where a load's own server listens if nobody says: the port of iperf3.
PORT = 5201


class NetworkBench(Benchmarks):
    """Measures the way from one namespace to another."""

    def throughput(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        port: int = PORT,
        protocol: Protocol = "tcp",
        reverse: bool = False,
        parallel: int = 1,
        rate: float | str | None = None,
        budget: float = 5.0,
        precision: float = 0.05,
        pin: Pins | None = None,
        family: int | None = None,
        target: Target | None = None,
        name: str = "",
    ) -> Estimate:
        """Measure what the client can send to the server, in bits a second.

        Args:
            client: Who sends.
            server: Who receives, on `port`.
            port: The server's port.
            protocol: ``"tcp"`` or ``"udp"``.
            reverse: Whether the server sends.
            parallel: How many streams.
            rate: At most how much each stream sends; see `netns_iperf3`.
            budget: In seconds; for this and what follows see `Bench`.
            precision: A part of the median.
            pin: Processors.
            family: 4 or 6.
            target: Where the client connects to, if not to the server's own address.
            name: The benchmark's name.

        Raises:
            BenchmarkError: As in `proxy`, like all other errors.
        """
        flow = {
            "protocol": protocol,
            "reverse": reverse,
            "parallel": parallel,
            "rate": rate,
        }
        settings = Settings(["throughput"], budget, precision, flow=flow)
        options = Options(pin, family, target, name)
        plan = Plan("throughput", client, server, {"": Way(port)}, settings, options)
        measured = self._keep(self._measure(plan))
        return _estimate(measured, "throughput")

    def latency(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        port: int = PORT,
        protocol: Protocol = "tcp",
        rate: float = 2000.0,
        size: int = 64,
        budget: float = 5.0,
        precision: float = 0.05,
        pin: Pins | None = None,
        family: int | None = None,
        target: Target | None = None,
        name: str = "",
    ) -> LatencyEstimate:
        """Measure how long requests take, from when they are due, in seconds.

        Args:
            client: Who asks, at a fixed rate.
            server: Who answers, on `port`.
            port: The server's port.
            protocol: ``"tcp"`` (one connection) or ``"udp"``.
            rate: Requests a second, whether earlier ones were answered or not.
            size: The length of requests and answers, in bytes.
            budget: In seconds; for this and what follows see `Bench`.
            precision: A part of the median.
            pin: Processors.
            family: 4 or 6.
            target: Where the client connects to, if not to the server's own address.
            name: The benchmark's name.

        Raises:
            BenchmarkError: As in `proxy`, like all other errors.
        """
        settings = Settings(
            ["latency"], budget, precision, rate, size=size, protocol=protocol
        )
        options = Options(pin, family, target, name)
        plan = Plan("latency", client, server, {"": Way(port)}, settings, options)
        measured = self._keep(self._measure(plan))
        half = _estimate(measured, "latency")
        return LatencyEstimate(
            *_fields(half),
            p90=_estimate(measured, "latency.p90"),
            p99=_estimate(measured, "latency.p99"),
            p999=_estimate(measured, "latency.p99.9"),
            maximum=_estimate(measured, "latency.max"),
        )

    def connections(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        port: int = PORT,
        held: int = 500,
        budget: float = 5.0,
        precision: float = 0.05,
        pin: Pins | None = None,
        family: int | None = None,
        target: Target | None = None,
        name: str = "",
    ) -> ConnectionsEstimate:
        """Measure how many connections a second can be opened, used and closed.

        Args:
            client: Who connects.
            server: Who accepts, on `port`.
            port: The server's port.
            held: How many connections are open at once in ``.concurrent``.
            budget: In seconds; for this and what follows see `Bench`.
            precision: A part of the median.
            pin: Processors.
            family: 4 or 6.
            target: Where the client connects to, if not to the server's own address.
            name: The benchmark's name.

        Raises:
            BenchmarkError: As in `proxy`, like all other errors.
        """
        settings = Settings(loads_of(["connections"]), budget, precision, held=held)
        options = Options(pin, family, target, name)
        plan = Plan("connections", client, server, {"": Way(port)}, settings, options)
        measured = self._keep(self._measure(plan))
        return ConnectionsEstimate(
            *_fields(_estimate(measured, "connections")),
            concurrent=_estimate(measured, "connections.concurrent"),
            held=measured.held.get("", 0),
        )


def _estimate(measurement: Measurement, key: str) -> Estimate:
    metric = measurement.metric(key)
    assert metric is not None  # noqa: S101  # it was asked for
    return metric.values[""]


def _fields(one: Estimate) -> tuple[tuple[float, ...], Unit, Interval, str | None]:
    return one.samples, one.unit, one.interval, one.unstable
