"""The fixture ``netns_bench``: benchmarks of proxies and networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from ._bench_paths import joined, named
from ._benchmark import Options, Plan, Way
from ._network_bench import NetworkBench
from ._settings import METRICS, Settings, loads_of
from .comparisons import ProxyComparison, ProxyComparisons
from .measurement import DIRECT, PROXIED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Literal

    from ._benchmark import Pins, Target
    from .measurement import Measurement
    from .namespace import NetworkNamespace
    from .process import Process
    from .task import Task


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy between two namespaces, for `Bench.compare`.

    Attributes:
        client: Who connects to it.
        server: Where the load's own server runs.
        through: Address (or the name of a namespace) and port where it listens.
        port: The server's port, to which it forwards.
        process: What it is, to read its CPU time and memory: a process, its number,
            or what `spawn` has given; None if that is not wanted.
    """

    client: NetworkNamespace
    server: NetworkNamespace
    _: KW_ONLY
    through: Target
    port: int
    process: Process | Task[Any] | int | None = None


class Bench(NetworkBench):
    """Measures what is between two namespaces, with intervals that say how well.

    Samples are short and many. Those of a proxy and of the direct way alternate, and
    are compared pair by pair. A benchmark ends when its intervals are narrow enough,
    or when its budget is spent.

    Args that all methods have:

    * ``budget``: how many seconds it may take. If not even three rounds fit, it may
      take a third of that more, or 3 seconds.
    * ``precision``: how narrow is narrow enough: half of the interval, as a part of
      the median (of the ratio, where there is one).
    * ``pin``: the processors of ``"client"``, ``"server"`` and ``"proxy"``, each a
      number or several; who is not in it may run anywhere.
    * ``family``: 4 or 6, for the server's address; None is that of the proxy's.
    * ``target``: address and port by which the client reaches the server directly,
      if NAT makes them differ from the server's own.
    * ``name``: what tells it from other benchmarks of a test.

    Attributes:
        measurements: All that was measured, in order.
    """

    def proxy(
        self,
        client: NetworkNamespace,
        server: NetworkNamespace,
        *,
        through: Target,
        port: int,
        process: Process | Task[Any] | int | None = None,
        metrics: Collection[str] = tuple(METRICS),
        budget: float = 10.0,
        precision: float = 0.05,
        rate: float = 2000.0,
        held: int = 500,
        pin: Pins | None = None,
        family: int | None = None,
        target: Target | None = None,
        name: str = "",
    ) -> ProxyComparison:
        """Compare the way through a proxy with the direct one.

        Args:
            client: Who connects.
            server: Where the load's own server listens, on `port`.
            through: Address (or the name of a namespace) and port where the proxy
                listens, which must forward to the server.
            port: The server's port; nobody else may listen there.
            process: The proxy, for its CPU time and memory; see `Proxy`.
            metrics: Some of ``"throughput"``, ``"latency"``, ``"connections"``.
            budget: In seconds; for this and what follows see `Bench`.
            precision: A part of the ratio.
            rate: Requests a second for the latency, whether answered or not.
            held: How many connections are open at once in ``.concurrent``.
            pin: Processors.
            family: 4 or 6.
            target: The direct way.
            name: The benchmark's name.

        Raises:
            BenchmarkError: The proxy does not forward, or something else went wrong;
                says where.
            BenchmarkTimeout: Something hangs; says what.
            MissingTool: libiperf is not installed.
            ValueError: An argument is out of its bounds.
        """
        proxy = Proxy(client, server, through=through, port=port, process=process)
        settings = Settings(loads_of(metrics), budget, precision, rate, held=held)
        options = Options(pin, family, target, name)
        measured = self._compare("proxy", {PROXIED: proxy}, settings, options)
        return ProxyComparison(self._keep(measured))

    def compare(
        self,
        proxies: Mapping[str, Proxy | ProxyComparison],
        *,
        metrics: Collection[str] = tuple(METRICS),
        budget: float = 10.0,
        precision: float = 0.05,
        rate: float = 2000.0,
        held: int = 500,
        pin: Pins | None = None,
        family: int | None = None,
        target: Target | None = None,
        name: str = "",
    ) -> ProxyComparisons:
        """Compare several proxies in the same rounds, and with the direct way.

        Args:
            proxies: By name. What `proxy` has returned before may be among them; it
                is shown beside them, and not measured again.
            metrics: As in `proxy`, like all that follows.
            budget: In seconds, for each proxy that is measured.
            precision: A part of each ratio.
            rate: Requests a second for the latency.
            held: How many connections are open at once.
            pin: Processors; all proxies have the same.
            family: 4 or 6.
            target: The direct way.
            name: The benchmark's name.

        Raises:
            BenchmarkError: As in `proxy`, like all other errors.
            ValueError: There is no proxy, two have not the same client and server,
                or one has the name of the direct way.
        """
        if not proxies or {"", DIRECT} & proxies.keys():
            raise ValueError(
                f"compare() takes proxies by name, and none is called {DIRECT!r}"
            )
        new = {key: one for key, one in proxies.items() if isinstance(one, Proxy)}
        parts = [
            named(one.measurement, key)
            for key, one in proxies.items()
            if isinstance(one, ProxyComparison)
        ]
        if new:
            total = budget * len(new)
            settings = Settings(loads_of(metrics), total, precision, rate, held=held)
            options = Options(pin, family, target, name)
            parts.insert(0, self._compare("compare", new, settings, options))
        return ProxyComparisons(self._keep(joined(*parts)))

    def _compare(
        self,
        kind: Literal["proxy", "compare"],
        proxies: Mapping[str, Proxy],
        settings: Settings,
        options: Options,
    ) -> Measurement:
        first, *others = proxies.values()
        for other in others:
            if other.client is not first.client or other.server is not first.server:
                raise ValueError(
                    "compare() takes proxies between the same client and server, not "
                    f"between {first.client.name!r} and {first.server.name!r}, and "
                    f"between {other.client.name!r} and {other.server.name!r}"
                )
        ways = {DIRECT: Way(first.port)} | {
            name: Way(proxy.port, proxy.through, proxy.process)
            for name, proxy in proxies.items()
        }
        return self._measure(
            Plan(kind, first.client, first.server, ways, settings, options)
        )
