"""A packet's way through a router: each interface sees it, with one hop less behind.

left eth0 10.0.1.1 ─── 10.0.1.2 west  router  east 10.0.2.2 ─── 10.0.2.1 eth0 right
"""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP

from pytest_netns import Namespace, Network, Route, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("left", routes=[Route("default", via="10.0.1.2")]),
        Namespace("router", forwarding=True),
        Namespace("right", routes=[Route("default", via="10.0.2.2")]),
        Veth("left:eth0", "router:west", subnet="10.0.1.0/24"),
        Veth("right:eth0", "router:east", subnet="10.0.2.0/24"),
    )
)
WAY = ("left:eth0", "router:west", "router:east", "right:eth0")


def step(packet: Any) -> tuple[str, str, int, int]:
    """Return where a packet was seen, in which direction, its type and its TTL."""
    return packet.sniffed_on, packet.direction, packet[ICMP].type, packet[IP].ttl


def test_the_way_there_and_back(netns: Network) -> None:
    """The router takes one off, on the way there and on the way back."""
    with netns.capture(*WAY, bpf_filter="icmp") as capture:
        assert netns["left"].ping("right")

    assert list(map(step, capture.packets)) == [
        ("left:eth0", "out", 8, 64),
        ("router:west", "in", 8, 64),
        ("router:east", "out", 8, 63),
        ("right:eth0", "in", 8, 63),
        ("right:eth0", "out", 0, 64),
        ("router:east", "in", 0, 64),
        ("router:west", "out", 0, 63),
        ("left:eth0", "in", 0, 63),
    ]


def test_the_picture(netns: Network) -> None:
    """Drawn as a ladder: four packets on two cables.

    ::

           ms   left                          router                       right
                  │ ICMP echo-request … ttl=64   │                            │
        0.000     ├────────────────────── west ─▶│                            │
                  │                              │ ICMP echo-request … ttl=63 │
        0.021     │                              ├─ east ────────────────────▶│
                  │                              │ ICMP echo-reply … ttl=64   │
        0.033     │                              │◀─ east ────────────────────┤
                  │ ICMP echo-reply … ttl=63     │                            │
        0.036     │◀────────────────────── west ─┤                            │
    """
    with netns.capture(*WAY, bpf_filter="icmp") as capture:
        assert netns["left"].ping("right")
    flow = capture.flow()
    print(flow)
    assert [(arrow.source, arrow.destination) for arrow in flow.arrows] == [
        ("left:eth0", "router:west"),
        ("router:east", "right:eth0"),
        ("right:eth0", "router:east"),
        ("router:west", "left:eth0"),
    ]
    assert "ttl=63" in flow.arrows[1].label
    assert flow.to_svg().startswith("<svg")


def test_the_last_hop(netns: Network) -> None:
    """With no hop to go the router says so, and right never sees the packet."""
    with netns["right"].capture("eth0", positive_control=True) as capture:
        answer = netns["left"].sr1(IP(dst="10.0.2.1", ttl=1) / ICMP())
    assert answer is not None
    assert (answer[IP].src, answer[ICMP].type) == ("10.0.1.2", 11)  # time exceeded
    capture.assert_not_seen(ICMP)
