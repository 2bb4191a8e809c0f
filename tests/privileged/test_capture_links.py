"""Captures of what is not Ethernet, not segmented, or not all ours."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from pytest_netns import Bridge, Namespace, Network, PacketCapture, Topology, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Machine

#: left (10.0.0.1) --- (10.0.0.2) right
PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)
pair = pytest.mark.netns(PAIR)


def every(capture: PacketCapture) -> list[Any]:
    """Return all packets; scapy's types do not know what a direction is here."""
    return list(capture.packets)


class TestLargePackets:
    """TCP over a cable, which is not cut into segments there."""

    @staticmethod
    def capture_tcp(network: Network) -> PacketCapture:
        """Return what passes while half a megabyte goes from left to right."""
        left, right = network["left"], network["right"]
        with right.socket() as server, left.socket() as client:
            server.bind(("10.0.0.2", 80))
            server.listen()
            with network.capture(
                "left:eth0", "right:eth0", bpf_filter="tcp"
            ) as capture:
                client.connect(("10.0.0.2", 80))
                connection, _ = server.accept()
                with connection:
                    sender = left.spawn(client.sendall, bytes(500_000))
                    received = 0
                    while received < 500_000:
                        received += len(connection.recv(1 << 16))
                    sender.result(timeout=20)
        return capture

    @pair
    def test_as_it_is(self, netns: Network) -> None:
        """Checksums and segments that are left to the hardware are none, and said."""
        capture = self.capture_tcp(netns)
        large = [frame for frame in capture.frames if frame.length > 1514]
        assert max(frame.length for frame in large) > 20_000
        assert all(frame.is_unsegmented for frame in large)
        assert all(frame.has_partial_checksum for frame in large)
        for packet in capture.packets:
            assert packet[TCP].chksum is None
        assert sum(len(p[TCP].payload) for p in leaving(capture)) >= 500_000
        with pytest.raises(AssertionError) as caught:
            capture.assert_seen(UDP)
        assert "checksum left to the hardware" in str(caught.value)
        assert "bytes to be cut into segments" in str(caught.value)

    @pytest.mark.netns(
        Namespace("left"),
        Namespace("right"),
        Veth("left", "right", subnet="10.0.0.0/24", offload=False),
    )
    def test_without_offloads(self, netns: Network) -> None:
        """With offloads switched off, packets are as they would be on a wire."""
        capture = self.capture_tcp(netns)
        assert max(frame.length for frame in capture.frames) == 1514
        assert not any(frame.is_unsegmented for frame in capture.frames)
        assert not any(frame.has_partial_checksum for frame in capture.frames)
        for packet in every(capture):
            right = packet[IP].__class__(bytes(packet[IP]))
            del right[TCP].chksum
            assert IP(bytes(right))[TCP].chksum == packet[TCP].chksum
        with pytest.raises(AssertionError) as caught:
            capture.assert_seen(UDP)
        assert "hardware" not in str(caught.value)
        assert "segments" not in str(caught.value)


def leaving(capture: PacketCapture) -> list[Any]:
    """Return the TCP packets that leave left."""
    return [p for p in every(capture) if (p.namespace, p.direction) == ("left", "out")]


#: linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


@pytest.fixture
def tun(netns: Network) -> Iterator[int]:
    """Give the far end of tun0 in a namespace: what is written there arrives.

    ::

        gw:tun0 10.1.0.1   gw:eth0 10.0.0.1 --- 10.0.0.2 other:eth0
    """
    netns.add(
        Namespace("gw"),
        Namespace("other"),
        Veth("gw", "other", subnet="10.0.0.0/24"),
    )
    far_end = netns["gw"].call(open_tun, "tun0")
    for command in ("address add 10.1.0.1/24 dev tun0", "link set tun0 up"):
        netns["gw"].run(f"ip {command}")
    netns["gw"].ping("other")
    yield far_end
    os.close(far_end)


def open_tun(name: str) -> int:
    """Make a device without a link layer; ``ip tuntap add mode tun``."""
    far_end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(far_end, TUNSETIFF, struct.pack("16sH22x", name.encode(), 0x1001))
    return far_end


