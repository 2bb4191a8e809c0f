#!/usr/bin/env python3
"""Measure the package against raw netlink and against its peers.

    sudo python benchmarks/run.py [--quick] [--only NAME ...] [--output DIR]

Everything happens in namespaces that are thrown away at the end; the machine's own
network is not touched. The table goes to standard output, the table and the single
measurements as ``results.md`` and ``results.json`` into the output folder, and what
is going on to standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import report
import sandbox
from measure import Progress
from peers import Peer, default_folder, install
from report import Row, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES: Final = (
    *("build", "cycle", "run", "with", "scale", "nat", "openvswitch"),
    *("capture", "sending", "load", "latency", "startup", "watcher", "memory"),
)
_WITH_PEERS: Final = frozenset({"build", "cycle"})
_ROOT: Final = Path(__file__).resolve().parent.parent


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer repeats: a minute, rougher figures"
    )
    parser.add_argument(
        "--only", nargs="+", choices=_NAMES, default=_NAMES, metavar="NAME",
        help=f"what to measure, of: {', '.join(_NAMES)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=_ROOT / "benchmarks" / "results", metavar="DIR",
        help="where results.md and results.json go (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--no-peers", action="store_true", help="leave dummynet and Mininet out"
    )
    # Given by the program to itself when it runs again in its sandbox, where nothing
    # can be installed.
    parser.add_argument("--sandboxed-with", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _prepare(options: argparse.Namespace, progress: Progress) -> int:
    """Install the peers, then run this program again in the sandbox."""
    peers: list[Peer] = []
    if not options.no_peers and _WITH_PEERS.intersection(options.only):
        peers = install(default_folder(), progress.note)
    # A checkout is measured as it is, installed or not.
    search_path = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    described = json.dumps([dataclasses.asdict(peer) for peer in peers])
    return sandbox.run_inside([*sys.argv, "--sandboxed-with", described])


def _measure(options: argparse.Namespace, progress: Progress) -> list[Section]:
    """Return all sections; one that fails says so, and the others go on."""
    peers = [Peer(**described) for described in options.sandboxed_with]
    sections: list[Section] = []
    for names, module, function, arguments in (
        (("build", "cycle"), "building", "measure", (peers, options.only)),
        (("run",), "entering", "measure_run", ()),
        (("with",), "entering", "measure_entry", ()),
        (("scale",), "scale", "measure", ()),
        (("nat",), "nat", "measure", ()),
        (("openvswitch",), "openvswitch", "measure", ()),
        (("capture",), "capturing", "measure", ()),
        (("sending",), "sending", "measure", ()),
        (("load",), "load", "measure", ()),
        (("latency",), "latency", "measure", ()),
        (("startup",), "startup", "measure", ()),
        (("watcher",), "watching", "measure", ()),
        (("memory",), "memory", "measure", ()),
    ):
        if not set(names).intersection(options.only):
            continue
        try:
            # Not imported above: nothing of it is needed outside the sandbox.
            measure = getattr(importlib.import_module(module), function)
            sections += measure(*arguments, progress, quick=options.quick)
        except Exception as error:
            progress.note(traceback.format_exc())
            text = " ".join(str(error).split())
            failure = Row(module, f"failed: {text}", goal="to work", met=False)
            sections.append(Section(" and ".join(names), [failure]))
    return sections


def _describe_machine() -> dict[str, str]:
    return {
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "processors": str(os.cpu_count()),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    """Run, outside the sandbox or inside, and return the exit status."""
    options = _parse(sys.argv[1:])
    progress = Progress()
    if options.sandboxed_with is None:
        try:
            return _prepare(options, progress)
        except sandbox.SandboxError as error:
            progress.note(f"error: {error}")
            return 1
    sandbox.furnish()
    machine = _describe_machine()
    sections = _measure(options, progress)
    report.write(options.output, sections, machine)
    sys.stdout.write(report.to_markdown(sections, machine) + "\n")
    goals = [row.met for section in sections for row in section.rows if row.goal]
    progress.note(f"{sum(map(bool, goals))} of {len(goals)} goals met")
    progress.note(f"written: {options.output}/results.md and results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
