"""The place where a pair of Open vSwitch's daemons runs, and nobody else.

It is a network namespace of its own, and in its mount namespace a file system in
memory for sockets, process numbers and the database: when the last process of
it ends, nothing of that is left.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import struct
from typing import TYPE_CHECKING

from . import _sysctl as sysctl
from . import command
from ._directories import directory, give_files, make_directory
from ._mounts import Surroundings
from ._netlink import RouteSocket, attribute
from ._nsfile import NamespaceFile
from ._processes import end_processes
from ._snapshot import read_links
from ._switches import SILENCE
from ._syscalls import MS_BIND, MS_DATA, mount
from ._threads import Threads
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._watcher import Watcher

#: What messages call the namespace.
NAME = "Open vSwitch"
#: Where the daemons have their sockets, as they and their tools see it.
DIRECTORY = "/run/openvswitch"
#: Where they have what may be kept: logs and database.
KEPT = "/run/openvswitch/kept"
#: What a daemon leaves beside its database.
_LOCK = ".conf.db.~lock~"
#: A directory that is there on any system, covered to hold files of our own.
_COVERED = "/run"
#: How long a tool may take, in seconds.
PATIENCE = 30.0
#: Far beyond what the kernel gives to the devices that ovs-vswitchd makes.
_FIRST_PORT_INDEX = 1 << 16
_LINK_HEADER = 32  # struct nlmsghdr and struct ifinfomsg
# include/uapi/linux/if_link.h
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1


class Place:
    """A place for daemons.

    Attributes:
        file: Its network namespace.
        socket: An rtnetlink socket inside.
        threads: Its threads.
        folder: A descriptor of the folder whose contents stay; None if nothing does.

    Args:
        watcher: Ends the daemons if this process is killed.
        artifacts: The directory for the folder; None is for no folder.

    Raises:
        KernelError: The kernel refuses.
    """

    def __init__(self, watcher: Watcher, artifacts: str | None) -> None:
        self.folder: int | None = None
        self._path = ""
        self._chore = 0
        self._first_links: set[int] = set()
        self._indexes = itertools.count(_FIRST_PORT_INDEX)
        self._watcher = watcher
        self.file = NamespaceFile.create(NAME, self._prepare)
        self._surroundings = Surroundings(
            self.file, "openvswitch", texts=dict, furnish=self._furnish
        )
        self.threads = Threads(NAME, self._surroundings.arrive)
        try:
            if artifacts is not None:
                self._path, self.folder = _make_folder(os.path.abspath(artifacts))
                self._chore = watcher.leave_chore(f"remove {_LOCK}", self.folder)
            watcher.watch(self.file.inode, self.file.fd)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        sysctl.write_present(SILENCE)
        self.socket = RouteSocket()
        # some drivers have an interface in every namespace
        self._first_links = set(self.links())

    def _furnish(self) -> None:
        with contextlib.ExitStack() as closing:
            folder = -1
            if self.folder is not None:
                # before it may be covered, and by its name: only what was opened in
                # this mount namespace can be mounted
                folder = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
                closing.callback(os.close, folder)
                if not os.path.sameopenfile(folder, self.folder):
                    error = errno.ESTALE, os.strerror(errno.ESTALE), self._path
                    raise OSError(*error)  # it was put in place of ours
            mount("tmpfs", _COVERED, "tmpfs", MS_DATA, "mode=755")
            os.makedirs(KEPT)
            if self.folder is not None:
                mount(f"/proc/thread-self/fd/{folder}", KEPT, "", MS_BIND)

    def close(self) -> None:
        """End what still runs, and let go; the kernel takes the place down."""
        end_processes({self.file.inode})
        self.threads.close(grace=1.0)
        self._surroundings.close()
        self.socket.close()
        self._watcher.forget(self.file.inode)
        self.file.close()
        if self.folder is not None:
            folder, self.folder = self.folder, None
            with contextlib.suppress(OSError):
                os.unlink(_LOCK, dir_fd=folder)
            self._watcher.drop_chore(self._chore)
            give_files(folder)
            os.close(folder)

    def next_index(self) -> int:
        """Return an interface index that nothing here ever had."""
        return next(self._indexes)

    def links(self) -> dict[int, str]:
        """Return the kinds of the interfaces that came since the start, by index."""
        found = {}
        for message in read_links(self.socket):
            (index,) = struct.unpack_from("=i", message, 20)
            info = attribute(message, _IFLA_LINKINFO, _LINK_HEADER) or b""
            kind = attribute(info, _IFLA_INFO_KIND) or b""
            if index not in self._first_links:
                found[index] = kind.rstrip(b"\0").decode()
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The environment of daemons and tools."""
        own = dict.fromkeys(("OVS_LOGDIR", "OVS_DBDIR"), KEPT)
        own |= dict.fromkeys(("OVS_RUNDIR", "OVS_SYSCONFDIR"), DIRECTORY)
        return {**os.environ, **own}

    def run(self, words: Sequence[str]) -> str:
        """Run a tool, and return its output.

        Raises:
            CommandError: It failed; shows both outputs.
            CommandTimeout: It did not end in time.
        """
        return command.run(
            self.file,
            self.threads,
            words,
            check=True,
            timeout=PATIENCE,
            input=None,
            env=self.environment,
            cwd=None,
        ).stdout


def _make_folder(artifacts: str) -> tuple[str, int]:
    """Make a folder that nobody has, named after this process.

    Returns:
        Its path, and a descriptor: by its name somebody may put another one there.
    """
    number = 1
    while True:
        name = f"openvswitch-{os.getpid()}-{number}"
        folder = os.path.join(artifacts, name)
        try:
            with directory(artifacts, make=True) as parent:
                return folder, make_directory(name, parent)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise KernelError(error.errno or 0, f"make folder {folder!r}") from error
