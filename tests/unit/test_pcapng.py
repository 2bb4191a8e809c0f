"""Files of captured packets, read back by a parser of their own and by scapy."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import scapy.layers.inet
import scapy.layers.inet6
import scapy.layers.l2
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, rdpcap

from pytest_netns._frame import ETHERNET, RAW_IP, Frame
from pytest_netns._pcapng import Place, Writer, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
NOON = 1_700_000_000_123_456_789
LEFT = Place("left", "eth0")


class Block(NamedTuple):
    """A block: its type, its fields without options, its options by their type."""

    kind: int
    fields: bytes
    options: dict[int, list[bytes]]

    def texts(self, kind: int) -> list[str]:
        """Return the options of a type, as text."""
        return [value.decode() for value in self.options.get(kind, [])]

    def counter(self, kind: int) -> int | None:
        """Return an option that is a 64-bit number."""
        values = [struct.unpack("<Q", value)[0] for value in self.options.get(kind, [])]
        assert len(values) <= 1
        return values[0] if values else None

    def time(self, kind: int) -> int | None:
        """Return an option that is a time, upper half first."""
        halves = [struct.unpack("<II", value) for value in self.options.get(kind, [])]
        assert len(halves) <= 1
        return halves[0][0] << 32 | halves[0][1] if halves else None


class Packet(NamedTuple):
    """What a packet's block says."""

    place: int
    time: int
    data: bytes
    length: int
    flags: int
    comments: list[str]


def blocks(data: bytes) -> Iterator[Block]:
    """Take a file apart, and check what holds for every block."""
    offset = 0
    while offset < len(data):
        kind, total = struct.unpack_from("<II", data, offset)
        assert total % 4 == 0
        assert data[offset + total - 4 : offset + total] == struct.pack("<I", total)
        yield _block(kind, data[offset + 8 : offset + total - 4])
        offset += total
    assert offset == len(data)


def _block(kind: int, body: bytes) -> Block:
    length = {SECTION: 16, INTERFACE: 8, STATISTICS: 12, PACKET: 20}[kind]
    if kind == PACKET:
        captured = struct.unpack_from("<I", body, 12)[0]
        padding = -captured % 4
        length += captured + padding
        assert body[length - padding : length] == bytes(padding)
    return Block(kind, body[:length], _options(body[length:]))


def _options(data: bytes) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    offset = 0
    while True:
        kind, length = struct.unpack_from("<HH", data, offset)
        value = data[offset + 4 : offset + 4 + length]
        offset += 4 + length
        padding = data[offset : offset + -length % 4]
        assert padding == bytes(-length % 4)
        offset += len(padding)
        if kind == 0:
            assert length == 0
            assert offset == len(data)
            return found
        found.setdefault(kind, []).append(value)


def packet(block: Block) -> Packet:
    """Read a packet's block."""
    place, upper, lower, captured, length = struct.unpack_from("<5I", block.fields)
    [flags] = block.options[2]
    return Packet(
        place,
        upper << 32 | lower,
        block.fields[20 : 20 + captured],
        length,
        struct.unpack("<I", flags)[0],
        block.texts(1),
    )


def written(
    frames: Iterable[Frame], places: Sequence[Place] = (), **more: Any
) -> bytes:
    """Return the whole file."""
    file = BytesIO()
    write(file, frames, places, **more)
    return file.getvalue()


def of_kind(kind: int, data: bytes) -> list[Block]:
    """Return the blocks of one type."""
    return [block for block in blocks(data) if block.kind == kind]


def frame(data: bytes = b"abcd", **more: Any) -> Frame:
    """Return a frame that the left namespace sent, or another."""
    usual: dict[str, Any] = {
        "time": NOON,
        "namespace": "left",
        "interface": "eth0",
        "direction": "out",
        "length": len(data),
    }
    return Frame(data=data, **(usual | more))


# --- the section ---


def test_a_file_without_packets_tells_of_its_places() -> None:
    """It has a section header, a description and statistics, and no more."""
    data = written([], [LEFT])

    assert [block.kind for block in blocks(data)] == [SECTION, INTERFACE, STATISTICS]


