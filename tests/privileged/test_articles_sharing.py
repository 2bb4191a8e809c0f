"""A machine that shares its connection: forwarding, its filter, and masquerading.

::

    ns1:v-peer1 (10.200.1.2, fd10::2) --- (10.200.1.1, fd10::1) host:v-eth1
    host:eth0 (192.0.2.2, 2001:db8:1::2) --- (192.0.2.1, 2001:db8:1::1) internet
    host:eth1 (198.51.100.1, 2001:db8:2::1) --- (198.51.100.2, 2001:db8:2::2) dmz
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    Masquerade,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Route,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIVATE = ["10.200.1.0/24", "fd10::/64"]
UPSTREAM = [Route("default", via="192.0.2.1"), Route("default", via="2001:db8:1::1")]
WAY_BACK = [
    Route("10.200.1.0/24", via="192.0.2.2"),
    Route("fd10::/64", via="2001:db8:1::2"),
]
FIREWALL = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "eth0" oifname "v-eth1" accept
        oifname "eth0" iifname "v-eth1" accept
    }
}
"""


@dataclass(frozen=True)
class Family:
    """What is different between IPv4 and IPv6."""

    iptables: str
    private: str
    ns1: str
    host: str
    internet: str
    dmz: str
    forwarding: str

    def commands(self) -> list[str]:
        """Return the commands that share the connection of eth0."""
        masquerade = f"-s {self.private} -o eth0 -j MASQUERADE"
        return [
            f"{self.iptables} -P FORWARD DROP",
            f"{self.iptables} -F FORWARD",
            f"{self.iptables} -t nat -F",
            f"{self.iptables} -t nat -A POSTROUTING {masquerade}",
            f"{self.iptables} -A FORWARD -i eth0 -o v-eth1 -j ACCEPT",
            f"{self.iptables} -A FORWARD -o eth0 -i v-eth1 -j ACCEPT",
        ]


IPV4 = Family(
    iptables="iptables",
    private="10.200.1.0/24",
    ns1="10.200.1.2",
    host="192.0.2.2",
    internet="192.0.2.1",
    dmz="198.51.100.2",
    forwarding="net.ipv4.ip_forward",
)
IPV6 = Family(
    iptables="ip6tables",
    private="fd10::/64",
    ns1="fd10::2",
    host="2001:db8:1::2",
    internet="2001:db8:1::1",
    dmz="2001:db8:2::2",
    forwarding="net.ipv6.conf.all.forwarding",
)
both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["ipv4", "ipv6"])


def network(*, internet: Sequence[Route] = (), **host: Any) -> Topology:
    """Return the network; the internet knows the routes that it is given alone."""
    return Topology(
        Namespace(
            "ns1",
            routes=[
                Route("default", via="10.200.1.1"),
                Route("default", via="fd10::1"),
            ],
        ),
        Namespace("host", routes=UPSTREAM, **host),
        Namespace("internet", routes=internet),
        Namespace(
            "dmz",
            routes=[
                Route("10.200.1.0/24", via="198.51.100.1"),
                Route("fd10::/64", via="2001:db8:2::1"),
            ],
        ),
        Veth("host:v-eth1", "ns1:v-peer1", subnet=PRIVATE),
        Veth(
            "host:eth0",
            "internet:eth0",
            address=["192.0.2.2/24", "2001:db8:1::2/64"],
            peer_address=["192.0.2.1/24", "2001:db8:1::1/64"],
        ),
        Veth("host:eth1", "dmz:eth0", subnet=["198.51.100.0/24", "2001:db8:2::/64"]),
    )


#: What routes without any rule.
ROUTED = network(forwarding=True, internet=WAY_BACK)


