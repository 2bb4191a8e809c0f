"""The page of benchmarks, as text; `tests/privileged` opens it in a browser."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_netns import _bench_words as words
from pytest_netns._bench_page import page
from pytest_netns.measurement import Measurement

if TYPE_CHECKING:
    from tests.conftest import Fake

#: Elements that have no end (HTML, 13.1.2, "void elements").
VOID = {"link", "meta"}
#: Attributes by which a page may ask for something.
ASKING = {"src", "srcset", "href", "action", "poster", "data", "formaction"}
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


class Parsed(HTMLParser):
    """What a browser would find in a page.

    Attributes:
        tags: How many elements there are of each kind.
        attributes: All of them: the element, the name, the value.
        text: All text that is not in a style.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG that is empty."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that what ends is what has begun last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self._open[-1:] != ["style"]:
            self.text += data

    def values(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value for _, one, value in self.attributes if one == name]


def test_it_shows_every_number(fake: Fake) -> None:
    """Values, intervals and ratios are those of the table in the terminal."""
    measurements = fake.several()
    text = Parsed(page(measurements)).text

    for measurement in measurements:
        assert words.heading(measurement) in text
        for metric in measurement.metrics:
            for estimate in metric.values.values():
                assert words.value(estimate) in text
                assert words.interval(estimate) in text
            for ratio in metric.ratios.values():
                assert words.ratio(ratio) in text


def test_it_shows_where_and_how_it_was_measured(fake: Fake) -> None:
    """The machine, the network, the notes, the test and the time are there."""
    one = fake(notes=["offloads are on"], topology="a ─── b\n      c")
    text = Parsed(page([one], title="My page")).text

    for said in (
        *("6.18.1", "Fake 9000", "a ─── b\n      c", "offloads are on"),
        *("2023-11-14 22:13 UTC", "9 rounds in 12.3 s", one.test, "My page"),
    ):
        assert said in text


def test_what_machines_have_in_common_is_said_once(fake: Fake) -> None:
    """What is different stands with its measurement."""
    texts = Parsed(
        page(
            [
                fake(machine={"kernel": "6.18.1", "load": 0.25}),
                fake(machine={"kernel": "6.18.1", "load": 3.75}),
            ]
        )
    ).text

    assert (texts.count("6.18.1"), texts.count("0.25"), texts.count("3.75")) == (
        1,
        1,
        1,
    )


def test_unstable_numbers_are_marked(fake: Fake) -> None:
    """The number is not there, and the reason is."""
    stable = fake(keys=["latency"])
    unstable = fake(keys=["latency"], rounds=2)

    shown = Parsed(page([unstable]))
    assert "2 of at least 3 rounds were measured" in shown.text
    assert "unstable" in " ".join(shown.values("class"))
    for estimate in unstable.metrics[0].values.values():
        assert words.value(replace(estimate, unstable=None)) not in shown.text
    assert "nstable" not in Parsed(page([stable])).text


def test_names_are_texts(fake: Fake) -> None:
    """Nothing that a test is called can become a part of the page's machinery."""
    one = fake(
        "compare",
        paths=("direct", EVIL),
        title=EVIL,
        name=EVIL,
        test=EVIL,
        topology=EVIL,
        notes=[EVIL],
        machine={EVIL: EVIL},
    )
    one = replace(
        one, metrics=tuple(replace(metric, title=EVIL) for metric in one.metrics)
    )
    shown = Parsed(page([one, one], title=EVIL))

    assert shown.text.count(EVIL) > 20
    assert not shown.tags.keys() & {"script", "img"}
    assert not [name for _, name, _ in shown.attributes if name.startswith("on")]


@settings(max_examples=10)
@given(data=st.data())
def test_any_measurement_gives_a_whole_page(
    measurements: st.SearchStrategy[Measurement], data: st.DataObject
) -> None:
    """Elements are closed, ids are unique, and nothing is asked for or run."""
    shown = Parsed(page([data.draw(measurements)]))

    _assert_alone(shown)


def test_the_page_stands_alone(fake: Fake) -> None:
    """A page with all that there is asks for nothing, either."""
    _assert_alone(Parsed(page(fake.several())))


def _assert_alone(shown: Parsed) -> None:
    ids = Counter(shown.values("id"))
    assert max(ids.values()) == 1
    asked = {value for _, name, value in shown.attributes if name in ASKING}
    assert "data:," in asked
    assert all(one == "data:," or one.startswith("#") for one in asked)
    referred = {one[1:] for one in asked if one.startswith("#")}
    for value in shown.values("style") + shown.values("clip-path"):
        found = re.findall(r"url\(#?([^)]*)\)", value)
        assert value.count("url(") == len(found)
        referred |= set(found)
    assert referred <= set(ids)
    assert not shown.tags.keys() & {"script", "iframe", "object", "embed", "base"}


def test_every_plot_says_what_it_shows(fake: Fake) -> None:
    """Those who do not see it hear the numbers."""
    shown = Parsed(page([fake(keys=["throughput", "latency"])]))
    labels = {
        value
        for tag, name, value in shown.attributes
        if (tag, name) == ("svg", "aria-label")
    }

    assert any("direct 37.8 Gbit/s (37.8 to 38.6 Gbit/s)" in one for one in labels)
    assert any("proxied: 50 % at most" in one for one in labels)
    assert any("direct: 9 rounds between" in one for one in labels)
    assert len(labels) == shown.tags["figure"] == 4


def test_what_was_not_measured_has_no_plot(fake: Fake) -> None:
    """A measurement of one thing is a short section."""
    one = fake("connections", paths=[""], keys=["connections"])
    ids = Parsed(page([one])).values("id")

    assert "m1-connections-bars" in ids
    assert not [one for one in ids if "latency" in one or "throughput" in one]


def test_a_page_of_nothing_is_a_page() -> None:
    """It says that nothing was measured."""
    assert "0 measurements" in Parsed(page([])).text
    empty = Measurement("proxy", "", (), {}, "", float("nan"), 0.0)
    assert "1 measurement" in Parsed(page([empty])).text


def test_the_same_measurements_give_the_same_page(fake: Fake) -> None:
    """Neither time nor chance has a part in it."""
    assert page(fake.several()) == page(fake.several())


@pytest.mark.parametrize(("count", "most"), [(1, 100_000), (3, 250_000)])
def test_a_page_is_small(fake: Fake, count: int, most: int) -> None:
    """It can be sent by mail."""
    one = fake("compare", paths=("direct", "haproxy", "nginx", "mine"))

    assert len(page([one] * count).encode()) < most
