"""Measure what it takes to start the process that ends what could outlive a run."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from measure import interleave, time_calls
from report import Row, Section, timed_row

from pytest_netns._nsfile import NamespaceFile
from pytest_netns._watcher import Watcher

if TYPE_CHECKING:
    from measure import Progress

_GOAL: Final = 3e-3
_WATCHER: Final = "the watcher"
_TRUE: Final = 'subprocess.Popen(["true"])'
_PYTHON: Final = "subprocess.run([python, ...])"


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time the first moment of a run in which something could outlive it."""
    file = NamespaceFile.create("watched")
    series = interleave(
        "watcher",
        {
            _WATCHER: lambda: _start_watcher(file),
            _TRUE: _start_true,
            _PYTHON: lambda: time_calls(_run_python),
        },
        10 if quick else 60,
        progress=progress,
    )
    file.close()
    started = series[_WATCHER]
    return [
        Section(
            "Start the watcher, once in a run",
            [
                timed_row(_WATCHER, started, "ms", (_TRUE, series[_TRUE])),
                timed_row(_TRUE, series[_TRUE], "ms"),
                timed_row(_PYTHON, series[_PYTHON], "ms"),
                Row(
                    "the test waits for it",
                    f"{started.median * 1e3:.2f} ms",
                    goal=f"<= {_GOAL * 1e3:g} ms",
                    met=started.median <= _GOAL,
                ),
            ],
        )
    ]


def _start_watcher(file: NamespaceFile) -> float:
    watcher = Watcher()
    try:
        return time_calls(lambda: watcher.watch(file.inode, file.fd))
    finally:
        watcher.close()


def _start_true() -> float:
    started: list[subprocess.Popen[bytes]] = []
    seconds = time_calls(lambda: started.append(subprocess.Popen(["true"])))
    for process in started:
        process.wait()
    return seconds


def _run_python() -> object:
    """Run a Python as isolated as the watcher's, to its end."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
