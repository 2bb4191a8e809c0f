from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._seam import Seam
from pytest_netns._tpacket import (
    OUTGOING,
    count_of,
    entry_at,
    offsets_of,
    pack_block,
    pack_frame,
)

MICROSECOND = 1000
STAMPED = 1 << 29  # linux/if_packet.h


def block_of(
    *packets: tuple[int, bytes], ifindex: int = 2, kind: int = 0, status: int = 0
) -> bytes:
    """Return a block with packets of these times and bytes."""
    address = struct.pack("=HHiHBB8x", 17, 0, ifindex, 1, kind, 6)
    return pack_block(
        [
            pack_frame(
                time,
                data,
                length=len(data),
                status=status,
                vlan=(0, 0),
                address=address,
            )
            for time, data in packets
        ]
    )


def packets_of(block: bytes) -> list[tuple[int, bytes]]:
    """Return times and bytes of the packets in a block."""
    entries = [entry_at(block, offset) for offset in offsets_of(block)]
    assert count_of(block) == len(entries)
    return [(entry.time, bytes(entry.data)) for entry in entries]


def test_what_both_have_seen() -> None:
    """A packet that the first socket has seen is not in what is left of the second."""
    seam = Seam([block_of((1, b"a"), (2, b"b")), block_of((3, b"c"))], 2)
    assert packets_of(seam.cut(block_of((2, b"b"), (3, b"c"), (4, b"d")))) == [
        (4, b"d")
    ]
    assert packets_of(seam.cut(block_of((5, b"e")))) == [(5, b"e")]
    assert seam.count == 2


def test_nothing_in_common() -> None:
    """All else stays as it is, down to the last byte."""
    packets = [(1, b"b"), (2, b"a" * 300), (3, b"")]
    for before in ([], [block_of((1, b"a"))]):
        assert packets_of(Seam(before, 0).cut(block_of(*packets))) == packets


def test_what_looks_alike() -> None:
    """Equal packets at different times are different packets."""
    second = 1_000_000_000
    seam = Seam([block_of((1, b"same"), (2, b"same"))], 0)
    assert packets_of(seam.cut(block_of((1, b"same"), (second, b"same")))) == [
        (second, b"same")
    ]


def test_each_stands_for_one() -> None:
    """Three equal packets, of which two were seen before, leave one."""
    seam = Seam([block_of((10, b"same"), (20, b"same"))], 0)
    left = seam.cut(block_of((10, b"same"), (20, b"same"), (30, b"same")))
    assert packets_of(left) == [(30, b"same")]


def test_another_place() -> None:
    """The same bytes elsewhere, or in the other direction, are another packet."""
    seam = Seam([block_of((1, b"a"))], 0)
    for block in (block_of((1, b"a"), ifindex=3), block_of((1, b"a"), kind=OUTGOING)):
        assert packets_of(seam.cut(block)) == [(1, b"a")]


def test_times_that_differ() -> None:
    """Two sockets may note times that are microseconds apart for one packet."""
    seam = Seam([block_of((10 * MICROSECOND, b"a"), (90 * MICROSECOND, b"b"))], 0)
    left = seam.cut(
        block_of(
            (9 * MICROSECOND, b"a"), (93 * MICROSECOND, b"b"), (95 * MICROSECOND, b"c")
        )
    )
    assert packets_of(left) == [(95 * MICROSECOND, b"c")]


def test_times_that_are_certain() -> None:
    """Where the kernel had noted the time before, an equal packet later is another."""
    seam = Seam([block_of((1, b"same"), (2, b"same"))], 0)
    left = seam.cut(block_of((2, b"same"), (3, b"same"), status=STAMPED))
    assert packets_of(left) == [(3, b"same")]
    assert seam.count == 1


def test_before_the_second_began() -> None:
    """What only the first one can have seen takes nothing away."""
    seam = Seam([block_of((1, b"same"))], since=5)
    assert packets_of(seam.cut(block_of((6, b"same")))) == [(6, b"same")]


@given(
    st.lists(st.sampled_from([b"", b"a", b"bb", b"c" * 99]), max_size=30),
    st.data(),
)
def test_any(payloads: list[bytes], data: st.DataObject) -> None:
    """Wherever the second socket begins and the first one ends, nothing is missing."""
    packets = [(number * 7 * MICROSECOND, one) for number, one in enumerate(payloads)]
    begin = data.draw(st.integers(0, len(packets)))
    end = data.draw(st.integers(begin, len(packets)))
    first, second = packets[:end], packets[begin:]
    since = packets[begin][0] if second else 0
    seam = Seam([block_of(*first)], since)
    assert first + packets_of(seam.cut(block_of(*second))) == packets
