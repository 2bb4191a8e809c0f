"""A bridge between namespaces: who sees which interface, and which frames.

::

    br0
    ├── vethY --- vethX in ns1 (10.0.0.1, fd00::1)
    ├── vethQ --- vethP in ns2 (10.0.0.2, fd00::2)
    └── vethS --- vethR in ns3 (10.0.0.3, fd00::3)
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    KernelError,
    Namespace,
    Network,
    NetworkNamespace,
    Topology,
    UnknownName,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = {"ns1": "vethX", "ns2": "vethP", "ns3": "vethR"}
PORTS = {"ns1": "vethY", "ns2": "vethQ", "ns3": "vethS"}
BRIDGE = Topology(
    Bridge("br0", subnet=["10.0.0.0/24", "fd00::/64"]),
    *(Namespace(name) for name in ENDS),
    *(Veth(f"{name}:{end}", f"br0:{PORTS[name]}") for name, end in ENDS.items()),
)
ANN, BOB = bytes.fromhex("020000000a01"), bytes.fromhex("020000000b0b")
#: IEEE 802 leaves this one to experiments: nobody else sends such frames.
ETHERTYPE = 0x88B5

pytestmark = pytest.mark.netns(BRIDGE)


class TestInterfaces:
    """An interface is in one namespace at a time."""

    def test_ends(self, netns: Network) -> None:
        """Each namespace sees its own end, and neither the port nor the bridge."""
        for name, end in ENDS.items():
            listed = netns[name].run("ip -brief link").stdout.splitlines()
            assert [line.split()[0].partition("@")[0] for line in listed] == ["lo", end]
            with pytest.raises(UnknownName):
                netns[name].interface(PORTS[name])

    def test_ports(self, netns: Network) -> None:
        """The ports have the names that they were given, and are up."""
        for name in ENDS:
            assert netns.link(f"br0:{PORTS[name]}").is_up
        with pytest.raises(UnknownName):
            netns.link("br0:vethX")

    def test_moved(self, netns: Network) -> None:
        """An interface that is moved is there, and no longer here."""
        ns1, ns2 = netns["ns1"], netns["ns2"]
        there = ns2.popen(["sleep", "inf"])
        mac = ns1.interface("vethX").lladdr
        ns1.run(f"ip link set vethX netns {there.pid}")
        assert [one.name for one in ns1.interfaces] == ["lo"]
        assert ns1.run("ls /sys/class/net").stdout.split() == ["lo"]
        assert ns2.interface("vethX").lladdr == mac
        assert "vethX" in ns2.run("ls /sys/class/net").stdout.split()

    def test_names_are_taken_once(self, netns: Network) -> None:
        """Nobody can have two interfaces of one name, and two may have the same."""
        netns.add(Veth("ns1:eth0", "ns2:eth0"))
        netns["ns1"].run("ip link add mine type bridge")
        netns["ns2"].run("ip link add mine type bridge")
        with pytest.raises(KernelError, match="EEXIST"):
            netns.add(Veth("ns1:mine", "ns3:mine"))


@pytest.fixture
def wires(netns: Network) -> Iterator[dict[str, socket.socket]]:
    """Give a packet socket at each end."""
    with ExitStack() as stack:
        sockets = {}
        for name, end in ENDS.items():
            wire = netns[name].socket(socket.AF_PACKET, socket.SOCK_RAW)
            sockets[name] = stack.enter_context(wire)
            wire.bind((end, ETHERTYPE))
            wire.settimeout(5)
        yield sockets


def frame(source: bytes, to: bytes, text: bytes) -> bytes:
    """Return an Ethernet frame."""
    return to + source + ETHERTYPE.to_bytes(2, "big") + text.ljust(46)


def heard(wire: socket.socket) -> bytes:
    """Wait for a frame, and return its text."""
    return wire.recv(100)[14:].strip()


class TestFlooding:
    """Frames go to everybody until the bridge knows better."""

    @pytest.mark.parametrize(
        "to", [BOB, b"\xff" * 6, bytes.fromhex("333300000999")],
        ids=["unknown", "broadcast", "multicast"],
    )  # fmt: skip
    def test_everybody(self, wires: dict[str, socket.socket], to: bytes) -> None:
        """All others see a frame for somebody unknown, or for all; the sender not."""
        wires["ns1"].send(frame(ANN, to, b"first"))
        assert heard(wires["ns2"]) == heard(wires["ns3"]) == b"first"
        wires["ns3"].send(frame(BOB, b"\xff" * 6, b"second"))
        assert heard(wires["ns1"]) == b"second", "not its own"
        assert heard(wires["ns2"]) == b"second"

    def test_learning(self, wires: dict[str, socket.socket]) -> None:
        """Whom the bridge has heard at a port gets frames there, and only there."""
        wires["ns2"].send(frame(BOB, ANN, b"I am here"))
        assert heard(wires["ns1"]) == heard(wires["ns3"]) == b"I am here"
        wires["ns1"].send(frame(ANN, BOB, b"for Bob"))
        assert heard(wires["ns2"]) == b"for Bob"
        # he moves
        wires["ns3"].send(frame(BOB, ANN, b"I am there"))
        assert heard(wires["ns1"]) == b"I am there"
        wires["ns1"].send(frame(ANN, BOB, b"for Bob again"))
        assert heard(wires["ns3"]) == b"for Bob again", "and not the one before"
        wires["ns1"].send(frame(ANN, b"\xff" * 6, b"for all"))
        assert heard(wires["ns2"]) == b"for all", "and not the one before"


class TestPorts:
    """Ports of TCP and UDP belong to a namespace."""

    @pytest.mark.parametrize("address", ["0.0.0.0", "::"])
    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_one_server_each(
        self, netns: Network, address: str, kind: socket.SocketKind
    ) -> None:
        """Servers in all namespaces have the same port, and are asked one by one."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with ExitStack() as stack:
            for namespace in netns:
                server = stack.enter_context(namespace.socket(family, kind))
                server.settimeout(5)
                server.bind((address, 80))
                if kind is socket.SOCK_STREAM:
                    server.listen()
                task = namespace.spawn(tell_name, server, namespace.name)
                stack.callback(task.result, 5)
            for name, target in zip(ENDS, ("1", "2", "3"), strict=True):
                prefix = "fd00::" if ":" in address else "10.0.0."
                assert ask(netns["ns1"], family, kind, prefix + target) == name

    def test_taken_in_one(self, netns: Network) -> None:
        """A port that is taken is taken in its namespace alone."""
        with netns["ns1"].socket() as one, netns["ns2"].socket() as two:
            one.bind(("0.0.0.0", 80))
            two.bind(("0.0.0.0", 80))
            with (
                closing(netns["ns1"].socket()) as third,
                pytest.raises(OSError, match="in use"),
            ):
                third.bind(("0.0.0.0", 80))


def tell_name(server: socket.socket, name: str) -> None:
    """Answer whoever asks once, with a name."""
    if server.type is socket.SOCK_STREAM:
        connection, _ = server.accept()
        with connection:
            connection.sendall(name.encode())
    else:
        _, client = server.recvfrom(100)
        server.sendto(name.encode(), client)


def ask(
    client: NetworkNamespace, family: int, kind: socket.SocketKind, address: str
) -> str:
    """Ask a server for its name."""
    with client.socket(family, kind) as connection:
        connection.settimeout(5)
        connection.connect((address, 80))
        if kind is socket.SOCK_DGRAM:
            connection.send(b"who are you?")
        return connection.recv(100).decode()
