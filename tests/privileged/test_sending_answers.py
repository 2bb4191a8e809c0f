"""`ns.sr`, `ns.sr1`, `ns.srp` and `ns.srp1`: packets, and what answers them.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                 --- (10.1.0.2, fd01::2) right
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.layers import inet, inet6, l2
from scapy.plist import PacketList, SndRcvList

from pytest_netns import (
    Bridge,
    Namespace,
    Network,
    NetworkNamespace,
    Route,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# scapy's types say of no packet what may be in it, nor what "/" gives
ICMP, IP, TCP, UDP = (
    cast("Any", one) for one in (inet.ICMP, inet.IP, inet.TCP, inet.UDP)
)
IPv6, ICMPv6EchoRequest, ICMPv6EchoReply = (
    cast("Any", one)
    for one in (inet6.IPv6, inet6.ICMPv6EchoRequest, inet6.ICMPv6EchoReply)
)
ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr = (
    cast("Any", one)
    for one in (
        inet6.ICMPv6ND_NS,
        inet6.ICMPv6NDOptSrcLLAddr,
        inet6.ICMPv6NDOptDstLLAddr,
    )
)
ARP, Dot1Q, Ether = (cast("Any", one) for one in (l2.ARP, l2.Dot1Q, l2.Ether))

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

pytestmark = pytest.mark.netns(ROUTED)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that asks."""
    return netns["left"]


@pytest.fixture
def server(netns: Network) -> Iterator[socket.socket]:
    """Give a UDP socket of right, which answers nothing by itself."""
    with netns["right"].socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("10.1.0.2", 7000))
        server.settimeout(10)
        yield server


