"""Which packets are looked for: what an assertion takes, made into a matcher."""

from __future__ import annotations

import ast
import inspect
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ._patterns import Pattern, is_of, layers_of
from ._scapy import load, summary_of
from .errors import InvalidFilter

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ._frame import Frame
    from ._libpcap import OfflineFilter
    from ._scapy import Packet

    #: What an assertion about packets takes.
    Wanted: TypeAlias = Callable[[Packet], object] | type[Packet] | Packet | str

#: What scapy says if there is no such layer: the class's name, or a name in quotes.
_NO_LAYER = re.compile(r"Layer \[('?)(?P<name>.*)\1\] not found")
#: How many characters of a predicate's source are shown.
_SHOWN = 100


class Matcher(ABC):
    """Says which packets are meant."""

    _pattern: Pattern | None = None

    @abstractmethod
    def matches(self, frame: Frame, packet: Callable[[], Packet]) -> bool:
        """Say whether this packet is meant; `packet` parses it, if asked to."""

    @abstractmethod
    def describe(self) -> str:
        """Return what is looked for, in words."""

    def misses(self, packet: Packet) -> list[str] | None:
        """Say what differs; None where a packet is meant or not, and never nearly."""
        return None if self._pattern is None else self._pattern.misses(packet)

    def distance(self, packet: Packet) -> int | None:
        """Return how far a packet is from what is meant; None as with `misses`."""
        return None if self._pattern is None else self._pattern.distance(packet)


def matcher(what: Wanted) -> Matcher:
    """Make a matcher of what an assertion was given.

    ``lambda p: p[TCP].dport == 80``
        A predicate on the parsed packet. A layer that the packet does not have
        means "no"; every other error is the predicate's own, and is passed on.
    ``ARP``
        A class of scapy's: the packet has such a layer, be it inside a field
        (`DNSQR`). What an ICMP error quotes is no such layer: it has classes of its
        own (`IPerror`).
    ``IP(dst="10.0.0.0/24") / TCP(dport=[80, 443])``
        A packet with the fields that matter. Its layers are found in this order,
        with others around them; fields that are not given may be anything. Sets
        are written as scapy writes them: networks, lists, (first, last). A list of
        options or records must be found in order, among others. ``Raw(b"GET")`` is
        all of the payload, not a part of it. A field set to None is not given.
    ``"tcp port 80"``
        A filter in tcpdump's language (see pcap-filter(7)), on the bytes alone.

    Raises:
        InvalidFilter: libpcap does not understand the filter.
        MissingTool: There is a filter, but no libpcap.
        TypeError: `what` is none of these.
    """
    if isinstance(what, str):
        return _Filter(what)
    kind = load().packet.Packet
    if isinstance(what, kind) and what:
        return _LikeThis(what)
    if isinstance(what, type) and issubclass(what, kind):
        return _WithLayer(what)
    if callable(what) and not isinstance(what, (type, kind)):
        return _Predicate(what)
    raise TypeError(
        "packets are described by a predicate (a callable that takes the parsed "
        "packet), a class of scapy's such as ARP, a packet of scapy's with the fields "
        f"that matter, or a filter in tcpdump's language (str), not by {what!r}"
    )


class _Filter(Matcher):
    """Packets that a filter of libpcap's lets through."""

    def __init__(self, text: str) -> None:
        from ._frame import ETHERNET

        self._text = text
        self._compiled: dict[int, OfflineFilter | None] = {}
        self._compiled[ETHERNET] = self._compile(ETHERNET)

    def matches(
        self,
        frame: Frame,
        packet: Callable[[], Packet],  # noqa: ARG002  # not needed: bytes are enough
    ) -> bool:
        if frame.linktype not in self._compiled:
            try:
                self._compiled[frame.linktype] = self._compile(frame.linktype)
            except InvalidFilter:  # such as "ether host" where there is no Ethernet
                self._compiled[frame.linktype] = None
        compiled = self._compiled[frame.linktype]
        return compiled is not None and compiled.matches(frame.data, frame.length)

    def describe(self) -> str:
        return repr(self._text)

    def _compile(self, linktype: int) -> OfflineFilter:
        from ._libpcap import OfflineFilter

        return OfflineFilter(self._text, linktype)


