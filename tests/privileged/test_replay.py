"""`ns.replay`: what a file has captured, sent again.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import gzip
import socket
import struct
import tracemalloc
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.layers import inet, l2

from pytest_netns import (
    ClosedError,
    KernelError,
    Namespace,
    Network,
    NetworkNamespace,
    ReplayResult,
    Topology,
    UnknownName,
    Veth,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ICMP, IP, Ether = (cast("Any", one) for one in (inet.ICMP, inet.IP, l2.Ether))

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
)
HEADER = bytes.fromhex("ffffffffffff 020000000001 88b5")
MILLISECOND = 1_000_000
Packets = list[tuple[int, bytes]]

pytestmark = pytest.mark.netns(PAIR)


def frame(number: int, length: int = 60) -> bytes:
    """Return a frame that is known by its number."""
    return (HEADER + number.to_bytes(4, "big")).ljust(length, b".")


#: When each was captured, in nanoseconds, and what.
THREE: Packets = [
    (5 * MILLISECOND, frame(0)),
    (25 * MILLISECOND, frame(1, 1514)),
    (45 * MILLISECOND + 1000, frame(2, 18)),
]


def pcap(
    packets: Packets, order: str = "<", *, nano: bool = True, linktype: int = 1
) -> bytes:
    """Return a pcap file (draft-ietf-opsawg-pcap)."""
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    file = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 262144, linktype)
    for moment, data in packets:
        seconds, rest = divmod(moment, 1_000_000_000)
        about = seconds, rest // unit, len(data), len(data)
        file += struct.pack(f"{order}IIII", *about) + data
    return file


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a block of a pcapng file (draft-ietf-opsawg-pcapng)."""
    body = body.ljust((len(body) + 3) & ~3, b"\0")
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def pcapng_head(order: str = "<") -> bytes:
    """Return the section header."""
    fields = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(order, 0x0A0D0D0A, fields)


def interface(order: str = "<", resolution: int = 9, linktype: int = 1) -> bytes:
    """Return the description of an interface, whose clock has 10^-resolution s."""
    option = struct.pack(f"{order}HHBxxxI", 9, 1, resolution, 0)
    return block(order, 1, struct.pack(f"{order}HxxI", linktype, 0) + option)


def pcapng_packet(
    moment: int, data: bytes, order: str = "<", number: int = 0, unit: int = 1
) -> bytes:
    """Return a packet, seen by interface `number` after `moment` nanoseconds."""
    ticks = moment // unit
    about = number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    return block(order, 6, struct.pack(f"{order}IIIII", *about) + data)


def pcapng(packets: Packets, order: str = "<") -> bytes:
    """Return a pcapng file of one interface."""
    rest = b"".join(pcapng_packet(*one, order) for one in packets)
    return pcapng_head(order) + interface(order) + rest


class Ear:
    """A plain packet socket: hears every frame of ours that arrives."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        self._socket = namespace.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        except PermissionError:  # root of a user namespace
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
        self._socket.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self._socket.settimeout(10)
        self.times: list[float] = []

    def frames(self, count: int) -> list[bytes]:
        """Return the next frames."""
        found = []
        for _ in range(count):
            data, [(_, _, value)], _, _ = self._socket.recvmsg(2048, 64)
            seconds, nanoseconds = struct.unpack("@ll", value)
            self.times.append(seconds + nanoseconds * 1e-9)
            found.append(data)
        return found

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that sends."""
    return netns["left"]


@pytest.fixture
def ear(netns: Network) -> Iterator[Ear]:
    """Give what hears it."""
    ear = Ear(netns["right"])
    yield ear
    ear.close()