def test_the_section_says_who_wrote_it_and_what_about() -> None:
    """It is of version 1.0, little endian, and of unknown length."""
    section, *_ = blocks(written([], comment="first\nsecond", application="me 1.2"))

    assert section.fields == struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    assert section.texts(1) == ["first\nsecond"]
    assert section.texts(3) == ["Linux"]
    assert section.texts(4) == ["me 1.2"]


@pytest.mark.parametrize(
    ("counts", "dropped", "text"),
    [
        ([], None, []),
        ([None], None, []),
        ([0, None], None, []),
        ([0, 0], None, ["no packet was dropped"]),
        ([None], 0, ["no packet was dropped"]),
        ([0, 3], None, ["packets dropped by the kernel: 3 (3 at p1:eth0)"]),
        (
            [1, 3],
            None,
            ["packets dropped by the kernel: 4 (1 at p0:eth0, 3 at p1:eth0)"],
        ),
        ([3, None], None, ["packets dropped by the kernel: 3 (3 at p0:eth0)"]),
        ([None, None], 5, ["packets dropped by the kernel: 5"]),
        ([3, None], 5, ["packets dropped by the kernel: 5 (3 at p0:eth0)"]),
    ],
)
def test_the_section_mentions_what_the_kernel_dropped(
    counts: list[int | None], dropped: int | None, text: list[str]
) -> None:
    """That nothing was dropped is said only if it is known."""
    places = [
        Place(f"p{number}", "eth0", dropped=count)
        for number, count in enumerate(counts)
    ]

    section, *_ = blocks(written([], places, comment="mine", dropped=dropped))
    assert section.texts(1) == ["mine", *text]


