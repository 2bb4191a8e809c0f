"""Topologies as TOML files: a table for each record, a key for each field.

All of it follows from the records' own fields: a new field needs nothing here,
and a new record its name in `KINDS`. This is the one module of its layer that
reads a file.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args, get_type_hints

from ._blame import (
    Table,
    key_of_record,
    place_of,
    places_of_whole,
    required_by,
    title_of,
)
from ._record import Record, default_of
from ._shown import shown
from .errors import TopologyError, UnknownName
from .records import Bridge, Host, Namespace, OVSBridge, Veth

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Made = TypeVar("Made")


class FilePath(Protocol):
    """A path that is no str: `pathlib.Path` and its like."""

    def __fspath__(self) -> str:
        """Return it as text."""


#: The records of a topology, by the names of their arrays in a file.
KINDS: Mapping[str, type[Record]] = {
    kind.__name__.lower(): kind for kind in (Namespace, Host, Bridge, OVSBridge, Veth)
}


def _nested_kinds(kind: type[Record]) -> dict[str, dict[str, type[Record]]]:
    """Return the fields of a record that hold others, with the kinds of each."""
    # to Python 3.10 the mark of dataclasses `_: KW_ONLY` is not a type
    hints = get_type_hints(kind, localns={"KW_ONLY": object})
    found = {
        name: {one.__name__.lower(): one for one in _records_in(hint)}
        for name, hint in hints.items()
    }
    return {name: kinds for name, kinds in found.items() if kinds}


def _records_in(hint: Any) -> Iterator[type[Record]]:
    inner = get_args(hint)  # first: to Python 3.10 list[int] is a type as well
    if not inner and isinstance(hint, type) and issubclass(hint, Record):
        yield hint
    for one in inner:
        yield from _records_in(one)


#: What may be nested in each of them; what is nested holds no others.
NESTED = {kind: _nested_kinds(kind) for kind in KINDS.values()}
#: What else may stand at the top of a file.
OPTIONS = ("names", "order")
#: Where a field takes records of several kinds, this key says which one it is.
TAG = "kind"
#: How deep the tables of a file may be nested: the dotted key of a sysctl goes deepest.
_MAX_DEPTH = 50


def read(path: str | FilePath, make: Callable[..., Made]) -> Made:
    """Return what `make` makes of the records in a file, and of its options.

    Raises:
        TopologyError: The file cannot be read, or is wrong; says where. Errors
            of records and of the whole keep their class.
    """
    try:
        return _made(_document(path), make)
    except TopologyError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__


def write(records: Sequence[Record], *, names: bool) -> str:
    """Return the text of a file that `read` takes for these records."""
    arrays = [type(record).__name__.lower() for record in records]
    options = ["names = true\n"] if names else []
    if sorted(arrays, key=arrays.index) != arrays:  # kinds do not stand together
        # names of arrays are bare words: they need quotes, but no escapes
        options.append(f"order = {arrays}\n".replace("'", '"'))
    tables = [_text(*one) for one in zip(arrays, map(_plain, records), strict=True)]
    return "\n".join(["".join(options), *tables] if options else tables)


# --- from text to a document ---


def _document(path: str | FilePath) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, str(error.errno))
        raise TopologyError(f"cannot read it: {error.strerror} ({code})") from error
    except ValueError as error:  # its name has a null byte
        raise TopologyError(f"cannot read it: {error}") from error
    try:
        document: dict[str, Any] = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        where = _end_of(data[: error.start].decode())
        raise TopologyError(f"not UTF-8: {error.reason} ({where})") from error
    except (ValueError, RecursionError) as error:
        why = str(error).replace("at end of document", _end_of(data.decode()))
        raise TopologyError(f"not TOML: {why}") from error
    return document


def _end_of(text: str) -> str:
    lines = text.split("\n")
    return f"at line {len(lines)}, column {len(lines[-1]) + 1}"


# --- from a document to records ---


def _made(document: Mapping[str, Any], make: Callable[..., Made]) -> Made:
    _check_keys(document, [*OPTIONS, *KINDS], "")
    for name, value in document.items():
        _check_depth(name, value)
    arrays = {
        name: _array(KINDS[name], name, value)
        for name, value in document.items()
        if name in KINDS
    }
    tables = _ordered(arrays, document.get("order"))
    names = document.get("names", False)
    if not isinstance(names, bool):
        raise _error("key 'names'", f"{shown(names)} is neither true nor false")
    try:
        return make(*(table.record for table in tables), names=names)
    except TopologyError as error:
        places = places_of_whole(error, tables, make)
        raise _error(" and ".join(places), error) from error


def _array(kind: type[Record], name: str, value: object) -> list[Table]:
    tables = _several(value, f"key {name!r}")
    return [
        _table(kind, table, f"{name} {number}")
        for number, table in enumerate(tables, 1)
    ]


def _several(value: object, place: str) -> list[dict[str, Any]]:
    """Return one table, or all of an array, as a list."""
    tables: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(table, dict) for table in tables):
        raise _error(place, f"{shown(value)} is neither a table nor an array of tables")
    return tables


def _ordered(arrays: Mapping[str, list[Table]], order: object) -> list[Table]:
    """Return the tables of all arrays, one array after another or as `order` says."""
    if order is None:
        return [table for tables in arrays.values() for table in tables]
    if not isinstance(order, list):
        message = f"{shown(order)} is not an array of names of arrays"
        raise _error("key 'order'", message)
    left = {name: list(tables) for name, tables in arrays.items()}
    ordered = []
    for number, name in enumerate(order, 1):
        place = f"key 'order', entry {number}"
        if not isinstance(name, str) or name not in left:
            raise _error(place, _unknown("array", name, left, "the file"))
        if not left[name]:
            raise _error(place, f"{name!r} has no more than {len(arrays[name])}")
        ordered.append(left[name].pop(0))
    for table in (table for tables in left.values() for table in tables):
        raise _error("key 'order'", f"{table.place} is left out")
    return ordered


def _table(kind: type[Record], table: Mapping[str, Any], place: str) -> Table:
    """Return the record of a table, after all that is nested in it."""
    if title := title_of(kind, table):
        place += f" ({' - '.join(title)})"
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # dataclasses
    _check_keys(table, known, place)
    for key in required_by(kind):
        if key not in table:
            raise _error(place, f"key {key!r} is missing")
    values, nested = _values(kind, table, place)
    try:
        record = kind(**values)
    except TopologyError as error:
        key_at_fault = key_of_record(kind, values, error)
        raise _error(place_of(place, key_at_fault), error) from error
    return Table(place, record, values, nested)


def _values(
    kind: type[Record], table: Mapping[str, Any], place: str
) -> tuple[dict[str, Any], tuple[tuple[str, Table], ...]]:
    """Return the fields that a table sets, and the tables nested in it."""
    values = dict(table)
    nested: list[tuple[str, Table]] = []
    kinds = NESTED.get(kind, {})
    for key, value in table.items():
        if key in kinds:
            inner = _nested(kinds[key], value, place, key)
            nested += [(key, one) for one in inner]
            records = [one.record for one in inner]
            values[key] = records if isinstance(value, list) else records[0]
        elif isinstance(value, dict):
            values[key] = _flat(value, place_of(place, key))
    return values, tuple(nested)


def _nested(
    kinds: Mapping[str, type[Record]], value: object, place: str, key: str
) -> list[Table]:
    """Return the tables in a field that takes records."""
    tables = []
    for number, table in enumerate(_several(value, place_of(place, key)), 1):
        within = f"{place}, {key} {number}"
        tag, rest = _untagged(kinds, table, within)
        tables.append(_table(kinds[tag], rest, within))
    return tables


def _untagged(
    kinds: Mapping[str, type[Record]], table: Mapping[str, Any], place: str
) -> tuple[str, Mapping[str, Any]]:
    """Return which of the kinds a table is, and the table without its tag."""
    if len(kinds) == 1:
        return next(iter(kinds)), table
    known = ", ".join(map(repr, kinds))
    if TAG not in table:
        raise _error(place, f"key {TAG!r} is missing; it is one of {known}")
    tag = table[TAG]
    if tag not in [*kinds]:
        raise _error(place_of(place, TAG), _unknown("kind", tag, kinds, "the table"))
    return tag, {key: value for key, value in table.items() if key != TAG}


def _flat(table: Mapping[str, Any], place: str, prefix: str = "") -> dict[str, Any]:
    """Return a table of dotted keys: unquoted, they are tables within tables."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            entries = _flat(value, place, f"{prefix}{key}.")
        else:
            entries = {prefix + key: value}
        for twice in flat.keys() & entries.keys():
            raise _error(place, f"{twice!r} is there twice")
        flat |= entries
    return flat