class TestOneAnswer:
    """`sr1` and `srp1`."""

    def test_arp(self, netns: Network, left: NetworkNamespace) -> None:
        """Who has an address says so, to the one who asked."""
        mine, theirs = netns.link("left:eth0").lladdr, netns.link("gw:west").lladdr
        asked = Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.0.0.2")
        answer: Any = left.srp1(asked, dev="eth0", timeout=10)
        assert (answer[Ether].src, answer[Ether].dst) == (theirs, mine)
        arp = answer[ARP]
        assert (arp.op, arp.hwtype, arp.ptype, arp.hwlen, arp.plen) == (
            2,
            1,
            0x800,
            6,
            4,
        )
        assert (arp.hwsrc, arp.psrc) == (theirs, "10.0.0.2")
        assert (arp.hwdst, arp.pdst) == (mine, "10.0.0.1")

    def test_arp_at_the_network_layer(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """An answer to `sr1` has no link layer."""
        answer: Any = left.sr1(ARP(pdst="10.0.0.2"), timeout=10)
        assert type(answer) is l2.ARP
        assert answer.hwsrc == netns.link("gw:west").lladdr

    def test_neighbour_discovery(self, netns: Network, left: NetworkNamespace) -> None:
        """IPv6's way to ask for a MAC address is answered as well."""
        mine, theirs = netns.link("left:eth0").lladdr, netns.link("gw:west").lladdr
        asked = ICMPv6ND_NS(tgt="fd00::2") / ICMPv6NDOptSrcLLAddr(lladdr=mine)
        packet = IPv6(src="fd00::1", dst="ff02::1:ff00:2", hlim=255) / asked
        answer: Any = left.sr1(packet, timeout=10)
        assert answer.tgt == "fd00::2"
        assert answer[ICMPv6NDOptDstLLAddr].lladdr == theirs

    @pytest.mark.parametrize(
        ("destination", "ttl"),
        [("10.0.0.2", 64), ("10.1.0.1", 64), ("10.1.0.2", 63), ("10.0.0.1", 64),
         ("127.0.0.1", 64), ("127.1.2.3", 64)],
    )  # fmt: skip
    def test_echo(self, left: NetworkNamespace, destination: str, ttl: int) -> None:
        """Neighbours, gateways, others and oneself answer; a router counts down."""
        answer: Any = left.sr1(IP(dst=destination) / ICMP(id=7, seq=9) / b"hello")
        assert type(answer) is inet.IP
        assert (answer.src, answer.ttl) == (destination, ttl)
        assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 9)
        assert bytes(answer[ICMP].payload) == b"hello"

    @pytest.mark.parametrize(
        ("destination", "hlim"),
        [
            ("fd00::2", 64),
            ("fd01::1", 64),
            ("fd01::2", 63),
            ("fd00::1", 64),
            ("::1", 64),
        ],
    )
    def test_echo6(self, left: NetworkNamespace, destination: str, hlim: int) -> None:
        """It is the same for IPv6."""
        packet = IPv6(dst=destination) / ICMPv6EchoRequest(id=7, data=b"hello")
        answer: Any = left.sr1(packet)
        assert type(answer) is inet6.IPv6
        assert (answer.src, answer.hlim) == (destination, hlim)
        assert (answer[ICMPv6EchoReply].id, answer.data) == (7, b"hello")

    def test_link_local(self, netns: Network, left: NetworkNamespace) -> None:
        """A neighbour answers at its link-local address."""
        (target,) = (
            str(one.ip)
            for one in netns["gw"].interface("west").addresses
            if one.ip.is_link_local
        )
        answer: Any = left.sr1(IPv6(dst=target) / ICMPv6EchoRequest(), dev="eth0")
        assert answer.src == target

    @pytest.mark.parametrize(("ttl", "reporter"), [(1, "10.0.0.2"), (2, "10.1.0.2")])
    def test_path(self, left: NetworkNamespace, ttl: int, reporter: str) -> None:
        """Who ends the life of a packet, or refuses it, answers for the target."""
        packet = IP(dst="10.1.0.2", ttl=ttl, id=77) / UDP(sport=5000, dport=5001)
        answer: Any = left.sr1(packet)
        assert (answer.src, answer[ICMP].type) == (reporter, 11 if ttl == 1 else 3)
        assert answer[ICMP].payload.id == 77

    def test_frame(self, netns: Network, left: NetworkNamespace) -> None:
        """`srp1` returns the frame; its addresses were those of the next hop."""
        answer: Any = left.srp1(Ether() / IP(dst="10.1.0.2") / ICMP(), dev="eth0")
        assert type(answer) is l2.Ether
        assert answer.src == netns.link("gw:west").lladdr
        assert answer[IP].src == "10.1.0.2"

    def test_vlan(self, netns: Network, left: NetworkNamespace) -> None:
        """The tag of an answer, which the kernel takes off, is put back."""
        lladdr = "02:00:00:00:00:09"

        def answer_tagged(ear: socket.socket) -> None:
            while b"\x0a\x05\x00\x02" not in (data := ear.recv(2048)):
                pass
            asked = ARP(data[14:42])  # the kernel has taken its tag off
            told = ARP(op=2, psrc="10.5.0.2", pdst=asked.psrc, hwsrc=lladdr,
                       hwdst=asked.hwsrc)  # fmt: skip
            frame = Ether(src=lladdr, dst=asked.hwsrc) / Dot1Q(vlan=5) / told
            ear.send(bytes(frame))

        with netns["gw"].socket(socket.AF_PACKET, socket.SOCK_RAW) as ear:
            ear.bind(("west", 3))
            ear.settimeout(10)
            task = netns["gw"].spawn(answer_tagged, ear)
            packet = Ether(dst=lladdr) / Dot1Q(vlan=5) / ARP(pdst="10.5.0.2")
            answer: Any = left.srp1(packet, dev="eth0", timeout=10)
            task.result(timeout=10)
        assert (answer[Dot1Q].vlan, answer[ARP].psrc) == (5, "10.5.0.2")

    def test_first_of_several(self, left: NetworkNamespace) -> None:
        """One answer to any packet is enough; nobody waits for the others."""
        packets = [
            IP(dst="10.0.0.99") / ICMP(),
            IP(dst="10.1.0.2", ttl=[64, 63]) / ICMP(),
        ]
        answer: Any = left.sr1(packets, timeout=600)
        assert answer.src == "10.1.0.2"

    def test_time(self, left: NetworkNamespace) -> None:
        """Sending and receiving have their times, in seconds since the epoch."""
        packet = IP(dst="10.1.0.2") / ICMP()
        before = time.time()
        answer: Any = left.sr1(packet)
        took = time.time() - before
        assert packet.sent_time >= before
        assert 0 < answer.time - packet.sent_time < took
        assert answer.sniffed_on == "left:eth0"

    def test_ends_with_the_answer(self, left: NetworkNamespace) -> None:
        """An answer is returned when it comes, however long one would wait."""
        assert left.sr1(IP(dst="10.1.0.2") / ICMP(), timeout=600) is not None
        assert left.srp1(Ether() / ARP(pdst="10.0.0.2"), dev="eth0", timeout=600)

    def test_no_answer(self, left: NetworkNamespace, server: socket.socket) -> None:
        """Without an answer there is None, after the time given and no sooner."""
        packet = IP(dst="10.1.0.2") / UDP(sport=5000, dport=7000)
        start = time.monotonic()
        assert left.sr1(packet, timeout=0.2) is None
        assert time.monotonic() - start >= 0.2
        assert server.recvfrom(10)[1] == ("10.0.0.1", 5000), "it was sent"

    def test_late_answer(self, left: NetworkNamespace, server: socket.socket) -> None:
        """An answer that comes too late is not taken for one to the next question."""
        packet = IP(dst="10.1.0.2") / UDP(sport=5000, dport=7000)
        assert left.sr1(packet / b"first", timeout=0) is None
        _, sender = server.recvfrom(10)
        server.sendto(b"to the first", sender)
        assert left.ping("10.1.0.2"), "so it has arrived"
        assert left.sr1(packet / b"second", timeout=0.1) is None

    def test_last_moment(self, left: NetworkNamespace) -> None:
        """What has come in time counts, even if nobody has looked at it in time."""
        # answered by the kernel before send() returns
        for _ in range(20):
            assert left.sr1(IP(dst="10.1.0.2") / ICMP(), timeout=0) is not None

    def test_again(self, left: NetworkNamespace, server: socket.socket) -> None:
        """What is not answered is sent again, as often as told."""

        def answer_the_third() -> list[bytes]:
            questions = []
            for _ in range(3):
                question, sender = server.recvfrom(10)
                questions.append(question)
            server.sendto(b"third", sender)
            return questions

        task = left.spawn(answer_the_third)
        packet = IP(dst="10.1.0.2") / UDP(sport=5000, dport=7000) / b"?"
        answer: Any = left.sr1(packet, timeout=0.2, retry=5)
        assert task.result(timeout=10) == [b"?"] * 3
        assert bytes(answer[UDP].payload) == b"third"


