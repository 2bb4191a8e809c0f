"""Comparisons of proxies: what they are made of, and how they are read."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import BenchmarkError, BenchmarkTimeout, UnstableBenchmark
from pytest_netns._bench_paths import joined, named, only
from pytest_netns._experiment import Experiment, Metered, Used
from pytest_netns._loads import ConcurrentSample, ConnectionsSample, LatencySample
from pytest_netns._rounds import Taken
from pytest_netns._settings import KINDS, METRICS, Settings, loads_of
from pytest_netns._summary import Summary
from pytest_netns.comparisons import ProxyComparison, ProxyComparisons
from pytest_netns.estimates import quantile
from pytest_netns.measurement import Measurement
from pytest_netns.throughput import ThroughputResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: How much slower a path is than the direct one.
SLOWNESS = {"": 1.0, "direct": 1.0, "proxied": 2.0, "haproxy": 2.0, "mine": 4.0}
VERSION = {"start": {"version": "iperf 3.12"}}
RATE = 2000.0


class Subject:
    """A proxy that has used nothing so far."""

    def times(self) -> Any:
        """Return no time."""
        return {}, {}

    def memory(self) -> float | None:
        """Return 1 MB."""
        return 1e6

    def threads(self) -> list[int]:
        """Return none."""
        return []


def sample(key: str, path: str, number: int) -> Metered[Any]:
    """Make a sample up; those of a round differ by the path's slowness only."""
    slowness, wobble = SLOWNESS[path], 1 + number / 100
    used = Used(0.5 * slowness, 3e6) if slowness > 1 else None
    if key.startswith("throughput"):
        rate = 8e9 * wobble / slowness
        flow = ThroughputResult(rate, round(rate / 8), 1.0, raw=VERSION)
        return Metered(flow, used)
    if key == "latency":
        times = [one * 1e-6 * slowness * wobble for one in range(1, 501)]
        return Metered(LatencySample(tuple(times), 500, 500, 0.0))
    if key == "connections":
        count = round(10_000 * wobble / slowness)
        return Metered(ConnectionsSample(count, 1.0, 0, None))
    many = ConcurrentSample(round(40_000 * wobble / slowness), 1.0, 500, 0, None, 0.1)
    return Metered(many, used)


def summary(
    paths: Sequence[str] = ("direct", "proxied"),
    loads: Sequence[str] = tuple(KINDS),
    rounds: int = 6,
    changes: Mapping[tuple[str, str], dict[str, Any]] | None = None,
    *,
    costs: bool = True,
) -> Summary:
    """Summarize samples that are made up.

    Args:
        paths: The paths.
        loads: What was measured.
        rounds: How often.
        changes: What is different about the results of a load on a path.
        costs: Whether the proxies' costs are known.
    """
    taken: dict[str, list[dict[str, Taken[Metered[Any]]]]] = {}
    for key in loads:
        taken[key] = []
        for number in range(rounds):
            one = {}
            for path in paths:
                made = sample(key, path, number)
                different = (changes or {}).get((key, path), {})
                made = dataclasses.replace(
                    made, result=dataclasses.replace(made.result, **different)
                )
                one[path] = Taken(float(number), made)
            taken[key].append(one)
    subjects = {path: Subject() for path in paths if SLOWNESS[path] > 1 and costs}
    nobody: Any = None
    experiment = Experiment(
        client=nobody,
        server=nobody,
        address="10.0.0.3",
        ports=dict.fromkeys(paths, 5201),
        targets=dict.fromkeys(paths, ("10.0.0.2", 8080)),
        subjects=subjects,
        settings=Settings(loads, rate=RATE),
    )
    return Summary(experiment, taken, dict.fromkeys(subjects, 1e6))


def measurement(summary: Summary, kind: Any = "proxy", **fields: Any) -> Measurement:
    """Return a measurement of a summary."""
    return Measurement(
        kind=kind,
        title="client to server",
        metrics=tuple(summary.metrics()),
        machine={"kernel": "6.18"},
        topology="client --- server",
        began=1_000.0,
        seconds=10.0,
        rounds={"throughput": 6},
        notes=tuple(summary.notes()),
        series=tuple(summary.series()),
        requests=summary.requests(),
        held=summary.held(),
        **fields,
    )


def comparison(**arguments: Any) -> ProxyComparison:
    """Return a comparison with the direct way."""
    return ProxyComparison(measurement(summary(**arguments)))


