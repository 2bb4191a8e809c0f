"""What a namespace tells about itself: addresses, routes, sysctls, processes.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest

from pytest_netns import (
    ClosedError,
    KernelError,
    Namespace,
    Neighbour,
    Network,
    NetworkManager,
    Route,
    RouteEntry,
    Topology,
    UnknownName,
    Veth,
)

PAIR = Topology(
    Namespace(
        "left",
        routes=[
            Route("10.7.0.0/24", via="10.0.0.2", metric=7, source="10.0.0.1"),
            Route("10.8.0.0/24", dev="eth0", table=100),
            Route("default", via="fd00::2"),
        ],
        neighbours=[Neighbour("10.0.0.99", "02:00:00:00:00:99", dev="eth0")],
        sysctls={"net.ipv4.tcp_syncookies": 0},
    ),
    Namespace("right"),
    Veth(
        "left:eth0",
        "right:eth0",
        address=["10.0.0.1/24", "10.0.0.11/24", "fd00::1/64", "fd00::11/64"],
        peer_address=["10.0.0.2/24", "fd00::2/64"],
        peer_lladdr="02:00:00:00:00:02",
    ),
)

pytestmark = pytest.mark.netns(PAIR)


def route(network: Network, destination: str, family: int = 4) -> RouteEntry:
    """Return the one route of left to a destination."""
    (found,) = (
        one
        for one in network["left"].routes()
        if (one.destination, one.family) == (destination, family)
    )
    return found


class TestAddresses:
    """`ns.ip` and `ns.ip6`."""

    def test_first(self, netns: Network) -> None:
        """They are the first global addresses, in order of declaration."""
        assert netns["left"].ip == ipaddress.ip_address("10.0.0.1")
        assert netns["left"].ip6 == ipaddress.ip_address("fd00::1")
        assert isinstance(netns["left"].ip, ipaddress.IPv4Address)
        assert isinstance(netns["left"].ip6, ipaddress.IPv6Address)

    def test_now(self, netns: Network) -> None:
        """They are those that are there now."""
        netns["right"].run("ip address del 10.0.0.2/24 dev eth0")
        netns["right"].run("ip address add 10.0.0.42/24 dev eth0")
        assert str(netns["right"].ip) == "10.0.0.42"

    def test_none(self, netns: Network) -> None:
        """Loopback and link-local addresses do not count, and none is an error."""
        netns.add(Namespace("lonely"), Veth("lonely:eth0", "right:eth1"))
        with pytest.raises(LookupError, match="'lonely' has no global IPv4"):
            _ = netns["lonely"].ip
        with pytest.raises(LookupError, match="'lonely' has no global IPv6"):
            _ = netns["lonely"].ip6


class TestRoutes:
    """`ns.routes`."""

    def test_declared(self, netns: Network) -> None:
        """Declared routes are listed with all that was declared."""
        declared = route(netns, "10.7.0.0/24")
        assert (declared.via, declared.dev, declared.metric) == ("10.0.0.2", "eth0", 7)
        assert (declared.source, declared.table, declared.kind) == (
            "10.0.0.1",
            254,
            "unicast",
        )
        assert declared.protocol == "static"
        assert route(netns, "10.8.0.0/24").table == 100
        assert route(netns, "default", 6).via == "fd00::2"

    def test_of_addresses(self, netns: Network) -> None:
        """The kernel's own routes are listed, but for local and broadcast ones."""
        connected = route(netns, "10.0.0.0/24")
        assert (connected.via, connected.dev, connected.scope) == (None, "eth0", "link")
        assert connected.protocol == "kernel"
        assert route(netns, "fd00::/64", 6).dev == "eth0"
        destinations = {one.destination for one in netns["left"].routes()}
        assert not {"10.0.0.1/32", "10.0.0.255/32", "127.0.0.1/32"} & destinations

    def test_of_the_test(self, netns: Network) -> None:
        """Routes that a test makes itself are listed, those that refuse included."""
        left = netns["left"]
        left.run("ip route add default via 10.0.0.2")
        left.run("ip route add blackhole 10.66.0.0/16")
        left.run("ip route add prohibit 10.67.0.1")
        assert route(netns, "default").via == "10.0.0.2"
        assert (
            route(netns, "10.66.0.0/16").kind,
            route(netns, "10.66.0.0/16").dev,
        ) == (
            "blackhole",
            None,
        )
        assert route(netns, "10.67.0.1/32").kind == "prohibit"
        left.run("ip route del 10.66.0.0/16")
        assert "10.66.0.0/16" not in {one.destination for one in left.routes()}

    def test_of_several_hops(self, netns: Network) -> None:
        """A route that leads over several hops is listed once for each."""
        hops = "nexthop via 10.0.0.2 nexthop via 10.0.0.3"
        netns["left"].run(f"ip route add 192.0.2.0/24 metric 7 {hops}")
        hops = "nexthop via fd00::2 nexthop via fd00::3"
        netns["left"].run(f"ip -6 route add 2001:db8::/64 {hops}")
        found = [
            (one.destination, one.via, one.dev, one.metric)
            for one in netns["left"].routes()
            if one.destination in {"192.0.2.0/24", "2001:db8::/64"}
        ]
        assert found == [
            ("192.0.2.0/24", "10.0.0.2", "eth0", 7),
            ("192.0.2.0/24", "10.0.0.3", "eth0", 7),
            ("2001:db8::/64", "fd00::2", "eth0", 1024),
            ("2001:db8::/64", "fd00::3", "eth0", 1024),
        ]


