"""Bytes that were right before somebody damaged them, and bytes that never were."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import SearchStrategy

#: Numbers that lead out of the data, back, or nowhere.
_NUMBERS = [0, 1, 2, 3, 4, 15, 16, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF]
_LAYOUTS = ["=B", "=H", ">H", "=I", ">I"]


def _overwritten(at: int, number: int, layout: str) -> Callable[[bytes], bytes]:
    written = struct.pack(layout, number & (1 << 8 * struct.calcsize(layout)) - 1)

    def change(data: bytes) -> bytes:
        start = at % (len(data) + 1)
        return data[:start] + written + data[start + len(written) :]

    return change


def _cut(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: at % (len(data) + 1)]


def _repeated(at: int, length: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        start = at % (len(data) + 1)
        return data[: start + length] + data[start:]

    return change


def _inserted(at: int, more: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        start = at % (len(data) + 1)
        return data[:start] + more + data[start:]

    return change


_places = st.one_of(st.integers(0, 127), st.integers(0, 1 << 20))
_changes = st.one_of(
    st.builds(
        _overwritten,
        _places,
        st.sampled_from(_NUMBERS) | st.integers(0, 0xFFFF_FFFF),
        st.sampled_from(_LAYOUTS),
    ),
    st.builds(_cut, _places),
    st.builds(_repeated, _places, st.integers(0, 64)),
    st.builds(_inserted, _places, st.binary(max_size=8)),
)


def damaged(right: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Return bytes that are nearly right, and some that are not at all.

    Args:
        right: What is right.
    """

    def apply(data: bytes, changes: list[Callable[[bytes], bytes]]) -> bytes:
        for change in changes:
            data = change(data)
        return data

    one = st.sampled_from([*right])
    whole = st.lists(one, min_size=1, max_size=3).map(b"".join)
    changed = st.builds(apply, whole, st.lists(_changes, max_size=4))
    return st.one_of(changed, changed, changed, whole, st.binary(max_size=200))
