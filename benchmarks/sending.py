#!/usr/bin/env python3
"""Measure sending from a namespace: questions and answers, scans, replays.

``sending.py`` alone, run inside a namespace, is the worker that asks with scapy: for
each line ``WHAT TIMES`` it prints how many seconds one of these calls took.
"""

from __future__ import annotations

import dataclasses
import gc
import gzip
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from measure import interleave, time_calls
from report import Row, Section, timed_row, with_ratio_goal

import pytest_netns
from pytest_netns import Namespace, Topology, Veth

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress, Series

    from pytest_netns import Network, NetworkNamespace

#: Without a word of their own: what arrives is what was sent, to the packet.
_QUIET: Final = {"net.ipv6.conf.all.disable_ipv6": "1"}
_PAIR: Final = Topology(
    Namespace("left", sysctls=_QUIET),
    Namespace("right", sysctls=_QUIET),
    Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
)
_OURS_MAY_TAKE: Final = 0.5
_REPLAY_GOAL: Final = 100_000
_PACKETS: Final = 100_000
_SPACED: Final = 1_000
_GAP: Final = 0.001
_PORTS: Final = 200
_FRAME: Final = bytes.fromhex("ffffffffffff 020000000001 88b5").ljust(60, b".")
_SENT_IN: Final = re.compile(r"sent in ([\d.]+) seconds")


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time questions and scans beside scapy's own, then replays beside tcpreplay's."""
    with pytest_netns.build(_PAIR) as network:
        sections = [_measure_questions(network["left"], progress, quick=quick)]
    with pytest_netns.build(_PAIR) as network, tempfile.TemporaryDirectory() as folder:
        sections.append(_measure_replay(network, Path(folder), progress, quick=quick))
    return sections


# questions


class _Worker:
    """A process inside a namespace, where scapy's own tables are right."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        with namespace:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def ask(self, what: str, times: int) -> float:
        """Return the seconds that one of these calls takes."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{what} {times}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        """Let it end."""
        self._process.communicate()


def _measure_questions(
    left: NetworkNamespace, progress: Progress, *, quick: bool
) -> Section:
    worker = _Worker(left)
    ours = {"ping": lambda: left.sr1(_ping()), "scan": lambda: left.sr(_scan())}
    rows = []
    for what, call, theirs, times in (
        ("ping", "ns.sr1, an echo", "scapy.sr1 in a process inside", 20),
        ("scan", f"ns.sr, {_PORTS} ports", "scapy.sr in a process inside", 1),
    ):
        timers = {
            call: partial(time_calls, ours[what], times),
            theirs: partial(worker.ask, what, times),
        }
        for timer in timers.values():
            timer()  # the first one learns who the neighbour is
        rounds = 10 if quick else 50
        series = interleave("sending", timers, rounds, progress=progress)
        row = timed_row(call, series[call], "ms", (theirs, series[theirs]))
        rows.append(with_ratio_goal(row, _OURS_MAY_TAKE) if what == "ping" else row)
        rows.append(timed_row(theirs, series[theirs], "ms"))
    worker.stop()
    return Section("Ask, and be answered", rows)


def _ping() -> Any:
    from scapy.layers.inet import ICMP, IP

    return IP(dst="10.0.0.2") / ICMP()


def _scan() -> Any:
    from scapy.layers.inet import IP, TCP

    return IP(dst="10.0.0.2") / TCP(dport=(1, _PORTS))


def _work() -> None:
    from scapy.sendrecv import sr, sr1

    calls = {
        "ping": lambda: sr1(_ping(), timeout=1, verbose=0),
        "scan": lambda: sr(_scan(), timeout=1, verbose=0),
    }
    for line in sys.stdin:
        what, times = line.split()
        seconds = time_calls(calls[what], int(times))
        sys.stdout.write(f"{seconds}\n")
        sys.stdout.flush()


# replays


def _measure_replay(
    network: Network, folder: Path, progress: Progress, *, quick: bool
) -> Section:
    left = network["left"]
    fast, spaced = folder / "fast.pcap", folder / "spaced.pcap"
    _write(fast, _PACKETS, 0)
    _write(spaced, _SPACED, _GAP)
    with_tcpreplay = shutil.which("tcpreplay") is not None
    compressed = folder / "fast.pcap.gz"
    compressed.write_bytes(gzip.compress(fast.read_bytes()))
    replays: dict[str, Callable[[], float]] = {
        "ns.replay, a pcap file": partial(_replay, left, fast, timing=None),
        "ns.replay, compressed": partial(_replay, left, compressed, timing=None),
    }
    if with_tcpreplay:
        replays["tcpreplay --topspeed"] = partial(_tcpreplay, left, fast, "--topspeed")
    arrived = _Counter(network)
    series = interleave("replay", replays, 3 if quick else 20, progress=progress)
    lost = arrived.missing(sum(len(one.seconds) for one in series.values()))
    rows = [_rate_row(name, one) for name, one in series.items()]
    rows.append(Row("lost of all these", str(lost), goal="0", met=lost == 0))
    spacings = {"ns.replay": partial(_replay, left, spaced, timing="original")}
    if with_tcpreplay:
        spacings["tcpreplay"] = partial(_tcpreplay, left, spaced)
    for name, replay in spacings.items():
        rows.append(_lateness_row(f"{name}, original gaps of 1 ms", network, replay))
    if not with_tcpreplay:
        rows.append(Row("tcpreplay", "not installed"))
    return Section(f"Replay {_PACKETS:,} packets of {len(_FRAME)} bytes", rows)


def _write(path: Path, packets: int, gap: float) -> None:
    """Write a pcap file; its times are in nanoseconds."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for number in range(packets):
            moment = round(number * gap * 1e9)
            about = *divmod(moment, 1_000_000_000), len(_FRAME), len(_FRAME)
            file.write(struct.pack("<IIII", *about) + _FRAME)


