"""The picture of a layout for tools: Mermaid and DOT, from one graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .diagram import addresses_of, facts_of, title_of
from .records import Host, OVSBridge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._layout import Interface, Layout

#: How a kind of node is drawn: Mermaid's brackets, and DOT's attributes.
_MACHINE = ("[", "]", "shape=box")
_HOST = ("[[", "]]", "shape=box, peripheries=2")
_SWITCH = ("{{", "}}", "shape=hexagon")
_BETWEEN_ENDS = " ─── "
#: Dots, dashes and underscores mean nothing between letters or digits. Mermaid
#: takes a ";" away in some lines that hold "style" or "classDef" (encodeEntities()
#: in its utils.ts), in quotes or not.
_MEANINGFUL = re.compile(
    r"[^ /:,\w.-]|(?<![^\W_])[-._]|[-._](?![^\W_])|(?<=s)t(?=yle)|(?<=c)l(?=assDef)"
)


@dataclass(frozen=True, slots=True)
class _Node:
    """A machine or a switch.

    Attributes:
        lines: What is written in it: its name, then what is known of it.
        form: How it is drawn.
    """

    name: str
    lines: tuple[str, ...]
    form: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Edge:
    """A cable from node to node, or the tie of a machine to its own switch.

    Attributes:
        ends: What is written at this end, and at the other.
        is_cable: False for a tie.
    """

    a: str
    b: str
    ends: tuple[str, ...]
    is_cable: bool = True


def as_mermaid(layout: Layout) -> str:
    """Draw a flowchart of Mermaid, as Markdown of many a site shows it."""
    numbers = {name: f"n{number}" for number, name in enumerate(layout.nodes)}
    lines = ["flowchart LR"]
    for node in _nodes(layout):
        opening, closing, _ = node.form
        label = "<br/>".join(map(_mermaid, node.lines))
        lines.append(f'    {numbers[node.name]}{opening}"{label}"{closing}')
    for edge in _edges(layout):
        stroke = "---" if edge.is_cable else "-.-"
        label = _BETWEEN_ENDS.join(map(_mermaid, edge.ends))
        lines.append(f'    {numbers[edge.a]} {stroke}|"{label}"| {numbers[edge.b]}')
    return "\n".join([*lines, ""])


def as_dot(layout: Layout) -> str:
    """Draw an undirected graph in DOT, the language of Graphviz."""
    lines = [
        "graph network {",
        "    rankdir=LR;",
        '    node [fontname="sans-serif"];',
        '    edge [fontname="sans-serif", fontsize=10];',
    ]
    for node in _nodes(layout):
        label = r"\n".join(map(_dot, node.lines))
        lines.append(f'    "{_dot(node.name)}" [label="{label}", {node.form[2]}];')
    for edge in _edges(layout):
        style = "" if edge.is_cable else ", style=dashed"
        # labels of the ends themselves (taillabel) may lie on top of a node
        label = _BETWEEN_ENDS.join(map(_dot, edge.ends))
        lines.append(
            f'    "{_dot(edge.a)}" -- "{_dot(edge.b)}" [label="{label}"{style}];'
        )
    return "\n".join([*lines, "}", ""])


def _nodes(layout: Layout) -> Iterator[_Node]:
    for name, machine in layout.machines.items():
        own = (addresses_of(one) for one in layout.interfaces_of(name))
        lines = (name, *filter(None, own), *facts_of(machine))
        yield _Node(name, lines, _HOST if isinstance(machine, Host) else _MACHINE)
    for name in layout.bridges:
        yield _Node(name, tuple(title_of(layout, name)), _SWITCH)


def _edges(layout: Layout) -> Iterator[_Edge]:
    for name, device in layout.bridge_devices.items():
        yield _Edge(device.place, name, (_end(device),), is_cable=False)
    for cable in layout.cables:
        if not isinstance(cable.record, OVSBridge):  # its tie is drawn already
            yield _Edge(
                _node_of(cable.a),
                _node_of(cable.b),
                (_end(cable.a), _end(cable.b)),
            )


def _node_of(interface: Interface) -> str:
    return interface.master or interface.place


def _end(interface: Interface) -> str:
    return f"{interface.ifname} {addresses_of(interface)}".rstrip()


def _mermaid(text: str) -> str:
    """Write what could mean something to Mermaid, or to its Markdown, as numbers."""
    return _MEANINGFUL.sub(lambda match: f"#{ord(match[0])};", text)


def _dot(text: str) -> str:
    r"""Write a text so that it holds no final quote, no ``\N`` and no ``&lt;``."""
    for character, written in (("\\", r"\\"), ('"', r"\""), ("&", "&amp;")):
        text = text.replace(character, written)
    return text
