"""Which table of a file, and which key of it, an error is about.

Records and topologies name what is wrong in their own words. Whoever wrote a
file looks for the place: it is found by trying again without each key, and by
what the message mentions. Where that leaves a doubt, no key is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ._record import Record
from ._shown import shown
from .errors import TopologyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Puts a record in the place of another one, and returns all that make the whole.
Put = Callable[[Record], list[Record]]
#: Tries fields, and returns what is wrong with them, or None.
Attempt = Callable[[Mapping[str, Any]], str | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file.

    Attributes:
        place: Its array, its number from 1, and what tells it from the others.
        record: What it has become.
        values: The fields that it sets.
        nested: The tables in it, each with the field that it is in.
    """

    place: str
    record: Record
    values: Mapping[str, Any]
    nested: tuple[tuple[str, Table], ...] = ()


def place_of(place: str, key: str | None) -> str:
    """Return the place of a key in a table, or of the table alone."""
    return ", ".join(filter(None, [place, "" if key is None else f"key {key!r}"]))


def required_by(kind: type[Record]) -> list[str]:
    """Return the fields that have no default."""
    return [
        one.name
        for one in fields(kind)  # type: ignore[arg-type]  # records are dataclasses
        if one.default is MISSING and one.default_factory is MISSING
    ]


def title_of(kind: type[Record], values: Mapping[str, Any]) -> list[str]:
    """Return what tells such a record from others: its positional arguments."""
    names = [one.name for one in fields(kind) if not one.kw_only]  # type: ignore[arg-type]  # records are dataclasses
    return [shown(values[name]) for name in names] if values.keys() >= {*names} else []


def key_of_record(
    kind: type[Record], values: Mapping[str, Any], error: TopologyError
) -> str | None:
    """Return the key that keeps `values` from being a record, if it is a single one."""
    title = title_of(kind, values)
    # what checks may call the record: "Neighbour('10.0.0.9')" has the first alone
    called = [
        f"{kind.__name__}({', '.join(title[:length])})"
        for length in range(len(title), -1, -1)
    ]
    for what in called:
        # most messages begin with it and the field: "Route('default') via: "
        field = re.match(re.escape(what) + r" (\w+)", str(error))
        if field and field[1] in values:
            return field[1]

    def attempt(fewer: Mapping[str, Any]) -> str | None:
        try:
            kind(**fewer)
        except TopologyError as other:
            return _without(called, str(other))
        return None

    return _key(_without(called, str(error)), values, required_by(kind), attempt)


def places_of_whole(
    error: TopologyError, tables: Sequence[Table], make: Callable[..., object]
) -> list[str]:
    """Return the places that an error of the whole is about, if it shows records."""
    return [
        place_of(table.place, _key_of_table(error, tables, table, put, make))
        for table, put in _suspects(str(error), tables)
    ]


def _suspects(message: str, tables: Sequence[Table]) -> list[tuple[Table, Put]]:
    """List the tables that the message shows; of nested ones it names the outer."""
    shown = [
        (table, _put(tables, table))
        for table in tables
        if repr(table.record) in message
    ]
    return shown or [
        (inner, _put_within(_put(tables, outer), outer, inner))
        for outer in tables
        if _name_of(outer.record) in message
        for _, inner in outer.nested
        if repr(inner.record) in message
    ]


def _name_of(record: Record) -> str:
    """Return how messages name it where its nested records are at fault."""
    kind = getattr(record, "kind", type(record).__name__.lower())
    return f"{kind} {getattr(record, 'name', None)!r}"


def _put(tables: Sequence[Table], replaced: Table) -> Put:
    return lambda record: [
        record if table is replaced else table.record for table in tables
    ]


def _put_within(put: Put, outer: Table, replaced: Table) -> Put:
    def put_within(record: Record) -> list[Record]:
        changed: dict[str, Any] = {}
        for field, table in outer.nested:
            value = record if table is replaced else table.record
            if isinstance(outer.values[field], Record):
                changed[field] = value
            else:
                changed[field] = (*changed.get(field, ()), value)
        return put(replace(outer.record, **changed))  # type: ignore[type-var]

    return put_within


def _key_of_table(
    error: TopologyError,
    tables: Sequence[Table],
    table: Table,
    put: Put,
    make: Callable[..., object],
) -> str | None:
    message = _without_records(str(error), [one.record for one in tables])
    kind = type(table.record)

    def attempt(fewer: Mapping[str, Any]) -> str | None:
        try:
            records = put(kind(**fewer))
        except TopologyError:
            return message  # the key cannot be done without: this tells nothing
        try:
            make(*records)
        except TopologyError as other:
            return _without_records(str(other), records)
        return None

    # addresses and the like as the record has them, and as messages show them
    values = {key: getattr(table.record, key) for key in table.values}
    return _key(message, values, required_by(kind), attempt)


def _without_records(message: str, records: Iterable[Record]) -> str:
    """Return the message without the records that it shows: they have every value."""
    shown = [one for record in records for one in (record, *_nested_in(record))]
    return _without(map(repr, shown), message)


def _without(texts: Iterable[str], message: str) -> str:
    for text in texts:
        message = message.replace(text, "")
    return message


def _nested_in(record: Record) -> Iterator[Record]:
    for one in fields(record):  # type: ignore[arg-type]  # records are dataclasses
        value = getattr(record, one.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Record):
                yield inner


def _key(
    message: str, values: Mapping[str, Any], required: Sequence[str], attempt: Attempt
) -> str | None:
    """Return the key that `message` is about.

    That is the one without which nothing is wrong. If there are several such,
    or none, it is the one whose value the message mentions first; but not if
    leaving out others alone changes what is wrong.
    """
    outcomes = {
        key: attempt({one: values[one] for one in values if one != key})
        for key in values
        if key not in required
    }
    fixing = [key for key, outcome in outcomes.items() if outcome is None]
    if len(fixing) == 1:
        return fixing[0]
    mentioned = _first_mentioned(
        message, {key: values[key] for key in fixing or values}
    )
    changing = {key for key, outcome in outcomes.items() if outcome != message}
    if fixing or not changing or mentioned in changing:
        return mentioned
    return None


def _first_mentioned(message: str, values: Mapping[str, Any]) -> str | None:
    """Return the key whose value stands first in the message, if it is one alone."""
    places = {
        key: min(found)
        for key, value in values.items()
        if (found := [at for text in _forms(value) for at in _mentions(message, text)])
    }
    first = [key for key, at in places.items() if at == min(places.values())]
    return first[0] if len(first) == 1 else None


def _mentions(message: str, text: str) -> list[int]:
    whole = rf"(?<![\w.:/-]){re.escape(text)}(?![\w.:/-])"
    return [match.start() for match in re.finditer(whole, message)]


def _forms(value: object) -> Iterator[str]:
    """Yield what messages may show of a value: itself, or what is in it."""
    if isinstance(value, str):
        # an address without its prefix, the node of an endpoint
        for text in {value, value.partition("/")[0], value.partition(":")[0]} - {""}:
            yield repr(text)[1:-1]
        if not value:
            yield "is empty"
        return
    yield shown(value)
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for one in value:
            yield from _forms(one)
