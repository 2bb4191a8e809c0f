"""The MAC addresses of neighbours, from the kernel's tables.

Those that are unknown the kernel itself asks for, by ARP or neighbour discovery.
They stay in its tables, as if it had sent the packet.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from typing import TYPE_CHECKING

from . import _codec as codec
from . import _codec_tables as codec_tables
from ._netlink import Announcements, Refusal, RouteSocket, attribute, fields
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from ._nsfile import NamespaceFile

    #: The index of an interface, and the bytes of an address there.
    Key = tuple[int, bytes]

#: How long neighbours may take to answer, in seconds. The kernel asks every second
#: (net.ipv4.neigh.default.retrans_time_ms): one question or answer may be lost.
PATIENCE = 1.5

# include/uapi/linux/neighbour.h: struct ndmsg, behind struct nlmsghdr
_ENTRY = struct.Struct("=16xB3xiH2x")
_NDA_DST, _NDA_LLADDR = 1, 2
_INCOMPLETE, _REACHABLE, _STALE, _DELAY = 0x01, 0x02, 0x04, 0x08
_PROBE, _FAILED, _NOARP, _PERMANENT = 0x10, 0x20, 0x40, 0x80
_VALID = _REACHABLE | _STALE | _DELAY | _PROBE | _NOARP | _PERMANENT
# include/uapi/linux/rtnetlink.h
_RTMGRP_NEIGH = 4

_FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}


class Neighbours:
    """What the kernel knows of the neighbours of a namespace.

    Args:
        file: The namespace.
        route: A socket of it.
    """

    def __init__(self, file: NamespaceFile, route: RouteSocket) -> None:
        self._file = file
        self._route = route
        self._lladdrs: dict[Key, bytes] = {}
        self._states: dict[Key, int] = {}

    def lladdr(self, key: Key) -> bytes | None:
        """Return a MAC address, if it is known."""
        return self._lladdrs.get(key)

    def look_up(self, keys: AbstractSet[Key]) -> None:
        """Read the kernel's tables; ``ip neighbour show``."""
        for length in {len(address) for _, address in keys}:
            request = codec.dump(codec.RTM_GETNEIGH, _FAMILIES[length])
            for message in self._route.dump(request):
                self._note(message)

    def resolve(self, keys: AbstractSet[Key]) -> None:
        """Have the kernel ask for those that it does not know, all at once.

        Equivalent to ``ip neighbour replace ADDRESS dev DEV use nud none``. It
        waits until each one has answered, or `PATIENCE` is over.

        Raises:
            KernelError: The kernel refuses to ask.
        """
        if keys <= self._lladdrs.keys():
            return
        self.look_up(keys)
        for key in keys:
            if self._states.get(key) == _STALE:  # good enough until it is confirmed
                self._ask(key)
        unknown = keys - self._lladdrs.keys()
        if unknown:
            self._await_answers(unknown)

    def _await_answers(self, keys: AbstractSet[Key]) -> None:
        with self._file.entered():
            announcements = Announcements(_RTMGRP_NEIGH)
        with announcements:
            # where it is asking already, it may give up before it asks for us
            asked_before = {key for key in keys if self._states.get(key) == _INCOMPLETE}
            for key in keys:
                self._ask(key)
            self.look_up(keys)  # answered before we listened
            pending = keys - self._lladdrs.keys()
            deadline = time.monotonic() + PATIENCE
            while pending and (remaining := deadline - time.monotonic()) > 0:
                for message in announcements.await_some(remaining):
                    key = self._note(message)
                    if self._states.get(key) != _FAILED:
                        pending -= self._lladdrs.keys()
                    elif key in asked_before:
                        asked_before.discard(key)
                        self._ask(key)
                    else:
                        pending -= {key}

    def _ask(self, key: Key) -> None:
        index, packed = key
        address = str(ipaddress.ip_address(packed))
        request = codec_tables.use_neighbour(address, index)
        try:
            self._route.apply([request])
        except Refusal as refusal:
            raise KernelError(
                refusal.number,
                f"ask for the neighbour {address}",
                self._file.name,
                None,
                refusal.detail,
            ) from refusal

    def _note(self, message: bytes) -> Key:
        """Remember an entry, and return which one it is."""
        _, index, state = fields(_ENTRY, message)
        address = attribute(message, _NDA_DST, _ENTRY.size)
        lladdr = attribute(message, _NDA_LLADDR, _ENTRY.size)
        key = (index, address or b"")
        self._states[key] = state
        if state & _VALID and lladdr is not None:
            self._lladdrs[key] = lladdr
        return key
