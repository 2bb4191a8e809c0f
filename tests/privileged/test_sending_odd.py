"""Sending where something is wrong: arguments, routes, interfaces, answers.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.layers import inet, inet6, l2
from scapy.packet import Raw, fuzz
from scapy.utils import wrpcap

from pytest_netns import (
    ClosedError,
    KernelError,
    Namespace,
    Network,
    NetworkNamespace,
    Topology,
    UnknownName,
    Veth,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# scapy's types say of no packet what may be in it, nor what "/" gives
ICMP, IP, TCP, UDP = (
    cast("Any", one) for one in (inet.ICMP, inet.IP, inet.TCP, inet.UDP)
)
IPv6 = cast("Any", inet6.IPv6)
ARP, Ether = (cast("Any", one) for one in (l2.ARP, l2.Ether))

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet=["10.0.0.0/24", "fd00::/64"]),
)
PING = IP(dst="10.0.0.2") / ICMP()

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that sends."""
    return netns["left"]


@pytest.fixture
def server(netns: Network) -> Iterator[socket.socket]:
    """Give a UDP socket of right, which answers nothing by itself."""
    with netns["right"].socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("10.0.0.2", 7000))
        server.settimeout(10)
        yield server


@pytest.fixture
def peer(netns: Network) -> Iterator[socket.socket]:
    """Give a packet socket at the other end."""
    with netns["right"].socket(socket.AF_PACKET, socket.SOCK_RAW) as peer:
        peer.bind(("eth0", 3))
        peer.settimeout(10)
        yield peer


class TestArguments:
    """What cannot be meant."""

    @pytest.mark.parametrize(
        "what", ["text", b"bytes", None, 5, inet.IP, [PING, "text"], {"a": 1}]
    )
    def test_no_packet(self, left: NetworkNamespace, what: Any) -> None:
        """What is no packet is a TypeError, for every way to send."""
        calls: list[Callable[[], object]] = [
            lambda: left.send(what),
            lambda: left.sendp(what, dev="eth0"),
            lambda: left.sr1(what),
            lambda: left.srp(what, dev="eth0"),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"cannot send .* packet of scapy's"):
                call()

    @pytest.mark.parametrize(
        ("packet", "names"), [(Ether() / PING, "Ether/IP/ICMP"), (Raw(b"x"), "Raw")]
    )
    def test_no_address(self, left: NetworkNamespace, packet: Any, names: str) -> None:
        """A frame cannot be routed: the message says how to send it."""
        with pytest.raises(ValueError, match=rf"{names} .*sendp\(\)"):
            left.send(packet)

    def test_interface_is_needed(self, left: NetworkNamespace) -> None:
        """A frame does not say which interface it leaves through."""
        with pytest.raises(TypeError, match="dev"):
            left.sendp(Ether())  # type: ignore[call-arg]

    def test_unknown_interface(self, left: NetworkNamespace) -> None:
        """The error names the interfaces that there are, and the nearest one."""
        calls: list[Callable[[], object]] = [
            lambda: left.send(PING, dev="eht0"),
            lambda: left.sendp(Ether(), dev="eht0"),
            lambda: left.srp1(Ether(), dev="eht0"),
        ]
        for call in calls:
            with pytest.raises(UnknownName, match=r"'eht0'.*'left'.*mean 'eth0'\?"):
                call()

    def test_negative_retry(self, left: NetworkNamespace) -> None:
        """A packet cannot be sent less than once."""
        with pytest.raises(ValueError, match=r"retry .* -1"):
            left.sr1(PING, retry=-1)

    def test_closed(self) -> None:
        """After the network is closed nothing can be sent."""
        network = build(PAIR)
        left = network["left"]
        left.send(PING)
        network.close()
        calls: list[Callable[[], object]] = [
            lambda: left.send(PING),
            lambda: left.sendp(Ether(), dev="eth0"),
            lambda: left.sr1(PING),
            lambda: left.srp1(Ether(), dev="eth0"),
        ]
        for call in calls:
            with pytest.raises(ClosedError, match="'left' is closed"):
                call()

    def test_fuzzed(self, left: NetworkNamespace, server: socket.socket) -> None:
        """Packets that make no sense leave all the same."""
        for _ in range(20):
            left.send(fuzz(IP(dst="10.0.0.2") / TCP()))
        left.send(IP(dst="10.0.0.2") / UDP(dport=7000) / b"alive")
        assert server.recv(10) == b"alive"


