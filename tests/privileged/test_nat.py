"""NAT rules of a namespace, by what they do to packets.

::

    inside (10.0.0.2, fd00::2; 10.0.0.3, fd00::3)
      └── lan (10.0.0.1, fd00::1) gw
            ├── wan (192.0.2.1, 2001:db8:1::1; 203.0.113.9, 2001:db8:9::9)
            │     └── outside (192.0.2.2, 2001:db8:1::2)
            └── dmz (198.51.100.1, 2001:db8:2::1)
                  └── perimeter (198.51.100.2, 2001:db8:2::2)

Everybody's default gateway is gw: without a rule all of them can talk.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest

from pytest_netns import (
    DNAT,
    SNAT,
    InvalidName,
    Masquerade,
    Namespace,
    Network,
    NetworkNamespace,
    Route,
    Veth,
)

#: How many seconds an answer may take.
PATIENCE = 5.0


@dataclass(frozen=True)
class Family:
    """The addresses of one family."""

    inside: str
    second_inside: str
    lan: str
    wan: str
    second_wan: str
    outside: str
    dmz: str
    perimeter: str
    inner_network: str
    everybody: str

    def endpoint(self, address: str, port: int) -> str:
        """Return ``"address:port"``."""
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


IPV4 = Family(
    inside="10.0.0.2",
    second_inside="10.0.0.3",
    lan="10.0.0.1",
    wan="192.0.2.1",
    second_wan="203.0.113.9",
    outside="192.0.2.2",
    dmz="198.51.100.1",
    perimeter="198.51.100.2",
    inner_network="10.0.0.0/24",
    everybody="0.0.0.0/0",
)
IPV6 = Family(
    inside="fd00::2",
    second_inside="fd00::3",
    lan="fd00::1",
    wan="2001:db8:1::1",
    second_wan="2001:db8:9::9",
    outside="2001:db8:1::2",
    dmz="2001:db8:2::1",
    perimeter="2001:db8:2::2",
    inner_network="fd00::/64",
    everybody="::/0",
)

both_families = pytest.mark.parametrize("at", [IPV4, IPV6], ids=["ipv4", "ipv6"])
both_protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])


def gateways(four: str, six: str) -> list[Route]:
    """Return the default routes of a machine."""
    return [Route("default", via=four), Route("default", via=six)]


def build(
    netns: Network,
    *nat: Masquerade | SNAT | DNAT,
    nftables: str = "",
    outside: list[Route] | None = None,
) -> None:
    """Build the network, with these rules at gw."""
    if outside is None:
        outside = gateways(IPV4.wan, IPV6.wan)
    netns.add(
        Namespace("inside", routes=gateways(IPV4.lan, IPV6.lan)),
        Namespace("gw", forwarding=True, nat=nat, nftables=nftables),
        Namespace("outside", routes=outside),
        Namespace("perimeter", routes=gateways(IPV4.dmz, IPV6.dmz)),
        Veth(
            "inside:eth0",
            "gw:lan",
            address=["10.0.0.2/24", "fd00::2/64", "10.0.0.3/24", "fd00::3/64"],
            peer_address=["10.0.0.1/24", "fd00::1/64"],
        ),
        Veth(
            "outside:eth0",
            "gw:wan",
            address=["192.0.2.2/24", "2001:db8:1::2/64"],
            peer_address=[
                *("192.0.2.1/24", "2001:db8:1::1/64"),
                *("203.0.113.9/32", "2001:db8:9::9/128"),
            ],
        ),
        Veth("gw:dmz", "perimeter:eth0", subnet=["198.51.100.0/24", "2001:db8:2::/64"]),
    )


def exchange(
    client: NetworkNamespace,
    server: NetworkNamespace,
    to: tuple[str, int],
    *,
    at: tuple[str, int] | None = None,
    protocol: str = "udp",
    source: str | None = None,
) -> tuple[str, int]:
    """Ask somebody, and get an answer from the address that was asked.

    Args:
        client: Who asks.
        server: Who answers; an error if the question does not get there.
        to: The address and port that the client asks.
        at: The address and port that the server has; None is `to`.
        protocol: ``"tcp"`` or ``"udp"``.
        source: The address that the client asks from; None is any.

    Returns:
        The address and port that the server has seen.
    """
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with server.socket(family, kind) as there, client.socket(family, kind) as here:
        for one in (there, here):
            one.settimeout(PATIENCE)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        there.bind(at or to)
        if source is not None:
            here.bind((source, 0))
        if protocol == "tcp":
            there.listen()
            here.connect(to)
            accepted, peer = there.accept()
            with accepted:
                accepted.sendall(b"answer")
        else:
            here.connect(to)
            here.send(b"question")
            question, peer = there.recvfrom(16)
            assert question == b"question"
            there.sendto(b"answer", peer)
        assert here.recv(16) == b"answer"
    return peer[0], peer[1]


class TestMasquerade:
    """Packets leave with the address of the interface they leave through."""

    @both_families
    @both_protocols
    def test_all(self, netns: Network, at: Family, protocol: str) -> None:
        """Without arguments all of them do, of both families, through any interface."""
        build(netns, Masquerade())
        for client, server, target, expected in (
            ("inside", "outside", at.outside, at.wan),
            ("inside", "perimeter", at.perimeter, at.dmz),
            ("outside", "inside", at.inside, at.lan),
        ):
            seen, _ = exchange(
                netns[client], netns[server], (target, 80), protocol=protocol
            )
            assert seen == expected

    @both_families
    def test_none(self, netns: Network, at: Family) -> None:
        """Without a rule nothing is changed: this is what the other tests rely on."""
        build(netns)
        here, there = netns["inside"], netns["outside"]
        assert exchange(here, there, (at.outside, 80))[0] in {
            at.inside,
            at.second_inside,
        }
        assert netns["gw"].nft("list ruleset") == ""

    @both_families
    def test_source(self, netns: Network, at: Family) -> None:
        """Packets from other networks keep their source."""
        build(netns, Masquerade(source=at.second_inside))
        here, there = netns["inside"], netns["outside"]
        for source, seen in ((at.second_inside, at.wan), (at.inside, at.inside)):
            assert exchange(here, there, (at.outside, 80), source=source)[0] == seen
        assert exchange(there, here, (at.inside, 80))[0] == at.outside

    @pytest.mark.parametrize("order", [1, -1])
    def test_sources(self, netns: Network, order: int) -> None:
        """Several networks may be named, of both families."""
        build(netns, Masquerade(source=["10.0.0.3", "fd00::/64", "10.0.0.2"][::order]))
        here, there = netns["inside"], netns["outside"]
        for at in (IPV4, IPV6):
            for source in (at.inside, at.second_inside):
                seen, _ = exchange(here, there, (at.outside, 80), source=source)
                assert seen == at.wan

    @both_families
    def test_out_interface(self, netns: Network, at: Family) -> None:
        """Packets that leave through another interface keep their source."""
        build(netns, Masquerade(source=at.inner_network, out_interface="dmz"))
        here = netns["inside"]
        seen, _ = exchange(here, netns["perimeter"], (at.perimeter, 80))
        assert seen == at.dmz
        there, source = netns["outside"], at.inside
        assert exchange(here, there, (at.outside, 80), source=source)[0] == source

    @pytest.mark.parametrize("name", ["abcdefghijklmn*", "\u00fc" * 7 + "*", "w\\n*"])
    def test_names_that_nft_cannot_write(self, name: str) -> None:
        """What nft would take for another name is refused before anything happens."""
        with pytest.raises(InvalidName, match="nftables cannot write a final"):
            Masquerade(out_interface=name)

    @both_families
    def test_what_stays_inside(self, netns: Network, at: Family) -> None:
        """Packets from one own address to another are left alone."""
        build(netns, Masquerade())
        gateway = netns["gw"]
        for source in (at.lan, at.second_wan, at.dmz):
            seen, _ = exchange(gateway, gateway, (at.wan, 80), source=source)
            assert seen == source

    @pytest.mark.parametrize(
        "named", ["wan*", "*", "w*n*", "abcdefghijklm*", "$x", "w;n", "wan\\"]
    )
    def test_name_is_no_pattern(self, netns: Network, named: str) -> None:
        """The name of an interface is that name, whatever characters it has."""
        build(netns)
        netns.add(
            Namespace("a", routes=[Route("default", via="10.9.0.1")]),
            Namespace("b", forwarding=True, nat=[Masquerade(out_interface=named)]),
            Namespace("c", routes=[Route("default", via="10.8.0.1")]),
            Namespace("d", routes=[Route("default", via="10.7.0.1")]),
            Veth("b:lan", "a:eth0", subnet="10.9.0.0/24"),
            Veth(f"b:{named}", "c:eth0", subnet="10.8.0.0/24"),
            Veth("b:wan1", "d:eth0", subnet="10.7.0.0/24"),
        )
        assert exchange(netns["a"], netns["c"], ("10.8.0.2", 80))[0] == "10.8.0.1"
        assert exchange(netns["a"], netns["d"], ("10.7.0.2", 80))[0] == "10.9.0.2"


class TestSNAT:
    """Packets leave with the address that a rule names."""

    @both_families
    @both_protocols
    def test_address(self, netns: Network, at: Family, protocol: str) -> None:
        """It is the named address, and the answer finds its way back."""
        build(netns, SNAT(at.second_wan))
        here, there = netns["inside"], netns["outside"]
        seen, _ = exchange(here, there, (at.outside, 80), protocol=protocol)
        assert seen == at.second_wan

    @both_families
    @both_protocols
    def test_address_and_port(self, netns: Network, at: Family, protocol: str) -> None:
        """The port is the named one as well."""
        build(netns, SNAT(at.endpoint(at.second_wan, 5555)))
        here, there = netns["inside"], netns["outside"]
        seen = exchange(here, there, (at.outside, 80), protocol=protocol)
        assert seen == (at.second_wan, 5555)

    @both_families
    def test_port_is_for_tcp_and_udp(self, netns: Network, at: Family) -> None:
        """What has no ports keeps its source where a rule names one."""
        build(netns, SNAT(at.endpoint(at.wan, 5555)), outside=[])
        assert exchange(netns["inside"], netns["outside"], (at.outside, 80))
        # the echo keeps its source, for which outside has no route
        assert not netns["inside"].ping(at.outside, timeout=0.1)
        netns["outside"].run(f"ip route add {at.inner_network} via {at.wan}")
        assert netns["inside"].ping(at.outside)

    @both_families
    def test_echoes(self, netns: Network, at: Family) -> None:
        """Without a port the rule is for echoes, too."""
        build(netns, SNAT(at.wan), outside=[])
        assert netns["inside"].ping(at.outside)

    @both_families
    def test_source_and_interface(self, netns: Network, at: Family) -> None:
        """Both must fit."""
        build(netns, SNAT(at.second_wan, source=at.second_inside, out_interface="wan"))
        here = netns["inside"]
        for source, server, target, expected in (
            (at.second_inside, "outside", at.outside, at.second_wan),
            (at.inside, "outside", at.outside, at.inside),
            (at.second_inside, "perimeter", at.perimeter, at.second_inside),
        ):
            seen, _ = exchange(here, netns[server], (target, 80), source=source)
            assert seen == expected

    @pytest.mark.parametrize(
        ("rule", "untouched"), [(IPV4, IPV6), (IPV6, IPV4)], ids=["ipv4", "ipv6"]
    )
    def test_other_family(
        self, netns: Network, rule: Family, untouched: Family
    ) -> None:
        """An address of one family changes nothing of the other."""
        build(netns, SNAT(rule.second_wan))
        here, there = netns["inside"], netns["outside"]
        assert exchange(here, there, (rule.outside, 80))[0] == rule.second_wan
        source = untouched.inside
        seen, _ = exchange(here, there, (untouched.outside, 80), source=source)
        assert seen == source


class TestDNAT:
    """Packets for a port of gw go to somebody else."""

    @both_families
    @both_protocols
    def test_address(self, netns: Network, at: Family, protocol: str) -> None:
        """They go to the address, the port stays, and the sender is who it was."""
        build(netns, DNAT(at.inside, port=80, protocol=protocol))
        seen, _ = exchange(
            netns["outside"],
            netns["inside"],
            to=(at.wan, 80),
            at=(at.inside, 80),
            protocol=protocol,
        )
        assert seen == at.outside

    @both_families
    @both_protocols
    def test_address_and_port(self, netns: Network, at: Family, protocol: str) -> None:
        """They go to another port as well, through whichever address of gw."""
        rule = DNAT(at.endpoint(at.inside, 8080), port=80, protocol=protocol)
        build(netns, rule)
        for address in (at.wan, at.second_wan, at.dmz, at.lan):
            assert exchange(
                netns["outside"],
                netns["inside"],
                to=(address, 80),
                at=(at.inside, 8080),
                protocol=protocol,
            )

    @both_families
    @pytest.mark.parametrize(
        ("protocol", "port"), [("tcp", 81), ("udp", 80)], ids=["port", "protocol"]
    )
    def test_others_stay(
        self, netns: Network, at: Family, protocol: str, port: int
    ) -> None:
        """Another port, and the same of another protocol, are the namespace's own."""
        build(netns, DNAT(at.inside, port=80))
        outside, inside, gateway = netns["outside"], netns["inside"], netns["gw"]
        target = (at.inside, 80)
        assert exchange(outside, inside, (at.wan, 80), at=target, protocol="tcp")
        assert exchange(outside, gateway, (at.wan, port), protocol=protocol)

    @both_families
    @both_protocols
    def test_what_passes(self, netns: Network, at: Family, protocol: str) -> None:
        """What is for that port of somebody else is not redirected, unless named."""
        build(netns, DNAT(at.inside, port=80, protocol=protocol))
        outside, perimeter = netns["outside"], netns["perimeter"]
        target = (at.inside, 80)
        assert exchange(
            outside, netns["inside"], (at.wan, 80), at=target, protocol=protocol
        )
        assert exchange(outside, perimeter, (at.perimeter, 80), protocol=protocol)

    @both_families
    @both_protocols
    def test_whatever_passes(self, netns: Network, at: Family, protocol: str) -> None:
        """With everybody as destination, what passes by is redirected as well."""
        rule = DNAT(at.inside, port=80, protocol=protocol, destination=at.everybody)
        build(netns, rule)
        for address in (at.perimeter, at.wan):
            assert exchange(
                netns["outside"],
                netns["inside"],
                to=(address, 80),
                at=(at.inside, 80),
                protocol=protocol,
            )

    @both_families
    def test_destination(self, netns: Network, at: Family) -> None:
        """What is for another address is not redirected, be it an own one or not."""
        named = [at.second_wan, at.perimeter]
        build(netns, DNAT(at.inside, port=80, destination=named))
        outside = netns["outside"]
        for address in named:
            inside = (at.inside, 80)
            assert exchange(
                outside, netns["inside"], (address, 80), at=inside, protocol="tcp"
            )
        assert exchange(outside, netns["gw"], (at.wan, 80), protocol="tcp")

    @both_families
    def test_in_interface(self, netns: Network, at: Family) -> None:
        """What comes through another interface is not redirected."""
        build(netns, DNAT(at.inside, port=80, in_interface="wan"))
        inside, target = netns["inside"], (at.inside, 80)
        for address in (at.wan, at.dmz):
            to = (address, 80)
            assert exchange(netns["outside"], inside, to, at=target, protocol="tcp")
            assert exchange(netns["perimeter"], netns["gw"], to, protocol="tcp")

    @both_families
    def test_own_connections(self, netns: Network, at: Family) -> None:
        """What the namespace itself sends is not redirected."""
        build(netns, DNAT(at.inside, port=80, destination=at.everybody))
        outside, inside, gateway = netns["outside"], netns["inside"], netns["gw"]
        target = (at.inside, 80)
        assert exchange(outside, inside, (at.wan, 80), at=target, protocol="tcp")
        assert exchange(gateway, gateway, (at.wan, 80), protocol="tcp")
        assert exchange(gateway, outside, (at.outside, 80), protocol="tcp")

    @pytest.mark.parametrize(
        ("rule", "untouched"), [(IPV4, IPV6), (IPV6, IPV4)], ids=["ipv4", "ipv6"]
    )
    def test_other_family(
        self, netns: Network, rule: Family, untouched: Family
    ) -> None:
        """The same port of the other family is the namespace's own."""
        build(netns, DNAT(rule.inside, port=80, protocol="udp"))
        outside, target = netns["outside"], (rule.inside, 80)
        assert exchange(outside, netns["inside"], (rule.wan, 80), at=target)
        assert exchange(outside, netns["gw"], (untouched.wan, 80))


