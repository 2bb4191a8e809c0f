"""The table of benchmarks at the end of a test run."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import _bench_words as words
from pytest_netns._bench_table import table
from pytest_netns.estimates import Estimate, Interval, Unit
from pytest_netns.measurement import Metric

if TYPE_CHECKING:
    from pytest_netns.measurement import Measurement
    from tests.conftest import Fake


def exactly(median: float, low: float, high: float, unit: Unit = "") -> Estimate:
    """Return an estimate with these numbers."""
    return Estimate((median,), unit, Interval(median, low, high))


def picture(text: str) -> str:
    """Take the indentation of this file away."""
    return dedent(text).strip("\n")


def test_a_proxy_stands_beside_the_direct_path(fake: Fake) -> None:
    """Each metric has a row: both values, aligned at their units, and the ratio."""
    measurement = fake(keys=["throughput", "latency", "latency.p99", "cost.memory"])

    assert table([measurement]) == picture("""
        client to server through 10.0.0.2:8080
          tests/test_proxy.py::test_is_fast_enough

                               direct       proxied      ratio (95 % interval)
          throughput           37.8 Gbit/s  23.8 Gbit/s  0.63x (0.61 to 0.64)
          latency, p50         21.6 µs      34.0 µs      1.59x (1.58 to 1.61)
          latency, p99         60.1 µs      98.2 µs      1.61x (1.57 to 1.64)
          memory of the proxy  –            18.5 MiB

          9 rounds in 12.3 s
    """)  # noqa: RUF001  # the dash is wide on purpose


def test_several_proxies_stand_below_one_another(fake: Fake) -> None:
    """What is to be compared is in one column, however many there are."""
    measurement = fake(
        "compare",
        paths=("direct", "haproxy", "nginx", "mine"),
        keys=["throughput", "latency"],
        name="proxies",
        test="",
    )

    assert table([measurement], width=80) == picture("""
        proxies: client to server through 10.0.0.2:8080

                                 median       ratio (95 % interval)
          throughput    direct   37.8 Gbit/s
                        haproxy  23.8 Gbit/s   0.63x (0.61 to 0.64)
                        nginx    20.9 Gbit/s   0.55x (0.53 to 0.57)
                        mine     3.03 Gbit/s  0.079x (0.078 to 0.082)
          latency, p50  direct   21.6 µs
                        haproxy  34.0 µs       1.59x (1.58 to 1.61)
                        nginx    39.1 µs       1.81x (1.77 to 1.91)
                        mine      268 µs       12.3x (12.2 to 12.9)

          9 rounds in 12.3 s
    """)


def test_a_single_path_has_its_interval(fake: Fake) -> None:
    """Where there is nothing to compare, how sure a value is stands beside it."""
    measurement = fake("latency", paths=[""], keys=["latency", "latency.p99.9"])

    assert picture("""
        x
                          median   95 % interval
          latency, p50    21.6 µs  21.0 to 21.8 µs
          latency, p99.9   407 µs   396 to 415 µs
    """).removeprefix("x") in table([measurement])


def test_an_unstable_number_is_not_shown(fake: Fake) -> None:
    """The table says so instead, and why is below."""
    shown = table([fake(keys=["throughput", "latency"], unstable=["latency"])])

    row = next(line for line in shown.splitlines() if "latency, p50" in line)
    assert row.split() == ["latency,", "p50", *["unstable"] * 3]
    assert " ".join(shown.split()).endswith(
        "unstable: it may be off by a factor of 4.5 after 9 rounds: latency, p50 "
        "9 rounds in 12.3 s"
    )


def test_one_reason_is_given_once(fake: Fake) -> None:
    """Whatever it is about is named behind it."""
    measurement = fake(keys=["throughput", "latency"], rounds=2)

    assert words.doubts(measurement) == [
        ("2 of at least 3 rounds were measured", "throughput; latency, p50")
    ]


@pytest.mark.parametrize(
    ("values", "ratios", "said"),
    [
        ({"a": 60}, {"b": 70}, ("a factor of 60 to 70", "latency (a, ratio of b)")),
        ({}, {"b": 70, "c": 80}, ("a factor of 70 to 80", "latency (ratios of b, c)")),
        (
            {"b": 70},
            dict.fromkeys("bcd", 70),
            ("a factor of 70", "latency (b, all ratios)"),
        ),
        (
            {"a": 55, "b": 55, "c": 55, "d": 55},
            dict.fromkeys("bcd", 55),
            ("a factor of 55", "latency"),
        ),
    ],
)
def test_doubts_of_one_metric_are_one(
    fake: Fake, values: dict[str, int], ratios: dict[str, int], said: tuple[str, str]
) -> None:
    """Reasons that differ in a factor alone are joined, and say where."""

    def doubted(of: str, shares: dict[str, int]) -> dict[str, Estimate]:
        return {
            path: exactly(1, 1, 1).doubted(
                f"it is a factor of {shares[path]}" if path in shares else None
            )
            for path in of
        }

    metric = Metric(
        *("latency", "latency", "s", "lower"),
        doubted("abcd", values),
        doubted("bcd", ratios),
    )
    measurement = replace(fake(), metrics=(metric,))

    assert words.doubts(measurement) == [(f"it is {said[0]}", said[1])]


def test_a_long_title_is_cut_rather_than_the_table(fake: Fake) -> None:
    """On a narrow terminal, too, a proxy stands beside the direct path."""
    measurement = fake(keys=["throughput", "latency"])
    metric = replace(measurement.metrics[0], title="requests over 500 connections")
    shown = table([replace(measurement, metrics=(metric,))], width=76)

    assert "  requests over 500 conne…  37.8 Gbit/s  23.8 Gbit/s  0.63x (" in shown
    assert metric.title in table([replace(measurement, metrics=(metric,))], width=90)


def test_notes_are_below(fake: Fake) -> None:
    """Long ones go on in the next line, further to the right."""
    note = "offloads are on at " + ", ".join(f"client:eth{at}" for at in range(9))
    lines = table([fake(notes=[note])], width=60).splitlines()

    (first,) = (at for at, line in enumerate(lines) if line.startswith("  note: "))
    assert lines[first + 1].startswith("    client:eth")


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ({"throughput": 4, "latency": 4}, "4 rounds in 12.3 s"),
        ({"throughput": 1}, "1 round in 12.3 s"),
        (
            {"throughput": 4, "latency": 1200, "latency.p99": 1300},
            "rounds: 4 of throughput, 1,200 to 1,300 of latency; in 12.3 s",
        ),
        ({}, "measured in 12.3 s"),
    ],
)
def test_the_effort_is_the_last_line(
    fake: Fake, rounds: dict[str, int], said: str
) -> None:
    """It says how many rounds there were, and how long all of it took."""
    assert table([replace(fake(), rounds=rounds)]).endswith(said)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (exactly(0.62, 0.6, 0.65), "0.62x (0.60 to 0.65)"),
        (exactly(2, 1.996, 2.1), "2.00x (2.00 to 2.10)"),
        (exactly(0.081, 0.07, 0.1), "0.081x (0.070 to 0.100)"),
        (exactly(12.34, 12, 13), "12.3x (12.0 to 13.0)"),
        (exactly(1234, 1000, 1300), "1234x (1000 to 1300)"),
        (exactly(0, 0, 0), "0.00x (0.00 to 0.00)"),
    ],
)
def test_ratios_have_as_many_digits_as_tell_them_apart(
    estimate: Estimate, said: str
) -> None:
    """All three numbers have the same."""
    assert words.ratio(estimate) == said


@pytest.mark.parametrize(
    ("better", "ratio", "verdict"),
    [
        ("higher", exactly(0.6, 0.5, 0.9), "worse"),
        ("higher", exactly(1.6, 1.1, 1.9), "better"),
        ("lower", exactly(0.6, 0.5, 0.9), "better"),
        ("lower", exactly(1.6, 1.1, 1.9), "worse"),
        ("lower", exactly(0.9, 0.8, 1.1), ""),
        ("lower", Estimate((), "", Interval(0.6, 0.5, 0.9), "unstable"), ""),
    ],
)
def test_only_what_is_sure_is_better_or_worse(
    better: Any, ratio: Estimate, verdict: str
) -> None:
    """An interval around 1 says that nobody knows."""
    metric = Metric("k", "title", "s", better, {}, {"proxied": ratio})

    assert words.verdict(metric, "proxied") == verdict
    assert words.verdict(metric, "another") == ""


def test_tables_stand_apart(fake: Fake) -> None:
    """There is an empty line between two, and none around all of them."""
    one = table([fake()])

    assert table([fake(), fake()]) == f"{one}\n\n{one}"
    assert table([]) == ""


@given(data=st.data(), width=st.integers(40, 120))
def test_no_line_is_too_wide(
    measurements: st.SearchStrategy[Measurement], data: st.DataObject, width: int
) -> None:
    """Whatever was measured, and whatever it is called."""
    shown = table([data.draw(measurements)], width=width)

    assert shown.isprintable() or "\n" in shown
    assert all(len(line) <= width for line in shown.split("\n"))
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize("width", [0, 40, 50, 60, 70, 80, 100, 200])
def test_all_values_are_shown_at_every_width(fake: Fake, width: int) -> None:
    """A narrow table leaves intervals out, and cuts titles, but no values."""
    measurement = fake("compare", paths=("direct", "haproxy", "nginx"))
    shown = table([measurement], width=width)

    assert all(len(line) <= max(width, 40) for line in shown.splitlines())
    for metric in measurement.metrics:
        for estimate in metric.values.values():
            assert words.value(estimate) in shown
        for ratio in metric.ratios.values():
            assert words.ratio(ratio).partition(" ")[0] in shown
