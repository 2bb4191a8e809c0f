"""The system calls that Python lacks, or has in another form; by ctypes.

All of them act on the calling thread alone.
"""

from __future__ import annotations

import ctypes
import os
import sys

# include/uapi/linux/sched.h
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/mount.h
MS_RDONLY = 0x01
MS_NOSUID = 0x02
MS_NODEV = 0x04
MS_NOEXEC = 0x08
#: What holds data only: no programs, no devices.
MS_DATA = MS_NOSUID | MS_NODEV | MS_NOEXEC
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 2

# include/uapi/asm-generic/mman-common.h
_PROT_READ = 0x1
_PROT_WRITE = 0x2
_MAP_SHARED = 0x01

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_libc.setsockopt.argtypes = (
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint32,
)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.bind.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)

if sys.version_info >= (3, 12):
    setns = os.setns
    unshare = os.unshare
else:
    _setns = _libc.setns
    _setns.argtypes = (ctypes.c_int, ctypes.c_int)
    _unshare = _libc.unshare
    _unshare.argtypes = (ctypes.c_int,)

    def setns(fd: int, nstype: int = 0) -> None:
        """Enter the namespace that `fd` refers to (setns(2))."""
        if _setns(fd, nstype):
            _raise_errno()

    def unshare(flags: int) -> None:
        """Leave shared namespaces for new ones (unshare(2))."""
        if _unshare(flags):
            _raise_errno()


def mount(
    source: str, target: str, kind: str = "", flags: int = 0, data: str = ""
) -> None:
    """Attach a file system (mount(2))."""
    if _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), flags, data.encode()
    ):
        _raise_errno(target)


def detach(target: str) -> None:
    """Take a file system out of sight, in use or not (umount2(2), MNT_DETACH)."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH):
        _raise_errno(target)


def sethostname(name: str) -> None:
    """Set the host name of the thread's UTS namespace (sethostname(2))."""
    raw = name.encode()
    if _libc.sethostname(raw, len(raw)):
        _raise_errno()


def setsockopt(fd: int, level: int, option: int, value: bytes) -> None:
    """Set an option of a socket, and let other threads work meanwhile (setsockopt(2)).

    The standard library's holds the interpreter's lock, also for the milliseconds
    that some options take.
    """
    if _libc.setsockopt(fd, level, option, value, len(value)):
        _raise_errno()


def bind(fd: int, address: bytes) -> None:
    """Give a socket an address, in the kernel's form (bind(2))."""
    if _libc.bind(fd, address, len(address)):
        _raise_errno()


def inotify_init(flags: int) -> int:
    """Return a descriptor from which events can be read (inotify_init1(2))."""
    return _checked(_libc.inotify_init1(flags))


def inotify_add_watch(fd: int, path: str, events: int) -> int:
    """Watch a file; return the number of the watch (inotify_add_watch(2))."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(path), events))


def inotify_rm_watch(fd: int, watch: int) -> None:
    """Watch a file no longer (inotify_rm_watch(2))."""
    _checked(_libc.inotify_rm_watch(fd, watch))


class SharedMemory:
    """Memory that is shared with the kernel (mmap(2)); holds no descriptor.

    The standard library's keeps a duplicate of the descriptor, which nobody knows.
    """

    def __init__(self, fd: int, size: int) -> None:
        address = _libc.mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_SHARED, fd, 0)
        if address == ctypes.c_void_p(-1).value:
            _raise_errno()
        self._address = address
        self._size = size
        array = (ctypes.c_char * size).from_address(address)
        self.view: memoryview[int] = memoryview(array).cast("B")

    def close(self) -> None:
        """Give it back (munmap(2)); again is harmless."""
        if self._address:
            self.view.release()
            _libc.munmap(self._address, self._size)
            self._address = 0


def has_library(soname: str) -> bool:
    """Tell whether a shared library is installed; it is loaded then."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def send_when_parent_dies(number: int) -> None:
    """Have the kernel send this process a signal when its parent has ended.

    That is when the thread has ended which started it (PR_SET_PDEATHSIG(2const)).
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number)):
        _raise_errno()


def raise_in_thread(thread: int, exception: type[BaseException]) -> None:
    """Raise `exception` in a thread of this interpreter at its next bytecode.

    It does not end a system call that the thread is blocked in.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(exception)
    )


def _checked(result: int) -> int:
    """Return what a system call has returned, unless it is the sign of an error."""
    if result < 0:
        _raise_errno()
    return result


def _raise_errno(filename: str | None = None) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), filename)