@pytest.mark.parametrize("letter", ["x", "ü", "語", "🐍"])
def test_a_comment_that_is_too_long_ends_with_a_whole_letter(letter: str) -> None:
    """An option has 65,535 bytes at most."""
    section, *_ = blocks(written([], comment="." + letter * 70_000))

    [text] = section.texts(1)
    assert text == "." + letter * ((65_535 - 1) // len(letter.encode()))


def test_names_that_are_no_text_are_written_as_text() -> None:
    """What Python keeps of undecodable bytes is not UTF-8; readers insist on it."""
    _, place, _ = blocks(written([], [Place("a\udcff", "eth0")]))

    assert place.texts(2) == ["a?:eth0"]


# --- places ---


def test_a_place_is_described() -> None:
    """Its name is that of the endpoint; its times are nanoseconds."""
    place = Place(
        "rüght",
        "eth0",
        lladdr="02:00:00:00:00:ff",
        filter="tcp port 80",
        snaplen=96,
        comment="the far end",
    )

    _, block, _ = blocks(written([], [place]))
    assert block.fields == struct.pack("<HHI", ETHERNET, 0, 96)
    assert block.texts(1) == ["the far end"]
    assert block.texts(2) == ["rüght:eth0"]
    assert block.texts(3) == ["eth0 of rüght"]
    assert block.options[6] == [b"\x02\0\0\0\0\xff"]
    assert block.options[9] == [b"\x09"]
    assert block.options[11] == [b"\0tcp port 80"]


def test_of_a_place_nothing_is_said_that_is_not_known() -> None:
    """Only names and the unit of time are always there."""
    _, block, statistics = blocks(written([], [LEFT]))

    assert set(block.options) == {2, 3, 9}
    assert set(statistics.options) == {8}


@pytest.mark.parametrize(
    ("lladdr", "options"),
    [
        ("02:00:00:00:00:01", {6}),
        ("02:00:00:ff:fe:00:00:01", {7}),
        ("", set()),
        (b"192.0.2.1".hex(":"), set()),
    ],
)
def test_link_layer_addresses_of_two_lengths_are_known(
    lladdr: str, options: set[int]
) -> None:
    """There is an option for 6 bytes, one for 8, and none for a tunnel's address."""
    _, block, _ = blocks(written([], [Place("left", "tun0", lladdr=lladdr)]))

    assert set(block.options) & {6, 7} == options


def test_a_place_that_appears_late_is_described_before_its_packet() -> None:
    """With the link type of the frame, and the snaplen of the others."""
    frames = [frame(), frame(interface="tun0", linktype=RAW_IP), frame()]

    data = written(frames, [Place("left", "eth0", snaplen=96)])
    number = 0
    for block in blocks(data):
        number += block.kind == INTERFACE
        assert block.kind != PACKET or packet(block).place < number
    first, late = of_kind(INTERFACE, data)
    assert late.texts(2) == ["left:tun0"]
    assert late.fields == struct.pack("<HHI", RAW_IP, 0, 96)
    assert first.fields == struct.pack("<HHI", ETHERNET, 0, 96)
    assert [packet(block).place for block in of_kind(PACKET, data)] == [0, 1, 0]


def test_an_interface_that_came_back_as_another_kind_is_another_place() -> None:
    """All packets of a place begin with the same header."""
    data = written([frame(), frame(linktype=RAW_IP), frame()], [LEFT])

    assert [block.texts(2) for block in of_kind(INTERFACE, data)] == [["left:eth0"]] * 2
    assert [packet(block).place for block in of_kind(PACKET, data)] == [0, 1, 0]


def test_no_place_need_be_declared() -> None:
    """Frames say where they were seen."""
    data = written([frame(namespace="right"), frame()])

    names = [block.texts(2) for block in of_kind(INTERFACE, data)]
    assert names == [["right:eth0"], ["left:eth0"]]


# --- packets ---


@pytest.mark.parametrize("length", [*range(9), 60, 1500, 65_549, 128 * 1024])
def test_a_packet_is_padded_and_otherwise_as_it_was(length: int) -> None:
    """From no byte at all to more than one packet socket ever sees."""
    data = bytes(number % 251 for number in range(length))

    [block] = of_kind(PACKET, written([frame(data, length=length + 7)], [LEFT]))
    assert packet(block) == Packet(0, NOON, data, length + 7, 2, [])


@pytest.mark.parametrize(("direction", "flags"), [("in", 1), ("out", 2)])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_packet_has_its_direction(direction: str, flags: int, length: int) -> None:
    """It is in the lowest two bits of the flags."""
    [block] = of_kind(PACKET, written([frame(bytes(length), direction=direction)]))

    assert packet(block).flags == flags


@pytest.mark.parametrize("length", [54, 55, 56, 57])
def test_a_checksum_left_to_the_hardware_is_explained(length: int) -> None:
    """By a flag for programs, and a comment for people."""
    sent = frame(bytes(length), has_partial_checksum=True)

    [block] = of_kind(PACKET, written([sent]))
    assert packet(block).flags == 2 | 1 << 9
    assert packet(block).comments == [
        "checksum left to the hardware: this is not what will be on the wire"
    ]


@pytest.mark.parametrize("length", [2960, 2961, 2962, 2963])
def test_a_packet_that_is_not_cut_yet_is_explained(length: int) -> None:
    """It is longer than the link takes, and so is no packet of the wire."""
    sent = frame(bytes(100), length=length, is_unsegmented=True)

    [block] = of_kind(PACKET, written([sent]))
    assert packet(block).flags == 2 | 1 << 11
    assert packet(block).comments == [
        f"{length} bytes, to be cut into segments by the hardware"
    ]


def test_both_can_be_left_to_the_hardware() -> None:
    """As with every large send of TCP."""
    sent = frame(
        bytes(3000), direction="in", has_partial_checksum=True, is_unsegmented=True
    )

    [block] = of_kind(PACKET, written([sent]))
    assert packet(block).flags == 1 | 1 << 9 | 1 << 11
    assert [text.split(":")[0] for text in packet(block).comments] == [
        "checksum left to the hardware",
        "3000 bytes, to be cut into segments by the hardware",
    ]


def test_a_packet_is_never_longer_than_it_was() -> None:
    """A tag that was put back may not be counted; readers refuse such a packet."""
    [block] = of_kind(PACKET, written([frame(bytes(64), length=60)]))

    assert packet(block).length == 64


# --- statistics ---


def test_statistics_count_what_is_known() -> None:
    """Wireshark shows the interface's drops only, so the kernel's are there, too."""
    place = Place(
        *("left", "eth0"), received=12, dropped=3, started=NOON - 5, ended=NOON + 5
    )

    [block] = of_kind(STATISTICS, written([frame()] * 9, [place]))
    number, upper, lower = struct.unpack("<III", block.fields)
    assert (number, upper << 32 | lower) == (0, NOON + 5)
    assert (block.time(2), block.time(3)) == (NOON - 5, NOON + 5)
    assert block.counter(4) == 12
    assert block.counter(6) is None
    assert block.counter(5) == block.counter(7) == 3
    assert block.counter(8) == 9
    assert block.texts(1) == ["packets dropped by the kernel: 3 (3 at left:eth0)"]


def test_with_a_filter_nobody_counted_what_the_interface_received() -> None:
    """The kernel counts what passed the filter."""
    place = Place("left", "eth0", filter="tcp", received=12, dropped=0)

    [block] = of_kind(STATISTICS, written([], [place]))
    assert (block.counter(4), block.counter(6)) == (None, 12)
    assert (block.counter(5), block.counter(7)) == (0, 0)
    assert block.texts(1) == []


def test_statistics_are_of_the_last_packet_if_the_end_is_not_known() -> None:
    """Each place has its own."""
    frames = [frame(), frame(time=NOON + 1), frame(time=NOON + 2, interface="eth1")]

    found = of_kind(STATISTICS, written(frames))
    assert [
        struct.unpack("<III", block.fields)[2] - NOON % 2**32 for block in found
    ] == [
        1,
        2,
    ]
    assert [block.counter(8) for block in found] == [2, 1]


def test_a_file_may_grow_while_the_capture_runs() -> None:
    """What the kernel has dropped is known at the end, also of late places."""
    file = BytesIO()
    writer = Writer(file, [LEFT])
    writer.write([frame()])
    first = file.getvalue()
    writer.write(iter([frame(interface="eth1"), frame()]))
    writer.finish([Place("left", "eth1", dropped=1), Place("left", "eth2", dropped=2)])

    assert file.getvalue().startswith(first)
    assert len(of_kind(PACKET, first)) == 1
    found = of_kind(STATISTICS, file.getvalue())
    assert [block.counter(8) for block in found] == [2, 1, 0]
    assert [block.counter(7) for block in found] == [None, 1, 2]


# --- how it is written ---


class Lengths(BytesIO):
    """A file that remembers how much was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def write(self, data: Any, /) -> int:
        """Remember the length, and write."""
        self.lengths.append(len(data))
        return super().write(data)


@pytest.mark.parametrize(("count", "length"), [(20_000, 60), (200, 65_535)])
def test_packets_are_written_many_at_once(count: int, length: int) -> None:
    """In few pieces, and without holding much of the file in memory."""
    file = Lengths()
    data = bytes(length)
    write(file, (frame(data) for _ in range(count)), [LEFT])

    total = sum(file.lengths)
    assert total > count * length
    assert max(file.lengths) < 512 * 1024
    assert len(file.lengths) < total / (200 * 1024) + 5


def test_an_error_of_the_frames_is_the_callers() -> None:
    """What came before it may be in the file, as whole blocks."""

    def broken() -> Iterator[Frame]:
        yield from [frame(bytes(1000))] * 1000
        raise ZeroDivisionError

    file = BytesIO()
    with pytest.raises(ZeroDivisionError):
        write(file, broken(), [LEFT])
    assert len(of_kind(PACKET, file.getvalue())) > 0


# --- what others make of it ---

frames = st.builds(
    lambda cut, data, **more: Frame(data=data, length=len(data) + cut, **more),
    cut=st.integers(0, 9000),
    data=st.binary(max_size=70),
    time=st.integers(0, 2**63),
    namespace=st.sampled_from(["left", "rüght", "br0"]),
    interface=st.sampled_from(["eth0", "名"]),
    direction=st.sampled_from(["in", "out"]),
    linktype=st.sampled_from([ETHERNET, RAW_IP]),
    has_partial_checksum=st.booleans(),
    is_unsegmented=st.booleans(),
)
places = st.builds(
    Place,
    namespace=st.sampled_from(["left", "rüght"]),
    interface=st.sampled_from(["eth0", "名"]),
    linktype=st.sampled_from([ETHERNET, RAW_IP]),
    comment=st.text(max_size=9),
    filter=st.none() | st.text(max_size=9),
    dropped=st.none() | st.integers(0, 2**64 - 1),
    ended=st.none() | st.integers(0, 2**63),
)


@given(st.lists(frames), st.lists(places), st.text())
def test_any_frames_are_read_back(
    some: list[Frame], known: list[Place], comment: str
) -> None:
    """By a parser that checks each length and each padding."""
    data = written(some, known, comment=comment)

    names = [block.texts(2)[0] for block in of_kind(INTERFACE, data)]
    linktypes = [block.fields[0] for block in of_kind(INTERFACE, data)]
    assert len(set(zip(names, linktypes, strict=True))) == len(names)
    found = [packet(block) for block in of_kind(PACKET, data)]
    assert [
        (one.time, names[one.place], linktypes[one.place], one.data, one.length)
        for one in found
    ] == [(one.time, one.place, one.linktype, one.data, one.length) for one in some]
    assert [len(one.comments) for one in found] == [
        one.has_partial_checksum + one.is_unsegmented for one in some
    ]


@given(st.lists(frames), st.lists(places))
def test_any_frames_are_read_back_by_scapy(
    some: list[Frame], known: list[Place]
) -> None:
    """Bytes, times, names and directions alike."""
    file: Any = BytesIO(written(some, known))
    found: list[Any] = list(RawPcapNgReader(file))

    assert [
        (
            data,
            meta.tshigh << 32 | meta.tslow,
            meta.tsresol,
            meta.wirelen,
            meta.linktype,
            meta.ifname.decode(),
            meta.direction,
        )
        for data, meta in found
    ] == [
        (
            one.data,
            one.time,
            10**9,
            one.length,
            one.linktype,
            one.place,
            {"in": 1, "out": 2}[one.direction],
        )
        for one in some
    ]


def test_scapy_reads_the_packets(tmp_path: Path) -> None:
    """Its rdpcap has each packet with its time, place, direction and comments."""
    syn = (
        scapy.layers.l2.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / scapy.layers.inet.IP(src="10.0.0.1", dst="10.0.0.2")
        / scapy.layers.inet.TCP(dport=80)
    )
    udp: Any = scapy.layers.inet6.IPv6(dst="fd00::1")
    udp = udp / scapy.layers.inet.UDP() / b"abc"
    path = tmp_path / "capture.pcapng"
    path.write_bytes(
        written(
            [
                frame(bytes(syn), has_partial_checksum=True),
                frame(bytes(syn), time=NOON + 1, namespace="rüght", direction="in"),
                frame(bytes(udp), time=NOON + 2, interface="tun0", linktype=RAW_IP),
                frame(b"\0" * 5, time=NOON + 3),
            ],
            [Place("left", "eth0", comment="here", filter="tcp", dropped=2)],
            comment="ünïcode",
        )
    )

    packets: Any = rdpcap(str(path))
    assert [one.sniffed_on for one in packets] == [
        "left:eth0",
        "rüght:eth0",
        "left:tun0",
        "left:eth0",
    ]
    assert [one.direction for one in packets] == [2, 1, 2, 2]
    assert [round(one.time * 10**9) for one in packets] == [
        NOON + number for number in range(4)
    ]
    assert packets[0] == packets[1] == scapy.layers.l2.Ether(bytes(syn))
    assert packets[2][scapy.layers.inet6.IPv6].dst == "fd00::1"
    assert [bool(comments(one)) for one in packets] == [True, False, False, False]
    assert comments(packets[0])[0].startswith(b"checksum left to the hardware")


def comments(found: Any) -> list[bytes]:
    """Return a packet's comments; scapy 2.6 had but one of them."""
    if hasattr(found, "comments"):
        return found.comments or []
    return [found.comment] if found.comment else []
