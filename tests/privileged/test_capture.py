from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.plist import PacketList

from pytest_netns import (
    Bridge,
    Namespace,
    NetnsError,
    Network,
    OVSBridge,
    Route,
    Topology,
    UnknownName,
    Veth,
    WaitTimeout,
    _tap,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scapy.packet import Packet

    from pytest_netns import NetworkNamespace, PacketCapture

#: left --- right
PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth(
        "left:eth0",
        "right:eth0",
        address=["10.0.0.1/24", "fd00::1/64"],
        peer_address=["10.0.0.2/24", "fd00::2/64"],
    ),
)
#: left --- router --- right
ROUTED = Topology(
    Namespace("left", routes=[Route("default", via="10.0.1.2")]),
    Namespace("router", forwarding=True),
    Namespace("right", routes=[Route("default", via="10.0.2.2")]),
    Veth("left:eth0", "router:eth0", address="10.0.1.1/24", peer_address="10.0.1.2/24"),
    Veth(
        "right:eth0", "router:eth1", address="10.0.2.1/24", peer_address="10.0.2.2/24"
    ),
)
pair = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the machine that sends."""
    return netns["left"]


@pytest.fixture
def sender(left: NetworkNamespace) -> socket.socket:
    """Give a socket whose packets right gets, and nobody answers."""
    right_is_deaf = left.socket(socket.AF_INET, socket.SOCK_DGRAM)
    right_is_deaf.connect(("10.0.0.2", 9))
    return right_is_deaf


def send(sender: socket.socket, payload: bytes) -> None:
    """Send a datagram, whatever came back for those before."""
    while True:
        try:
            sender.send(payload)
        except ConnectionRefusedError:
            continue
        return


def leaves(packet: Any) -> bool:
    """Tell whether a packet was seen when it left."""
    return bool(packet.direction == "out")


def every(capture: PacketCapture) -> list[Any]:
    """Return all packets; scapy's types do not know what a direction is here."""
    return list(capture.packets)


def payloads(packets: Iterable[Any], direction: str = "out") -> list[bytes]:
    """Return what the UDP packets of one direction carry."""
    return [
        bytes(packet[UDP].payload)
        for packet in packets
        if UDP in packet and packet.direction == direction and ICMP not in packet
    ]


@pair
class TestBlock:
    """What belongs to the block of a capture."""

    def test_the_first_packet_is_there(
        self, left: NetworkNamespace, sender: socket.socket
    ) -> None:
        """It sees from the very beginning of the block to its end, 1,000 times."""
        left.ping("right")  # the neighbour is known
        for number in range(1000):
            payload = b"%d" % number
            with left.capture("eth0", bpf_filter=lambda p: UDP in p) as capture:
                send(sender, payload)
            assert payloads(capture.packets) == [payload]

    def test_what_is_outside_is_not_there(
        self, left: NetworkNamespace, sender: socket.socket
    ) -> None:
        """What passes before or after the block is not in it."""
        left.ping("right")
        send(sender, b"before")
        with left.capture("eth0") as capture:
            send(sender, b"inside")
        send(sender, b"after")
        assert payloads(capture.packets) == [b"inside"]

    def test_all_that_passed_is_there(
        self, netns: Network, left: NetworkNamespace, sender: socket.socket
    ) -> None:
        """Leaving the block loses nothing, on either end of the cable."""
        left.ping("right")
        for count in (1, 50, 2000):
            with netns.capture("left:eth0", "right:eth0") as capture:
                for number in range(count):
                    send(sender, b"%d" % number)
            expected = [b"%d" % number for number in range(count)]
            for place, direction in (("left", "out"), ("right", "in")):
                here = [one for one in every(capture) if one.namespace == place]
                assert payloads(here, direction) == expected
            assert capture.dropped == 0

    def test_looking_inside_the_block(
        self, left: NetworkNamespace, sender: socket.socket
    ) -> None:
        """What has passed can be looked at while the capture goes on."""
        left.ping("right")
        with left.capture("eth0") as capture:
            assert payloads(capture.packets) == []
            assert capture
            for number in range(3):
                send(sender, b"%d" % number)
                assert payloads(capture.packets)[-1] == b"%d" % number
        assert len(payloads(capture.packets)) == 3

    def test_once(self, left: NetworkNamespace) -> None:
        """A capture is used once, and in a with statement."""
        capture = left.capture("eth0")
        with pytest.raises(NetnsError, match="with statement"):
            capture.wait()
        with capture:
            pass
        with pytest.raises(NetnsError, match="has ended"):
            capture.__enter__()


