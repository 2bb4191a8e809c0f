"""libnftables in this process: nft's own parser without starting a program.

It reads what we generate from checked values, and nothing else: on the way to
some errors the library ends its process (``netlink_open_error()`` and
``BUG()`` in its source), so rulesets of users go to the program `nft`.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

#: The soname since nftables 0.9.3 (2019).
_SONAME = "libnftables.so.1"
#: Contexts are independent, what they share in the library is not.
_ONE_AT_A_TIME = threading.Lock()


def is_available() -> bool:
    """Tell whether the library is installed."""
    return _library() is not None


def run(commands: str) -> tuple[str, str]:
    """Run nft commands in the calling thread's namespace.

    Equivalent to ``nft -f -``. All of the commands are one transaction.

    Returns:
        Their output, and what went wrong, with the places it points at; "" for
        success.
    """
    library = _library()
    assert library is not None, "see is_available()"  # noqa: S101
    with _ONE_AT_A_TIME:
        context = library.nft_ctx_new(0)
        try:
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            failed = library.nft_run_cmd_from_buffer(context, commands.encode())
            output = _text(library.nft_ctx_get_output_buffer(context))
            error = _text(library.nft_ctx_get_error_buffer(context))
        finally:
            library.nft_ctx_free(context)
    return output, (error or "nft failed without words") if failed else ""


def _text(buffer: bytes | None) -> str:
    return (buffer or b"").decode(errors="backslashreplace").strip()


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(_SONAME)
    except OSError:
        return None
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("buffer_output", "buffer_error", "free"):
        getattr(library, f"nft_ctx_{name}").argtypes = [ctypes.c_void_p]
    for name in ("get_output_buffer", "get_error_buffer"):
        function = getattr(library, f"nft_ctx_{name}")
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_char_p
    library.nft_ctx_free.restype = None
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
