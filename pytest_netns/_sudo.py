"""What pytest leaves behind under sudo, for the user who has called that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: Files in the root directory that plugins write: coverage.py and pytest-testmon.
_FILES = (".coverage", ".coverage.*", "coverage.*", ".testmondata*")
#: Directories of theirs: Hypothesis, coverage.py, pytest-benchmark.
_FOLDERS = (".hypothesis", "htmlcov", ".benchmarks")


def give_caches_back(config: pytest.Config) -> None:
    """See to it that a run as root leaves nothing that the next one stumbles over.

    When all is over, what it has written of caches and reports below the root
    directory is given to the user behind sudo, if that directory is theirs.
    """
    if "SUDO_UID" not in os.environ:
        return
    is_worker = hasattr(config, "workerinput")  # of xdist: its controller does the rest
    names, trees = ((), []) if is_worker else (_FILES, _trees(config))

    def give() -> None:
        from ._caches import give_back

        give_back(str(config.rootpath), names, trees)

    config.add_cleanup(give)


def _trees(config: pytest.Config) -> list[str]:
    """Return the paths of caches and reports, with directories made for them."""
    root = str(config.rootpath)
    paths = [os.path.join(root, folder) for folder in _FOLDERS]
    if config.pluginmanager.hasplugin("cacheprovider"):
        cache = os.path.expandvars(config.getini("cache_dir"))
        paths.append(os.path.join(root, cache))
    here = str(config.invocation_params.dir)
    given = [config.getoption("basetemp", None), config.getoption("xmlpath", None)]
    paths += [os.path.join(here, path) for path in given if path]
    return [_first_missing(os.path.normpath(path)) for path in paths]


def _first_missing(path: str) -> str:
    """Return the first part of a path that is not there yet, or the path itself."""
    above = os.path.dirname(path)
    return path if os.path.lexists(above) else _first_missing(above)