class TestFiles:
    """The kinds of files."""

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(make, id=name)
            for name, make in {
                "pcap": pcap(THREE),
                "pcap, big endian": pcap(THREE, ">"),
                "pcap, microseconds": pcap(THREE, nano=False),
                "pcap, microseconds, big endian": pcap(THREE, ">", nano=False),
                "pcap, compressed": gzip.compress(pcap(THREE)),
                "pcapng": pcapng(THREE),
                "pcapng, big endian": pcapng(THREE, ">"),
                "pcapng, compressed": gzip.compress(pcapng(THREE)),
            }.items()
        ],
    )
    def test_kinds(
        self, left: NetworkNamespace, ear: Ear, tmp_path: Path, content: bytes
    ) -> None:
        """Each kind of file gives the same packets at the same times."""
        path = tmp_path / "file"
        path.write_bytes(content)
        result = left.replay(path, dev="eth0")
        assert ear.frames(3) == [data for _, data in THREE]
        assert (result.packets, result.bytes) == (3, 60 + 1514 + 18)
        assert result.truncated == 0
        first, second, third = ear.times
        # the clock of arrival is another one, and may be set meanwhile
        assert second - first > 0.019
        assert third - first > 0.039
        assert result.seconds >= 0.04

    def test_several_interfaces(
        self, left: NetworkNamespace, ear: Ear, tmp_path: Path
    ) -> None:
        """The interfaces of a file may have clocks of different units."""
        path = tmp_path / "file"
        path.write_bytes(
            pcapng_head()
            + interface(resolution=9)
            + interface(resolution=3)
            + pcapng_packet(100 * MILLISECOND, frame(0))
            + pcapng_packet(140 * MILLISECOND, frame(1), number=1, unit=MILLISECOND)
            + block("<", 3, struct.pack("<I", 60) + frame(2))  # without a time
        )
        result = left.replay(str(path), dev="eth0")
        assert ear.frames(3) == [frame(0), frame(1), frame(2)]
        assert 0.04 <= result.seconds < 10

    def test_cut_off_packets(
        self, left: NetworkNamespace, ear: Ear, tmp_path: Path
    ) -> None:
        """What was captured in part is sent in part, and counted."""
        path = tmp_path / "file"
        head = pcap([(0, frame(0))])
        path.write_bytes(head + struct.pack("<IIII", 0, 0, 60, 1000) + frame(1))
        result = left.replay(path, dev="eth0")
        assert ear.frames(2) == [frame(0), frame(1)]
        assert (result.packets, result.truncated) == (2, 1)
        assert "2 packets, 120 bytes" in repr(result)
        assert "1 truncated" in repr(result)

    def test_saved_capture(
        self, netns: Network, left: NetworkNamespace, tmp_path: Path
    ) -> None:
        """What a capture has saved can be sent again."""
        with left.capture("eth0", bpf_filter="icmp") as capture:
            assert left.sr1(IP(dst="10.0.0.2") / ICMP()) is not None
        capture.save(tmp_path / "ping.pcapng")
        with netns["right"].capture("eth0", bpf_filter="icmp") as again:
            result = left.replay(tmp_path / "ping.pcapng", dev="eth0", timing=None)
            again.wait(2)
        assert result.packets == 2
        seen = [bytes(cast("Any", one)) for one in again.packets]
        assert all(bytes(one) in seen for one in capture.packets)

    def test_size(self, left: NetworkNamespace, tmp_path: Path) -> None:
        """A file that is larger than the memory one would give it can be replayed."""
        path = tmp_path / "file"
        packet = pcap([(0, frame(0, 1514))])
        with path.open("wb") as file:
            file.write(packet)
            for _ in range(10):
                file.write(packet[24:] * 1000)
        tracemalloc.start()
        try:
            result = left.replay(path, dev="eth0", timing=None)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result.packets == 10_001
        assert peak < path.stat().st_size / 10


