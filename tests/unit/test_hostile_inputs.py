"""Data of the kernel, of files and of other processes that nobody should trust."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pytest_netns import InconclusiveError
from pytest_netns._bench_json import from_data, to_data
from pytest_netns._blocks import Frames, Store
from pytest_netns._codec import decode
from pytest_netns._frame import Frame
from pytest_netns._links import _link
from pytest_netns._netlink import Refusal, RouteSocket
from pytest_netns._pcapng import Writer
from pytest_netns._queue import Queue
from pytest_netns._tpacket import (
    count_of,
    entry_at,
    offsets_of,
    pack_block,
    slice_at,
)
from tests.inputs import hostile_capture, hostile_netlink, hostile_texts
from tests.inputs.any_values import tried

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from pytest_netns.measurement import Measurement

INPUTS = 100


def test_blocks_of_a_ring() -> None:
    """What is read of a block is in it, and comes to an end."""
    tried(hostile_capture.blocks, hostile_capture.check_block, INPUTS)


def test_stores_of_blocks() -> None:
    """All packets can be had in every way, or a block is said to make no sense."""
    tried(hostile_capture.block_lists, hostile_capture.check_store, INPUTS)


def test_seams_of_blocks() -> None:
    """Where two sockets have seen the same, nothing is made up."""
    tried(hostile_capture.block_lists, hostile_capture.check_seam, INPUTS)


def test_files_of_packets() -> None:
    """They are read to their end, or said to be broken."""
    tried(hostile_capture.files, hostile_capture.check_file, INPUTS)


def test_packets_that_are_shown() -> None:
    """Tables, ladders, pictures, filters and files take whatever is in a packet."""
    tried(hostile_capture.packet_lists, hostile_capture.check_packets, INPUTS // 4)


def test_messages_of_netlink() -> None:
    """Readers find what is there, or raise `OSError`."""
    tried(hostile_netlink.messages, hostile_netlink.check_message, INPUTS)


def test_answers_to_netlink() -> None:
    """Requests end with an answer, a refusal of one of them, or `OSError`."""
    tried(hostile_netlink.datagrams, hostile_netlink.check_answers, INPUTS)


def test_streams_of_a_database() -> None:
    """Open vSwitch's database answers, refuses, or is said to make no sense."""
    tried(hostile_texts.streams, hostile_texts.check_stream, INPUTS)


def test_messages_of_a_load() -> None:
    """What its process says is taken over, or makes the benchmark fail."""
    tried(hostile_texts.said, hostile_texts.check_said, INPUTS)


def test_saved_benchmarks(measurements: SearchStrategy[Measurement]) -> None:
    """They are measurements, or a `ValueError` says where they are not."""
    inputs = measurements.map(to_data).flatmap(hostile_texts.measurements_like)

    tried(inputs, hostile_texts.check_measurement, INPUTS)


# --- what was found ---


@pytest.mark.parametrize("said", [2, 0xFFFF_FFFF])
def test_a_block_with_fewer_packets_than_it_says(said: int) -> None:
    """It is not passed over in silence, nor does a list of them take all memory."""
    right = hostile_capture.BLOCKS[1]
    store = Store(1)
    store.add(0, right[:12] + struct.pack("=I", said) + right[16:])
    frames = Frames(store, store.extent, hostile_capture.frame_of)

    for read in (list, lambda some: some[0]):
        with pytest.raises(
            InconclusiveError, match="a block of packets makes no sense"
        ):
            read(frames)
    assert count_of(right) == 1
    assert len(frames) <= len(right)


def test_a_packet_that_says_it_is_longer_than_its_block() -> None:
    """Cut out, it is as long as it is, and what follows is still there."""
    (offset,) = offsets_of(hostile_capture.BLOCKS[1])
    block = bytearray(hostile_capture.BLOCKS[1])
    struct.pack_into("=I", block, offset + 12, 0xFFFF_FFF0)
    lying = slice_at(bytes(block), offset)
    honest = slice_at(hostile_capture.BLOCKS[1], offset)

    joined = pack_block([lying, honest])

    one, other = (entry_at(joined, at) for at in offsets_of(joined))
    assert one.data == other.data == hostile_capture.PACKETS[1]


