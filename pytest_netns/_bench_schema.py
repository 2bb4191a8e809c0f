"""What a file of benchmarks holds, as a JSON Schema, and the check that one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What says in a file that it is one of ours, and the form it is in.
SCHEMA_ID = "urn:pytest-netns:benchmarks"
VERSION = 1
#: Greater numbers, of which JSON has some, no double can hold (sys.float_info.max).
_LARGEST = 1.7976931348623157e308


def _object(about: str, /, **properties: Any) -> dict[str, Any]:
    return {
        "description": about,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _list(about: str, items: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "type": "array", "items": items}


def _by_path(about: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "type": "object", "additionalProperties": values}


def _text(about: str) -> dict[str, Any]:
    return {"description": about, "type": "string"}


def _one_of(about: str, *values: str) -> dict[str, Any]:
    return {"description": about, "enum": list(values)}


def _number(about: str) -> dict[str, Any]:
    return {"description": f"{about}; null if there is none", "type": _MAYBE}


_MAYBE = ["number", "null"]
_COUNT = {"type": "integer", "minimum": 0}
_UNIT = _one_of(
    "of all numbers beside it; s/GB is CPU seconds a gigabyte, B bytes, "
    "and nothing stands for a ratio",
    *("bit/s", "s", "1/s", "s/GB", "B", "%", ""),
)
_PATH = _text('"direct", "proxied", a proxy\'s name, or "" if there is one path only')
_KEY = _text('the metric, such as "throughput" or "latency.p99"')

_ESTIMATE = _object(
    "a median and the 95 % interval around it",
    path=_PATH,
    unit=_UNIT,
    median=_number("the median of the samples"),
    low=_number("the lower end of the interval"),
    high=_number("the upper end of the interval"),
    unstable={
        "description": "why these numbers are not to be believed; null if they are",
        "type": ["string", "null"],
    },
    samples=_list("what each round has measured", {"type": _MAYBE}),
)
_ESTIMATES: dict[str, Any] = {"$ref": "#/$defs/estimate"}

_METRIC = _object(
    "one thing that was measured",
    key=_KEY,
    title=_text("what people read"),
    unit=_UNIT,
    better=_one_of("which way is better", "higher", "lower"),
    values=_list("each path, the one compared to first", _ESTIMATES),
    ratios=_list("of each other path to the first, pair by pair", _ESTIMATES),
)

_SERIES = _object(
    "how a metric went on in time",
    key=_KEY,
    path=_PATH,
    points=_list(
        "seconds since the measurement began, and the value",
        {"type": "array", "items": {"type": _MAYBE}, "minItems": 2, "maxItems": 2},
    ),
)

_MEASUREMENT = _object(
    "what one benchmark has measured",
    kind=_one_of(
        "the method that made it",
        *("proxy", "compare", "throughput", "latency", "connections"),
    ),
    title=_text("what people read"),
    name=_text("what the test calls it, to tell several of one test apart"),
    test=_text("the test's node id"),
    began=_number("when, in seconds since 1970"),
    seconds=_number("how long it took, in seconds"),
    rounds=_by_path("how many rounds each metric had, without the warm-up", _COUNT),
    metrics=_list("what was measured", {"$ref": "#/$defs/metric"}),
    series=_list("how it went on in time", {"$ref": "#/$defs/series"}),
    requests=_by_path(
        "the time of requests on each path, in seconds, evenly picked",
        {"type": "array", "items": {"type": _MAYBE}},
    ),
    held=_by_path("how many connections were open at once on each path", _COUNT),
    machine={
        "description": "where it was measured: names and values",
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "null"]},
    },
    topology=_text("the network's picture"),
    notes=_list("what a reader must know", {"type": "string"}),
)

#: Describes the whole file.
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": f"{SCHEMA_ID}:{VERSION}",
    "title": "Benchmarks of pytest-netns",
    **_object(
        "What benchmarks have measured. A later version of the same number may have "
        "more properties; readers ignore those that they do not know.",
        schema={"description": "says what this is", "const": SCHEMA_ID},
        version={"description": "the form of the file", "const": VERSION},
        measurements=_list("one for each", {"$ref": "#/$defs/measurement"}),
    ),
    "$defs": {
        "estimate": _ESTIMATE,
        "metric": _METRIC,
        "series": _SERIES,
        "measurement": _MEASUREMENT,
    },
}

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_SAID = {"object": "an object", "array": "an array", "integer": "an integer"}


def errors(
    data: object, schema: dict[str, Any] = SCHEMA, where: str = ""
) -> Iterator[str]:
    """Yield what is wrong, and where: "metrics[0].unit is missing".

    It knows what `SCHEMA` uses of JSON Schema, and no more.

    Args:
        data: What JSON gave.
        schema: What it should be like; `SCHEMA` or a part of it.
        where: Where the data is in the file.
    """
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    wrong = _not_as_said(data, schema)
    if wrong:
        yield f"{where or 'all of it'} {wrong}"
    elif isinstance(data, dict):
        yield from _of_object(data, schema, where)
    elif isinstance(data, list):
        for at, item in enumerate(data):
            yield from errors(item, schema["items"], f"{where}[{at}]")


def _of_object(
    data: dict[str, object], schema: dict[str, Any], where: str
) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in data:
            yield f"{where}.{name} is missing".lstrip(".")
    for name, value in data.items():
        rule = known.get(name, schema.get("additionalProperties"))
        if rule is not None:
            yield from errors(value, rule, f"{where}.{name}".lstrip("."))


def _not_as_said(data: object, schema: dict[str, Any]) -> str:
    """Say what is wrong with a value, whatever is inside it; "" if nothing is."""
    if "const" in schema:
        right = type(data) is type(schema["const"]) and data == schema["const"]
        return "" if right else f"is not {schema['const']!r}"
    if "enum" in schema:
        names = ", ".join(map(repr, schema["enum"]))
        return "" if data in schema["enum"] else f"is none of {names}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    types = tuple(one for kind in kinds for one in _TYPES[kind])
    if isinstance(data, bool) or not isinstance(data, types):
        return "is not " + " or ".join(_SAID.get(kind, f"a {kind}") for kind in kinds)
    if isinstance(data, int) and abs(data) > _LARGEST:
        return "is too large"
    if "minimum" in schema and isinstance(data, int) and data < schema["minimum"]:
        return f"is below {schema['minimum']}"
    if isinstance(data, list) and len(data) != schema.get("minItems", len(data)):
        return f"has not {schema['minItems']} items"
    return ""
