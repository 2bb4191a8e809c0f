"""What a capture asserts: that packets were there, that none was, and that it knows."""

from __future__ import annotations

import re
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.plist import PacketList
from scapy.utils import rdpcap

from pytest_netns import (
    Bridge,
    CaptureError,
    InconclusiveError,
    InvalidFilter,
    Namespace,
    Network,
    OVSBridge,
    PacketCapture,
    Topology,
    Veth,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_netns import NetworkNamespace

#: left (10.0.0.1) --- (10.0.0.2) right
PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)
#: left ---.
#: right --- br0
#: third --'
SWITCHED = Topology(
    Namespace("left"),
    Namespace("right"),
    Namespace("third"),
    Bridge("br0"),
    Veth("left", "br0:port-l", address="10.0.0.1/24"),
    Veth("right", "br0:port-r", address="10.0.0.2/24"),
    Veth("third", "br0:port-3", address="10.0.0.3/24"),
)
pair = pytest.mark.netns(PAIR)
#: What messages say of how packets are described.
FOUR_KINDS = re.compile("a predicate .* a class .* a packet .* tcpdump's language")
#: IEEE 802 local experimental EtherType 1
MARKED = 0x88B5
#: Sends bytes that nobody asked for: an empty frame to nobody.
NOBODY = "02:00:00:00:00:99"


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the machine that sends."""
    return netns["left"]


def frame_like_a_marked_one() -> bytes:
    """Return a frame as a marked packet is one, with a mark of nobody's."""
    frame: Any = Ether(dst=NOBODY, src="02:00:00:00:00:01", type=MARKED)
    return bytes(frame / (b"innocent" * 8))


def send_frame(namespace: NetworkNamespace, frame: bytes, ifname: str = "eth0") -> None:
    """Send a frame as it is."""
    with namespace, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.sendto(frame, (ifname, 0))


def types_of(capture: PacketCapture) -> list[int]:
    """Return the EtherTypes of all packets."""
    return [packet[Ether].type for packet in capture.packets]


def inconclusive(capture: PacketCapture, reason: str, **how: bool) -> None:
    """Check that a capture that has seen no ARP does not say that there was none."""
    with pytest.raises(InconclusiveError, match=reason) as caught:
        capture.assert_not_seen(ARP, **how)
    assert str(caught.value).startswith(
        f"no packet matches ARP on {capture.place}, but it might have been missed:\n"
    )


