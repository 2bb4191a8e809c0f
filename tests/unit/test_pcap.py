from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._frame import ETHERNET, Frame
from pytest_netns._pcap import BrokenFile, Stored, read
from pytest_netns._pcapng import write

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = 1_700_000_000_123_456_789
ROUNDED = 1_700_000_000_123_456_000
DATA = b"a packet of nineteen"[:19]
every_order = pytest.mark.parametrize("order", ["<", ">"])


def stored(content: bytes) -> list[Stored]:
    """Return all packets of a file."""
    return list(read(io.BytesIO(content)))


def pcap(order: str, magic: int, fraction: int, linktype: int = 1) -> bytes:
    """Return a file of one packet."""
    head = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 65535, linktype)
    about = TIME // 1_000_000_000, fraction, len(DATA), 60
    return head + struct.pack(f"{order}IIII", *about) + DATA


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a block of a pcapng file."""
    body = body.ljust((len(body) + 3) & ~3, b"\0")
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str) -> bytes:
    """Return the head of a section."""
    fields = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(order, 0x0A0D0D0A, fields + struct.pack(f"{order}HH", 1, 3) + b"foo\0")


def interface(order: str, *options: tuple[int, bytes], snaplen: int = 0) -> bytes:
    """Return the description of an interface."""
    body = struct.pack(f"{order}HxxI", 1, snaplen)
    for code, value in options:
        padded = value.ljust((len(value) + 3) & ~3, b"\0")
        body += struct.pack(f"{order}HH", code, len(value)) + padded
    return block(order, 1, body + bytes(4))


def packet(order: str, ticks: int, number: int = 0, kind: int = 6) -> bytes:
    """Return a packet; type 2 is the obsolete kind."""
    about = ticks >> 32, ticks & 0xFFFFFFFF, len(DATA), 60
    first = struct.pack(f"{order}{'I' if kind == 6 else 'Hxx'}", number)
    return block(order, kind, first + struct.pack(f"{order}IIII", *about) + DATA)


@every_order
@pytest.mark.parametrize(
    ("magic", "fraction", "time"),
    [(0xA1B2C3D4, 123456, ROUNDED), (0xA1B23C4D, 123456789, TIME)],
)
def test_a_pcap_file(order: str, magic: int, fraction: int, time: int) -> None:
    """Either byte order, and either unit of time."""
    assert stored(pcap(order, magic, fraction)) == [Stored(time, DATA, 60, 1)]


def test_the_link_type_is_less_than_its_field() -> None:
    """The upper half tells of checksums behind the packets."""
    (found,) = stored(pcap("<", 0xA1B2C3D4, 0, linktype=0x5400_0065))

    assert found.linktype == 101


@every_order
@pytest.mark.parametrize("kind", [2, 6])
@pytest.mark.parametrize(
    ("options", "ticks", "time"),
    [
        ((), TIME // 1000, ROUNDED),
        (((9, b"\x09"),), TIME, TIME),
        (((9, b"\x03"),), 1_700_000_000_123, 1_700_000_000_123_000_000),
        (((9, b"\x8a"),), 1_700_000_000 * 1024 + 512, 1_700_000_000_500_000_000),
        (((2, b"eth0"), (9, b"\x09")), TIME, TIME),
    ],
    ids=["by default", "nanoseconds", "milliseconds", "power of two", "other options"],
)
def test_the_clock_of_an_interface(
    order: str, kind: int, options: tuple[tuple[int, bytes], ...], ticks: int, time: int
) -> None:
    """Its unit is an option of the interface's."""
    content = section(order) + interface(order, *options)

    assert stored(content + packet(order, ticks, kind=kind)) == [
        Stored(time, DATA, 60, 1)
    ]


@every_order
def test_a_clock_that_is_behind(order: str) -> None:
    """An interface may say what to add to its times."""
    options = (9, b"\x09"), (14, struct.pack(f"{order}q", 3))
    content = section(order) + interface(order, *options) + packet(order, TIME)

    assert stored(content)[0].time == TIME + 3_000_000_000


