"""Sending packets from a namespace, and what answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ._inside import Inside
from ._packet_socket import PacketSockets

if TYPE_CHECKING:
    import os

    from ._inside import Home
    from ._mounts import Surroundings
    from ._nsfile import NamespaceFile
    from ._scapy import Packet, PacketList
    from ._sending import Place
    from .replay import ReplayResult


class Packets(Inside):
    """What sends packets from a namespace."""

    def __init__(
        self, name: str, file: NamespaceFile, surroundings: Surroundings, home: Home
    ) -> None:
        super().__init__(name, file, surroundings, home)
        self._packet_sockets = PacketSockets(file)

    def send(
        self,
        packet: object,
        *,
        dev: str | None = None,
        count: int = 1,
        inter: float = 0.0,
    ) -> None:
        """Send packets that begin with IP, IPv6 or ARP, as scapy's `send`.

        Way, source address and MAC addresses are the namespace's own; none of
        scapy's tables is used. Packets leave as they are, past the namespace's
        filters, however wrong they may be; only an IPv4 packet to the namespace
        itself goes through its filters, and the kernel corrects its length and
        checksum. Where scapy would send to everybody, for want of a route or of an
        answer to ARP, this is an error.

        Args:
            packet: A packet, several in a list, or one with alternatives, such as
                ``IP(ttl=[1, 2])``; none of them is changed.
            dev: The interface to use; None lets the routes decide.
            count: How many times.
            inter: The time from one packet to the next, in seconds.

        Raises:
            KernelError: No route, nobody who answers ARP or neighbour discovery,
                a packet longer than the MTU, ...
            UnknownName: There is no such interface; says which there are.
            TypeError: It is no packet.
            ValueError: It has no destination, or one that means nothing without
                `dev`.
            ClosedError: The network is closed.
        """
        self._send(self._network_layer(dev), packet, count, inter)

    def sendp(
        self, packet: object, *, dev: str, count: int = 1, inter: float = 0.0
    ) -> None:
        """Send packets that begin with their link layer, as scapy's `sendp`.

        A MAC address that is left open is filled in: the interface's own, and that
        of the next hop, as in `send`.

        Args:
            packet: As in `send`.
            dev: The interface.
            count: How many times.
            inter: The time from one packet to the next, in seconds.

        Raises:
            KernelError: As in `send`.
            UnknownName: There is no such interface; says which there are.
            TypeError: It is no packet.
            ClosedError: The network is closed.
        """
        self._send(self._link_layer(dev), packet, count, inter)

    def sr(
        self,
        packet: object,
        *,
        dev: str | None = None,
        timeout: float = 1.0,
        multi: bool = False,
        retry: int = 0,
        inter: float = 0.0,
    ) -> tuple[Any, PacketList]:
        """Send packets as `send` does, and find their answers, as scapy's `sr`.

        The interfaces that they leave through are watched. As always with scapy, the
        kernel knows nothing of what is sent, and answers a SYN-ACK with a RST; and
        an answer from another address than was asked, such as to a broadcast or to
        DHCP, counts only if `scapy.config.conf.checkIPaddr` is False.

        Args:
            packet: As in `send`.
            dev: The interface to use; None lets the routes decide.
            timeout: How long to wait after the last packet was sent, in seconds.
            multi: Whether a packet may have more answers than one; all of the time
                is waited for them.
            retry: How many times to send again what is not answered.
            inter: The time from one packet to the next, in seconds.

        Returns:
            What scapy returns: a list of pairs of packet and answer, and a list of
            packets without answer. Those for which nobody has answered ARP or
            neighbour discovery are among these.

        Raises:
            KernelError: As in `send`.
            UnknownName: There is no such interface; says which there are.
            TypeError: It is no packet.
            ValueError: As in `send`.
            ClosedError: The network is closed.
        """
        place = self._network_layer(dev)
        return self._exchange(
            place, packet, timeout=timeout, multi=multi, retry=retry, inter=inter
        )

    def sr1(
        self,
        packet: object,
        *,
        dev: str | None = None,
        timeout: float = 1.0,
        retry: int = 0,
        inter: float = 0.0,
    ) -> Packet | None:
        """Return the first answer to packets that are sent as by `sr`, or None.

        Args:
            packet: As in `send`.
            dev: The interface to use; None lets the routes decide.
            timeout: How long to wait after the last packet was sent, in seconds.
            retry: How many times to send again, if there is no answer.
            inter: The time from one packet to the next, in seconds.

        Raises:
            KernelError: As in `sr`, like all other errors.
        """
        place = self._network_layer(dev)
        answered, _ = self._exchange(
            place, packet, timeout=timeout, retry=retry, inter=inter, first=True
        )
        return answered[0].answer if answered else None

    def srp(
        self,
        packet: object,
        *,
        dev: str,
        timeout: float = 1.0,
        multi: bool = False,
        retry: int = 0,
        inter: float = 0.0,
    ) -> tuple[Any, PacketList]:
        """Send packets as `sendp` does, and find their answers, as scapy's `srp`.

        Args:
            packet: As in `send`.
            dev: The interface.
            timeout: How long to wait after the last packet was sent, in seconds.
            multi: Whether a packet may have more answers than one.
            retry: How many times to send again what is not answered.
            inter: The time from one packet to the next, in seconds.

        Returns:
            As in `sr`.

        Raises:
            KernelError: As in `sr`, like all other errors.
        """
        place = self._link_layer(dev)
        return self._exchange(
            place, packet, timeout=timeout, multi=multi, retry=retry, inter=inter
        )

    def srp1(
        self,
        packet: object,
        *,
        dev: str,
        timeout: float = 1.0,
        retry: int = 0,
        inter: float = 0.0,
    ) -> Packet | None:
        """Return the first answer to packets that are sent as by `srp`, or None.

        Args:
            packet: As in `send`.
            dev: The interface.
            timeout: How long to wait after the last packet was sent, in seconds.
            retry: How many times to send again, if there is no answer.
            inter: The time from one packet to the next, in seconds.

        Raises:
            KernelError: As in `sr`, like all other errors.
        """
        place = self._link_layer(dev)
        answered, _ = self._exchange(
            place, packet, timeout=timeout, retry=retry, inter=inter, first=True
        )
        return answered[0].answer if answered else None

    def replay(
        self,
        path: str | os.PathLike[str],
        *,
        dev: str,
        timing: Literal["original"] | None = "original",
        speed: float = 1.0,
        rate: float | None = None,
        count: int = 1,
    ) -> ReplayResult:
        """Send the packets of a pcap or pcapng file, byte for byte.

        They leave on time by the clock, however long each of them takes; those that
        are late leave at once. A queue of this namespace that is full is waited
        for; what is lost farther on, such as in the backlog of a busy peer
        (sysctl ``net.core.netdev_max_backlog``), is not noticed.

        Args:
            path: The file, of Ethernet frames; it may be compressed by gzip.
            dev: The interface.
            timing: ``"original"``: as far apart as they were captured; None: as fast
                as possible.
            speed: How many times as fast as the original; 0.5 is half as fast.
            rate: How many packets a second, instead of the original timing.
            count: How many times to send all of them.

        Returns:
            How many packets and bytes were sent, and in what time.

        Raises:
            ValueError: It is no such file, or one of another link layer.
            UnknownName: There is no such interface; says which there are.
            KernelError: A packet is longer than the MTU, ...; says which.
            OSError: The file cannot be read.
            ClosedError: The network is closed.
        """
        from .replay import Pace, replay  # most tests replay nothing

        return replay(
            self._file,
            self._packet_sockets,
            path,
            dev=dev,
            pace=Pace(timing, speed, rate),
            count=count,
        )

    def _network_layer(self, dev: str | None) -> Place:
        from ._sending import Place  # most tests send no packets by hand

        return Place(self._file, self._packet_sockets, dev)

    def _link_layer(self, dev: str) -> Place:
        from ._sending import Place

        return Place(self._file, self._packet_sockets, dev, is_link_layer=True)

    @staticmethod
    def _send(place: Place, packet: object, count: int, inter: float) -> None:
        from ._sending import send

        send(place, packet, count=count, inter=inter)

    @staticmethod
    def _exchange(
        place: Place, packet: object, **settings: Any
    ) -> tuple[Any, PacketList]:
        from ._sending import exchange

        return exchange(place, packet, **settings)
