"""A packet as it was captured: bytes, time and place; nobody has parsed it yet."""

from __future__ import annotations

from typing import NamedTuple

# LINKTYPE_ETHERNET and LINKTYPE_RAW (pcap-linktype(7))
ETHERNET = 1
RAW_IP = 101


class Frame(NamedTuple):
    """One packet, as one interface saw it; a tuple because there are millions.

    Attributes:
        time: When the kernel saw it, in nanoseconds since the epoch.
        namespace: The namespace, or the hidden bridge, of the interface.
        interface: The interface's name.
        direction: ``"in"`` or ``"out"``, as seen from the interface's namespace.
        data: Its bytes from the link layer's header on, with the VLAN tag that
            the kernel keeps beside them put back.
        length: Its length on the wire, in bytes; more than `data` if cut off.
        linktype: `ETHERNET`, or `RAW_IP` where there is no link layer.
        has_partial_checksum: Whether its TCP or UDP checksum was left for the
            hardware to complete: what stands there is the pseudo-header's sum.
        is_unsegmented: Whether cutting it into segments was left to the hardware.
    """

    time: int
    namespace: str
    interface: str
    direction: str
    data: bytes
    length: int
    linktype: int = ETHERNET
    has_partial_checksum: bool = False
    is_unsegmented: bool = False

    @property
    def place(self) -> str:
        """The endpoint that saw it, as in a declaration: ``"left:eth0"``."""
        return f"{self.namespace}:{self.interface}"
