"""Watch memory and descriptors over thousands of tests.

Run as a program it is the process that is watched: ``memory.py ours|floor TESTS``
prints one line of JSON after each tenth of the tests.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quiet import QuietKernel
from report import Row, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from measure import Progress

_TESTS: Final = 2000
_QUICK_TESTS: Final = 300
_REPORTS: Final = 10
_UNUSED_NAMESPACES: Final = Path("/sys/kernel/slab/net_namespace/shrink")

# What may be more at the end than after the first tenth without being a leak. Python's
# own heap breathes, and the kernel's memory is that of the whole machine: the figures
# stand for a few hundred bytes, and for 4 kB, a test. A bridge rests, with two
# descriptors and a namespace, until the kernel has taken its last network down; there
# are as many as the slowest time so far made necessary. A test that kept one
# descriptor, or a namespace of 300 kB, would show up as 1,800 of them.
_TOLERANCE: Final = {
    "resident memory": 512.0,
    "kernel memory": 8192.0,
    "descriptors": 16.0,
    "threads": 0.0,
    "namespaces": 16.0,
}
_WATCHED: Final = {"ours": "pytest-netns", "floor": "floor"}
_KILOBYTES: Final = ("resident memory", "kernel memory")


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Compare what is held after a tenth of the tests with what is held at the end."""
    tests = _QUICK_TESTS if quick else _TESTS
    rows: list[Row] = []
    for kind in _WATCHED:
        reports = _watch(kind, tests, progress)
        rows += _rows(kind, tests, reports)
    return [Section(f"Memory and descriptors over {tests} tests", rows)]


def _watch(kind: str, tests: int, progress: Progress) -> list[dict[str, float]]:
    reports = []
    command = [sys.executable, __file__, kind, str(tests)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            report = json.loads(line)
            if "error" in report:
                raise RuntimeError(report["error"])
            reports.append(report)
            progress.show(f"memory of {kind}", len(reports), _REPORTS)
    return reports


def _rows(kind: str, tests: int, reports: list[dict[str, float]]) -> Iterator[Row]:
    first, last = reports[0], reports[-1]
    for name, tolerance in _TOLERANCE.items():
        unit = " kB" if name in _KILOBYTES else ""
        growth = last[name] - first[name]
        row = Row(
            f"{_WATCHED[kind]}: {name}",
            f"{last[name]:.0f}{unit} ({growth:+.0f})",
            compared_with=f"{first[name]:.0f}{unit} at {tests // _REPORTS}",
            samples=[report[name] for report in reports],
        )
        if kind == "ours":
            goal = f"+{tolerance:.0f}{unit} at most" if tolerance else "no more"
            row = dataclasses.replace(row, goal=goal, met=growth <= tolerance)
        yield row


def _take_stock() -> dict[str, float]:
    """Return what this process, and the kernel, hold now."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    machine = Path("/proc/meminfo").read_text()
    # Namespaces live in slabs and in per-processor memory. Reclaimable slabs are left
    # out: they are caches.
    kernel = ("SUnreclaim", "Percpu", "KernelStack", "PageTables")
    return {
        "resident memory": _field(status, "VmRSS"),
        "kernel memory": sum(_field(machine, name) for name in kernel),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": _field(status, "Threads"),
        "namespaces": _count_namespaces(),
    }


def _field(text: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _count_namespaces() -> float:
    """Return how many network namespaces the machine has, held by anybody."""
    if _UNUSED_NAMESPACES.exists():
        # Free ones that a processor keeps for itself are counted as used until this.
        _UNUSED_NAMESPACES.write_text("1")
    slabs = Path("/proc/slabinfo").read_text()
    found = re.search(r"^net_namespace\s+(\d+)", slabs, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _test_of(kind: str) -> Callable[[], None]:
    """Return a function that does what one test does."""
    # Not above: who measures the floor must not carry our package in its memory.
    if kind == "floor":
        from floor import Floor

        floor = Floor()

        def use_floor() -> None:
            floor.build()
            floor.close()

        return use_floor

    from contestants import PAIR

    from pytest_netns.manager import NetworkManager

    manager = NetworkManager()

    def use_ours() -> None:
        with manager.build(PAIR) as network:
            left = network["left"]
            with left:
                pass
            left.call(os.getpid)
            left.run(["true"])

    return use_ours


def _watch_tests(kind: str, tests: int) -> None:
    """Run the tests and print what is held, ten times."""
    test = _test_of(kind)
    quiet = QuietKernel()
    for number in range(1, tests + 1):
        try:
            test()
        except Exception as error:
            _print(error=f"test {number}: {type(error).__name__}: {error}")
            return
        if number % (tests // _REPORTS) == 0:
            quiet.wait()
            _print(**_take_stock())


def _print(**values: float | str) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _watch_tests(sys.argv[1], int(sys.argv[2]))
