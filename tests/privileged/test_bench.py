"""`netns_bench`: proxies beside the direct way, and what is between two namespaces.

::

               br0  10.0.0.0/24, fd00::/64
     ┌──────────┼──────────┐
  client .1   proxy .2   server .3
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    Bridge,
    Namespace,
    Network,
    Process,
    Topology,
    UnstableBenchmark,
    Veth,
)
from pytest_netns._agents import Agents
from pytest_netns._costs import ProcessTree
from pytest_netns.bench import Bench, Proxy
from pytest_netns.errors import BenchmarkError, BenchmarkTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns.comparisons import Comparison, ProxyComparison
    from pytest_netns.estimates import Estimate
    from pytest_netns.measurement import Measurement

NAMES = ("client", "proxy", "server")
BEHIND_A_PROXY = Topology(
    Bridge("br0"),
    *(Namespace(name) for name in NAMES),
    *(
        Veth(name, "br0", address=[f"10.0.0.{number}/24", f"fd00::{number}/64"])
        for number, name in enumerate(NAMES, 1)
    ),
)
PROXY, SERVER = "10.0.0.2", "10.0.0.3"
PORT, SERVER_PORT = 8080, 5201
CPUS = sorted(os.sched_getaffinity(0))

pytestmark = pytest.mark.netns(BEHIND_A_PROXY)

#: Forwards, and sleeps or works for some seconds before it hands a chunk on.
FORWARD = """
import contextlib, socket, sys, threading, time

def pump(one, other, pause, spin):
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 18):
            if pause:
                time.sleep(pause)
            end = time.thread_time() + spin
            while time.thread_time() < end:
                pass
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
        return
    for either in (one, other):  # it was reset
        with contextlib.suppress(OSError):
            either.shutdown(socket.SHUT_RDWR)

def serve(near, target, pause, spin):
    with near, socket.create_connection(target) as far:
        for either in (near, far):
            either.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(far, near, pause, spin))
        back.start()
        pump(near, far, pause, spin)
        back.join()

def forward(listening, target, pause=0.0, spin=0.0):
    listening.settimeout(0.05)
    while True:
        with contextlib.suppress(TimeoutError):
            near, _ = listening.accept()
            near.settimeout(None)
            arguments = (near, target, pause, spin)
            threading.Thread(target=serve, args=arguments, daemon=True).start()
"""
PROGRAM = (
    FORWARD
    + """
family, port, address, target, pause, spin = sys.argv[1:]
listening = socket.create_server(
    (address, int(port)), family=int(family), backlog=1024
)
forward(listening, (target, 5201), float(pause), float(spin))
"""
)


@pytest.fixture
def bench(netns: Network) -> Iterator[Bench]:
    """Give benchmarks that are no part of this run's own results."""
    del netns
    with Agents() as agents:
        yield Bench(agents)


@pytest.fixture
def start(netns: Network) -> Callable[..., Process]:
    """Start a proxy that listens."""

    def start(
        pause: float = 0.0,
        spin: float = 0.0,
        port: int = PORT,
        addresses: tuple[str, str] = (PROXY, SERVER),
    ) -> Process:
        family = 10 if ":" in addresses[0] else 2  # AF_INET6, AF_INET
        process = netns["proxy"].popen(
            [
                *(sys.executable, "-I", "-c", PROGRAM, str(family), str(port)),
                *(*addresses, str(pause), str(spin)),
            ],
            name="proxy",
        )
        process.wait_listening(port)
        return process

    return start


def estimates(comparison: Comparison) -> list[Estimate]:
    """Return all three."""
    return [comparison.direct, comparison.proxied, comparison.ratio]


def test_a_proxy_is_compared_in_all_respects(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """Each metric has samples of both ways, pair by pair, and says how sure it is."""
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(PROXY, PORT),
        port=SERVER_PORT,
        process=start(),
        budget=3.0,
        held=50,
        name="small",
    )

    comparisons = [
        *(result.throughput, result.throughput.down, result.latency),
        *(result.latency.p90, result.latency.p99, result.latency.p999),
        *(result.latency.maximum, result.connections, result.connections.concurrent),
    ]
    for one in comparisons:
        rounds = {len(estimate.samples) for estimate in estimates(one)}
        assert len(rounds) == 1
        assert min(rounds) >= 3
        assert all(min(estimate.samples) > 0 for estimate in estimates(one))
        assert one.ratio.samples == pytest.approx(
            [
                proxied / direct
                for proxied, direct in zip(
                    one.proxied.samples, one.direct.samples, strict=True
                )
            ]
        )
    assert result.connections.concurrent.held == 50
    assert result.cost is not None
    assert result.cost.cpu.samples
    assert min(result.cost.cpu.samples) > 0
    assert min(result.cost.memory.samples) > 1 << 20
    measured = result.measurement
    assert (measured.kind, measured.name) == ("proxy", "small")
    assert measured.title == "client to server through 10.0.0.2:8080"
    assert measured.paths == ("direct", "proxied")
    assert "client" in measured.topology
    assert measured.machine["libiperf"]
    assert set(measured.requests) == {"direct", "proxied"}
    assert any("offloads" in note for note in measured.notes)
    assert bench.measurements == [measured]