class _WithLayer(Matcher):
    """Packets that have a layer of some class."""

    def __init__(self, kind: type[Packet]) -> None:
        self._kind = kind

    def matches(
        self,
        frame: Frame,  # noqa: ARG002  # what matters is what scapy makes of it
        packet: Callable[[], Packet],
    ) -> bool:
        return any(is_of(type(layer), self._kind) for layer in layers_of(packet()))

    def describe(self) -> str:
        return self._kind.__name__


class _LikeThis(Matcher):
    """Packets that have the given fields."""

    def __init__(self, packet: Packet) -> None:
        self._pattern: Pattern = Pattern(packet)

    def matches(
        self,
        frame: Frame,  # noqa: ARG002  # as above
        packet: Callable[[], Packet],
    ) -> bool:
        return self._pattern.fits(packet())

    def describe(self) -> str:
        return str(self._pattern)


class _Predicate(Matcher):
    """Packets for which somebody's function returns something true."""

    def __init__(self, function: Callable[[Packet], object]) -> None:
        for is_wrong in (
            inspect.iscoroutinefunction,
            inspect.isasyncgenfunction,
            inspect.isgeneratorfunction,
        ):
            if is_wrong(function):
                raise TypeError(
                    f"{function!r} is no predicate: what it returns when it is called "
                    "is always true"
                )
        self._function = function

    def matches(self, frame: Frame, packet: Callable[[], Packet]) -> bool:
        parsed = packet()
        try:
            return bool(self._function(parsed))
        except Exception as error:
            if _says_that_there_is_no_layer(error):
                return False
            _annotate(error, self.describe(), frame, parsed)
            raise

    def describe(self) -> str:
        return _source_of(self._function)


def _says_that_there_is_no_layer(error: Exception) -> bool:
    """Tell ``p[TCP]`` without TCP from all other errors, and from a misspelt name."""
    found = _NO_LAYER.fullmatch(str(error))
    if found is None or not isinstance(error, IndexError):
        return False
    return not found[1] or found["name"].partition(":")[0] in _names_of_layers()


def _names_of_layers() -> set[str]:
    """Return what scapy takes for the name of a layer: class or title."""
    kinds: Any = load().config.conf.layers
    return {name for kind in kinds for name in (kind.__name__, kind._name)}  # noqa: SLF001


def _annotate(error: Exception, what: str, frame: Frame, packet: Packet) -> None:
    """Say which packet it was, where exceptions take notes (Python 3.11)."""
    add_note = getattr(error, "add_note", None)
    if add_note is not None:
        where = f"{frame.place} ({frame.direction})"
        add_note(f"{what} was asked about a packet at {where}: {summary_of(packet)}")


def _source_of(function: Callable[[Packet], object]) -> str:
    """Return a lambda's text, or the name of any other function."""
    name = getattr(function, "__qualname__", None)
    if name is None:
        return _cut(repr(function))
    if not name.endswith("<lambda>"):
        return f"{name.rpartition('<locals>.')[2]}()"
    try:
        lines = inspect.getsource(function)
    except (OSError, TypeError):  # typed in, or made by exec()
        return "a lambda"
    return _cut(_lambda_in(" ".join(lines.split())))


def _lambda_in(text: str) -> str:
    """Cut a lambda out of the statement that it stands in."""
    start = text.find("lambda")
    for end in range(len(text), start, -1):
        if _is_lambda(text[start:end]):
            break
    else:
        return text
    return text[start:end].rstrip() if text.count("lambda") == 1 else text


def _is_lambda(text: str) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.Lambda)
    except SyntaxError:
        return False


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
