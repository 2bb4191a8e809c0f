"""What a capture has seen, to look at and to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._frame import ETHERNET, RAW_IP
from ._listening import Listening
from ._pcapng import Place
from ._tpacket import ETHERNET_TYPES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ._blocks import Frames
    from ._scapy import Packet, PacketList
    from ._tap import Tap


class Seen(Listening):
    """A capture whose packets can be looked at, also while it runs."""

    _listed: tuple[Frames, PacketList] | None = None
    _latest: tuple[tuple[int, ...], Frames] | None = None

    @property
    def frames(self) -> Frames:
        """What was captured so far, not parsed, in order of time.

        Raises:
            NetnsError: It has not begun.
        """
        self._running.settle()
        extent, latest = self._store.extent, self._latest
        if latest is None or latest[0] != extent:
            latest = self._latest = extent, self._frames_until(extent)
        return latest[1]

    @property
    def packets(self) -> PacketList:
        """What was seen so far, as scapy's `PacketList`, in order of time.

        Each packet has `sniffed_on` (``"left:eth0"``), `namespace`, `interface` and
        `direction` (``"in"`` or ``"out"``), and `time` in seconds since the epoch. A
        packet is parsed when it is touched; what scapy cannot parse is `Raw`.
        """
        return self._snapshot_as_list()[1]

    def _snapshot(self) -> tuple[Frames, Sequence[Packet]]:
        """Return the frames so far, and the packets that are made of just these."""
        frames, packets = self._snapshot_as_list()
        return frames, packets.res

    def _snapshot_as_list(self) -> tuple[Frames, PacketList]:
        from ._scapy import Parsed, packet_list

        frames, listed = self.frames, self._listed
        if listed is None or listed[0] is not frames:
            listed = self._listed = frames, packet_list(Parsed(frames), self.place)
        return listed

    @property
    def places(self) -> list[Place]:
        """The interfaces, as files of captures name them."""
        return [place for tap in self._taps for place in self._places_of(tap)]

    def _places_of(self, tap: Tap) -> Iterator[Place]:
        for link in tap.links.values():
            is_alone = tap.ifname is not None
            yield Place(
                tap.spot.place,
                link.name,
                linktype=ETHERNET if link.hatype in ETHERNET_TYPES else RAW_IP,
                lladdr=link.lladdr.hex(":") if len(link.lladdr) == 6 else None,
                filter=self.filter if isinstance(self.filter, str) else None,
                received=tap.counted.packets if is_alone else None,
                dropped=tap.counted.dropped if is_alone else None,
                snaplen=self._snaplen,
            )

    def __len__(self) -> int:
        """Count the packets so far."""
        return len(self.frames)

    def __bool__(self) -> bool:
        """Be true: a capture is no list, and may be empty."""
        return True

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was seen so far as a pcapng file, for Wireshark and others.

        It has the interfaces' names, directions, checksums that were left to the
        hardware, the filter, and what the kernel dropped.

        Raises:
            OSError: It cannot be written; nothing of it is left then.
        """
        from ._files import save

        frames, dropped = self.frames, self.dropped
        save(path, frames, self.places, dropped=dropped)
