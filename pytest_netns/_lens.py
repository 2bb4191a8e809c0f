"""What makes packets of what taps have taken."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from ._frame import ETHERNET, RAW_IP, Frame
from ._links import Link
from ._tpacket import ETHERNET_TYPES
from .errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._control import Control
    from ._matching import Matcher
    from ._tap import Tap
    from ._tpacket import Entry

#: Ethernet's header with a VLAN tag, in bytes.
_ETHERNET_HEADER = 18
#: Of an interface of which nothing is known.
_ANY_MTU = 1 << 31


class Lens:
    """Shows entries of blocks as frames, and which of them are wanted.

    Frames keep it, and not the capture: who lets go of a capture gets its memory back
    at once.

    Args:
        taps: What has seen them.
        control: Whose marked packets are not to be shown.
        wanted: Which ones are; None for all.
    """

    def __init__(
        self, taps: Sequence[Tap], control: Control | None, wanted: Matcher | None
    ) -> None:
        self._taps = taps
        self._control = control
        self._wanted = wanted

    @property
    def shows_all(self) -> bool:
        """Whether `shows` need not be asked."""
        return self._control is None and self._wanted is None

    def shows(self, frame: Frame) -> bool:
        """Tell whether a frame is to be shown."""
        if self._control is not None and self._control.is_marked(frame):
            return False
        if self._wanted is None:
            return True
        from ._scapy import dissect

        return self._wanted.matches(frame, partial(dissect, frame))

    def frame(self, number: int, entry: Entry) -> Frame:
        """Return what tap `number` has seen, with all that is known of where."""
        tap = self._taps[number]
        if entry.ifindex not in tap.links:
            _get_to_know(tap, entry)
        link = tap.links[entry.ifindex]
        is_ethernet = entry.hatype in ETHERNET_TYPES
        longest = link.mtu + _ETHERNET_HEADER * is_ethernet
        return Frame(
            entry.time,
            tap.spot.place,
            link.name,
            "out" if entry.is_outgoing else "in",
            entry.data,
            entry.length,
            ETHERNET if is_ethernet else RAW_IP,
            entry.has_partial_checksum,
            entry.is_unsegmented or entry.length > longest,
        )


def _get_to_know(tap: Tap, entry: Entry) -> None:
    """Look for the interface of a packet, which may be gone by now; once."""
    with contextlib.suppress(ClosedError, OSError):
        tap.look_around()
    if (index := entry.ifindex) not in tap.links:
        unknown = Link(index, f"if{index}", entry.hatype, b"", _ANY_MTU, "")
        tap.links = {**tap.links, index: unknown}
