"""A place for the files of matplotlib where it has none."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from ._invoker import own_home

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def home() -> Iterator[None]:
    """Give matplotlib a place for its files while it is imported, if it has none.

    By itself it warns, makes one that it removes when Python ends, and changes the
    environment of this process and its children to say so.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    with own_home(), _writable():
        yield


@contextlib.contextmanager
def _writable() -> Iterator[None]:
    if all(map(_can_write, _places())):
        yield
        return
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory(prefix="pytest-netns-") as place:
        os.environ["MPLCONFIGDIR"] = place
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
            if before is not None:
                os.environ["MPLCONFIGDIR"] = before


def _places() -> list[str]:
    """Return where matplotlib writes (its guide: "Environment variables")."""
    own = os.environ.get("MPLCONFIGDIR")
    if own:
        return [own]
    user = os.path.expanduser("~")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(user, ".config")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(user, ".cache")
    return [os.path.join(place, "matplotlib") for place in (config, cache)]


def _can_write(place: str) -> bool:
    """Return whether it is there, or can be made, as matplotlib would make it."""
    try:
        os.makedirs(place, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)
