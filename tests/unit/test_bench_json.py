"""Benchmarks as data for files."""

from __future__ import annotations

import copy
import json
import math
import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._bench_json import (
    SCHEMA,
    document,
    from_data,
    read_document,
    to_data,
)
from pytest_netns.estimates import Estimate, Unit, estimate
from pytest_netns.measurement import Measurement, Metric, Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Fake

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def through_json(data: object) -> Any:
    """Write data to a file and read it, more strictly than Python would."""
    return json.loads(json.dumps(data, allow_nan=False))


def test_what_is_written_is_read(fake: Fake) -> None:
    """A file gives back what was measured, number by number."""
    measurements = list(fake.several())

    assert read_document(through_json(document(measurements))) == measurements


@given(data=st.data())
def test_any_measurement_is_read_as_it_was(
    measurements: st.SearchStrategy[Measurement], data: st.DataObject
) -> None:
    """To the last bit, in the same order, and as the schema says."""
    measurement = data.draw(measurements)
    written = through_json(to_data(measurement))

    VALIDATOR.validate(document([measurement]))
    assert repr(from_data(written)) == repr(_as_read(measurement))


def _as_read(measurement: Measurement) -> Measurement:
    """Write whole numbers as JSON gives them where a number is meant."""
    return replace(measurement, began=float(measurement.began))


def test_the_first_path_stays_the_first(fake: Fake) -> None:
    """Objects of JSON have no order, and tools may sort them."""
    measurement = fake("compare", paths=("nginx", "haproxy"), keys=["throughput"])
    written = json.loads(json.dumps(to_data(measurement), sort_keys=True))

    assert from_data(written).paths == ("nginx", "haproxy")


def test_no_field_is_forgotten(fake: Fake) -> None:
    """Each field of a measurement, and of its parts, is in the file."""
    data = to_data(fake())
    metric = data["metrics"][0]

    assert set(data) == {one.name for one in fields(Measurement)}
    assert set(metric) == {one.name for one in fields(Metric)}
    assert set(data["series"][0]) == {one.name for one in fields(Series)}
    of_estimate = {one.name for one in fields(Estimate)} - {"interval"}
    assert set(metric["values"][0]) == of_estimate | {"path", "median", "low", "high"}


def test_the_schema_knows_all_kinds_and_units() -> None:
    """They are those of the records."""
    of = SCHEMA["$defs"]
    kinds = re.findall(r"'(\w+)'", Measurement.__annotations__["kind"])

    assert of["measurement"]["properties"]["kind"]["enum"] == kinds
    assert of["estimate"]["properties"]["unit"]["enum"] == list(get_args(Unit))


def test_the_schema_is_one() -> None:
    """It keeps the rules of its own dialect, and describes each property."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$id"].endswith(":1")
    for definition in SCHEMA["$defs"].values():
        for name, rule in definition["properties"].items():
            assert rule.get("description") or "$ref" in rule, name


def test_what_is_no_number_is_null(fake: Fake) -> None:
    """RFC 8259 knows no NaN, so that other programs could not read it."""
    metric = Metric("x", "x", "s", "lower", {"": estimate([], "s")})
    measurement = fake(machine={"load": math.nan}, paths=[""], keys=[])
    written = document([replace(measurement, metrics=(metric,))])
    (data,) = through_json(written)["measurements"]

    VALIDATOR.validate(written)
    assert data["metrics"][0]["values"][0]["median"] is None
    read = from_data(data)
    assert math.isnan(read.metrics[0].values[""].interval.low)
    assert math.isnan(float(read.machine["load"]))


def test_a_newer_file_says_so(fake: Fake) -> None:
    """Nothing of it is read, as it might mean something else."""
    data = document([fake()]) | {"version": 2}

    with pytest.raises(ValueError, match=r"version 2, .* up to 1: .* newer"):
        read_document(data)


@pytest.mark.parametrize("data", [None, [], {}, {"schema": "x"}, "text", 1])
def test_another_file_says_that_it_is_none(data: object) -> None:
    """Such as the one of another tool."""
    with pytest.raises(ValueError, match='these are no benchmarks: "schema" is not'):
        read_document(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("version"), "version is missing"),
        (lambda d: d.update(version="1"), "version is not 1"),
        (lambda d: d.update(version=True), "version is not 1"),
        (lambda d: d.update(measurements={}), "measurements is not an array"),
        (lambda d: d["measurements"].append(3), r"measurements\[2\] is not an object"),
        (
            lambda d: d["measurements"][1].pop("topology"),
            r"measurements\[1\]\.topology is missing",
        ),
        (
            lambda d: d["measurements"][0]["metrics"][2].update(unit="mile"),
            r"measurements\[0\]\.metrics\[2\]\.unit is none of 'bit/s', ",
        ),
        (
            lambda d: d["measurements"][0]["metrics"][0]["values"][0].update(low="1"),
            r"metrics\[0\]\.values\[0\]\.low is not a number or a null",
        ),
        (
            lambda d: d["measurements"][0]["rounds"].update(throughput=-1),
            r"rounds\.throughput is below 0",
        ),
        (
            lambda d: d["measurements"][0].update(seconds=True),
            r"seconds is not a number or a null",
        ),
        (
            lambda d: d["measurements"][0]["series"][0]["points"].append([1]),
            r"series\[0\]\.points\[9\] has not 2 items",
        ),
        (
            lambda d: d["measurements"][0]["notes"].append(True),
            r"notes\[0\] is not a string",
        ),
    ],
)
def test_a_broken_file_says_what_and_where(
    fake: Fake, change: Callable[[Any], object], message: str
) -> None:
    """And the schema finds it broken, too."""
    data = through_json(document([fake(), fake()]))
    VALIDATOR.validate(data)
    read_document(data)
    change(data)

    assert not VALIDATOR.is_valid(data)
    with pytest.raises(ValueError, match=f"^these are no benchmarks: .*{message}"):
        read_document(data)


@given(data=st.data())
def test_a_reader_takes_what_the_schema_allows(fake: Fake, data: st.DataObject) -> None:
    """Whatever one puts somewhere into a file, both say the same of it."""
    written = through_json(document([fake(keys=["latency"], rounds=3)]))
    written["measurements"][0]["requests"] = {"direct": [0.1]}
    place: Any = written
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        deeper = isinstance(place[key], dict | list) and place[key]
        if not deeper or data.draw(st.booleans()):
            break
        place = place[key]
    wrong: st.SearchStrategy[object] = st.sampled_from(
        [None, "", "s", -1, 0, 2.5, False, [], {}, [1, 2]]
    )
    place[key] = copy.deepcopy(data.draw(wrong))

    try:
        read_document(written)
    except ValueError:
        assert not VALIDATOR.is_valid(written)
    else:
        VALIDATOR.validate(written)


def test_what_a_later_version_adds_is_left_alone(fake: Fake) -> None:
    """A property that is not known changes nothing."""
    data = document([fake()])
    data["more"] = 1
    data["measurements"][0]["weather"] = "fine"

    VALIDATOR.validate(data)
    assert read_document(data) == [fake()]


def test_a_measurement_alone_is_checked_as_well() -> None:
    """The message names the place in it."""
    with pytest.raises(ValueError, match="kind is missing"):
        from_data({})
