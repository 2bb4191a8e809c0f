"""What iperf3 has measured, read from its reports."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .estimates import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Protocol = Literal["tcp", "udp"]

#: What the program takes at most (iperf3(1), iperf.h: MAX_STREAMS, MAX_TIME,
#: MAX_OMIT_TIME, MIN_INTERVAL and MAX_INTERVAL); the library itself does not look.
MOST_STREAMS = 128
LONGEST = 86_400
LONGEST_OMITTED = 60
SHORTEST_INTERVAL = 0.1
LONGEST_INTERVAL = 60.0

# tc(8), "RATES": a number alone is in bits a second, "bps" in bytes a second
_RATE = re.compile(
    r"(\d+(?:\.\d*)?|\.\d+)\s*(?:(?:([kmgt])(i?))?(bit|bps))?", re.IGNORECASE
)
#: The part of an interval that is not one of its own.
_SHRED = 0.2
_PREFIXES = ["", "k", "m", "g", "t"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be sent.

    Args:
        duration: For how long, in seconds.
        protocol: ``"tcp"`` or ``"udp"``.
        parallel: How many streams.
        reverse: Whether the server sends.
        rate: At most how much each stream sends: bits a second, or a string as tc
            takes it, ``"10mbit"``; None is as much as it can, for UDP as well.
        omit: How many whole seconds at the start do not count, on top of `duration`.
        interval: The time between intermediate results, in seconds.

    Raises:
        TypeError: Something is of another type.
        ValueError: Something is out of its bounds; says which.
    """

    duration: float = 2.0
    protocol: str = "tcp"
    parallel: int = 1
    reverse: bool = False
    rate: float | str | None = None
    omit: int = 0
    interval: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol not in {"tcp", "udp"}:
            raise ValueError(f"protocol {self.protocol!r} is neither 'tcp' nor 'udp'")
        _check("duration", self.duration, 0.01, LONGEST)
        _check("parallel", self.parallel, 1, MOST_STREAMS, whole=True)
        if not isinstance(self.reverse, bool):
            raise TypeError(f"reverse must be a truth value, not {self.reverse!r}")
        _check("omit", self.omit, 0, LONGEST_OMITTED, whole=True)
        _check("interval", self.interval, SHORTEST_INTERVAL, LONGEST_INTERVAL)
        _ = self.bits_per_second

    @property
    def bits_per_second(self) -> int:
        """The rate of each stream; 0 is as much as it can."""
        return 0 if self.rate is None else parse_rate(self.rate)


def _check(
    name: str, value: object, least: float, most: float, *, whole: bool = False
) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "a whole number" if whole else "a number"
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least:g} to {most:g}, not {value!r}")


