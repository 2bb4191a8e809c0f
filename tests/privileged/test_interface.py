"""`Interface`: what there is now, and setting it down and up.

::

    left (10.0.0.1, fd00::1) --- br0 --- (10.0.0.2, fd00::2) right
    left (10.5.0.1) --- (10.5.0.2) far
"""

from __future__ import annotations

import ipaddress

import pytest

from pytest_netns import (
    Bridge,
    Interface,
    KernelError,
    Namespace,
    Neighbour,
    Network,
    Route,
    Topology,
    UnknownName,
    Veth,
)

LAN = Topology(
    Namespace(
        "left",
        routes=[
            Route("10.7.0.0/24", via="10.0.0.2"),
            Route("fd07::/64", via="fd00::2"),
            Route("10.8.0.0/24", dev="eth0"),
            Route("default", via="10.5.0.2", metric=5),
        ],
        neighbours=[
            Neighbour("10.0.0.99", "02:00:00:00:00:99", dev="eth0"),
            Neighbour("fd00::99", "02:00:00:00:00:99", dev="eth0"),
        ],
    ),
    Namespace("right"),
    Namespace("far"),
    Bridge("br0", mtu=1400, subnet=["10.0.0.0/24", "fd00::/64"]),
    Veth(
        "left:eth0",
        "br0:port1",
        lladdr="02:00:00:00:00:01",
        peer_lladdr="02:00:00:00:01:01",
    ),
    Veth("right:eth0", "br0:port2", lladdr="02:00:00:00:00:02"),
    Veth("left:eth1", "far:eth0", subnet="10.5.0.0/24"),
)

pytestmark = pytest.mark.netns(LAN)


@pytest.fixture
def eth0(netns: Network) -> Interface:
    """Give the interface that is looked at."""
    return netns["left"].interface("eth0")


def addresses(interface: Interface) -> set[str]:
    """Return the addresses of an interface, but for link-local ones."""
    return {str(one) for one in interface.addresses if not one.ip.is_link_local}


def is_up(interface: Interface) -> bool:
    """Tell whether an interface is up now."""
    return interface.is_up


def routes(network: Network) -> set[tuple[str, str | None, str | None]]:
    """Return the routes of left as (destination, gateway, interface)."""
    found = network["left"].routes()
    return {(one.destination, one.via, one.dev) for one in found if one.dev != "lo"}