class TestAnswers:
    """`sr` and `srp`."""

    def test_syn_scan(self, netns: Network, left: NetworkNamespace) -> None:
        """An open port answers SYN-ACK, a closed one RST-ACK, a filtered one not."""
        netns["right"].nft(
            "table inet t { chain c { type filter hook input priority 0;"
            " tcp dport 7002 drop; }; }"
        )
        with netns["right"].socket() as listener:
            listener.bind(("10.1.0.2", 7000))
            listener.listen()
            packet = IP(dst="10.1.0.2") / TCP(sport=5000, dport=[7000, 7001, 7002])
            answered, unanswered = left.sr(packet, timeout=0.3)
        assert isinstance(answered, SndRcvList)
        assert isinstance(unanswered, PacketList)
        found = {one.query[TCP].dport: str(one.answer[TCP].flags) for one in answered}
        assert found == {7000: "SA", 7001: "RA"}
        assert [one[TCP].dport for one in unanswered] == [7002]
        for query, answer in answered:
            assert float(query.sent_time or 0) <= float(answer.time)
            assert answer[TCP].sport == query[TCP].dport
            assert answer[TCP].ack == 1

    def test_trace(self, left: NetworkNamespace) -> None:
        """Each packet of a set has its own answer; the sent ones tell their source."""
        answered, unanswered = left.sr(IP(dst="10.1.0.2", ttl=[1, 2]) / ICMP())
        assert {q.ttl: (a.src, a[ICMP].type) for q, a in answered} == {
            1: ("10.0.0.2", 11),
            2: ("10.1.0.2", 0),
        }
        assert {query.src for query, _ in answered} == {"10.0.0.1"}
        assert len(unanswered) == 0

    def test_two_ways(self, netns: Network) -> None:
        """Packets that leave through several interfaces are answered through them."""
        packets = IP(dst=["10.0.0.1", "10.1.0.2", "10.0.0.2"]) / ICMP()
        packets6 = IPv6(dst=["fd00::1", "fd01::2", "::1"]) / ICMPv6EchoRequest()
        answered, unanswered = netns["gw"].sr([packets, packets6], timeout=10)
        assert {answer.src for _, answer in answered} == {
            *("10.0.0.1", "10.1.0.2", "10.0.0.2", "fd00::1", "fd01::2", "::1")
        }
        assert len(unanswered) == 0

    def test_equal_packets(self, left: NetworkNamespace) -> None:
        """Equal packets are answered one by one."""
        packet = IP(dst="10.1.0.2") / ICMP()
        answered, unanswered = left.sr([packet, packet, packet], timeout=10)
        assert (len(answered), len(unanswered)) == (3, 0)

    def test_many(self, left: NetworkNamespace) -> None:
        """Hundreds of packets at once lose no answer."""
        packet = IP(dst="10.1.0.2") / TCP(sport=5000, dport=(1, 300))
        answered, unanswered = left.sr(packet, timeout=10)
        assert {query.dport for query, _ in answered} == set(range(1, 301))
        assert len(unanswered) == 0

    def test_several_answers(self, netns: Network) -> None:
        """With `multi` all answers to a packet are found, such as of a stolen address.

        ::

            a --- br0 --- b (10.9.0.2)
                   +----- c (10.9.0.2)
        """
        netns.add(
            *(Namespace(name) for name in "abc"),
            Bridge("br0"),
            Veth("a:eth0", "br0", address="10.9.0.1/24"),
            *(Veth(f"{name}:eth0", "br0") for name in "bc"),
        )
        for name in "bc":  # a topology would not let two have one address
            netns[name].run("ip address add 10.9.0.2/24 dev eth0")
        packet = Ether() / ARP(pdst="10.9.0.2")
        answered, unanswered = netns["a"].srp(
            packet, dev="eth0", multi=True, timeout=0.5
        )
        assert {answer.hwsrc for _, answer in answered} == {
            netns.link("b:eth0").lladdr,
            netns.link("c:eth0").lladdr,
        }
        assert len(unanswered) == 0
        answered, _ = netns["a"].srp(packet, dev="eth0", timeout=600)
        assert len(answered) == 1

    def test_nobody_at_home(self, left: NetworkNamespace) -> None:
        """Who does not answer ARP does not answer, and keeps nobody waiting twice."""
        start = time.monotonic()
        packet = IP(dst=["10.0.0.2", "10.0.0.98", "10.0.0.99"]) / ICMP()
        answered, unanswered = left.sr(packet, timeout=0.1)
        assert [query.dst for query, _ in answered] == ["10.0.0.2"]
        assert [one.dst for one in unanswered] == ["10.0.0.98", "10.0.0.99"]
        assert left.sr1(IP(dst="10.0.0.97") / ICMP(), timeout=600) is None
        assert (
            left.srp1(Ether() / IP(dst="10.0.0.96") / ICMP(), dev="eth0", timeout=600)
            is None
        )
        answered, unanswered = left.sr(
            IP(dst="10.0.0.95") / ICMP(), multi=True, timeout=600
        )
        assert (len(answered), len(unanswered)) == (0, 1)
        assert time.monotonic() - start < 60

    def test_interval(self, left: NetworkNamespace) -> None:
        """Packets leave one interval apart; after the last one nobody waits for it."""
        packet = IP(dst="10.1.0.2", ttl=[61, 62, 63]) / ICMP()
        start = time.monotonic()
        answered, _ = left.sr(packet, inter=0.05, timeout=600)
        assert 0.1 <= time.monotonic() - start < 60
        times = [query.sent_time or 0.0 for query, _ in answered]
        assert times[1] - times[0] > 0.04
        assert times[2] - times[1] > 0.04
        assert left.sr1(packet, inter=0.05, timeout=600) is not None
        assert left.sr1(IP(dst="10.1.0.2") / ICMP(), inter=600) is not None
        assert time.monotonic() - start < 60

    def test_own_packets(self, left: NetworkNamespace) -> None:
        """What the loopback interface gives back is no answer."""
        packet = IP(dst="127.0.0.1") / UDP(sport=7000, dport=7000) / b"?"
        with left.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 7000))
            server.settimeout(10)
            assert left.sr1(packet, timeout=0.2) is None
            assert server.recvfrom(10)[0] == b"?"
        with left.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
            server.bind(("::1", 7000))
            server.settimeout(10)
            packet = IPv6(dst="::1") / UDP(sport=7000, dport=7000) / b"?"
            assert left.sr1(packet, timeout=0.2) is None
            assert server.recvfrom(10)[0] == b"?"

    def test_forged_lladdr(self, netns: Network) -> None:
        """Answers to somebody else's MAC address are seen, where a bridge learns it.

        ::

            a (in a bridge of its own) --- b
        """
        netns.add(
            Namespace("a"),
            Namespace("b"),
            Bridge("br0", namespace="a"),
            Veth("a:port", "b:eth0", peer_address="10.9.0.2/24"),
        )
        netns["a"].run("ip link set port master br0")
        packet = Ether(src="02:00:00:00:00:55", dst="ff:ff:ff:ff:ff:ff") / ARP(
            pdst="10.9.0.2", psrc="10.9.0.5", hwsrc="02:00:00:00:00:55"
        )
        answer: Any = netns["a"].srp1(packet, dev="br0")
        assert (answer.dst, answer[ARP].psrc) == ("02:00:00:00:00:55", "10.9.0.2")
