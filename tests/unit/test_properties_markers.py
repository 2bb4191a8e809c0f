"""Markers: whatever is in them, tests are built for or an error names file and line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import strategies as st

from pytest_netns import Namespace, Topology
from pytest_netns.markers import errors_at_collection, required_programs, topology_of
from tests.inputs.any_topologies import MACHINES
from tests.inputs.any_values import anything, texts, tried

HERE = Path(__file__)
#: Parts of a network, many of which do not fit together.
parts = st.one_of(
    anything,
    st.sampled_from(MACHINES).map(Namespace),
    st.sampled_from(MACHINES).map(lambda name: Topology(Namespace(name))),
    texts.map(Path),
)
arguments = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"requires": anything}),
    st.dictionaries(st.sampled_from(["requires", "a"]), anything, max_size=2),
)
marks = st.lists(st.tuples(st.lists(parts, max_size=3), arguments), max_size=3)


def item_with(given: list[tuple[list[object], dict[str, Any]]]) -> pytest.Item:
    """Return what collection knows of a test with these markers, innermost first."""
    applied = [pytest.mark.netns(None, *args, **kwargs).mark for args, kwargs in given]
    bare = [
        pytest.Mark(mark.name, mark.args[1:], mark.kwargs, _ispytest=True)
        for mark in applied
    ]
    item = SimpleNamespace(
        iter_markers=lambda _: iter(bare),
        path=HERE,
        config=SimpleNamespace(stash=pytest.Stash()),
        reportinfo=lambda: (HERE, 41, "test_it[0]"),
    )
    return cast("pytest.Item", item)


def check(given: list[tuple[list[object], dict[str, Any]]]) -> None:
    """Check that there is a network, or one error that says where the test is."""
    item = item_with(given)

    errors = errors_at_collection([item])

    if errors:
        (error,) = errors
        assert error.startswith(f"{HERE}:42: test_it: ")
    else:
        assert isinstance(topology_of(item), Topology)
        assert all(required_programs(item))


def test_any_markers() -> None:
    """They make a network, or an error of the collection."""
    tried(marks, check, 100)


def test_programs_that_can_be_read_once() -> None:
    """They would be there when the marker is checked, and gone before the test runs."""
    (error,) = errors_at_collection([item_with([([], {"requires": iter(["nft"])})])])

    assert "can be read only once: give a list" in error


@pytest.mark.parametrize("part", ["a\0b", Path("\ud800"), SimpleNamespace()])
def test_parts_that_are_none(part: object) -> None:
    """They are said to be none, even if no file can have such a name."""
    (error,) = errors_at_collection([item_with([([part], {})])])

    assert "TopologyError: " in error


class BytesPath:
    """A path whose name is bytes, as some libraries have it."""

    def __fspath__(self) -> bytes:
        return b"lab.toml"


def test_a_path_of_bytes() -> None:
    """It is not joined to the folder of the test file, which is text."""
    (error,) = errors_at_collection([item_with([([BytesPath()], {})])])

    assert "is a path of bytes, not text" in error
