"""What all records share, and the checks that several of them need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any, ClassVar

from ._shown import shown
from .errors import TopologyError

#: What may be given as one address or several.
Addresses = str | Sequence[str]


class Record:
    """What all records share: a short `repr`, and fields set once."""

    __slots__ = ()
    #: The fields that are shown without their name.
    _positional: ClassVar[tuple[str, ...]] = ()

    def _set(self, name: str, value: object) -> None:
        # frozen dataclasses normalise their fields this way in __post_init__
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        parts = [shown(getattr(self, name)) for name in self._positional]
        for one in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, one.name)
            if one.name not in self._positional and value != default_of(one):
                parts.append(f"{one.name}={shown(_plain(value))}")
        return f"{type(self).__name__}({', '.join(parts)})"


def default_of(one: Any) -> object:
    """Return the default of a dataclass's field, or MISSING."""
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default


def _plain(value: object) -> object:
    """Show a sequence of one as that one: it is how people write it."""
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return value


def records_of(
    value: object, kind: type | tuple[type, ...], what: str
) -> tuple[Any, ...]:
    """Return one record or several as a tuple, if all are of these kinds."""
    records = tuple(value) if isinstance(value, Iterable) else (value,)
    for record in records:
        if not isinstance(record, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join(one.__name__ for one in kinds)
            raise TopologyError(f"{what}: {shown(record)} is not a {names}")
    return records


def check_flags(record: Record, *names: str) -> None:
    """Check that these fields are booleans."""
    for name in names:
        if not isinstance(value := getattr(record, name), bool):
            raise TopologyError(
                f"{record!r}: {name}={shown(value)} is neither True nor False"
            )


def check_mtu(mtu: object, what: str) -> None:
    """Check that it is None or an MTU that the kernel takes."""
    # ETH_MIN_MTU and ETH_MAX_MTU (include/uapi/linux/if_ether.h)
    if mtu is not None and not is_number(mtu, 68, 65535):
        raise TopologyError(
            f"{what} mtu: {shown(mtu)} is not a number from 68 to 65535"
        )


def check_text(text: str, what: str) -> str:
    """Return `text` if the kernel and its programs read all of it."""
    if "\0" in text:
        raise TopologyError(f"{what} has a null byte, where text ends for the kernel")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TopologyError(
            f"{what} has {text[error.start]!r}, which is half of a character"
        ) from error
    return text


def is_number(value: object, low: int, high: int) -> bool:
    """Tell whether it is an int, and no bool, from `low` to `high`."""
    return (
        isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    )