def test_a_comparison_has_both_ways_and_their_ratio() -> None:
    """Of each metric, pair by pair."""
    result = comparison()

    assert result.throughput.direct.samples[0] == 8e9
    assert result.throughput.proxied.samples[0] == 4e9
    for slower in (
        *(result.throughput, result.throughput.down),
        *(result.connections, result.connections.concurrent),
    ):
        assert slower.ratio.median == pytest.approx(0.5, rel=0.001)
        assert slower.ratio.high < 0.51
        assert slower.metric.better == "higher"
    for longer in (
        *(result.latency, result.latency.p90, result.latency.p99),
        *(result.latency.p999, result.latency.maximum),
    ):
        assert longer.ratio.median == pytest.approx(2.0)
        assert longer.metric.better == "lower"
        assert longer.metric.unit == "s"
    assert result.connections.concurrent.held == 500


def test_latencies_are_those_of_rounds_or_of_all_requests() -> None:
    """What is rare is taken of all of them together."""
    result = comparison(rounds=6)

    times = [[one * 1e-6 * (1 + n / 100) for one in range(1, 501)] for n in range(6)]
    everything = [time for one in times for time in one]
    direct = [result.latency.p99.direct, result.latency.p999.direct]
    assert direct[0].samples == pytest.approx([quantile(one, 0.99) for one in times])
    assert direct[1].median == pytest.approx(quantile(everything, 0.999))
    assert result.latency.maximum.direct.median == pytest.approx(max(everything))


def test_costs_are_by_the_gigabyte_and_by_the_connection() -> None:
    """CPU seconds up and down by what was moved; memory above what was there before."""
    cost = comparison().cost

    assert cost is not None
    # half a gigabyte in a second, for which the proxy used a CPU second
    assert cost.cpu.samples[0] == pytest.approx(2.0)
    assert cost.memory.median == 3e6
    assert cost.memory_per_connection.median == (3e6 - 1e6) / 500
    assert "CPU" in str(cost)


def test_costs_that_are_not_known_are_not_there() -> None:
    """No process, no costs; and no CPU time by the gigabyte without gigabytes."""
    assert comparison(costs=False).cost is None
    cost = comparison(loads=["latency"]).cost
    assert cost is not None
    with pytest.raises(UnstableBenchmark, match="nothing was measured"):
        _ = cost.cpu.median


def test_what_was_not_measured_is_an_error() -> None:
    """That says how to have it measured."""
    result = comparison(loads=["latency"])

    assert result.latency.ratio.median == pytest.approx(2.0)
    for name in ("throughput", "connections"):
        with pytest.raises(
            BenchmarkError, match=f"{name} was not measured: .* metrics="
        ):
            getattr(result, name)


@pytest.mark.parametrize(
    ("key", "changes", "reason"),
    [
        (
            "latency",
            {"answered": 450},
            "300 of 3,000 requests were not answered on path 'proxied'",
        ),
        (
            "latency",
            {"late": 0.4e-3},
            "the client could not keep the rate on path 'proxied': half of the",
        ),
        (
            "connections",
            {"failed": 5, "reason": "ECONNRESET"},
            r"30 of .* connections failed on path 'proxied' \(ECONNRESET\)",
        ),
        (
            "connections.concurrent",
            {"held": 320, "failed": 180, "reason": "EMFILE"},
            r"1,080 of 3,000 connections failed on path 'proxied' \(EMFILE\)",
        ),
    ],
)
def test_what_went_wrong_takes_the_number_away(
    key: str, changes: dict[str, Any], reason: str
) -> None:
    """Of that path and of its ratio; the direct way is what it is."""
    metric = comparison(changes={(key, "proxied"): changes}).measurement.metric(key)

    assert metric is not None
    for estimate in (metric.values["proxied"], metric.ratios["proxied"]):
        with pytest.raises(UnstableBenchmark, match=reason):
            _ = estimate.median
    assert metric.values["direct"].median > 0


def test_a_doubtful_direct_way_makes_ratios_doubtful() -> None:
    """There is nothing left to compare with; the tails are as doubtful."""
    result = comparison(changes={("latency", "direct"): {"answered": 450}})

    for one in (result.latency, result.latency.p99, result.latency.maximum):
        assert one.proxied.median > 0
        for estimate in (one.direct, one.ratio):
            with pytest.raises(UnstableBenchmark, match="on path 'direct'"):
                _ = estimate.median


