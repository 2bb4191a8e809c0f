"""The page of benchmarks: one file of HTML that needs nothing else, and no script."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING

from . import _bench_words as words
from ._bench_figures import MAIN, figures
from ._packet_table import printable
from ._page_style import STYLE
from ._plots import look_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .estimates import Estimate
    from .measurement import Measurement, Metric

#: Nothing comes from anywhere, whatever the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: What stands before a ratio that is surely not 1.
_MARKS = {"better": "▲", "worse": "▼"}
_ABOUT = (
    "Numbers are medians over the rounds. Beside each stands its 95 % interval, found "
    "by the bootstrap: were the measurement made again, the median would most likely "
    "lie there. Ratios are to the first path, pair by pair; ▲ is surely better and ▼ "
    "surely worse. A number that its samples do not give is not shown."
)


def page(measurements: Sequence[Measurement], *, title: str = "Benchmarks") -> str:
    """Return a page that shows measurements.

    Args:
        measurements: What was measured.
        title: The page's own title.

    Raises:
        MissingTool: matplotlib is not installed.
    """
    shared = _shared_facts(measurements)
    sections = [
        _section(one, f"m{number}", shared)
        for number, one in enumerate(measurements, 1)
    ]
    return _lines(
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{_text(title)}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        _header(measurements, title, shared),
        "<main>",
        *sections,
        "</main>",
        f'<footer><p class="quiet">{_ABOUT}</p></footer>',
        "</body>",
        "</html>",
        "",
    )


def _header(
    measurements: Sequence[Measurement], title: str, shared: dict[str, str]
) -> str:
    links = [
        f'<li><a href="#m{number}">{_text(words.heading(one))}</a></li>'
        for number, one in enumerate(measurements, 1)
    ]
    return _lines(
        "<header>",
        f"<h1>{_text(title)}</h1>",
        f'<p class="quiet">{_when(measurements)}</p>',
        _facts(shared),
        _lines('<nav aria-label="Measurements"><ol>', *links, "</ol></nav>")
        if len(links) > 1
        else "",
        "</header>",
    )


def _section(measurement: Measurement, name: str, shared: dict[str, str]) -> str:
    several = len(measurement.paths) > 1
    own = {k: v for k, v in _facts_of(measurement).items() if k not in shared}
    test = f"<code>{_text(measurement.test)}</code> · " if measurement.test else ""
    return _lines(
        f'<section id="{name}" class="{"several" if several else "single"}" '
        f'aria-labelledby="{name}-title">',
        f'<h2 id="{name}-title">{_text(words.heading(measurement))}</h2>',
        f'<p class="quiet">{test}{_text(words.effort(measurement))}</p>',
        _doubts(measurement),
        _heads(measurement),
        _table(measurement),
        _legend(measurement) if several else "",
        _plots(measurement, name),
        _topology(measurement),
        _list("notes", map(_text, measurement.notes)),
        _facts(own),
        "</section>",
    )


def _doubts(measurement: Measurement) -> str:
    reasons = [
        f"{_text(reason)}: {_text(about)}"
        for reason, about in words.doubts(measurement)
    ]
    if not reasons:
        return ""
    listed = _list("reasons", reasons)
    return f'<div class="doubts" role="note"><strong>Unstable</strong>{listed}</div>'


def _heads(measurement: Measurement) -> str:
    """Say the most important numbers in large letters, if there are few."""
    if len(measurement.paths) > 2:
        return ""
    heads = [
        _head(metric)
        for key in MAIN
        if (metric := measurement.metric(key))
        and len(metric.ratios or metric.values) == 1
    ]
    return _lines('<div class="heads">', *heads, "</div>") if heads else ""


def _head(metric: Metric) -> str:
    ((_, estimate),) = (metric.ratios or metric.values).items()
    if metric.ratios:
        large, _, small = words.ratio(estimate).partition(" ")
        title = f"{metric.title}, ratio"
    else:
        large, small = words.value(estimate), words.interval(estimate)
        title = metric.title
    kind = "" if estimate.unstable is None else ' class="unstable"'
    return (
        f"<dl><dt>{_text(title)}</dt><dd{kind}>{_text(large)}</dd>"
        f"<dd>{_text(small.strip('()'))}</dd></dl>"
    )


def _table(measurement: Measurement) -> str:
    names = measurement.paths
    is_pair = len(names) == 2
    titles = ["Metric", *(name or "median" for name in names), *["ratio"] * is_pair]
    header = "".join(f'<th scope="col">{_text(title)}</th>' for title in titles)
    rows = [
        _lines(
            f'<tr><th scope="row">{_text(metric.title)}</th>',
            *(_cell(metric, path, with_ratio=not is_pair) for path in names),
            _td("ratio", _ratio(metric, names[-1])) if is_pair else "",
            "</tr>",
        )
        for metric in measurement.metrics
    ]
    return _lines(
        f"<table><thead><tr>{header}</tr></thead><tbody>", *rows, "</tbody></table>"
    )


def _cell(metric: Metric, path: str, *, with_ratio: bool) -> str:
    estimate = metric.values.get(path)
    if estimate is None:
        return _td(path, f"<span>{words.NOTHING}</span>")
    value = _span("value", words.value(estimate), estimate)
    between = words.interval(estimate)
    interval = _span("interval", between) if between else ""
    return _td(path, value + interval + _ratio(metric, path) * with_ratio)


def _ratio(metric: Metric, path: str) -> str:
    ratio = metric.ratios.get(path)
    if ratio is None:
        return ""
    if ratio.unstable is not None:
        return _span("ratio", f"{words.UNSTABLE} ratio", ratio)
    number, _, between = words.ratio(ratio).partition(" ")
    verdict = words.verdict(metric, path)
    mark = f'<b class="{verdict}">{_MARKS[verdict]}</b> ' if verdict else ""
    interval = f'<small class="interval">{_text(between)}</small>'
    return f'<span class="ratio">{mark}{_text(number)} {interval}</span>'


def _td(path: str, content: str) -> str:
    return f'<td data-path="{_text(path)}"><div>{content}</div></td>'


def _span(kind: str, text: str, estimate: Estimate | None = None) -> str:
    if estimate is not None and estimate.unstable is not None:
        why = _text(estimate.unstable)
        return f'<span class="{kind} unstable" title="{why}">{_text(text)}</span>'
    return f'<span class="{kind}">{_text(text)}</span>'


def _legend(measurement: Measurement) -> str:
    entries = []
    for number, path in enumerate(measurement.paths):
        colour, dashes = look_of(number)
        pattern = " ".join(f"{2 * length:g}" for length in dashes)
        entries.append(
            '<svg viewBox="0 0 30 10" aria-hidden="true"><line x1="0" y1="5" x2="30" '
            f'y2="5" style="stroke: var({colour})" stroke-dasharray="{pattern}"/></svg>'
            f"{_text(path)}"
        )
    return _list("legend", entries)


def _plots(measurement: Measurement, name: str) -> str:
    drawn = [
        f"<figure><h3>{_text(title)}</h3>{svg}</figure>"
        for title, svg in figures(measurement, name)
    ]
    return _lines('<div class="plots">', *drawn, "</div>") if drawn else ""


def _topology(measurement: Measurement) -> str:
    if not measurement.topology.strip():
        return ""
    lines = "\n".join(map(_text, measurement.topology.rstrip().splitlines()))
    return (
        '<div><h3>Network</h3><pre tabindex="0" role="img" '
        f'aria-label="The network, drawn">{lines}</pre></div>'
    )


def _list(kind: str, items: Iterable[str]) -> str:
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<ul class="{kind}">{listed}</ul>' if listed else ""


def _facts(facts: dict[str, str]) -> str:
    if not facts:
        return ""
    listed = (
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{"".join(listed)}</dl>'


def _facts_of(measurement: Measurement) -> dict[str, str]:
    return {name: str(value) for name, value in measurement.machine.items()}


def _shared_facts(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Return what all measurements say of their machine, to say it once."""
    first, *others = map(_facts_of, measurements) if measurements else [{}]
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def _when(measurements: Sequence[Measurement]) -> str:
    count = f"{len(measurements)} measurement{'s' * (len(measurements) != 1)}"
    began = [one.began for one in measurements if math.isfinite(one.began)]
    if not began:
        return count
    time = datetime.fromtimestamp(min(began), tz=timezone.utc)
    stamp = time.isoformat(timespec="seconds")
    return f'{count}, <time datetime="{stamp}">{time:%Y-%m-%d %H:%M} UTC</time>'


def _text(text: str) -> str:
    return escape(printable(text))


def _lines(*lines: str) -> str:
    return "\n".join(filter(None, lines)) + ("\n" if lines[-1:] == ("",) else "")
