"""Plots of benchmarks."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from pytest_netns import _plots as plots
from pytest_netns._plot_svg import inlined
from pytest_netns.errors import MissingTool
from pytest_netns.estimates import Estimate, Interval
from pytest_netns.measurement import Metric, Series

if TYPE_CHECKING:
    from pytest_netns.measurement import Measurement
    from tests.conftest import Fake

FOUR = ("direct", "haproxy", "nginx", "mine")
#: Draws one plot, and says which directory matplotlib had for its files.
DRAW = """
import os, sys
before = dict(os.environ)
from pytest_netns import _plots
from pytest_netns.measurement import Measurement
one = Measurement("latency", "", (), {}, "", 0.0, 0.0, requests={"": (1e-5, 2e-5)})
assert "matplotlib" not in sys.modules
assert _plots.latencies(one, name="x", label="y").startswith("<svg")
assert dict(os.environ) == before
import logging, matplotlib
assert not logging.getLogger("matplotlib").handlers
assert "matplotlib.pyplot" not in sys.modules
print(matplotlib.get_cachedir())
"""


def parsed(text: str) -> ET.Element:
    """Parse a picture."""
    return ET.fromstring(text)  # noqa: S314  # it is our own


def bars(measurement: Measurement, *keys: str) -> ET.Element:
    """Draw bars, and parse them."""
    metrics = [metric for metric in measurement.metrics if metric.key in keys]
    return parsed(plots.bars(measurement, metrics, name="x", label="y"))


def latencies(measurement: Measurement) -> ET.Element:
    """Draw latencies, and parse them."""
    return parsed(plots.latencies(measurement, name="x", label="y"))


def over_time(measurement: Measurement, key: str) -> ET.Element:
    """Draw a metric over time, and parse it."""
    return parsed(plots.over_time(measurement, key, name="x", label="y"))


def texts(svg: ET.Element) -> list[str]:
    """Return all texts."""
    return [one.text or "" for one in svg.iter("text")]


def paths(svg: ET.Element, kind: str) -> list[list[tuple[float, float]]]:
    """Return the points of all bars, lines or whiskers."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", d)]
        for group in svg.iter("g")
        if group.get("class") == kind
        for path in group.findall("path")
        if (d := path.get("d", ""))
    ]


def width(points: list[tuple[float, float]]) -> float:
    """Return how far something reaches from left to right."""
    return max(x for x, _ in points) - min(x for x, _ in points)


def test_bars_are_as_long_as_their_medians(fake: Fake) -> None:
    """They begin at zero, so that lengths can be compared."""
    measurement = fake("compare", paths=FOUR)
    (metric,) = (one for one in measurement.metrics if one.key == "throughput")
    lengths = [width(one) for one in paths(bars(measurement, "throughput"), "bar")]

    scale = lengths[0] / metric.values["direct"].median
    expected = [scale * one.median for one in metric.values.values()]
    assert lengths == pytest.approx(expected, abs=0.05)


def test_whiskers_are_the_intervals(fake: Fake) -> None:
    """Each lies around the end of its bar, in the bar's own scale."""
    measurement = fake("compare", paths=FOUR)
    (metric,) = (one for one in measurement.metrics if one.key == "throughput")
    svg = bars(measurement, "throughput")
    scale = width(paths(svg, "bar")[0]) / metric.values["direct"].median
    whiskers = [width(one) for one in paths(svg, "whisker")]

    expected = [scale * (one.high - one.low) for one in metric.values.values()]
    assert whiskers == pytest.approx(expected, abs=0.05)


def test_bars_have_names_and_values(fake: Fake) -> None:
    """Colours alone would tell nothing to some."""
    shown = texts(bars(fake("compare", paths=FOUR), "throughput", "throughput.down"))

    assert {*FOUR, "throughput", "throughput, down", "37.8 Gbit/s"} <= set(shown)


def test_an_unstable_bar_is_hollow(fake: Fake) -> None:
    """It has a dashed edge, no whisker, and no number."""
    svg = bars(fake(rounds=2), "throughput")
    looks = [
        path.get("style", "")
        for group in svg.iter("g")
        if group.get("class") == "bar"
        for path in group.findall("path")
    ]

    assert looks
    assert all("fill: none" in one and "dasharray" in one for one in looks)
    assert ["--path-0" in looks[0], "--path-1" in looks[1]] == [True, True]
    assert paths(svg, "whisker") == []
    assert texts(svg).count("unstable") == 2
    assert not [one for one in texts(svg) if "37.8" in one]


