"""Measure what beginning and ending a capture takes, and whether it misses nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from contestants import Ours, star
from flood import Sender, frame
from measure import Series, interleave
from quiet import QuietKernel
from report import Row, Section, timed_row

import pytest_netns
from pytest_netns import Namespace, Topology, Veth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from measure import Progress

    from pytest_netns import Network, NetworkNamespace, PacketCapture

_CABLE: Final = Topology(
    *(Namespace("left"), Namespace("right")),
    Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
)
_MACHINES: Final = 4
_CYCLES: Final = 25
_WARM_UP: Final = 10
_MOST_ADDED: Final = 3e-3
#: scapy's thread says when it has begun, and needs a moment to see what was sent.
_A_MOMENT: Final = 0.005

_OURS: Final = "ns.capture"
_OURS_AT_ALL: Final = "network.capture, four namespaces"
_TCPDUMP: Final = "tcpdump"
_TCPDUMPS: Final = "tcpdump, four of them"
_SCAPY: Final = "scapy's AsyncSniffer"

Listening: TypeAlias = "Callable[[], AbstractContextManager[object]]"


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time beginnings and ends, then see who misses the first packet."""
    return [
        _measure_ends(progress, quick=quick),
        _measure_recording(progress, quick=quick),
        _measure_first_packet(progress, quick=quick),
    ]


# --- beginnings and ends ---


def _measure_ends(progress: Progress, *, quick: bool) -> Section:
    """Time beginning and end, with an answered ping between them."""
    ends: dict[str, Series] = {}
    with ExitStack() as live:
        pair = live.enter_context(pytest_netns.build(_CABLE))
        four = live.enter_context(pytest_netns.build(star(_MACHINES)))
        timers = {
            name: _timer(listening, ping, ends.setdefault(name, Series()))
            for name, (listening, ping) in _contestants(pair, four).items()
        }
        for timer in timers.values():
            timer()
        for series in ends.values():
            series.seconds.clear()
        rounds = 5 if quick else 30
        starts = interleave("begin and end", timers, rounds, progress=progress)
    rows = []
    for verb, timed in (("begin", starts), ("end", ends)):
        for ours, others in ((_OURS, (_TCPDUMP, _SCAPY)), (_OURS_AT_ALL, (_TCPDUMPS,))):
            reference = ours, timed[ours]
            rows.append(timed_row(f"{ours}: {verb}", timed[ours], "ms"))
            rows += [
                timed_row(f"{name}: {verb}", timed[name], "ms", reference)
                for name in others
                if name in timed
            ]
    return Section("Begin and end a capture", rows)


def _contestants(
    pair: Network, four: Network
) -> dict[str, tuple[Listening, Callable[[], object]]]:
    left, right = pair["left"], pair["right"]
    machines = list(four)

    def ping() -> object:
        return left.ping("right")

    def ping_at_all() -> object:
        return machines[0].ping(machines[1].name)

    contestants: dict[str, tuple[Listening, Callable[[], object]]] = {
        _OURS: (lambda: _closed(right.capture("eth0")), ping),
        _OURS_AT_ALL: (lambda: _closed(four.capture()), ping_at_all),
        _SCAPY: (lambda: _scapy(right), ping),
    }
    if shutil.which("tcpdump") is not None:
        contestants[_TCPDUMP] = (lambda: _tcpdump([right]), ping)
        contestants[_TCPDUMPS] = (lambda: _tcpdump(machines), ping_at_all)
    return contestants


def _timer(
    listening: Listening, ping: Callable[[], object], ends: Series
) -> Callable[[], float]:
    """Return a timer of the beginning, which adds the time of the end to `ends`."""

    def listen_once() -> float:
        start = time.perf_counter()
        listener = listening()
        listener.__enter__()
        begun = time.perf_counter()
        assert ping()
        ending = time.perf_counter()
        listener.__exit__(None, None, None)
        ends.seconds[len(ends.seconds)] = time.perf_counter() - ending
        _await_threads()
        return begun - start

    return listen_once


def _closed(capture: PacketCapture) -> AbstractContextManager[object]:
    return capture


def _await_threads() -> None:
    """Wait until all that captures have is closed, which a test does not wait for."""
    for thread in threading.enumerate():
        if thread.name == "pytest-netns capture":
            thread.join()