def datagram(text: bytes) -> bytes:
    """Return a packet as it arrives from far away."""
    packet: Any = IP(src="10.1.0.2", dst="10.1.0.1")
    return bytes(packet / UDP(sport=5, dport=9) / text)


class TestWithoutEthernet:
    """Interfaces that have no link layer."""

    def test_one(self, netns: Network, tun: int) -> None:
        """Packets begin with IP, or IPv6, in both directions."""
        six: Any = IPv6(src="fd01::2", dst="fd01::1") / UDP(dport=9)
        with netns["gw"].capture("tun0", noise=False) as capture:
            os.write(tun, datagram(b"far"))
            os.write(tun, bytes(six))
            netns["gw"].ping("10.1.0.2", timeout=0.01)
        packets = every(capture)
        arrived = [one for one in packets if one.direction == "in"]
        assert [type(one) for one in arrived] == [IP, IPv6]
        assert packets[0].original == datagram(b"far")
        assert {one.sniffed_on for one in packets} == {"gw:tun0"}
        assert capture.assert_seen(IP(dst="10.1.0.2") / ICMP())
        assert capture.assert_seen("icmp and dst 10.1.0.2")
        capture.assert_not_seen(Ether)
        capture.assert_not_seen("arp")
        assert [p.direction for p in packets if ICMP in p][-1] == "out"

    @pytest.mark.parametrize(
        "wanted",
        ["udp port 9", UDP, lambda p: p[UDP].dport == 9],
        ids=["filter", "class", "predicate"],
    )
    def test_filtered(self, netns: Network, tun: int, wanted: Any) -> None:
        """Filters know where IP begins."""
        with netns["gw"].capture("tun0", bpf_filter=wanted) as capture:
            for number in range(3):
                os.write(tun, datagram(b"%d" % number))
            netns["gw"].ping("10.1.0.2", timeout=0.01)
        assert [bytes(p[UDP].payload) for p in every(capture)] == [b"0", b"1", b"2"]

    @pytest.mark.parametrize("wanted", [None, "udp port 9"])
    @pytest.mark.parametrize("noise", [True, False])
    def test_of_both_kinds(
        self, netns: Network, tun: int, wanted: str | None, *, noise: bool
    ) -> None:
        """All of a namespace with both kinds are captured, each as it is."""
        gw = netns["gw"]
        with netns.capture("gw", noise=noise, bpf_filter=wanted) as capture:
            os.write(tun, datagram(b"far"))
            with netns["other"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"near", ("10.0.0.1", 9))
            gw.call(send_to_itself)
        seen = [p for p in every(capture) if UDP in p and ICMP not in p]
        assert [(p.interface, type(p), bytes(p[UDP].payload)) for p in seen] == [
            ("tun0", IP, b"far"),
            ("eth0", Ether, b"near"),
            ("lo", Ether, b"itself"),
        ]
        if not noise:
            capture.assert_not_seen("icmp6")

    @pytest.mark.parametrize("wanted", [None, "udp port 9"])
    def test_added_later(self, netns: Network, tun: int, wanted: str | None) -> None:
        """So are those that come later, of either kind."""
        gw = netns["gw"]
        with gw.capture(bpf_filter=wanted) as capture:
            later = gw.call(open_tun, "tun1")
            netns.add(Veth("gw:eth1", "other:eth1", subnet="10.2.0.0/24"))
            gw.run("ip link set tun1 up")
            os.write(later, datagram(b"later"))
            with netns["other"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"near", ("10.2.0.1", 9))
            os.write(tun, datagram(b"far"))
        os.close(later)
        seen = [p for p in every(capture) if UDP in p and ICMP not in p]
        assert [(p.interface, type(p), bytes(p[UDP].payload)) for p in seen] == [
            ("tun1", IP, b"later"),
            ("eth1", Ether, b"near"),
            ("tun0", IP, b"far"),
        ]

    def test_a_later_one_among_ethernet(self, netns: Network) -> None:
        """A filter is right for the first one of its kind, too."""
        netns.add(Namespace("gw"))
        gw = netns["gw"]
        with gw.capture(bpf_filter="udp port 9", noise=False) as capture:
            later = gw.call(open_tun, "tun1")
            gw.run("ip link set tun1 up")
            os.write(later, datagram(b"later"))
            gw.call(send_to_itself)
        os.close(later)
        assert [bytes(p[UDP].payload) for p in every(capture)] == [b"later", b"itself"]

    def test_files(self, netns: Network, tun: int, tmp_path: Path) -> None:
        """A file says of each interface what its packets begin with."""
        path = tmp_path / "both.pcapng"
        with netns["gw"].capture() as capture:
            os.write(tun, datagram(b"far"))
            netns["gw"].ping("other")
        capture.save(path)
        wanted = "udp.dstport == 9 and not icmp or icmp.type == 8"
        shown = read_file(path, "frame.protocols", "-Y", wanted).splitlines()
        assert shown[0].split("\t")[1].startswith("raw:ip:udp")
        assert "tun0" in shown[0]
        assert shown[-1].split("\t")[1].startswith("eth:ethertype:ip:icmp")


