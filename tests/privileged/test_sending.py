"""`ns.send` and `ns.sendp`: packets as they arrive at the other end.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                 --- (10.1.0.2, fd01::2) right
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.layers import inet, inet6, l2
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.plist import PacketList
from scapy.volatile import RandShort

from pytest_netns import (
    Namespace,
    Neighbour,
    Network,
    NetworkNamespace,
    Route,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# scapy's types say of no packet what may be in it, nor what "/" gives
ICMP, IP, UDP = (cast("Any", one) for one in (inet.ICMP, inet.IP, inet.UDP))
IPv6 = cast("Any", inet6.IPv6)
ARP, Dot1Q, Ether, LLC, SNAP = (
    cast("Any", one) for one in (l2.ARP, l2.Dot1Q, l2.Ether, l2.LLC, l2.SNAP)
)

ROUTED = Topology(
    Namespace(
        "left",
        routes=[
            Route("10.1.0.0/24", via="10.0.0.2"),
            Route("fd01::/64", via="fd00::2"),
        ],
    ),
    Namespace("gw", forwarding=True),
    Namespace(
        "right",
        routes=[Route("default", via="10.1.0.1"), Route("default", via="fd01::1")],
    ),
    Veth("left:eth0", "gw:west", subnet=["10.0.0.0/24", "fd00::/64"]),
    Veth("gw:east", "right:eth0", subnet=["10.1.0.0/24", "fd01::/64"]),
)
TOKEN = b"a token by which the frame is known"

pytestmark = pytest.mark.netns(ROUTED)


class Ear:
    """A plain packet socket: hears every frame that arrives at an interface."""

    def __init__(self, namespace: NetworkNamespace, ifname: str) -> None:
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
        # PACKET_AUXDATA (packet(7)), and SO_TIMESTAMPNS
        self._socket.setsockopt(263, 8, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, 35, 1)
        self._socket.bind((ifname, 3))  # ETH_P_ALL
        self._socket.settimeout(10)
        self.times: list[float] = []

    def frame(self, token: bytes = TOKEN) -> bytes:
        """Return the next frame that has this token in it."""
        while True:
            data, ancillary, _, (*_, kind, _, _) = self._socket.recvmsg(65536, 256)
            if kind != socket.PACKET_OUTGOING and token in data:
                break
        for level, what, value in ancillary:
            if (level, what) == (263, 8):
                status, tci = struct.unpack("=I12xH2x", value)
                if status & 16:  # TP_STATUS_VLAN_VALID
                    data = data[:12] + struct.pack(">HH", 0x8100, tci) + data[12:]
            else:
                seconds, nanoseconds = struct.unpack("@ll", value)
                self.times.append(seconds + nanoseconds * 1e-9)
        return data

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that sends."""
    return netns["left"]


@pytest.fixture
def ear(netns: Network) -> Iterator[Ear]:
    """Give what hears whatever leaves left."""
    ear = Ear(netns["gw"], "west")
    yield ear
    ear.close()


@pytest.fixture
def macs(netns: Network) -> tuple[bytes, bytes]:
    """Give the MAC addresses of left and of its gateway."""
    left, gw = netns.link("left:eth0").lladdr, netns.link("gw:west").lladdr
    return as_bytes(left), as_bytes(gw)


def as_bytes(lladdr: str) -> bytes:
    """Return a MAC address as it is in a frame."""
    return bytes.fromhex(lladdr.replace(":", ""))


