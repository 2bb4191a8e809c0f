"""Measure captures: what is lost, what they cost, and what tcpdump and scapy do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import starting
from listening import run
from measure import Series, interleave
from report import Row, Section, timed_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from listening import Measured
    from measure import Progress

_RATE: Final = 200_000
_SECONDS: Final = 2
_QUICK_SECONDS: Final = 0.5
_MANY: Final = 5_000_000
_QUICK_MANY: Final = 1_000_000
#: More than the sender reaches anywhere: as fast as it can.
_FASTEST: Final = 1_000_000
#: Each byte that memory may grow by: the blocks that stay there, the ring, a batch of
#: blocks on their way to the file, and what a test would have of its own.
_MOST_GROWTH: Final = 128 * 1024 * 1024
#: How much slower scapy's packets may be had from a capture than scapy parses bytes.
_MOST_SLOWER: Final = 1.25

_OURS: Final = "ns.capture"
_SAVED: Final = "ns.capture and save()"
_TCPDUMP: Final = "tcpdump -w"
_SCAPY: Final = "scapy's AsyncSniffer"
_WAYS: Final = {_OURS: "ours", _TCPDUMP: "tcpdump", _SCAPY: "scapy"}


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Flood captures, look at what they have, and begin and end them."""
    return [
        _measure_flood(progress, quick=quick),
        _measure_load(progress, quick=quick),
        _measure_memory(progress, quick=quick),
        _measure_looking(progress, quick=quick),
        *starting.measure(progress, quick=quick),
    ]


def _contestants() -> dict[str, str]:
    """Return the ways to listen that there are on this machine, by their names."""
    has_tcpdump = shutil.which("tcpdump") is not None
    return {name: how for name, how in _WAYS.items() if has_tcpdump or name != _TCPDUMP}


def _measure_flood(progress: Progress, *, quick: bool) -> Section:
    """Listen to the same flood in all ways, one after the other, several times."""
    seconds = _QUICK_SECONDS if quick else _SECONDS
    results: dict[str, list[Measured]] = {name: [] for name in _contestants()}

    def timer(name: str) -> Callable[[], float]:
        def listen_once() -> float:
            measured = run(_WAYS[name], int(_RATE * seconds), _RATE)
            results[name].append(measured)
            return float(measured["cpu"])

        return listen_once

    timers = {name: timer(name) for name in results}
    rounds = 2 if quick else 5
    series = interleave("flood", timers, rounds, progress=progress)
    with_file = [measured["cpu_with_file"] for measured in results[_OURS]]
    series[_SAVED] = Series(dict(enumerate(with_file)))
    rows = [
        *_cpu_rows(series),
        *(row for name, runs in results.items() for row in _loss_rows(name, runs)),
    ]
    title = f"Capture {_RATE:,} packets of 60 bytes a second for {seconds:g} s"
    return Section(title, rows)


def _cpu_rows(series: dict[str, Series]) -> list[Row]:
    rows = []
    for name in (_OURS, _SAVED, _TCPDUMP, _SCAPY):
        if name not in series:
            rows.append(Row(f"{name}, processor time", "not installed"))
            continue
        reference = (_TCPDUMP, series[_TCPDUMP]) if _TCPDUMP in series else None
        rows.append(
            timed_row(
                f"{name}, processor time",
                series[name],
                "ms",
                None if name == _TCPDUMP else reference,
                at_most=1.0 if name == _OURS else None,
            )
        )
    return rows


def _loss_rows(
    name: str, runs: Sequence[Measured], *, goal: bool | None = None
) -> list[Row]:
    """Return what was captured in all runs, and what the kernel has counted."""
    sent, captured = (sum(run[key] for run in runs) for key in ("sent", "captured"))
    dropped = sum(run.get("dropped", 0) for run in runs)
    has_goal = name == _OURS if goal is None else goal
    rates = Series({number: run["rate"] for number, run in enumerate(runs)})
    told = "not told" if "dropped" not in runs[0] else f"{dropped:,}"
    return [
        Row(
            f"{name}, captured",
            f"{captured:,} of {sent:,}",
            compared_with=f"at {rates.median:,.0f} a second",
            goal="all" if has_goal else "",
            met=captured == sent if has_goal else None,
            samples=[run["captured"] for run in runs],
        ),
        Row(f"{name}, dropped by the kernel's counter", told),
    ]


def _measure_load(progress: Progress, *, quick: bool) -> Section:
    """Listen while the test computes, and at four places at once."""
    rows = []
    for name, how, places, seconds in (
        ("the test computes meanwhile", "busy", 1, 5),
        ("one capture at four interfaces", "four", 4, _SECONDS),
    ):
        runs = []
        rounds = 1 if quick else 2
        for turn in range(rounds):
            progress.show(f"{name}, round", turn, rounds)
            packets = int(_RATE * (_QUICK_SECONDS if quick else seconds))
            measured = run(how, packets, _RATE)
            runs.append({**measured, "sent": measured["sent"] * places})
        rows += _loss_rows(name, runs, goal=True)
    return Section("Capture under difficulties", rows)


def _measure_memory(progress: Progress, *, quick: bool) -> Section:
    """Capture more than fits into memory, and look into the middle of it."""
    packets = _QUICK_MANY if quick else _MANY
    progress.note(f"capturing {packets:,} packets")
    measured = run("long", packets, _FASTEST)
    growth = measured["growth_after"]
    rows = [
        *_loss_rows("ns.capture", [measured], goal=True),
        Row("in the file without a name", _megabytes(measured["spilled"])),
        Row(
            "growth of the process at its peak",
            _megabytes(growth),
            goal=f"<= {_megabytes(_MOST_GROWTH)}",
            met=growth <= _MOST_GROWTH,
        ),
        _milliseconds("len(capture.packets)", measured["length"]),
        _milliseconds("a packet in the middle", measured["one"]),
        _milliseconds("100 packets in the middle, by a slice", measured["page"]),
    ]
    return Section(f"{packets:,} packets in one capture", rows)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _milliseconds(what: str, seconds: float) -> Row:
    return Row(what, f"{seconds * 1e3:.3f} ms", samples=[seconds * 1e3])


def _measure_looking(progress: Progress, *, quick: bool) -> Section:
    """Have packets, and bare frames, out of a capture."""
    rounds = 1 if quick else 2
    runs: list[dict[str, Any]] = []
    for turn in range(rounds):
        progress.show("looking at packets, round", turn, rounds)
        runs.append(run("look", _RATE * _SECONDS, _RATE))

    def series(name: str) -> Series:
        return Series({number: run[name] for number, run in enumerate(runs)})

    reference = ("Ether(bytes)", series("scapy"))
    rows = [
        timed_row(
            "for packet in capture.packets, each of the first 20,000",
            series("iterate"),
            "us",
            reference,
            at_most=_MOST_SLOWER,
        ),
        timed_row("Ether(bytes), the same", series("scapy"), "us"),
        timed_row("capture.packets[any]", series("pick"), "us", reference),
        timed_row("capture.frames[any]", series("pick_frame"), "us"),
        timed_row("for frame in capture.frames, each", series("frames"), "us"),
    ]
    return Section(f"Look at {_RATE * _SECONDS:,} captured packets", rows)