class TestTiming:
    """When the packets leave."""

    def path(self, folder: Path, milliseconds: Sequence[int]) -> Path:
        """Make a file of packets that were captured at these times."""
        moments = [one * MILLISECOND for one in milliseconds]
        packets = [(moment, frame(one)) for one, moment in enumerate(moments)]
        path = folder / "file"
        path.write_bytes(pcap(packets))
        return path

    def test_speed(self, left: NetworkNamespace, tmp_path: Path) -> None:
        """The gaps can be shorter or longer than they were."""
        path = self.path(tmp_path, [0, 40, 80])
        faster = left.replay(path, dev="eth0", speed=40)
        original = left.replay(path, dev="eth0")
        slower = left.replay(path, dev="eth0", speed=0.5)
        assert 0.002 <= faster.seconds < original.seconds
        assert 0.08 <= original.seconds < slower.seconds
        assert slower.seconds >= 0.16

    def test_at_once(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """Without timing nobody waits, whatever the file says."""
        path = self.path(tmp_path, [0, 3_600_000, 7_200_000])
        assert left.replay(path, dev="eth0", timing=None).seconds < 60
        assert ear.frames(3) == [frame(0), frame(1), frame(2)]

    @pytest.mark.parametrize("timing", ["original", None])
    def test_rate(self, left: NetworkNamespace, tmp_path: Path, timing: Any) -> None:
        """A rate counts alone: so many packets a second, evenly."""
        path = self.path(tmp_path, [0, 3_600_000] * 50)
        result = left.replay(path, dev="eth0", timing=timing, rate=500)
        assert 99 / 500 <= result.seconds < 60
        assert result.packets_per_second < 510

    def test_no_drift(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """No packet leaves before its time; a late one makes no other one late."""
        path = self.path(tmp_path, range(0, 200, 2))
        result = left.replay(path, dev="eth0")
        ear.frames(100)
        late = [moment - ear.times[0] - 0.002 * number
                for number, moment in enumerate(ear.times)]  # fmt: skip
        assert min(late) > -0.002
        assert min(late[50:]) < 0.01, "late for moments, but not ever later"
        assert result.seconds >= 0.198

    def test_backwards(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """A packet that is older than those before it leaves at once."""
        path = self.path(tmp_path, [50, 0, 60])
        assert left.replay(path, dev="eth0").seconds >= 0.01
        assert ear.frames(3) == [frame(0), frame(1), frame(2)]

    def test_count(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """The file may be sent several times, each time with its gaps."""
        path = self.path(tmp_path, [0, 20])
        result = left.replay(path, dev="eth0", count=3)
        assert ear.frames(6) == [frame(0), frame(1)] * 3
        assert (result.packets, result.bytes) == (6, 360)
        assert result.seconds >= 0.06
        nothing = left.replay(path, dev="eth0", count=0)
        assert (nothing.packets, nothing.bytes) == (0, 0)

    def test_many(self, netns: Network, left: NetworkNamespace, tmp_path: Path) -> None:
        """All of 100,000 packets arrive, as fast as they can be sent."""
        path = tmp_path / "file"
        path.write_bytes(pcap([(0, frame(0))]) + pcap([(0, frame(0))])[24:] * 99_999)
        peer = netns.link("right:eth0")
        before = peer.statistics.rx_packets
        result = left.replay(path, dev="eth0", timing=None)
        assert result.packets == 100_000
        assert peer.statistics.rx_packets - before >= 100_000
        assert result.packets_per_second == pytest.approx(100_000 / result.seconds)

    def test_full_queue(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """A queue that is full is waited for: nothing is lost."""
        left.run("tc qdisc add dev eth0 root tbf rate 10mbit burst 2k limit 3k")
        path = tmp_path / "file"
        path.write_bytes(pcap([(0, frame(one, 1000)) for one in range(50)]))
        left.replay(path, dev="eth0")
        assert ear.frames(50) == [frame(one, 1000) for one in range(50)]


class TestOdd:
    """What cannot be replayed."""

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(content, id=name)
            for name, content in {
                "nothing": b"",
                "text": b"text\n" * 20,
                "head of a pcap": pcap(THREE)[:10],
                "most of a pcap": pcap(THREE)[:-4],
                "head of a pcapng": pcapng(THREE)[:40],
                "most of a pcapng": pcapng(THREE)[:-8],
                "compressed text": gzip.compress(b"text" * 20),
                "part of a compressed pcap": gzip.compress(pcap(THREE))[:60],
                "not compressed": b"\x1f\x8b nothing that was ever compressed",
            }.items()
        ],
    )
    def test_no_capture(
        self, left: NetworkNamespace, tmp_path: Path, content: bytes
    ) -> None:
        """What is no capture file, or only a part of one, is an error that says so."""
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path}.*pcap"):
            left.replay(path, dev="eth0", timing=None)

    @pytest.mark.parametrize(
        "content",
        [
            pcap(THREE, linktype=101),
            pcapng_head() + interface(linktype=101) + pcapng_packet(0, frame(0)),
        ],
        ids=["pcap", "pcapng"],
    )
    def test_link_type(
        self, left: NetworkNamespace, tmp_path: Path, content: bytes
    ) -> None:
        """Packets without Ethernet header cannot be sent as they are."""
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="link type 101"):
            left.replay(path, dev="eth0")

    def test_no_file(self, left: NetworkNamespace, tmp_path: Path) -> None:
        """A file that cannot be read is the usual error."""
        with pytest.raises(FileNotFoundError, match="nowhere"):
            left.replay(tmp_path / "nowhere", dev="eth0")
        with pytest.raises(IsADirectoryError):
            left.replay(tmp_path, dev="eth0")

    def test_too_long(self, left: NetworkNamespace, ear: Ear, tmp_path: Path) -> None:
        """The error says which packet is longer than the MTU; those before it left."""
        path = tmp_path / "file"
        path.write_bytes(
            pcap([(0, frame(0)), (0, frame(1, 1514)), (0, frame(2, 1515))])
        )
        with pytest.raises(
            KernelError, match=r"packet 3 of '.*file': .*1515 bytes.*MTU is 1500"
        ):
            left.replay(path, dev="eth0")
        assert ear.frames(2) == [frame(0), frame(1, 1514)]

    def test_interface(self, left: NetworkNamespace, tmp_path: Path) -> None:
        """The interface must be there, and be one for Ethernet."""
        path = tmp_path / "file"
        path.write_bytes(pcap(THREE))
        with pytest.raises(UnknownName, match="'eth0'"):
            left.replay(path, dev="eht0")
        left.run("ip tuntap add mode tun name tun0")
        with pytest.raises(ValueError, match=r"'tun0' .* no Ethernet"):
            left.replay(path, dev="tun0")

    @pytest.mark.parametrize(
        ("keywords", "words"),
        [
            ({"timing": "sometimes"}, "timing"),
            ({"speed": 0}, "speed"),
            ({"speed": -1.0}, "speed"),
            ({"rate": 0}, "rate"),
        ],
    )
    def test_arguments(
        self, left: NetworkNamespace, tmp_path: Path, keywords: Any, words: str
    ) -> None:
        """A pace that makes no sense is refused before anything is sent."""
        path = tmp_path / "file"
        path.write_bytes(pcap(THREE))
        with pytest.raises(ValueError, match=words):
            left.replay(path, dev="eth0", **keywords)

    def test_closed(self, tmp_path: Path) -> None:
        """After the network is closed nothing can be sent."""
        path = tmp_path / "file"
        path.write_bytes(pcap(THREE))
        with build(PAIR) as network:
            left = network["left"]
            assert isinstance(left.replay(path, dev="eth0", timing=None), ReplayResult)
        with pytest.raises(ClosedError, match="'left' is closed"):
            left.replay(path, dev="eth0")
