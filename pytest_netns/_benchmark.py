"""What all benchmarks have in common: ends, paths, rounds, and a measurement."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _machine
from ._costs import subject_of
from ._experiment import Experiment
from ._pinning import check_pins, pinned
from ._rounds import Rounds
from ._summary import Summary
from .errors import InvalidAddress
from .measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Literal

    from ._addresses import Address
    from ._agents import Agents
    from ._costs import Subject
    from ._experiment import Metered
    from ._settings import Settings
    from .namespace import NetworkNamespace
    from .process import Process
    from .task import Task

    Kind = Literal["proxy", "compare", "throughput", "latency", "connections"]
    #: An address, or the name of a namespace; and a port.
    Target = tuple[str | Address, int]
    Pins = Mapping[str, int | Collection[int]]


@dataclass(frozen=True, slots=True)
class Way:
    """A way from the client to the server.

    Attributes:
        port: The server's port.
        through: Where the client connects to; None is the server itself.
        process: Who forwards, if its costs are to be read.
    """

    port: int
    through: Target | None = None
    process: Process | Task[Any] | int | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What all benchmarks can be told; see `Bench`."""

    pin: Pins | None
    family: int | None
    target: Target | None
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a benchmark is about.

    Attributes:
        kind: The method that was called.
        client: Who connects.
        server: Where the load's own server runs.
        ways: From one to the other, by name; others are compared with the first.
        settings: What is measured.
        options: What all benchmarks can be told.
    """

    kind: Kind
    client: NetworkNamespace
    server: NetworkNamespace
    ways: Mapping[str, Way]
    settings: Settings
    options: Options

    def address(self) -> Address:
        """Return the server's address, of the proxies' family if it has one."""
        find, name = self.client.address_of, self.server.name
        if self.options.family is not None:
            return find(name, family=self.options.family)
        for way in self.ways.values():
            if way.through is not None:
                with contextlib.suppress(ValueError, InvalidAddress):
                    proxy = ipaddress.ip_address(str(way.through[0]))
                    return find(name, family=proxy.version)
        return find(name)

    def targets(self) -> dict[str, tuple[str, int]]:
        """Return what the client connects to on each way."""
        own = self.address()
        targets = {}
        for path, way in self.ways.items():
            address, port = way.through or self.options.target or (own, way.port)
            for number in (port, way.port):
                _check_port(number)
            targets[path] = (self._resolved(str(address)), port)
        return targets

    def _resolved(self, address: str) -> str:
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            return str(self.client.address_of(address, family=self.options.family))

    def title(self) -> str:
        """Return what people read."""
        title = f"{self.client.name} to {self.server.name}"
        _, *others = self.targets().values()
        if len(others) == 1:
            ((address, port),) = others
            title += f" through {f'[{address}]' if ':' in address else address}:{port}"
        return title


class Benchmarks:
    """Carries benchmarks out.

    Args:
        agents: Lends the processes of loads.
        note: Called with each measurement.
        progress: Called with a line for people, and with "" at the end.

    Attributes:
        measurements: All that was measured, in order.
    """

    def __init__(
        self,
        agents: Agents,
        *,
        note: Callable[[Measurement], None] = lambda _: None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._agents = agents
        self._note = note
        self._progress = progress
        self.measurements: list[Measurement] = []

    def _keep(self, measurement: Measurement) -> Measurement:
        self.measurements.append(measurement)
        self._note(measurement)
        return measurement

    def _measure(self, plan: Plan) -> Measurement:
        began, start = time.time(), time.monotonic()
        machine, used = _machine.describe(), _machine.look()
        before = _machine.CpuTimes()
        with contextlib.ExitStack() as stack:
            stack.callback(self._progress, "")
            experiment = self._set_up(plan, stack)
            idle = {path: one.memory() for path, one in experiment.subjects.items()}
            loads = experiment.loads(experiment.check())
            rounds: Rounds[Metered[Any]] = Rounds(
                loads,
                list(plan.ways),
                budget=plan.settings.budget - (time.monotonic() - start),
                precision=plan.settings.precision,
                progress=lambda text: self._progress(f"{plan.kind}: {text}"),
            )
            rounds.run()
        after = _machine.CpuTimes()
        summary = Summary(experiment, rounds.taken, idle)
        return Measurement(
            kind=plan.kind,
            title=plan.title(),
            metrics=tuple(summary.metrics()),
            machine=machine | summary.versions(),
            topology=plan.client.draw_network(),
            began=began,
            seconds=time.monotonic() - start,
            rounds={key: len(taken) for key, taken in rounds.taken.items()},
            notes=(
                *summary.notes(),
                *_machine.warnings(machine, used, before, after),
                *_notes_on_offloads(plan.client, plan.server),
            ),
            series=tuple(summary.series()),
            requests=summary.requests(),
            held=summary.held(),
            name=plan.options.name,
        )

    def _set_up(self, plan: Plan, stack: contextlib.ExitStack) -> Experiment:
        pins = check_pins(plan.options.pin)
        targets = plan.targets()
        subjects: dict[str, Subject] = {
            path: subject_of(way.process)
            for path, way in plan.ways.items()
            if way.process is not None
        }
        if "proxy" in pins and not subjects:
            raise ValueError(
                "pin: the proxy can be pinned if process= tells which it is"
            )
        for subject in subjects.values() if "proxy" in pins else ():
            stack.enter_context(pinned(subject, pins["proxy"]))
        borrow = self._agents.borrow
        return Experiment(
            stack.enter_context(borrow(plan.client, pins.get("client"))),
            stack.enter_context(borrow(plan.server, pins.get("server"))),
            str(plan.address()),
            {path: way.port for path, way in plan.ways.items()},
            targets,
            subjects,
            plan.settings,
        )


def _check_port(port: object) -> None:
    if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 1 << 16:
        return
    raise ValueError(f"a port is a number from 1 to 65535, not {port!r}")


def _notes_on_offloads(*namespaces: NetworkNamespace) -> Iterator[str]:
    """Yield which offloads are on where: much of a throughput is theirs."""
    found: dict[str, list[str]] = {}
    for namespace in dict.fromkeys(namespaces):
        for interface in namespace.interfaces:
            if interface.name != "lo":
                on = ", ".join(sorted(interface.offloads)) or "none"
                place = f"{namespace.name}:{interface.name}"
                found.setdefault(on, []).append(place)
    for on, places in found.items():
        yield f"offloads that are on at {', '.join(places)}: {on}"
