"""Listen while packets come fast, in a process that does nothing else.

``listening.py HOW PACKETS RATE`` builds a network, floods it, listens in one of the
ways below, and prints what was measured as a line of JSON. Processor time is that of
all threads from before the capture began until its last thread had ended; that of
tcpdump, which is a process of its own, from its start to its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flood import FRAME_LENGTH

import pytest_netns
from pytest_netns import Bridge, Namespace, Topology, Veth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_netns import Network, PacketCapture

_FLOOD: Final = Path(__file__).with_name("flood.py")
#: Without a word of their own: what is captured is the flood, to the packet. A bridge
#: joins the group of all snoopers, and its ports hear of that up to two seconds later.
_QUIET: Final = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv4.igmp_link_local_mcast_reports": "0",
}
_LEFT, _RIGHT = Namespace("left", sysctls=_QUIET), Namespace("right", sysctls=_QUIET)
_CABLE: Final = Topology(
    _LEFT, _RIGHT, Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24")
)
_BRIDGED: Final = Topology(
    *(_LEFT, _RIGHT, Namespace("middle", sysctls=_QUIET)),
    Bridge("br0", namespace="middle"),
    Veth("left:eth0", "br0:from", address="10.0.0.1/24"),
    Veth("right:eth0", "br0:to", address="10.0.0.2/24"),
)
_FOUR: Final = ("left:eth0", "br0:from", "br0:to", "right:eth0")
#: tcpdump lets packets gather for up to a second, and forgets them if it is told to
#: end before.
_PATIENCE: Final = 1.2
# libpcap's old format: of the file, and of each packet
_FILE_HEADER, _PACKET_HEADER = 24, 16
_LOOKED_AT: Final = 20_000
_PICKED: Final = 2_000
_PAGE: Final = 100

Measured = dict[str, Any]


class Flood:
    """A process that sends packets from left to right when it is told to."""

    def __init__(self, network: Network, packets: int, rate: int) -> None:
        """Start it, and wait until it is ready."""
        self._receiver = network.link("right:eth0")
        self._before = self._receiver.statistics.rx_packets
        command = [sys.executable, str(_FLOOD), str(packets), str(rate)]
        with network["left"]:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def run(self) -> None:
        """Have it send, and wait until it has."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self._seconds = float(self._process.stdout.readline())

    def measured(self) -> Measured:
        """Return how many packets the kernel has seen arrive, and how fast."""
        self._process.communicate()
        sent = self._receiver.statistics.rx_packets - self._before
        return {"sent": sent, "rate": sent / self._seconds}