def test_a_sample_that_is_only_a_little_late_is_believed() -> None:
    """To be late by less than half of the time between two requests is usual."""
    result = comparison(changes={("latency", "proxied"): {"late": 0.2e-3}})

    assert result.latency.ratio.median == pytest.approx(2.0)


def test_few_rounds_are_noted() -> None:
    """Their intervals are narrower than they should be."""
    few = comparison(rounds=4, loads=["latency"]).measurement.notes
    enough = comparison(rounds=5, loads=["latency"]).measurement.notes

    assert len(few) == 1
    assert "few rounds: 4 of latency, p50" in few[0]
    assert enough == ()


def test_no_round_at_all_gives_no_number() -> None:
    """A budget may be too small for anything; nothing breaks then."""
    result = comparison(rounds=0)

    for one in (result.throughput, result.latency.p999, result.connections.concurrent):
        with pytest.raises(UnstableBenchmark, match="nothing was measured"):
            _ = one.ratio.median
    assert result.connections.concurrent.held == 0
    assert "unstable" in result.table()
    assert json.loads(result.to_json())["kind"] == "proxy"


def test_requests_are_picked_evenly() -> None:
    """Some thousands of them show how all are distributed, with both ends."""
    one = summary(rounds=40, loads=["latency"]).requests()["direct"]

    assert len(one) == 4000
    assert list(one) == sorted(one)
    assert one[0] == pytest.approx(1e-6)
    assert one[-1] == pytest.approx(500e-6 * 1.39)
    assert len(summary(rounds=1, loads=["latency"]).requests()["direct"]) == 500


def test_series_show_how_it_went_on() -> None:
    """A point for each sample, of each load on each path."""
    series = {(one.key, one.path): one.points for one in summary().series()}

    assert set(series) == {
        (key, path) for key in KINDS for path in ("direct", "proxied")
    }
    assert series["throughput", "direct"][:2] == ((0.0, 8e9), (1.0, 8.08e9))


def test_the_version_of_libiperf_is_told() -> None:
    """If it was asked."""
    assert summary().versions() == {"libiperf": "3.12"}
    assert summary(loads=["latency"]).versions() == {}


def test_one_path_has_values_and_no_ratios() -> None:
    """There is nothing to compare it with."""
    metrics = list(summary(paths=[""]).metrics())

    assert {path for metric in metrics for path in metric.values} == {""}
    assert all(not metric.ratios for metric in metrics)


def test_a_comparison_is_short_to_read() -> None:
    """A failed assertion shows numbers, not the records that they are in."""
    result = comparison()

    assert str(result.throughput) == (
        f"throughput: direct {result.throughput.direct}, "
        f"proxied {result.throughput.proxied}, ratio {result.throughput.ratio}"
    )
    assert repr(result.throughput) == f"<ThroughputComparison {result.throughput}>"
    assert repr(result).startswith("<ProxyComparison throughput 0.5x (")
    assert len(repr(result)) < 300
    assert str(result) == result.table()


SEVERAL = ("direct", "haproxy", "mine")


def test_one_of_several_is_like_one_alone() -> None:
    """With the same names, the same direct way, and nothing of the others."""
    both = ProxyComparisons(measurement(summary(SEVERAL), "compare"))

    assert list(both) == ["haproxy", "mine"]
    assert len(both) == 2
    mine = both["mine"]
    assert mine.measurement.kind == "proxy"
    assert mine.measurement.paths == ("direct", "proxied")
    assert mine.throughput.ratio.median == pytest.approx(0.25, rel=0.001)
    assert mine.cost is not None
    assert mine.cost.cpu.median > 2 * both["haproxy"].cost.cpu.median  # type: ignore[union-attr]  # it has some
    assert {one.path for one in mine.measurement.series} == {"direct", "proxied"}
    assert set(mine.measurement.requests) == {"direct", "proxied"}
    with pytest.raises(KeyError, match="known: haproxy, mine"):
        both["nginx"]


def test_what_was_measured_apart_can_be_joined() -> None:
    """Each ratio stays what it was; what one has not is not made up."""
    first = measurement(summary())
    second = measurement(summary(loads=["latency"], rounds=5), name="later")
    both = joined(named(first, "first"), named(second, "second"))

    assert both.kind == "compare"
    assert both.paths == ("direct", "first", "second")
    result = ProxyComparisons(both)
    assert result["first"].throughput.ratio == ProxyComparison(first).throughput.ratio
    assert result["second"].latency.ratio == ProxyComparison(second).latency.ratio
    with pytest.raises(BenchmarkError, match="throughput was not measured"):
        _ = result["second"].throughput
    assert both.seconds == 20.0
    assert set(both.held) == {"direct", "first"}
    assert {one.path for one in both.series} == {"direct", "first", "second"}


