"""Random networks and what tests do to them, as values: shown, replayed, equal.

`scenarios(seed, count)` draws them from hypothesis' strategies, so the same numbers
always give the same ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Masquerade,
    Namespace,
    Neighbour,
    OVSBridge,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from tests.reliability import deeds

if TYPE_CHECKING:
    from pytest_netns._record import Record
    from pytest_netns.nat import NatRule

NAMES = ("a", "b", "c")
#: Lower than any that the kernel makes up: a bridge takes the lowest of its ports'.
_LOWEST = "02:00:00:00:00:0d"
#: Few, so that a later network has what an earlier one had.
LLADDRS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b", "06:11:22:33:44:55")


@dataclass(frozen=True)
class Scenario:
    """What one test is: a network, and what is done to it.

    Attributes:
        topology: The network.
        deeds: What is done, in this order; each of it may fail.
        fails: Whether the test fails after it.
    """

    topology: Topology
    deeds: tuple[deeds.Deed, ...]
    fails: bool


_NAT: st.SearchStrategy[NatRule] = st.sampled_from(
    [
        Masquerade(),
        Masquerade(source="10.1.0.0/24", out_interface="eth0"),
        SNAT("192.0.2.1", out_interface="eth0"),
        DNAT("10.1.0.2:80", port=8080),
        DNAT("[fd00:1::2]:80", port=8080, in_interface="eth0"),
    ]
)
_NFTABLES = st.sampled_from(
    [
        "",
        "table inet own { chain input { type filter hook input priority 0; }; }",
        "table ip6 own { set one { type ipv6_addr; elements = { fd00::1 }; }; }",
    ]
)
_SYSCTLS = st.sampled_from(
    [
        {},
        {"net.ipv4.tcp_syncookies": 0, "net.core.somaxconn": 77},
        {"net.ipv6.conf.all.hop_limit": 9},
        {"net.ipv4.conf.eth0.rp_filter": 2},
    ]
)
_HOSTS = st.sampled_from([{}, {"elsewhere": "192.0.2.9"}, {"x": "2001:db8::9"}])


def _rarely(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, None, None, value])


@st.composite
def _namespaces(draw: st.DrawFn, name: str, number: int) -> Namespace:
    """Draw a namespace with an interface eth0, whose addresses end with `number`."""
    routes = [
        Route("192.0.2.0/24", via="10.1.0.9"),
        Route("default", dev="eth0"),
        Route("2001:db8::/32", via="fe80::9", dev="eth0", metric=7),
        Route("198.51.100.0/24", dev="eth0", table=100, source=f"10.1.0.{number}"),
    ]
    neighbours = [
        Neighbour("10.1.0.99", "02:99:00:00:00:01", dev="eth0"),
        Neighbour("fd00:1::99", "02:99:00:00:00:02", dev="eth0"),
    ]
    return Namespace(
        name,
        routes=draw(st.lists(st.sampled_from(routes), max_size=2, unique=True)),
        neighbours=draw(st.lists(st.sampled_from(neighbours), max_size=1)),
        nat=draw(st.lists(_NAT, max_size=2)),
        nftables=draw(_NFTABLES),
        forwarding=draw(st.booleans()),
        sysctls=draw(_SYSCTLS),
        hosts=draw(_HOSTS),
        nameservers=draw(st.sampled_from([(), "192.0.2.53"])),
        hostname=draw(_rarely("another")),
    )


@st.composite
def _switches(draw: st.DrawFn, *, vlans: bool) -> Bridge | OVSBridge:
    """Draw what the namespaces are plugged into; Open vSwitch takes its time."""
    kind = draw(st.sampled_from(["hidden"] * 20 + ["visible"] * 3 + ["ovs"]))
    if kind == "ovs":
        return OVSBridge("ovs0")
    if kind == "visible":
        return Bridge("sw0", namespace="a", address="10.8.0.1/24", stp=True)
    return Bridge(
        draw(st.sampled_from(["br0", "lan"])),
        stp=draw(st.booleans()),
        vlan_filtering=vlans and draw(st.booleans()),
        mtu=draw(_rarely(1400)),
        lladdr=draw(_rarely(LLADDRS[2])),
    )


@st.composite
def _topologies(draw: st.DrawFn, *, vlans: bool) -> Topology:
    switch = draw(_switches(vlans=vlans))
    names = NAMES[: draw(st.integers(1, 3))]
    records: list[Record] = [switch]
    records += [draw(_namespaces(name, at + 1)) for at, name in enumerate(names)]
    for at, name in enumerate(names):
        addresses = draw(
            st.sampled_from(
                [
                    [f"10.1.0.{at + 1}/24"],
                    [f"10.1.0.{at + 1}/24", f"fd00:1::{at + 1}/64"],
                ]
            )
        )
        records.append(
            Veth(
                f"{name}:eth0",
                draw(st.sampled_from([switch.name, f"{switch.name}:port-{name}"])),
                address=addresses,
                lladdr=draw(_rarely(LLADDRS[at % 2])),
                mtu=draw(_rarely(1300)),
                offload=draw(st.booleans()),
            )
        )
    if len(names) > 1 and draw(st.booleans()):
        records += [
            Bridge("br1", subnet=draw(st.sampled_from(["10.2.0.0/24", "fd00:2::/64"]))),
            Veth("a:eth1", "br1"),
            Veth("b:eth1", "br1", peer_lladdr=draw(_rarely(_LOWEST))),
            Veth("a:p2p", "b:p2p", address="10.3.0.1/30", peer_address="10.3.0.2/30"),
        ]
    try:
        return Topology(*records)
    except TopologyError:
        # a route's gateway, or a rule's family, that this network has nothing for
        plain = [
            Namespace(one.name, forwarding=one.forwarding)
            if isinstance(one, Namespace)
            else one
            for one in records
        ]
        return Topology(*plain)


def scenarios(seed: int, count: int, *, vlans: bool = False) -> list[Scenario]:
    """Return the first `count` scenarios of a seed.

    Args:
        seed: Any number.
        count: How many.
        vlans: Whether bridges may filter VLANs, which not every kernel can.

    Every deed there is comes in its turn, beside those that are drawn.
    """
    found: list[Scenario] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.builds(
            Scenario,
            _topologies(vlans=vlans),
            st.lists(deeds.DEEDS, min_size=2, max_size=6).map(tuple),
            st.sampled_from([False] * 5 + [True]),
        )
    )
    def draw(scenario: Scenario) -> None:
        found.append(scenario)

    draw()
    turns = itertools.cycle(deeds.EVERY)
    return [
        Scenario(one.topology, (next(turns), *one.deeds), one.fails) for one in found
    ]