def _replay(left: NetworkNamespace, path: Path, *, timing: str | None) -> float:
    result = left.replay(path, dev="eth0", timing=timing)  # type: ignore[arg-type]  # a word of two
    return result.seconds


def _tcpreplay(left: NetworkNamespace, path: Path, *options: str) -> float:
    output = left.run(["tcpreplay", *options, "--intf1=eth0", str(path)]).stdout
    found = _SENT_IN.search(output)
    assert found, output
    return float(found[1])


class _Counter:
    """Counts what arrives at the other end."""

    def __init__(self, network: Network) -> None:
        self._link = network.link("right:eth0")
        self._before = self._link.statistics.rx_packets

    def missing(self, replays: int) -> int:
        """Return how many of the packets of so many replays have not arrived."""
        return replays * _PACKETS - (self._link.statistics.rx_packets - self._before)


def _rate_row(name: str, series: Series) -> Row:
    rate = _PACKETS / series.median
    low, high = (_PACKETS / edge for edge in series.quartiles())
    row = Row(name, f"{rate:,.0f} /s", middle_half=f"{high:,.0f} - {low:,.0f}")
    if not name.startswith("ns."):
        return row
    goal = f">= {_REPLAY_GOAL:,} /s"
    return dataclasses.replace(row, goal=goal, met=rate >= _REPLAY_GOAL)


def _lateness_row(name: str, network: Network, replay: Callable[[], float]) -> Row:
    """Return how much later packets arrive than the earliest of them lets expect."""
    right = network["right"]
    with right.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        ear.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        gc.collect()
        replay()
        times = [_moment(ear) for _ in range(_SPACED)]
    behind = [moment - number * _GAP for number, moment in enumerate(times)]
    late = sorted((one - min(behind)) * 1e6 for one in behind)
    value = f"{statistics.median(late):.0f} us late"
    return Row(
        name, value, middle_half=f"95 % within {late[len(late) * 95 // 100]:.0f}"
    )


def _moment(ear: socket.socket) -> float:
    _, [(_, _, value)], _, _ = ear.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("@ll", value)
    return float(seconds + nanoseconds * 1e-9)


if __name__ == "__main__":
    _work()