class TestReading:
    """Attributes of an interface."""

    def test_identity(self, netns: Network, eth0: Interface) -> None:
        """Name and index are the kernel's."""
        assert eth0.name == "eth0"
        assert netns["left"].call(_index_of, "eth0") == eth0.index
        assert repr(eth0) == f"<Interface 'left:eth0' index={eth0.index}>"

    def test_attributes(self, eth0: Interface) -> None:
        """What was declared is there."""
        assert eth0.lladdr == "02:00:00:00:00:01"
        assert eth0.mtu == 1400
        assert is_up(eth0)
        assert addresses(eth0) == {"10.0.0.1/24", "fd00::1/64"}
        assert ipaddress.ip_interface("10.0.0.1/24") in eth0.addresses

    def test_link_local_address(self, eth0: Interface) -> None:
        """The kernel's own link-local address is among the addresses."""
        (link_local,) = (one for one in eth0.addresses if one.ip.is_link_local)
        assert str(link_local) == "fe80::ff:fe00:1/64"

    def test_reads_anew(self, netns: Network, eth0: Interface) -> None:
        """Each look asks the kernel, whoever has changed something."""
        netns["left"].run("ip link set eth0 mtu 1300")
        netns["left"].run("ip link set eth0 address 02:00:00:00:0a:01")
        netns["left"].run("ip address add 10.0.0.50/24 dev eth0")
        assert (eth0.mtu, eth0.lladdr) == (1300, "02:00:00:00:0a:01")
        assert "10.0.0.50/24" in addresses(eth0)

    def test_gone(self, netns: Network, eth0: Interface) -> None:
        """An interface that was deleted is the kernel's error."""
        netns["left"].run("ip link delete eth0")
        with pytest.raises(KernelError, match=r"'eth0'.*'left'.*ENODEV"):
            _ = eth0.mtu

    def test_statistics(self, netns: Network, eth0: Interface) -> None:
        """The counters grow with the traffic."""
        netns["right"].ping("10.0.0.1")  # the neighbours know each other now
        before = eth0.statistics
        assert netns["right"].ping("10.0.0.1", count=10, interval=0)
        after = eth0.statistics
        assert after.rx_packets - before.rx_packets >= 10
        assert after.tx_packets - before.tx_packets >= 10
        assert after.rx_bytes - before.rx_bytes >= 10 * 84
        assert after.tx_bytes - before.tx_bytes >= 10 * 84
        assert (after.rx_errors, after.tx_errors) == (0, 0)

    def test_all(self, netns: Network) -> None:
        """All interfaces of a namespace are listed, the loopback interface first."""
        names = [one.name for one in netns["left"].interfaces]
        assert names[0] == "lo"
        assert {"eth0", "eth1"} <= set(names)
        assert "eth1" not in {one.name for one in netns["right"].interfaces}
        netns["left"].run("ip link add dummy5 type veth peer name dummy6")
        assert "dummy5" in {one.name for one in netns["left"].interfaces}

    def test_loopback(self, netns: Network) -> None:
        """The loopback interface is up, with its addresses."""
        loopback = netns["left"].interface("lo")
        assert is_up(loopback)
        assert {str(one) for one in loopback.addresses} == {"127.0.0.1/8", "::1/128"}
        assert loopback.lladdr == "00:00:00:00:00:00"

    def test_unknown(self, netns: Network) -> None:
        """An interface that is not there is an error with those that are."""
        with pytest.raises(UnknownName, match=r"'eth9'.*'left'.*'eth0', 'eth1'.*\?"):
            netns["left"].interface("eth9")


def _index_of(name: str) -> int:
    import socket

    return socket.if_nametoindex(name)


class TestLink:
    """`network.link`."""

    def test_of_a_namespace(self, netns: Network, eth0: Interface) -> None:
        """An interface of a namespace is the one that the namespace gives."""
        assert netns.link("left:eth0").index == eth0.index
        assert netns.link("right:eth0").lladdr == "02:00:00:00:00:02"

    def test_of_a_bridge(self, netns: Network) -> None:
        """A bridge's ports, and its own device, are reached by the bridge's name."""
        port = netns.link("br0:port1")
        assert (port.name, port.lladdr, is_up(port)) == (
            "port1",
            "02:00:00:00:01:01",
            True,
        )
        assert netns.link("br0:br0").mtu == 1400

    def test_port_down(self, netns: Network) -> None:
        """Setting a port down cuts its cable; setting it up mends it at once."""
        port = netns.link("br0:port1")
        for _ in range(5):
            assert netns["left"].ping("10.0.0.2")
            port.set_down()
            assert not is_up(port)
            assert not is_up(netns["left"].interface("eth0"))
            port.set_up()
            assert is_up(port)
            assert netns["left"].ping("10.0.0.2")
            assert netns["left"].ping("fd00::2")
        port.set_down()
        assert not netns["left"].ping("10.0.0.2", timeout=0.05)

    @pytest.mark.parametrize(
        ("endpoint", "said"),
        [
            ("left:eth9", "'eth9'"),
            ("lefft:eth0", "'left'"),
            ("br0:port9", "'port1'"),
            ("left", "'left:eth0'"),
        ],
    )
    def test_unknown(self, netns: Network, endpoint: str, said: str) -> None:
        """What is not there is an error that helps."""
        with pytest.raises(UnknownName, match=said):
            netns.link(endpoint)