class TestNoWay:
    """No route, or nobody at its end."""

    @pytest.mark.parametrize(
        ("packet", "target"),
        [(IP(dst="192.0.2.1"), "192.0.2.1"), (IPv6(dst="2001:db8::1"), "2001:db8::1")],
    )
    def test_no_route(self, left: NetworkNamespace, packet: Any, target: str) -> None:
        """Without a route nothing is sent, also where an answer is awaited."""
        calls = left.send, left.sr, left.sr1
        for call in calls:
            with pytest.raises(KernelError, match=rf"{target}.*'left'") as caught:
                call(packet / UDP())
            assert caught.value.errno == errno.ENETUNREACH

    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            ("unreachable", errno.EHOSTUNREACH),
            ("prohibit", errno.EACCES),
            ("blackhole", errno.EINVAL),
        ],
    )
    def test_refusing_route(
        self, left: NetworkNamespace, kind: str, number: int
    ) -> None:
        """A route that refuses does so here, too, whatever address a packet is from."""
        left.run(f"ip route add {kind} 10.6.0.0/16")
        for source in (None, "10.0.0.1", "203.0.113.1"):
            with pytest.raises(KernelError) as caught:
                left.send(IP(src=source, dst="10.6.0.1") / UDP())
            assert caught.value.errno == number

    @pytest.mark.parametrize(
        ("destination", "words"),
        [
            ("10.0.0.99", "through 'eth0' .*ARP for 10.0.0.99 within 1.5 s"),
            ("10.7.0.1", "send to 10.7.0.1 .*ARP for gateway 10.0.0.98"),
            ("fd00::99", "neighbour discovery for fd00::99"),
        ],
    )
    def test_no_neighbour(
        self, left: NetworkNamespace, destination: str, words: str
    ) -> None:
        """If nobody answers ARP, the error says who was asked for, and where."""
        left.run("ip route add 10.7.0.0/16 via 10.0.0.98")
        packet = (IPv6 if ":" in destination else IP)(dst=destination) / UDP()
        calls: list[Callable[[Any], object]] = [
            left.send,
            lambda packet: left.sendp(Ether() / packet, dev="eth0"),
        ]
        for call in calls:
            with pytest.raises(KernelError, match=words) as caught:
                call(packet)
            assert caught.value.errno == errno.EHOSTUNREACH

    def test_new_neighbour(self, netns: Network, left: NetworkNamespace) -> None:
        """Who was not there is found once it is."""
        assert left.sr1(IP(dst="10.0.0.77") / ICMP(), timeout=0) is None
        netns["right"].run("ip address add 10.0.0.77/24 dev eth0")
        assert left.sr1(IP(dst="10.0.0.77") / ICMP(), timeout=10) is not None