def test_a_slow_proxy_is_seen_to_be_slow(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """One that sleeps for a millisecond with each chunk costs that, and throughput."""
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(PROXY, PORT),
        port=SERVER_PORT,
        process=start(pause=0.001),
        metrics=["throughput", "latency"],
        rate=100,
        budget=3.0,
    )

    assert result.throughput.ratio.interval.high < 0.8
    assert result.latency.ratio.interval.low > 2
    # on the way there and on the way back
    assert result.latency.proxied.interval.median > 0.002
    assert result.latency.direct.interval.median < 0.002
    with pytest.raises(BenchmarkError, match="connections was not measured"):
        _ = result.connections
    assert f"throughput {result.throughput.ratio}" in repr(result)
    assert f"ratio {result.throughput.ratio}" in repr(result.throughput)


def test_the_direct_way_is_as_fast_as_itself(netns: Network, bench: Bench) -> None:
    """A "proxy" that is the server itself has a ratio of about 1."""
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(SERVER, SERVER_PORT),
        port=SERVER_PORT,
        metrics=["throughput", "connections"],
        held=20,
        budget=3.0,
    )

    for comparison in (result.throughput, result.connections):
        interval = comparison.ratio.interval
        # an interval of 95 % misses the truth now and then, but not by much
        assert interval.low < 1.15
        assert interval.high > 0.85
        assert 0.6 < interval.median < 1.6
    assert result.cost is None


def test_a_proxy_that_works_more_costs_more(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """Two in one comparison: their costs are told apart, and their throughput."""
    client, server = netns["client"], netns["server"]
    processes = {
        "idle": (8001, start(port=8001)),
        "busy": (8002, start(port=8002, spin=0.001)),
    }
    result = bench.compare(
        {
            name: Proxy(
                client, server, through=(PROXY, port), port=SERVER_PORT, process=process
            )
            for name, (port, process) in processes.items()
        },
        metrics=["throughput"],
        budget=1.5,
    )

    idle, busy = result["idle"], result["busy"]
    assert idle.cost is not None
    assert busy.cost is not None
    assert busy.cost.cpu.interval.low > 1.5 * idle.cost.cpu.interval.high
    assert busy.throughput.proxied.interval.high < idle.throughput.proxied.interval.low
    assert idle.throughput.direct.samples == busy.throughput.direct.samples
    assert list(result) == ["idle", "busy"]
    assert result.measurement.paths == ("direct", "idle", "busy")
    for text in ("direct", "idle", "busy", "throughput"):
        assert text in result.table()
    assert str(result) == result.table()
    with pytest.raises(KeyError, match="known: idle, busy"):
        result["nginx"]


def test_a_forking_proxy_is_measured(netns: Network, bench: Bench) -> None:
    """Of socat there is a process for each connection; most end while we look."""
    socat = netns["proxy"].popen(
        [
            *("socat", f"TCP-LISTEN:{PORT},fork,reuseaddr,backlog=1024"),
            f"TCP:{SERVER}:{SERVER_PORT}",
        ]
    )
    socat.wait_listening(PORT)
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(PROXY, PORT),
        port=SERVER_PORT,
        process=socat,
        metrics=["throughput", "connections"],
        held=20,
        budget=2.0,
    )

    assert result.cost is not None
    assert result.cost.cpu.interval.low > 0.01
    assert result.cost.memory_per_connection.samples
    assert min(result.cost.memory_per_connection.samples) > 1024
    assert result.connections.ratio.interval.high < 0.9


