"""A suite that has, at any moment, much that could outlive it; run by `box`.

What its tests do, and in which order, is given by ``BUSY_SEED``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    DNAT,
    Host,
    Masquerade,
    Namespace,
    OVSBridge,
    Route,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pytest_netns import Iperf3, NetworkManager
    from pytest_netns.bench import Bench

    Kind = Callable[[pytest.FixtureRequest], None]

#: left (10.0.0.1) --- (10.0.0.2) right
CABLE = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)
#: inside (10.0.1.1) --- (10.0.1.2) gw (192.0.2.1) --- (192.0.2.2) outside
NAT = Topology(
    Namespace("inside", routes=[Route("default", via="10.0.1.2")]),
    Namespace(
        "gw",
        forwarding=True,
        nat=[Masquerade(out_interface="out"), DNAT("10.0.1.1:80", port=8080)],
        nftables="table inet mine {\n set ports { type inet_service; }\n}",
    ),
    Namespace("outside"),
    Veth("inside", "gw:in", address="10.0.1.1/24", peer_address="10.0.1.2/24"),
    Veth("gw:out", "outside", address="192.0.2.1/24", peer_address="192.0.2.2/24"),
)
#: What is the machine's is there once: runs that are beside one another share it.
_NUMBER = os.environ.get("BUSY_NUMBER", "0")
#: the machine (10.5.0.1) --- (10.5.0.2) red
SHARED = Topology(
    Host(share_connection=True),
    Namespace("red", routes=[Route("default", via=f"10.5.{_NUMBER}.1")]),
    Veth(f"host:red{_NUMBER}", "red", subnet=f"10.5.{_NUMBER}.0/24"),
)
#: one (10.0.0.1) --- sw0 --- (10.0.0.2) two
SWITCHED = Topology(
    Namespace("one"),
    Namespace("two"),
    OVSBridge("sw0", subnet="10.0.0.0/24"),
    Veth("one", "sw0"),
    Veth("two", "sw0"),
)

_DAEMON = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print("on", flush=True)
time.sleep(600)
"""


def manager_of(request: pytest.FixtureRequest) -> NetworkManager:
    """Return the session's manager."""
    manager: NetworkManager = request.getfixturevalue("netns_manager")
    return manager


def accept(listener: socket.socket) -> None:
    """Wait on a socket until it is taken away."""
    with contextlib.suppress(OSError):
        listener.accept()


def run_daemons(request: pytest.FixtureRequest) -> None:
    """Start what is hard to find, and hard to end."""
    with manager_of(request).build(CABLE) as network:
        left, right = network
        program = [sys.executable, "-S", "-c", _DAEMON]
        daemon = left.popen(program, expect_exit=True)
        left.wait_until(lambda: "on" in daemon.output, timeout=20)
        left.popen(["sleep", "600"])
        # without the environment, or the network, by which others are found
        right.popen(["env", "-i", "sleep", "600"])
        right.popen(["unshare", "--net", "sleep", "600"])
        with left:
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        child.returncode = 0  # not ours to wait for
        right.spawn(accept, right.socket())
        right.call(time.sleep, 0.1)
        if _IS_UNWATCHED:
            Path("held").touch()
            time.sleep(600)


def capture_and_save(request: pytest.FixtureRequest) -> None:
    """Write the same file again and again."""
    with manager_of(request).build(CABLE) as network:
        left = network["left"]
        with left.capture("eth0") as capture:
            for _ in range(10):
                left.ping("right", count=5, interval=0.001)
                capture.save(f"saved-{os.getpid()}.pcapng")


def translate(request: pytest.FixtureRequest) -> None:
    """Have a router with rules of nftables, ours and others."""
    with manager_of(request).build(NAT) as network:
        network["inside"].popen([sys.executable, "-S", "-m", "http.server", "80"])
        network["gw"].nft("add table ip more")
        assert network["inside"].ping("192.0.2.2", count=10, interval=0.01)


def share_connection(request: pytest.FixtureRequest) -> None:
    """Change the machine that this runs on."""
    with manager_of(request).build(SHARED) as network:
        network["red"].popen(["sleep", "600"])
        network["host"].popen(["sleep", "600"])
        assert network["red"].ping("host", count=10, interval=0.01)


def load(request: pytest.FixtureRequest) -> None:
    """Have the benchmarks' own processes at work."""
    iperf3: Iperf3 = request.getfixturevalue("netns_iperf3")
    bench: Bench = request.getfixturevalue("netns_bench")
    with manager_of(request).build(CABLE) as network:
        left, right = network
        iperf3(left, right, duration=0.3)
        bench.latency(left, right, budget=0.5)


def switch(request: pytest.FixtureRequest) -> None:
    """Have the daemons of Open vSwitch."""
    with manager_of(request).build(SWITCHED) as network:
        assert network["one"].ping("two", count=10, interval=0.01, timeout=5.0)


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(run_daemons, capture_and_save, translate),
        *(share_connection, load, switch),
    )
}
#: Whether this is to be without the watcher, with much for one to do.
_IS_UNWATCHED = bool(os.environ.get("BUSY_UNWATCHED"))
_KINDS = ["run_daemons"] if _IS_UNWATCHED else [*KINDS]
_ORDER = (
    random.Random(os.environ.get("BUSY_SEED")).sample(_KINDS, len(_KINDS))
    if os.environ.get("BUSY_ROUNDS")
    else random.Random(os.environ.get("BUSY_SEED")).choices(_KINDS, k=300)
)


def _end_by_itself() -> None:
    """End this process from within, if that is wanted, at the moment that is wanted."""
    how, _, moment = os.environ.get("BUSY_END", "").partition(":")
    if not how:
        return

    def end() -> None:
        time.sleep(float(moment))  # not to wait for anything: any moment will do
        Path("ended").touch()
        if how == "exit":
            os._exit(3)
        ctypes.string_at(0)

    threading.Thread(target=end, daemon=True).start()


@pytest.fixture(scope="session", autouse=True)
def _begun(netns_manager: NetworkManager) -> None:
    """Tell who is going to kill us that it may begin."""
    if _IS_UNWATCHED:
        netns_manager._watcher._tell = lambda *_: None  # type: ignore[method-assign]
    Path(f"worker-{os.getpid()}").touch()
    Path("begun").touch()
    _end_by_itself()


@pytest.fixture(scope="session", autouse=True)
def _farewell(_begun: None) -> object:
    """Tell whether fixtures were torn down."""
    yield
    Path(f"farewell-{os.getpid()}").touch()


@pytest.mark.parametrize("kind", _ORDER)
def test_busy(kind: str, request: pytest.FixtureRequest) -> None:
    """Everything works, as long as nobody kills it."""
    if Path("enough").exists():
        pytest.skip("the worker that was to be killed was killed")
    KINDS[kind](request)