class TestNetworkLayer:
    """`send`: the packet begins with IP."""

    def test_every_byte(
        self, left: NetworkNamespace, ear: Ear, macs: tuple[bytes, bytes]
    ) -> None:
        """A packet arrives as it was built, wrong fields included, behind a header."""
        packet = (
            IP(version=5, tos=3, len=999, id=0, flags=7, ttl=0, chksum=0xDEAD,
               src="192.0.2.77", dst="10.0.0.2")
            / UDP(len=1, chksum=0xBEEF)
            / TOKEN
        )  # fmt: skip
        left.send(packet)
        mine, theirs = macs
        assert ear.frame() == theirs + mine + b"\x08\x00" + bytes(packet)

    @pytest.mark.parametrize("destination", ["10.0.0.2", "10.1.0.2"])
    def test_addresses(
        self,
        left: NetworkNamespace,
        ear: Ear,
        macs: tuple[bytes, bytes],
        destination: str,
    ) -> None:
        """The route says who the packet is handed to, and which source it has."""
        left.send(IP(dst=destination) / UDP(dport=9) / TOKEN)
        frame = Ether(ear.frame())
        assert (as_bytes(frame.src), as_bytes(frame.dst)) == macs
        assert (frame[IP].src, frame[IP].dst) == ("10.0.0.1", destination)

    @pytest.mark.parametrize("destination", ["fd00::2", "fd01::2"])
    def test_ipv6_addresses(
        self,
        left: NetworkNamespace,
        ear: Ear,
        macs: tuple[bytes, bytes],
        destination: str,
    ) -> None:
        """It is the same for IPv6."""
        left.send(IPv6(dst=destination) / UDP(dport=9) / TOKEN)
        frame = Ether(ear.frame())
        assert (as_bytes(frame.src), as_bytes(frame.dst)) == macs
        assert (frame[IPv6].src, frame[IPv6].dst) == ("fd00::1", destination)

    @pytest.mark.parametrize(
        ("kind", "family", "destination"),
        [(IP, socket.AF_INET, "10.1.0.2"), (IPv6, socket.AF_INET6, "fd01::2")],
    )
    def test_checksums(
        self,
        netns: Network,
        left: NetworkNamespace,
        kind: type[Packet],
        family: int,
        destination: str,
    ) -> None:
        """The far kernel finds all checksums right, through a router."""
        with netns["right"].socket(family, socket.SOCK_DGRAM) as server:
            server.bind((destination, 7000))
            server.settimeout(10)
            left.send(kind(dst=destination) / UDP(sport=7001, dport=7000) / TOKEN)
            data, sender = server.recvfrom(100)
        assert data == TOKEN
        assert sender[:2] == (("fd00::1" if kind is IPv6 else "10.0.0.1"), 7001)

    def test_source_of_the_route(
        self, netns: Network, left: NetworkNamespace, ear: Ear
    ) -> None:
        """A route's preferred source is the packet's."""
        left.run("ip address add 10.0.0.9/32 dev eth0")
        netns.add(Namespace("other"), Veth("left:eth1", "other", subnet="10.9.0.0/24"))
        left.run("ip route add 10.7.0.0/16 via 10.0.0.2 src 10.0.0.9")
        left.send(IP(dst="10.7.0.1") / UDP() / TOKEN)
        assert Ether(ear.frame())[IP].src == "10.0.0.9"

    def test_route_by_source(
        self, netns: Network, left: NetworkNamespace, ear: Ear
    ) -> None:
        """A source address that a test gives decides where rules look at sources."""
        netns.add(Namespace("other"), Veth("left:eth1", "other", subnet="10.9.0.0/24"))
        left.run("ip route add 10.7.0.0/16 via 10.9.0.2")
        left.run("ip rule add from 10.0.0.1 table 77")
        left.run("ip route add 10.7.0.0/16 via 10.0.0.2 table 77")
        other = Ear(netns["other"], "eth0")
        left.send(IP(dst="10.7.0.1") / UDP() / TOKEN)
        left.send(IP(src="10.0.0.1", dst="10.7.0.1") / UDP() / TOKEN)
        assert Ether(other.frame())[IP].src == "10.9.0.1"
        assert Ether(ear.frame())[IP].src == "10.0.0.1"
        other.close()

    def test_foreign_source(self, left: NetworkNamespace, ear: Ear) -> None:
        """A source address may be anybody's."""
        left.send(IP(src="203.0.113.5", dst="10.1.0.2") / UDP() / TOKEN)
        left.send(IPv6(src="2001:db8::5", dst="fd01::2") / UDP() / TOKEN)
        assert Ether(ear.frame())[IP].src == "203.0.113.5"
        assert Ether(ear.frame())[IPv6].src == "2001:db8::5"

    def test_given_interface(
        self, netns: Network, left: NetworkNamespace, ear: Ear
    ) -> None:
        """An interface that a test gives comes before the routes."""
        netns.add(
            Namespace("other"), Veth("left:eth1", "other:eth0", subnet="10.9.0.0/24")
        )
        left.run("ip neighbour add 10.0.0.2 lladdr 02:00:00:00:00:77 dev eth1")
        other = Ear(netns["other"], "eth0")
        left.send(IP(dst="10.0.0.2") / UDP() / TOKEN, dev="eth1")
        left.send(IP(dst="10.0.0.2") / UDP() / TOKEN)
        frame = Ether(other.frame())
        other.close()
        assert (frame.dst, frame[IP].src) == ("02:00:00:00:00:77", "10.9.0.1")
        assert Ether(ear.frame())[IP].src == "10.0.0.1"

    def test_gateway_of_the_other_family(
        self, netns: Network, left: NetworkNamespace, ear: Ear
    ) -> None:
        """An IPv4 route may lead through a gateway that has an IPv6 address."""
        left.run("ip route add 10.7.0.0/16 via inet6 fd00::2 dev eth0")
        left.send(IP(dst="10.7.0.1") / UDP() / TOKEN)
        frame = Ether(ear.frame())
        assert frame.dst == netns.link("gw:west").lladdr
        assert (frame[IP].src, frame[IP].dst) == ("10.0.0.1", "10.7.0.1")

    @pytest.mark.parametrize(
        ("packet", "lladdr"),
        [
            (IP(dst="224.129.2.3"), "01:00:5e:01:02:03"),
            (IP(dst="224.0.0.251"), "01:00:5e:00:00:fb"),
            (IP(dst="10.0.0.255"), "ff:ff:ff:ff:ff:ff"),
            (IP(dst="255.255.255.255"), "ff:ff:ff:ff:ff:ff"),
            (IPv6(dst="ff02::1:2"), "33:33:00:01:00:02"),
            (IPv6(dst="ff05::c0de"), "33:33:00:00:c0:de"),
        ],
    )
    def test_groups(
        self, left: NetworkNamespace, ear: Ear, packet: Packet, lladdr: str
    ) -> None:
        """What is for many has the MAC address of RFC 1112, RFC 2464, or of all."""
        dev = "eth0" if packet.dst == "224.129.2.3" else None  # there is no route
        left.send(packet / UDP() / TOKEN, dev=dev)
        frame = Ether(ear.frame())
        assert frame.dst == lladdr
        if packet.dst.startswith("ff02"):
            assert ipaddress.ip_address(frame[IPv6].src).is_link_local
        else:
            assert frame.payload.src in {"10.0.0.1", "fd00::1"}

    def test_link_local(self, netns: Network, left: NetworkNamespace) -> None:
        """Where only one interface is possible, a link-local address says enough."""
        (target,) = (
            one.ip
            for one in netns["right"].interface("eth0").addresses
            if one.ip.is_link_local
        )
        ear = Ear(netns["right"], "eth0")
        netns["gw"].send(IPv6(dst=str(target)) / UDP() / TOKEN, dev="east")
        frame = Ether(ear.frame())
        assert frame.dst == netns.link("right:eth0").lladdr
        assert ipaddress.ip_address(frame[IPv6].src).is_link_local
        with pytest.raises(ValueError, match=r"dev=.*'west', 'east'"):
            netns["gw"].send(IPv6(dst=str(target)) / UDP() / TOKEN)
        left.send(IPv6(dst="ff02::1") / UDP() / TOKEN)
        ear.close()

    def test_learned_neighbour(self, netns: Network) -> None:
        """The kernel asks who has the next hop's address, and remembers it."""
        left = netns["left"]
        left.run("ip neighbour flush all")
        left.send(IP(dst="10.1.0.2") / UDP() / TOKEN)
        (entry,) = (one for one in left.neighbours() if one.address == "10.0.0.2")
        assert entry.lladdr == netns.link("gw:west").lladdr

    def test_declared_neighbour(self, netns: Network) -> None:
        """A neighbour that was declared is asked nothing."""
        netns.add(
            Namespace(
                "a", neighbours=[Neighbour("10.9.0.77", "02:00:00:00:00:77", dev="e0")]
            ),
            Namespace("b"),
            Veth("a:e0", "b:e0", subnet="10.9.0.0/24"),
        )
        ear = Ear(netns["b"], "e0")
        netns["a"].send(IP(dst="10.9.0.77") / UDP() / TOKEN)
        assert Ether(ear.frame()).dst == "02:00:00:00:00:77"
        ear.close()

    def test_tunnels(self, left: NetworkNamespace, ear: Ear) -> None:
        """Every header in a tunnel gets the addresses for its own destination."""
        left.run("ip address add 10.0.0.9/32 dev eth0")
        left.run("ip route add 10.7.0.0/16 via 10.0.0.2 src 10.0.0.9")
        left.send(IP(dst="10.1.0.2") / IP(dst="10.7.0.1") / UDP() / TOKEN)
        outer = Ether(ear.frame())[IP]
        assert (outer.src, outer.payload.src) == ("10.0.0.1", "10.0.0.9")
        inner = Ether() / IP(dst="10.7.0.1") / UDP() / TOKEN
        left.send(IP(dst="10.1.0.2") / UDP() / VXLAN(vni=7) / inner)
        found = Ether(ear.frame())[VXLAN].payload
        assert found.src == left.interface("eth0").lladdr
        assert found[IP].src == "10.0.0.9"
        left.send(IP(dst="10.1.0.2") / IP(dst="203.0.113.1") / UDP() / TOKEN)
        assert Ether(ear.frame())[IP].payload.src == "0.0.0.0"

    def test_arp(self, netns: Network, left: NetworkNamespace, ear: Ear) -> None:
        """ARP is sent from the interface's own addresses: to all, or to one."""
        mine, gateway = netns.link("left:eth0").lladdr, netns.link("gw:west").lladdr
        left.send(ARP(pdst="10.0.0.2"))
        asked = Ether(ear.frame(b"\x08\x06"))
        assert (asked.dst, asked.src) == ("ff:ff:ff:ff:ff:ff", mine)
        assert (asked[ARP].hwsrc, asked[ARP].psrc) == (mine, "10.0.0.1")
        left.send(ARP(op="is-at", psrc="10.0.0.9", pdst="10.0.0.2"))
        told = Ether(ear.frame(b"\x00\x02" + as_bytes(mine)))
        assert (told.dst, told[ARP].psrc) == (gateway, "10.0.0.9")

    @pytest.mark.parametrize("how", ["send", "sendp"])
    def test_announcement(
        self, netns: Network, left: NetworkNamespace, ear: Ear, how: str
    ) -> None:
        """An address of one's own is announced to all, through the interface given."""
        mine = netns.link("left:eth0").lladdr
        announcement = ARP(op="is-at", psrc="10.0.0.1", pdst="10.0.0.1")
        if how == "send":
            left.send(announcement, dev="eth0")
        else:
            left.sendp(Ether() / announcement, dev="eth0")
        told = Ether(ear.frame(b"\x00\x02" + as_bytes(mine)))
        assert (told.dst, told.src) == ("ff:ff:ff:ff:ff:ff", mine)
        assert (told[ARP].hwsrc, told[ARP].pdst) == (mine, "10.0.0.1")

    def test_interface_without_link_layer(self, left: NetworkNamespace) -> None:
        """Through a tun device packets leave as they are, and answers are found."""
        with Tun(left, "tun0") as tun:
            left.run("ip address add 10.8.0.1/24 dev tun0")
            left.run("ip link set tun0 up")
            left.send(IP(dst="10.8.0.7") / UDP() / TOKEN)
            data = tun.packet()
            assert data.endswith(TOKEN)
            assert (IP(data).src, IP(data).dst) == ("10.8.0.1", "10.8.0.7")
            task = left.spawn(tun.answer_ping)
            answer = left.sr1(IP(dst="10.8.0.7") / ICMP(id=7), timeout=10)
            task.result(timeout=10)
        assert answer is not None
        assert (answer.src, answer[ICMP].type, answer[ICMP].id) == ("10.8.0.7", 0, 7)


