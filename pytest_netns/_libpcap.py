"""libpcap's compiler of filters in tcpdump's language (pcap-filter(7)).

Names of ports and protocols are looked up in the machine's files (services(5),
protocols(5)), names of hosts and networks not at all: that would send something
from the machine's own namespace.

The kernel keeps the outer VLAN tag of a packet beside its bytes, where a packet
socket receives it; where one has sent it, the tag is still among them:

- A filter with ``vlan`` looks in both places. What stands behind it is about what the
  tag encloses, so ``vlan 10 or vlan 11`` is not what it seems.
- One without sees what comes behind the tag where the kernel has taken it out, and
  the tag itself where not: ``icmp`` finds tagged packets that come in, as it does
  in a live tcpdump. Write ``icmp or (vlan and icmp)``.
- An `OfflineFilter` has the tag among the bytes, as tcpdump has it in a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from ._bpf import Instruction
from ._filter_words import name_to_resolve
from ._frame import ETHERNET, RAW_IP
from ._nsfile import NamespaceFile
from .errors import InvalidFilter, MissingFeature, MissingTool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Debian's and Ubuntu's own, and everybody else's.
SONAMES = ("libpcap.so.0.8", "libpcap.so.1")

#: What libpcap calls the kinds of links: DLT_EN10MB and DLT_RAW.
_DATA_LINKS = {ETHERNET: 1, RAW_IP: 12}
_NETMASK_UNKNOWN = 0xFFFFFFFF
_ERROR_SIZE = 256
_OPTIMISED = 1
#: More than any packet has, as in tcpdump.
_WHOLE = 262144
#: libpcap looks beside the bytes only for somebody who captures.
_BESIDE_THE_BYTES = re.compile(r"\b(?:vlan|inbound|outbound|ifindex)\b")
#: Where loads find what is beside the bytes (SKF_AD_OFF).
_BESIDE = 0xFFFFF000
_LOADS_AT = frozenset((0x20, 0x28, 0x30))
_JUMP = 0x05
_INSTRUCTION = struct.Struct("=HBBI")
#: No keyword has a dot.
_NO_KEYWORD = "no.keyword"
_WORD = re.compile(r"[-_.A-Za-z0-9]*")
# include/uapi/linux/sockios.h and if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

#: The parser of libpcap before 1.8 (2016) has global variables.
_ONE_AT_A_TIME = threading.Lock()


class _Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def is_available(sonames: tuple[str, ...] = SONAMES) -> bool:
    """Tell whether the library is installed."""
    try:
        _library(sonames)
    except MissingTool:
        return False
    return True


def compile_filter(text: str, *, linktype: int, snaplen: int) -> list[Instruction]:
    """Compile a filter for a packet socket; an empty one accepts everything.

    One that needs what the kernel keeps beside the bytes, such as VLAN tags, is
    compiled in a namespace of its own: libpcap must capture for that, and the
    interface must be up. That takes tens of milliseconds, once for each filter.

    Equivalent to ``tcpdump -ddd TEXT``.

    Args:
        text: The filter.
        linktype: How packets begin: `ETHERNET` or `RAW_IP`.
        snaplen: How many bytes to keep of what is accepted.

    Raises:
        InvalidFilter: libpcap does not understand it, it has names of hosts or
            networks, or the kernel would not run it.
        MissingTool: There is no libpcap.
        KernelError: There can be no namespace to compile it in.
    """
    _check(text)
    if linktype == ETHERNET and _BESIDE_THE_BYTES.search(text):
        instructions = _compile_capturing(text, snaplen)
    else:
        instructions = _compile_alone(text, linktype, snaplen)
    if any(
        one.code == _JUMP and one.k >= len(instructions) - index
        for index, one in enumerate(instructions)
    ):
        reason = "its program has a loop (protochain), which the kernel would not run"
        raise InvalidFilter(text, reason)
    return list(instructions)


class OfflineFilter:
    """A filter for packets that were captured before; for any thread.

    Args:
        text: The filter.
        linktype: How packets begin: `ETHERNET` or `RAW_IP`.

    Raises:
        InvalidFilter: libpcap does not understand it, it has names of hosts or
            networks, or asks for what is not among a packet's bytes (``inbound``).
        MissingTool: There is no libpcap.
    """

    __slots__ = ("_code", "_run", "text")

    def __init__(self, text: str, linktype: int = ETHERNET) -> None:
        _check(text)
        program = _compile_alone(text, linktype, _WHOLE)
        if any(one.code in _LOADS_AT and one.k >= _BESIDE for one in program):
            reason = "direction and interface are not among the bytes of a packet"
            raise InvalidFilter(text, reason)
        self.text = text
        # Python's own copy, which lives as long as the filter
        code = b"".join(_INSTRUCTION.pack(*one) for one in program)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._run = _library().bpf_filter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text!r}>"

    def matches(self, data: bytes, length: int) -> bool:
        """Tell whether a packet passes.

        Args:
            data: Its bytes, with its VLAN tag among them.
            length: Its length on the wire, in bytes; more than `data` if cut off.
        """
        return bool(self._run(self._code, data, length, len(data)))


def _check(text: str) -> None:
    """Refuse what libpcap must not see.

    Raises:
        InvalidFilter: It is no text of ASCII, or has names to be looked up.
    """
    if not text.isascii() or "\0" in text:
        raise InvalidFilter(text, "a filter is ASCII, and has no NUL")
    if name := name_to_resolve(text, _is_name):
        raise InvalidFilter(
            text,
            f"{name!r} is neither an address nor a word of the language; "
            "names of hosts and networks are not looked up: write addresses",
        )


@functools.lru_cache(maxsize=1024)
def _is_name(token: str) -> bool:
    """Tell whether a token begins with a word that libpcap does not know.

    It says of such a word what it says of any other. What it says of keywords,
    numbers and addresses is different.
    """
    match = _WORD.match(token)
    word = match[0] if match else ""
    said = _objection(_NO_KEYWORD).replace(_NO_KEYWORD, word)
    return bool(word) and _objection(token) == said


def _objection(token: str) -> str:
    """Return what libpcap says of a token where it would not look up a name."""
    try:
        _compile_alone(f"iso proto {token}", ETHERNET, _WHOLE)
    except InvalidFilter as error:
        return error.reason
    return ""


def _compile_alone(text: str, linktype: int, snaplen: int) -> Sequence[Instruction]:
    """Compile a filter that is about a packet's bytes alone."""
    library = _library()
    handle = library.pcap_open_dead(_DATA_LINKS[linktype], snaplen)
    if not handle:
        raise MemoryError
    try:
        return _compile(text, handle)
    finally:
        library.pcap_close(handle)


