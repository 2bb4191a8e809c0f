"""A bridge learns who is where; until it has, everybody gets to see every frame.

br0
├── vethY ─── vethX:ns1
├── vethQ ─── vethP:ns2
└── vethS ─── vethR:ns3
"""

from __future__ import annotations

from contextlib import ExitStack
from socket import AF_PACKET, SOCK_RAW

import pytest

from pytest_netns import Bridge, Namespace, Network, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("ns1"),
        Namespace("ns2"),
        Namespace("ns3"),
        Bridge("br0"),
        Veth("ns1:vethX", "br0:vethY"),
        Veth("ns2:vethP", "br0:vethQ"),
        Veth("ns3:vethR", "br0:vethS"),
    )
)
ANN, BOB = bytes.fromhex("020000000a01"), bytes.fromhex("020000000b0b")
EVERYBODY = b"\xff" * 6
ETHERTYPE = 0x88B5  # for experiments: nobody else speaks it


def test_the_ends_of_the_cables(netns: Network) -> None:
    """Each machine has one end and does not see the other, which is a port."""
    assert [device.name for device in netns["ns1"].interfaces] == ["lo", "vethX"]
    assert netns["ns1"].run("ls /sys/class/net").stdout.split() == ["lo", "vethX"]
    assert netns.link("br0:vethY").is_up


def test_flooding(netns: Network) -> None:
    """A frame reaches all others, until the one it is for has been heard once."""
    with ExitStack() as stack:
        sockets = {}
        for machine, ifname in (("ns1", "vethX"), ("ns2", "vethP"), ("ns3", "vethR")):
            end = stack.enter_context(netns[machine].socket(AF_PACKET, SOCK_RAW))
            end.bind((ifname, ETHERTYPE))
            end.settimeout(5)
            sockets[machine] = end

        def send(machine: str, source: bytes, to: bytes, text: bytes) -> None:
            header = to + source + ETHERTYPE.to_bytes(2, "big")
            sockets[machine].send(header + text.ljust(46))

        def next_heard_by(machine: str) -> bytes:
            return sockets[machine].recv(100)[14:].strip()

        send("ns1", ANN, BOB, b"Where are you?")
        assert next_heard_by("ns2") == next_heard_by("ns3") == b"Where are you?"
        send("ns2", BOB, ANN, b"Here")
        assert next_heard_by("ns1") == b"Here"

        send("ns1", ANN, BOB, b"For your ears only")
        assert next_heard_by("ns2") == b"For your ears only"
        send("ns1", ANN, EVERYBODY, b"Goodbye")
        assert next_heard_by("ns3") == b"Goodbye", "and nothing before that"


@pytest.mark.parametrize("run", ["first", "second"])
def test_nothing_to_clean_up(netns: Network, run: str) -> None:
    """Names are free again when a test ends, and so is what it made by itself."""
    assert "mine" not in netns["ns1"].run("ls /sys/class/net").stdout, f"in the {run}"
    netns["ns1"].run("ip link add mine type bridge")
