"""Files of captured packets, read by Wireshark's programs."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pytest_netns._files import save
from pytest_netns._frame import RAW_IP, Frame
from pytest_netns._pcapng import Place

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

NOON = 1_700_000_000_123_456_789
SYN = bytes(
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    / IP(src="10.0.0.1", dst="10.0.0.2")
    / TCP(sport=1024, dport=80)
)
QUERY = bytes(
    IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1024, dport=9) / Raw(b"odd")
)


def frame(data: bytes, number: int, place: str, direction: str, **more: Any) -> Frame:
    """Return the packet of that number; they come a nanosecond after one another."""
    namespace, _, interface = place.partition(":")
    usual = {"length": len(data)}
    time = NOON + number
    return Frame(time, namespace, interface, direction, data, **(usual | more))


FRAMES = [
    frame(SYN, 0, "left:eth0", "out", has_partial_checksum=True),
    frame(SYN, 1, "rüght:eth0", "in"),
    frame(SYN + bytes(2946), 2, "left:eth0", "out", is_unsegmented=True),
    frame(QUERY, 3, "left:tun0", "out", linktype=RAW_IP),
    frame(SYN, 4, "left:eth0", "in", length=1514),
    frame(b"", 5, "left:eth0", "in"),
    frame(SYN + bytes(128 * 1024), 6, "rüght:eth0", "out"),
]
PLACES = [
    Place(
        *("left", "eth0"),
        lladdr="02:00:00:00:00:01",
        filter="tcp or udp",
        received=7,
        dropped=3,
        started=NOON - 9,
        ended=NOON + 9,
        comment="where it began",
    ),
    Place("rüght", "eth0", received=2, dropped=0),
]


class Wireshark:
    """Wireshark's programs, which keep their settings in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "capture.pcapng"
        home = folder / "home"
        home.mkdir()
        names = "HOME", "XDG_CONFIG_HOME"
        self._environment = dict.fromkeys(names, str(home)) | {"LC_ALL": "C.UTF-8"}
        save(self._path, FRAMES, PLACES, comment="ünïcode")

    def run(self, program: str, *options: str) -> str:
        """Run a program on the file; return what it says."""
        result = subprocess.run(
            [program, *options, str(self._path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | self._environment,
        )
        assert result.returncode == 0, result.stderr
        # it warns of root, and says nothing else
        assert re.fullmatch("(Running as user .*)?", result.stderr.strip())
        return result.stdout

    def fields(self, *names: str, options: tuple[str, ...] = ()) -> list[list[str]]:
        """Return these fields of every packet."""
        wanted = [word for name in names for word in ("-e", name)]
        output = self.run("tshark", *options, "-T", "fields", *wanted, "-r")
        return [line.split("\t") for line in output.splitlines()]


@pytest.fixture
def wireshark(tmp_path: Path) -> Wireshark:
    """Save the frames above for Wireshark's programs."""
    return Wireshark(tmp_path)


def test_tshark_shows_times_and_places(wireshark: Wireshark) -> None:
    """To the nanosecond, and with letters of any language."""
    found = wireshark.fields(
        "frame.time_epoch", "frame.interface_name", "frame.interface_description"
    )

    assert found == [
        [
            f"1700000000.{one.time % 10**9:09}",
            one.place,
            f"{one.interface} of {one.namespace}",
        ]
        for one in FRAMES
    ]


def test_tshark_shows_lengths_and_directions(wireshark: Wireshark) -> None:
    """Of the packet as captured, and as it was."""
    found = wireshark.fields(
        "frame.cap_len", "frame.len", "frame.packet_flags_direction"
    )

    assert [[int(word, 0) for word in line] for line in found] == [
        [len(one.data), one.length, {"in": 1, "out": 2}[one.direction]]
        for one in FRAMES
    ]


def test_tshark_parses_each_place_by_its_link_type(wireshark: Wireshark) -> None:
    """Ethernet and raw IP may be in one file."""
    found = wireshark.fields("eth.src", "ip.dst", "tcp.dstport", "udp.dstport")

    syn = ["02:00:00:00:00:01", "10.0.0.2", "80", ""]
    query = ["", "10.0.0.2", "", "9"]
    assert found == [syn, syn, syn, query, syn, ["", "", "", ""], syn]


def test_tshark_shows_what_was_left_to_the_hardware(wireshark: Wireshark) -> None:
    """As comments, which Wireshark marks."""
    found = wireshark.fields("frame.number", "frame.comment")

    assert [line for line in found if line[1]] == [
        ["1", "checksum left to the hardware: this is not what will be on the wire"],
        ["3", "3000 bytes, to be cut into segments by the hardware"],
    ]


def test_tshark_filters_by_place(wireshark: Wireshark) -> None:
    """So one file of a whole network is enough."""
    words = 'frame.interface_name == "left:eth0" && frame.packet_flags_direction == 1'

    found = wireshark.fields("frame.number", options=("-Y", words))
    assert found == [["5"], ["6"]]


def test_tshark_finds_the_blocks_well_formed(wireshark: Wireshark) -> None:
    """Read as a file and not as packets: counters, addresses, and no complaint."""
    names = [
        "_ws.malformed",
        "_ws.expert.message",
        "pcapng.options.option.data.mac",
        "pcapng.options.option.data.interface.received",
        "pcapng.options.option.data.interface.dropped",
        "pcapng.options.option.data.interface.dropped_by_os",
        "pcapng.options.option.data.interface.accepted_by_filter",
        "pcapng.options.option.data.interface.delivered_to_user",
    ]
    [found] = wireshark.fields(*names, options=("-X", "read_format:MIME Files Format"))

    assert found == ["", "", "02:00:00:00:00:01", "2", "3,0", "3,0", "7", "4,2,1"]


def test_capinfos_shows_the_whole_file(wireshark: Wireshark) -> None:
    """Its packets, who wrote it, and that the kernel dropped some."""
    output = wireshark.run("capinfos", "-M")

    said = re.findall(r"^([^:\n]+): +(.*)$", output, re.MULTILINE)
    assert ("Number of packets", "7") in said
    assert ("Strict time order", "True") in said
    assert ("File timestamp precision", "nanoseconds (9)") in said
    assert ("Capture oper-sys", "Linux") in said
    assert dict(said)["Capture application"].startswith("pytest-netns ")
    assert [text for name, text in said if name == "Capture comment"] == [
        "ünïcode",
        "packets dropped by the kernel: 3 (3 at left:eth0)",
    ]


def test_capinfos_shows_the_places(wireshark: Wireshark) -> None:
    """Each with its packets, filter, comment and statistics."""
    output = wireshark.run("capinfos", "-I")

    said = re.findall(r"^ +([^=\n]+) = (.*)$", output, re.MULTILINE)
    for name, values in {
        "Name": ["left:eth0", "rüght:eth0", "left:tun0"],
        "Encapsulation": [
            *["Ethernet (1 - ether)"] * 2,
            "Raw IP (7 - rawip)",
        ],
        "Filter string": ["tcp or udp"],
        "Comment": ["where it began"],
        "Number of stat entries": ["1", "1", "1"],
        "Number of packets": ["4", "2", "1"],
    }.items():
        assert [value for other, value in said if other == name] == values


@pytest.mark.usefixtures("unconfined")  # tcpdump becomes another user
@pytest.mark.parametrize(
    ("interfaces", "message"),
    [
        ([Place("left", "eth0"), Place("left", "eth1")], ""),
        ([Place("left", "eth0", snaplen=96), Place("left", "eth1", snaplen=96)], ""),
        ([Place("left", "eth0", snaplen=96)], ""),
        (
            [Place("left", "eth0", snaplen=96), Place("left", "eth1", snaplen=97)],
            "snapshot length",
        ),
        (
            [Place("left", "eth0"), Place("left", "eth1", linktype=RAW_IP)],
            "different from the type",
        ),
    ],
)
def test_tcpdump_reads_places_that_are_alike(
    interfaces: list[Place], message: str, tmp_path: Path
) -> None:
    """So a place that appears late is given the snaplen of the first."""
    frames = [frame(SYN, 0, "left:eth0", "out"), frame(SYN, 1, "left:eth1", "in")]
    save(tmp_path / "capture.pcapng", frames, interfaces)

    result = subprocess.run(
        ["tcpdump", "-nr", str(tmp_path / "capture.pcapng")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if message:
        assert message in result.stderr
    else:
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("10.0.0.1.1024 > 10.0.0.2.80: Flags [S]") == 2
