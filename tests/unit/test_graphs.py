"""The picture for tools: read back by Graphviz, and by a strict reader of Mermaid."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    Bridge,
    Host,
    InvalidName,
    Masquerade,
    Namespace,
    OVSBridge,
    Route,
    Topology,
    Veth,
)

LAN = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right"),
    Bridge("br0"),
    Veth("left:eth0", "br0", address="10.0.1.1/24"),
    Veth("right:eth0", "br0:port1", address="10.0.0.1/24"),
)

#: Names that would mean something where they are written, if they were not escaped.
ODD_NAMES = (
    *('a"b', "'", "<b>", "&lt;", "&", "%%", "%%{init}%%", ";", "|", "$x$", "(", "}"),
    *("\\", "\\N", "\\n", 'a\\"', "\\\\", "[x]", "{{x}}", "((x))", "`x`", '"`x`"'),
    *("*x*", "_x_", "__x__", "~~x~~", "1.", "-", "---", "+", "=", "-->", "a--b"),
    *("end", "graph", "subgraph", "style", "a-style", "classDef", "node", "edge"),
    *(
        "Jürgen",
        "ß",
        "кот",
        "机器",
        "😀",
        "x@{y}",
        "<br>",
        "<!--",
        "]]>",
        "^",
        "?",
        "!",
    ),
)

needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None, reason="needs the program dot (package graphviz)"
)


@dataclass(frozen=True)
class Picture:
    """What a reader makes of a drawing.

    Attributes:
        nodes: (shape, lines) of each node.
        edges: (node, node, label, dashed) of each edge; nodes by their first line.
    """

    nodes: list[tuple[str, list[str]]]
    edges: list[tuple[str, str, str, bool]]


# --- Mermaid ---

#: The characters that mean nothing to Mermaid or Markdown inside quotes, wherever
#: they are; the others are written as numbers.
HARMLESS = re.compile(
    r"(?:[^\W_]| |/|:|,|─|(?<=[^\W_])[-._](?=[^\W_])|#[1-9]\d*;)*", re.UNICODE
)
NODE = re.compile(r'    (n\d+)(\[\[|\[|\{\{)"([^"]*)"(\]\]|\]|\}\})')
EDGE = re.compile(r'    (n\d+) (---|-\.-)\|"([^"]*)"\| (n\d+)')
SHAPES = {("[", "]"): "box", ("[[", "]]"): "double box", ("{{", "}}"): "hexagon"}


def mermaid_lines(label: str) -> list[str]:
    """Read the text of a label, in quotes."""
    lines = label.split("<br/>")
    for line in lines:
        assert HARMLESS.fullmatch(line), line
        assert "style" not in line
        assert "classDef" not in line
    return [re.sub(r"#(\d+);", lambda one: chr(int(one[1])), line) for line in lines]


def read_mermaid(text: str) -> Picture:
    """Read a flowchart; the grammar is no wider than what we write."""
    head, *lines = text.removesuffix("\n").split("\n")
    assert head == "flowchart LR"
    names: dict[str, str] = {}
    picture = Picture([], [])
    for line in lines:
        if node := NODE.fullmatch(line):
            key, opening, label, closing = node.groups()
            assert key not in names
            shown = mermaid_lines(label)
            names[key] = shown[0]
            picture.nodes.append((SHAPES[opening, closing], shown))
        else:
            edge = EDGE.fullmatch(line)
            assert edge, line
            a, stroke, label, b = edge.groups()
            (shown_label,) = mermaid_lines(label)
            picture.edges.append((names[a], names[b], shown_label, stroke == "-.-"))
    return picture


# --- DOT ---

SVG = "{http://www.w3.org/2000/svg}"


def read_dot(text: str) -> Picture:
    """Have Graphviz draw it, and read what can be seen in its drawing."""
    completed = subprocess.run(
        ["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    picture = Picture([], [])
    groups = list(ET.fromstring(completed.stdout).iter(f"{SVG}g"))  # noqa: S314
    for group in groups:
        if group.get("class") == "node":
            picture.nodes.append((shape_of(group), texts_of(group)))
    for group in groups:
        if group.get("class") == "edge":
            a, _, b = (group.findtext(f"{SVG}title") or "").rpartition("--")
            (path,) = group.findall(f"{SVG}path")
            (label,) = texts_of(group)
            picture.edges.append((a, b, label, "stroke-dasharray" in path.attrib))
    return picture


def texts_of(group: ET.Element) -> list[str]:
    """List the lines that can be read in a group."""
    found = (one.text or "" for one in group.findall(f"{SVG}text"))
    return [text.replace("\xa0", " ") for text in found]


def shape_of(group: ET.Element) -> str:
    """Tell a node's shape by its corners."""
    polygons = group.findall(f"{SVG}polygon")
    corners = {len((one.get("points") or "").split()) - 1 for one in polygons}
    if corners == {4}:
        return {1: "box", 2: "double box"}[len(polygons)]
    assert corners == {6}
    return "hexagon"


# --- tests ---


def every_reader(topology: Topology) -> list[Picture]:
    """Read all drawings of a topology; Graphviz may not be installed."""
    pictures = [read_mermaid(topology.to_mermaid())]
    if shutil.which("dot"):
        pictures.append(read_dot(topology.to_dot()))
    return pictures


