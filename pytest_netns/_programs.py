"""Looking for programs, and for where they are if PATH does not lead there."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where administrators' programs are, which the PATH of others leaves out.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def missing_of(names: Sequence[str]) -> list[str]:
    """Return those of `names` that no directory of PATH has."""
    return [name for name in names if shutil.which(name) is None]


def directory_of(names: Sequence[str]) -> str | None:
    """Return the directory outside of PATH that has all of `names`, if one does."""
    for directory in _SBIN:
        if all(shutil.which(name, path=directory) for name in names):
            return directory
    return None


def hint_of_sudo() -> str:
    """Return what to add to an error about a missing program, if sudo may hide it."""
    if "SUDO_UID" not in os.environ:
        return ""
    return (
        "; sudo has a PATH of its own (secure_path of sudoers(5)), and keeps yours as "
        'sudo -E env PATH="$PATH" COMMAND...'
    )
