"""Where to capture: a leaf, since networks need it and captures are rare."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import UnknownName
from .records import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._layout import Layout
    from ._nsfile import NamespaceFile


class Spot(NamedTuple):
    """Where to capture.

    Attributes:
        file: The namespace.
        place: What the namespace, or the hidden bridge in it, is called.
        ifnames: The interfaces; None is all, future ones too.
    """

    file: NamespaceFile
    place: str
    ifnames: tuple[str, ...] | None


def spots_of(
    layout: Layout, file_of: Callable[[str], NamespaceFile], endpoints: Sequence[str]
) -> list[Spot]:
    """Return the spots that some endpoints mean, one for each place.

    Args:
        layout: The network.
        file_of: Gives the namespace of a place.
        endpoints: ``"namespace:ifname"``, ``"bridge:port"``, a namespace or a bridge
            with all that it has; none is all namespaces.

    Raises:
        UnknownName: There is no such namespace or bridge; says which there are.
    """
    wanted: dict[str, list[str] | None] = {}
    for endpoint in endpoints or layout.machines:
        node, ifname = split_endpoint(endpoint)
        if node not in layout.nodes:
            raise UnknownName.among(
                node, layout.nodes, what="namespace or bridge", where="capture()"
            )
        place = layout.place_of(node)
        names = wanted.setdefault(place, [])
        if ifname is not None and names is not None:
            names.append(ifname)
        elif ifname is None and node in layout.namespaces:
            wanted[place] = None
        elif ifname is None and names is not None:
            # others have interfaces there as well: the machine, other switches
            names += _declared(layout, node)
    return [
        Spot(file_of(place), place, None if names is None else tuple(names))
        for place, names in wanted.items()
    ]


def _declared(layout: Layout, node: str) -> list[str]:
    """Return the interfaces of the machine, or the ports of a bridge, as declared."""
    if node in layout.bridges:
        return [port.ifname for port in layout.ports.get(node, ())]
    return list(layout.interfaces.get(node, {}))
