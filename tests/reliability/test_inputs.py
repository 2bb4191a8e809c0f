"""Thousands of inputs: records, files and topologies, and data to be wary of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_netns import NetworkManager
from tests.inputs import (
    any_files,
    any_records,
    building,
    hostile_capture,
    hostile_netlink,
    hostile_texts,
    whole,
)
from tests.inputs.any_topologies import topologies
from tests.inputs.any_values import tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

#: One input in so many is tried without --soak: other tests try as many again.
SHARE = 500


class Property(NamedTuple):
    """What holds for inputs of a kind.

    Attributes:
        inputs: What they are taken from.
        check: Raises an error for one that is taken badly.
        number: How many are tried with --soak.
    """

    inputs: SearchStrategy[Any]
    check: Callable[[Any], object]
    number: int


PROPERTIES = {
    "one wrong field": Property(
        any_records.one_wrong, any_records.check_one_wrong, 20_000
    ),
    "all fields": Property(any_records.all_wrong, any_records.check_all_wrong, 10_000),
    "one wrong record": Property(whole.one_changed, whole.check_one_changed, 2_000),
    "values": Property(topologies, whole.check_value, 2_000),
    "parts": Property(whole.cut, whole.check_cut, 2_000),
    "blocks": Property(hostile_capture.blocks, hostile_capture.check_block, 20_000),
    "stores": Property(
        hostile_capture.block_lists, hostile_capture.check_store, 10_000
    ),
    "seams": Property(hostile_capture.block_lists, hostile_capture.check_seam, 10_000),
    "capture files": Property(
        hostile_capture.files, hostile_capture.check_file, 10_000
    ),
    "packets": Property(
        hostile_capture.packet_lists, hostile_capture.check_packets, 2_000
    ),
    "netlink messages": Property(
        hostile_netlink.messages, hostile_netlink.check_message, 20_000
    ),
    "netlink answers": Property(
        hostile_netlink.datagrams, hostile_netlink.check_answers, 10_000
    ),
    "databases": Property(hostile_texts.streams, hostile_texts.check_stream, 5_000),
    "loads": Property(hostile_texts.said, hostile_texts.check_said, 10_000),
}


def _of(files: any_files.Files) -> dict[str, Property]:
    return {
        "bytes": Property(any_files.files, files.check_bytes, 20_000),
        "documents": Property(any_files.documents, files.check_document, 10_000),
        "damaged files": Property(any_files.damaged, files.check_bytes, 2_000),
        "changed files": Property(any_files.changed, files.check_changed, 2_000),
        "round trips": Property(topologies, files.check_topology, 2_000),
    }


def _built(built: building.Building) -> dict[str, Property]:
    return {
        "wholes": Property(topologies, built.check_whole, 2_000),
        "additions": Property(whole.cut, built.check_parts, 1_000),
        "refusals": Property(building.refused, built.check_refused, 1_000),
    }


@pytest.fixture
def properties(tmp_path: Path) -> Iterator[dict[str, Property]]:
    """Give all properties, by name."""
    with NetworkManager() as manager:
        files, built = any_files.Files(tmp_path), building.Building(manager)
        yield {**PROPERTIES, **_of(files), **_built(built)}


@pytest.mark.parametrize(
    "name",
    [
        *PROPERTIES,
        *("bytes", "documents", "damaged files", "changed files", "round trips"),
        *("wholes", "additions", "refusals"),
    ],
)
def test_inputs(
    name: str,
    properties: dict[str, Property],
    record_property: Callable[[str, object], None],
    *,
    soaks: bool,
) -> None:
    """Each is taken, or refused in the words that are promised."""
    inputs, check, number = properties[name]

    count = tried(inputs, check, number if soaks else number // SHARE)

    record_property("figure", f"{count} {name}")