def _cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def _await_threads() -> None:
    """Wait until the threads of captures have ended, which close their rings."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


def _captured(capture: PacketCapture) -> Measured:
    return {"captured": len(capture), "dropped": capture.dropped}


# --- the contestants ---


def listen_as_we_do(network: Network, flood: Flood) -> Measured:
    """Capture, then write the file as well."""
    with network["right"].capture("eth0"):
        pass  # what a session imports once is not of this one
    _await_threads()
    before = _cpu_seconds()
    with network["right"].capture("eth0") as capture:
        flood.run()
    _await_threads()
    captured = _cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        capture.save(Path(folder) / "packets.pcapng")
    saved = _cpu_seconds()
    return {
        **_captured(capture),
        "cpu": captured - before,
        "cpu_with_file": saved - before,
    }


def listen_as_tcpdump_does(network: Network, flood: Flood) -> Measured:
    """Start tcpdump, as people do, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packets.pcap"
        with network["right"]:
            tcpdump = subprocess.Popen(
                ["tcpdump", "-i", "eth0", "-w", str(file)],
                stderr=subprocess.PIPE,
                text=True,
            )
        assert tcpdump.stderr
        while "listening on" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None
        flood.run()
        time.sleep(_PATIENCE)
        tcpdump.send_signal(signal.SIGINT)
        report = tcpdump.stderr.read()
        _, status, usage = os.wait4(tcpdump.pid, 0)
        tcpdump.returncode = status
        packets = file.stat().st_size - _FILE_HEADER
    dropped = re.search(r"(\d+) packets? dropped by kernel", report)
    assert dropped, report
    return {
        "captured": packets // (_PACKET_HEADER + FRAME_LENGTH),
        "dropped": int(dropped[1]),
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def listen_as_scapy_does(network: Network, flood: Flood) -> Measured:
    """Sniff with scapy, with nothing set but the interface."""
    # scapy looks round where it is imported, and its thread is born where we are
    with network["right"]:
        from scapy.sendrecv import AsyncSniffer

        has_begun = threading.Event()
        before = _cpu_seconds()
        sniffer = AsyncSniffer(iface="eth0", started_callback=has_begun.set)
        sniffer.start()
        has_begun.wait()
        flood.run()
        packets = sniffer.stop()
    return {"captured": len(packets or ()), "cpu": _cpu_seconds() - before}


def listen_while_busy(network: Network, flood: Flood) -> Measured:
    """Capture while the test computes, and hardly ever lets other threads run."""
    sending = threading.Thread(target=flood.run)
    with network["right"].capture("eth0") as capture:
        sending.start()
        number = 0
        while sending.is_alive():
            number += 1
    return _captured(capture)


def listen_at_four_places(network: Network, flood: Flood) -> Measured:
    """Capture the same packets at each interface on their way."""
    before = _cpu_seconds()
    with network.capture(*_FOUR) as capture:
        flood.run()
    _await_threads()
    return {**_captured(capture), "cpu": _cpu_seconds() - before}


def listen_for_long(network: Network, flood: Flood) -> Measured:
    """Capture more than fits into memory, and look at it."""
    import pytest_netns._scapy as scapy_gate

    scapy_gate.load()
    before = _status("VmRSS")
    _forget_peak()
    with network["right"].capture("eth0") as capture:
        flood.run()
    captured = _captured(capture)
    growth = _status("VmHWM") - before
    packets = capture.packets
    middle = len(packets) // 2
    return {
        **captured,
        "growth": growth,
        "spilled": _spilled(),
        "length": _time(lambda: len(packets)),
        "one": _time(lambda: packets[middle]),
        "page": _time(lambda: list(packets[middle : middle + _PAGE])),
        "growth_after": _status("VmHWM") - before,
    }


def listen_and_look(network: Network, flood: Flood) -> Measured:
    """Capture, and look at the packets in all the ways there are."""
    import pytest_netns._scapy as scapy_gate

    scapy = scapy_gate.load()
    with network["right"].capture("eth0") as capture:
        flood.run()
    packets, frames = capture.packets, capture.frames
    picked = random.Random(1).sample(range(len(frames)), _PICKED)  # noqa: S311
    data = [frame.data for frame in islice(frames, _LOOKED_AT)]
    ethernet = scapy.layers.l2.Ether

    def parse_all() -> list[Any]:
        return [ethernet(one) for one in data]

    def look_at_frames() -> None:
        for _ in frames:
            pass

    # both lists live as long as the other is made: garbage collection costs alike
    looked_at = _time(lambda: list(islice(packets, _LOOKED_AT)))
    return {
        **_captured(capture),
        "iterate": looked_at / _LOOKED_AT,
        "scapy": _time(parse_all) / _LOOKED_AT,
        "frames": _time(look_at_frames) / len(frames),
        "pick": _time(lambda: [packets[one] for one in picked]) / _PICKED,
        "pick_frame": _time(lambda: [frames[one] for one in picked]) / _PICKED,
    }


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _status(name: str) -> int:
    """Return a figure of this process, in bytes: VmRSS or VmHWM, its peak."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def _spilled() -> int:
    """Return the size of the files without a name that this process has open."""
    return sum(file.stat().st_size for file in _nameless_files())


def _nameless_files() -> Iterator[Path]:
    folder = tempfile.gettempdir()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            if target.startswith(f"{folder}/") and target.endswith(" (deleted)"):
                yield descriptor


WAYS: Final[dict[str, tuple[Topology, Callable[[Network, Flood], Measured]]]] = {
    "ours": (_CABLE, listen_as_we_do),
    "tcpdump": (_CABLE, listen_as_tcpdump_does),
    "scapy": (_CABLE, listen_as_scapy_does),
    "busy": (_CABLE, listen_while_busy),
    "four": (_BRIDGED, listen_at_four_places),
    "long": (_CABLE, listen_for_long),
    "look": (_CABLE, listen_and_look),
}


def run(how: str, packets: int, rate: int) -> Measured:
    """Run this program, and return what it has measured."""
    command = [sys.executable, __file__, how, str(packets), str(rate)]
    completed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Measured = json.loads(completed.stdout)
    return measured


def _main() -> None:
    how, packets, rate = sys.argv[1:]
    topology, listen = WAYS[how]
    with pytest_netns.build(topology) as network:
        flood = Flood(network, int(packets), int(rate))
        measured = listen(network, flood)
        print(json.dumps({**flood.measured(), **measured}))


if __name__ == "__main__":
    _main()