def send_to_itself() -> None:
    """Send a datagram through the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 9))
        sender.sendto(b"itself", ("127.0.0.1", 9))


def read_file(path: Path, field: str, *arguments: str) -> str:
    """Return the interface's name and a field of each packet of a file, in lines."""
    shown = ["-T", "fields", "-e", "frame.interface_name", "-e", field]
    return subprocess.run(
        ["tshark", "-r", path, *shown, *arguments],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout


class TestHost:
    """The machine that the tests run on has interfaces that are none of theirs."""

    def test_only_its_own(self, machine: Machine) -> None:
        """Without a name, what the network has there is meant; others by their name."""
        machine.passes(
            """
            def others():
                run("ping -c1 -W5 203.0.113.254")

            def places(capture):
                return {packet.sniffed_on for packet in capture.packets}

            @pytest.mark.netns(CABLE)
            @pytest.mark.parametrize("of", ["network", "host", "named"])
            def test_own(netns, of):
                captures = {
                    "network": netns.capture(),
                    "host": netns["host"].capture(),
                    "named": netns.capture("host", "server"),
                }
                with captures[of] as capture, netns["host"].capture("up.0") as uplink:
                    others()
                    assert netns["server"].ping("host")
                own = {"host:server-eth0"}
                if of != "host":
                    own |= {"server:eth0"}
                assert places(capture) == own
                assert places(uplink) == {"host:up.0"}

            @pytest.mark.netns(Host(), Namespace("alone"))
            def test_nothing(netns):
                for capture in (netns["host"].capture(), netns.capture("host")):
                    with capture:
                        others()
                    assert len(capture) == 0
                    with pytest.raises(InconclusiveError, match="no interface"):
                        capture.assert_not_seen("icmp")

            @pytest.mark.netns(CABLE)
            def test_control(netns):
                with netns.capture("host", positive_control=True) as capture:
                    pass
                capture.assert_not_seen("icmp", positive_control=True)

            def test_nothing_is_left():
                deadline = time.monotonic() + 20
                while "pytest-netns capture" in str(threading.enumerate()):
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                assert "packet" not in Path("/proc/self/maps").read_text()
            """
        )

    def test_recorded(self, machine: Machine) -> None:
        """A recording of all that passes does not listen to others either."""
        machine.write(
            """
            @pytest.mark.netns(CABLE)
            def test_failing(netns):
                run("ping -c1 -W5 203.0.113.254")
                assert netns["server"].ping("host")
                netns.add(Namespace("more"))
                netns.add(Veth("host:m", "more", subnet="10.7.0.0/24"))
                assert netns["more"].ping("host")
                assert False
            """
        )
        options = ("--netns-capture=failed", "--netns-artifacts=kept")
        completed = machine.run(*options)
        assert completed.returncode == 1, completed.stdout
        (path,) = machine.path.glob("kept/*/network.pcapng")
        places = set(read_file(path, "frame.number").split())
        assert "host:up.0" not in places
        assert {"host:server-eth0", "server:eth0", "host:m"} <= places


@pytest.mark.netns(Namespace("left"), Bridge("br0"))
def test_no_ports(netns: Network) -> None:
    """A bridge without ports has nothing to see, and nobody else's interfaces."""
    with netns.capture("br0") as capture:
        pass
    assert len(capture) == 0
    with pytest.raises(AssertionError, match="no interface to listen on"):
        capture.assert_not_seen(ARP)
