"""Filters for what is beside a packet's bytes: VLAN tags, directions, the loopback.

::

    left eth0 ─── eth0 right
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from pytest_netns import Namespace, Network, NetworkNamespace, Topology, Veth
from pytest_netns._bpf import program
from pytest_netns._frame import ETHERNET
from pytest_netns._libpcap import OfflineFilter, _compile_capturing, compile_filter
from pytest_netns._socket_filter import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scapy.packet import Packet

    from pytest_netns._bpf import Instruction

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("left"),
        Namespace("right"),
        Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
    )
)

ETH_P_ALL = 3
SNAPLEN = 65535
PACKET_OUTGOING = 4
LINK: Packet = Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff")
DATAGRAM: Packet = IP(src="10.9.9.1", dst="10.9.9.2") / UDP(sport=1000, dport=2000)
TAGGED: Packet = LINK / Dot1Q(vlan=10)
LAST = b"the last of them"


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that sends."""
    return netns["left"]


def listening(
    namespace: NetworkNamespace,
    code: Sequence[Instruction],
    ifname: str | None = "eth0",
) -> socket.socket:
    """Return a packet socket of an interface, or of all, with a program."""
    kind = 0 if ifname else socket.htons(ETH_P_ALL)
    listener = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, kind)
    attach(listener, code)
    if ifname:
        listener.bind((ifname, ETH_P_ALL))
    with contextlib.suppress(BlockingIOError):  # it began before it had the program
        while True:
            listener.recv(1, socket.MSG_DONTWAIT)
    listener.settimeout(10)
    return listener


def compiled(text: str) -> list[Instruction]:
    """Compile a filter."""
    return compile_filter(text, linktype=ETHERNET, snaplen=SNAPLEN)


def send(namespace: NetworkNamespace, *packets: Packet) -> None:
    """Send packets from a namespace as they are."""
    with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("eth0", 0))
        for packet in packets:
            sender.send(bytes(packet))


def seen(listener: socket.socket) -> list[bytes]:
    """Return the payloads of all packets up to the last, which proves the rest."""
    payloads = []
    while LAST not in payloads:
        payloads.append(bytes(Ether(listener.recv(SNAPLEN))[Raw]))
    return payloads[:-1]


@pytest.mark.parametrize(
    ("text", "last", "expected"),
    [
        ("vlan", TAGGED / DATAGRAM, [b"10", b"11", b"other"]),
        ("vlan 10", TAGGED / DATAGRAM, [b"10", b"other"]),
        ("vlan 11", LINK / Dot1Q(vlan=11) / DATAGRAM, [b"11"]),
        ("vlan 10 and udp port 2000", TAGGED / DATAGRAM, [b"10"]),
        ("udp and not vlan", LINK / DATAGRAM, [b"none"]),
        ("udp or (vlan and udp)", LINK / DATAGRAM, [b"none", b"10", b"11"]),
    ],
)
@pytest.mark.parametrize("place", ["left", "right"])
def test_vlan(
    netns: Network, place: str, text: str, last: Packet, expected: list[bytes]
) -> None:
    """A tag is found where the kernel took it out of a packet, and where it did not."""
    code = program(compiled(text), snaplen=SNAPLEN, without_noise=True, loopback=1)
    with listening(netns[place], code) as listener:
        send(
            netns["left"],
            LINK / DATAGRAM / Raw(b"none"),
            TAGGED / DATAGRAM / Raw(b"10"),
            LINK / Dot1Q(vlan=11) / DATAGRAM / Raw(b"11"),
            TAGGED / IP(src="10.9.9.1", dst="10.9.9.2", proto=253) / Raw(b"other"),
            last / Raw(LAST),
        )
        found = seen(listener)

    assert found == expected


def test_the_kernel_takes_the_tag_out_of_what_arrives(netns: Network) -> None:
    """So a filter that only looks at the bytes would not find it."""
    right = netns["right"]
    with listening(right, compiled("vlan 10")) as listener:
        send(netns["left"], TAGGED / DATAGRAM / Raw(LAST))
        data = listener.recv(SNAPLEN)

    assert not Ether(data).haslayer(Dot1Q)
    assert not OfflineFilter("vlan 10").matches(data, len(data))


def test_two_tags(netns: Network) -> None:
    """The inner one is among the bytes in any case."""
    with listening(netns["right"], compiled("vlan 10 and vlan 20 and udp")) as listener:
        send(
            netns["left"],
            TAGGED / Dot1Q(vlan=21) / DATAGRAM / Raw(b"21"),
            TAGGED / DATAGRAM / Raw(b"one"),
            TAGGED / Dot1Q(vlan=20) / DATAGRAM / Raw(LAST),
        )

        assert seen(listener) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("inbound", b"from right"), ("outbound", b"from left")]
)
def test_direction(netns: Network, text: str, expected: bytes) -> None:
    """It is that of the interface that has the filter."""
    code = compiled(f"{text} and src host 10.9.9.1")
    with listening(netns["left"], code) as listener:
        for name in ("left", "right"):
            packet = LINK / DATAGRAM / Raw(f"from {name}".encode())
            send(netns[name], packet)
        send(netns[expected.decode().split()[1]], LINK / DATAGRAM / Raw(LAST))

        assert seen(listener) == [expected]


def test_a_filter_is_compiled_wherever_the_thread_is(left: NetworkNamespace) -> None:
    """What libpcap captures for it is elsewhere, and the thread is where it was."""

    def inode() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    _compile_capturing.cache_clear()
    at_home, home = compiled("vlan 10"), inode()
    _compile_capturing.cache_clear()
    left.interface("lo").set_down()
    with left:
        assert compiled("vlan 10") == at_home
        assert inode() == left.inode
    assert inode() == home


# --- what passes twice ---


@pytest.mark.parametrize(
    ("is_once", "expected"), [(True, [0]), (False, [PACKET_OUTGOING, 0])]
)
def test_the_loopback(
    left: NetworkNamespace, expected: list[int], *, is_once: bool
) -> None:
    """Of what passes there, only the arrival is seen."""
    index = left.interface("lo").index
    code = program(
        compiled("udp port 2000"), snaplen=SNAPLEN, loopback=index if is_once else None
    )
    with (
        listening(left, code, None) as listener,
        left.socket(type=socket.SOCK_DGRAM) as sender,
        left.socket(type=socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 2000))
        sender.sendto(b"here", ("127.0.0.1", 2000))
        receiver.recv(100)
        send(left, LINK / DATAGRAM / Raw(b"away"))
        packets = [listener.recvfrom(SNAPLEN) for _ in [*expected, "away"]]

    assert [address[2] for _, address in packets] == [*expected, PACKET_OUTGOING]
    assert [data[-4:] for data, _ in packets] == [b"here"] * len(expected) + [b"away"]
