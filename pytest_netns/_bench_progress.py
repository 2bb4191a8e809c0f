r"""A line that says how far a benchmark is, while it runs.

It stands below the line that pytest is writing, which is left alone: there is no
asking how far that is. A terminal remembers where it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from ._packet_table import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

#: Nobody reads faster, in seconds.
_PAUSE = 0.2

# Control sequences of the VT100, which all terminals have learnt (see
# console_codes(4)): a line down and up again sees to it that there is one below.
_MAKE_ROOM = "\x1bD\x1bM"
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_BELOW = "\x1b[B\r"
_ERASE = "\x1b[K"


class ProgressLine:
    """The line; it is shown on terminals only, and not if tests write to them.

    Args:
        config: Knows the terminal.
        clock: What tells the time, in seconds.
    """

    def __init__(
        self, config: pytest.Config, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._clock = clock
        self._next = 0.0
        self._is_shown = False
        self.wanted = _is_wanted(config)

    def show(self, text: str) -> None:
        """Show a line in place of the one before, unless that was just now.

        Args:
            text: What it says; nothing clears it.
        """
        if not text:
            self.clear()
        elif self.wanted and self._clock() >= self._next:
            self._next = self._clock() + _PAUSE
            self._is_shown = True
            self._write(printable(f"netns: {text}"))

    def clear(self) -> None:
        """Let no line be there."""
        self._next = 0.0
        if self._is_shown:
            self._is_shown = False
            self._write("")

    def _write(self, line: str) -> None:
        with self._uncaptured(), contextlib.suppress(OSError, ValueError):
            # a terminal without a size has 0 columns in Python 3.10
            line = cut(line, (shutil.get_terminal_size().columns or 80) - 1)
            sys.stdout.write(f"{_MAKE_ROOM}{_SAVE}{_BELOW}{line}{_ERASE}{_RESTORE}")
            sys.stdout.flush()

    @contextlib.contextmanager
    def _uncaptured(self) -> Iterator[None]:
        if self._capture is None:
            yield
            return
        with self._capture.global_and_fixture_disabled():
            yield


def _is_wanted(config: pytest.Config) -> bool:
    reporter = config.pluginmanager.getplugin("terminalreporter")
    return (
        reporter is not None
        and bool(reporter.isatty)
        and config.getoption("capture", "no") != "no"
        and os.environ.get("TERM", "dumb") != "dumb"
    )