def test_a_name_and_back_is_the_same() -> None:
    """Nothing is lost on the way."""
    one = measurement(summary())
    back = only(named(one, "mine"), "mine")

    assert dataclasses.replace(back, title=one.title) == one


def test_metrics_are_chosen_by_name() -> None:
    """All loads of a metric, in the order in which they are measured."""
    assert loads_of(METRICS) == list(KINDS)
    assert loads_of(["connections", "latency"]) == [
        *("latency", "connections", "connections.concurrent")
    ]
    for wrong in ([], "latency", ["latency", "p99"]):
        with pytest.raises(ValueError, match="metric"):
            loads_of(wrong)


@pytest.mark.parametrize(
    ("budget", "patience"), [(0.5, 2.0), (6.0, 3.0), (10.0, 5.0), (600.0, 5.0)]
)
def test_what_hangs_is_waited_for_by_the_budget(budget: float, patience: float) -> None:
    """Never less than 2 seconds, and never more than 5."""
    assert Settings(budget=budget).patience == patience


@pytest.mark.parametrize(
    ("round_trip", "seconds"), [(0.0, 0.2), (0.02, 0.4), (0.05, 1.0), (5.0, 2.0)]
)
def test_samples_on_a_long_way_are_longer(round_trip: float, seconds: float) -> None:
    """TCP needs some round trips to find its rate; but nobody waits for ever."""
    nobody: Any = None
    ways = {"": ("10.0.0.2", 5201)}
    experiment = Experiment(
        nobody, nobody, "10.0.0.2", {"": 5201}, ways, {}, Settings(["throughput"])
    )
    (load,) = experiment.loads(round_trip)

    assert load.seconds == pytest.approx(seconds)
    assert load.shortest == pytest.approx(max(0.05, min(2.0, 20 * round_trip)))


class Refusing:
    """An agent that carries nothing out, and says so in a given way each time."""

    namespace = "left"

    def __init__(self, *errors: type[BenchmarkError]) -> None:
        self.errors = list(errors)

    def begin(self, order: str, **_arguments: object) -> Any:
        """Raise the next error."""
        raise self.errors.pop(0)(order)


@pytest.mark.parametrize(
    ("errors", "attempts"),
    [
        ([BenchmarkError, BenchmarkError, BenchmarkTimeout], 3),
        ([BenchmarkError, BenchmarkError, BenchmarkError], 3),
        ([BenchmarkTimeout, BenchmarkError, BenchmarkError], 1),
    ],
)
def test_a_flow_is_tried_again(
    errors: list[type[BenchmarkError]], attempts: int
) -> None:
    """The server takes whoever comes first for its client; but a hang is a hang."""
    agent: Any = Refusing(*errors)
    ways = {"": ("10.0.0.2", 5201)}
    experiment = Experiment(
        agent, agent, "10.0.0.2", {"": 5201}, ways, {}, Settings(["throughput"])
    )
    (load,) = experiment.loads(0.0)

    with pytest.raises(errors[attempts - 1]):
        load.measure("", 0.2)
    assert len(agent.errors) == 3 - attempts


@pytest.mark.parametrize("arrives_at", [2, 3, None])
def test_a_flow_in_which_nothing_arrived(
    monkeypatch: pytest.MonkeyPatch, arrives_at: int | None
) -> None:
    """On a busy machine it may end before anybody had a processor: longer, then."""
    lasted: list[float] = []

    def measure(*_: object, duration: float, **__: object) -> Any:
        lasted.append(duration)
        there = len(lasted) == arrives_at
        return SimpleNamespace(bytes=1000 if there else 0, bits_per_second=8000.0)

    monkeypatch.setattr("pytest_netns._iperf3.measure", measure)
    nobody: Any = None
    ways = {"": ("10.0.0.2", 5201)}
    experiment = Experiment(
        nobody, nobody, "10.0.0.2", {"": 5201}, ways, {}, Settings(["throughput"])
    )
    (load,) = experiment.loads(0.0)

    if arrives_at is None:
        with pytest.raises(BenchmarkTimeout, match=r"nothing arrived within 1\.6 s"):
            load.measure("", 0.1)
    else:
        assert load.value(load.measure("", 0.1)) == 8000.0
    assert lasted == pytest.approx([0.1, 0.4, 1.6][: arrives_at or 3])
