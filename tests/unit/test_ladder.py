"""The ladder of a conversation, as text and as a picture."""

from __future__ import annotations

import re
from itertools import pairwise
from textwrap import dedent
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._ladder import Ladder, Rung, as_text
from pytest_netns._ladder_svg import as_svg

MILLISECOND = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"
LANES = ("left", "router", "right")


def rung(source: int | None, *heads: int, **fields: Any) -> Rung:
    """Return an arrow with a short label."""
    return Rung(0, "IP", source, heads)._replace(**fields)


def drawn(*rungs: Rung, lanes: tuple[str, ...] = LANES, columns: int = 100) -> str:
    """Return the ladder as text, without its header."""
    return as_text(Ladder(lanes, rungs), columns).partition("\n")[2]


def picture(text: str) -> str:
    """Take the indentation of this file away."""
    return dedent(text).strip("\n")


def test_an_arrow_goes_from_lane_to_lane() -> None:
    """Above it is what it is, beside it when it was, in milliseconds."""
    ladder = Ladder(
        LANES,
        (
            rung(0, 1, label="ICMP echo-request"),
            rung(1, 2, label="ICMP echo-request", time=12_345),
            rung(2, 0, label="UDP", time=1234 * MILLISECOND),
        ),
        title="A ping",
    )

    assert as_text(ladder) == picture("""
        A ping
              ms   left                router                right
                     │ ICMP echo-request  │                    │
           0.000     ├───────────────────▶│                    │
                     │                    │ ICMP echo-request  │
           0.012     │                    ├───────────────────▶│
                     │                   UDP                   │
        1234.000     │◀───────────────────┼────────────────────┤
    """)


def test_a_flooded_packet_has_several_heads() -> None:
    """To both sides, and past those who did not get it."""
    assert drawn(rung(1, 0, 2), rung(0, 1, 2), rung(2, 0)) == picture("""
                  │            IP             │
        0.000     │◀────────────┼────────────▶│
                  │            IP             │
        0.000     ├────────────▶┼────────────▶│
                  │            IP             │
        0.000     │◀────────────┼─────────────┤
    """)


def test_an_unknown_end_is_open() -> None:
    """It is outside of the picture, or beside its lane; dashes are explained."""
    arrows = [rung(0), rung(None, 0), rung(1), rung(None, 2), rung(0, 1)]

    assert drawn(*(one._replace(is_unseen=True) for one in arrows)) == picture("""
                       │ IP          │             │
        0.000    ? ◀╌╌╌┤             │             │
                       │ IP          │             │
        0.000    ? ╌╌╌▶│             │             │
                       │             │ IP          │
        0.000          │             ├╌╌╌▶ ?       │
                       │             │             │ IP
        0.000          │             │             │◀╌╌╌ ?
                       │     IP      │             │
        0.000          ├╌╌╌╌╌╌╌╌╌╌╌╌▶│             │
        dashed: seen at one end only
    """)


def test_a_lost_packet_ends_on_its_way() -> None:
    """With a cross, which is explained; be it on its way to another interface."""
    arrows = [rung(0, 2), rung(2, 1), rung(0, 0), rung(1, 1)]

    assert drawn(*(one._replace(is_lost=True) for one in arrows)) == picture("""
                       │            IP             │
        0.000          ├─────────────┼───x         │
                       │             │     IP      │
        0.000          │             │   x─────────┤
                       │ IP          │             │
        0.000     x────┤             │             │
                       │             │ IP          │
        0.000          │             ├────x        │
        x: it was not seen to arrive
    """)


def test_a_packet_to_oneself_is_a_loop() -> None:
    """Its label stands beside it."""
    assert drawn(rung(0, 0, label="UDP")) == picture("""
                  ├──╮  UDP     │             │
        0.000     │◀─╯          │             │
    """)


def test_interfaces_are_named_at_the_ends() -> None:
    """Where there is room for it."""
    names = {"source_name": "eth0", "head_names": ("wan0",)}

    assert drawn(rung(0, 1, **names), rung(1, 0, **names)) == picture("""
                  │        IP        │             │
        0.000     ├─ eth0 ─── wan0 ─▶│             │
                  │        IP        │             │
        0.000     │◀─ wan0 ─── eth0 ─┤             │
    """)
    crowded = drawn(rung(0, 1, **names), columns=40, lanes=tuple("abcdef"))
    assert "wan0" not in crowded


def test_one_namespace_talks_to_the_unknown() -> None:
    """On its right, in both directions."""
    arrows = [rung(0, is_unseen=True), rung(None, 0, is_unseen=True)]

    assert drawn(*arrows, lanes=("alone",)).splitlines()[1::2] == [
        "0.000     ├╌╌╌▶ ?",
        "0.000     │◀╌╌╌ ?",
    ]


def test_a_long_label_runs_over_the_lanes() -> None:
    """It is cut only where the picture ends."""
    lines = drawn(rung(0, 1, label="x" * 300), rung(1, 2), columns=60).splitlines()

    assert lines[0].endswith("xxx…")
    assert len(lines[0]) == 60


