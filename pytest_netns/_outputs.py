"""What a message shows of what a program has written."""

from __future__ import annotations

import re

#: Colours of console_codes(4), which mean nothing without the rest of them.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
#: What moves the cursor, sets the terminal's title, or lets text be read in another
#: order than it is written in; but a line may end, and have tabs.
_CONTROL = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def readable(output: str) -> str:
    r"""Return an output so that a terminal shows it, and obeys nothing in it.

    A program under test, and whoever sends it packets, can write anything. Colours
    are left out, other control characters become visible, as in ``\x1b``.
    """
    plain = _COLOUR.sub("", output).replace("\r\n", "\n")
    return _CONTROL.sub(lambda one: one[0].encode("unicode_escape").decode(), plain)


def last_of(output: str, limit: int) -> str:
    """Return the end of an output, readable, and say how much is left out before it.

    Args:
        output: The output.
        limit: How many of its characters are wanted at most.
    """
    left_out = len(output) - limit
    if left_out <= 0:
        return readable(output)
    return f"... {left_out} characters left out ...\n{readable(output[-limit:])}"
