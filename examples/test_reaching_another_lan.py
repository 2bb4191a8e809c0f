"""Out of a private network and into it: unreachable, silent, NAT, port forwarding.

v-net-0  in host  192.168.15.5
└── blue:veth-blue 192.168.15.2
host:eth0  192.168.1.2  ───  192.168.1.3, and 203.0.113.8 for the internet  other:eth0

Each test is one step: its marker has the cables, and the machines as the step has them.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from socket import SOCK_DGRAM

import pytest

from pytest_netns import (
    DNAT,
    Bridge,
    InvalidAddress,
    Masquerade,
    Namespace,
    Network,
    Route,
    Topology,
    Veth,
)

OTHERS = ["192.168.1.3/24", "203.0.113.8/32"]
CABLES = (
    Bridge("v-net-0", namespace="host", address="192.168.15.5/24"),
    Veth("blue:veth-blue", "v-net-0", address="192.168.15.2/24"),
    Veth("host:eth0", "other:eth0", address="192.168.1.2/24", peer_address=OTHERS),
)
BLUE = Namespace("blue")
BLUE_TO_LAN = Namespace("blue", routes=[Route("192.168.1.0/24", via="192.168.15.5")])
BLUE_TO_ALL = Namespace("blue", routes=[Route("default", via="192.168.15.5")])
# echo 1 > /proc/sys/net/ipv4/ip_forward
HOST = Namespace("host", forwarding=True)
NAT = Namespace(
    "host",
    forwarding=True,
    routes=[Route("default", via="192.168.1.3")],
    nat=[
        # iptables -t nat -A POSTROUTING -s 192.168.15.0/24 -j MASQUERADE
        Masquerade(source="192.168.15.0/24"),
        # iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 192.168.15.2:80
        DNAT("192.168.15.2:80", port=80),
    ],
)
OTHER = Namespace("other")
OTHER_TO_BLUE = Namespace("other", routes=[Route("192.168.15.0/24", via="192.168.1.2")])


def address_seen(netns: Network) -> str:
    """Return from where, in the eyes of other, a datagram of blue comes."""
    blue, other = netns["blue"], netns["other"]
    with blue.socket(type=SOCK_DGRAM) as here, other.socket(type=SOCK_DGRAM) as there:
        there.settimeout(5)
        there.bind(("192.168.1.3", 5000))
        here.sendto(b"hello", ("192.168.1.3", 5000))
        return str(there.recvfrom(5)[1][0])


@pytest.mark.netns(*CABLES, BLUE, HOST, OTHER)
def test_no_route(netns: Network) -> None:
    """Blue knows its own network alone."""
    assert netns["blue"].ping("192.168.1.3").error == "network unreachable"


def test_a_gateway_out_of_reach() -> None:
    """The host's other address cannot be the gateway: blue does not reach that one."""
    blue = Namespace("blue", routes=[Route("192.168.1.0/24", via="192.168.1.2")])
    with pytest.raises(InvalidAddress, match="is off every connected network"):
        Topology(*CABLES, blue, HOST, OTHER)


@pytest.mark.netns(*CABLES, BLUE_TO_LAN, HOST, OTHER)
def test_no_way_back(netns: Network) -> None:
    """The other machine hears blue, and has no route for its answer."""
    error = netns["blue"].ping("192.168.1.3", timeout=0.2).error
    assert error == "no answer from 192.168.1.3 within 0.2 s"
    assert address_seen(netns) == "192.168.15.2"
    assert netns["other"].ping("192.168.15.2").error == "network unreachable"


@pytest.mark.netns(*CABLES, BLUE_TO_LAN, NAT, OTHER)
def test_masquerading(netns: Network) -> None:
    """The answer comes back: the other machine takes blue for the host."""
    assert netns["blue"].ping("192.168.1.3")
    assert address_seen(netns) == "192.168.1.2"
    assert netns["blue"].ping("203.0.113.8").error == "network unreachable"


@pytest.mark.netns(*CABLES, BLUE_TO_ALL, NAT, OTHER)
def test_a_default_gateway(netns: Network) -> None:
    """Whatever the host reaches, blue does."""
    assert netns["blue"].ping("203.0.113.8")


@pytest.mark.netns(*CABLES, BLUE_TO_ALL, NAT, OTHER)
def test_port_forwarding(netns: Network) -> None:
    """Who cannot reach blue reaches its web server through the host's address."""
    netns["blue"].popen([sys.executable, "-m", "http.server", "80"]).wait_listening(80)
    assert netns["other"].ping("192.168.15.2").error == "network unreachable"
    connection = HTTPConnection("192.168.1.2", timeout=5)
    with netns["other"]:
        connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.netns(*CABLES, BLUE_TO_ALL, HOST, OTHER_TO_BLUE)
def test_a_route_on_the_second_host(netns: Network) -> None:
    """Told the way to the private network, the other machine needs no NAT."""
    assert netns["other"].ping("192.168.15.2")
    assert netns["blue"].ping("192.168.1.3")