# the program is the same in whatever namespace, and costs a capture
@functools.lru_cache(maxsize=256)
def _compile_capturing(text: str, snaplen: int) -> Sequence[Instruction]:
    """Compile a filter with a capture on a loopback interface, which is Ethernet."""
    with _capture_elsewhere(text, snaplen) as handle:
        return _compile(text, handle)


@contextlib.contextmanager
def _capture_elsewhere(text: str, snaplen: int) -> Iterator[Any]:
    library = _library()
    reason = ctypes.create_string_buffer(_ERROR_SIZE)
    with (
        contextlib.closing(NamespaceFile.create("for a filter")) as file,
        file.entered(),
    ):
        _set_loopback_up()
        handle = library.pcap_create(b"lo", reason)
        if not handle:
            raise _unable(text, reason.value)
        try:
            library.pcap_set_snaplen(handle, snaplen)
            if library.pcap_activate(handle) < 0:
                raise _unable(text, library.pcap_geterr(handle))
            yield handle
        finally:
            library.pcap_close(handle)


def _set_loopback_up() -> None:
    """Equivalent to ``ip link set lo up``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # struct ifreq: a new namespace has no other flags to keep
        request = struct.pack("16sh22x", b"lo", _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def _unable(text: str, reason: bytes) -> MissingFeature:
    return MissingFeature(
        f"libpcap cannot capture, which the filter {text!r} needs: {_text(reason)}"
    )


def _compile(text: str, handle: Any) -> tuple[Instruction, ...]:
    library = _library()
    program = _Program()
    with _ONE_AT_A_TIME:
        if library.pcap_compile(
            handle, program, text.encode(), _OPTIMISED, _NETMASK_UNKNOWN
        ):
            raise InvalidFilter(text, _text(library.pcap_geterr(handle)))
        try:
            size = program.length * _INSTRUCTION.size
            code = ctypes.string_at(program.instructions, size)
        finally:
            library.pcap_freecode(program)
    return tuple(map(Instruction._make, _INSTRUCTION.iter_unpack(code)))


def _text(message: bytes) -> str:
    return message.decode(errors="backslashreplace")


@functools.cache
def _library(sonames: tuple[str, ...] = SONAMES) -> Any:
    for soname in sonames:
        with contextlib.suppress(OSError):
            return _declared(ctypes.CDLL(soname))
    raise MissingTool(
        "libpcap is not installed, which compiles filters in tcpdump's language; "
        "Debian, Ubuntu: apt install libpcap0.8 (libpcap0.8t64 in newer releases)"
    )


def _declared(library: Any) -> Any:
    """Declare the functions that are used."""
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    program = ctypes.POINTER(_Program)
    for name, result, arguments in (
        ("pcap_open_dead", pointer, (number, number)),
        ("pcap_create", pointer, (text, text)),
        ("pcap_set_snaplen", number, (pointer, number)),
        ("pcap_activate", number, (pointer,)),
        (
            "pcap_compile",
            number,
            (pointer, program, text, number, ctypes.c_uint32),
        ),
        ("pcap_geterr", text, (pointer,)),
        ("pcap_freecode", None, (program,)),
        ("pcap_close", None, (pointer,)),
        # not pcap_offline_filter(): the size of its struct timeval is that of the
        # distribution's time_t, which ctypes cannot know
        ("bpf_filter", ctypes.c_uint, (pointer, text, ctypes.c_uint, ctypes.c_uint)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
