"""Saved benchmarks: a directory of JSON files, one for each run that has a name."""

from __future__ import annotations

import difflib
import json
import os
import re
from typing import TYPE_CHECKING

from ._bench_json import document, read_document
from ._directories import make_directories
from ._files import save_text
from .errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measurement import Measurement

#: No way out of the directory, and nothing hidden.
_NAME = re.compile(r"\w[\w.+=@-]{0,99}")
_SUFFIX = ".json"


def check_name(name: str) -> None:
    """Check what a run shall be called.

    Raises:
        ValueError: It cannot be; says why.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} is no name for saved benchmarks: it begins with a letter or a "
            "digit, goes on with those and with any of '.+=@-_', but not with '..', "
            "and has at most 100 characters"
        )


class Store:
    """The saved runs of a directory.

    Args:
        directory: Where they are; made when the first one is saved.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path_of(self, name: str) -> str:
        """Return the file of a run, whether it is there or not.

        Raises:
            ValueError: This is no name.
        """
        check_name(name)
        return os.path.join(self.directory, name + _SUFFIX)

    def names(self) -> list[str]:
        """Return the names of the runs that are saved, the newest first."""
        try:
            with os.scandir(self.directory) as entries:
                found = [
                    (entry.stat().st_mtime, entry.name.removesuffix(_SUFFIX))
                    for entry in entries
                    if entry.name.endswith(_SUFFIX)
                ]
        except OSError:
            return []
        return [name for _, name in sorted(found, reverse=True)]

    def read(self, name: str) -> list[Measurement]:
        """Return what was saved.

        Raises:
            BenchmarkError: It cannot be read, or was never saved.
            ValueError: This is no name.
        """
        path = self.path_of(name)
        try:
            with open(path, encoding="utf-8") as file:
                return read_document(json.load(file))
        except FileNotFoundError as error:
            raise BenchmarkError(self._unknown(name)) from error
        except OSError as error:
            raise BenchmarkError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise BenchmarkError(f"cannot read {path}: {error}") from error

    def save(self, name: str, measurements: Sequence[Measurement]) -> str:
        """Save a run in place of what had its name; return its file.

        Raises:
            OSError: It cannot be written.
            ValueError: This is no name.
        """
        path = self.path_of(name)
        text = json.dumps(document(measurements), ensure_ascii=False, allow_nan=False)
        write(path, f"{text}\n")
        return path

    def _unknown(self, name: str) -> str:
        known = self.names()
        if not known:
            return f"no benchmarks are saved as {name!r}: none are in {self.directory}"
        nearest = difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
        return (
            f"no benchmarks are saved as {name!r} in {self.directory}; there are: "
            f"{', '.join(known)}{meant}"
        )


def write(path: str, text: str) -> None:
    """Write a file, and make the directories above it.

    Under sudo all that is new belongs to who has called that.

    Args:
        path: Where to.
        text: Its content.

    Raises:
        OSError: It cannot be written.
    """
    make_directories(os.path.dirname(path))
    save_text(path, text)
