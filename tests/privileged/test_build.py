"""Building and taking down, against the real kernel.

left (10.0.1.1) --- br0 --- (10.0.0.1) right
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    ClosedError,
    DuplicateName,
    InvalidAddress,
    KernelError,
    Namespace,
    Neighbour,
    Network,
    NetworkManager,
    Route,
    Topology,
    Veth,
    build,
)
from pytest_netns import _netlink as netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_netns._switches import Switch

LAN = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
    Bridge("br0"),
    Veth("left:eth0", "br0", address=["10.0.1.1/24", "fd00::1/64"]),
    Veth("right:eth0", "br0", address=["10.0.0.1/24", "fd00::2/64"]),
)


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """A manager of its own, so that its switches can be looked at."""
    with NetworkManager() as manager:
        yield manager


def descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the directory's own
            found.add(f"{path.name} {path.readlink()}")
    return found


class TestBuild:
    """What a build makes."""

    def test_everything_declared_is_there(self, manager: NetworkManager) -> None:
        """What the kernel says is what the records say."""
        topology = Topology(
            Namespace(
                "gw",
                forwarding=True,
                routes=[
                    Route("default", via="10.1.0.254", metric=5),
                    Route("10.9.0.0/16", via="10.1.0.9", table=100),
                    Route("fd09::/64", via="fd01::9"),
                    Route("10.8.0.0/16", dev="lan", source="10.1.0.1"),
                ],
                neighbours=[Neighbour("10.1.0.9", "02:00:00:00:00:09", dev="lan")],
                sysctls={
                    "net.ipv4.tcp_syncookies": 0,
                    "net.ipv4.conf.lan.rp_filter": 2,
                    "net/ipv4/conf/all/accept_redirects": False,
                },
            ),
            Namespace("pc"),
            Veth(
                "gw:lan",
                "pc",
                address=("10.1.0.1/24", "fd01::1/64"),
                peer_address="10.1.0.2/24",
                lladdr="02:00:00:00:00:01",
                peer_lladdr="02:00:00:00:00:02",
                mtu=1400,
            ),
        )
        with manager.build(topology) as network:
            gw, lan = network["gw"], network["gw"].interface("lan")
            assert lan.lladdr == "02:00:00:00:00:01"
            assert lan.mtu == network.link("pc:eth0").mtu == 1400
            assert {str(one) for one in lan.addresses} >= {"10.1.0.1/24", "fd01::1/64"}
            assert gw.sysctl["net.ipv4.ip_forward"] == "1"
            assert gw.sysctl["net.ipv6.conf.lan.forwarding"] == "1"
            assert gw.sysctl["net.ipv4.tcp_syncookies"] == "0"
            assert gw.sysctl["net.ipv4.conf.lan.rp_filter"] == "2"
            assert gw.sysctl["net.ipv4.conf.all.accept_redirects"] == "0"
            static = {(r.destination, r.via, r.dev, r.table) for r in gw.routes()}
            assert static >= {
                ("default", "10.1.0.254", "lan", 254),
                ("10.9.0.0/16", "10.1.0.9", "lan", 100),
                ("fd09::/64", "fd01::9", "lan", 254),
                ("10.8.0.0/16", None, "lan", 254),
            }
            assert ("10.1.0.9", "02:00:00:00:00:09", "lan", "permanent") in {
                (n.address, n.lladdr, n.dev, n.state) for n in gw.neighbours()
            }
            assert network["pc"].sysctl["net.ipv4.ip_forward"] == "0"
            assert network["pc"].ping("gw")

    def test_a_bridge_in_a_namespace_is_a_device_of_it(
        self, manager: NetworkManager
    ) -> None:
        """It has addresses, a MAC address, an MTU, and carries its cables' traffic."""
        topology = Topology(
            Namespace("gw"),
            Namespace("pc"),
            Bridge(
                "v-net-0",
                namespace="gw",
                address="10.1.0.1/24",
                lladdr="02:00:00:00:00:0a",
                mtu=1300,
                stp=True,
            ),
            Veth("pc", "v-net-0", address="10.1.0.2/24"),
        )
        with manager.build(topology) as network:
            device = network["gw"].interface("v-net-0")
            assert (device.lladdr, device.mtu) == ("02:00:00:00:00:0a", 1300)
            assert network["pc"].interface("eth0").mtu == 1300
            shown = network["gw"].run("ip -details link show v-net-0").stdout
            assert "stp_state 1" in shown
            assert "pc-eth0" in {one.name for one in network["gw"].interfaces}

    def test_bridges_are_joined_by_a_cable(self, manager: NetworkManager) -> None:
        """Two switches with a cable between them are one segment."""
        topology = Topology(
            Bridge("floor1", subnet="10.1.0.0/24"),
            Bridge("floor2", subnet="10.1.0.0/24"),
            Veth("floor1", "floor2"),
            Namespace("a"),
            Namespace("b"),
            Veth("a", "floor1"),
            Veth("b", "floor2"),
        )
        with manager.build(topology) as network:
            assert str(network["b"].ip) == "10.1.0.2"
            assert network["a"].ping("b")

    def test_offload_can_be_turned_off(self, manager: NetworkManager) -> None:
        """Without offload both ends compute what they send in software."""
        topology = Topology(
            Namespace("a"),
            Namespace("b"),
            Veth("a:off", "b:off", offload=False),
            Veth("a:on", "b:on"),
        )
        with manager.build(topology) as network:
            for name in ("a", "b"):
                assert (
                    "tx-checksumming: off" in network[name].run("ethtool -k off").stdout
                )
                assert (
                    "tx-checksumming: on" in network[name].run("ethtool -k on").stdout
                )
                off = network[name].run("ethtool -k off").stdout
                for feature in ("tx-tcp-segmentation", "generic-segmentation-offload"):
                    assert f"{feature}: off" in off

    def test_nothing_appears_where_pytest_runs(self, manager: NetworkManager) -> None:
        """The machine's own interfaces are the same during the test."""
        before = socket.if_nameindex()
        with manager.build(LAN) as network:
            assert socket.if_nameindex() == before
            assert network["left"].run("ls /sys/class/net").stdout.split() == [
                "eth0",
                "lo",
            ]

    def test_same_names_side_by_side(self, manager: NetworkManager) -> None:
        """Two networks with the same names are there at once and do not meet."""
        with manager.build(LAN) as one, manager.build(LAN) as other:
            assert one["left"].inode != other["left"].inode
            assert one["left"].ping("right")
            other.link("right:eth0").set_down()
            assert one["left"].ping("right")
            assert not other["left"].ping("right", timeout=0.1)

    def test_no_descriptor_stays_open(self, manager: NetworkManager) -> None:
        """After a network only what the manager keeps for the next one is open."""
        manager.build(LAN).close()
        before = len(descriptors())
        with manager.build(LAN) as network:
            network["left"].run("true")
            network["left"].popen("sleep 60")
            network["left"].call(int)
        after = {one for one in descriptors() if "net:[" in one or "mnt:[" in one}
        # a new switch has a namespace and a socket; home and the watcher may be new
        assert len(descriptors()) <= before + 6, after

    def test_many_threads_may_build_at_once(self, manager: NetworkManager) -> None:
        """Builds from many threads come out as if one after another."""
        answers: list[bool] = []

        def build_and_ping() -> None:
            with manager.build(LAN) as network:
                answers.append(bool(network["left"].ping("right")))

        threads = [threading.Thread(target=build_and_ping) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 10

    def test_without_pytest(self) -> None:
        """build() is all that is needed."""
        with build(LAN) as network:
            assert network["left"].ping("right")
        assert network.closed


class TestFirstPacket:
    """When a build returns, the network carries."""

    def test_every_first_packet_goes_through(self, manager: NetworkManager) -> None:
        """Of 1,000 builds none loses the first packet, IPv4 or IPv6."""
        lost = []
        for number in range(1000):
            target = ("10.0.0.1", "fd00::2")[number % 2]
            with manager.build(LAN) as network:
                result = network["left"].ping(target, timeout=0.5)
            if not result:
                lost.append(result)
        assert lost == []

    def test_a_lost_packet_would_be_seen(self, manager: NetworkManager) -> None:
        """The same ping reports the loss when the network is cut."""
        with manager.build(LAN) as network:
            network.link("right:eth0").set_down()
            assert not network["left"].ping("10.0.0.1", timeout=0.1)

    def test_a_direct_cable(self, manager: NetworkManager) -> None:
        """A cable without a switch carries the first packet as well."""
        cable = Topology(
            Namespace("a"), Namespace("b"), Veth("a", "b", subnet="10.1.0.0/24")
        )
        for _ in range(100):
            with manager.build(cable) as network:
                assert network["a"].ping("10.1.0.2", timeout=0.5)


class TestAdd:
    """A live network grows."""

    def test_any_record_at_any_time(self, netns: Network) -> None:
        """Namespaces, bridges and cables join a network that is in use."""
        netns.add(Namespace("a"))
        netns.add(Namespace("b"), Veth("a", "b", subnet="10.1.0.0/24"))
        assert netns["a"].ping("b")
        netns.add(
            Bridge("br0", subnet="10.2.0.0/24"), Veth("a", "br0"), Veth("b", "br0")
        )
        assert netns["a"].ping("10.2.0.2")
        netns.add(Bridge("br1", namespace="b", address="10.3.0.1/24"), Veth("a", "br1"))
        assert len(netns) == 2
        assert [one.ifname for one in netns.topology.layout.interfaces_of("a")] == [
            "eth0",
            "eth1",
            "eth2",
        ]

    def test_beside_interfaces_of_the_test_itself(self, netns: Network) -> None:
        """Interfaces that the test made by hand are not in the way."""
        netns.add(Namespace("a"), Namespace("b"))
        netns["a"].run("ip link add mine type veth peer name mine-too")
        netns.add(Veth("a", "b", subnet="10.1.0.0/24"))
        assert netns["a"].ping("b")

    def test_a_wrong_record_changes_nothing(self, netns: Network) -> None:
        """After a declaration error the network is what it was."""
        netns.add(Namespace("a"), Namespace("b"), Veth("a", "b", address="10.1.0.1/24"))
        before = netns.topology
        with pytest.raises(InvalidAddress, match="twice on one segment"):
            netns.add(
                Veth("a", "b"),
                Bridge("x"),
                Veth("a", "x", address="10.2.0.1/24"),
                Veth("b", "x", address="10.2.0.1/24"),
            )
        with pytest.raises(DuplicateName, match=r"Namespace\('a'\)"):
            netns.add(Namespace("a"))
        assert netns.topology is before
        assert [one.name for one in netns["a"].interfaces] == ["lo", "eth0"]

    def test_after_close(self, manager: NetworkManager) -> None:
        """A closed network says so, whatever is asked of it."""
        network = manager.build(LAN)
        left = network["left"]
        network.close()
        network.close()
        for use in (
            lambda: network.add(Namespace("c")),
            lambda: left.call(int),
            lambda: left.run("true"),
            lambda: left.ping("10.0.0.1"),
            lambda: left.interfaces,
            lambda: network.link("left:eth0"),
        ):
            with pytest.raises(ClosedError, match="closed"):
                use()


class TestRollback:
    """A build that fails takes itself back."""

    def test_a_refusal_takes_all_of_the_build_back(
        self, manager: NetworkManager
    ) -> None:
        """After an error in the last message nothing is left of the first ones."""
        manager.build(LAN).close()
        before = len(descriptors())
        bad = LAN + Topology(Namespace("bad", sysctls={"net.ipv4.no_such_thing": 1}))
        with pytest.raises(KernelError) as caught:
            manager.build(bad)
        assert caught.value.errno == errno.ENOENT
        message = str(caught.value)
        for part in (
            "net.ipv4.no_such_thing",
            "namespace 'bad'",
            "ENOENT",
            "Namespace('bad'",
        ):
            assert part in message
        assert manager.networks == []
        assert len(descriptors()) <= before + 3  # a second switch, if the first rests

    def test_an_addition_is_taken_back_from_a_live_network(
        self, netns: Network
    ) -> None:
        """What was there stays and works; what was being added is gone."""
        netns.add(Namespace("a"), Namespace("b"), Veth("a", "b", subnet="10.1.0.0/24"))
        netns["b"].run("ip link add eth1 type veth peer name in-the-way")
        with pytest.raises(KernelError) as caught:
            netns.add(Namespace("c"), Veth("a", "c"), Veth("b", "c"))
        assert caught.value.errno == errno.EEXIST
        assert "Veth('b', 'c')" in str(caught.value)
        assert len(netns) == 2
        assert [one.name for one in netns["a"].interfaces] == ["lo", "eth0"]
        assert netns["a"].ping("b")
        netns.add(Namespace("c"), Veth("a", "c", subnet="10.3.0.0/24"))
        assert netns["a"].ping("c")

    def test_ctrl_c_at_any_message(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An interruption at each request in turn leaves nothing, until none comes."""
        manager.build(LAN).close()
        position = 0
        while interrupts(manager, monkeypatch, position):
            assert manager.networks == []
            position += 1
        assert position > 8, "it was hardly ever interrupted"
        with manager.build(LAN) as network:
            assert network["left"].ping("right")

    def test_ctrl_c_waits_for_the_build(self, manager: NetworkManager) -> None:
        """A signal in the middle is answered when the build is done, and undoes it."""
        before = signal.getsignal(signal.SIGINT)
        switches = manager._switches
        borrow = switches.borrow

        def borrow_interrupted(bridge: Bridge) -> Switch:
            signal.raise_signal(signal.SIGINT)
            return borrow(bridge)

        switches.borrow = borrow_interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            manager.build(LAN)
        assert manager.networks == []
        assert signal.getsignal(signal.SIGINT) is before
        switches.borrow = borrow  # type: ignore[method-assign]
        with manager.build(LAN) as network:
            assert network["left"].ping("right")

    def test_a_handler_that_does_not_raise(self, manager: NetworkManager) -> None:
        """Other signals are answered when the build is done, and it stays."""
        seen: list[int] = []
        before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
        try:
            with manager.build(LAN) as network:
                borrow = manager._switches.borrow

                def borrow_interrupted(bridge: Bridge) -> Switch:
                    signal.raise_signal(signal.SIGUSR1)
                    assert seen == []
                    return borrow(bridge)

                manager._switches.borrow = borrow_interrupted  # type: ignore[method-assign]
                network.add(Bridge("br1"), Veth("left", "br1", address="10.9.0.1/24"))
                assert seen == [signal.SIGUSR1]
                assert network["left"].ping("10.9.0.1")
        finally:
            signal.signal(signal.SIGUSR1, before)


def interrupts(
    manager: NetworkManager, monkeypatch: pytest.MonkeyPatch, position: int
) -> bool:
    """Interrupt a build at the request at `position`; False if it has none there."""
    apply = netlink.RouteSocket.apply
    requests_left = position

    def interrupted(self: netlink.RouteSocket, requests: list[bytearray]) -> None:
        nonlocal requests_left
        for request in requests:
            if requests_left == 0:
                raise KeyboardInterrupt
            requests_left -= 1
            apply(self, [request])

    with monkeypatch.context() as patch:
        patch.setattr(netlink.RouteSocket, "apply", interrupted)
        try:
            manager.build(LAN).close()
        except KeyboardInterrupt:
            return True
    return False