class TestInterfaces:
    """Interfaces that are too small, down, or gone."""

    def test_too_long(self, left: NetworkNamespace) -> None:
        """What is longer than the MTU is refused, with all the numbers."""
        fits = IP(dst="10.0.0.2") / ICMP() / bytes(1500 - 28)
        assert left.sr1(fits) is not None
        calls: list[Callable[[Any], object]] = [
            left.send,
            left.sr1,
            lambda packet: left.sendp(Ether() / packet, dev="eth0"),
        ]
        for call in calls:
            with pytest.raises(
                KernelError, match=r"1515 bytes.*'eth0'.*MTU is 1500"
            ) as caught:
                call(fits / b"x")
            assert caught.value.errno == errno.EMSGSIZE

    def test_mtu_changes(self, left: NetworkNamespace) -> None:
        """The MTU may change from one call to the next."""
        assert left.sr1(PING) is not None
        left.run("ip link set eth0 mtu 1400")
        with pytest.raises(KernelError, match="MTU is 1400"):
            left.send(PING / bytes(1400))

    def test_down(self, left: NetworkNamespace) -> None:
        """An interface that is down sends nothing; once it is up again, it does."""
        assert left.sr1(PING) is not None
        left.interface("eth0").set_down()
        for call in (left.sendp, left.srp1):
            with pytest.raises(KernelError, match="'eth0'") as caught:
                call(Ether(dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / b"x", dev="eth0")
            assert caught.value.errno == errno.ENETDOWN
        with pytest.raises(KernelError) as caught:
            left.send(PING)
        assert caught.value.errno == errno.ENETUNREACH
        left.interface("eth0").set_up()
        assert left.sr1(PING) is not None

    def test_replaced(self, netns: Network, left: NetworkNamespace) -> None:
        """Another interface of the same name is another interface."""
        assert left.sr1(PING) is not None
        left.run("ip link delete eth0")
        with pytest.raises(UnknownName):
            left.send(PING, dev="eth0")
        netns.add(Namespace("third"), Veth("left:eth1", "third:eth0"))
        left.run("ip link set eth1 down")
        left.run("ip link set eth1 name eth0 up")
        left.run("ip address add 10.0.0.1/24 dev eth0")
        netns["third"].run("ip address add 10.0.0.2/24 dev eth0")
        assert left.sr1(PING) is not None

    def test_gone_meanwhile(
        self, netns: Network, left: NetworkNamespace, server: socket.socket
    ) -> None:
        """An interface that is removed while an answer is awaited ends the wait."""
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        task = left.spawn(left.sr1, packet, timeout=600)
        assert server.recv(10) == b"?"
        netns["right"].run("ip link delete eth0")
        with pytest.raises(KernelError, match="receive from 'eth0'") as caught:
            task.result(timeout=10)
        assert caught.value.errno == errno.ENETDOWN

    def test_full_queue(self, left: NetworkNamespace, server: socket.socket) -> None:
        """A queue that is full is waited for: nothing is lost."""
        left.run("tc qdisc add dev eth0 root tbf rate 10mbit burst 2k limit 3k")
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / bytes(1000)
        left.send(packet, count=50)
        assert {len(server.recv(2000)) for _ in range(50)} == {1000}


class TestAnswers:
    """Answers that are none."""

    def test_malformed(
        self, left: NetworkNamespace, server: socket.socket, peer: socket.socket
    ) -> None:
        """Whatever arrives meanwhile, the answer is found."""
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        task = left.spawn(left.sr1, packet, timeout=10)
        question, sender = server.recvfrom(10)
        asked = next(
            data for data in iter(lambda: peer.recv(2048), b"") if question in data
        )
        header = asked[6:12] + asked[:6]
        reply = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=7000, dport=5000))
        for kind in (b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00", b"\x00\x10"):
            # with a whole IP header, scapy takes any rest that it cannot read for an
            # answer
            for length in range(20):
                peer.send(header + kind + reply[:length])
                peer.send(header + kind + bytes(length))
                peer.send(header + kind + b"\xff" * length)
        server.sendto(b"!", sender)
        answer: Any = task.result(timeout=20)
        assert bytes(answer[UDP].payload) == b"!"

    def test_noise(
        self, left: NetworkNamespace, server: socket.socket, peer: socket.socket
    ) -> None:
        """An answer in the middle of other traffic is found."""
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        task = left.spawn(left.sr1, packet, timeout=20)
        _, sender = server.recvfrom(10)
        noise = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / bytes(46))
        for _ in range(2000):
            peer.send(noise)
        server.sendto(b"!", sender)
        for _ in range(2000):
            peer.send(noise)
        answer: Any = task.result(timeout=30)
        assert bytes(answer[UDP].payload) == b"!"