@pair
class TestSeen:
    """That packets were there."""

    @pytest.mark.parametrize(
        "what",
        [
            lambda p: p[ICMP].type == 8,
            ICMP,
            IP(src="10.0.0.0/24") / ICMP(type="echo-request"),
            "icmp[icmptype] == icmp-echo",
        ],
        ids=["predicate", "class", "packet", "filter"],
    )
    def test_found(self, left: NetworkNamespace, what: Any) -> None:
        """However packets are described, those that match are returned."""
        left.ping("right")
        with left.capture("eth0", noise=False) as capture:
            left.ping("right", count=3, interval=0)
            during = capture.assert_seen(what, count=3)
        assert isinstance(during, PacketList)
        after = capture.assert_seen(what, count=3)
        assert [packet.time for packet in after] == [one.time for one in during]
        assert {packet.sniffed_on for packet in after} == {"left:eth0"}
        requests = [packet for packet in after if packet[ICMP].type == 8]
        assert len(requests) == 3
        assert len(after) == (6 if what is ICMP else 3)
        with pytest.raises(CaptureError):
            capture.assert_not_seen(what)

    def test_so_far(self, left: NetworkNamespace) -> None:
        """Inside the block it is about what has passed by then, at once."""
        left.ping("right")
        with left.capture("eth0") as capture:
            for count in range(1, 20):
                left.ping("right")
                capture.assert_seen("icmp[icmptype] == icmp-echoreply", count=count)
                with pytest.raises(CaptureError):
                    capture.assert_seen(lambda p: p[ICMP].type == 0, count=count + 1)

    def test_missing(self, left: NetworkNamespace) -> None:
        """What was seen instead is shown, with what came nearest and was dropped."""
        left.ping("right")
        with left.capture("eth0", noise=False) as capture:
            left.ping("right")
        with pytest.raises(CaptureError) as caught:
            capture.assert_seen(IP(dst="10.0.0.9") / ICMP(type=8))
        assert isinstance(caught.value, AssertionError)
        lines = str(caught.value).splitlines()
        assert "IP(dst=10.0.0.9)" in lines[0]
        assert "on left:eth0; 2 packets were seen, 0 dropped" in lines[0]
        assert re.search(r"0  0\.0+  left:eth0  out  IP / ICMP 10\.0\.0\.1 >", lines[2])
        assert re.search(
            r"1  0\.\d+  left:eth0  in   IP / ICMP 10\.0\.0\.2 >", lines[3]
        )
        assert lines[4].startswith("nearest miss: #0")
        assert "10.0.0.2" in lines[4]
        assert "10.0.0.9" in lines[4]

    def test_too_few(self, left: NetworkNamespace) -> None:
        """Those that there are are counted."""
        left.ping("right")
        with left.capture("eth0", noise=False) as capture:
            left.ping("right", count=2, interval=0)
        with pytest.raises(CaptureError, match="only 4 of 5 packets match ICMP on"):
            capture.assert_seen(ICMP, count=5)

    def test_nothing(self, left: NetworkNamespace) -> None:
        """A capture that has seen nothing says so."""
        with left.capture("eth0", noise=False) as capture:
            pass
        with pytest.raises(CaptureError, match="no packet was seen, 0 dropped"):
            capture.assert_seen(ICMP)

    @pytest.mark.parametrize("count", [0, -1])
    def test_no_count(self, left: NetworkNamespace, count: int) -> None:
        """What could never fail is no assertion."""
        with left.capture("eth0") as capture:
            with pytest.raises(ValueError, match=f"count is {count}"):
                capture.assert_seen(ICMP, count=count)
            with pytest.raises(ValueError, match=f"count is {count}"):
                capture.wait(count)

    @pytest.mark.parametrize("what", [5, None, b"icmp", ["icmp"], Ether])
    def test_what_describes_nothing(self, left: NetworkNamespace, what: Any) -> None:
        """Whoever asks for something else is told what can be asked for."""
        with left.capture("eth0") as capture:
            if what is Ether:
                left.ping("right")
                assert capture.assert_seen(what)
                return
            for ask in (capture.assert_seen, capture.assert_not_seen):
                with pytest.raises(TypeError, match=FOUR_KINDS):
                    ask(what)
            if what is not None:  # which is any packet
                with pytest.raises(TypeError, match=FOUR_KINDS):
                    capture.wait(matching=what)

    def test_a_wrong_filter(self, left: NetworkNamespace) -> None:
        """What libpcap does not understand is said."""
        with left.capture("eth0") as capture:
            for ask in (capture.assert_seen, capture.assert_not_seen):
                with pytest.raises(InvalidFilter, match="'porty' is neither"):
                    ask("tcp porty 80")

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            (lambda p: p.typo == 8, AttributeError),
            (lambda p: p[ICMP].typo == 8, AttributeError),
            (lambda p: p["ICPM"].type == 8, IndexError),
            (lambda p: p[IP].ttl / 0, ZeroDivisionError),
        ],
        ids=["attribute", "field", "layer", "anything"],
    )
    def test_a_mistake_in_a_predicate(
        self, left: NetworkNamespace, wrong: Any, error: type[Exception]
    ) -> None:
        """It is raised, and is not taken for a packet that is not there."""
        left.ping("right")
        with left.capture("eth0") as capture:
            left.ping("right")
            with pytest.raises(error):
                capture.wait(matching=wrong, timeout=0.1)
        for ask in (capture.assert_seen, capture.assert_not_seen):
            with pytest.raises(error):
                ask(wrong)


