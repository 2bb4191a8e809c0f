"""The picture of a layout, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nat import DNAT, SNAT, Masquerade
from .records import Host, OVSBridge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._layout import Cable, Interface, Layout
    from .entries import Route
    from .nat import NatRule
    from .records import Namespace


def as_text(layout: Layout) -> str:
    """Draw switches with their ports, then direct cables, then what stands alone."""
    blocks = [
        *(_bridge(layout, name) for name in layout.bridges),
        _table(map(_cable, filter(_is_direct, layout.cables))),
        "\n".join(name for name in layout.machines if not layout.interfaces.get(name)),
        _table(_facts(layout)),
    ]
    return "\n\n".join(block for block in blocks if block)


def title_of(layout: Layout, name: str) -> Iterator[str]:
    """Yield the name of a bridge, and what else is known of it."""
    bridge = layout.bridges[name]
    yield name
    if isinstance(bridge, OVSBridge):
        yield "Open vSwitch"
    if device := layout.bridge_devices.get(name):
        yield f"in {device.place}"
        yield from map(str, device.addresses)
    for word in ("stp", "vlan_filtering"):
        if getattr(bridge, word, False):
            yield word


def _bridge(layout: Layout, name: str) -> str:
    ends = list(_ends(layout, name))
    rows = [
        ("├──" if number < len(ends) else "└──", *end)
        for number, end in enumerate(ends, 1)
    ]
    return "\n".join(
        ["  ".join(title_of(layout, name)), *filter(None, [_table(rows, " ")])]
    )


def _ends(layout: Layout, bridge: str) -> Iterator[tuple[str, str]]:
    """List what is plugged into `bridge`: the far end of each cable."""
    for cable in layout.cables:
        if cable.record is layout.bridges[bridge]:
            continue  # it leads to the bridge's own device, named in the title
        for near, far in ((cable.a, cable.b), (cable.b, cable.a)):
            if near.master == bridge:
                where = f"{far.master}:{far.ifname}" if far.master else far.endpoint
                yield where, addresses_of(far)
                break


def _is_direct(cable: Cable) -> bool:
    return cable.a.master is None and cable.b.master is None


def _cable(cable: Cable) -> tuple[str, ...]:
    return (
        cable.a.endpoint,
        addresses_of(cable.a),
        "───",
        addresses_of(cable.b),
        cable.b.endpoint,
    )


def _facts(layout: Layout) -> Iterator[tuple[str, ...]]:
    for name, machine in layout.machines.items():
        for fact in facts_of(machine):
            yield f"{name}:", fact


def facts_of(machine: Namespace | Host) -> Iterator[str]:
    """Yield what is known of a machine beside its interfaces."""
    if isinstance(machine, Host):
        if machine.share_connection:
            yield "shares its connection"
    elif machine.forwarding:
        yield "forwarding"
    yield from map(_route, machine.routes)
    if not isinstance(machine, Host):
        yield from map(_nat, machine.nat)


def _route(route: Route) -> str:
    words = [route.destination]
    for word in ("via", "dev", "source", "metric", "table", "scope"):
        if (value := getattr(route, word)) is not None:
            words += [word, str(value)]
    return " ".join(words)


def _nat(rule: NatRule) -> str:
    match rule:
        case DNAT():
            words = [f"{rule.protocol} port {rule.port}"]
            words += ["of", *rule.destination] if rule.destination else []
            words += ["in", rule.in_interface] if rule.in_interface else []
            return " ".join([*words, "to", rule.to])
        case SNAT() | Masquerade():
            words = ["masquerade" if isinstance(rule, Masquerade) else "snat"]
            words += ["from", *rule.source] if rule.source else []
            words += ["out", rule.out_interface] if rule.out_interface else []
            words += ["to", rule.to] if isinstance(rule, SNAT) else []
            return " ".join(words)


def addresses_of(interface: Interface) -> str:
    """Return the addresses of an interface in one line."""
    return " ".join(map(str, interface.addresses))


def _table(rows: Iterable[tuple[str, ...]], gap: str = "  ") -> str:
    rows = list(rows)
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        gap.join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
