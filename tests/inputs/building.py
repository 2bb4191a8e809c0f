"""Builds topologies and compares them with the kernel."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import (
    Bridge,
    KernelError,
    Namespace,
    NetnsError,
    NetworkManager,
    Route,
    RulesetError,
    Topology,
    TopologyError,
)
from tests.inputs.any_topologies import topologies
from tests.inputs.kernel_state import declared, differences, found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import SearchStrategy

#: What the kernel refuses, though a record and a topology may say so.
_REFUSED: list[dict[str, Any]] = [
    # its address brings such a route
    {"routes": [Route("10.66.0.0/24", dev="br66")]},
    {"routes": [Route("fd66::/64", dev="br66", metric=256)]},
    {"sysctls": {"net.ipv4.no_such_thing": 1}},
    {"sysctls": {"net.ipv4.ip_default_ttl": 256}},
    {"sysctls": {"net.ipv4.conf.br66.rp_filter": "much"}},
    {"nftables": "table inet"},
]


@st.composite
def _refused(draw: st.DrawFn) -> tuple[Topology, Namespace]:
    """Draw a topology in which the kernel takes all but one of the machines."""
    records = [*draw(topologies)]
    culprit = Namespace("culprit", **draw(st.sampled_from(_REFUSED)))
    address = ["10.66.0.1/24", "fd66::1/64"]
    for record in (culprit, Bridge("br66", namespace="culprit", address=address)):
        records.insert(draw(st.integers(0, len(records))), record)
    return Topology(*records), culprit


refused: SearchStrategy[tuple[Topology, Namespace]] = _refused()


class Building:
    """Builds topologies, and compares what is there with what was declared.

    Args:
        manager: Who builds them.
    """

    def __init__(self, manager: NetworkManager) -> None:
        self._manager = manager

    def check_whole(self, topology: Topology) -> None:
        """Check that the kernel has what is declared."""
        with self._manager.build(topology) as network:
            assert differences(declared(topology), found(network)) == []

    def check_parts(self, given: tuple[Topology, int]) -> None:
        """Check that it makes no difference if the rest is added later."""
        topology, at = given
        try:
            part = Topology(*topology.records[:at])
        except TopologyError:
            return  # the rest declares what this needs
        if any(map(_is_of_an_interface, _sysctls(part))):
            return  # which may be among the rest
        with self._manager.build(part) as network:
            assert differences(declared(part), found(network)) == []
            network.add(*topology.records[at:])
            assert network.topology == topology
            assert differences(declared(topology), found(network)) == []

    def check_refused(self, given: tuple[Topology, Namespace]) -> None:
        """Check that an error shows the record at fault, and that nothing stays."""
        topology, culprit = given
        before = _namespaces_held()
        raised: NetnsError | None = None
        with NetworkManager() as manager:
            try:
                manager.build(topology)
            except NetnsError as error:
                raised = error
        assert isinstance(raised, KernelError | RulesetError)
        assert raised.record == repr(culprit)
        assert _namespaces_held() == before


def _sysctls(topology: Topology) -> Iterator[str]:
    for record in topology:
        if isinstance(record, Namespace):
            yield from record.sysctls


def _is_of_an_interface(sysctl: str) -> bool:
    return ".conf." in sysctl


def _namespaces_held() -> set[str]:
    """List the network namespaces that this process holds, by their numbers."""
    held = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            held.add(str(link.readlink()))
    return {target for target in held if target.startswith("net:[")}
