"""Tracebacks as a test's author needs them: without the frames of this package."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pytest

_PACKAGE = str(Path(__file__).parent) + "/"


def without_package_frames(
    excinfo: pytest.ExceptionInfo[BaseException],
) -> pytest.ExceptionInfo[BaseException]:
    """Return `excinfo`, and leave in it and its causes what is not of this package.

    An error that has no other frame keeps them all.
    """
    error: BaseException | None = excinfo.value
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _outside(error.__traceback__) or error.__traceback__
        error = error.__cause__ or error.__context__
    return pytest.ExceptionInfo.from_exception(excinfo.value)


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    frames = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            frames.append(traceback)
        traceback = traceback.tb_next
    chain = None
    for one in reversed(frames):
        chain = TracebackType(chain, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return chain
