"""What holds for every topology, whatever it consists of."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import Topology, TopologyError
from pytest_netns._plan import plan
from tests.inputs.any_records import FIELDS
from tests.inputs.any_topologies import topologies
from tests.inputs.any_values import anything

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_netns._record import Record


@st.composite
def _one_changed(draw: st.DrawFn) -> tuple[list[Record], int, str, Any]:
    """Records that fit, and what is to be changed in one of them."""
    records = [*draw(topologies)]
    position = draw(st.integers(0, len(records) - 1))
    field = draw(st.sampled_from([*FIELDS[type(records[position])]]))
    others = [getattr(one, field, None) for one in records]
    return records, position, field, draw(st.one_of(st.sampled_from(others), anything))


one_changed: SearchStrategy[tuple[list[Record], int, str, Any]] = _one_changed()
#: A topology, and where it is cut in two.
cut: SearchStrategy[tuple[Topology, int]] = topologies.flatmap(
    lambda topology: st.tuples(st.just(topology), st.integers(0, len(topology)))
)


def check_one_changed(given: tuple[list[Record], int, str, Any]) -> None:
    """Check that the change is taken, or said to be wrong."""
    records, position, field, value = given
    record = records[position]
    values = {one: getattr(record, one) for one in FIELDS[type(record)]}
    try:
        records[position] = type(record)(**{**values, field: value})
        topology = Topology(*records)
    except TopologyError:
        return
    check_value(topology)


def check_value(topology: Topology) -> None:
    """Check that it is a value, and can be planned and drawn."""
    copies = [
        pickle.loads(pickle.dumps(topology)),  # noqa: S301  # our own
        Topology() + topology,
        topology + Topology(),
        topology.with_records(),
        Topology(*topology),
    ]
    for copied in copies:
        assert copied == topology
        assert hash(copied) == hash(topology)
        assert repr(copied) == repr(topology)
        assert copied.layout == topology.layout
    assert Topology(*topology, names=not topology.names) != topology
    assert plan(topology.layout) == topology.steps
    for picture in (topology.diagram(), topology.to_mermaid(), topology.to_dot()):
        assert picture.encode()


def check_cut(given: tuple[Topology, int]) -> None:
    """Check that two parts make the whole again, whichever way they are joined."""
    topology, at = given
    first, rest = topology.records[:at], topology.records[at:]
    try:
        part = Topology(*first)
    except TopologyError:
        return  # the rest declares what this needs
    assert part.with_records(*rest) == topology
    try:
        other = Topology(*rest)
    except TopologyError:
        return
    assert part + other == topology
    assert (part + other).layout == topology.layout
    assert part != topology or not rest