class TestDownAndUp:
    """`set_down` and `set_up`."""

    def test_down(self, netns: Network, eth0: Interface) -> None:
        """Down, nothing passes, and the other cables are not affected."""
        assert netns["left"].ping("10.0.0.2")
        eth0.set_down()
        assert not is_up(eth0)
        assert not netns["left"].ping("10.0.0.2", timeout=0.05)
        assert not netns["right"].ping("10.0.0.1", timeout=0.05)
        assert netns["left"].ping("10.5.0.2")

    def test_up_brings_all_back(self, netns: Network, eth0: Interface) -> None:
        """Up again, it has the addresses, routes and neighbours that were declared."""
        left = netns["left"]
        before = addresses(eth0), routes(netns), _permanent(netns)
        assert {"10.0.0.1/24", "fd00::1/64"} == before[0]
        expected = {"10.7.0.0/24", "fd07::/64", "10.8.0.0/24", "default", "10.0.0.0/24"}
        assert expected <= {destination for destination, _, _ in before[1]}
        assert before[2] == {"10.0.0.99", "fd00::99"}
        eth0.set_down()
        assert "fd07::/64" not in {one.destination for one in left.routes()}
        eth0.set_up()
        assert (addresses(eth0), routes(netns), _permanent(netns)) == before

    @pytest.mark.parametrize("target", ["10.0.0.2", "fd00::2"])
    def test_traffic_flows_at_once(
        self, netns: Network, eth0: Interface, target: str
    ) -> None:
        """The first echo after setting it up is answered, every time."""
        for _ in range(20):
            eth0.set_down()
            eth0.set_up()
            result = netns["left"].ping(target)
            assert result, result.error

    @pytest.mark.parametrize("target", ["10.0.0.1", "fd00::1"])
    def test_traffic_from_the_other_side(
        self, netns: Network, eth0: Interface, target: str
    ) -> None:
        """The others reach it at once, too."""
        for _ in range(20):
            eth0.set_down()
            eth0.set_up()
            result = netns["right"].ping(target)
            assert result, result.error

    def test_both_ends(self, netns: Network) -> None:
        """A cable whose ends are set up one after the other works."""
        here, there = netns.link("left:eth1"), netns.link("far:eth0")
        for _ in range(5):
            here.set_down()
            there.set_down()
            here.set_up()
            assert not here.is_up, "the other end is down"
            there.set_up()
            assert is_up(here)
            assert netns["left"].ping("10.5.0.2")

    def test_several_times(self, netns: Network, eth0: Interface) -> None:
        """Setting it down or up twice changes nothing more."""
        before = addresses(eth0), routes(netns)
        eth0.set_up()
        assert (addresses(eth0), routes(netns)) == before
        eth0.set_down()
        eth0.set_down()
        eth0.set_up()
        eth0.set_up()
        assert (addresses(eth0), routes(netns)) == before

    def test_interface_nobody_declared(self, netns: Network) -> None:
        """An interface that a test made itself goes down and up as well."""
        netns["left"].run("ip link add veth8 type veth peer name veth9")
        ends = [netns["left"].interface(name) for name in ("veth8", "veth9")]
        for end in ends:
            end.set_up()
        assert all(is_up(end) for end in ends)
        ends[0].set_down()
        assert not is_up(ends[1])

    def test_interface_added_later(self, netns: Network) -> None:
        """What `add` has declared comes back as well."""
        netns.add(Veth("right:eth5", "far:eth5", subnet="fd55::/64"))
        link = netns.link("right:eth5")
        link.set_down()
        link.set_up()
        assert addresses(link) == {"fd55::1/64"}
        assert netns["far"].ping("fd55::1")


def _permanent(network: Network) -> set[str]:
    """Return the addresses of left's permanent neighbours."""
    return {
        one.address for one in network["left"].neighbours() if one.state == "permanent"
    }


def test_offloads_are_what_ethtool_says(netns: Network) -> None:
    """Also when they were switched off; the loopback has some as well."""
    netns.add(Veth("left:slow", "right:slow", offload=False))
    left = netns["left"]
    words = {
        "tso": "tx-tcp-segmentation",
        "gso": "generic-segmentation-offload",
        "gro": "generic-receive-offload",
        "tx": "tx-checksumming",
    }
    for name in ("eth0", "slow", "lo"):
        lines = left.run(["ethtool", "-k", name]).stdout.splitlines()
        on = {
            key
            for key, word in words.items()
            if any(line.strip().startswith(f"{word}: on") for line in lines)
        }
        assert left.interface(name).offloads == on
    assert left.interface("eth0").offloads
    assert left.interface("slow").offloads == frozenset()
