"""Captures of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._inside import Inside

if TYPE_CHECKING:
    from ._matching import Wanted
    from .capture import PacketCapture


class Captures(Inside):
    """What listens in a namespace."""

    def capture(
        self,
        *interfaces: str,
        bpf_filter: Wanted | None = None,
        noise: bool = True,
        snaplen: int = 262_144,
        positive_control: bool = False,
    ) -> PacketCapture:
        """Return a capture of what passes on `interfaces`, to use in a ``with`` block.

        It sees from the beginning of the block on. Packets that leave are seen
        before the hardware would complete them: see `Veth(offload=False)`.

        Args:
            interfaces: Their names; none is all, those that are added later too. (Of
                the machine, if this is a `Host`, all that the network has there.)
            bpf_filter: Which packets to keep: a filter of tcpdump's language, which
                the kernel applies, or a function of the parsed packet, or what else
                `PacketCapture.assert_seen` takes.
            noise: Whether IPv6 neighbour discovery and MLD are wanted; other ICMPv6
                always is.
            snaplen: How many bytes of a packet to keep.
            positive_control: Whether to send a marked packet through each interface
                at the beginning and at the end, which `assert_not_seen` relies on.

        Raises:
            UnknownName: There is no such interface; says which there are.
            InvalidFilter: libpcap does not understand the filter.
            MissingTool: There is a filter, and no libpcap.
            ClosedError: The network is closed.
            TypeError: An interface is not named by a str, or the filter is none.
            ValueError: `snaplen` is no length of a packet.
        """
        for ifname in interfaces:
            if not isinstance(ifname, str):
                raise TypeError(f"interfaces are named by str ('eth0'), not {ifname!r}")
        return self._home.capture(
            *([f"{self.name}:{ifname}" for ifname in interfaces] or [self.name]),
            bpf_filter=bpf_filter,
            noise=noise,
            snaplen=snaplen,
            positive_control=positive_control,
        )
