"""Runs that are killed at any moment, and what they leave: nothing."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import threading
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .conftest import Box

#: How long after the end of a run something of it may be there, in seconds.
PROMISE = 2.0
#: After how many seconds at most a run is killed: that is some of its tests.
LATEST = 2.5
#: What ends a run, and its exit status then. Beside the ways that are promised there is
#: one more: who collects the results, alone.
ENDINGS = {
    "KILL": -signal.SIGKILL,
    "TERM": 128 + signal.SIGTERM,
    "INT": int(pytest.ExitCode.INTERRUPTED),
    "worker": int(pytest.ExitCode.TESTS_FAILED),
    "exit": 3,
    "segfault": -signal.SIGSEGV,
    "controller": -signal.SIGKILL,
}

#: By what each thing that is left is known.
SEEN = {
    "process": r"process \d+ .*sleep",
    "interface": "interface left0",
    "address": r"ip -oneline address: .* 203\.0\.113\.9",
    "route": r"ip route .* 198\.51\.100\.0",
    "table": "nft list ruleset: table inet left",
    "sysctl": "/proc/sys/net/ipv4/conf/up0/forwarding: 1",
    "name": "file /run/netns/left",
    "file": "file /tmp/left",
    "file in shared memory": "file /dev/shm/left",
    "folder": "file /run/left/below",
    "hidden file": r"file /tmp/suite/\.left",
    "mount": "mount of .* at /mnt",
}


def carry_out(
    jobs: Sequence[str],
    box: Callable[..., Box],
    check: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Carry out jobs on two machines, one of which counts namespaces; check each."""
    outcomes: list[dict[str, Any]] = []
    errors: list[BaseException] = []

    def follow(machine: Box) -> None:
        try:
            for outcome in machine.outcomes():
                outcomes.append(outcome)
                check(outcome)
        except BaseException as error:  # raised where pytest sees it
            errors.append(error)

    machines = [box(*jobs[::2]), box("--counted", *jobs[1::2])]
    threads = [threading.Thread(target=follow, args=[one]) for one in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    assert len(outcomes) == len(jobs)
    return outcomes


def check_nothing_left(outcome: dict[str, Any]) -> None:
    """Check that a run has ended as it should, and left nothing."""
    job, output = outcome["job"], outcome["output"]
    how = job.partition(":")[0]
    assert outcome["left"] == [], f"{job}: {outcome}"
    # where several wait for each processor, all that is promised takes that much longer
    crowding = os.getloadavg()[0] / (os.cpu_count() or 1)
    allowance = PROMISE * max(1.0, crowding)
    assert outcome["seconds"] <= allowance, f"{job}: {outcome}"
    assert outcome["status"] == ENDINGS[how], f"{job}:\n{output}"
    if how in {"TERM", "INT"}:
        assert outcome["farewells"] == 1, f"{job}:\n{output}"
        assert "failed" not in output, f"{job}:\n{output}"


@pytest.mark.parametrize("words", [(), ("--counted",)], ids=["root", "counted"])
def test_whatever_could_be_left_would_be_seen(
    box: Callable[..., Box], words: tuple[str, ...]
) -> None:
    """A thing of each kind is seen as long as it is there, and then no more."""
    (seen,) = box("--prove", *words).outcomes()
    assert seen.keys() == SEEN.keys()
    for kind, lines in seen.items():
        assert any(re.match(SEEN[kind], line) for line in lines["left"]), lines
        assert lines["still"] == []
    counts = [line for line in seen["name"]["left"] if line == "net namespaces"]
    assert bool(counts) == bool(words)


def test_without_a_watcher_much_would_be_left(box: Callable[..., Box]) -> None:
    """So a run does have what a kill could leave, and it is seen."""
    left: list[str] = []
    jobs = [f"unwatched:1:{seed}" for seed in range(2)]
    carry_out(jobs, box, lambda outcome: left.extend(outcome["left"]))
    kinds = {line.partition(" ")[0] for line in left}
    assert {"process", "file", "mount"} <= kinds, left


def test_nothing_is_left_of_a_killed_run(
    box: Callable[..., Box], request: pytest.FixtureRequest, *, soaks: bool
) -> None:
    """Whoever kills it, and at any moment: two seconds later all is as it was.

    A run has daemons, captures, NAT, a share of the machine's connection, loads of
    benchmarks, Open vSwitch, names and artifacts; its tests come in any order.
    """
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    jobs = [
        f"{how}:{chance.uniform(0, LATEST):.4f}:{chance.randrange(1 << 16)}"
        for how in itertools.islice(itertools.cycle(ENDINGS), 210 if soaks else 21)
    ]
    outcomes = carry_out(jobs, box, check_nothing_left)
    seconds = sorted(outcome["seconds"] for outcome in outcomes)
    figure = (
        f"{len(outcomes)} kills (seed {seed}); all gone after {median(seconds):.2f} s, "
        f"{seconds[-1]:.2f} s at most"
    )
    request.node.user_properties.append(("figure", figure))