@pair
class TestNotSeen:
    """That packets were not there."""

    def test_all_is_well(self, left: NetworkNamespace) -> None:
        """Where nothing speaks against it, it is so, during the block and after."""
        left.ping("right")
        with left.capture("eth0") as capture:
            left.ping("right")
            for what in (TCP, "tcp", IP() / TCP(), lambda p: TCP in p):
                capture.assert_not_seen(what)
        capture.assert_not_seen(TCP)
        capture.assert_seen(ICMP)  # it could see

    def test_there_is_one(self, left: NetworkNamespace) -> None:
        """All that match are shown, and nothing else."""
        left.ping("right")
        with left.capture("eth0", noise=False) as capture:
            left.ping("right")
        with pytest.raises(CaptureError) as caught:
            capture.assert_not_seen(lambda p: p[ICMP].type == 0)
        assert not isinstance(caught.value, InconclusiveError)
        lines = str(caught.value).splitlines()
        assert "lambda p: p[ICMP].type == 0 was seen on left:eth0: 1 of 2" in lines[0]
        assert len([line for line in lines if "echo-reply" in line]) == 1
        assert "echo-request" not in str(caught.value)

    def test_down_at_the_beginning(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """An interface that is down has shown nothing, whatever there was."""
        cable = netns.link("left:eth0")
        cable.set_down()
        with left.capture("eth0") as capture:
            inconclusive(capture, r"\n  - left:eth0 was down$")
        inconclusive(capture, "left:eth0 was down$")

    def test_down_for_a_moment(self, netns: Network, left: NetworkNamespace) -> None:
        """An interface that was down in between may have missed something."""
        cable = netns.link("left:eth0")
        with left.capture("eth0") as capture:
            capture.assert_not_seen(ARP)
            for _ in range(3):
                cable.set_down()
                cable.set_up()
            inconclusive(capture, "left:eth0 was down$")
            assert left.ping("right")
            capture.assert_seen(ICMP)  # it sees again
        with pytest.raises(InconclusiveError) as caught:
            capture.assert_not_seen(TCP)
        assert str(caught.value).count("was down") == 1  # said once

    def test_removed(self, left: NetworkNamespace) -> None:
        """An interface that was removed shows nothing any more."""
        with left.capture("eth0") as capture:
            capture.assert_not_seen(ARP)
            left.run("ip link delete eth0")
            inconclusive(capture, "left:eth0 was removed$")
        inconclusive(capture, "left:eth0 was removed$")

    def test_all_interfaces_miss_nothing(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """Where all are meant, one that goes down takes nothing from the others."""
        cable = netns.link("left:eth0")
        with left.capture() as capture:
            cable.set_down()
            left.ping("127.0.0.1")
            capture.assert_seen(ICMP, count=2)
            capture.assert_not_seen(TCP)
            cable.set_up()
            left.ping("right")
            capture.assert_seen(IP(dst="10.0.0.2") / ICMP())
        capture.assert_not_seen(TCP)

    @pytest.mark.parametrize("source", ["queue", "ring"])
    def test_dropped(
        self,
        netns: Network,
        left: NetworkNamespace,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
    ) -> None:
        """If the kernel had no room, what is not there may have been dropped."""
        capture = netns.capture("left:eth0")
        monkeypatch.setattr("pytest_netns._queue._CAPACITY", 1024 * 1024)
        if source == "ring":  # as where long queues are not allowed, and a small one
            monkeypatch.setattr("pytest_netns._tap.Queue", not_permitted)
            capture._blocks = 2  # users have no say in sizes
        with capture:
            flood_until_dropped(left, capture)
            with pytest.raises(InconclusiveError, match=r"\d+ packets were dropped"):
                capture.assert_not_seen("arp")
        assert capture.dropped > 0
        dropped = f"  - {capture.dropped} packets were dropped"
        with pytest.raises(InconclusiveError, match=dropped):
            capture.assert_not_seen("arp")
        with pytest.raises(CaptureError, match=f"{capture.dropped:,} dropped by the"):
            capture.assert_seen("arp")
        capture.assert_seen("udp port 9")

    def test_the_other_end(self, netns: Network, left: NetworkNamespace) -> None:
        """A cable whose other end is down is quiet, and that can be known."""
        netns.link("right:eth0").set_down()
        with left.capture("eth0") as capture:
            left.ping("right", timeout=0.01)
        capture.assert_not_seen(ICMP)

    def test_no_interface(self) -> None:
        """Who listens to nothing knows nothing."""
        with build(Topology()) as network:
            with network.capture() as capture:
                pass
            inconclusive(capture, "no interface to listen on")

    def test_not_begun(self, left: NetworkNamespace) -> None:
        """A capture that has not begun has nothing to say."""
        capture = left.capture("eth0")
        asks: list[Callable[[], object]] = [
            lambda: capture.assert_seen(ARP),
            lambda: capture.assert_not_seen(ARP),
            lambda: capture.packets,
            lambda: len(capture),
            capture.flow,
            lambda: capture.save("/dev/null"),
            lambda: next(capture.follow()),
        ]
        for ask in asks:
            with pytest.raises(Exception, match="has not begun: use it in a with"):
                ask()

    def test_closed_meanwhile(self) -> None:
        """A capture that ends with its network has not seen its block to the end."""
        with build(PAIR) as network, network["left"].capture("eth0") as capture:
            network["left"].ping("right")
            network.close()
            capture.assert_seen(ICMP)
            with pytest.raises(InconclusiveError, match="the network was closed"):
                capture.assert_not_seen(TCP)

    def test_closed_afterwards(self) -> None:
        """What was captured to the end is known for ever, but can be proved no more."""
        with (
            build(PAIR) as network,
            network["left"].capture("eth0", noise=False) as capture,
        ):
            network["left"].ping("right")
        capture.assert_not_seen(TCP)
        with pytest.raises(InconclusiveError, match="the network is closed"):
            capture.assert_not_seen(TCP, positive_control=True)


def not_permitted(*_: object, **__: object) -> None:
    """Refuse to make a long queue, as to the root of a user namespace."""
    raise PermissionError


def flood_until_dropped(left: NetworkNamespace, capture: PacketCapture) -> None:
    """Send until the kernel has no room, while nobody can take anything."""
    payload = bytes(1400)
    left.run("ip neigh replace 10.0.0.9 lladdr 02:00:00:00:00:99 dev eth0")
    with (
        left.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        capture._running._lock,
    ):
        for _ in range(200):
            for _ in range(1000):
                sender.sendto(payload, ("10.0.0.9", 9))
            if capture.dropped:
                return
    pytest.fail("nothing was dropped")


#: How captures may be made that must let marked packets pass.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tcp port 81": {"bpf_filter": "tcp port 81"},
    "quiet": {"noise": False},
    "short": {"snaplen": 14},
}


class TestPositiveControl:
    """Marked packets, which prove that a capture sees."""

    @pytest.mark.netns(SWITCHED)
    @pytest.mark.parametrize(
        "where",
        [
            ["left:eth0"],
            ["left:lo"],
            ["br0:port-l"],
            ["br0"],
            ["left"],
            ["left:eth0", "right:eth0", "br0:port-3"],
            [],
        ],
        ids=lambda where: ",".join(where) or "all",
    )
    @pytest.mark.parametrize("settings", SETTINGS)
    def test_it_sees(self, netns: Network, where: list[str], settings: str) -> None:
        """Wherever it listens, and whatever it keeps, marked packets pass, and hide."""
        how = SETTINGS[settings]
        with netns.capture(*where, **how) as bare:
            with netns.capture(*where, positive_control=True, **how) as capture:
                capture.assert_not_seen(TCP)
                bare.assert_not_seen(TCP, positive_control=True)
            capture.assert_not_seen(TCP, positive_control=True)
        bare.assert_not_seen(TCP, positive_control=True)
        for one in (capture, bare):
            assert MARKED not in types_of(one)
            assert len(one) == len(one.packets)

    @pytest.mark.netns(
        Namespace("left"),
        Namespace("right"),
        OVSBridge("OVS-1"),
        Veth("left", "OVS-1:port-l"),
        Veth("right", "OVS-1:port-r"),
    )
    def test_open_vswitch(self, netns: Network) -> None:
        """Ports of Open vSwitch are like any other, and it passes nothing on."""
        with (
            sniffer(netns["right"]) as elsewhere,
            netns.capture("OVS-1:port-l", positive_control=True) as capture,
        ):
            capture.assert_not_seen(TCP)
            send_frame(netns["left"], frame_like_a_marked_one())
            capture.assert_seen(f"ether proto {MARKED}")
            assert first_from(elsewhere) == frame_like_a_marked_one()
        capture.assert_not_seen(TCP, positive_control=True)

    @pair
    def test_they_are_sent(self, left: NetworkNamespace) -> None:
        """They are on the wire, in both directions, at the beginning and at the end."""
        with (
            sniffer(left) as seen,
            left.capture("eth0", noise=False, positive_control=True),
        ):
            assert [kind for _, kind in frames_from(seen)] == [
                socket.PACKET_OUTGOING,
                socket.PACKET_MULTICAST,
            ]
            left.capture("eth0").__enter__().assert_not_seen(ARP, positive_control=True)
            assert len(frames_from(seen)) == 4  # before and after, each in and out

    @pair
    def test_they_hide(
        self, netns: Network, left: NetworkNamespace, tmp_path: Path
    ) -> None:
        """They are no packets of a test: not in lists, numbers, waits or files."""
        path = tmp_path / "seen.pcapng"
        innocent = frame_like_a_marked_one()
        with left.capture("eth0", noise=False, positive_control=True) as capture:
            assert len(capture) == 0
            send_frame(left, innocent)
            (first,) = capture.wait()
            assert first.original == innocent  # others of their type are there
            assert next(capture.follow()).original == innocent
            capture.assert_not_seen(ARP)
            assert len(capture) == 1
            assert "0x88b5" in str(capture.packets[0].summary()).lower()
        assert len(capture) == 1
        assert [packet.original for packet in capture.packets] == [innocent]
        capture.save(path)
        assert [bytes(packet) for packet in rdpcap(str(path))] == [innocent]
        assert netns["right"].interface("eth0").is_up

    @pair
    def test_they_hide_from_others(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """Captures do not see each other's, whether they have their own or not."""
        innocent = frame_like_a_marked_one()
        everyone = netns.capture(noise=False)
        proved = netns["right"].capture("eth0", noise=False, positive_control=True)
        with everyone, proved:
            with left.capture("eth0", positive_control=True) as capture:
                send_frame(left, innocent)
            capture.assert_not_seen(ARP)
        assert [packet.sniffed_on for packet in everyone.packets] == [
            "left:eth0",
            "right:eth0",
        ]
        assert {packet.original for packet in everyone.packets} == {innocent}
        assert [packet.original for packet in proved.packets] == [innocent]

    @pytest.mark.netns(SWITCHED)
    def test_no_bridge_passes_them_on(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """Nobody but the two ends of a cable gets them."""
        elsewhere = sniffer(netns["third"])
        nearby = sniffer(left)
        with netns.capture("left:eth0", "br0:port-l", positive_control=True) as capture:
            capture.assert_not_seen(ARP)
        send_frame(left, frame_like_a_marked_one())
        marked = frames_from(nearby)
        assert len(marked) > 6  # out of here, and into here, three times
        assert [frame for frame, _ in frames_from(elsewhere)] == [
            frame_like_a_marked_one()  # it would see what the bridge passes on
        ]
        nearby.close()
        elsewhere.close()

    @pair
    @pytest.mark.parametrize("when", ["beginning", "end", "asked"])
    def test_what_stops_them(self, left: NetworkNamespace, when: str) -> None:
        """A rule that lets nothing leave leaves everything open."""
        stop = """
            table netdev stop {
                chain out {
                    type filter hook egress device eth0 priority 0
                    drop
                }
            }
        """
        if when == "beginning":
            left.nft(stop)
        with left.capture("eth0", positive_control=when != "asked") as capture:
            if when == "beginning":
                left.nft("delete table netdev stop")
            if when == "end":
                left.nft(stop)
        if when == "asked":
            capture.assert_not_seen(ARP, positive_control=True)
            left.nft(stop)
        capture.assert_not_seen(TCP) if when == "asked" else None
        inconclusive(
            capture,
            r"\n  - a marked packet that went out through left:eth0 was not seen$",
            positive_control=True,
        )

    @pair
    def test_the_other_end_is_down(
        self, netns: Network, left: NetworkNamespace
    ) -> None:
        """Through a cable whose other end is down no packet goes: nothing is proved."""
        netns.link("right:eth0").set_down()
        with left.capture("eth0", positive_control=True) as capture:
            pass
        inconclusive(capture, "sent in through left:eth0: Network is down")
        inconclusive(capture, "went out through left:eth0 was not seen")

    @pair
    @pytest.mark.parametrize("command", ["ip link set eth0 down", "ip link del eth0"])
    def test_its_own_end(self, left: NetworkNamespace, command: str) -> None:
        """What is down, or gone, cannot be proved either."""
        with left.capture("eth0", positive_control=True) as capture:
            capture.assert_not_seen(ARP)
            left.run(command)
        inconclusive(capture, "no marked packet could be sent out through left:eth0: ")
        with left.capture() as everything:
            pass
        everything.assert_not_seen(ARP, positive_control=True)  # lo is what is left

    @pair
    def test_a_slow_queue(self, left: NetworkNamespace) -> None:
        """They may come late, as all packets do there."""
        left.run("ip neigh replace 10.0.0.9 lladdr 02:00:00:00:00:99 dev eth0")
        left.run("tc qdisc add dev eth0 root tbf rate 64kbit burst 1600 limit 30000")
        with (
            left.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            left.capture("eth0", noise=False) as before,
        ):
            for _ in range(4):
                sender.sendto(bytes(1000), ("10.0.0.9", 9))
        assert len([p for p in before.packets if UDP in p]) < 4  # they are held up
        with left.capture("eth0", positive_control=True) as capture:
            pass
        capture.assert_not_seen(ARP)

    @pair
    def test_what_has_no_ethernet(self, left: NetworkNamespace) -> None:
        """Where there is no link layer no marked packet can go, and that is said."""
        left.run("ip tuntap add mode tun name tun0")
        left.run("ip link set tun0 up")
        with left.capture("tun0", "eth0", positive_control=True) as capture:
            pass
        inconclusive(capture, "no marked packet can be sent on left:tun0: no Ethernet$")
        with left.capture(positive_control=True) as capture:
            pass
        capture.assert_not_seen(IPv6() / TCP())  # one socket listens to all

    @pair
    def test_what_the_kernel_has_of_its_own(self, left: NetworkNamespace) -> None:
        """Interfaces that are down are not counted on where all are meant."""
        left.run("ip link add spare type veth peer name other")
        with left.capture(positive_control=True) as capture:
            pass
        capture.assert_not_seen(TCP)
        with left.capture("spare", positive_control=True) as capture:
            pass
        inconclusive(capture, "left:spare was down\n")


def sniffer(namespace: NetworkNamespace) -> socket.socket:
    """Return a socket of our own that sees all frames of the markers' type."""
    with namespace:
        return socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3)
        )


def first_from(seen: socket.socket) -> bytes:
    """Wait for the first frame of the markers' type, and return it."""
    deadline = time.monotonic() + 20
    while not (frames := frames_from(seen)):
        assert time.monotonic() < deadline
        select.select([seen], [], [], 1)
    return frames[0][0]


def frames_from(seen: socket.socket) -> list[tuple[bytes, int]]:
    """Return the frames of the markers' type that it has seen, with their kind."""
    frames: list[tuple[bytes, int]] = []
    while True:
        try:
            frame, address = seen.recvfrom(2000)
        except BlockingIOError:
            return frames
        if frame[12:14] == MARKED.to_bytes(2, "big"):
            frames.append((frame, address[2]))