@every_order
@pytest.mark.parametrize(("snaplen", "kept"), [(0, 19), (10, 10), (100, 19)])
def test_a_simple_packet(order: str, snaplen: int, kept: int) -> None:
    """It has no time, and no captured length but that of its interface."""
    simple = block(order, 3, struct.pack(f"{order}I", 19) + DATA)
    content = section(order) + interface(order, (9, b"\x09"), snaplen=snaplen)

    assert stored(content + packet(order, TIME) + simple)[1] == Stored(
        TIME, DATA[:kept], 19, 1
    )


def test_each_section_has_its_own_interfaces() -> None:
    """Files may be joined end to end, whatever their byte order."""
    one = section("<") + interface("<", (9, b"\x09")) + packet("<", TIME)
    other = section(">") + interface(">") + packet(">", TIME // 1000)

    assert [found.time for found in stored(one + other)] == [TIME, ROUNDED]


@pytest.mark.parametrize("kind", [4, 5, 10, 0xBAD, 0x80000001])
def test_other_blocks_are_passed_over(kind: int) -> None:
    """Names, statistics, secrets, and what nobody knows."""
    content = section("<") + interface("<", (9, b"\x09")) + block("<", kind, b"what")

    assert len(stored(content + packet("<", TIME))) == 1


def test_what_a_capture_writes() -> None:
    """The files of this package are read as they were written."""
    frames = [
        Frame(TIME + number, "left", f"eth{number % 2}", "in", DATA, 60)
        for number in range(5)
    ]
    file = io.BytesIO()
    write(file, frames)

    assert stored(file.getvalue()) == [
        Stored(one.time, DATA, 60, ETHERNET) for one in frames
    ]


FILES = {
    "pcap": pcap("<", 0xA1B2C3D4, 0),
    "pcapng": section("<") + interface("<", (9, b"\x09")) + packet("<", TIME),
}
every_file = pytest.mark.parametrize("content", FILES.values(), ids=list(FILES))


@every_file
def test_a_file_that_is_cut_off(content: bytes) -> None:
    """Wherever it ends too early, that is said, unless a packet ends there."""
    head = len(section("<"))
    described = head + len(interface("<", (9, b"\x09")))
    whole = {24} if content == FILES["pcap"] else {head, described}
    for length in range(len(content)):
        if length in whole:
            assert stored(content[:length]) == []
            continue
        with pytest.raises(BrokenFile):
            stored(content[:length])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:4] + struct.pack("<I", 8) + content[8:],
        lambda content: content[:4] + struct.pack("<I", 1 << 30) + content[8:],
        lambda content: content[:8] + b"what" + content[12:],
        lambda content: content[:-4] + struct.pack("<I", 4),
        lambda content: content + packet("<", TIME, number=7),
        lambda content: content + block("<", 6, b"short"),
        lambda content: content + block("<", 1, b"hm"),
        lambda content: content + block("<", 6, bytes(12) + b"\xff" * 8),
        lambda _: section("<") + block("<", 3, bytes(8)),
        lambda _: pcap("<", 0xA1B2C3D4, 0)[:32] + b"\xff" * 8,
    ],
)
def test_a_file_that_makes_no_sense(damage: Callable[[bytes], bytes]) -> None:
    """Lengths that cannot be, and interfaces that are not there, are said to be so."""
    with pytest.raises(BrokenFile, match=r"^it "):
        stored(damage(FILES["pcapng"]))


@every_file
@given(data=st.data())
def test_no_file_is_too_broken_to_say_so(content: bytes, data: st.DataObject) -> None:
    """Whatever a byte is changed to, there are packets or that one error."""
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] = data.draw(st.integers(0, 255))
    try:
        found = stored(bytes(changed))
    except BrokenFile:
        return
    assert len(found) <= 1