def test_a_packet_of_the_greatest_length(tmp_path: Path) -> None:
    """With the tag of its VLAN it would be longer than a file can say."""
    (offset,) = offsets_of(hostile_capture.BLOCKS[1])
    block = bytearray(hostile_capture.BLOCKS[4])
    struct.pack_into("=I", block, offset + 16, 0xFFFF_FFFF)
    entry = entry_at(bytes(block), offset)

    with (tmp_path / "long.pcapng").open("wb") as file:
        Writer(file).write([Frame(0, "a", "eth0", "in", entry.data, entry.length)])

    assert entry.length == 0xFFFF_FFFF


class LargePackets:
    """Takes the place of what receives packets: there are as many as fit, all long."""

    def __init__(self) -> None:
        self.left = 64

    def receive(self) -> list[bytes]:
        """Return 32 packets, each as long as segmentation offload makes them."""
        self.left -= 32
        return [hostile_capture._frame(bytes(65_000), at, 0) for at in range(32)]


def test_large_packets_that_wait_in_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """They become blocks that a store has places for: each is found again."""
    large = LargePackets()
    queue = object.__new__(Queue)
    queue._taken = 0
    monkeypatch.setattr(queue, "_receive", large.receive)
    monkeypatch.setattr(Queue, "waiting", property(lambda _: (large.left, 0)))

    blocks = [*queue.take()]

    assert max(map(len, blocks)) < 1 << 20
    store = Store(1)
    store.add_all(0, blocks)
    frames = Frames(store, store.extent, hostile_capture.frame_of)
    assert [frames[number].time for number in range(64)] == [*range(32), *range(32)]


@pytest.fixture
def route() -> Iterator[RouteSocket]:
    """Give a socket."""
    with RouteSocket() as route:
        yield route


def asked(route: RouteSocket, answers: list[bytes], count: int) -> list[bytes]:
    """Query a scripted kernel for some objects."""
    real = route._socket
    route._socket = hostile_netlink.Kernel(answers)  # type: ignore[assignment]
    try:
        return [*route.query([bytearray(hostile_netlink.MESSAGES[0])] * count)]
    finally:
        route._socket = real


def test_answers_that_nobody_has_read(route: RouteSocket) -> None:
    """A refusal leaves answers for later objects behind; they answer nothing else."""
    refusal, late, right = (
        hostile_netlink._header(kind, struct.pack("=i", code) + bytes(16), number)
        for kind, code, number in ((2, -19, 1), (2, -17, 2), (16, 0, 3))
    )
    with pytest.raises(Refusal) as caught:
        asked(route, [refusal, late], 2)
    assert caught.value.position == 0

    assert asked(route, [late, right], 1) == [right[:36]]


def test_more_answers_than_requests(route: RouteSocket) -> None:
    """Nobody would know which of them is meant."""
    answer = hostile_netlink._header(16, bytes(16), 1)

    with pytest.raises(OSError, match="more answers than requests"):
        asked(route, [answer + answer], 1)


@pytest.mark.parametrize("length", [0, 5, 16, 19, 20, 31])
def test_messages_that_are_too_short(length: int) -> None:
    """They are said to be so."""
    message = hostile_netlink._header(16, bytes(16))[:length]
    for read in (_link, decode):
        with pytest.raises(OSError, match="netlink: a message"):
            read(message)


def test_a_message_of_another_kind() -> None:
    """What nobody has asked for is not decoded as if it were something else."""
    with pytest.raises(OSError, match="a message of an unexpected type, 77"):
        decode(hostile_netlink._header(77, bytes(16)))


def test_a_number_that_is_too_large_for_a_measurement(
    measurements: SearchStrategy[Measurement],
) -> None:
    """JSON has integers of any length, and floating-point numbers have an end."""

    def check(measurement: Measurement) -> None:
        data = {**to_data(measurement), "seconds": 10**400}
        with pytest.raises(ValueError, match="seconds is too large"):
            from_data(data)

    tried(measurements, check, 3)