def test_a_callable_can_be_the_proxy(netns: Network, bench: Bench) -> None:
    """A thread of the test process: its time is read, its memory is not known."""
    names: dict[str, Any] = {}
    exec(FORWARD, names)  # noqa: S102  # our own, which is a program elsewhere
    with netns["proxy"]:
        import socket

        listening = socket.create_server((PROXY, PORT), backlog=1024)
    task = netns["proxy"].spawn(names["forward"], listening, (SERVER, SERVER_PORT))
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(PROXY, PORT),
        port=SERVER_PORT,
        process=task,
        metrics=["throughput"],
        budget=1.0,
    )
    task.cancel()
    listening.close()

    assert result.cost is not None
    assert min(result.cost.cpu.samples) > 0.01
    with pytest.raises(UnstableBenchmark, match="nothing was measured"):
        _ = result.cost.memory.median


def test_ipv6_and_names_are_ways_as_well(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """The direct way has the address family of the proxy's."""
    client, server = netns["client"], netns["server"]
    start(addresses=("fd00::2", "fd00::3"))
    with netns.capture("client:eth0", bpf_filter="tcp and ip") as capture:
        result = bench.proxy(
            client,
            server,
            through=("fd00::2", PORT),
            port=SERVER_PORT,
            metrics=["latency"],
            budget=0.5,
        )
    assert len(capture) == 0
    assert result.measurement.title == "client to server through [fd00::2]:8080"

    with netns.capture("client:eth0", bpf_filter="tcp and ip6") as capture:
        result = bench.proxy(
            client,
            server,
            through=("proxy", PORT),
            port=SERVER_PORT,
            metrics=["latency"],
            family=6,
            budget=0.5,
        )
    assert len(capture) > 0
    assert result.measurement.title == "client to server through [fd00::2]:8080"


def test_a_proxy_to_nowhere_is_an_error(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """It says where was asked, from where, and that the server is not the reason."""
    start(addresses=(PROXY, "10.0.0.77"))
    message = (
        "path 'proxied': what listens at 10.0.0.2 port 8080, tried from namespace "
        "'client', does not forward to the server in namespace 'server', port 5201, "
        "which does answer directly: "
    )
    with pytest.raises(BenchmarkError, match=message):
        bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            budget=1.0,
        )


def test_nobody_listening_is_an_error(netns: Network, bench: Bench) -> None:
    """The proxy is not there."""
    with pytest.raises(BenchmarkError, match=r"at 10\.0\.0\.2 port 8080.*ECONNREFUSED"):
        bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            budget=1.0,
        )


def test_a_server_that_is_out_of_reach_is_an_error(
    netns: Network, bench: Bench
) -> None:
    """That is not the proxy's fault, and the error does not say so."""
    netns["client"].nft(
        "table inet f { chain o { type filter hook output priority 0; "
        "tcp dport 5201 reject with tcp reset; }; }"
    )
    with pytest.raises(
        BenchmarkError,
        match=r"the server in namespace 'server', port 5201, does not answer at 10\.",
    ):
        bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            budget=1.0,
        )


def test_a_proxy_that_hangs_ends_the_benchmark(netns: Network, bench: Bench) -> None:
    """One that accepts and says nothing more; there is a limit in time always."""
    import socket

    with netns["proxy"]:
        silent = socket.create_server((PROXY, PORT))
    began = time.monotonic()
    with silent, pytest.raises(BenchmarkTimeout, match="path 'proxied'"):
        bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            budget=1.0,
        )
    assert time.monotonic() - began < 15


def test_a_port_that_somebody_has_is_an_error(netns: Network, bench: Bench) -> None:
    """The server of the load must have it for itself."""
    import socket

    with netns["server"]:
        taken = socket.create_server((SERVER, SERVER_PORT))
    with taken, pytest.raises(BenchmarkError, match="EADDRINUSE"):
        bench.latency(netns["client"], netns["server"], budget=0.5)


