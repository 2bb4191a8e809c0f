"""Fields of a pattern: which are given, what fits them, and how they are shown."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from ._scapy import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from ._scapy import Packet

    Check = Callable[[Any], bool]

#: How many characters of a value are shown.
_SHOWN = 60
_LLADDR = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}")
#: Known to scapy by the names of services, and to people by their numbers.
_PORTS = {"sport", "dport"}


def given(layer: Packet) -> dict[str, Any]:
    """Return the fields that somebody has set.

    scapy sets lists and packets beforehand, so that nobody changes the default:
    the fields of ``TCP()`` are ``{"options": []}``.
    """
    fields = layer.fields
    if layer.raw_packet_cache is None:  # else it was parsed, and all of it is meant
        preset = type(layer)().fields
        fields = {
            name: value
            for name, value in fields.items()
            if not (name in preset and preset[name] == value)
        }
    return {name: value for name, value in fields.items() if value is not None}


def check_of(
    layer: Packet, name: str, value: Any, inside: Callable[[Packet], Check]
) -> Check:
    """Return the function that says whether a captured value is the wanted one.

    Args:
        layer: The layer of the pattern.
        name: The field's name.
        value: What it must be: one value, or a set in scapy's notation.
        inside: Makes the function for a packet that is the field's value.

    Raises:
        TypeError: The value is random, or raw bytes.
    """
    scapy = load()
    is_list = layer.fieldtype[name].islist
    if isinstance(value, (scapy.volatile.VolatileValue, scapy.fields.RawVal)):
        raise TypeError(
            f"{type(layer).__name__}.{name} is {value!r}, with which nothing can be "
            "compared; leave the field out if it may be anything"
        )
    if isinstance(value, list):
        elements = _as_parsed(layer, name, value) if is_list else value
        checks = [check_of(layer, name, one, inside) for one in elements]
        return _holds_in_order(checks) if is_list else _is_one_of(checks)
    if is_packet(value):
        return inside(value)
    if isinstance(value, scapy.base_classes.Net):
        return _is_within(value)
    if _is_range(value) and not is_list:
        return _numbers(value).__contains__
    if isinstance(value, str) and _LLADDR.fullmatch(value):
        value = ":".join(f"{int(part, 16):02x}" for part in value.split(":"))
    elif isinstance(value, bytes):
        value = _filled_up(layer, name, value)
    return lambda seen: bool(seen == value)


def _as_parsed(layer: Packet, name: str, value: list[Any]) -> list[Any]:
    """Write options as scapy would find them in a packet: "discover" becomes 1."""
    field: Any = layer.fieldtype[name]
    if any(map(is_packet, value)):
        return value
    try:
        parsed = field.m2i(layer, field.i2m(layer, value))
    except Exception:  # not a value that could be sent, but maybe one to compare with
        return value
    if not isinstance(parsed, list) or len(parsed) < len(value):
        return value
    return parsed[: len(value)]  # behind it is what fills the header up


def _filled_up(layer: Packet, name: str, value: bytes) -> bytes:
    """Append the zeros that a field of fixed length, such as `BOOTP.chaddr`, has."""
    field: Any = layer.fieldtype[name]
    field = getattr(field, "fld", field)  # what is inside a ConditionalField
    if not isinstance(field, load().fields.StrFixedLenField):
        return value
    return value.ljust(field.length_from(layer), b"\0")


def _holds_in_order(checks: list[Check]) -> Check:
    """Check a list that must hold all of these, with others between them or not."""

    def check(seen: Any) -> bool:
        if not isinstance(seen, list):
            return False
        rest = iter(seen)
        return all(any(is_good(one) for one in rest) for is_good in checks)

    return check


def _is_one_of(checks: list[Check]) -> Check:
    return lambda seen: any(is_good(seen) for is_good in checks)


def _is_within(net: Any) -> Check:
    version = ipaddress.ip_address(net.int2ip(net.start)).version

    def check(seen: Any) -> bool:
        try:
            address = ipaddress.ip_address(str(seen))
        except ValueError:
            return False
        return address.version == version and net.start <= int(address) <= net.stop

    return check


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) in (2, 3)
        and all(isinstance(one, int) for one in value)
    )


def _numbers(limits: tuple[int, ...]) -> range:
    """Return (first, last) or (first, last, step), as scapy means them."""
    first, last, *step = limits
    return range(first, last + 1, *step)


def shown(layer: Packet, name: str, value: Any) -> str:
    """Write a field's value as people do, cut to a readable length."""
    text = _text(layer, name, value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _text(layer: Packet, name: str, value: Any) -> str:
    """Write a field's value as people do, and without asking any name server."""
    fields = load().fields
    if isinstance(value, list):
        texts = [_element(layer, name, one) for one in value]
        is_list = layer.fieldtype[name].islist
        return f"[{', '.join(texts)}]" if is_list else " or ".join(texts)
    if _is_range(value):
        numbers = _numbers(value)
        step = f" in steps of {numbers.step}" if numbers.step != 1 else ""
        return f"{value[0]} to {value[1]}{step}"
    if isinstance(value, load().base_classes.Net):
        return _net(value)
    if isinstance(value, fields.FlagValue):
        return str(value) or "0"
    if isinstance(value, str):
        return value
    if is_packet(value):
        return _packet(value)
    if isinstance(value, bytes) or name in _PORTS:
        return repr(value)
    try:
        return str(layer.fieldtype[name].i2repr(layer, value))
    except Exception:
        return repr(value)


def _element(layer: Packet, name: str, value: Any) -> str:
    if layer.fieldtype[name].islist and not is_packet(value):
        return repr(value)
    return _text(layer, name, value)


def _packet(packet: Packet) -> str:
    fields = given(packet).items()
    texts = [f"{name}={_text(packet, name, value)}" for name, value in fields]
    return f"{type(packet).__name__}({', '.join(texts)})"


def _net(net: Any) -> str:
    if net.start == net.stop:
        return str(net.int2ip(net.start))
    if net.mask is not None:
        return f"{net.int2ip(net.start)}/{net.mask}"
    return f"{net.int2ip(net.start)} to {net.int2ip(net.stop)}"


def is_packet(value: Any) -> TypeGuard[Packet]:
    """Say whether a value is a packet of scapy's."""
    return isinstance(value, load().packet.Packet)
