"""Being inside a namespace: with a block, or on its threads."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _sysctl as sysctl
from ._signals import deferred_signals
from ._threads import Threads
from .errors import NamespaceRestoreError
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from ._addresses import Address
    from ._matching import Wanted
    from ._mounts import Surroundings
    from ._nsfile import NamespaceFile, Visit
    from .capture import PacketCapture

T = TypeVar("T")


class Home(Protocol):
    """What a namespace needs of the network that it belongs to."""

    def find(self, target: str, viewer: str, family: int | None = None) -> Address:
        """Return the address by which `viewer` reaches the namespace `target`."""

    def declared(self, name: str, ifname: str) -> list[bytearray]:
        """Return the requests that bring back what an interface was declared with."""

    def peer(self, place: str, ifname: str) -> tuple[NamespaceFile, int] | None:
        """Return namespace and index of the other end of a declared cable."""

    def capture(
        self,
        *endpoints: str,
        bpf_filter: Wanted | None = None,
        noise: bool = True,
        snaplen: int = 262_144,
        positive_control: bool = False,
    ) -> PacketCapture:
        """Return a capture of these interfaces, or of all that a namespace has."""

    def draw(self) -> str:
        """Return its picture, as text."""

    def expect_processes(self, file: NamespaceFile) -> None:
        """Be told, once, that processes may be inside from now on."""


class _Stays(threading.local):
    """The visits that the current thread has not ended, innermost last."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []


class Inside:
    """A namespace that threads enter, and that has threads of its own.

    Attributes:
        name: Its name in the topology.
        tasks: What was spawned, in order.
        visited: Whether something may be inside that is not ours to see.
    """

    def __init__(
        self,
        name: str,
        file: NamespaceFile,
        surroundings: Surroundings,
        home: Home,
    ) -> None:
        self.name = name
        self._file = file
        self._surroundings = surroundings
        self._threads = Threads(f"namespace {name!r}", surroundings.arrive)
        self._home = home
        self._stays = _Stays()
        self.tasks: list[Task[Any]] = []
        self.visited = False
        self._is_watched = False
        self._ping_is_open = False

    @property
    def lacks(self) -> list[str]:
        """What this machine does not let its processes have, a sentence for each."""
        return list(self._surroundings.lacks)

    def __enter__(self) -> Self:
        """Bring the calling thread inside until the end of the block.

        Sockets that it opens belong there; so do its children's. It affects
        the calling thread only, nests, and costs two system calls each way.

        Raises:
            ClosedError: The network is closed.
        """
        if not self._is_watched:
            self.prepare_for_processes()
        visit = self._file.entered()
        visits = self._stays.visits
        visits.append(visit)
        try:
            visit.__enter__()
        except BaseException:
            visits.remove(visit)
            visit.leave()  # Ctrl-C may come when it has just entered
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Bring the calling thread back to where it was.

        Raises:
            NamespaceRestoreError: It cannot come back; never use it again.
        """
        visits = self._stays.visits
        try:
            visits[-1].leave()
        except NamespaceRestoreError:
            raise
        except BaseException:
            visits[-1].leave()  # Ctrl-C may come when it is about to leave
            raise
        finally:
            visits.pop()

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function inside, on a thread of the namespace, and return its value.

        Beside the network it sees the namespace's own ``/sys``, ``/etc/hosts``,
        ``/etc/resolv.conf`` and host name.

        Raises:
            Exception: Whatever the function raises, with its traceback.
            ClosedError: The network is closed.
        """
        self.prepare_for_processes()
        return self._threads.call(function, *args, **kwargs)

    def spawn(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Task[T]:
        """Call a function inside, in the background.

        A task that fails while nobody asks for its result fails the test. When
        the test ends, sockets of its namespace are shut down under it.

        Raises:
            ClosedError: The network is closed.
        """
        self.prepare_for_processes()
        name = getattr(function, "__qualname__", repr(function))
        task = Task(
            name,
            self.name,
            self._threads.submit(functools.partial(function, *args, **kwargs)),
        )
        self.tasks.append(task)
        return task

    def draw_network(self) -> str:
        """Return the picture of the network that it is part of, as text."""
        return self._home.draw()

    def prepare_for_processes(self) -> None:
        """See to it, once, that whatever is started inside ends with the test."""
        if not self._is_watched:
            self._prepare(watched=True)

    def prepare_for_sockets(self) -> None:
        """See to it, once, that sockets end with the test; with us they end anyway."""
        if not self.visited:
            self._prepare(watched=False)

    def _prepare(self, *, watched: bool) -> None:
        _ = self._file.fd  # raises if it is closed
        with deferred_signals() as deferred:
            if watched:
                self._home.expect_processes(self._file)
            self._open_ping()
            self.visited = True
            self._is_watched |= watched
        deferred.deliver()

    def allow_ping(self) -> None:
        """Let everybody inside send echoes; done when there first is somebody."""
        if not self._ping_is_open:
            with deferred_signals() as deferred:
                self._open_ping()
            deferred.deliver()

    def _open_ping(self) -> None:
        if not self._ping_is_open:
            with self._file.entered():
                sysctl.open_ping(namespace=self.name)
            self._ping_is_open = True