def test_a_process_that_has_ended_is_an_error(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """A proxy that became a daemon cannot be asked what it costs."""
    process = start()
    process.stop()
    with pytest.raises(BenchmarkError, match="has ended"):
        bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            process=process,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["latncy"]}, "unknown metric 'latncy'; known: 'throughput', 'lat"),
        ({"metrics": []}, "metrics must be some of"),
        ({"metrics": "latency"}, "metrics must be some of"),
        ({"budget": 0}, "budget must be above 0"),
        ({"precision": -1}, "precision must be above 0"),
        ({"held": 0}, "held must be above 0"),
        ({"port": 0}, "a port is a number from 1 to 65535, not 0"),
        ({"through": (PROXY, 70_000)}, "a port is a number from 1 to 65535"),
        ({"pin": {"client": 4096}}, "cannot run on processor 4096"),
        ({"pin": {"proxy": CPUS[0]}}, "process= tells which it is"),
        ({"pin": {"router": CPUS[0]}}, "unknown role 'router'"),
    ],
)
def test_a_wrong_argument_is_an_error(
    netns: Network, bench: Bench, arguments: dict[str, Any], message: str
) -> None:
    """Before anything is started."""
    correct: dict[str, Any] = {"through": (PROXY, PORT), "port": SERVER_PORT}
    with pytest.raises(ValueError, match=message):
        bench.proxy(netns["client"], netns["server"], **correct | arguments)
    assert [process.name for process in netns.processes if process.name != "load"] == []


def test_a_comparison_is_between_the_same_two(netns: Network, bench: Bench) -> None:
    """And needs a name for each proxy."""
    client, server = netns["client"], netns["server"]
    one = Proxy(client, server, through=(PROXY, 8001), port=SERVER_PORT)
    other = Proxy(client, netns["proxy"], through=(PROXY, 8002), port=SERVER_PORT)
    with pytest.raises(ValueError, match="not between 'client' and 'server', and"):
        bench.compare({"one": one, "other": other})
    for wrong in ({}, {"direct": one}, {"": one}):
        with pytest.raises(ValueError, match="takes proxies by name"):
            bench.compare(wrong)


def test_results_can_be_compared_that_were_measured_before(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """They stand in one table, each with the ratio that it has."""
    client, server = netns["client"], netns["server"]
    results: dict[str, ProxyComparison] = {}
    for port, name in ((8001, "first"), (8002, "second")):
        start(port=port)
        results[name] = bench.proxy(
            client,
            server,
            through=(PROXY, port),
            port=SERVER_PORT,
            metrics=["latency"],
            budget=0.5,
        )
    start(port=8003)
    third = Proxy(client, server, through=(PROXY, 8003), port=SERVER_PORT)
    both = bench.compare(dict(results))
    every = bench.compare({**results, "third": third}, metrics=["latency"], budget=0.5)

    assert list(both) == ["first", "second"]
    assert set(every) == {"first", "second", "third"}
    for joined in (both, every):
        for name, result in results.items():
            assert joined[name].latency.ratio == result.latency.ratio
            assert joined[name].latency.proxied == result.latency.proxied


def test_the_budget_is_kept(
    netns: Network, bench: Bench, start: Callable[..., Process]
) -> None:
    """A benchmark is not much longer than it may be, and uses it if it has to."""
    process = start()
    for budget in (0.5, 3.0):
        began = time.monotonic()
        result = bench.proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            process=process,
            precision=0.000_1,
            held=20,
            budget=budget,
        )
        seconds = time.monotonic() - began
        assert 0.8 * budget < seconds < 2 * budget + 5
        assert result.measurement.seconds == pytest.approx(seconds, rel=0.2)
        assert min(result.measurement.rounds.values()) >= 1


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one processor only")
def test_pins_last_as_long_as_the_benchmark(
    netns: Network, start: Callable[..., Process]
) -> None:
    """Then the proxy may run where it could before."""
    process = start()
    seen: set[tuple[str, frozenset[int]]] = set()

    def look(_text: str) -> None:
        for thread in ProcessTree(process.pid).threads():
            seen.add(("proxy", frozenset(os.sched_getaffinity(thread))))
        for name in ("client", "server"):
            for other in netns[name].processes:
                if other.poll() is None:
                    seen.add((name, frozenset(os.sched_getaffinity(other.pid))))

    with Agents() as agents:
        Bench(agents, progress=look).proxy(
            netns["client"],
            netns["server"],
            through=(PROXY, PORT),
            port=SERVER_PORT,
            process=process,
            metrics=["latency"],
            pin={"client": CPUS[0], "server": {CPUS[1]}, "proxy": {CPUS[0], CPUS[1]}},
            budget=0.5,
        )
    after = os.sched_getaffinity(process.pid)

    assert ("client", frozenset({CPUS[0]})) in seen
    assert ("server", frozenset({CPUS[1]})) in seen
    assert ("proxy", frozenset(CPUS[:2])) in seen
    assert after == set(CPUS)


