"""Sending from several namespaces and threads, without scapy's own tables.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                 --- (10.1.0.2, fd01::2) right
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.config import conf
from scapy.layers import inet, inet6, l2
from scapy.layers.vxlan import VXLAN

from pytest_netns import (
    Namespace,
    Network,
    NetworkNamespace,
    Route,
    Topology,
    Veth,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Machine

# scapy's types say of no packet what may be in it, nor what "/" gives
ICMP, IP, UDP = (cast("Any", one) for one in (inet.ICMP, inet.IP, inet.UDP))
IPv6, ICMPv6EchoRequest = (
    cast("Any", one) for one in (inet6.IPv6, inet6.ICMPv6EchoRequest)
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
    """Give the namespace that sends."""
    return netns["left"]


def run_all(work: Callable[..., None], *arguments: tuple[Any, ...]) -> None:
    """Call a function with each of these arguments, all at the same time."""
    threads = [threading.Thread(target=work, args=one) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestEverywhere:
    """Threads, loops and namespaces."""

    def test_many_namespaces(self) -> None:
        """Threads send in namespaces of their own, whose addresses are the same."""
        pair = Topology(
            Namespace("left"),
            Namespace("right"),
            Veth("left:eth0", "right:eth0", subnet="10.0.0.0/24"),
        )
        networks = [build(pair) for _ in range(4)]
        wrong: list[object] = []

        def work(network: Network, number: int) -> None:
            left = network["left"]
            ours = network.link("left:eth0").lladdr, network.link("right:eth0").lladdr
            for turn in range(25):
                asked = IP(dst="10.0.0.2") / ICMP(id=number, seq=turn)
                answer: Any = left.sr1(asked, timeout=10)
                if answer is None or (answer[ICMP].id, answer[ICMP].seq) != (
                    number,
                    turn,
                ):
                    wrong.append(answer)
                asked = Ether() / ARP(pdst="10.0.0.2")
                answer = left.srp1(asked, dev="eth0", timeout=10)
                if answer is None or (answer.dst, answer.src) != ours:
                    wrong.append(answer)

        try:
            run_all(
                work, *((network, number) for number, network in enumerate(networks))
            )
        finally:
            for network in networks:
                network.close()
        assert wrong == []

    def test_threads_of_one_namespace(self, left: NetworkNamespace) -> None:
        """Each thread gets the answers to what it has sent."""
        wrong: list[object] = []

        def work(number: int) -> None:
            for turn in range(25):
                asked = IP(dst="10.1.0.2") / ICMP(id=number, seq=turn)
                answer: Any = left.sr1(asked, timeout=10)
                if answer is None or (answer[ICMP].id, answer[ICMP].seq) != (
                    number,
                    turn,
                ):
                    wrong.append(answer)

        run_all(work, *((number,) for number in range(4)))
        assert wrong == []

    def test_inside_and_elsewhere(self, netns: Network, left: NetworkNamespace) -> None:
        """It does not matter where the thread is, nor whether a loop runs in it."""
        asked = IP(dst="10.1.0.2") / ICMP()

        async def work() -> object:
            return left.sr1(asked, timeout=10)

        with netns["right"]:
            assert left.sr1(asked, timeout=10) is not None
        assert netns["gw"].call(left.sr1, asked, timeout=10) is not None
        assert asyncio.run(work()) is not None

    def test_machine(self, machine: Machine) -> None:
        """The machine itself, as a node of a network, can send and be answered."""
        machine.passes(
            """
            from scapy.layers.inet import ICMP, IP
            from scapy.layers.l2 import ARP, Ether

            @pytest.mark.netns(CABLE)
            def test_both_ways(netns):
                assert netns["host"].sr1(IP(dst="10.5.0.2") / ICMP()) is not None
                assert netns["server"].sr1(IP(dst="10.5.0.1") / ICMP()) is not None
                ours = netns["host"].interfaces[-1].name
                asked = Ether() / ARP(pdst="10.5.0.2")
                assert netns["host"].srp1(asked, dev=ours).psrc == "10.5.0.2"
            """
        )


SENDS: dict[str, Callable[[NetworkNamespace], object]] = {
    "send": lambda left: left.send(IP(dst="10.1.0.2") / UDP()),
    "send IPv6": lambda left: left.send(IPv6(dst="fd01::2") / UDP()),
    "send to a group": lambda left: left.send(IPv6(dst="ff02::1") / UDP()),
    "send ARP": lambda left: left.send(ARP(pdst="10.0.0.2")),
    "send a tunnel": lambda left: left.send(
        IP(dst="10.1.0.2") / UDP() / VXLAN() / Ether() / IPv6(dst="fd01::2") / UDP()
    ),
    "sendp": lambda left: left.sendp(
        Ether() / Dot1Q() / IP(dst="10.1.0.2") / UDP(), dev="eth0"
    ),
    "sendp nothing": lambda left: left.sendp(Ether() / b"nothing", dev="eth0"),
    "sr": lambda left: left.sr(IP(dst=["10.1.0.2", "10.1.0.99"]) / ICMP(), timeout=0.1),
    "sr1": lambda left: left.sr1(IP(dst="10.1.0.2") / ICMP()),
    "sr1 IPv6": lambda left: left.sr1(IPv6(dst="fd01::2") / ICMPv6EchoRequest()),
    "sr1 here": lambda left: left.sr1(IP(dst="127.0.0.1") / ICMP()),
    "sr1 to nobody": lambda left: left.sr1(IP(dst="10.0.0.99") / ICMP(), timeout=0),
    "srp1": lambda left: left.srp1(Ether() / ARP(pdst="10.0.0.2"), dev="eth0"),
}


def tables() -> dict[str, object]:
    """Describe all tables that scapy has for the whole process."""
    return {
        "interfaces": {name: vars(one).copy() for name, one in conf.ifaces.items()},
        "interface": conf.iface,
        "routes": list(conf.route.routes),
        "cached routes": dict(conf.route.cache),
        "IPv6 routes": list(conf.route6.routes),
        "cached IPv6 routes": dict(conf.route6.cache),
        "neighbours": {one.name: dict(one) for one in conf.netcache._caches_list},
        "settings": (conf.checkIPaddr, conf.checkIPsrc, conf.verb, conf.bufsize),
    }


def refuse(*arguments: object, **keywords: object) -> None:
    """Stand in for what must not be called."""
    raise AssertionError(f"scapy's own tables are asked: {arguments} {keywords}")


class TestTablesOfScapy:
    """scapy's own interfaces, routes and caches."""

    @pytest.mark.parametrize("what", SENDS)
    def test_untouched(self, left: NetworkNamespace, what: str) -> None:
        """They are afterwards what they were before."""
        before = tables()
        SENDS[what](left)
        assert tables() == before

    @pytest.mark.parametrize("what", SENDS)
    def test_unused(
        self, left: NetworkNamespace, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        """They are not even asked."""
        monkeypatch.setattr(conf.route, "route", refuse)
        monkeypatch.setattr(conf.route6, "route", refuse)
        monkeypatch.setattr(conf.neighbor, "resolve", refuse)
        for name in ("dev_from_name", "dev_from_networkname", "dev_from_index"):
            monkeypatch.setattr(type(conf.ifaces), name, refuse)
        for cache in conf.netcache._caches_list:
            monkeypatch.setattr(type(cache), "__getitem__", refuse)
        with pytest.raises(AssertionError, match="tables are asked"):
            bytes(IP(dst="10.1.0.2"))
        SENDS[what](left)
