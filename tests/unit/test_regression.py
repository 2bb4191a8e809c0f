"""Verdicts over saved runs: sure of what they say, or they say that they are not."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_netns._regression import (
    FEWEST_SAMPLES,
    Judgement,
    Verdict,
    change,
    judge,
)
from pytest_netns._regression_table import comparison_lines, slower_lines
from pytest_netns.estimates import Estimate, Unit, estimate, pooled, ratio
from pytest_netns.measurement import Measurement, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    Better = Literal["higher", "lower"]

TEN_PERCENT = 0.1
MACHINE: dict[str, str | int | float] = {
    "processor": "Fake 9000",
    "processors": 8,
    "kernel": "6.18.1",
}


def spread(random: Random, around: float, by: float, rounds: int) -> list[float]:
    """Return samples."""
    return [around * random.lognormvariate(0, by) for _ in range(rounds)]


def metric(
    samples: Sequence[float] | Estimate,
    key: str = "throughput",
    unit: Unit = "bit/s",
    better: Better = "higher",
    path: str = "",
) -> Metric:
    """Return a metric of one path."""
    if not isinstance(samples, Estimate):
        samples = estimate(samples, unit)
    return Metric(key, key, unit, better, {path: samples})


def proxied(
    direct: Sequence[float],
    through: Sequence[float],
    better: Better = "higher",
) -> Metric:
    """Return a metric of a proxy, and of the way without it."""
    unit: Unit = "bit/s" if better == "higher" else "s"
    return Metric(
        "throughput" if better == "higher" else "latency",
        "throughput" if better == "higher" else "latency",
        unit,
        better,
        {"direct": estimate(direct, unit), "proxied": estimate(through, unit)},
        {"proxied": ratio(through, direct)},
    )


def of(
    *metrics: Metric,
    machine: dict[str, str | int | float] | None = None,
    test: str = "test_x.py::test_x",
    name: str = "",
) -> Measurement:
    """Return a measurement."""
    return Measurement(
        kind="proxy",
        title="a to b",
        metrics=metrics,
        machine=MACHINE if machine is None else machine,
        topology="",
        began=0.0,
        seconds=1.0,
        test=test,
        name=name,
    )


def verdicts(
    before: Measurement, now: Measurement, threshold: float = TEN_PERCENT
) -> tuple[Verdict, ...]:
    """Return what is said of a measurement."""
    (judged,) = judge([before], [now], threshold).judged
    return judged.verdicts


def words(
    before: Measurement, now: Measurement, threshold: float = TEN_PERCENT
) -> dict[tuple[str, str], str]:
    """Return the verdict on each metric and path."""
    return {(v.metric, v.path): v.word for v in verdicts(before, now, threshold)}


def rates(
    *, slowdown: float, by: float, rounds: int, trials: int = 50
) -> dict[str, float]:
    """Return how often each verdict is spoken over runs that differ by chance."""
    random = Random(f"{slowdown} {by} {rounds}")
    counts: dict[str, float] = {}
    for _ in range(trials):
        before = of(metric(spread(random, 1e9, by, rounds)))
        now = of(metric(spread(random, 1e9 / slowdown, by, rounds)))
        (word,) = words(before, now).values()
        counts[word] = counts.get(word, 0) + 1 / trials
    return counts


class TestChance:
    """What is said of samples that are drawn by chance."""

    @pytest.mark.parametrize("rounds", [5, 12])
    @pytest.mark.parametrize("by", [0.02, 0.25])
    def test_no_false_alarm(self, by: float, rounds: int) -> None:
        """Where nothing has changed, nearly nobody hears of a change."""
        found = rates(slowdown=1.0, by=by, rounds=rounds)
        assert found.get("slower", 0) <= 0.02
        assert found.get("faster", 0) <= 0.02

    def test_few_of_many(self) -> None:
        """A gate over hundreds of numbers that are as they were stays open."""
        found = rates(slowdown=1.0, by=0.15, rounds=7, trials=70)
        assert found.get("slower", 0) == 0

    @pytest.mark.parametrize(
        ("by", "rounds", "least"), [(0.02, 5, 0.95), (0.05, 9, 0.95), (0.1, 20, 0.8)]
    )
    def test_a_true_slowdown(self, by: float, rounds: int, least: float) -> None:
        """What takes 30 % longer is found."""
        assert rates(slowdown=1.3, by=by, rounds=rounds)["slower"] >= least

    def test_a_true_speedup(self) -> None:
        """What has become faster is said, too."""
        assert rates(slowdown=1 / 1.3, by=0.02, rounds=7)["faster"] >= 0.95

    def test_the_same(self) -> None:
        """That nothing has changed is said where it is sure."""
        assert rates(slowdown=1.0, by=0.02, rounds=7)["same"] >= 0.95

    def test_at_the_threshold(self) -> None:
        """What is slower by about the threshold is unclear more often than not."""
        found = rates(slowdown=1 / 0.9, by=0.05, rounds=9)
        assert found["unclear"] >= 0.8

    def test_a_sudden_sample(self) -> None:
        """One round that went wrong makes nothing slower."""
        samples = [1e9, 1.01e9, 0.99e9, 1.02e9, 0.98e9, 1.0e9, 1.005e9]
        broken = [*samples[:-1], 6e8]
        (word,) = words(of(metric(samples)), of(metric(broken))).values()
        assert word in {"same", "unclear"}

    def test_quantiles(self) -> None:
        """A quantile over all rounds is compared as such, not round by round."""
        random = Random(1)

        def measured(factor: float) -> Estimate:
            rounds = [spread(random, factor, 0.3, 500) for _ in range(7)]
            maxima = [max(one) for one in rounds]
            return estimate(maxima, "s", statistic=pooled(rounds, 0.99))

        pairs = [(measured(1.0), measured(factor)) for factor in [1.0] * 20 + [1.5] * 5]
        found = [change(before, now) for before, now in pairs]
        same, slower = found[:20], found[20:]
        assert all(one and one.low < 1.1 for one in same)
        assert all(one and one.low > 1.1 for one in slower)
        for (before, now), one in zip(pairs, found, strict=True):
            assert one
            assert one.median == pytest.approx(now.median / before.median)

    def test_always_the_same(self) -> None:
        """The same samples always give the same verdict."""
        random = Random(1)
        before, now = (estimate(spread(random, 1.0, 0.3, 9), "s") for _ in range(2))
        assert change(before, now) == change(before, now)
        assert change(before, now) != change(now, before)


class TestDirection:
    """Which way is slower."""

    @pytest.mark.parametrize(
        ("better", "factor", "word"),
        [
            ("higher", 0.8, "slower"),
            ("higher", 1.25, "faster"),
            ("lower", 1.25, "slower"),
            ("lower", 0.8, "faster"),
            ("higher", 0.95, "same"),
            ("lower", 1.05, "same"),
        ],
    )
    def test_words(self, better: Better, factor: float, word: str) -> None:
        """A rate that falls is as bad as a time that grows."""
        samples = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0]
        before = of(metric(samples, better=better))
        now = of(metric([one * factor for one in samples], better=better))
        assert [one.word for one in verdicts(before, now)] == [word]

    @pytest.mark.parametrize(("threshold", "word"), [(0.05, "slower"), (0.2, "same")])
    def test_threshold(self, threshold: float, word: str) -> None:
        """It is the threshold that says how much is too much."""
        samples = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0]
        now = of(metric([one * 0.9 for one in samples]))
        (verdict,) = verdicts(of(metric(samples)), now, threshold)
        assert verdict.word == word
        assert verdict.change is not None
        assert verdict.change.median == pytest.approx(0.9)
        assert verdict.change.low < 0.9 < verdict.change.high


class TestWhatIsJudged:
    """Ratios where there are some, all else on the same machine."""

    SAMPLES = (1.0, 1.01, 0.99, 1.005, 0.995, 1.0)

    def test_ratios_before_numbers(self) -> None:
        """A machine that is slow today makes no proxy slow."""
        half = [one / 2 for one in self.SAMPLES]
        before = of(proxied(self.SAMPLES, half))
        now = of(proxied(half, [one / 2 for one in half]))
        assert words(before, now) == {("throughput", "proxied/direct"): "same"}

    def test_ratio_that_got_worse(self) -> None:
        """Nor does a fast machine hide a proxy that has become slow."""
        half = [one / 2 for one in self.SAMPLES]
        twice = [one * 2 for one in self.SAMPLES]
        before = of(proxied(self.SAMPLES, half))
        now = of(proxied(twice, half))
        (verdict,) = verdicts(before, now)
        assert verdict.word == "slower"
        assert (verdict.unit, verdict.before, verdict.now) == ("", 0.5, 0.25)

    def test_ratio_of_times(self) -> None:
        """Of ratios, too, the metric says which way is better."""
        twice = [one * 2 for one in self.SAMPLES]
        more = [one * 3 for one in self.SAMPLES]
        before = of(proxied(self.SAMPLES, twice, "lower"))
        now = of(proxied(self.SAMPLES, more, "lower"))
        assert list(words(before, now).values()) == ["slower"]
        assert list(words(now, before).values()) == ["faster"]

    def test_first_of_several(self) -> None:
        """The proxy that others are compared with is judged by its own numbers."""

        def compared(factor: float) -> Measurement:
            first = [one * factor for one in self.SAMPLES]
            unit: Unit = "bit/s"
            values = {
                "haproxy": estimate(first, unit),
                "mine": estimate(self.SAMPLES, unit),
            }
            ratios = {"mine": ratio(self.SAMPLES, first)}
            return of(Metric("throughput", "rate", unit, "higher", values, ratios))

        assert words(compared(1.0), compared(0.5)) == {
            ("rate", "mine/haproxy"): "faster",
            ("rate", "haproxy"): "slower",
        }

    @pytest.mark.parametrize(
        ("field", "value"),
        [("processor", "Fake 8000"), ("processors", 4), ("kernel", "6.12.0")],
    )
    def test_another_machine(self, field: str, value: str | int) -> None:
        """Of another machine only ratios are judged, and it is said why."""
        half = [one / 2 for one in self.SAMPLES]
        before = of(proxied(self.SAMPLES, half), metric(self.SAMPLES, "cost.cpu"))
        now = replace(
            of(proxied(self.SAMPLES, half), metric(half, "cost.cpu")),
            machine=MACHINE | {field: value},
        )
        assert words(before, now) == {("throughput", "proxied/direct"): "same"}
        text = "\n".join(comparison_lines(judge([before], [now], TEN_PERCENT), 100))
        assert "another machine, so only ratios are judged" in text
        assert f"{field}: {MACHINE[field]} then, {value} now" in text

        same = replace(now, machine=MACHINE)
        assert words(before, same)["cost.cpu", ""] == "slower"
        text = "\n".join(comparison_lines(judge([before], [same], TEN_PERCENT), 100))
        assert "another machine" not in text

    def test_nothing_left(self) -> None:
        """Where nothing can be judged that is said."""
        now = of(metric(self.SAMPLES), machine={"kernel": "other"})
        judgement = judge([of(metric(self.SAMPLES))], [now], TEN_PERCENT)
        assert "nothing can be compared" in "\n".join(comparison_lines(judgement, 80))

    def test_load_is_no_other_machine(self) -> None:
        """What changes from minute to minute does not make it another one."""
        before = of(metric(self.SAMPLES), machine=MACHINE | {"load average": 0.1})
        now = of(metric(self.SAMPLES), machine=MACHINE | {"load average": 3.0})
        assert words(before, now) == {("throughput", ""): "same"}


class TestWhatIsNotJudged:
    """Numbers that nobody should believe, or that one run has not."""

    SAMPLES = TestWhatIsJudged.SAMPLES

    @pytest.mark.parametrize("which", ["then", "now"])
    def test_unstable(self, which: str) -> None:
        """An unstable number is never slower, but shown."""
        steady = estimate(self.SAMPLES, "bit/s")
        wild = replace(
            estimate([one / 9 for one in self.SAMPLES], "bit/s"), unstable="it shook"
        )
        old, new = (wild, steady) if which == "then" else (steady, wild)
        (verdict,) = verdicts(of(metric(old)), of(metric(new)))
        assert (verdict.word, verdict.why) == ("unstable", f"{which}: it shook")
        judgement = judge([of(metric(old))], [of(metric(new))], TEN_PERCENT)
        assert judgement.slower == []
        text = "\n".join(comparison_lines(judgement, 80))
        assert f"unstable: {which}: it shook: throughput" in text

    def test_greatest(self) -> None:
        """The greatest of all values is not judged: who looks longer sees a greater."""
        one = metric(self.SAMPLES, "latency.max", "s", "lower")
        other = metric(self.SAMPLES, "latency.p99", "s", "lower")
        assert words(of(one, other), of(one, other)) == {("latency.p99", ""): "same"}

    def test_few_rounds(self) -> None:
        """Of too few rounds nothing is said, however far apart they are."""
        few = self.SAMPLES[: FEWEST_SAMPLES - 1]
        enough = self.SAMPLES[:FEWEST_SAMPLES]
        slow = [one / 9 for one in enough]
        assert words(of(metric(enough)), of(metric(slow))) == {
            ("throughput", ""): "slower"
        }
        for old, new in [(few, slow), (enough, slow[:-1])]:
            (verdict,) = verdicts(of(metric(old)), of(metric(new)))
            assert verdict.word == "unclear"
            assert verdict.why == "4 of at least 5 rounds were measured"

    def test_nothing(self) -> None:
        """What was measured as nothing cannot have become so many times slower."""
        nothing = metric([0.0] * 5, "cost.cpu", "s/GB", "lower")
        something = metric(self.SAMPLES, "cost.cpu", "s/GB", "lower")
        assert words(of(nothing), of(something)) == {("cost.cpu", ""): "unclear"}

    def test_missing_and_new_metrics(self) -> None:
        """A metric that only one run has is named."""
        before = of(metric(self.SAMPLES, "a"), metric(self.SAMPLES, "b"))
        now = of(metric(self.SAMPLES, "b"), metric(self.SAMPLES, "c"))
        assert words(before, now) == {
            ("b", ""): "same",
            ("c", ""): "new",
            ("a", ""): "not measured",
        }

    def test_missing_and_new_measurements(self) -> None:
        """A measurement that only one run has is named, and nothing slower."""
        one, two, three = (
            of(metric(self.SAMPLES), test=f"test_x.py::test_{number}")
            for number in ("one", "two", "three")
        )
        judgement = judge([one, two], [two, three], TEN_PERCENT)
        assert [judged.measurement for judged in judgement.judged] == [two]
        assert (judgement.new, judgement.missing) == ((three,), (one,))
        lines = list(comparison_lines(judgement, 80))
        new, missing = (
            lines.index("not in the saved run:"),
            lines.index("in the saved run only:"),
        )
        assert lines[new + 1] == "  test_x.py::test_three: a to b"
        assert lines[missing + 1] == "  test_x.py::test_one: a to b"


class TestMatching:
    """Which measurement of the saved run is compared with which."""

    def test_names_and_order(self) -> None:
        """Of several of one test, names tell them apart, and else their order."""

        def one(name: str, value: float) -> Measurement:
            return of(metric([value] * 6), name=name)

        saved = [one("x", 1.0), one("", 2.0), one("", 3.0)]
        judgement = judge(saved, [saved[1], saved[0], saved[2]], TEN_PERCENT)
        assert {v.word for judged in judgement.judged for v in judged.verdicts} == {
            "same"
        }
        swapped = judge(saved, [saved[0], saved[2], saved[1]], TEN_PERCENT)
        assert [judged.verdicts[0].word for judged in swapped.judged] == [
            "same",
            "faster",
            "slower",
        ]

    def test_titles_may_change(self) -> None:
        """What people read, such as a port, does not matter."""
        before = of(metric([1.0] * 6))
        now = replace(before, title="a to b through 10.0.0.2:40123")
        assert words(before, now) == {("throughput", ""): "same"}


class TestLines:
    """What people read."""

    def judgement(self) -> Judgement:
        """Return one with each verdict."""
        steady = (1.0, 1.01, 0.99, 1.005, 0.995, 1.0)
        slow, slower = ([one * by for one in steady] for by in (0.8, 0.05))
        before = of(
            proxied(steady, steady),
            metric(steady, "at once", "1/s", path="proxied"),
            metric(slower, "latency, p99", "s", "lower", "proxied"),
        )
        now = of(
            proxied(steady, slow),
            metric(steady, "at once", "1/s", path="proxied"),
            metric(steady, "latency, p99", "s", "lower", "proxied"),
        )
        return judge([before], [now], TEN_PERCENT)

    def test_table(self) -> None:
        """The table shows then and now, and how sure the change is."""
        assert list(comparison_lines(self.judgement(), 80)) == [
            "test_x.py::test_x: a to b",
            "  proxied/direct          then     now     change",
            "  throughput      SLOWER  1x       0.8x    -20 % (-20 to -20)",
            "  at once         same    1/s      1/s     +0.0 % (-1.2 to +1.3)",
            "  latency, p99    SLOWER  50.0 ms  1.00 s  20x (19.8 to 20.3)",
        ]

    @pytest.mark.parametrize("width", [40, 60, 200])
    def test_width(self, width: int) -> None:
        """No line is longer than the terminal is wide."""
        lines = list(comparison_lines(self.judgement(), width))
        assert len(lines) == 5
        assert max(map(len, lines)) <= width
        assert "SLOWER" in lines[2]

    def test_paths(self) -> None:
        """Where there are several paths, each line says which it is about."""
        values = {path: estimate([1.0] * 5, "s") for path in ("direct", "x", "y")}
        ratios = {path: ratio([2.0] * 5, [1.0] * 5) for path in ("x", "y")}
        one = of(Metric("latency", "latency", "s", "lower", values, ratios))
        lines = list(comparison_lines(judge([one], [one], TEN_PERCENT), 80))
        assert [line.split("  ")[1] for line in lines[2:]] == [
            "latency, x/direct",
            "latency, y/direct",
        ]

    def test_failures(self) -> None:
        """Those who want to know why a run has failed are told with what it has."""
        assert list(slower_lines(self.judgement())) == [
            "test_x.py::test_x: a to b",
            "  throughput, proxied/direct: 1x then, 0.8x now: -20 % (-20 to -20)",
            "  latency, p99, proxied: 50.0 ms then, 1.00 s now: 20x (19.8 to 20.3)",
        ]

    def test_odd_names(self) -> None:
        """What a test is called cannot write to the terminal."""
        one = of(metric([1.0] * 6), test="test_x[\x1b[31m\n]", name="\x07")
        slow = of(metric([0.5] * 6), test="test_x[\x1b[31m\n]", name="\x07")
        for judgement in (judge([one], [slow], 0.1), judge([], [one], 0.1)):
            lines = [*comparison_lines(judgement, 80), *slower_lines(judgement)]
            assert lines
            assert all(line.isprintable() for line in lines)
