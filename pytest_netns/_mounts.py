"""What a thread of a namespace sees besides its network: /sys, /etc/hosts, host name.

``ip netns exec`` does the same for one command (ip-netns(8)); here the first
thread of a namespace does it once, and every child it starts inherits it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING

from ._obstacles import UNCOVERED, refusal
from ._places import mount_sys
from ._procfs import make_settings_writable, settings_are_read_only
from ._syscalls import (
    CLONE_FS,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_BIND,
    MS_DATA,
    MS_REC,
    MS_SLAVE,
    detach,
    mount,
    sethostname,
    setns,
    unshare,
)
from .errors import KernelError, PrivilegeError
from .privileges import is_in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._nsfile import NamespaceFile

_THREAD = "/proc/thread-self/ns/"
#: Directories, one of which is there on any system: covered for a moment to hold
#: files that no other process can see.
_SCRATCH = ("/tmp", "/run", "/mnt", "/dev")  # noqa: S108  # a private tmpfs covers it
#: What helps in containers that let no host name be set.
_UNFILTERED = "in Docker: --security-opt seccomp=unconfined, or --privileged"


class Surroundings:
    """The mount and UTS namespaces that go with a network namespace.

    Args:
        file: The network namespace.
        hostname: Its host name.
        texts: Returns the text of each file that it has of its own, by path.
        furnish: Called once in the new mount namespace, to mount more.

    Attributes:
        lacks: What this machine does not let it have, a sentence for each.
    """

    def __init__(
        self,
        file: NamespaceFile,
        hostname: str,
        texts: Callable[[], dict[str, str]],
        furnish: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._hostname = hostname
        self._texts = texts
        self._furnish = furnish
        self._descriptors: dict[str, int] = {}
        self._mnt = -1
        self._uts = -1
        #: Called with inode and descriptor of the UTS namespace, once it is there.
        self.when_made: Callable[[int, int], None] = lambda *_: None
        self._root = -1
        self.lacks: list[str] = []
        self._lock = threading.Lock()

    def arrive(self) -> None:
        """Bring the calling thread in; it must stay there for good."""
        with self._lock:
            try:
                setns(self._file.fd, CLONE_NEWNET)
                if self._mnt < 0:
                    self._make()
                else:
                    self._join()
            except OSError as error:
                if isinstance(error, KernelError):
                    raise
                raise self._explained(error) from error

    @property
    def uts_fd(self) -> int:
        """A descriptor of the UTS namespace; -1 if there is none yet."""
        return self._uts

    def nsenter_options(self) -> list[str]:
        """Return options with which nsenter(1) enters, once a thread has arrived."""
        fds = {
            "net": self._file.fd,
            "mount": self._mnt,
            "uts": self._uts,
            "root": self._root,
        }
        paths = {kind: f"/proc/{os.getpid()}/fd/{fd}" for kind, fd in fds.items()}
        options = [f"--{kind}={path}" for kind, path in paths.items()]
        if is_in_user_namespace():
            own = f"--user=/proc/{os.getpid()}/ns/user"
            options = ["--preserve-credentials", own, *options]
        return options

    @property
    def uts_inode(self) -> int | None:
        """The kernel's number of the UTS namespace; None if there is none yet."""
        return os.fstat(self._uts).st_ino if self._uts >= 0 else None

    def rewrite(self) -> None:
        """Write the files anew; those who have them open see it too."""
        with self._lock:
            if self._descriptors:
                for path, text in self._texts().items():
                    _overwrite(self._descriptors[path], text)

    def close(self) -> None:
        """Let go; the kernel takes all of it down when the last thread is gone."""
        for fd in (*self._descriptors.values(), self._mnt, self._uts, self._root):
            if fd >= 0:
                os.close(fd)
        self._descriptors.clear()
        self._mnt = self._uts = self._root = -1

    def _make(self) -> None:
        unshare(CLONE_NEWNS | CLONE_NEWUTS)
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _keep_mounts_here(self._root)
        self._arrange()
        self._mnt = os.open(_THREAD + "mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._uts = os.open(_THREAD + "uts", os.O_RDONLY | os.O_CLOEXEC)
        self.when_made(os.fstat(self._uts).st_ino, self._uts)

    def _arrange(self) -> None:
        """Change, in the new namespaces, what is different inside."""
        with self._as_a_courtesy("the host name is the machine's", _UNFILTERED):
            sethostname(self._hostname)
        self._bind_files()
        with self._as_a_courtesy("/sys shows no interfaces", UNCOVERED):
            mount_sys()
        if settings_are_read_only():
            with self._as_a_courtesy("/proc/sys is read-only", UNCOVERED):
                make_settings_writable(_scratch())
        self._furnish()

    def _explained(self, error: OSError) -> KernelError | PrivilegeError:
        action = f"set up {error.filename or 'its mounts'}"
        refused = refusal(error, action, self._file.name, namespaces=["mnt", "uts"])
        if isinstance(error, PermissionError):
            return PrivilegeError(str(refused))
        return refused

    @contextlib.contextmanager
    def _as_a_courtesy(self, lack: str, remedy: str) -> Iterator[None]:
        """Go without what is in the block, where the kernel does not allow it."""
        try:
            yield
        except PermissionError as error:
            self.lacks.append(f"{lack} ({error.strerror}); {remedy}")

    def _join(self) -> None:
        # a thread that shares its directory with others may not change mounts
        unshare(CLONE_FS)
        setns(self._mnt, CLONE_NEWNS)
        _change_root(self._root)  # it was brought to the root of all mounts
        setns(self._uts, CLONE_NEWUTS)

    def _bind_files(self) -> None:
        """Bind files that have no name anywhere over those that the namespace has."""
        scratch = _scratch()
        mount("tmpfs", scratch, "tmpfs", MS_DATA, "mode=755")
        try:
            texts = self._texts()
            missing = [path for path in texts if not os.path.exists(path)]
            for directory in {os.path.dirname(path) for path in missing}:
                _make_writable(directory, scratch)
            for path, text in texts.items():
                source = os.path.join(scratch, path.strip("/").replace("/", "-"))
                fd = os.open(source, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                os.fchmod(fd, 0o644)  # whatever the umask is
                self._descriptors[path] = fd
                _overwrite(fd, text)
                if path in missing:
                    _replace_with_empty(path)
                mount(source, path, "", MS_BIND)
        finally:
            detach(scratch)


class HostSurroundings(Surroundings):
    """Those of the test process itself: it sees the machine as it is.

    A UTS namespace of their own still tells which processes a test has started.
    """

    def __init__(self, file: NamespaceFile) -> None:
        super().__init__(file, "", dict)

    def _arrange(self) -> None:
        """Leave all as it is."""


def _keep_mounts_here(root: int) -> None:
    """Let what we mount stay here; what the machine mounts still arrives."""
    try:
        mount("", "/", "", MS_REC | MS_SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # in a chroot, "/" need not be where something is mounted: whoever enters a
        # mount namespace, be it his own, gets to where that is (setns(2))
        own = os.open(_THREAD + "mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(own, CLONE_NEWNS)
        finally:
            os.close(own)
        mount("", "/", "", MS_REC | MS_SLAVE)
        _change_root(root)


def _change_root(root: int) -> None:
    """Make a directory the root of the calling thread (chroot(2))."""
    os.fchdir(root)
    os.chroot(".")


def _scratch() -> str:
    """Return a directory that may be covered for a moment."""
    return next(filter(os.path.isdir, _SCRATCH), "/proc")


def _make_writable(directory: str, scratch: str) -> None:
    """Lay an overlay over `directory`: to bind a file, there must be one."""
    upper = os.path.join(scratch, "upper")
    work = os.path.join(scratch, "work")
    os.makedirs(upper, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    layers = f"lowerdir={directory},upperdir={upper},workdir={work}"
    mount("overlay", directory, "overlay", 0, layers)


def _replace_with_empty(path: str) -> None:
    if os.path.islink(path):
        os.unlink(path)  # it leads nowhere
    with open(path, "w", encoding="utf-8"):
        pass


def _overwrite(fd: int, text: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)