@pytest.fixture(params=["queue", "ring"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have captures begin with a queue, as is usual, or with a ring."""

    def refuse(*_args: Any, **_options: Any) -> None:
        raise PermissionError(errno.EPERM, "no")

    if request.param == "ring":
        monkeypatch.setattr(_tap, "Queue", refuse)


@pair
@pytest.mark.usefixtures("source")
class TestPlaces:
    """Where packets are seen."""

    def test_one_interface(self, left: NetworkNamespace) -> None:
        """A capture on one interface sees both directions, and nothing else."""
        with left.capture("eth0") as capture:
            left.ping("127.0.0.1")
            left.ping("right")
        echoes = [packet for packet in every(capture) if ICMP in packet]
        assert [one.direction for one in echoes] == ["out", "in"]
        assert {one.sniffed_on for one in echoes} == {"left:eth0"}
        assert {(one.namespace, one.interface) for one in echoes} == {("left", "eth0")}

    def test_all_interfaces(self, netns: Network, left: NetworkNamespace) -> None:
        """Without a name all interfaces are meant, later ones too."""
        with left.capture() as capture:
            left.ping("127.0.0.1")
            netns.add(
                Namespace("third"),
                Veth("left:late", "third", subnet="10.0.3.0/24"),
            )
            left.ping("third")
        echoes = [packet for packet in every(capture) if ICMP in packet]
        assert [one.interface for one in echoes] == ["lo", "lo", "late", "late"]

    def test_loopback(self, left: NetworkNamespace) -> None:
        """What goes to the machine itself is seen once, not on its way out too."""
        with left.capture("lo") as capture:
            left.ping("127.0.0.1", count=3, interval=0)
        kinds = [packet[ICMP].type for packet in every(capture)]
        assert sorted(kinds) == [0, 0, 0, 8, 8, 8]
        assert {packet.direction for packet in every(capture)} == {"in"}

    def test_across_namespaces(self, netns: Network, left: NetworkNamespace) -> None:
        """A packet is seen at each end of its cable, in order of time."""
        left.ping("right")
        with netns.capture("left:eth0", "right:eth0", noise=False) as capture:
            left.ping("right")
        assert [(p.sniffed_on, p.direction, p[ICMP].type) for p in every(capture)] == [
            ("left:eth0", "out", 8),
            ("right:eth0", "in", 8),
            ("right:eth0", "out", 0),
            ("left:eth0", "in", 0),
        ]
        times = [packet.time for packet in every(capture)]
        assert all(before <= after for before, after in pairwise(times))

    def test_all_namespaces(self, netns: Network, left: NetworkNamespace) -> None:
        """Without any name all namespaces are meant."""
        with netns.capture() as capture:
            left.ping("right")
        places = {packet.sniffed_on for packet in every(capture)}
        assert places == {"left:eth0", "right:eth0"}

    def test_unknown(self, netns: Network, left: NetworkNamespace) -> None:
        """Who is not there is named, with who is."""
        with pytest.raises(UnknownName, match=r"'eth0', 'lo'.*did you mean 'eth0'"):
            left.capture("eth").__enter__()
        for endpoint in ("lefd:eth0", "lefd"):
            with pytest.raises(UnknownName, match="did you mean 'left'"):
                netns.capture(endpoint).__enter__()
        with pytest.raises(UnknownName, match="'eth9' in namespace 'left'"):
            netns.capture("right:eth0", "left:eth9").__enter__()


@pytest.mark.netns(ROUTED)
def test_a_packet_on_its_way(netns: Network) -> None:
    """Each interface of a way sees the packet, with one hop less behind a router."""
    with netns.capture(
        "left:eth0", "router:eth0", "router:eth1", "right:eth0"
    ) as capture:
        assert netns["left"].ping("10.0.2.1")
    requests = [p for p in every(capture) if ICMP in p and p[ICMP].type == 8]
    assert [(p.sniffed_on, p.direction, p[IP].ttl) for p in requests] == [
        ("left:eth0", "out", 64),
        ("router:eth0", "in", 64),
        ("router:eth1", "out", 63),
        ("right:eth0", "in", 63),
    ]


@pytest.mark.netns(
    Namespace("left"),
    Namespace("right"),
    Bridge("br0"),
    Veth("left", "br0:port-l", address="10.0.0.1/24"),
    Veth("right", "br0:port-r", address="10.0.0.2/24"),
)
def test_ports_of_a_hidden_bridge(netns: Network) -> None:
    """The ports of a bridge that nobody can look into can be captured on."""
    with netns.capture("br0:port-l") as one, netns.capture("br0") as all_ports:
        netns["left"].ping("right")
    echoes = [packet for packet in every(one) if ICMP in packet]
    assert [(p.sniffed_on, p.direction) for p in echoes] == [
        ("br0:port-l", "in"),
        ("br0:port-l", "out"),
    ]
    ports = [packet.interface for packet in every(all_ports) if ICMP in packet]
    assert ports == ["port-l", "port-r", "port-r", "port-l"]


@pytest.mark.netns(
    Namespace("left"),
    Namespace("right"),
    Namespace("switch"),
    Bridge("br0", namespace="switch"),
    Veth("left", "br0:port-l", address="10.0.0.1/24"),
    Veth("right", "br0:port-r", address="10.0.0.2/24"),
)
def test_a_bridge_device(netns: Network) -> None:
    """A capture on the device of a bridge sees what passes through, as tcpdump does."""
    netns["left"].ping("right")
    with netns["switch"].capture("br0") as capture:
        netns["left"].ping("right")
    assert [packet[ICMP].type for packet in every(capture) if ICMP in packet] == [8, 0]
    flags = int(netns["switch"].run("cat /sys/class/net/br0/flags").stdout, 16)
    assert not flags & 0x100  # IFF_PROMISC


@pytest.mark.netns(
    Namespace("left"),
    Namespace("right"),
    OVSBridge("OVS-1"),
    Veth("left", "OVS-1:port-l", address="10.0.0.1/24"),
    Veth("right", "OVS-1:port-r", address="10.0.0.2/24"),
)
def test_ports_of_open_vswitch(netns: Network) -> None:
    """Ports of Open vSwitch can be captured on as well."""
    with netns.capture("OVS-1:port-r") as capture:
        netns["left"].ping("right")
    echoes = [packet for packet in every(capture) if ICMP in packet]
    assert [one.sniffed_on for one in echoes] == ["OVS-1:port-r"] * 2


def tagged(vlan: int, payload: bytes) -> bytes:
    """Return a frame with a VLAN tag that nobody waits for."""
    frame: Any = Ether(dst="02:00:00:00:00:99", src="02:00:00:00:00:01")
    frame /= Dot1Q(vlan=vlan)
    return bytes(frame / IP(src="10.0.0.1", dst="10.0.0.9") / UDP(dport=9) / payload)


def send_frame(namespace: NetworkNamespace, frame: bytes) -> None:
    """Send a frame as it is through eth0."""
    with namespace, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.sendto(frame, ("eth0", 0))


@pair
@pytest.mark.usefixtures("source")
class TestContents:
    """What is in a packet."""

    def test_vlan_tags(self, netns: Network, left: NetworkNamespace) -> None:
        """A tag that the kernel keeps beside the packet is put back, at both ends."""
        frame = tagged(10, b"x" * 20)
        with netns.capture("left:eth0", "right:eth0") as capture:
            send_frame(left, frame)
        packets = [packet for packet in every(capture) if Dot1Q in packet]
        assert [packet.sniffed_on for packet in packets] == ["left:eth0", "right:eth0"]
        assert [packet[Dot1Q].vlan for packet in packets] == [10, 10]
        assert [packet.original for packet in packets] == [frame, frame]

    def test_noise(self, netns: Network, left: NetworkNamespace) -> None:
        """Neighbour discovery can be left out; other ICMPv6 never is."""
        right = netns["right"]
        noisy = right.capture("eth0")
        with noisy, right.capture("eth0", noise=False) as quiet:
            left.run("ip -6 neigh flush all")
            left.ping("fd00::2")
        assert [p for p in every(noisy) if ICMPv6ND_NS in p]
        assert not [p for p in every(quiet) if ICMPv6ND_NS in p]
        for capture in (noisy, quiet):
            assert len([p for p in every(capture) if ICMPv6EchoRequest in p]) == 1

    def test_malformed(self, left: NetworkNamespace) -> None:
        """What cannot be parsed is there as it is."""
        frames = [
            bytes.fromhex("ffffffffffff 020000000001 0800") + b"\x4f" + b"\xff" * 20,
            bytes.fromhex("ffffffffffff 020000000001 86dd") + b"\x60" + b"\0" * 39,
            bytes.fromhex("ffffffffffff 020000000001 0806") + b"\x00",
            bytes.fromhex("ffffffffffff 020000000001 0003") + b"\x00" * 3,
        ]
        with left.capture("eth0", noise=False) as capture:
            for frame in frames:
                send_frame(left, frame)
        assert [packet.original for packet in every(capture)] == frames
        assert [packet.summary() for packet in every(capture)]

    def test_snaplen(self, left: NetworkNamespace, sender: socket.socket) -> None:
        """Only the beginning of packets is kept, if that is wanted."""
        left.ping("right")
        with left.capture("eth0", snaplen=60, noise=False) as capture:
            send(sender, b"x" * 500)
        (packet,) = filter(leaves, capture.packets)
        assert len(packet.original) == 60
        assert packet.wirelen == 500 + 42

    def test_time(self, left: NetworkNamespace, sender: socket.socket) -> None:
        """The kernel's time is the system's clock."""
        left.ping("right")
        before = time.time_ns()
        with left.capture("eth0") as capture:
            send(sender, b"now")
        after = time.time_ns()
        assert before <= capture.frames[0].time <= after
        first = capture.packets[0]
        assert before <= int(first.time * 10**9) <= after
        assert abs(first.time - time.time()) < 60  # it can be compared with floats

    def test_a_list_of_scapy(self, left: NetworkNamespace) -> None:
        """The packets are a list as scapy has it, with slices and filters."""
        with left.capture("eth0", noise=False) as capture:
            left.ping("right", count=3, interval=0)
        packets = capture.packets
        assert isinstance(packets, PacketList)
        assert len(packets) == len(capture)
        assert packets[0] is packets[0] is capture.packets[0]
        assert isinstance(packets[1:3], PacketList)
        assert [one.time for one in packets[1:3]] == [packets[1].time, packets[2].time]
        assert len(packets[ICMP]) == 6
        assert len(packets.filter(lambda one: ARP in one)) == len(packets) - 6
        assert packets[-1].time == max(one.time for one in packets)
        assert len(packets + packets) == 2 * len(packets)


@pair
class TestWaiting:
    """Packets that are awaited."""

    def test_count(self, left: NetworkNamespace, sender: socket.socket) -> None:
        """As many packets as wanted are awaited, and given."""

        def send_three() -> None:
            for _ in range(3):
                send(sender, b"x")

        left.ping("right")
        with left.capture("eth0", bpf_filter=leaves, noise=False) as capture:
            threading.Timer(0.05, send_three).start()
            assert len(capture) == 0
            found = capture.wait(3)
            assert isinstance(found, PacketList)
            assert payloads(found) == [b"x"] * 3
            assert len(capture.wait(2)) == 2  # they are there already

    def test_matching(self, netns: Network, left: NetworkNamespace) -> None:
        """Only those that match count."""
        with netns.capture("left:eth0", "right:eth0") as capture:
            task = left.spawn(left.ping, "right")
            (reply,) = capture.wait(
                matching=lambda p: p[ICMP].type == 0 and p.namespace == "left"
            )
            assert task.result(timeout=5)
        assert reply[IP].src == "10.0.0.2"

    def test_too_late(self, left: NetworkNamespace) -> None:
        """What did not come is named, with what was seen instead."""
        with left.capture("eth0") as capture:
            left.ping("right")
            with pytest.raises(WaitTimeout, match="UDP") as caught:
                capture.wait(matching=UDP, timeout=0.05)
        assert "left:eth0" in str(caught.value)
        assert "10.0.0.1 > 10.0.0.2 echo-request" in str(caught.value)
        with pytest.raises(WaitTimeout, match="has ended"):
            capture.wait(100)

    def test_follow(self, left: NetworkNamespace, sender: socket.socket) -> None:
        """Packets come as they are sent, and the end of the capture is an end."""
        left.ping("right")
        seen: list[bytes] = []
        with left.capture("eth0") as capture:

            def follow() -> None:
                for packet in capture.follow(timeout=None):
                    seen.extend(payloads([packet]))

            follower = threading.Thread(target=follow)
            follower.start()
            packets = capture.follow()
            for number in range(3):
                send(sender, b"%d" % number)
                while (payload := payloads([next(packets)])) == []:
                    pass
                assert payload == [b"%d" % number]
        follower.join(5)
        assert not follower.is_alive()
        assert seen == [b"0", b"1", b"2"]

    def test_nothing_to_follow(self, left: NetworkNamespace) -> None:
        """Following has a deadline."""
        with left.capture("eth0", noise=False) as capture:
            with pytest.raises(WaitTimeout, match="left:eth0"):
                next(capture.follow(timeout=0.02))
            task = left.spawn(left.ping, "right")
            assert leaves(next(capture.follow()))
            assert task.result(timeout=5)


@pair
@pytest.mark.usefixtures("source")
class TestFilters:
    """Which packets are kept."""

    def test_a_filter_of_tcpdump(
        self, left: NetworkNamespace, sender: socket.socket
    ) -> None:
        """The kernel keeps what matches, and lets nothing else in before it does."""
        ping = left.spawn(left.ping, "right", count=100, interval=0.001)
        with left.capture("eth0", bpf_filter="udp port 9 and src 10.0.0.1") as capture:
            send(sender, b"x")
            assert ping.result(timeout=10)
        assert payloads(capture.packets) == [b"x"]
        assert len(capture) == 1

    def test_a_function(self, left: NetworkNamespace, sender: socket.socket) -> None:
        """A function of the parsed packet is a filter, too."""

        def is_large(packet: Packet) -> bool:
            return len(packet) > 200

        left.ping("right")
        with left.capture("eth0", bpf_filter=is_large) as capture:
            send(sender, b"x")
            send(sender, b"y" * 300)
            assert len(capture.wait()[0]) > 300
        assert payloads(capture.packets) == [b"y" * 300]

    def test_vlan(self, netns: Network, left: NetworkNamespace) -> None:
        """A filter finds tags, though the kernel keeps them beside the packet."""
        with netns.capture("left:eth0", "right:eth0", bpf_filter="vlan 10") as ten:
            for vlan in (10, 11):
                send_frame(left, tagged(vlan, struct.pack("!I", vlan)))
        assert [(p.namespace, p[Dot1Q].vlan) for p in every(ten)] == [
            ("left", 10),
            ("right", 10),
        ]

    def test_vlan_devices(self, netns: Network, left: NetworkNamespace) -> None:
        """So it does with devices that tag and untag, where the kernel has them."""
        add = "ip link add link eth0 name eth0.10 type vlan id 10"
        if left.run(add, check=False).returncode:
            assert "Unknown device type" in left.run(add, check=False).stderr
            return
        netns["right"].run(add)
        for namespace, address in (
            (left, "10.9.0.1/24"),
            (netns["right"], "10.9.0.2/24"),
        ):
            namespace.run("ip link set eth0.10 up")
            namespace.run(f"ip address add {address} dev eth0.10")
        ends = ("left:eth0", "right:eth0")
        with (
            netns.capture(*ends, bpf_filter="vlan 10 and icmp") as ten,
            netns.capture(*ends, bpf_filter="vlan 11") as eleven,
            left.capture("eth0.10", bpf_filter="icmp") as inside,
        ):
            assert left.ping("10.9.0.2")
        assert [(p.sniffed_on, p.direction, p[Dot1Q].vlan) for p in every(ten)] == [
            ("left:eth0", "out", 10),
            ("right:eth0", "in", 10),
            ("right:eth0", "out", 10),
            ("left:eth0", "in", 10),
        ]
        assert [Dot1Q in packet for packet in every(inside)] == [False, False]
        eleven.assert_not_seen(Dot1Q)
