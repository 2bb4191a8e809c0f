"""The inner suite: each test looks whether its network is fresh, then does its worst.

Run by `test_next_test`, never by itself: what it finds goes into a file, since
tests that do their worst may fail, and some are drawn to.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._nsfile import NamespaceFile
from tests.inputs.kernel_state import kernel_filters_vlans
from tests.plugin.leftovers import processes
from tests.reliability.differing import VOLATILE, still
from tests.reliability.looking import Place
from tests.reliability.pristine import Pristine, differences
from tests.reliability.scenarios import Scenario, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_netns import Network, Topology

_SEED, _FIRST, _LAST = (int(word) for word in os.environ["NETNS_SUITE"].split())
_MARK = f"NETNS_MARK={os.environ['NETNS_MARK']}"
#: First of all, while this process has built nothing.
_PRISTINE = Pristine()
_SCENARIOS = scenarios(_SEED, _LAST + 1, vlans=kernel_filters_vlans())
#: What a test starts in its namespaces, and nobody else does.
_STARTED = ("sleep 600", "ping ", "sysctl ")


class _Machine:
    """What a test must not change: all that is outside of its network."""

    def __init__(self) -> None:
        self._home = NamespaceFile(os.open("/proc/self/ns/net", os.O_RDONLY), "home")
        self._before: set[str] = set()
        self.lent: set[int] = set()

    def changes(self) -> list[str]:
        """Return what is not as before the first test."""
        lines = {one for one in self._lines() if not VOLATILE.search(one)}
        self._before = self._before or lines
        return sorted(lines ^ self._before)

    def _lines(self) -> Iterator[str]:
        yield from map(still, Place("home", self._home, set()).lines())
        yield f"directory {Path.cwd()}"
        umask = os.umask(0o22)
        os.umask(umask)
        yield f"umask {umask:o}"
        yield f"host name {os.uname().nodename}"
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            yield f"mount {line}"
        for thread in threading.enumerate():
            if thread.name != "Open vSwitch":
                yield f"thread {thread.name}"
        for command in processes(_MARK).values():
            if any(one in command for one in _STARTED):
                yield f"process {command}"
        for path in Path("/run/netns").glob(f"pytest-{os.getpid()}-*"):
            yield f"name {path}"


@pytest.fixture(scope="session")
def machine() -> Iterator[_Machine]:
    """The machine, for the whole run."""
    yield _Machine()
    _PRISTINE.close()


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """The test's scenario."""
    number: int = request.getfixturevalue("number")
    return _SCENARIOS[number]


@pytest.fixture
def netns_topology(scenario: Scenario, machine: _Machine, found: list[str]) -> Topology:
    """The test's network; what the test before has left is looked for first."""
    found += machine.changes()
    return scenario.topology


@pytest.fixture
def found() -> list[str]:
    """What differs."""
    return []


@pytest.mark.parametrize("number", range(_FIRST, _LAST + 1))
def test_worst(
    number: int,
    found: list[str],
    netns: Network,
    scenario: Scenario,
    machine: _Machine,
) -> None:
    """The network is as one that is the first of its process."""
    extra, missing = differences(netns, _PRISTINE)
    found += [f"too much: {line}" for line in extra]
    found += [f"missing: {line}" for line in missing]
    inodes = {one.file.inode for one in netns._fabric.switches.values()}
    result = {
        "number": number,
        "found": found,
        "switches": len(inodes),
        "lent before": len(inodes & machine.lent),
        "scenario": repr(scenario),
    }
    machine.lent |= inodes
    with Path(os.environ["NETNS_RESULTS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    for deed in scenario.deeds:
        deed.do(netns)
    assert not scenario.fails