class TestNeighbours:
    """`ns.neighbours`."""

    def test_static(self, netns: Network) -> None:
        """Declared neighbours are permanent."""
        (one,) = netns["left"].neighbours()
        assert (one.address, one.lladdr) == ("10.0.0.99", "02:00:00:00:00:99")
        assert (one.dev, one.state) == ("eth0", "permanent")

    def test_dynamic(self, netns: Network) -> None:
        """Neighbours that the kernel finds are listed, with their MAC addresses."""
        known = {one.address for one in netns["left"].neighbours()}
        assert not {"10.0.0.2", "fd00::2"} & known
        assert netns["left"].ping("10.0.0.2")
        assert netns["left"].ping("fd00::2")
        found = {one.address: one for one in netns["left"].neighbours()}
        for address in ("10.0.0.2", "fd00::2"):
            assert found[address].lladdr == "02:00:00:00:00:02"
            assert found[address].state in {"reachable", "stale", "delay", "probe"}

    def test_missing(self, netns: Network) -> None:
        """A neighbour that does not answer has no MAC address."""
        netns["left"].ping("10.0.0.77", timeout=0.01)
        (one,) = (
            one for one in netns["left"].neighbours() if one.address == "10.0.0.77"
        )
        assert one.lladdr is None
        assert one.state in {"incomplete", "failed"}


