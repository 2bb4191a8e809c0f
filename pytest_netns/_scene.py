"""Who is who in a network, for pictures of what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._links import links_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._layout import Layout
    from ._nsfile import NamespaceFile


class Scene(NamedTuple):
    """What a picture needs to know beside the packets.

    Attributes:
        lanes: The namespaces, in order of declaration.
        peers: For an endpoint the other end of its cable.
        owners: For a MAC address the namespace that has it.
    """

    lanes: tuple[str, ...] = ()
    peers: Mapping[str, str] = {}
    owners: Mapping[str, str] = {}


def scene_of(
    layout: Layout, files: Mapping[str, NamespaceFile], is_open: Callable[[], bool]
) -> Scene:
    """Look at a network; what is known of its cables only, once it is closed."""
    ends = [(cable.a.endpoint, cable.b.endpoint) for cable in layout.cables]
    owners = {
        link.lladdr.hex(":"): place
        for place, file in files.items()
        if place in layout.namespaces and is_open()
        for link in links_of(file).values()
        if any(link.lladdr)
    }
    peers = dict(ends) | {b: a for a, b in ends}
    return Scene((*layout.machines, *layout.bridges), peers, owners)