def address_seen(
    client: NetworkNamespace, server: NetworkNamespace, address: str
) -> str:
    """Return where a datagram to `address` comes from, for the one who gets it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        server.socket(family, socket.SOCK_DGRAM) as there,
        client.socket(family, socket.SOCK_DGRAM) as here,
    ):
        there.settimeout(5)
        there.bind((address, 5000))
        here.sendto(b"hello", (address, 5000))
        return str(there.recvfrom(16)[1][0])


class TestForwarding:
    """A namespace routes only if it was told to."""

    @pytest.mark.netns(network(internet=WAY_BACK))
    @both_families
    def test_off_by_default(self, netns: Network, family: Family) -> None:
        """Nothing passes until the sysctl is set, and then it does."""
        assert netns["host"].sysctl[family.forwarding] == "0"
        assert netns["ns1"].ping("10.200.1.1")
        assert not netns["ns1"].ping(family.internet, timeout=0.1)
        netns["host"].run(["sysctl", "-w", f"{family.forwarding}=1"])
        assert netns["ns1"].ping(family.internet)

    @pytest.mark.netns(ROUTED)
    @both_families
    def test_declared(self, netns: Network, family: Family) -> None:
        """Declared, it is on for both families, and off in the other namespaces."""
        assert netns["host"].sysctl[family.forwarding] == "1"
        assert netns["internet"].sysctl[family.forwarding] == "0"
        assert netns["ns1"].ping(family.internet)

    @pytest.mark.netns(ROUTED)
    def test_routing_table(self, netns: Network) -> None:
        """The table of ns1 is the one of its address and its default gateway."""
        assert netns["ns1"].run("ip route").stdout.split("\n") == [
            "default via 10.200.1.1 dev v-peer1 proto static ",
            "10.200.1.0/24 dev v-peer1 proto kernel scope link src 10.200.1.2 ",
            "",
        ]


class TestFilter:
    """The filter of what is forwarded."""

    @pytest.mark.netns(ROUTED, requires=["iptables"])
    @both_families
    def test_policy_and_rules(self, netns: Network, family: Family) -> None:
        """With the policy DROP nothing passes but what a rule lets pass, each way."""
        ns1, host, internet = netns["ns1"], netns["host"], netns["internet"]
        assert ns1.ping(family.internet)
        assert internet.ping(family.ns1)

        def assert_cut() -> None:
            assert not ns1.ping(family.internet, timeout=0.1)
            assert not internet.ping(family.ns1, timeout=0.1)

        host.run(f"{family.iptables} -P FORWARD DROP")
        assert_cut()
        for rule in ("-i eth0 -o eth1", "-i eth1 -o v-eth1", "-i v-eth1 -o eth1"):
            host.run(f"{family.iptables} -A FORWARD {rule} -j ACCEPT")
        assert_cut()
        host.run(f"{family.iptables} -A FORWARD -o eth0 -i v-eth1 -j ACCEPT")
        assert address_seen(ns1, internet, family.internet) == family.ns1
        assert_cut()  # the answer has no rule yet
        host.run(f"{family.iptables} -A FORWARD -i eth0 -o v-eth1 -j ACCEPT")
        assert ns1.ping(family.internet)
        assert internet.ping(family.ns1)
        host.run(f"{family.iptables} -F FORWARD")
        assert_cut()

    @pytest.mark.netns(network(forwarding=True, internet=WAY_BACK, nftables=FIREWALL))
    @both_families
    def test_declared(self, netns: Network, family: Family) -> None:
        """The same as nftables text: what it does not name does not pass."""
        ns1, host = netns["ns1"], netns["host"]
        assert ns1.ping(family.internet)
        assert netns["internet"].ping(family.ns1)
        assert not ns1.ping(family.dmz, timeout=0.1)
        assert not netns["dmz"].ping(family.ns1, timeout=0.1)
        host.nft("add rule inet filter forward accept")
        assert ns1.ping(family.dmz)
        assert netns["dmz"].ping(family.ns1)

    @pytest.mark.netns(ROUTED, requires=["iptables"])
    def test_of_one_namespace(self, netns: Network) -> None:
        """The filter of one namespace is not that of another."""
        netns["host"].run("iptables -P FORWARD DROP")
        policies = {
            namespace.name: namespace.run("iptables -S FORWARD").stdout.split()[2]
            for namespace in netns
        }
        others = dict.fromkeys(("ns1", "internet", "dmz"), "ACCEPT")
        assert policies == {"host": "DROP", **others}


class TestMasquerading:
    """What leaves through one interface leaves with its address."""

    @pytest.mark.netns(
        network(
            forwarding=True,
            nat=[Masquerade(source=PRIVATE, out_interface="eth0")],
            nftables=FIREWALL.replace("drop", "accept"),
        )
    )
    @both_families
    def test_one_interface(self, netns: Network, family: Family) -> None:
        """Through another interface packets keep their source."""
        ns1 = netns["ns1"]
        assert ns1.ping(family.internet)
        seen = address_seen(ns1, netns["internet"], family.internet)
        assert seen == family.host
        assert address_seen(ns1, netns["dmz"], family.dmz) == family.ns1

    @pytest.mark.netns(network(), requires=["iptables"])
    @both_families
    def test_commands(self, netns: Network, family: Family) -> None:
        """The commands of a script do the same, one after the other."""
        ns1, host = netns["ns1"], netns["host"]
        path = f"/proc/sys/{family.forwarding.replace('.', '/')}"
        host.run(["sh", "-c", f"echo 1 > {path}"])
        assert not ns1.ping(family.internet, timeout=0.1)
        for command in family.commands():
            host.run(command)
        assert ns1.ping(family.internet)
        seen = address_seen(ns1, netns["internet"], family.internet)
        assert seen == family.host
        assert not ns1.ping(family.dmz, timeout=0.1)

    @pytest.mark.netns(requires=["iptables"])
    @both_families
    def test_nothing_stays(self, netns_manager: NetworkManager, family: Family) -> None:
        """Nothing needs to be deleted before: the next network knows no rule."""
        for _ in range(3):
            with netns_manager.build(network()) as built:
                host = built["host"]
                assert host.run(f"{family.iptables} -S").stdout.split("\n") == [
                    "-P INPUT ACCEPT",
                    "-P FORWARD ACCEPT",
                    "-P OUTPUT ACCEPT",
                    "",
                ]
                rules = host.run(f"{family.iptables} -t nat -S").stdout
                assert "-A" not in rules
                assert host.sysctl[family.forwarding] == "0"
                host.sysctl[family.forwarding] = "1"
                for command in family.commands():
                    host.run(command)
                assert "MASQUERADE" in host.run(f"{family.iptables} -t nat -S").stdout