@contextmanager
def _tcpdump(places: list[NetworkNamespace]) -> Iterator[None]:
    """Listen by tcpdump: it has begun when it says so, and ended when it is gone."""
    command = ["tcpdump", "-i", "eth0", "-w", "/dev/null"]
    processes = []
    for place in places:
        with place:
            processes.append(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            )
    for process in processes:
        assert process.stderr
        while "listening on" not in process.stderr.readline():
            assert process.poll() is None
    yield
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        process.communicate()


@contextmanager
def _scapy(place: NetworkNamespace) -> Iterator[None]:
    """Listen by scapy: it has begun when it says so."""
    with place:
        from scapy.config import conf
        from scapy.sendrecv import AsyncSniffer

        if "eth0" not in conf.ifaces:
            conf.ifaces.reload()
        has_begun = threading.Event()
        sniffer = AsyncSniffer(iface="eth0", started_callback=has_begun.set)
        sniffer.start()
    has_begun.wait()
    yield
    sniffer.stop()


# --- recording ---


def _measure_recording(progress: Progress, *, quick: bool) -> Section:
    """Time networks that are recorded (``--netns-capture``), and others."""
    quiet = QuietKernel()
    contestants = {"recorded": Ours(records=True), "not recorded": Ours()}
    rows = []
    for what, make_timer, rounds in (
        ("build", _build_timer, 10 if quick else 60),
        ("build and take down, sustained", _cycle_timer, 2 if quick else 10),
    ):
        timers = {
            name: make_timer(contestant, quiet)
            for name, contestant in contestants.items()
        }
        for timer in timers.values():
            timer()
        series = interleave(what, timers, rounds, progress=progress)
        recorded, plain = series.values()
        added = recorded.difference_to(plain)
        rows += [
            timed_row(f"{what}, recorded", recorded, "ms", ("not recorded", plain)),
            timed_row(f"{what}, not recorded", plain, "ms"),
            Row(
                f"{what}, added",
                f"{added * 1e3:.2f} ms",
                goal=f"<= {_MOST_ADDED * 1e3:g} ms",
                met=added <= _MOST_ADDED,
            ),
        ]
    for contestant in contestants.values():
        contestant.stop()
    quiet.close()
    return Section("Networks that are recorded (--netns-capture)", rows)


def _build_timer(contestant: Ours, quiet: QuietKernel) -> Callable[[], float]:
    def build_once() -> float:
        start = time.perf_counter()
        contestant.build()
        seconds = time.perf_counter() - start
        contestant.close()
        quiet.wait()
        return seconds

    return build_once


def _cycle_timer(contestant: Ours, quiet: QuietKernel) -> Callable[[], float]:
    def run_block() -> float:
        start = 0.0
        for number in range(_WARM_UP + _CYCLES):
            if number == _WARM_UP:
                start = time.perf_counter()
            contestant.build()
            contestant.close()
        seconds = (time.perf_counter() - start) / _CYCLES
        quiet.wait()
        return seconds

    return run_block


# --- the first packet ---


def _measure_first_packet(progress: Progress, *, quick: bool) -> Section:
    """Send a packet as soon as a listener claims to listen."""
    runs = 40 if quick else 200
    with pytest_netns.build(_CABLE) as network:
        with network["left"]:
            sender = Sender("eth0")
        ways = {_OURS: _see_by_capture, _SCAPY: _see_by_scapy}
        seen = dict.fromkeys(ways, 0)
        for turn in range(runs):
            progress.show("first packet", turn, runs)
            for name, see in ways.items():
                seen[name] += see(network["right"], sender)
    rows = [
        Row(
            f"{name}: the first packet is there",
            f"{count} of {runs}",
            goal="all" if name == _OURS else "",
            met=count == runs if name == _OURS else None,
        )
        for name, count in seen.items()
    ]
    return Section("A packet that is sent as soon as a capture has begun", rows)


def _see_by_capture(place: NetworkNamespace, sender: Sender) -> bool:
    with place.capture("eth0") as capture:
        sender.send(1)
    return any(one.data == frame() for one in capture.frames)


def _see_by_scapy(place: NetworkNamespace, sender: Sender) -> bool:
    """Take `start()` at its word: it returns when the thread has been started."""
    from scapy.sendrecv import AsyncSniffer

    with place:
        has_begun = threading.Event()
        sniffer = AsyncSniffer(iface="eth0", started_callback=has_begun.set)
        sniffer.start()
    sender.send(1)
    has_begun.wait()
    time.sleep(_A_MOMENT)
    return any(bytes(one) == frame() for one in sniffer.stop() or [])