def test_nothing_measured_is_no_bar(fake: Fake) -> None:
    """There is the word alone."""
    nothing = Estimate((), "bit/s", Interval(*[math.nan] * 3), "nothing was measured")
    metric = Metric("throughput", "throughput", "bit/s", "higher", {"": nothing})
    svg = parsed(plots.bars(fake(paths=[""], keys=[]), [metric], name="x", label="y"))

    assert paths(svg, "bar") == []
    assert "unstable" in texts(svg)


def test_latencies_lie_on_a_scale_of_nines(fake: Fake) -> None:
    """From 90 % to 99 % is as far as from 99 % to 99.9 %; slower is higher."""
    svg = latencies(fake("compare", paths=FOUR))
    places = {one.text: float(one.get("x", "nan")) for one in svg.iter("text")}
    direct, *_, mine = paths(svg, "line")

    step = places["99 %"] - places["90 %"]
    assert places["99.9 %"] - places["99 %"] == pytest.approx(step, abs=0.05)
    assert min(y for _, y in direct) > max(y for _, y in mine)
    assert [x for x, _ in direct] == sorted(x for x, _ in direct)
    assert [y for _, y in direct] == sorted((y for _, y in direct), reverse=True)


def test_many_requests_are_few_points(fake: Fake) -> None:
    """The least and the greatest are among them."""
    times = tuple(1e-5 * (1 + at) for at in range(5000))
    few = tuple(times[::50])
    (line,) = paths(latencies(fake(paths=[""], requests={"": times})), "line")
    (short,) = paths(latencies(fake(paths=[""], requests={"": few})), "line")

    assert len(line) < 300
    assert len(short) == len(few)
    assert plots._spread(5000)[0] == 0
    assert plots._spread(5000)[-1] == 4999


def test_rounds_lie_over_time(fake: Fake) -> None:
    """Each path has a line with a point for each round, from zero upwards."""
    svg = over_time(fake("compare", paths=FOUR), "throughput")

    lines = paths(svg, "line")
    assert [len(line) for line in lines] == [9] * 4
    assert "0" in texts(svg)
    assert "40 Gbit/s" in texts(svg)
    assert "seconds since the beginning" in texts(svg)


def test_paths_look_alike_in_all_plots(fake: Fake) -> None:
    """One colour and one kind of line stand for one path, seven of which differ."""
    measurement = fake("compare", paths=[f"proxy {at}" for at in range(7)])
    colours = [
        re.findall(r"var\((--path-\d)\)", ET.tostring(svg, "unicode"))
        for svg in (
            bars(measurement, "throughput"),
            latencies(measurement),
            over_time(measurement, "latency"),
        )
    ]
    expected = [f"--path-{at}" for at in range(7)]

    assert [list(dict.fromkeys(one)) for one in colours] == [expected] * 3
    assert [plots.look_of(at)[0] for at in range(7)] == expected
    assert len({tuple(plots.look_of(at)[1]) for at in range(7)}) == 7
    assert len({plots.look_of(at) for at in range(40)}) == 40


def test_names_are_no_formulas(fake: Fake) -> None:
    r"""A dollar is a dollar, ``\frac`` is nothing special, and a long name is cut."""
    names = ("$x^2$", r"$\frac", "<b>&amp;</b>", "\x00日本\n🎉", "n" * 99)
    measurement = fake("compare", paths=names, keys=["throughput", "latency"])
    shown = texts(bars(measurement, "throughput"))

    assert set(names[:3]) < set(shown)
    assert "\N{REPLACEMENT CHARACTER}日本\N{REPLACEMENT CHARACTER}🎉" in shown
    assert not [one for one in shown if len(one) > 30]
    latencies(measurement)


def test_the_same_is_drawn_the_same_again(fake: Fake) -> None:
    """No date, no chance: a page can be compared to another."""
    measurement = fake()

    def draw() -> str:
        return plots.latencies(measurement, name="x", label="y")

    assert draw() == draw()


