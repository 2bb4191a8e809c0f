"""A socket that listens in a namespace: a queue at first, a ring if there is much."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from ._bpf import MARKED_LENGTH, REJECT_ALL, by_link_layer, program
from ._links import Link, links_of
from ._obstacles import refusal
from ._queue import Queue
from ._ring import Ring, Statistics
from ._seam import Seam
from ._tpacket import ETHERNET_TYPES, count_of
from .errors import InvalidFilter, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._bpf import Instruction
    from ._spot import Spot
    from ._tpacket import Block

#: After how many packets it pays to make a ring; and if so many are there at once.
_MANY = 2048
_MANY_AT_ONCE = 512
#: From how many bytes on, on average, packets are too large for it.
_LARGE = 8192
#: For how many milliseconds packets may gather; and how many blocks of a ring are
#: filled in one, at three million small packets a second.
_REST_OF_QUEUE = 4
_REST_OF_RING = 20
_BLOCKS_A_MILLISECOND = 3


class Settings(NamedTuple):
    """How to capture.

    Attributes:
        compile: Gives the filter's program for Ethernet, or else for raw IP.
        noise: Whether IPv6 neighbour discovery and MLD are wanted.
        snaplen: How many bytes of a packet to keep.
        blocks: How many blocks of 128 KiB each ring has.
        marker: What proves that a tap sees, or None.
    """

    compile: Callable[[bool], Sequence[Instruction] | None]
    noise: bool
    snaplen: int
    blocks: int
    marker: bytes | None


class Tap:
    """What listens in a namespace; not for several threads at once.

    A queue is there at once, and a ring for as long as packets are many. Nobody
    waits for the ring: the queue goes on until it is there, and what both have
    seen counts once.

    Args:
        spot: Where.
        links: The interfaces by index, as far as they are known.
        link: The interface; None is all.

    Attributes:
        interruptions: What kept it from seeing, in words.
        counted: What the kernel had counted when somebody last asked.
        is_stopped: Whether it lets nothing more in.
        is_gone: Whether its interface was removed: it sees nothing any more.
    """

    def __init__(
        self, spot: Spot, links: dict[int, Link], link: Link | None = None
    ) -> None:
        self.spot = spot
        self.ifname = link and link.name
        self.links = links
        self.interruptions: list[str] = []
        self.counted = Statistics(0, 0)
        self.is_ethernet = link is None or link.hatype in ETHERNET_TYPES
        self._index = link.ifindex if link else 0
        # what passes through a bridge is seen on its device only if that asks for it
        self._is_bridge = link is not None and link.kind == "bridge"
        self._program: Sequence[Instruction] = ()
        self._settings: Settings
        #: The queue, the ring, or one after the other: the last one is in use.
        self._sources: list[Queue | Ring] = []
        self.is_stopped = self.is_gone = self._was_down = self._renounced = False
        self._packets = self._bytes = 0
        self._seam: Seam | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.spot.place}:{self.ifname or '*'}"

    def open(self, settings: Settings) -> None:
        """Begin to see.

        Raises:
            InvalidFilter: libpcap does not understand the filter.
            KernelError: The kernel refuses.
        """
        self._settings = settings
        with self.spot.file.entered():
            self._program = self._make_program()
            try:
                self._sources.append(self._make_queue())
            except PermissionError:  # who is root of a user namespace gets no long one
                pass
            except OSError as error:
                raise self._error(error) from error
        if not self._sources:
            ring = self.make_ring()
            self._sources.append(ring)
            ring.begin()

    def _make_program(self) -> list[Instruction]:
        settings = self._settings
        user = settings.compile(self.is_ethernet)
        own = self._program_for(user, ethernet=self.is_ethernet)
        if self.ifname is not None or (user is None and settings.noise):
            return own
        try:
            user = settings.compile(False)  # noqa: FBT003  # as for raw IP
        except InvalidFilter:  # such as "ether host": only Ethernet has those
            user = REJECT_ALL
        return by_link_layer(
            own, self._program_for(user, ethernet=False), ETHERNET_TYPES
        )

    def _program_for(
        self, user: Sequence[Instruction] | None, *, ethernet: bool
    ) -> list[Instruction]:
        loopback = [one.ifindex for one in self.links.values() if one.is_loopback]
        return program(
            user,
            snaplen=self._settings.snaplen,
            loopback=loopback[0] if loopback and ethernet else None,
            without_noise=not self._settings.noise,
            marker=self._settings.marker,
            ethernet=ethernet,
        )

    def _make_queue(self) -> Queue:
        return Queue(
            self._index,
            self._program,
            is_promiscuous=self._is_bridge,
            snaplen=max(self._settings.snaplen, MARKED_LENGTH),
        )

    def _error(self, error: OSError) -> KernelError:
        what = repr(self.ifname) if self.ifname else "all interfaces"
        return refusal(error, f"capture on {what}", self.spot.place)

    # from the queue to the ring

    @property
    def has_ring(self) -> bool:
        """Whether it has a ring by now."""
        return isinstance(self._sources[-1], Ring)

    @property
    def needs_ring(self) -> bool:
        """Whether packets are so many that a ring pays.

        Large ones are not: a block has room for one or two of them, and the
        kernel is done with all blocks before anybody can take them.
        """
        queue = self._sources[-1]
        if isinstance(queue, Ring) or self.is_stopped or self._renounced:
            return False
        waiting, taken_up = queue.waiting
        packets, size = self._packets + waiting, self._bytes + taken_up
        is_much = waiting > _MANY_AT_ONCE or packets > _MANY
        return is_much and size < _LARGE * packets

    def renounce_ring(self) -> None:
        """Stay with the queue."""
        self._renounced = True

    def make_ring(self) -> Ring:
        """Make a ring, which takes the kernel some milliseconds.

        Raises:
            KernelError: The kernel refuses.
        """
        try:
            with self.spot.file.entered():
                return self._make_ring()
        except OSError as error:
            raise self._error(error) from error

    def _make_ring(self) -> Ring:
        return Ring(
            self._index,
            self._program,
            blocks=self._settings.blocks,
            is_promiscuous=self._is_bridge,
        )

    def change_to(self, ring: Ring) -> Iterator[bytes]:
        """Use a ring from now on; yield what is still in the queue, and in the ring.

        Raises:
            OSError: The interface is not there any more; nothing has changed.
        """
        queue = self._sources[-1]
        since = ring.begin()
        queue.reject_all()
        self._sources.append(ring)
        last: list[bytes] = []
        later: list[bytes] = []
        for block in map(bytes, queue.take()):
            last.append(block)
            yield block
            later += map(bytes, ring.take())  # it must not run full meanwhile
        self._seam = Seam(last, since)
        yield from map(self._seam.cut, later)

    # what is there

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to take."""
        return self._sources[-1].fileno()

    @property
    def rest(self) -> int:
        """For how many milliseconds it can be left alone, at any rate of packets."""
        if not self.has_ring:
            return _REST_OF_QUEUE
        return min(self._settings.blocks // _BLOCKS_A_MILLISECOND, _REST_OF_RING)

    def take(self) -> Iterator[Block]:
        """Yield the blocks that are there; each lasts until the next is asked for."""
        for block in self._sources[-1].take():
            self._packets += count_of(block)
            self._bytes += len(block)
            if self._seam is None or self._seam.is_past:
                yield block
            else:
                yield self._seam.cut(bytes(block))

    @property
    def held(self) -> tuple[int, int] | None:
        """What tells that the kernel still holds packets back, and which; or None."""
        held = self._sources[-1].held
        return None if held is None else (len(self._sources), held)

    def count(self) -> None:
        """Ask the kernel what it has counted."""
        counted = [source.statistics for source in self._sources]
        twice = self._seam.count if self._seam else 0
        self.counted = Statistics(
            sum(one.packets for one in counted) - twice,
            sum(one.dropped for one in counted),
        )

    def look_around(self) -> None:
        """Learn of interfaces that were added since, and which are up.

        Each keeps the name that it had at first: that of its declaration.
        """
        known, now = self.links, links_of(self.spot.file)
        gone = {index: link._replace(flags=0) for index, link in known.items()}
        named = {
            index: link._replace(name=known[index].name) if index in known else link
            for index, link in now.items()
        }
        self.links = {**gone, **named}

    def note_error(self) -> None:
        """Note what went wrong, if something did; the same but once.

        What is removed goes down first, and only that is an error
        (net/packet/af_packet.c, packet_notifier).
        """
        number = self._sources[-1].take_error()
        if number == errno.ENETDOWN:
            self._was_down = True
        elif number:
            self._note(f": {os.strerror(number)}")
        if self._was_down and not self.is_gone:
            self.is_gone = not _has_interface(self.fileno())
            self._note(" was removed" if self.is_gone else " was down")

    def _note(self, what: str) -> None:
        if (why := f"{self.name}{what}") not in self.interruptions:
            self.interruptions.append(why)

    # the end

    def stop(self) -> None:
        """Let nothing more in."""
        self.is_stopped = True
        self._sources[-1].reject_all()

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that are not closed yet."""
        return [one.fileno() for one in self._sources if one.fileno() >= 0]

    def close(self) -> None:
        """Give back what the kernel has for it; takes the kernel milliseconds."""
        for source in self._sources:
            source.close()


def _has_interface(descriptor: int) -> bool:
    """Tell whether the interface of a packet socket is still there."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        ifname: str = copy.getsockname()[0]  # "" if it has none any more
        return bool(ifname)