def _check_keys(table: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    for key in table:
        if key in known:
            continue
        message = _unknown("key", key, known, "the table" if place else "the file")
        if place and key in (*OPTIONS, *KINDS):
            message += "; at the top of the file it stands above the first [[table]]"
        raise _error(place_of(place, key), message)


def _check_depth(name: str, value: object) -> None:
    """Refuse what Python could neither walk through nor show: its stack ends sooner."""
    tables = value if isinstance(value, list) else [value]
    left = [(number, 2, table) for number, table in enumerate(tables, 1)]
    while left:
        number, depth, one = left.pop()
        inner = one.values() if isinstance(one, dict) else one
        if isinstance(inner, str) or not isinstance(inner, Iterable):
            continue
        if depth > _MAX_DEPTH:
            raise _error(f"{name} {number}", f"nested deeper than {_MAX_DEPTH} levels")
        left += [(number, depth + 1, deeper) for deeper in inner]


def _unknown(what: str, name: object, known: Iterable[str], where: str) -> str:
    text = name if isinstance(name, str) else shown(name)
    return str(UnknownName.among(text, known, what=what, where=where))


def _error(place: str, what: str | TopologyError) -> TopologyError:
    kind = type(what) if isinstance(what, TopologyError) else TopologyError
    return kind(f"{place}: {what}" if place else str(what))


# --- from records to text ---


def _plain(record: Record) -> dict[str, Any]:
    """Return a record as a table of the fields that differ from their defaults."""
    kinds = NESTED.get(type(record), {})
    table = {}
    for one in fields(record):  # type: ignore[arg-type]  # records are dataclasses
        value = getattr(record, one.name)
        if value != default_of(one):
            table[one.name] = _value(value, tagged=len(kinds.get(one.name, ())) > 1)
    return table


def _value(value: Any, *, tagged: bool = False) -> Any:
    if isinstance(value, Record):
        tag = {TAG: type(value).__name__.lower()} if tagged else {}
        return {**tag, **_plain(value)}
    if isinstance(value, Mapping):
        return {key: _value(one) for key, one in value.items()}
    if isinstance(value, tuple):
        only_one = len(value) == 1 and isinstance(value[0], str)
        return value[0] if only_one else [_value(one, tagged=tagged) for one in value]
    return value


def _text(array: str, table: Mapping[str, Any]) -> str:
    """Return a table of an array, below a header of its own."""
    import tomli_w  # only who writes files pays for it

    # tomli_w makes short tables inline, but either all of an array or none: a table
    # that takes more than a line, as arrays do in it, decides for headers
    decider = {"": [0]}
    text = tomli_w.dumps(
        {array: [table, decider]},
        # CR LF would come back as LF from several lines
        multiline_strings=r"\r\n" not in repr(table),
    )
    return text[: text.rindex(f"[[{array}]]")].rstrip("\n") + "\n"