class TestSysctls:
    """`ns.sysctl`."""

    def test_get_and_set(self, netns: Network) -> None:
        """A value is read and set in this namespace alone."""
        own = Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii")
        left, right = netns["left"], netns["right"]
        assert left.sysctl["net.ipv4.ip_forward"] == "0"
        left.sysctl["net.ipv4.ip_forward"] = "1"
        assert left.sysctl["net.ipv4.ip_forward"] == "1"
        assert left.run("cat /proc/sys/net/ipv4/ip_forward").stdout == "1\n"
        assert right.sysctl["net.ipv4.ip_forward"] == "0"
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii") == own

    def test_declared(self, netns: Network) -> None:
        """What was declared is set."""
        assert netns["left"].sysctl["net.ipv4.tcp_syncookies"] == "0"
        assert netns["right"].sysctl["net.ipv4.tcp_syncookies"] != "0"

    def test_other_spelling(self, netns: Network) -> None:
        """Slashes do as well, and then dots belong to names, as for sysctl(8)."""
        left = netns["left"]
        left.run("ip link add eth0.5 type veth peer name eth5")
        left.sysctl["net/ipv4/conf/eth0.5/forwarding"] = "1"
        assert left.sysctl["net.ipv4.conf.eth0/5.forwarding"] == "1"
        assert left.sysctl["net/ipv4/conf/eth0/forwarding"] == "0"

    def test_all_keys(self, netns: Network) -> None:
        """The keys can be listed, and each leads back to its file."""
        left = netns["left"]
        left.run("ip link add eth0.5 type veth peer name eth5")
        keys = list(left.sysctl)
        assert "net.ipv4.ip_forward" in keys
        assert "net.ipv4.conf.eth0/5.forwarding" in keys
        assert len(left.sysctl) == len(keys) > 100
        for key in keys:
            if "eth0" in key and "stable_secret" not in key:
                assert isinstance(left.sysctl[key], str)

    def test_missing(self, netns: Network) -> None:
        """A key that is not there is the kernel's error, with the key."""
        with pytest.raises(KernelError, match=r"net\.ipv4\.nothing.*'left'.*ENOENT"):
            _ = netns["left"].sysctl["net.ipv4.nothing"]
        with pytest.raises(
            KernelError, match=r"net\.ipv4\.nothing.*'1'.*'left'.*ENOENT"
        ):
            netns["left"].sysctl["net.ipv4.nothing"] = "1"

    def test_refused_value(self, netns: Network) -> None:
        """A value that the kernel does not take is its error, with key and value."""
        with pytest.raises(
            KernelError, match=r"net\.ipv4\.ip_forward.*'maybe'.*EINVAL"
        ):
            netns["left"].sysctl["net.ipv4.ip_forward"] = "maybe"

    @pytest.mark.parametrize(
        "key",
        [
            "kernel.hostname",
            "vm.swappiness",
            "network.x",
            "net",
            "net/../kernel/hostname",
            "net/ipv4/../../kernel/hostname",
            "",
        ],
    )
    def test_refused_key(self, netns: Network, key: str) -> None:
        """A key of the machine is out of reach, however it is written."""
        sysctl = netns["left"].sysctl
        with pytest.raises(UnknownName, match="net"):
            _ = sysctl[key]
        with pytest.raises(UnknownName, match="net"):
            sysctl[key] = "changed"

    def test_deleted(self, netns: Network) -> None:
        """A sysctl cannot be deleted."""
        with pytest.raises(TypeError, match="ip_forward"):
            del netns["left"].sysctl["net.ipv4.ip_forward"]


class TestIdentity:
    """`ns.pids`, `ns.path`, `ns.inode`."""

    def test_pids(self, netns: Network) -> None:
        """All processes inside are listed, and no others, this one least of all."""
        left, right = netns["left"], netns["right"]
        assert left.pids() == []
        one = left.popen("sleep 600")
        other = right.popen("sleep 600")
        with left:
            assert left.pids() == [one.pid]
            child = subprocess.Popen(["sleep", "600"])
        assert set(left.pids()) == {one.pid, child.pid}
        assert right.pids() == [other.pid]
        child.kill()
        child.wait()
        assert left.pids() == [one.pid]

    def test_path(self, netns: Network) -> None:
        """Other programs enter by its path."""
        left = netns["left"]
        command = ["nsenter", f"--net={left.path}", "readlink", "/proc/self/ns/net"]
        seen = subprocess.check_output(command, text=True)
        assert seen == f"net:[{left.inode}]\n"
        assert Path(left.path).stat().st_ino == left.inode

    def test_repr(self, netns: Network) -> None:
        """It shows name and inode."""
        assert (
            repr(netns["left"])
            == f"<NetworkNamespace 'left' inode={netns['left'].inode}>"
        )

    def test_closed(self, netns_manager: NetworkManager) -> None:
        """Of a closed namespace only its name is left."""
        network = netns_manager.build(PAIR)
        left = network["left"]
        network.close()
        assert "closed" in repr(left)
        assert left.name == "left"
        for look in (left.routes, left.neighbours, lambda: left.ip, lambda: left.path):
            with pytest.raises(ClosedError, match="left"):
                look()