def parse_rate(rate: float | str) -> int:
    """Return a rate in bits a second.

    Args:
        rate: Bits a second, or a string as tc(8) takes it: ``"10mbit"``, ``"1.5gbit"``,
            ``"100kbps"`` (bytes), ``"1mibit"``.

    Raises:
        TypeError: It is neither.
        ValueError: It is not a rate, or not above 0.
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float | str):
        raise TypeError(f"rate must be a number or a string, not {rate!r}")
    if isinstance(rate, str):
        match = _RATE.fullmatch(rate.strip())
        if match is None:
            raise ValueError(f"rate {rate!r} is not like '10mbit' (see tc(8))")
        number, prefix, binary, unit = match.groups()
        step = 1024 if binary else 1000
        bits = float(number) * float(step ** _PREFIXES.index((prefix or "").lower()))
        bits *= 8 if (unit or "").lower() == "bps" else 1
    else:
        bits = float(rate)
    if not 1 <= bits < 2**63:
        raise ValueError(f"rate must be above 0 bit/s, not {rate!r}")
    return round(bits)


@dataclass(frozen=True, slots=True)
class ThroughputInterval:
    """What has arrived in a part of the time.

    Attributes:
        start: Seconds since the data began to flow.
        end: The same, at its end.
        bytes: What has arrived.
        bits_per_second: The same by the time.
        retransmits: How many segments were sent again; None if nobody counts them.
        jitter_ms: How much the delay of datagrams varies, in milliseconds; UDP only.
        lost_percent: The part of the datagrams that have not arrived; UDP only.
    """

    start: float
    end: float
    bytes: int
    bits_per_second: float
    retransmits: int | None = None
    jitter_ms: float | None = None
    lost_percent: float | None = None


@dataclass(frozen=True, slots=True)
class ThroughputResult:
    """What has arrived, as iperf3 has measured it.

    Attributes:
        bits_per_second: What has arrived, of all streams.
        bytes: The same in bytes, without the time.
        seconds: In how many seconds.
        retransmits: How many segments TCP has sent again; None for UDP, and if the
            sender's system does not count them.
        jitter_ms: How much the delay of datagrams varies, in milliseconds; UDP only.
        lost_percent: The part of the datagrams that have not arrived; UDP only.
        cpu_client_percent: The client's processor time by the time that has passed.
        cpu_server_percent: The server's.
        intervals: The time in parts, without what was to be omitted.
        raw: The client's whole report; the server's is its ``server_output_json``.
    """

    bits_per_second: float
    bytes: int
    seconds: float
    retransmits: int | None = None
    jitter_ms: float | None = None
    lost_percent: float | None = None
    cpu_client_percent: float | None = None
    cpu_server_percent: float | None = None
    intervals: tuple[ThroughputInterval, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        parts = [
            show(self.bits_per_second, "bit/s"),
            f"{self.bytes:,} bytes in {self.seconds:.3g} s",
        ]
        if self.retransmits is not None:
            parts.append(f"{self.retransmits} retransmits")
        if self.lost_percent is not None:
            parts.append(f"{self.lost_percent:.3g} % lost")
        if self.jitter_ms is not None:
            parts.append(f"jitter {self.jitter_ms:.3g} ms")
        return f"<ThroughputResult {', '.join(parts)}>"


def read_reports(
    client: Mapping[str, Any], server: Mapping[str, Any] | None
) -> ThroughputResult:
    """Read the reports of both sides.

    Their fields differ from release to release of iperf3: what is missing is None.
    What has arrived is what the receiver says, or what the other one says of it.

    Args:
        client: The client's JSON.
        server: The server's, if there is one.
    """
    started = _of(_of(client, "start"), "test_start")
    reverse, is_udp = bool(started.get("reverse")), _is_udp(started)
    receiver = client if reverse else server or client
    sender = (server or client) if reverse else client
    end = _of(client, "end")
    arrived = _arrived(client, receiver, is_udp=is_udp)
    datagrams = _of(_of(receiver, "end"), "sum") or _of(end, "sum") if is_udp else {}
    cpu = _of(end, "cpu_utilization_percent")
    seconds = _number(arrived, "seconds") or 0.0
    return ThroughputResult(
        bits_per_second=_rate_of(arrived, seconds),
        bytes=round(_number(arrived, "bytes") or 0),
        seconds=seconds,
        retransmits=_whole(_of(end, "sum_sent"), "retransmits"),
        jitter_ms=_number(datagrams, "jitter_ms"),
        lost_percent=_number(datagrams, "lost_percent"),
        cpu_client_percent=_number(cpu, "host_total"),
        cpu_server_percent=_number(cpu, "remote_total"),
        intervals=_joined(list(_intervals(receiver, sender))),
        raw={"server_output_json": server, **client} if server else client,
    )


def _is_udp(started: Mapping[str, Any]) -> bool:
    return str(started.get("protocol", "TCP")).upper() == "UDP"


def _arrived(
    client: Mapping[str, Any], receiver: Mapping[str, Any], *, is_udp: bool
) -> Mapping[str, Any]:
    for report in (receiver, client) if is_udp else (client,):
        if received := _of(_of(report, "end"), "sum_received"):
            return received
    # older releases have one sum for UDP: what was sent, and the part that was lost
    sent = _of(_of(client, "end"), "sum")
    part = 1 - (_number(sent, "lost_percent") or 0) / 100
    amounts = {
        name: value * part
        for name in ("bytes", "bits_per_second")
        if (value := _number(sent, name)) is not None
    }
    return {**sent, **amounts}


def _intervals(
    receiver: Mapping[str, Any], sender: Mapping[str, Any]
) -> Iterator[ThroughputInterval]:
    sent = list(_sums(sender))
    for number, one in enumerate(_sums(receiver)):
        start, end = _number(one, "start") or 0.0, _number(one, "end") or 0.0
        other = sent[number] if number < len(sent) else {}
        yield ThroughputInterval(
            start=start,
            end=end,
            bytes=round(_number(one, "bytes") or 0),
            bits_per_second=_rate_of(one, end - start),
            retransmits=_whole(other, "retransmits"),
            jitter_ms=_number(one, "jitter_ms"),
            lost_percent=_number(one, "lost_percent"),
        )


def _joined(intervals: list[ThroughputInterval]) -> tuple[ThroughputInterval, ...]:
    """Take shreds for what they are.

    The server's clock goes on until it hears that the test ends: it reports some more
    milliseconds, which belong to the last interval. And what it reports in the moment
    in which the omitted time is over has the bytes of before.
    """
    longest = max((one.end - one.start for one in intervals), default=0.0)

    def is_shred(one: ThroughputInterval) -> bool:
        return one.end - one.start < longest * _SHRED

    while intervals and is_shred(intervals[0]):
        intervals = intervals[1:]
    while intervals and is_shred(intervals[-1]):
        *others, before, last = intervals
        intervals = [*others, _join(before, last)]
    return tuple(intervals)


def _join(one: ThroughputInterval, other: ThroughputInterval) -> ThroughputInterval:
    amount, end = one.bytes + other.bytes, max(one.end, other.end)
    seconds = end - one.start
    counts = [n for n in (one.retransmits, other.retransmits) if n is not None]
    return dataclasses.replace(
        one,
        end=end,
        bytes=amount,
        bits_per_second=amount * 8 / seconds if seconds else 0.0,
        retransmits=sum(counts) if counts else None,
    )


def _sums(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    intervals = report.get("intervals")
    for interval in intervals if isinstance(intervals, list) else ():
        found = _of(interval, "sum")
        if found and not found.get("omitted"):
            yield found


def _rate_of(found: Mapping[str, Any], seconds: float) -> float:
    rate = _number(found, "bits_per_second")
    if rate is not None:
        return rate
    return (_number(found, "bytes") or 0) * 8 / seconds if seconds else 0.0


def _of(report: Any, name: str) -> Mapping[str, Any]:
    found = report.get(name) if isinstance(report, dict) else None
    return found if isinstance(found, dict) else {}


def _number(report: Mapping[str, Any], name: str) -> float | None:
    value = report.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(report: Mapping[str, Any], name: str) -> int | None:
    value = _number(report, name)
    return None if value is None or value < 0 else round(value)
