"""Runs a command behind a seccomp filter: ``filtered.py CALL[,CALL...] COMMAND...``.

The filter refuses the system calls as Docker's default profile does: with EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

# asm/unistd.h of each machine
_NUMBERS = {
    "x86_64": {
        "mount": 165,
        "sethostname": 170,
        "unshare": 272,
        "setns": 308,
        "bpf": 321,
        "pidfd_open": 434,
    },
    "aarch64": {
        "mount": 40,
        "unshare": 97,
        "sethostname": 161,
        "setns": 268,
        "bpf": 280,
        "pidfd_open": 434,
    },
}
# include/uapi/linux/prctl.h and seccomp.h
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ALLOW = 0x7FFF0000
_SECCOMP_RET_ERRNO = 0x00050000
# include/uapi/linux/bpf_common.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K


def forbid(calls: list[str]) -> None:
    """Have the kernel refuse `calls` to this process and to all that it starts."""
    numbers = [_NUMBERS[platform.machine()][call] for call in calls]
    program = [struct.pack("=HBBI", _LOAD, 0, 0, 0)]  # seccomp_data.nr
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append(struct.pack("=HBBI", _JUMP_IF_EQUAL, left, 0, number))
    program.append(struct.pack("=HBBI", _RETURN, 0, 0, _SECCOMP_RET_ALLOW))
    refusal = _SECCOMP_RET_ERRNO | errno.EPERM
    program.append(struct.pack("=HBBI", _RETURN, 0, 0, refusal))
    code = ctypes.create_string_buffer(b"".join(program))
    # struct sock_fprog of include/uapi/linux/filter.h
    fprog = ctypes.create_string_buffer(
        struct.pack("@HP", len(program), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, one, none, none, none),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), fprog, none, none),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    forbid(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # what it is for
