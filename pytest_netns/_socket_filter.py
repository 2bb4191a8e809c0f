"""Programs of classic BPF, attached to sockets."""

from __future__ import annotations

import array
import errno
import socket
import struct
from typing import TYPE_CHECKING

from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._bpf import Instruction

# include/uapi/asm-generic/socket.h
_SO_ATTACH_FILTER = 26
# include/uapi/linux/bpf_common.h
_MAXIMUM = 4096
_INSTRUCTION = struct.Struct("=HBBI")


def attach(connection: socket.socket, program: Sequence[Instruction]) -> None:
    """Let a socket see only what a program accepts, from now on.

    What is in its queue already stays there. The kernel keeps a copy of its own.

    Raises:
        KernelError: The kernel refuses: the program is too long, or wrong.
    """
    action = f"attach a filter of {len(program)} instructions"
    if len(program) > _MAXIMUM:
        # the kernel's own answer; the field for the length might be too small for it
        raise KernelError(errno.EINVAL, f"{action}, {_MAXIMUM} are the most")
    code = array.array("B", b"".join(_INSTRUCTION.pack(*one) for one in program))
    address, _ = code.buffer_info()
    try:
        # struct sock_fprog
        connection.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HP", len(program), address),
        )
    except OSError as error:
        if error.errno == errno.ENOMEM:
            action += ", more than sysctl net.core.optmem_max has room for"
        raise KernelError(error.errno or 0, action) from error
