"""What one test has done, the next one does not see."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

#: Who may not make namespaces is skipped, as everywhere.
pytestmark = pytest.mark.usefixtures("netns_manager")
_ROOT = Path(__file__).parents[2]
#: How many tests a run has, in full and as a sample.
_FULL, _SAMPLE = 500, 10
#: No run may take longer, in seconds for each test.
_PATIENCE = 20


@dataclass(frozen=True)
class Suite:
    """What a run of the inner suite has found.

    Attributes:
        results: One for each test, in order.
        output: What pytest has said.
    """

    results: list[dict[str, Any]]
    output: str


def run_suite(name: str, path: Path, **environment: str) -> Suite:
    """Run an inner suite in a network namespace that stands for the machine."""
    results = path / "results"
    results.touch()
    # what was started in a network is known by the mark in its environment
    own = {"NETNS_RESULTS": str(results), "NETNS_MARK": uuid.uuid4().hex}
    completed = subprocess.run(
        [
            *("unshare", "--net", "--uts", "--mount", sys.executable, "-m", "pytest"),
            *("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--tb=short"),
            *("-p", "no:randomly", "-p", "no:asyncio", "--netns-require", "-q"),
            *("-c", os.devnull, f"--rootdir={_ROOT}", "--import-mode=importlib"),
            str(Path(__file__).with_name(name)),
        ],
        check=False,
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(_ROOT), **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = results.read_text(encoding="utf-8").splitlines()
    return Suite([json.loads(line) for line in lines], completed.stdout)


@pytest.fixture
def seed(*, soaks: bool) -> int:
    """The seed: the one that NETNS_SEED names, or any, or for a sample always one."""
    return int(os.environ.get("NETNS_SEED", random.randrange(10**6) if soaks else 1))


#: Deeds that looking at the kernel need not see, and why.
_UNSEEN = {
    "ping -c 1 -W 1 10.1.0.1": "no more than what the network has learnt anyway",
    "ping -c 1 -W 1 10.1.0.2": "no more than what the network has learnt anyway",
    "ip link set {bridge} type bridge stp_state 0": "as it was",
    "sysctl -w net.ipv4.ip_forward=1": "as it was",
    "setsid -f sleep 600": "a process, which is looked for by itself",
    "setsid -f sleep 5": "a process that is nobody's but its user's",
}


def test_what_is_done_can_be_seen(
    *,
    soaks: bool,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Each deed that could be done made a difference between two looks."""
    step = 1 if soaks else 60
    suite = run_suite("suite_sees.py", tmp_path, NETNS_SUITE=f"0 {step}")
    done = [one for one in suite.results if one["done"] and one["deed"][0] != "live"]
    unseen = [one["deed"][1] for one in done if not one["seen"]]
    assert not set(unseen) - set(_UNSEEN)
    assert done, suite.output
    figure = f"{len(done) - len(unseen)} of {len(suite.results)} kinds of changes"
    record_property("figure", f"{figure} can be done on this kernel, and are seen")


def test_the_next_test_sees_a_fresh_network(
    *,
    soaks: bool,
    seed: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Whatever the ones before have done, in any of hundreds of random networks."""
    tests = int(os.environ.get("NETNS_TESTS", _FULL if soaks else _SAMPLE))
    suite = run_suite("suite_next.py", tmp_path, NETNS_SUITE=f"{seed} 0 {tests - 1}")
    for before, result in zip([None, *suite.results], suite.results, strict=False):
        assert not result["found"], (
            f"seed {seed}, test {result['number']} (NETNS_SEED={seed} repeats it):\n"
            + "\n".join(result["found"][:40])
            + f"\nits network: {result['scenario']}\nthe test before: {before}"
        )
    assert [one["number"] for one in suite.results] == [*range(tests)], suite.output
    lent = sum(one["lent before"] for one in suite.results)
    switches = sum(one["switches"] for one in suite.results)
    record_property(
        "figure", f"{tests} tests of seed {seed}; {lent} of {switches} bridges recycled"
    )
    assert lent > tests / 20, "next to no bridge was recycled: nothing was compared"
