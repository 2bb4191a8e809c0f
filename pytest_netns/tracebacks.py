"""Tracebacks as a test's author needs them: without the frames of this package."""

from __future__ import annotations

import os
from pathlib import Path
from sys import _getframe
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PACKAGE = str(Path(__file__).parent) + "/"
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + "/"
_INSTALLED = (
    os.path.join(_STANDARD_LIBRARY, "site-packages/"),
    os.path.join(_STANDARD_LIBRARY, "dist-packages/"),
)
#: Who calls fixtures and hooks of this package.
_PYTEST = {"_pytest", "pluggy"}


def without_package_frames(
    excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item
) -> pytest.ExceptionInfo[BaseException]:
    """Return `excinfo`, and leave in it and its causes what is not of this package.

    An error that no line of a test or of its fixtures is to blame for, such as a
    network that cannot be built, is shown where the test is declared; a fault of
    this package keeps all frames.
    """
    error = excinfo.value
    if isinstance(error, Exception) and _is_called_by_pytest(error.__traceback__):
        if not _speaks_for_itself(error):
            return excinfo
        error.__traceback__, error.__cause__ = _at_beginning_of(item), None
        return pytest.ExceptionInfo.from_exception(error)
    error.__traceback__ = _outside(error.__traceback__) or error.__traceback__
    _, *causes = chain_of(error)
    for cause in causes:
        frames = [*_frames(cause.__traceback__)]
        if frames and all(map(_is_inside, frames)):
            cause.__traceback__ = None  # how it came to us is nobody's business
        else:
            cause.__traceback__ = _outside(cause.__traceback__) or cause.__traceback__
    return pytest.ExceptionInfo.from_exception(error)


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _speaks_for_itself(error: BaseException) -> bool:
    from .errors import NetnsError  # a long tree, which most runs never need

    return isinstance(error, NetnsError)


def _at_beginning_of(item: pytest.Item) -> TracebackType:
    """Return a traceback that ends where a test, with its markers, is declared."""
    path, line, _ = item.reportinfo()
    number = (line or 0) + 1
    code = _own_frame.__code__.replace(
        co_filename=os.fspath(path), co_firstlineno=number, co_name=item.name
    )
    frame = FunctionType(code, {"_getframe": _getframe})()
    return TracebackType(None, frame, frame.f_lasti, number)


def _own_frame() -> FrameType:
    return _getframe()


def _is_called_by_pytest(traceback: TracebackType | None) -> bool:
    """Tell whether pytest was the last to have a say before this package."""
    last = [one for one in _frames(traceback) if not _is_inside(one)][-1:]
    return any(
        one.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _PYTEST
        for one in last
    )


def _is_inside(traceback: TracebackType) -> bool:
    """Tell whether a frame is of this package, or of Python's own library."""
    file = traceback.tb_frame.f_code.co_filename
    return file.startswith(_PACKAGE) or (
        file.startswith(_STANDARD_LIBRARY) and not file.startswith(_INSTALLED)
    )


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    chain = None
    for one in reversed([*_frames(traceback)]):
        if not one.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            chain = TracebackType(chain, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return chain