def test_matplotlib_is_left_as_it_was(fake: Fake) -> None:
    """The user's settings neither change nor are used, and there is no pyplot."""
    drawn = plots.latencies(fake(), name="x", label="y")
    mpl = sys.modules["matplotlib"]
    theirs = {"font.size": 40.0, "axes.grid": True, "svg.hashsalt": "me"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what old ones do with new libraries
        with mpl.rc_context(theirs):
            before = dict(mpl.rcParams)
            assert plots.latencies(fake(), name="x", label="y") == drawn
            assert dict(mpl.rcParams) == before


def draw_in(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Draw in a new process with another environment, where warnings are errors."""
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
    rest = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", DRAW],
        env=rest | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("variable", ["HOME", "MPLCONFIGDIR"])
def test_nothing_remains_where_there_is_no_home(tmp_path: Path, variable: str) -> None:
    """Neither a file nor a warning, nor a change of the environment."""
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "home"  # even root can make nothing below a file
    directory = tmp_path / "tmp"
    directory.mkdir()
    completed = draw_in(
        {"HOME": str(tmp_path), variable: str(nowhere), "TMPDIR": str(directory)}
    )

    assert (completed.returncode, completed.stderr) == (0, "")
    place = Path(completed.stdout.strip())
    assert place.parent == directory
    assert list(directory.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file", directory]


def test_a_home_keeps_the_list_of_fonts(tmp_path: Path) -> None:
    """The library looks for fonts once, as it does for everybody."""
    completed = draw_in({"HOME": str(tmp_path)})

    assert (completed.returncode, completed.stderr) == (0, "")
    place = tmp_path / ".cache" / "matplotlib"
    assert completed.stdout.strip() == str(place)
    assert list(place.glob("fontlist-*.json"))


def test_without_matplotlib_there_are_no_plots(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingTool, match=r"pip install 'pytest-netns\[html\]'"):
        plots.latencies(fake(), name="x", label="y")


def test_ids_are_the_pictures_own() -> None:
    """What refers to one finds it, and what nobody refers to has none."""
    document = """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" width="9pt"
             xmlns:xlink="http://www.w3.org/1999/xlink">
          <metadata>when</metadata><defs><style>* {}</style></defs>
          <g id="a"/><g id="bar"/><g id="bar"/><path id="b" d="M 1.23456
            2"/><clipPath id="c"/>
          <use xlink:href="#b" clip-path="url(#c)" style="fill: #ff0000"/>
          <text style="font: 9px 'X', 'Y'; fill: #ff0000">id="a" 1.23456 #ff0000</text>
        </svg>"""
    drawn = inlined(
        document, "p", "it's <it>", colours={"#ff0000": "--bad"}, classes={"bar"}
    )

    assert drawn == (
        '<svg viewBox="0 0 1 1" role="img" aria-label="it\'s &lt;it&gt;" id="p">'
        '<defs /><g /><g class="bar" /><g class="bar" />'
        '<path id="p-b" d="M 1.23 2" /><clipPath id="p-c" />'
        '<use href="#p-b" clip-path="url(#p-c)" style="fill: var(--bad)" />'
        '<text style="font-size: 9px; fill: var(--bad)">id="a" 1.23456 #ff0000</text>'
        "</svg>"
    )


def test_a_series_may_be_odd(fake: Fake) -> None:
    """Nothing finite, one point, zeros, or a path that no metric has."""
    odd: Any = (
        Series("throughput", "direct", ((0.0, math.nan),)),
        Series("throughput", "proxied", ((0.0, 0.0), (1.0, 0.0))),
        Series("throughput", "another", ((0.5, 1e9),)),
        Series("latency", "direct", ((0.5, 1.0),)),
    )

    assert len(paths(over_time(fake(series=odd[:2]), "throughput"), "line")) >= 1
    over_time(fake(series=odd), "throughput")


def test_latencies_of_nothing_are_drawn(fake: Fake) -> None:
    """A clock may be so coarse that a request took no time."""
    latencies(fake(requests={"direct": (0.0, 0.0, 1e-6), "proxied": ()}))
    latencies(fake(requests={"direct": (1e-6,)}))