def test_people_see_what_goes_on_and_who_notes_gets_it(netns: Network) -> None:
    """Lines of progress, the last of which is empty; and each measurement, once."""
    lines: list[str] = []
    noted: list[Measurement] = []
    with Agents() as agents:
        bench = Bench(agents, note=noted.append, progress=lines.append)
        bench.latency(netns["client"], netns["server"], budget=0.5, name="x")

    assert lines[0].startswith("latency: latency, p50, warm-up, ")
    assert lines[-1] == ""
    assert "round 3" in "".join(lines)
    assert [one.name for one in noted] == ["x"]
    assert noted == bench.measurements


def test_throughput_between_two_namespaces(netns: Network, bench: Bench) -> None:
    """In bits a second, either way, and by UDP at a rate."""
    client, server = netns["client"], netns["server"]
    there = bench.throughput(client, server, budget=1.0)
    back = bench.throughput(client, server, reverse=True, parallel=2, budget=1.0)
    slow = bench.throughput(client, server, protocol="udp", rate="10mbit", budget=1.5)

    for one in (there, back):
        assert one.unit == "bit/s"
        assert min(one.samples) > 100e6
    assert 8e6 < slow.interval.median < 12e6
    assert [one.kind for one in bench.measurements] == ["throughput"] * 3
    assert bench.measurements[0].paths == ("",)


def test_latency_between_two_namespaces(netns: Network, bench: Bench) -> None:
    """Half of the requests are faster than nine of ten, and so on."""
    client, server = netns["client"], netns["server"]
    for protocol in ("tcp", "udp"):
        found = bench.latency(client, server, protocol=protocol, rate=500, budget=1.0)
        order = (found, found.p90, found.p99, found.p999, found.maximum)
        medians = [one.interval.median for one in order]
        assert medians == sorted(medians)
        assert 1e-6 < medians[0] < 0.1
        assert found.unit == "s"


def test_connections_between_two_namespaces(netns: Network, bench: Bench) -> None:
    """New ones a second, and requests over many that are open."""
    found = bench.connections(netns["client"], netns["server"], held=30, budget=1.0)

    assert min(found.samples) > 10
    assert found.concurrent.unit == "1/s"
    assert min(found.concurrent.samples) > 100
    assert found.held == 30


def test_a_client_that_cannot_keep_the_rate_gives_no_number(
    netns: Network, bench: Bench
) -> None:
    """It would be the client's own latency."""
    found = bench.latency(netns["client"], netns["server"], rate=400_000, budget=1.0)

    assert found.samples
    for one in (found, found.p90, found.p999):
        with pytest.raises(
            UnstableBenchmark, match="the client could not keep the rate"
        ):
            _ = one.median


def test_a_server_behind_nat_is_reached_by_its_target(
    netns: Network, bench: Bench
) -> None:
    """The client connects to where NAT takes it to the server."""
    netns["proxy"].nft(
        f"""table ip n {{
            chain there {{
                type nat hook prerouting priority dstnat
                tcp dport 99 dnat to {SERVER}:{SERVER_PORT}
            }}
            chain back {{
                type nat hook postrouting priority srcnat
                masquerade
            }}
        }}"""
    )
    netns["proxy"].sysctl["net.ipv4.ip_forward"] = "1"
    client, server, target = netns["client"], netns["server"], (PROXY, 99)
    counts = []
    for way in (None, target):
        with netns.capture("client:eth0", bpf_filter=f"tcp and host {SERVER}") as seen:
            bench.latency(client, server, target=way, budget=0.5)
        counts.append(len(seen))
    assert counts[0] > 0
    assert counts[1] == 0

    for measure in (bench.throughput, bench.connections):
        assert min(measure(client, server, target=target, budget=0.5).samples) > 0


def test_results_can_be_read_elsewhere(
    netns: Network, bench: Bench, tmp_path: Any
) -> None:
    """As JSON, as a table, and as a page."""
    result = bench.proxy(
        netns["client"],
        netns["server"],
        through=(SERVER, SERVER_PORT),
        port=SERVER_PORT,
        metrics=["latency"],
        budget=0.5,
    )

    data = json.loads(result.to_json())
    assert data["title"] == result.measurement.title
    assert "latency, p50" in result.table()
    page = result.to_html(tmp_path / "page.html")
    assert page == str(tmp_path / "page.html")
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_proxy_is_a_record() -> None:
    """It can be changed into another one, and not by accident."""
    one: Any = Proxy(None, None, through=(PROXY, 1), port=2)  # type: ignore[arg-type]

    assert dataclasses.replace(one, port=3).port == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.port = 4
    assert math.isfinite(one.port)