class Tun:
    """A tun device: what leaves through it is read here, and what is written comes in.

    Source: Documentation/networking/tuntap.rst.
    """

    def __init__(self, namespace: NetworkNamespace, name: str) -> None:
        with namespace:  # a tun device belongs where its file was opened
            self._file = Path("/dev/net/tun").open("r+b", buffering=0)  # noqa: SIM115
        request = struct.pack("16sH22x", name.encode(), 0x1001)  # IFF_TUN, IFF_NO_PI
        fcntl.ioctl(self._file, 0x400454CA, request)  # TUNSETIFF

    def __enter__(self) -> Tun:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def packet(self) -> bytes:
        """Return the next IPv4 packet."""
        while True:
            data = self._file.read(65536)
            if data[0] >> 4 == 4:
                return data

    def answer_ping(self) -> None:
        """Answer an echo request."""
        asked = IP(self.packet())
        echo = ICMP(type=0, id=asked[ICMP].id, seq=asked[ICMP].seq)
        self._file.write(bytes(IP(src=asked.dst, dst=asked.src) / echo))


class TestLinkLayer:
    """`sendp`: the packet begins with its link layer."""

    def test_every_byte(self, left: NetworkNamespace, ear: Ear) -> None:
        """A frame arrives as it was built."""
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5)
        left.sendp(frame / TOKEN, dev="eth0")
        assert ear.frame() == bytes(frame / TOKEN)

    @pytest.mark.parametrize(
        "frame",
        [
            Ether() / IP(dst="10.1.0.2"),
            Ether() / IPv6(dst="fd01::2"),
            Ether() / Dot1Q(vlan=5) / IP(dst="10.1.0.2"),
            Ether() / Dot1Q(vlan=5) / Dot1Q(vlan=6) / IPv6(dst="fd01::2"),
            Ether() / LLC() / SNAP() / IP(dst="10.1.0.2"),
        ],
        ids=lambda frame: "/".join(one.__name__ for one in frame.layers()),
    )
    def test_open_addresses(
        self,
        left: NetworkNamespace,
        ear: Ear,
        macs: tuple[bytes, bytes],
        frame: Any,
    ) -> None:
        """Addresses left open are the interface's, and those of the next hop."""
        left.sendp(frame / UDP() / TOKEN, dev="eth0")
        mine, gateway = macs
        data = ear.frame()
        assert data[:12] == gateway + mine
        built = frame.copy()
        built.src, built.dst = "02:00:00:00:00:01", "02:00:00:00:00:02"
        built.lastlayer().src = "fd00::1" if IPv6 in frame else "10.0.0.1"
        assert data[12:] == bytes(built / UDP() / TOKEN)[12:]

    def test_nothing_to_go_by(self, left: NetworkNamespace, ear: Ear) -> None:
        """A frame without destination goes to all, as with scapy, without warning."""
        left.sendp(Ether(type=0x88B5) / TOKEN, dev="eth0")
        frame = Ether(ear.frame())
        assert frame.dst == "ff:ff:ff:ff:ff:ff"
        assert frame.src == left.interface("eth0").lladdr

    def test_without_any_address(self, netns: Network) -> None:
        """A machine that has no address yet can send: that is how it gets one."""
        netns.add(Namespace("new"), Namespace("old"), Veth("new:eth0", "old:eth0"))
        new, ear = netns["new"], Ear(netns["old"], "eth0")
        broadcast = Ether(dst="ff:ff:ff:ff:ff:ff") / IP(dst="255.255.255.255")
        new.sendp(broadcast / UDP(sport=68, dport=67) / TOKEN, dev="eth0")
        frame = Ether(ear.frame())
        assert frame.src == new.interface("eth0").lladdr
        assert frame[IP].src == "0.0.0.0"
        ear.close()

    def test_runt(self, left: NetworkNamespace, ear: Ear) -> None:
        """A packet shorter than a header is filled up with zeros."""
        left.sendp(Raw(b"runt"), dev="eth0")
        data = ear.frame(b"runt")
        assert data.rstrip(b"\0") == b"runt"
        assert len(data) >= 14


