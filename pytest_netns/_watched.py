"""A network whose packets can be watched."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ._spot import spots_of
from .errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._fabric import Fabric
    from ._matching import Wanted
    from ._nsfile import NamespaceFile
    from ._recording import Recording
    from ._scene import Scene
    from ._spot import Spot
    from .capture import PacketCapture
    from .topology import Topology


class Watched:
    """What captures in a network.

    Attributes:
        captures: The captures that were made, in order.
        keeps_captures: Whether those that have ended are kept, for who wants to have
            them as files.
        recording: What is captured without being asked for, if anything is.
    """

    def __init__(self, topology: Topology, fabric: Fabric) -> None:
        self._topology = topology
        self._fabric = fabric
        self._closed = False
        self.captures: list[PacketCapture] = []
        self.keeps_captures = False
        self.recording: Recording | None = None

    def capture(
        self,
        *endpoints: str,
        bpf_filter: Wanted | None = None,
        noise: bool = True,
        snaplen: int = 262_144,
        positive_control: bool = False,
    ) -> PacketCapture:
        """Return one capture across namespaces, in order of the kernel's time.

        Args:
            endpoints: ``"namespace:ifname"``, ``"bridge:port"``, or a namespace or
                bridge with all its interfaces or ports; none is all namespaces.
            bpf_filter: As in `NetworkNamespace.capture`, like all that follows.
            noise: Whether IPv6 neighbour discovery and MLD are wanted.
            snaplen: How many bytes of a packet to keep.
            positive_control: Whether to send marked packets.

        Raises:
            UnknownName: There is no such interface; says which there are.
            InvalidFilter: libpcap does not understand the filter.
            MissingTool: There is a filter, and no libpcap.
            ClosedError: The network is closed.
            TypeError: The filter is none.
            ValueError: `snaplen` is no length of a packet.
        """
        self._check_open()
        from .capture import PacketCapture  # most tests have none

        capture = PacketCapture(
            functools.partial(self._spots, endpoints),
            peer=self.peer,
            scene=self._scene,
            bpf_filter=bpf_filter,
            noise=noise,
            snaplen=snaplen,
            positive_control=positive_control,
        )
        if not self.keeps_captures:
            self.forget_captures()
        self.captures.append(capture)
        return capture

    def forget_captures(self) -> None:
        """Let go of the captures that have ended: their packets are their users'."""
        self.captures = [one for one in self.captures if not one.has_ended]

    def _scene(self) -> Scene:
        from ._scene import scene_of

        return scene_of(
            self._topology.layout, self._fabric.files, lambda: not self._closed
        )

    def record(self) -> Recording:
        """Begin to capture on all interfaces, and on all that are added."""
        from ._recording import Recording

        self.recording = Recording(functools.partial(self._spots, ()))
        self.recording.extend()
        return self.recording

    def _spots(self, endpoints: Sequence[str]) -> list[Spot]:
        self._check_open()
        return spots_of(self._topology.layout, self._fabric.file_of, endpoints)

    @property
    def _listening(self) -> list[PacketCapture]:
        recorded = self.recording.captures if self.recording is not None else []
        return [*self.captures, *recorded]

    def _end_captures(self) -> Iterator[str]:
        """End all captures; yield a sentence for each that cannot be ended."""
        for capture in self._listening:
            try:
                capture.end("the network was closed")
            except Exception as error:  # the rest is to end all the same
                yield f"{capture!r}: {error}"

    @property
    def _descriptors(self) -> set[int]:
        """The descriptors of captures that are still to be closed."""
        return {fd for capture in self._listening for fd in capture.descriptors}

    def peer(self, place: str, ifname: str) -> tuple[NamespaceFile, int] | None:
        """Return namespace and index of the other end of a declared cable."""
        layout = self._topology.layout
        interface = layout.interfaces.get(place, {}).get(ifname)
        end = layout.peer_of(interface) if interface else None
        if end is None:
            return None
        return (
            self._fabric.file_of(end.place),
            self._fabric.indexes[end.place, end.ifname],
        )

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the network is closed")
