"""Plots of benchmarks, as SVG to be put into a page.

matplotlib is imported here alone, and when first needed. Nothing global of it is
used: neither pyplot nor its settings, and two plots of the same are the same text.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

from . import _bench_words as words
from ._packet_table import cut, printable
from ._plot_home import home
from ._plot_svg import inlined
from .errors import MissingTool
from .estimates import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .estimates import Estimate, Unit
    from .measurement import Measurement, Metric

#: How many colours for paths there are, and how their lines are drawn.
COLOURS = 7
_DASHES = ((), (6, 2), (2, 1.5), (7, 2, 1.5, 2), (10, 3), (4, 1.5), (1, 1))

# All lengths are in points; the page scales the plot to the room that there is.
_WIDTH = 420
_HEIGHT = 250
_FONT = 10.5
_CHARACTER = 6.0
_BAR = 17
_GROUP = 26
#: The longest name of a path in a plot, in characters.
_LONGEST = 18
#: How many points a curve has at most.
_POINTS = 240

#: The page says what colours look like, by day and by night; here they are names.
_INK, _MUTED, _GRID = "#0100f1", "#0100f2", "#0100f3"
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _GRID: "--grid"} | {
    f"#0200f{number}": f"--path-{number}" for number in range(COLOURS)
}
_SETTINGS = {
    "axes.edgecolor": _GRID,
    "axes.linewidth": 1.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.labelcolor": _MUTED,
    "font.family": "DejaVu Sans",  # it comes with matplotlib; the page has its own
    "font.size": _FONT,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "path.simplify": False,
    "svg.fonttype": "none",  # text stays text: it can be selected, and is small
    "svg.hashsalt": "pytest-netns",
    "text.color": _INK,
    "text.parse_math": False,  # a dollar is a dollar
    "xtick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.color": _GRID,
    "ytick.labelcolor": _MUTED,
}


def look_of(number: int) -> tuple[str, Sequence[float]]:
    """Return the page's property for the colour of a path, and its line's dashes."""
    return _VARIABLES[_colour(number)], _dashes(number)


def bars(
    measurement: Measurement, metrics: Sequence[Metric], *, name: str, label: str
) -> str:
    """Draw medians as bars, with the intervals as whiskers.

    Args:
        measurement: What was measured; its paths have their colours.
        metrics: What to draw of it: metrics of one unit.
        name: The picture's id in the page.
        label: What it shows, in words.
    """
    count = sum(len(metric.values) for metric in metrics)
    height = count * _BAR * 1.4 + len(metrics) * _GROUP + 34
    named = [cut(printable(path), _LONGEST) for path in measurement.paths]
    left = 14 + max(map(len, named), default=0) * _CHARACTER
    with _canvas(height) as figure:
        axes = _axes(figure, left=left, right=14, top=4, height=height)
        _draw_bars(axes, measurement, metrics)
        return _svg(figure, name, label)


def _draw_bars(axes: Axes, measurement: Measurement, metrics: Sequence[Metric]) -> None:
    y, ticks, labels = 0.0, [], []
    shown = [one for metric in metrics for one in metric.values.values()]
    longest = max((_top_of(one) for one in shown), default=0.0) or 1.0
    for metric in metrics:
        axes.text(
            0, y + _GROUP * 0.55, printable(metric.title), va="center", color=_INK
        )
        y += _GROUP
        for path, estimate in metric.values.items():
            middle = y + _BAR / 2
            _draw_bar(
                axes, middle, _colour(_number_of(measurement, path)), estimate, longest
            )
            ticks.append(middle)
            labels.append(cut(printable(path), _LONGEST))
            y += _BAR * 1.4
    axes.set_xlim(0, longest * 1.3)  # room for the values
    axes.set_ylim(y + 2, 0)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    _scale(axes.xaxis, metrics[0].unit, 4)


def _draw_bar(
    axes: Axes, y: float, colour: str, estimate: Estimate, longest: float
) -> None:
    interval, unstable = estimate.interval, estimate.unstable is not None
    if not math.isfinite(interval.median):
        axes.text(longest * 0.02, y, words.UNSTABLE, va="center", color=_MUTED)
        return
    (bar,) = axes.barh(y, interval.median, _BAR, gid="bar", color=colour)
    if unstable:
        bar.set(fill=False, edgecolor=colour, linestyle=(0, (3, 2)), linewidth=1.2)
    end = interval.median
    if not unstable:
        (line,) = axes.plot([interval.low, interval.high], [y, y], color=_INK)
        line.set(gid="whisker", marker="|", markersize=8, linewidth=1.3)
        end = interval.high
    axes.text(end + longest * 0.025, y, words.value(estimate), va="center")


def _top_of(estimate: Estimate) -> float:
    """Return how far a bar and its whisker reach."""
    reach = estimate.interval.median if estimate.unstable else estimate.interval.high
    return reach if math.isfinite(reach) else 0.0


def latencies(measurement: Measurement, *, name: str, label: str) -> str:
    """Draw how many requests took at most how long, ever closer to all of them.

    Args:
        measurement: What was measured.
        name: The picture's id in the page.
        label: What it shows, in words.
    """
    drawn = {path: sorted(t) for path, t in measurement.requests.items() if t}
    with _canvas(_HEIGHT) as figure:
        axes = _axes(figure, left=58, right=18, top=10, height=_HEIGHT, foot=42)
        for path, times in drawn.items():
            places = _spread(len(times))
            number = _number_of(measurement, path)
            (line,) = axes.plot(
                [_nines((at + 0.5) / len(times)) for at in places],
                [times[at] for at in places],
                color=_colour(number),
                linewidth=2,
            )
            line.set(gid="line", dashes=_dashes(number))
        least = min(times[0] for times in drawn.values())
        greatest = max(times[-1] for times in drawn.values())
        if least > 0:
            _logarithmic(axes, least, greatest)
        _scale_of_nines(axes, max(map(len, drawn.values())))
        _name_y(axes)
        return _svg(figure, name, label)


def over_time(measurement: Measurement, key: str, *, name: str, label: str) -> str:
    """Draw how a metric went on, round by round.

    Args:
        measurement: What was measured.
        key: The metric's key.
        name: The picture's id in the page.
        label: What it shows, in words.
    """
    metric = measurement.metric(key)
    unit: Unit = metric.unit if metric else ""
    with _canvas(_HEIGHT) as figure:
        axes = _axes(figure, left=66, right=14, top=10, height=_HEIGHT, foot=42)
        highest = 0.0
        for one in measurement.series:
            if one.key != key:
                continue
            number = _number_of(measurement, one.path)
            (line,) = axes.plot(
                [x for x, _ in one.points],
                [y for _, y in one.points],
                color=_colour(number),
                linewidth=1.6,
                marker="o",
                markersize=3.5,
            )
            line.set(gid="line", dashes=_dashes(number))
            finite = [y for _, y in one.points if math.isfinite(y)]
            highest = max(highest, *finite, 0.0)
        axes.set_ylim(0, highest * 1.1 or 1.0)
        axes.set_xlabel("seconds since the beginning")
        _scale(axes.yaxis, unit, 5)
        axes.grid(axis="y")
        _name_y(axes)
        return _svg(figure, name, label)


def _spread(count: int) -> list[int]:
    """Pick numbers below `count` that lie evenly on the scale of nines."""
    if count <= _POINTS:
        return list(range(count))
    end = _nines((count - 0.5) / count)
    steps = (1 - 10 ** -(end * step / _POINTS) for step in range(_POINTS + 1))
    return sorted({min(count - 1, int(part * count)) for part in steps} | {count - 1})


def _nines(part: float) -> float:
    """Return how many nines there are: 1 for 0.9, 2 for 0.99."""
    return -math.log10(1 - part)


def _scale_of_nines(axes: Axes, count: int) -> None:
    end = _nines((count - 0.5) / count)
    parts = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]
    shown = [part for part in parts if _nines(part) <= end]
    axes.set_xticks(
        [_nines(part) for part in shown], [f"{part * 100:.6g} %" for part in shown]
    )
    axes.set_xlim(0, end * 1.02)
    axes.set_xlabel("of all requests took at most this long")
    axes.grid()


def _logarithmic(axes: Axes, least: float, greatest: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    axes.set_yscale("log")
    axes.set_ylim(least / 1.25, greatest * 1.25)
    ticks = [step * 10.0**power for power in powers for step in steps]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: _tick(value, "s"))


def _scale(axis: Any, unit: Unit, ticks: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(lambda value, _: _tick(value, unit))


def _tick(value: float, unit: Unit) -> str:
    """Show a value without what every tick would have: "20 µs" for "20.0 µs"."""
    if not value:
        return "0"
    return re.sub(r"(\.\d*?)0+(?!\d)", r"\1", show(value, unit)).replace(". ", " ")


def _name_y(axes: Axes) -> None:
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _colour(number: int) -> str:
    return f"#0200f{number % COLOURS}"


def _number_of(measurement: Measurement, path: str) -> int:
    paths = measurement.paths
    return paths.index(path) if path in paths else len(paths)


def _dashes(number: int) -> Sequence[float]:
    return _DASHES[(number + number // COLOURS) % len(_DASHES)]


def _axes(
    figure: Figure,
    *,
    left: float,
    right: float,
    top: float,
    height: float,
    foot: float = 28,
) -> Axes:
    """Return axes with these margins."""
    across, up = _WIDTH - left - right, height - top - foot
    place = (left / _WIDTH, foot / height, across / _WIDTH, up / height)
    return figure.add_axes(place)


@contextlib.contextmanager
def _canvas(height: float) -> Iterator[Figure]:
    """Give an empty figure, which is drawn with our settings in the block."""
    with warnings.catch_warnings():
        # of libraries that are not ours, and of glyphs that the page's font has
        warnings.simplefilter("ignore")
        with home():
            matplotlib = _load()
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
            matplotlib.rcParams.update(_SETTINGS)
            figure = matplotlib.figure.Figure(figsize=(_WIDTH / 72, height / 72))
            figure.patch.set_visible(False)
            yield figure


def _load() -> Any:
    try:
        import matplotlib as mpl
        import matplotlib.backends.backend_svg
        import matplotlib.figure
        import matplotlib.style
    except ImportError as error:
        raise MissingTool(
            f"plots need matplotlib: pip install 'pytest-netns[html]' ({error})"
        ) from error
    return mpl


def _svg(figure: Figure, name: str, label: str) -> str:
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return inlined(
        file.getvalue(),
        name,
        label,
        colours=_VARIABLES,
        classes={"bar", "whisker", "line"},
    )
