"""What a message shows of a value that somebody else has given."""

from __future__ import annotations


def shown(value: object) -> str:
    """Return the `repr` of `value`, or what it is if it has none.

    Python does not write integers of more than 4,300 digits, nor what is nested
    deeper than its stack; an error must not hide behind that.
    """
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"
