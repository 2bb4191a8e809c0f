"""Makes of an SVG document of matplotlib a picture that is part of a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: Elements that a page has no use for. The style is for all elements of a document,
#: and a document is what the page is.
_LEFT_OUT = {"metadata", "style"}
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_FONT = re.compile(r"font: ([\d.]+px)[^;]*|font-family: [^;]*;? ?")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inlined(
    document: str,
    prefix: str,
    label: str,
    *,
    colours: Mapping[str, str],
    classes: Collection[str] = (),
) -> str:
    """Return a document as an element of a page.

    Args:
        document: What matplotlib has written.
        prefix: What all ids begin with: a page has several pictures.
        label: What the picture shows, for those who do not see it.
        colours: The page's own property for each colour: ``{"#ff0000": "--bad"}``.
        classes: Which ids are in truth classes, of several elements.
    """
    root = ET.fromstring(document)  # noqa: S314  # it is our own
    _strip(root)
    used = _references(root)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = dict(element.attrib)
        element.attrib.clear()
        for name, value in attributes.items():
            short = name.rpartition("}")[2]
            if short == "id" and value in classes:
                element.set("class", value)
            elif short != "id" or value in used:
                element.set(short, _written(short, value, prefix, colours))
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"viewBox": view, "role": "img", "aria-label": label, "id": prefix}
    return ET.tostring(root, encoding="unicode")


def _strip(element: ET.Element) -> None:
    """Remove what nobody sees."""
    for child in list(element):
        if child.tag.rpartition("}")[2] in _LEFT_OUT:
            element.remove(child)
            continue
        _strip(child)
        child.tail = None
    element.text = element.text if element.text and element.text.strip() else None
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _references(root: ET.Element) -> set[str]:
    used = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            used |= set(_REFERENCE.findall(value))
            if name.endswith("href"):
                used.add(value[1:])
    return used


def _written(name: str, value: str, prefix: str, colours: Mapping[str, str]) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return f"#{prefix}-{value[1:]}"
    if name == "style":
        value = _FONT.sub(
            lambda match: f"font-size: {match[1]}" * bool(match[1]), value
        )
        for colour, variable in colours.items():
            value = value.replace(colour, f"var({variable})")
    value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
    return _LONG_NUMBER.sub(r"\1", " ".join(value.split()))