class TestRules:
    """All rules of a namespace together."""

    @both_families
    def test_first_that_fits(self, netns: Network, at: Family) -> None:
        """Of several rules that fit the first one counts, whatever their kind."""
        build(
            netns,
            DNAT(at.endpoint(at.inside, 8001), port=80, destination=at.second_wan),
            DNAT(at.endpoint(at.inside, 8002), port=80),
            DNAT(at.endpoint(at.inside, 8003), port=80),
            SNAT(at.second_wan, source=at.second_inside),
            Masquerade(),
            SNAT(at.second_wan),
        )
        inside, outside = netns["inside"], netns["outside"]
        for address, port in ((at.second_wan, 8001), (at.wan, 8002)):
            target = (at.inside, port)
            assert exchange(outside, inside, (address, 80), at=target, protocol="tcp")
        for source, expected in (
            (at.second_inside, at.second_wan),
            (at.inside, at.wan),
        ):
            seen, _ = exchange(inside, outside, (at.outside, 80), source=source)
            assert seen == expected

    def test_of_one_namespace(self, netns: Network) -> None:
        """No other namespace has a rule, nor has the next network."""
        build(netns, Masquerade(), DNAT("10.0.0.2", port=80))
        rulesets = {one.name: one.nft("list ruleset") for one in netns}
        gateway = rulesets.pop("gw")
        assert "masquerade" in gateway
        assert "dnat" in gateway
        assert rulesets == dict.fromkeys(("inside", "outside", "perimeter"), "")

    @pytest.mark.parametrize("first", ["", "flush ruleset\n"])
    def test_beside_own_rules(self, netns: Network, first: str) -> None:
        """Rules of the test's own are there as well, whatever they do to others."""
        own = """table inet own {
            chain forward {
                type filter hook forward priority filter;
                tcp dport 23 drop
            }
        }"""
        build(netns, Masquerade(), nftables=first + own)
        ruleset = netns["gw"].nft("list ruleset")
        assert "tcp dport 23 drop" in ruleset
        assert "masquerade" in ruleset
        inside, outside = netns["inside"], netns["outside"]
        assert exchange(inside, outside, (IPV4.outside, 80))[0] == IPV4.wan
