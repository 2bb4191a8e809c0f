"""Estimates: medians with intervals that hold what they promise."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING

import pytest

from pytest_netns import UnstableBenchmark
from pytest_netns.estimates import (
    FEWEST_SAMPLES,
    Interval,
    estimate,
    pooled,
    quantile,
    ratio,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TRIALS = 100


def test_the_median_is_in_its_interval() -> None:
    """An estimate of samples is their median, and their spread is around it."""
    found = estimate([9.0, 10.0, 10.0, 11.0, 12.0], "s")

    assert found.median == 10.0
    assert 9.0 <= found.low < 10.0 < found.high <= 12.0
    assert found.samples == (9.0, 10.0, 10.0, 11.0, 12.0)
    assert found.unstable is None


@pytest.mark.parametrize("size", [5, 7, 12])
@pytest.mark.parametrize(
    ("draw", "median"),
    [
        (lambda chance: chance.gauss(100, 10), 100.0),
        (lambda chance: chance.lognormvariate(0, 0.5), 1.0),
        (lambda chance: chance.expovariate(1), math.log(2)),
    ],
    ids=["normal", "lognormal", "exponential"],
)
def test_an_interval_holds_the_true_median_as_often_as_it_says(
    size: int, draw: Callable[[random.Random], float], median: float
) -> None:
    """About 95 times of 100, whatever the samples are like."""
    chance = random.Random(size)
    hits = 0
    for _ in range(TRIALS):
        found = estimate([draw(chance) for _ in range(size)], "").interval
        hits += found.low <= median <= found.high

    # what luck makes of so many trials is two percent, up or down
    assert 0.89 <= hits / TRIALS <= 0.999


def test_more_samples_make_an_interval_narrower() -> None:
    """Four times as many about halve it."""
    chance = random.Random(1)
    samples = [chance.gauss(100, 10) for _ in range(160)]
    widths = [
        estimate(samples[:size], "").interval.half_width for size in (10, 40, 160)
    ]

    assert widths[0] > widths[1] > widths[2]
    assert widths[0] > 2 * widths[2]


def test_the_same_samples_give_the_same_interval() -> None:
    """Chance has no part in what is reported."""
    samples = [random.Random(2).gauss(5, 1) for _ in range(9)]

    assert estimate(samples, "s") == estimate(samples, "s")


def test_pairs_are_not_disturbed_by_what_disturbs_both() -> None:
    """A machine that gets slower leaves the ratio of pairs as it is."""
    chance = random.Random(3)
    speeds = [1.0 - 0.07 * number for number in range(12)]
    direct = [10.0 * speed * chance.gauss(1, 0.02) for speed in speeds]
    proxied = [5.0 * speed * chance.gauss(1, 0.02) for speed in speeds]

    pairs = ratio(proxied, direct).interval
    alone = estimate(direct, "").interval
    assert pairs.median == pytest.approx(0.5, rel=0.03)
    assert pairs.half_width < alone.half_width / 8


def test_a_pair_without_a_divisor_is_left_out() -> None:
    """A round in which nothing came through says nothing about the ratio."""
    assert ratio([1.0, 5.0, 1.0], [2.0, 0.0, 2.0]).samples == (0.5, 0.5)


def test_samples_that_lie_too_far_apart_give_no_number() -> None:
    """The error says how far, and where the samples are."""
    found = estimate([1.0, 10.0, 100.0, 3.0, 40.0], "s")

    with pytest.raises(UnstableBenchmark, match=r"a factor of 10 after 5 rounds"):
        _ = found.median
    assert found.interval.median == 10.0
    assert str(found) == "unstable: it may be off by a factor of 10 after 5 rounds"


def test_the_ends_of_a_wide_interval() -> None:
    """They can be asserted on, unless something else is wrong with the samples."""
    wide = estimate([1.0, 10.0, 100.0, 3.0, 40.0], "s")

    assert (wide.low, wide.high) == (1.0, 100.0)
    wrong = wide.doubted("3 of 500 requests were not answered")
    for name in ("median", "low", "high"):
        with pytest.raises(UnstableBenchmark, match="not answered"):
            getattr(wrong, name)


def test_how_far_a_number_may_be_off() -> None:
    """The longer side counts, by its factor."""
    assert Interval(2.0, 1.0, 3.0).factor == 2.0
    assert Interval(2.0, 1.0, 8.0).factor == 4.0
    assert Interval(0.0, 0.0, 0.0).factor == 1.0
    assert Interval(1.0, 0.0, 2.0).factor == math.inf
    around_zero = estimate([-1.0, 0.5, 1.0, 0.5, 2.0], "s")
    assert around_zero.unstable == "it may be off by any factor after 5 rounds"


@pytest.mark.parametrize("size", range(FEWEST_SAMPLES))
def test_too_few_samples_give_no_number(size: int) -> None:
    """Two samples that agree may do so by chance."""
    found = estimate([1.0] * size, "s")

    with pytest.raises(UnstableBenchmark, match="measured"):
        _ = found.median


def test_a_doubt_takes_the_number_away() -> None:
    """What is known from elsewhere counts as well; all reasons are told."""
    found = estimate([1.0] * 5, "s")

    assert found.doubted(None) is found
    assert found.median == 1.0
    doubted = found.doubted("a request was lost").doubted("it was late")
    with pytest.raises(UnstableBenchmark, match="a request was lost; it was late"):
        _ = doubted.low
    assert doubted.samples == found.samples


def test_an_estimate_is_short_to_read() -> None:
    """A failed assertion shows the number and its interval, not every sample."""
    found = estimate([0.5, 0.5, 0.51, 0.52, 0.53], "")

    assert repr(found) == "<Estimate 0.51x (0.5x to 0.53x); 5 rounds>"
    assert "samples" not in repr(found)


@pytest.mark.parametrize("size", [1, 2, 7, 10, 100, 101, 1000, 1999])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_a_quantile_has_its_part_of_all_values_below(size: int, part: float) -> None:
    """It is the least value with that property."""
    values = list(range(size))
    random.Random(size).shuffle(values)
    found = quantile(values, part)

    assert sum(value <= found for value in values) >= part * size - 1e-9
    assert found == 0 or sum(value <= found - 1 for value in values) < part * size


@pytest.mark.parametrize("part", [0.5, 0.99, 0.999, 1.0])
def test_a_pooled_quantile_is_that_of_all_values(part: float) -> None:
    """Rounds that are drawn twice count twice; rounds may be of any length."""
    chance = random.Random(4)
    rounds = [
        [chance.expovariate(1) for _ in range(chance.randrange(1, 900))]
        for _ in range(9)
    ]
    statistic = pooled(rounds, part)
    for _ in range(50):
        drawn = chance.choices(range(9), k=9)
        everything = [value for number in drawn for value in rounds[number]]
        assert statistic(drawn) == quantile(everything, part)


def test_a_statistic_of_rounds_has_an_interval() -> None:
    """What is too rare for one round is taken of all of them together."""
    chance = random.Random(5)
    rounds = [[chance.expovariate(1) for _ in range(500)] for _ in range(10)]
    found = estimate(
        [quantile(one, 0.999) for one in rounds], "s", statistic=pooled(rounds, 0.999)
    )

    true = -math.log(0.001)
    assert found.interval.low <= true <= found.interval.high
    everything = [value for one in rounds for value in one]
    assert found.interval.median == quantile(everything, 0.999)


def test_a_median_of_drawn_samples_is_that_of_the_standard_library() -> None:
    """With an even and with an odd number of them."""
    for size in (3, 4, 9, 10):
        samples = [random.Random(size).random() for _ in range(size)]
        assert estimate(samples, "").interval.median == statistics.median(samples)


def test_an_interval_around_zero_has_no_relative_width() -> None:
    """Unless all of it is zero."""
    assert Interval(0.0, -1.0, 1.0).half_width == math.inf
    assert Interval(0.0, 0.0, 0.0).half_width == 0.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (9.41e9, "bit/s", "9.41 Gbit/s"),
        (999.6e6, "bit/s", "1.00 Gbit/s"),
        (0.000_123, "s", "123 µs"),
        (1.5, "s", "1.50 s"),
        (3_000_000_000, "s", "3000000000 s"),
        (12_345.6, "1/s", "12,346/s"),
        (2048, "B", "2.00 KiB"),
        (0.5, "", "0.5x"),
        (1234, "", "1234x"),
        (0.25, "%", "0.25 %"),
        (0.83, "s/GB", "830 ms/GB"),
        (0.0, "s", "0 ns"),
        (math.nan, "s", "nan"),
    ],
)
def test_values_are_shown_with_three_digits(value: float, unit: str, text: str) -> None:
    """And with the prefix that suits them."""
    assert show(value, unit) == text  # type: ignore[arg-type]  # one of them
