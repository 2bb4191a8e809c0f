"""Encoded requests with places left for numbers.

pyroute2's message classes know every attribute, but encoding a cable takes
them 93 us. Tests build alike networks again and again, and two requests of one
shape differ only in indexes and descriptors. So a shape is encoded once, with
placeholders where those numbers go; filling them in takes 1 us.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

# include/uapi/linux/netlink.h
REQUEST = 0x1
_CREATE = REQUEST | 0x400
CREATE_EXCLUSIVE = _CREATE | 0x200
REPLACE = _CREATE | 0x100

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Placeholder(int):
    """Stands in a shape where a number goes."""


INDEX, PEER_INDEX, PEER_FD, MASTER = (
    Placeholder(0x7A5A_C3F0 + number) for number in range(4)
)


class _Message(Protocol):
    """What we use of a pyroute2 message."""

    data: bytearray

    def encode(self) -> None: ...
    def __getitem__(self, key: str) -> Any: ...
    def __setitem__(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded request and the places of its numbers, by placeholder."""

    data: bytes
    offsets: tuple[tuple[int, int], ...]

    def fill(self, numbers: dict[int, int]) -> bytearray:
        request = bytearray(self.data)
        for placeholder, offset in self.offsets:
            struct.pack_into("=I", request, offset, numbers[placeholder])
        return request


def encode(
    message: Any,
    kind: int,
    request_flags: int,
    attributes: list[tuple[str, Any]],
    **header: int,
) -> Template:
    # pyroute2 puts objects of its own into the attributes while it encodes them
    placeholders = tuple(_placeholders([header, attributes]))
    encoded = cast("_Message", message)
    for key, value in header.items():
        encoded[key] = value
    encoded["attrs"] = attributes
    encoded["header"]["type"] = kind
    encoded["header"]["flags"] = request_flags
    encoded.encode()
    data = bytes(encoded.data)
    # the first match is the placeholder: in every shape it stands before all
    # that is the user's own and might look like it, such as a MAC address
    offsets = tuple(
        (placeholder, data.index(struct.pack("=I", placeholder)))
        for placeholder in placeholders
    )
    return Template(data, offsets)


def _placeholders(value: Any) -> Iterator[Placeholder]:
    if isinstance(value, Placeholder):
        yield value
    elif isinstance(value, dict):
        yield from _placeholders(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _placeholders(one)


def present(**attributes: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in attributes.items() if value is not None]
