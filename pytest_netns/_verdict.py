"""What a failed assertion about packets says: what was seen, and what came near."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._packet_table import ROWS, printable, row_of, table
from ._scapy import summary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._frame import Frame
    from ._matching import Matcher
    from ._scapy import Packet

#: How many packets are compared with what was looked for, to find the nearest one.
SEARCHED = 10_000
#: How many places are named.
_PLACES = 6


def not_seen_message(
    matcher: Matcher,
    frames: Sequence[Frame],
    packets: Sequence[Packet],
    *,
    places: Sequence[str],
    dropped: int,
    found: int = 0,
    count: int = 1,
) -> str:
    """Say that too few packets match, what was seen instead, and what came nearest.

    Args:
        matcher: What was looked for.
        frames: All that was captured.
        packets: The same, parsed when asked for.
        places: The endpoints that were listened to.
        dropped: How many packets the kernel says it had to drop.
        found: How many packets match.
        count: How many should.
    """
    what = f"{matcher.describe()} on {_named(places)}"
    headline = (
        f"only {found} of {count} packets match" if found else "no packet matches"
    )
    seen = f"{_packets(len(frames))} seen, {dropped:,} dropped by the kernel"
    if not frames:
        return f"{headline} {what}; {seen}"
    message = f"{headline} {what}; {seen}:\n{table_of(frames, packets)}"
    return message + _nearest(matcher, packets)


def seen_message(
    matcher: Matcher,
    frames: Sequence[Frame],
    packets: Sequence[Packet],
    matching: Sequence[int],
    *,
    places: Sequence[str],
) -> str:
    """Say which packets match, though none should.

    Args:
        matcher: What must not be there.
        frames: All that was captured.
        packets: The same, parsed when asked for.
        matching: The numbers of those that match.
        places: The endpoints that were listened to.
    """
    return (
        f"{matcher.describe()} was seen on {_named(places)}: "
        f"{len(matching):,} of {len(frames):,} packets:\n"
        f"{table_of(frames, packets, matching)}"
    )


def table_of(
    frames: Sequence[Frame],
    packets: Sequence[Packet],
    numbers: Sequence[int] | None = None,
    *,
    limit: int = ROWS,
) -> str:
    """Return the table of all packets, or of those with these numbers."""
    shown = range(len(frames)) if numbers is None else numbers
    start = frames[0].time if shown else 0
    return table(
        len(shown),
        lambda at: row_of(
            shown[at], frames[shown[at]], start, summary_of(packets[shown[at]])
        ),
        limit=limit,
    )


def _nearest(matcher: Matcher, packets: Sequence[Packet]) -> str:
    """Name the packet that comes nearest, the latest of several, and what differs."""
    first = max(len(packets) - SEARCHED, 0)
    best: tuple[int, int] | None = None
    for number in range(first, len(packets)):
        distance = matcher.distance(packets[number])
        if distance is None:
            return ""
        if distance and (best is None or distance <= best[0]):
            best = distance, number
    if best is None:
        return ""
    misses = "; ".join(matcher.misses(packets[best[1]]) or ())
    where = f" among the last {SEARCHED:,} packets" if first else ""
    return f"\nnearest miss{where}: #{best[1]}: {printable(misses)}"


def _named(places: Sequence[str]) -> str:
    named = ", ".join(places[:_PLACES])
    left_out = len(places) - _PLACES
    return f"{named} and {left_out} more" if left_out > 0 else named


def _packets(count: int) -> str:
    if count == 1:
        return "1 packet was"
    return f"{count:,} packets were" if count else "no packet was"
