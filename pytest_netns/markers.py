"""The marker ``netns``: its arguments as a topology, and errors with their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .topology import Topology

MARKER = "netns"
DESCRIPTION = (
    f"{MARKER}(*what, requires=()): build the network of these topologies, records and "
    "TOML files (paths relative to the test file) for the test, as its fixture "
    "`netns`; `requires` names programs without which the test cannot run."
)
#: Where a pytest configuration has the topologies of files: each with the time of
#: its last change and its size then.
FILES = pytest.StashKey["dict[Path, tuple[tuple[int, int] | None, Topology]]"]()


def topology_of(item: pytest.Item) -> Topology:
    """Join the markers of module, class and function, in that order.

    Raises:
        TopologyError: They do not make a network, an argument is no record, or a
            file is wrong.
    """
    from .errors import TopologyError  # only tests with networks pay for it
    from .topology import join

    parts: list[object] = []
    # iter_markers() goes from the function outwards
    for mark in reversed(list(item.iter_markers(MARKER))):
        unknown = mark.kwargs.keys() - {"requires"}
        if unknown:
            raise TopologyError(
                f"marker {MARKER} has no argument {min(unknown)!r}; it has 'requires'"
            )
        _check_requires(mark.kwargs.get("requires", ()))
        parts += mark.args
    read = [_read(item, part) for part in parts]
    return join(tuple(read))  # type: ignore[arg-type]  # join() checks them


def required_programs(item: pytest.Item) -> list[str]:
    """Return the programs that the markers of `item` require."""
    return [
        str(program)
        for mark in item.iter_markers(MARKER)
        for program in _several(mark.kwargs.get("requires", ()))
    ]


def check_required(programs: Iterable[str]) -> None:
    """Check that all of `programs` are installed.

    Raises:
        MissingTool: One is not.
    """
    for program in programs:
        if shutil.which(program) is None:
            from .errors import MissingTool

            raise MissingTool(
                f"program {program!r} is not installed, required by the marker "
                f"{MARKER}; install the package that has it"
            )


def errors_at_collection(items: Iterable[pytest.Item]) -> list[str]:
    """Return what is wrong with the markers of `items`, each with file and line."""
    errors: dict[str, None] = {}
    checked: dict[tuple[int, ...], str | None] = {}
    for item in items:
        marks = list(item.iter_markers(MARKER))
        if not marks:
            continue
        # parametrised tests share their marks: check them once
        key = tuple(map(id, marks))
        if key not in checked:
            checked[key] = _error_of(item)
        if checked[key] is not None:
            errors[f"{_place(item)}: {checked[key]}"] = None
    return list(errors)


def refuse(config: pytest.Config, items: list[pytest.Item], errors: list[str]) -> None:
    """Report what is wrong with markers, and see to it that no test runs.

    Raises:
        UsageError: Always, but for a worker of xdist: to its controller that
            would be a crash, so there they are errors of the collection.
    """
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(*errors)
    items.clear()
    for error in errors:
        place = error.partition(": ")[0]
        report = pytest.CollectReport(place, "failed", error, [])
        config.hook.pytest_collectreport(report=report)


def _read(item: pytest.Item, part: object) -> object:
    """Return the topology of a file, read before if it has not changed since."""
    if not isinstance(part, str | os.PathLike):
        return part
    from .topology import Topology

    name = os.fspath(part)
    if not isinstance(name, str):
        from .errors import TopologyError

        raise TopologyError(f"marker {MARKER}: {part!r} is a path of bytes, not text")
    path = item.path.parent / name
    files = item.config.stash.setdefault(FILES, {})
    stamp = _stamp(path)
    if path not in files or files[path][0] != stamp:
        files[path] = stamp, Topology.from_file(path)
    return files[path][1]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # who reads it says why
        return None
    return status.st_mtime_ns, status.st_size


def _error_of(item: pytest.Item) -> str | None:
    from .errors import NetnsError

    try:
        topology_of(item)
    except NetnsError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _place(item: pytest.Item) -> str:
    path, line, name = item.reportinfo()
    # the sets of parameters share the marker, and its error
    return f"{path}:{(line or 0) + 1}: {name.partition('[')[0]}"


def _check_requires(requires: object) -> None:
    from ._shown import shown
    from .errors import TopologyError

    what = f"marker {MARKER}: requires={shown(requires)}"
    if isinstance(requires, Iterator):  # markers are read again and again
        raise TopologyError(f"{what} can be read only once: give a list")
    for program in _several(requires):
        if not isinstance(program, str) or not program:
            raise TopologyError(f"{what} is not a str or several")


def _several(value: object) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)
