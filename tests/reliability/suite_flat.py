"""The inner suite: thousands of tests as people write them, of every kind.

Run by `test_flat`, never by itself. NETNS_LEAK names what one of ten tests leaks, so
that it is known that it would be seen; "plain" leaves out all networks.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    DNAT,
    Bridge,
    Masquerade,
    Namespace,
    NetnsError,
    OVSBridge,
    Route,
    Topology,
    Veth,
)
from pytest_netns._nsfile import NamespaceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_netns import Network, NetworkManager

_COUNT = int(os.environ["NETNS_TESTS"])
_LEAKS = os.environ.get("NETNS_LEAK", "").split()
_PLAIN = "plain" in _LEAKS
#: One of so many tests is switched by Open vSwitch, which takes longer.
_OVS_EVERY = 60
_LEAKED: list[Any] = []

LAN = Topology(
    Namespace("a"),
    Namespace("b"),
    Bridge("br0"),
    Veth("a", "br0", address=["10.0.0.1/24", "fd00::1/64"]),
    Veth("b", "br0", address=["10.0.0.2/24", "fd00::2/64"]),
)
NAT = Topology(
    Namespace("client", routes=[Route("default", via="10.1.0.1")]),
    Namespace(
        "gw", forwarding=True, nat=[Masquerade(), DNAT("10.1.0.2:80", port=8080)]
    ),
    Namespace(
        "server", nftables="table inet own {}", sysctls={"net.core.somaxconn": 9}
    ),
    Veth("client", "gw", address="10.1.0.2/24", peer_address="10.1.0.1/24"),
    Veth("server", "gw", address="10.2.0.2/24", peer_address="10.2.0.1/24"),
)
OVS = Topology(
    Namespace("a"),
    Namespace("b"),
    OVSBridge("ovs0"),
    Veth("a", "ovs0", address="10.0.0.1/24"),
    Veth("b", "ovs0", address="10.0.0.2/24"),
)
SETTINGS = Topology(
    *LAN,
    Bridge("br1", mtu=1400, stp=True, lladdr="02:00:00:00:00:01"),
    Veth("a", "br1"),
)


@pytest.fixture(scope="module")
def of_the_module(netns_manager: NetworkManager) -> Iterator[Network]:
    """A network that all tests of the module share."""
    with netns_manager.build(LAN) as network:
        yield network


@pytest.fixture
def other_module(netns_manager: NetworkManager) -> Iterator[Network]:
    """A network that ends with its test, but was not made for it alone."""
    with netns_manager.build(SETTINGS) as network:
        yield network


def daemon(network: Network, path: Path) -> None:
    """A daemon listens, and another one does not heed signals."""
    network["a"].popen([sys.executable, "-S", "-c", _SERVER]).wait_for_output("ready")
    network["b"].popen(["sh", "-c", "trap '' TERM; sleep 600 & sleep 600"])
    with network["b"].socket() as client:
        client.connect(("10.0.0.1", 80))


def capture(network: Network, path: Path) -> None:
    """Packets are captured and saved; a second capture is left open."""
    with network["a"].capture() as packets:
        assert network["b"].ping("10.0.0.1")
        packets.wait(2)
    packets.save(path / "packets.pcapng")
    network.capture("br0:a-eth0", "b:eth0").__enter__()


def calls(network: Network, path: Path) -> None:
    """Calls inside, in the foreground and in the background; one fails."""
    assert network["a"].call(sum, [1, 2]) == 3
    assert network["a"].spawn(sum, [1, 2]).result(timeout=5) == 3
    with pytest.raises(ValueError, match="literal"):
        network["b"].call(int, "no number")
    network["b"].spawn(network["b"].socket(type=socket.SOCK_DGRAM).recv, 1)


def sockets(network: Network, path: Path) -> None:
    """Sockets and a thread are left to the end of the test."""
    listener = network["a"].socket()
    listener.bind(("10.0.0.1", 80))
    listener.listen()
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    client = network["b"].socket()
    client.connect(("10.0.0.1", 80))
    path.joinpath("kept").write_text("gone with its test", encoding="utf-8")


def plain(network: Network, path: Path) -> None:
    """Two echoes and a command."""
    assert network["a"].ping("b")
    assert network["a"].ping("fd00::2")
    assert network["b"].run("true").returncode == 0


def behind_our_back(network: Network, path: Path) -> None:
    """A bridge is changed where it lives, so that it cannot be lent again."""
    place = network._fabric.switches["br0"].file.path
    command = "ip link set br0 type bridge ageing_time 100"
    subprocess.run(["nsenter", f"--net={place}", *command.split()], check=True)


def fails(network: Network, path: Path) -> None:
    """It fails, with a process that still runs, and local variables to be shown."""
    network["a"].popen(["sleep", "600"])
    with pytest.raises(NetnsError):
        network.add(Veth("a", "nobody"))
    pytest.fail("as it should")


def natted(network: Network, path: Path) -> None:
    """An address is translated."""
    assert network["client"].ping("10.2.0.2")
    network["server"].nft("table ip more {}")


def switched(network: Network, path: Path) -> None:
    """Open vSwitch switches."""
    assert network["a"].ping("b")
    network["ovs0"].ofctl("dump-flows")  # type: ignore[attr-defined]


_DEEDS: list[tuple[Callable[[Network, Path], None], Topology]] = [
    *((plain, LAN), (daemon, LAN), (capture, LAN), (calls, LAN), (sockets, LAN)),
    *((natted, NAT), (fails, LAN), (behind_our_back, LAN), (plain, SETTINGS)),
]
_SERVER = """if True:
    import socket
    server = socket.create_server(("10.0.0.1", 80))
    print("ready", flush=True)
    while True:
        server.accept()[0].close()
"""


def _accept(listener: socket.socket) -> None:
    try:
        listener.accept()
        listener.accept()
    except OSError:
        return


@pytest.fixture
def deed(number: int) -> tuple[Callable[[Network, Path], None], Topology]:
    """What is done in the test, and in which network."""
    if number % _OVS_EVERY == _OVS_EVERY - 1:
        return switched, OVS
    return _DEEDS[number % len(_DEEDS)]


@pytest.fixture
def netns_topology(
    deed: tuple[Callable[[Network, Path], None], Topology],
) -> Topology:
    """The network."""
    return deed[1]


@pytest.mark.parametrize("number", range(_COUNT))
def test_any(
    number: int,
    deed: tuple[Callable[[Network, Path], None], Topology],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """All there is."""
    if number % 10 == 0:
        leak(number)
    if _PLAIN:
        assert deed[0] is not fails
        return
    if number % 10 == 3:
        assert request.getfixturevalue("of_the_module")["a"].ping("b")
    if number % 20 == 7:
        assert request.getfixturevalue("other_module")["b"].ping("a")
    deed[0](request.getfixturevalue("netns"), tmp_path)


def leak(number: int) -> None:
    """Leak what this run is told to leak."""
    if "descriptor" in _LEAKS:
        _LEAKED.append(os.open(os.devnull, os.O_RDONLY))
    if "thread" in _LEAKS:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    if "object" in _LEAKS:
        _LEAKED.append(Namespace(f"leaked-{number}"))
    if "process" in _LEAKS:
        _LEAKED.append(subprocess.Popen(["sleep", "600"]))
    if "namespace" in _LEAKS:
        _LEAKED.append(NamespaceFile.create("leaked"))
    if "file" in _LEAKS:
        tempfile.mkdtemp()
    if "memory" in _LEAKS:
        _LEAKED.append(b"x" * 400_000)
