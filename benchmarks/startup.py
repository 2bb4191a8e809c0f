"""Measure what the loaded plugin adds to a pytest run that does not use it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measure import interleave, time_calls
from report import Row, Section, timed_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress

_GOAL: Final = 10e-3
_ENTRY_POINT: Final = "netns"
_IDLE_PLUGIN: Final = "idle_plugin"
#: Behind it somebody has no right but to be root of a user namespace of his own.
_ORDINARY: Final = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all")


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time pytest with one trivial test, with the plugin and without."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_nothing():\n    pass\n")
        (folder / f"{_IDLE_PLUGIN}.py").write_text("")
        with_plugin, without = _command_lines()
        loaded, alone = "pytest, plugin loaded", "pytest alone"
        ordinary, rootless = "an ordinary user's", "rootless"
        series = interleave(
            "start-up",
            {
                loaded: _timer(folder, with_plugin),
                alone: _timer(folder, without),
                ordinary: _timer(
                    folder, [*with_plugin, "--netns-rootless=never"], _ORDINARY
                ),
                rootless: _timer(folder, with_plugin, _ORDINARY),
            },
            8 if quick else 40,
            progress=progress,
        )
    added = series[loaded].difference_to(series[alone])
    entering = series[rootless].difference_to(series[ordinary])
    return [
        Section(
            "Start-up of pytest without a network test",
            [
                timed_row(loaded, series[loaded], "ms", (alone, series[alone])),
                timed_row(alone, series[alone], "ms"),
                Row(
                    "added by the plugin",
                    f"{added * 1e3:.2f} ms",
                    compared_with=alone,
                    goal=f"<= {_GOAL * 1e3:g} ms",
                    met=added <= _GOAL,
                ),
                timed_row(
                    rootless, series[rootless], "ms", (ordinary, series[ordinary])
                ),
                timed_row(ordinary, series[ordinary], "ms"),
                Row(
                    "added by a user namespace (--netns-rootless)",
                    f"{entering * 1e3:.2f} ms",
                    compared_with=ordinary,
                ),
            ],
        )
    ]


def _command_lines() -> tuple[list[str], list[str]]:
    """Return pytest's options with the plugin and without it.

    No other plugin is loaded in either: one that imports asyncio, say, would hide it
    if ours did so too. And both look through the entry points, or neither does.
    """
    names = {entry.name for entry in entry_points(group="pytest11")}
    if _ENTRY_POINT in names:
        others = [f"-pno:{name}" for name in sorted(names - {_ENTRY_POINT})]
        return others, [*others, f"-pno:{_ENTRY_POINT}"]
    return ["-ppytest_netns.plugin"], [f"-p{_IDLE_PLUGIN}"]


def _timer(
    folder: Path, options: list[str], prefix: tuple[str, ...] = ()
) -> Callable[[], float]:
    is_installed = any(option.startswith("-pno:") for option in options)
    environment = dict(os.environ)
    search_path = [str(folder), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    # Compiled files are used as anywhere, but no file of root's is left behind.
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not is_installed:
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    pytest = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *options]
    command = [*prefix, *pytest]

    def run() -> object:
        return subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True
        )

    # The first run writes the compiled files that the others read.
    run()
    return lambda: time_calls(run)
