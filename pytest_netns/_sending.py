"""Sending packets of scapy's from a namespace, and finding what answers them.

What answers what is scapy's to say (`answers` and `hashret` of its layers); which
way a packet goes, and from where, the namespace's own tables say.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ._departures import Departure, at_link_layer, at_network_layer, expand
from ._frame import ETHERNET, RAW_IP, Frame
from ._nexthop import Ways
from ._packet_socket import ETH_P_IP, ETH_P_IPV6, PacketSockets
from ._scapy import dissect, load
from ._tpacket import ETHERNET_TYPES
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from ._links import Link
    from ._nsfile import NamespaceFile
    from ._packet_socket import PacketSocket, Received
    from ._scapy import Packet, PacketList

_HEADER = 14
_SOURCE = slice(6, 12)
_ETHERTYPE = slice(12, 14)
_IP_TYPES = (ETH_P_IP.to_bytes(2, "big"), ETH_P_IPV6.to_bytes(2, "big"))


class Place(NamedTuple):
    """Where packets are sent from.

    Attributes:
        file: The namespace.
        sockets: Its packet sockets.
        dev: The interface that they leave through; None lets the routes decide.
        is_link_layer: Whether packets begin with their link layer.
    """

    file: NamespaceFile
    sockets: PacketSockets
    dev: str | None
    is_link_layer: bool = False

    def prepare(self, what: object, ways: Ways) -> list[Departure]:
        """Make packets ready, with the MAC addresses of all that can be reached."""
        if self.is_link_layer:
            link = ways.link(str(self.dev))
            ready = [at_link_layer(packet, ways, link) for packet in expand(what)]
        else:
            ready = [
                at_network_layer(packet, ways, self.dev) for packet in expand(what)
            ]
        ways.resolve([one.hop for one in ready if one.hop is not None])
        return ready


def send(place: Place, what: object, *, count: int, inter: float) -> None:
    """Send packets; see `NetworkNamespace.send`.

    Args:
        place: Where.
        what: The packets.
        count: How many times.
        inter: The time from one packet to the next, in seconds.

    Raises:
        KernelError: One of them cannot be sent.
    """
    again = list(what) if isinstance(what, Iterator) else what
    with Ways(place.file) as ways, _Outlets(place) as outlets:
        is_first = True
        for _ in range(count):
            for departure in place.prepare(again, ways):
                frame = _frame(departure, ways)
                if frame is None and departure.hop is not None:
                    raise ways.no_answer(departure.hop)
                if not is_first:
                    place.sockets.sleep_until(time.perf_counter() + inter)
                is_first = False
                outlets.send(departure, frame or b"")
                _note_time(what, departure)


def exchange(
    place: Place,
    what: object,
    *,
    timeout: float,
    inter: float = 0.0,
    multi: bool = False,
    retry: int = 0,
    first: bool = False,
) -> tuple[Any, PacketList]:
    """Send packets, and match what arrives; see `NetworkNamespace.sr`.

    Args:
        place: Where.
        what: The packets.
        timeout: How long to wait after the last one was sent, in seconds.
        inter: The time from one packet to the next, in seconds.
        multi: Whether a packet may have more answers than one.
        retry: How many times to send again what is not answered.
        first: Whether one answer, to any of them, is enough.

    Returns:
        The answered packets with their answers, as scapy's `SndRcvList`, and the
        others as a `PacketList`.

    Raises:
        KernelError: One of them cannot be sent.
    """
    if retry < 0:
        raise ValueError(f"retry is how many times more, not {retry}")
    matches = _Matches(multi=multi, first=first)
    with Ways(place.file) as ways, _Outlets(place) as outlets:
        ready = place.prepare(what, ways)
        leaving = [
            (departure, frame)
            for departure in ready
            if (frame := _frame(departure, ways)) is not None
        ]
        outlets.listen(leaving)
        is_first = True
        for _ in range(1 + retry):
            for departure, frame in leaving:
                if not is_first and matches.lack(departure.packet):
                    _collect(outlets, matches, inter)
                if matches.lack(departure.packet):
                    matches.expect(departure.packet)
                    outlets.send(departure, frame)
                    _note_time(what, departure)
                    is_first = False
            matches.all_sent = True
            _collect(outlets, matches, timeout)
    plist = load().plist
    packets = [departure.packet for departure in ready]
    unanswered = [packet for packet in packets if not matches.is_answered(packet)]
    return plist.SndRcvList(matches.answers), plist.PacketList(unanswered, "Unanswered")


def _frame(departure: Departure, ways: Ways) -> bytes | None:
    """Return a packet as bytes; None if nobody takes it."""
    if departure.hop is None:
        return departure.frame(b"")
    lladdr = ways.lladdr(departure.hop)
    return None if lladdr is None else departure.frame(lladdr)


def _note_time(what: object, departure: Departure) -> None:
    """Let the test's own packet know when it was sent, as scapy does."""
    if isinstance(what, load().packet.Packet):
        what.sent_time = departure.packet.sent_time


def _collect(outlets: _Outlets, matches: _Matches, timeout: float) -> None:
    """Look at what arrives within `timeout` seconds, or until there is enough."""
    deadline = time.monotonic() + timeout
    end: int | None = None
    while not matches.are_enough():
        remaining = deadline - time.monotonic()
        if remaining <= 0 and end is None:
            end = time.time_ns()  # what came before counts, however late we are
        if not outlets.await_any(remaining):
            return
        for received in outlets.receive():
            if end is not None and received.time > end:
                return
            matches.take(outlets.parse(received))
            if matches.are_enough():
                return