def test_the_flowchart_of_mermaid() -> None:
    """Machines, switches and cables, a line each, in order of declaration."""
    assert (
        LAN.to_mermaid()
        == dedent("""
        flowchart LR
            n0["left<br/>10.0.1.1/24<br/>10.0.0.0/24 dev eth0"]
            n1["right<br/>10.0.0.1/24"]
            n2{{"br0"}}
            n0 ---|"eth0 10.0.1.1/24 ─── left-eth0"| n2
            n1 ---|"eth0 10.0.0.1/24 ─── port1"| n2
        """).lstrip()
    )


def test_the_graph_of_dot() -> None:
    """The same, in the language of Graphviz."""
    assert (
        LAN.to_dot()
        == dedent(r"""
        graph network {
            rankdir=LR;
            node [fontname="sans-serif"];
            edge [fontname="sans-serif", fontsize=10];
            "left" [label="left\n10.0.1.1/24\n10.0.0.0/24 dev eth0", shape=box];
            "right" [label="right\n10.0.0.1/24", shape=box];
            "br0" [label="br0", shape=hexagon];
            "left" -- "br0" [label="eth0 10.0.1.1/24 ─── left-eth0"];
            "right" -- "br0" [label="eth0 10.0.0.1/24 ─── port1"];
        }
        """).lstrip()
    )


def test_everything_has_its_place_in_the_picture() -> None:
    """Each kind of record has its form, and all that it says can be read."""
    topology = Topology(
        Namespace(
            "gw",
            forwarding=True,
            nat=[
                Masquerade(source="10.0.0.0/24"),
                DNAT("10.0.0.2:80", port=8080),
            ],
        ),
        Namespace("alone"),
        Namespace("a"),
        Host(share_connection=True),
        Bridge("lan", namespace="gw", address="10.0.0.1/24", stp=True),
        OVSBridge("ovs"),
        OVSBridge("own", namespace="gw", address=["10.2.0.1/24", "fd00::1/64"]),
        Veth("a:eth0", "lan", address="10.0.0.2/24"),
        Veth("a:eth1", "ovs"),
        Veth("ovs:trunk", "lan:uplink"),
        Veth("gw:out", "host:in", address="10.3.0.2/24", peer_address="10.3.0.1/24"),
    )
    for picture in every_reader(topology):
        assert sorted(picture.nodes) == [
            ("box", ["a", "10.0.0.2/24"]),
            ("box", ["alone"]),
            (
                "box",
                [
                    *("gw", "10.0.0.1/24", "10.2.0.1/24 fd00::1/64", "10.3.0.2/24"),
                    "forwarding",
                    "masquerade from 10.0.0.0/24",
                    "tcp port 8080 to 10.0.0.2:80",
                ],
            ),
            ("double box", ["host", "10.3.0.1/24", "shares its connection"]),
            ("hexagon", ["lan", "in gw", "10.0.0.1/24", "stp"]),
            ("hexagon", ["ovs", "Open vSwitch"]),
            ("hexagon", ["own", "Open vSwitch", "in gw", "10.2.0.1/24", "fd00::1/64"]),
        ]
        assert sorted(picture.edges) == [
            ("a", "lan", "eth0 10.0.0.2/24 ─── a-eth0", False),
            ("a", "ovs", "eth1 ─── a-eth1", False),
            ("gw", "host", "out 10.3.0.2/24 ─── in 10.3.0.1/24", False),
            ("gw", "lan", "lan 10.0.0.1/24", True),
            ("gw", "own", "own 10.2.0.1/24 fd00::1/64", True),
            ("ovs", "lan", "trunk ─── uplink", False),
        ]


def test_an_empty_topology_can_be_drawn() -> None:
    """A drawing of nothing is one, too."""
    for picture in every_reader(Topology()):
        assert picture == Picture([], [])


def test_numbers_of_characters_are_no_numbers_in_names() -> None:
    """An interface can have a name that looks like what we write for characters."""
    topology = Topology(Namespace("a"), Namespace("b"), Veth("a:#35;style", "b:&#35;#"))
    for picture in every_reader(topology):
        assert picture.edges == [("a", "b", "#35;style ─── &#35;#", False)]


def odd(*names: str) -> Topology:
    """Return machines with these names, and the first letters of them on cables."""
    return Topology(
        *map(Namespace, names),
        Bridge("br0"),
        *(Veth(f"{name}:{shortened(name)}", "br0") for name in names),
    )


def shortened(name: str) -> str:
    """Return what of a name an interface can have."""
    return name.replace("%", "_")[:15]


@needs_dot
def test_dot_shows_odd_names_as_they_are() -> None:
    """Quotes, backslashes, entities, keywords, umlauts and emoji."""
    picture = read_dot(odd(*ODD_NAMES).to_dot())

    assert {lines[0] for _, lines in picture.nodes} == {*ODD_NAMES, "br0"}
    near_ends = {label.partition(" ")[0] for *_, label, _ in picture.edges}
    assert near_ends == set(map(shortened, ODD_NAMES))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_mermaid_shows_an_odd_name_as_it_is(name: str) -> None:
    """Whatever means something to Mermaid or Markdown is written as a number."""
    picture = read_mermaid(odd(name).to_mermaid())

    assert picture.nodes == [("box", [name]), ("hexagon", ["br0"])]
    assert picture.edges[0][2].startswith(f"{shortened(name)} ─── ")


@given(st.text(min_size=1, max_size=15))
def test_mermaid_shows_any_name_as_it_is(name: str) -> None:
    """The names that the kernel takes are many."""
    try:
        topology = Topology(Namespace(name))
    except InvalidName:
        return
    assert read_mermaid(topology.to_mermaid()).nodes == [("box", [name])]
