"""The manager: builds networks, takes them down, owns what outlives each of them."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING, TypeVar

from ._fabric import Fabric, FreshIndex
from ._namefiles import NameFiles
from ._nsfile import home
from ._openings import Openings
from ._ovs_pool import OVSPool
from ._plan import plan
from ._queue import Stamps
from ._signals import deferred_signals
from ._switches import Switches
from ._watcher import Watcher
from .builder import Builder
from .errors import ClosedError, KernelError
from .network import Network

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from ._layout import Layout
    from ._nsfile import NamespaceFile
    from ._steps import Step
    from .topology import Topology

T = TypeVar("T")


class NetworkManager:
    """Builds networks, one after another or side by side; a context manager.

    Work in the kernel is done to its end, or taken back: Ctrl-C waits for the
    few milliseconds that it takes.

    Args:
        names: Whether every namespace gets a name under ``/run/netns``.
        artifacts: The directory where logs and captures are kept; None keeps none.
        records: Whether to capture all that passes, for who may want it later.
    """

    def __init__(
        self,
        *,
        names: bool = False,
        artifacts: str | None = None,
        records: bool = False,
    ) -> None:
        self._names = names
        self._artifacts = artifacts
        self._records = records
        home()  # as seen from the thread that makes the manager
        self._openings = Openings()
        self._switches = Switches(self._openings)
        self._fresh = FreshIndex()
        self._watcher = Watcher()
        self._stamps = Stamps()
        self._ovs = OVSPool(self._watcher, artifacts, self._openings)
        self._networks: list[Network] = []
        #: Called with each network that was built.
        self.when_built: list[Callable[[Network], None]] = []
        self._one_at_a_time = threading.Lock()
        self._closed = False

    @property
    def networks(self) -> list[Network]:
        """The networks that are there now."""
        return list(self._networks)

    def build(self, topology: Topology) -> Network:
        """Build a network; use it as a context manager, or close it.

        Raises:
            KernelError: The kernel refuses; nothing is left.
            PrivilegeError: This process may not.
            MissingFeature: The kernel lacks something.
            ClosedError: The manager is closed.
        """
        if self._closed:
            raise ClosedError("the network manager is closed")
        fabric = Fabric(self._switches, self._fresh, self._watcher, self._ovs)
        if self._names or topology.names:
            fabric.names = NameFiles(self._watcher)

        def register() -> Network:
            network = Network(topology, fabric, self)
            network.keeps_captures = self._artifacts is not None
            self._networks.append(network)
            for callback in self.when_built:
                callback(network)
            return network

        network = None
        try:
            network = self._build(fabric, topology.steps, register, Network.close)
            if self._records:
                network.record()
            return network
        except BaseException:  # Ctrl-C may also come when it is about to return
            if network is not None:
                network.close()
            raise

    def extend(
        self,
        fabric: Fabric,
        layout: Layout,
        built: Layout,
        finish: Callable[[], None],
    ) -> None:
        """Bring `fabric` from `built` to `layout` and finish, or leave it as it was."""
        self._build(fabric, plan(layout, built), finish, lambda _: None)

    def _build(
        self,
        fabric: Fabric,
        steps: tuple[Step, ...],
        finish: Callable[[], T],
        undo: Callable[[T], None],
    ) -> T:
        builder = Builder(fabric, self._switches)

        def build() -> T:
            try:
                builder.build(steps)
            except KernelError as error:
                # an index is taken: a driver was loaded that has devices everywhere
                if error.errno != errno.EEXIST or not self._fresh.forget():
                    raise
                builder.build(steps)
            return finish()

        return self._undisturbed(build, undo)

    def dismantle(self, network: Network) -> None:
        """Take a network down, whatever interrupts the caller."""
        has_begun = False

        def take_down() -> None:
            nonlocal has_begun
            has_begun = True
            try:
                network.take_down()
            finally:
                self._switches.inspect()
                with contextlib.suppress(ValueError):  # closed by two at once
                    self._networks.remove(network)

        try:
            self._undisturbed(take_down)
        except BaseException:
            if not has_begun:  # Ctrl-C came just before it was put off
                self._undisturbed(take_down)
            raise

    def watch(self, file: NamespaceFile) -> None:
        """See to it that processes inside end if this process is killed."""
        self._watcher.watch(file.inode, file.fd)

    def forget(self, inode: int) -> None:
        """Stop watching a namespace that was closed."""
        self._watcher.forget(inode)

    def looking_around(self) -> AbstractContextManager[None]:
        """Look into all namespaces in the block; who opens one then is us."""
        return self._openings.disregarded()

    def take_failures(self) -> list[BaseException]:
        """Return what went wrong in the background of any network, each once."""
        return [
            failure for network in self.networks for failure in network.take_failures()
        ]

    def close(self) -> None:
        """Close all networks, and let go of what was kept for more; again is harmless.

        Raises:
            TeardownError: Something could not be taken down.
        """
        if self._closed:
            return
        self._closed = True
        try:
            for network in self.networks:
                network.close()
        finally:
            self._undisturbed(self._let_go)
            self._stamps.close()
            self._watcher.close()

    def _let_go(self) -> None:
        self._switches.close()
        self._ovs.close()
        self._openings.close()

    def _undisturbed(
        self, work: Callable[[], T], undo: Callable[[T], None] = lambda _: None
    ) -> T:
        """Do work to its end; undo it if its caller was interrupted meanwhile."""
        values: list[T] = []
        try:
            with deferred_signals() as deferred, self._one_at_a_time:
                values.append(work())
            deferred.deliver()
            return values[0]
        except BaseException:
            for value in values:
                undo(value)
            raise

    def __enter__(self) -> NetworkManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def build(topology: Topology) -> Network:
    """Build a network without pytest; use it in a ``with`` statement.

    Raises:
        KernelError: The kernel refuses; nothing is left.
        PrivilegeError: This process may not.
        MissingFeature: The kernel lacks something.
    """
    manager = NetworkManager()
    try:
        network = manager.build(topology)
    except BaseException:
        manager.close()
        raise
    network.when_closed.append(manager.close)
    return network