def test_lanes_are_narrowed_to_fit() -> None:
    """Six of them go into 100 columns."""
    label = "TCP 10.0.0.1:40000 > 10.0.0.2:80 SA ttl=64"
    lanes = ("client1", "switch", "router2", "firewall", "proxy", "server")
    arrows = [rung(at, at + 1, label=label) for at in range(5)]

    text = as_text(Ladder(lanes, tuple(arrows)))

    assert max(map(len, text.splitlines())) <= 100
    assert text.count(label) == 5


def test_what_is_left_out_is_counted() -> None:
    """Between the first and the last."""
    text = as_text(Ladder(LANES, (rung(0, 1),) * 3, left_out=1234))

    lines = text.splitlines()

    assert lines[5].split() == ["⋮", "...", "1,234", "more", "...", "⋮"]
    assert len(lines) == 8


def test_nothing_was_said() -> None:
    """Then there is no ladder."""
    assert as_text(Ladder((), (), title="Silence")) == "Silence\nno packets"
    assert as_text(Ladder((), ())) == "no packets"


def boxes_of(svg: str) -> list[tuple[float, float, float, float]]:
    """Return where labels are: left, top, right and bottom, as their halos are."""
    return [
        (x, y, x + width, y + height)
        for halo in ET.fromstring(svg).iter(f"{SVG}rect")  # noqa: S314  # our own
        if halo.get("class") == "halo"
        for x, y, width, height in [
            [float(str(halo.get(name))) for name in ("x", "y", "width", "height")]
        ]
    ]


def test_the_picture_is_svg_that_needs_nothing_else() -> None:
    """Texts are escaped, and nothing is loaded from anywhere."""
    ladder = Ladder(
        ("a<b>", 'c&"d'),
        (rung(0, 1, label="1 < 2 & 3\0"), rung(1, 0, is_lost=True)),
        title="<Title>",
    )

    svg = as_svg(ladder)
    document = ET.fromstring(svg)  # noqa: S314  # our own
    texts = [text.text for text in document.iter(f"{SVG}text")]

    assert document.tag == f"{SVG}svg"
    assert document.findtext(f"{SVG}title") == "<Title>"
    assert {"<Title>", "a<b>", 'c&"d', "1 < 2 & 3�"} <= set(texts)
    assert "x: it was not seen to arrive" in texts
    assert re.findall(r"href|url\(|@import|https?:", svg) == ["http:"]  # the namespace


def test_the_picture_is_readable_in_the_dark() -> None:
    """It has its own background, and other colours where dark ones are preferred."""
    svg = as_svg(Ladder(LANES, (rung(0, 1),)))

    assert 'class="page"' in svg
    assert "prefers-color-scheme: dark" in svg


@pytest.mark.parametrize("left_out", [0, 1234])
def test_the_picture_has_a_row_for_each_arrow(left_out: int) -> None:
    """And one for those that are left out."""
    arrows = [rung(0, 1, time=at * MILLISECOND) for at in range(4)]

    svg = as_svg(Ladder(LANES, tuple(arrows), left_out=left_out))

    assert svg.count('class="head"') == 4
    assert (">... 1,234 more ...<" in svg) == bool(left_out)


labels = st.text(max_size=120)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


@st.composite
def ladders(draw: st.DrawFn) -> Ladder:
    """Draw any picture."""
    lanes = draw(st.lists(names, min_size=1, max_size=6))
    lane = st.integers(0, len(lanes) - 1)
    arrows = []
    for _ in range(draw(st.integers(0, 6))):
        heads = tuple(draw(st.lists(lane, max_size=3, unique=True)))
        source = draw(lane if not heads else st.none() | lane)
        if len(heads) > 1:  # as Flow has it: a loop is an arrow of its own
            heads = tuple(head for head in heads if head != source)
            source = source if source is not None else draw(lane)
            heads = tuple(head for head in heads if head != source) or (source,)
        if source is None:
            heads = heads[:1]
        arrows.append(
            Rung(
                draw(st.integers(0, 10**13)),
                draw(labels),
                source,
                heads,
                draw(st.text(max_size=15)),
                tuple(draw(st.text(max_size=15)) for _ in heads),
                draw(st.booleans()),
                draw(st.booleans()) if heads and source is not None else False,
            )
        )
    return Ladder(tuple(lanes), tuple(arrows), draw(st.integers(0, 9)), draw(labels))


@given(ladders(), st.integers(20, 200))
def test_every_ladder_can_be_drawn(ladder: Ladder, columns: int) -> None:
    """Two lines for an arrow, and the same picture each time."""
    text = as_text(ladder, columns)

    if ladder.rungs:
        extra = len(ladder.legend) + bool(ladder.title) + bool(ladder.left_out)
        assert len(text.split("\n")) == 1 + 2 * len(ladder.rungs) + extra
    assert text == as_text(ladder, columns)


@given(ladders())
def test_labels_in_the_picture_do_not_overlap(ladder: Ladder) -> None:
    """Neither each other nor the edge."""
    svg = as_svg(ladder)
    width = float(str(ET.fromstring(svg).get("width")))  # noqa: S314  # our own
    boxes = boxes_of(svg)

    assert all(left >= 0 and right <= width for left, _, right, _ in boxes)
    tops = [top for _, top, _, _ in boxes]
    assert tops == sorted(tops)
    assert all(upper[3] <= lower[1] for upper, lower in pairwise(boxes))
    assert svg == as_svg(ladder)
