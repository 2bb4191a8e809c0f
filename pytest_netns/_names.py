"""The rules for names: what the kernel takes, and what a hosts file can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._shown import shown
from .errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Collection

#: IFNAMSIZ is 16, one byte of which ends the string (include/uapi/linux/if.h).
MAX_IFNAME = 15
#: HOST_NAME_MAX (limits.h): a namespace's name is its host name as well.
MAX_NAME = 64

#: Names that the kernel keeps for the directories of net.ipv4.conf.
_RESERVED_IFNAMES = frozenset({"all", "default"})


def check_name(name: object, what: str) -> str:
    """Return `name` if a namespace or host can have it, or raise `InvalidName`."""
    text = _check_characters(name, what, "/:#")
    if len(text.encode()) > MAX_NAME:
        raise _too_long(text, what, MAX_NAME, "a host name")
    return text


def check_ifname(name: object, what: str = "interface") -> str:
    """Return `name` if the kernel takes it for an interface, or raise `InvalidName`.

    The rules are those of ``dev_valid_name()`` in net/core/dev.c, plus ``%``,
    which the kernel would take for a pattern.
    """
    text = _check_characters(name, what, "/:%")
    if len(text.encode()) > MAX_IFNAME:
        raise _too_long(text, what, MAX_IFNAME, "an interface name")
    if text in _RESERVED_IFNAMES:
        raise InvalidName(f"{what} name {text!r} is reserved by the kernel (sysctl)")
    return text


def _check_characters(name: object, what: str, forbidden: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(
            f"{what} name {shown(name)} is of type {type(name).__name__}, not str"
        )
    if not name:
        raise InvalidName(f"{what} name is empty")
    if name in {".", ".."}:
        raise InvalidName(f"{what} name {name!r} is the name of a directory")
    for character in name:
        if character in forbidden or character.isspace() or not character.isprintable():
            raise InvalidName(
                f"{what} name {name!r} contains {character!r}, which is not allowed"
            )
    return name


def _too_long(name: str, what: str, limit: int, of: str) -> InvalidName:
    length = len(name.encode())
    unit = "characters" if length == len(name) else "bytes"
    return InvalidName(
        f"{what} name {name!r} has {length} {unit}; the limit of {of} is {limit}"
    )


def derive_port_name(namespace: str, ifname: str, taken: Collection[str]) -> str:
    """Return a free name for the port that leads to `namespace`'s `ifname`.

    ``left-eth0`` where that fits into the kernel's limit, else a shortened name.
    """
    candidate = f"{namespace}-{ifname}"
    if _fits(candidate) and candidate not in taken:
        return candidate
    encoded = candidate.replace("%", "_").encode()
    for number in range(1, len(taken) + 2):
        suffix = f"~{number}"
        stem = encoded[: MAX_IFNAME - len(suffix)].decode(errors="ignore")
        if stem + suffix not in taken:
            return stem + suffix
    raise AssertionError("one of len(taken) + 1 different names is free")


def _fits(name: str) -> bool:
    return len(name.encode()) <= MAX_IFNAME and "%" not in name