class _Matches:
    """Packets that were sent, and what has answered them.

    Args:
        multi: Whether a packet may have more answers than one.
        first: Whether one answer, to any of them, is enough.

    Attributes:
        answers: Each packet and its answer, as scapy's `QueryAnswer`, in order.
        all_sent: Whether no other packet will be sent.
    """

    def __init__(self, *, multi: bool, first: bool) -> None:
        self._multi = multi
        self._first = first
        self._expected: dict[bytes, list[Packet]] = {}
        self._sent: set[int] = set()
        self._answered: set[int] = set()
        self.answers: list[Any] = []
        self.all_sent = False

    def lack(self, packet: Packet) -> bool:
        """Tell whether a packet is to be sent, for the first time or again."""
        return not (self.is_answered(packet) or (self._first and self.answers))

    def expect(self, packet: Packet) -> None:
        """Be told that a packet is about to leave."""
        if id(packet) not in self._sent:
            self._sent.add(id(packet))
            self._expected.setdefault(packet.hashret(), []).append(packet)

    def take(self, received: Packet) -> None:
        """Look at what has arrived, and keep it if it is an answer."""
        try:
            candidates = self._expected.get(received.hashret(), [])
            asked = next((one for one in candidates if self._fits(one, received)), None)
        except Exception:  # too broken to tell
            return
        if asked is not None:
            self._answered.add(id(asked))
            self.answers.append(load().plist.QueryAnswer(asked, received))

    def _fits(self, asked: Packet, received: Packet) -> bool:
        is_open = self._multi or not self.is_answered(asked)
        return is_open and bool(received.answers(asked))

    def is_answered(self, packet: Packet) -> bool:
        """Tell whether a packet has an answer."""
        return id(packet) in self._answered

    def are_enough(self) -> bool:
        """Whether nothing else is waited for."""
        if self._first and self.answers:
            return True
        if not self.all_sent or (self._multi and self._sent):
            return False
        return self._sent == self._answered


class _Outlets:
    """The sockets of one call, given back at the end of the block.

    Args:
        place: Where.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = contextlib.ExitStack()
        self._sockets: dict[int, PacketSocket] = {}
        self._delivered_here: set[bytes] = set()

    def __enter__(self) -> _Outlets:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, value, traceback)

    def _socket(self, link: Link) -> PacketSocket:
        if link.ifindex not in self._sockets:
            lent = self._stack.enter_context(self._place.sockets.lend(link))
            self._sockets[link.ifindex] = lent
        return self._sockets[link.ifindex]

    def send(self, departure: Departure, frame: bytes) -> None:
        """Send a packet, and note the time in it."""
        departure.packet.sent_time = time.time()
        self._place.sockets.check_open()
        if departure.hop is not None and departure.is_delivered_here:
            self._deliver_here(str(departure.hop.destination), frame)
        else:
            self._socket(departure.link).send(frame)
        if departure.link.is_loopback:
            self._delivered_here.add(frame)

    def _deliver_here(self, target: str, packet: bytes) -> None:
        """Have the kernel route an IPv4 packet; raw(7), IP_HDRINCL."""
        file = self._place.file
        with file.entered():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            try:
                raw.sendto(packet, (target, 0))
            except OSError as error:
                action = f"send {len(packet)} bytes to {target}"
                raise KernelError(error.errno or 0, action, file.name) from error

    def listen(self, leaving: Sequence[tuple[Departure, bytes]]) -> None:
        """Hear what arrives where these packets leave."""
        promiscuous = {
            departure.link.ifindex
            for departure, frame in leaving
            if departure.protocol is None and frame[_SOURCE] != departure.link.lladdr
        }
        for link in {one.link.ifindex: one.link for one, _ in leaving}.values():
            self._socket(link).listen(promiscuous=link.ifindex in promiscuous)

    def await_any(self, timeout: float) -> bool:
        """Wait until something has arrived; tell whether it has."""
        return self._place.sockets.await_any(self._sockets.values(), timeout)

    def receive(self) -> Iterator[Received]:
        """Yield what has arrived."""
        try:
            for one in self._sockets.values():
                for received in one.receive():
                    if not self._is_own(received):
                        yield received
        except KernelError:
            self._place.sockets.check_open()  # interfaces go with their namespace
            raise

    def _is_own(self, received: Received) -> bool:
        """Tell whether it is what was sent, which the loopback interface returns."""
        if not received.link.is_loopback:
            return False
        data = received.data
        return not self._delivered_here.isdisjoint((data, data[_HEADER:]))

    def parse(self, received: Received) -> Packet:
        """Return what has arrived as a packet, from the layer on that was sent."""
        is_ethernet = received.link.hatype in ETHERNET_TYPES
        data, linktype = received.data, ETHERNET if is_ethernet else RAW_IP
        is_stripped = is_ethernet and not self._place.is_link_layer
        if is_stripped and data[_ETHERTYPE] in _IP_TYPES:
            data, linktype, is_stripped = data[_HEADER:], RAW_IP, False
        name, ifname = self._place.file.name, received.link.name
        packet = dissect(
            Frame(received.time, name, ifname, "in", data, len(data), linktype)
        )
        answer = packet.payload if is_stripped else packet
        answer.time = received.time / 1e9  # a float, as the time of what was sent
        return answer
