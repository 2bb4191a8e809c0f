"""Network namespaces as file descriptors, and threads that enter and leave them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ._obstacles import refusal
from ._syscalls import CLONE_NEWNET, setns, unshare
from .errors import ClosedError, KernelError, NamespaceRestoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

#: The calling thread's own; /proc/self/ns/net would be the main thread's.
_OWN_NAMESPACE = "/proc/thread-self/ns/net"
_OPEN = os.O_RDONLY | os.O_CLOEXEC


class _Home:
    """The namespace that the process started in, kept open.

    Coming back to it is the common case of leaving a namespace, and a kept
    descriptor saves the two system calls of opening it again. It is used only
    where the thread is seen to be at home; everything else is opened anew.
    """

    def __init__(self) -> None:
        # /proc/self is the main thread's view, whichever thread asks first
        self._main = threading.main_thread().ident
        self._links = os.open("/proc/self/ns", _OPEN | os.O_DIRECTORY)
        self.fd = os.open("net", _OPEN, dir_fd=self._links)
        self.link = os.readlink("net", dir_fd=self._links)
        self._can_return = False

    def check_return(self, back: int) -> None:
        """Check, once, that threads may come back from where they are about to go.

        Args:
            back: A descriptor of the namespace that the calling thread is in.

        Raises:
            OSError: They may not: a filter of system calls, for example.
        """
        if not self._can_return:
            setns(back, CLONE_NEWNET)
            self._can_return = True

    def current_link(self) -> str:
        """Return the kernel's name for the calling thread's namespace."""
        if threading.get_ident() == self._main:
            # a directory kept open halves the cost of the look-up; the main
            # thread's stays valid as long as the process
            return os.readlink("net", dir_fd=self._links)
        return os.readlink(_OWN_NAMESPACE)


_home: _Home | None = None


def home() -> _Home:
    """Return the process's home: where its main thread is at the first call."""
    global _home  # noqa: PLW0603  # one process has one home
    if _home is None:
        _home = _Home()
    return _home


def is_home() -> bool:
    """Tell whether the calling thread is where the process started."""
    return _home is None or _home.current_link() == _home.link


def go_home(name: str) -> None:
    """Bring the calling thread to where the process started.

    Raises:
        NamespaceRestoreError: It cannot.
    """
    try:
        setns(home().fd, CLONE_NEWNET)
    except OSError as error:
        raise NamespaceRestoreError(
            error.errno or 0, "bring the thread home", name
        ) from error


def _forget_home_in_child() -> None:
    global _home  # noqa: PLW0603
    _home = None  # its descriptors lead to the parent's threads


os.register_at_fork(after_in_child=_forget_home_in_child)


class Visit:
    """A stay of the calling thread in a namespace: a context manager, used once.

    Raises:
        NamespaceRestoreError: On leaving, when the thread cannot come back.
    """

    __slots__ = ("_back", "_fd", "_inside", "_name", "_owned")

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._back = -1
        self._owned = False
        self._inside = False

    def __enter__(self) -> None:
        there = home()
        if there.current_link() == there.link:
            self._back = there.fd
        else:
            self._back, self._owned = os.open(_OWN_NAMESPACE, _OPEN), True
        self._inside = True
        try:
            setns(self._fd, CLONE_NEWNET)
        except OSError as error:
            self._inside = False
            self._close()
            raise refusal(error, "enter it", self._name) from error
        except BaseException:
            # Ctrl-C between the system call and here: the with block is never
            # reached, so nobody else would bring the thread back
            self.leave()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.leave()
        except NamespaceRestoreError:
            raise
        except BaseException:
            self.leave()  # Ctrl-C may come when it is about to leave
            raise

    def leave(self) -> None:
        """Bring the thread back, if it is inside."""
        if not self._inside:
            return
        try:
            setns(self._back, CLONE_NEWNET)
        except OSError as error:
            self._inside = False
            self._close()
            raise NamespaceRestoreError(
                error.errno or 0, "bring the thread back to where it was", self._name
            ) from error
        self._inside = False
        self._close()

    def _close(self) -> None:
        if self._owned:
            os.close(self._back)
            self._owned = False


class NamespaceFile:
    """A network namespace held by a descriptor; it lives as long as that is open.

    Attributes:
        name: What messages call it.
        inode: The kernel's number for it, unique while it lives.
    """

    __slots__ = ("_fd", "inode", "name")

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self.inode = os.fstat(fd).st_ino

    @classmethod
    def create(
        cls, name: str, prepare: Callable[[], None] = lambda: None
    ) -> NamespaceFile:
        """Make a new namespace and leave the calling thread where it was.

        Equivalent to ``ip netns add``, without a name for all to see.

        Args:
            name: What messages call it.
            prepare: Called inside while the thread is there anyway.

        Raises:
            KernelError: The kernel refuses (EPERM without privilege, ENOSPC at
                the limit of /proc/sys/user/max_net_namespaces).
        """
        there = home()
        at_home = there.current_link() == there.link
        back = there.fd if at_home else os.open(_OWN_NAMESPACE, _OPEN)
        try:
            there.check_return(back)
            try:
                unshare(CLONE_NEWNET)
                prepare()
                fd = os.open(_OWN_NAMESPACE, _OPEN)
            finally:
                setns(back, CLONE_NEWNET)
        except KernelError:
            raise
        except OSError as error:
            raise refusal(error, "create it", name, namespaces=["net"]) from error
        finally:
            if not at_home:
                os.close(back)
        return cls(fd, name)

    @property
    def fd(self) -> int:
        """The descriptor.

        Raises:
            ClosedError: The namespace was closed.
        """
        if self._fd < 0:
            raise ClosedError(f"namespace {self.name!r} is closed")
        return self._fd

    def entered(self) -> Visit:
        """Return a context manager in which the calling thread is inside."""
        return Visit(self.fd, self.name)

    @property
    def path(self) -> str:
        """A path for ``nsenter --net=``, valid while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd < 0

    def close(self) -> None:
        """Let go of the namespace; the kernel takes it down when nobody is in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