class TestSeveral:
    """More than one packet at a time."""

    @pytest.mark.parametrize(
        "make",
        [
            lambda ip, udp: ip(ttl=[5, 6]) / udp(dport=[8, 9]) / TOKEN,
            lambda ip, udp: [ip(ttl=ttl) / udp(dport=[8, 9]) / TOKEN for ttl in (5, 6)],
            lambda ip, udp: PacketList(ip(ttl=[5, 6]) / udp(dport=[8, 9]) / TOKEN),
            lambda ip, udp: (ip(ttl=ttl) / udp(dport=(8, 9)) / TOKEN for ttl in (5, 6)),
            lambda ip, udp: iter(ip(ttl=(5, 6)) / udp(dport=[8, 9]) / TOKEN),
        ],
        ids=["alternatives", "list", "PacketList", "generator", "iterator"],
    )
    def test_order(
        self, left: NetworkNamespace, ear: Ear, make: Callable[..., Any]
    ) -> None:
        """All that a packet or list stands for is sent, in scapy's order."""
        left.send(make(lambda **fields: IP(dst="10.0.0.2", **fields), UDP), count=2)
        found = [Ether(ear.frame()) for _ in range(8)]
        once = [(5, 8), (5, 9), (6, 8), (6, 9)]
        assert [(one[IP].ttl, one[UDP].dport) for one in found] == once * 2

    def test_random_fields(self, left: NetworkNamespace, ear: Ear) -> None:
        """A random field is another one each time."""
        left.send(IP(dst="10.0.0.2", id=RandShort()) / UDP() / TOKEN, count=20)
        assert len({Ether(ear.frame())[IP].id for _ in range(20)}) > 1

    def test_interval(self, left: NetworkNamespace, ear: Ear) -> None:
        """Packets leave no less than one interval apart; the last waits for nobody."""
        start = time.monotonic()
        left.send(IP(dst="10.0.0.2") / UDP(dport=[8, 9]) / TOKEN, count=2, inter=0.05)
        left.send(IP(dst="10.0.0.2") / UDP() / TOKEN, inter=600)
        assert 0.15 <= time.monotonic() - start < 60
        for _ in range(4):
            ear.frame()
        assert min(later - earlier for earlier, later in pairwise(ear.times)) > 0.04

    def test_nothing(self, left: NetworkNamespace, ear: Ear) -> None:
        """An empty list, or no time at all, sends nothing."""
        left.send([])
        left.send(IP(dst="10.0.0.2", ttl=1) / UDP() / TOKEN, count=0)
        left.send(IP(dst="10.0.0.2", ttl=2) / UDP() / TOKEN)
        assert Ether(ear.frame())[IP].ttl == 2

    def test_unchanged(self, left: NetworkNamespace) -> None:
        """A test's own packets stay as they are, but for the time they were sent at."""
        packet = Ether() / IP(dst="10.0.0.2", ttl=[1, 2]) / UDP() / TOKEN
        fields = [dict(layer.fields) for layer in packet.iterpayloads()]
        before = time.time()
        left.sendp(packet, dev="eth0")
        left.send(packet[IP])
        left.srp(packet, dev="eth0", timeout=0)
        left.sr(packet[IP], timeout=0)
        assert [layer.fields for layer in packet.iterpayloads()] == fields
        assert "src" not in packet[IP].fields
        assert packet.sent_time is not None
        assert before <= packet.sent_time <= time.time()