class TestLeftovers:
    """What is open, and until when."""

    def test_descriptors(self, left: NetworkNamespace) -> None:
        """However much is sent, no more descriptors are open than after the first."""
        calls: list[Callable[[], object]] = [
            lambda: left.send(PING),
            lambda: left.sendp(Ether() / PING, dev="eth0"),
            lambda: left.sr1(PING),
            lambda: left.sr1(IP(dst="127.0.0.1") / ICMP()),
            lambda: left.srp1(Ether() / ARP(pdst="10.0.0.2"), dev="eth0"),
        ]
        for call in calls:
            call()
        before = sockets()
        for call in calls * 10:
            call()
        assert sockets() == before

    def test_nothing_is_seen_between_calls(
        self, left: NetworkNamespace, server: socket.socket, peer: socket.socket
    ) -> None:
        """Sockets that wait for the next call keep nothing of what arrives."""
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        assert left.sr1(packet, timeout=0) is None
        server.recv(10)
        noise = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / bytes(1000))
        for _ in range(500):
            peer.send(noise)
        # the column "Rmem" of packet sockets that see all protocols (0003)
        table = left.call(read, "/proc/thread-self/net/packet").splitlines()[1:]
        queued = [int(row.split()[6]) for row in table if row.split()[3] == "0003"]
        assert queued == [0]

    def test_interrupted(self, left: NetworkNamespace, server: socket.socket) -> None:
        """Ctrl-C ends a wait at once, and leaves neither sockets nor threads."""

        def interrupt() -> None:
            server.recv(10)
            signal.pthread_kill(main, signal.SIGINT)

        main = threading.main_thread().ident or 0
        before, threads = sockets(), threading.enumerate()
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            left.sr1(packet, timeout=600)
        assert time.monotonic() - start < 60
        interrupter.join()
        assert sockets() == before
        assert threading.enumerate() == threads
        assert left.sr1(PING) is not None

    @pytest.mark.parametrize("how", ["spawned", "a thread of its own"])
    @pytest.mark.parametrize("what", ["sr1", "send", "replay"])
    def test_still_at_it(self, tmp_path: Path, what: str, how: str) -> None:
        """When the network is closed, whoever still waits in it is told so."""
        network = build(PAIR)
        left, right = network["left"], network["right"]
        server = right.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("10.0.0.2", 7000))
        server.settimeout(10)
        packet = IP(dst="10.0.0.2") / UDP(sport=5000, dport=7000) / b"?"
        if what == "replay":
            twice = [Ether(dst=right.interface("eth0").lladdr) / packet] * 2
            twice[0].src, twice[0].time, twice[0][IP].src = (
                "02:00:00:00:00:01",
                0,
                "10.0.0.1",
            )
            twice[1] = twice[0].copy()
            twice[1].time = 3600
            wrpcap(str(tmp_path / "file"), twice)
        calls: dict[str, Callable[[], object]] = {
            "sr1": lambda: left.sr1(packet, timeout=600),
            "send": lambda: left.send([packet, packet], inter=600),
            "replay": lambda: left.replay(tmp_path / "file", dev="eth0"),
        }
        ended: list[BaseException] = []

        def work() -> None:
            try:
                calls[what]()
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        if how == "spawned":
            left.spawn(work)
        else:
            thread.start()
        assert server.recv(10) == b"?"
        start = time.monotonic()
        network.close()
        if how != "spawned":
            thread.join(30)
        assert time.monotonic() - start < 60
        (error,) = ended
        # a task is cancelled anyway
        assert isinstance(error, ClosedError) or how == "spawned"

    def test_after_the_network(self) -> None:
        """A network that is closed leaves neither sockets nor threads."""
        before, threads = sockets(), threading.enumerate()
        with build(PAIR) as network:
            for name, target in (("left", "10.0.0.2"), ("right", "10.0.0.1")):
                network[name].sr1(IP(dst=target) / ICMP())
                network[name].srp1(Ether() / ARP(pdst=target), dev="eth0")
            assert sockets() != before
        assert sockets() == before
        assert threading.enumerate() == threads


def sockets() -> set[int]:
    """Return the descriptors of this process that are sockets."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            if stat.S_ISSOCK(os.stat(int(entry)).st_mode):  # noqa: PTH116
                found.add(int(entry))
        except OSError:
            continue  # that of the folder itself
    return found


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()
