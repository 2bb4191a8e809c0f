"""After thousands of tests there is no more of anything than after a few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

#: Who may not make namespaces is skipped, as everywhere.
pytestmark = pytest.mark.usefixtures("netns_manager")
_ROOT = Path(__file__).parents[2]
_FULL, _SAMPLE = 5000, 300
#: How many tests of which some leak are enough to see it.
_LEAKING = 120
#: How often things are counted in a run, at least.
_COUNTS = 12
#: After so many tests at the latest they are counted again.
_OFTEN = 100
#: What comes in the first part of a run is not counted: caches, daemons, pools.
_WARM_UP = 0.3
#: How many more of anything each test may leave, by what a run tells: a fifth of what
#: a leak in one of ten tests is; a long run sees one in a thousand.
_TOLERANCE, _TOLERANCE_IN_FULL = 0.02, 0.001
#: How many more bytes each test may leave than one without a network: in a long run,
#: where pytest keeps the requests of its fixtures and the reports of failures, and in
#: a short one, where the allocator has not yet come to rest.
_BYTES, _BYTES_IN_SAMPLE = 4096, 32768
#: What the manager has for each bridge that it keeps for later tests. It keeps more of
#: them after a moment in which the kernel was slow, be it with the work of others.
_IN_STOCK = "bridges in stock"
_OF_A_BRIDGE = {
    "object pytest_netns._switches.Switch": 1,
    "object pytest_netns._netlink.RouteSocket": 1,
    "object pytest_netns._nsfile.NamespaceFile": 1,
    "object pytest_netns._snapshot.Snapshot": 1,
    "net namespaces": 1,
    "descriptors": 2,
}
#: Some dozen that wait for the kernel, those that are ready, and a few put aside.
_MOST_IN_STOCK = 250
#: What is no number of things that could be too many.
_NOT_COUNTED = {"tests", "memory", _IN_STOCK}
#: What a run is told to leak in one of ten tests, and how the counts call it.
_LEAKS = {
    "descriptor": "descriptors",
    "thread": "threads",
    "object": "object pytest_netns.records.Namespace",
    "process": "processes",
    "namespace": "net namespaces",
    "file": "files",
}


@dataclass(frozen=True)
class Run:
    """The counts of one run of the inner suite, in the order in which they were made.

    Attributes:
        counts: What there was, by name, with the number of tests as "tests".
        output: What pytest has said.
    """

    counts: list[dict[str, int]]
    output: str

    @property
    def ended(self) -> bool:
        """Whether the inner pytest came to its end, be it with failed tests."""
        return " in " in self.output.rstrip().rpartition("\n")[2]

    def slope(self, name: str) -> float:
        """Return how many more there are with each test (after Theil and Sen).

        What comes with bridges that are in stock is not counted.
        """
        # at the end of the module its networks go: not counted either
        per_bridge = _OF_A_BRIDGE.get(name, 0)
        warm = [
            (counts["tests"], counts.get(name, 0) - per_bridge * counts[_IN_STOCK])
            for counts in self.counts
        ][int(len(self.counts) * _WARM_UP) : -1]
        return median(
            (more - before) / (later - earlier)
            for (earlier, before), (later, more) in combinations(warm, 2)
        )

    def growing(self, tolerance: float = _TOLERANCE) -> dict[str, float]:
        """Return what becomes more, but for memory, which is measured in bytes."""
        names = {name for counts in self.counts for name in counts}
        slopes = {name: self.slope(name) for name in names - _NOT_COUNTED}
        return {name: slope for name, slope in slopes.items() if slope > tolerance}


def run_suite(path: Path, tests: int, leak: str = "") -> Run:
    """Run the inner suite in a user namespace of its own, whose namespaces count."""
    counts, folder = path / f"counts {leak}", path / f"folder {leak}"
    folder.mkdir()
    completed = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--net", "--mount", "--uts"),
            *(sys.executable, "-m", "pytest", "-q", "--netns-require", "--tb=no"),
            *("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
            *("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:logging"),
            # what these keep of failed tests keeps their networks
            *("-p", "no:rerunfailures", "-p", "no:timeout"),
            *("-p", "tests.reliability.counting", "-c", os.devnull),
            *(f"--rootdir={_ROOT}", "--import-mode=importlib", "-r", ""),
            *("-o", "tmp_path_retention_policy=failed"),
            str(Path(__file__).with_name("suite_flat.py")),
        ],
        check=False,
        cwd=path,
        env={
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "TMPDIR": str(folder),
            "NETNS_COUNTS": str(counts),
            "NETNS_INTERVAL": str(max(1, min(tests // _COUNTS, _OFTEN))),
            "NETNS_TESTS": str(tests),
            "NETNS_LEAK": leak,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = counts.read_text(encoding="utf-8").splitlines() if counts.exists() else []
    return Run([json.loads(line) for line in lines], completed.stdout)


@pytest.fixture
def tests(*, soaks: bool) -> int:
    """How many tests a run has."""
    return int(os.environ.get("NETNS_TESTS", _FULL if soaks else _SAMPLE))


def test_every_leak_would_be_seen(tmp_path: Path) -> None:
    """What one of ten tests leaks is named, each kind of it, and nothing else."""
    run = run_suite(tmp_path, _LEAKING, "plain memory " + " ".join(_LEAKS))
    assert run.ended, run.output
    growing = run.growing()
    for leak, name in _LEAKS.items():
        assert growing.get(name, 0) > 0.08, (leak, growing)
    assert run.slope("memory") > _BYTES_IN_SAMPLE
    parts = {"_nsfile.NamespaceFile", "_frozen.FrozenMap"}  # of what leaks
    leaking = {*_LEAKS.values(), *(f"object pytest_netns.{part}" for part in parts)}
    assert growing.keys() <= leaking


def test_nothing_becomes_more(
    *,
    tests: int,
    soaks: bool,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Descriptors, threads, processes, namespaces, files, objects and memory stay."""
    run = run_suite(tmp_path, tests)
    assert run.ended, run.output
    figure = {
        name: (run.counts[len(run.counts) // 3].get(name, 0), last)
        for name, last in run.counts[-2].items()
        if not name.startswith("object")
    }
    growing = run.growing(_TOLERANCE_IN_FULL if soaks else _TOLERANCE)
    assert not growing, (growing, figure, run.output)
    assert max(counts[_IN_STOCK] for counts in run.counts) <= _MOST_IN_STOCK

    more = run.slope("memory")
    if soaks:  # pytest itself keeps what it reports of each test
        more -= run_suite(tmp_path, tests, "plain").slope("memory")
    record_property(
        "figure",
        f"{tests} tests; a third of them, and all: {figure}; {more:.0f} B a test",
    )
    assert more < (_BYTES if soaks else _BYTES_IN_SAMPLE), figure
