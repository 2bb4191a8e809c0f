"""A machine lets another out through its own connection, and lets nobody else through.

ns1:v-peer1  10.200.1.2  ───  10.200.1.1  host:v-eth1
host:eth0    192.0.2.2   ───  192.0.2.1, and 203.0.113.7 far away  internet:eth0
"""

from __future__ import annotations

from socket import SOCK_DGRAM

import pytest

from pytest_netns import Masquerade, Namespace, Network, Route, Veth

FAR_AWAY = ["192.0.2.1/24", "203.0.113.7/32"]
CABLES = (
    Namespace("ns1", routes=[Route("default", via="10.200.1.1")]),
    Veth("host:v-eth1", "ns1:v-peer1", subnet="10.200.1.0/24"),
    Namespace("internet"),
    Veth("host:eth0", "internet:eth0", address="192.0.2.2/24", peer_address=FAR_AWAY),
)
UPSTREAM = Route("default", via="192.0.2.1")

FIREWALL = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "eth0" oifname "v-eth1" accept
        oifname "eth0" iifname "v-eth1" accept
    }
}
"""
IPTABLES = """
iptables -P FORWARD DROP
iptables -F FORWARD
iptables -t nat -F
iptables -t nat -A POSTROUTING -s 10.200.1.0/24 -o eth0 -j MASQUERADE
iptables -A FORWARD -i eth0 -o v-eth1 -j ACCEPT
iptables -A FORWARD -o eth0 -i v-eth1 -j ACCEPT
"""

PLAIN = Namespace("host", routes=[UPSTREAM])
SHARING = Namespace(
    "host",
    routes=[UPSTREAM],
    forwarding=True,
    nat=[Masquerade(source="10.200.1.0/24", out_interface="eth0")],
    nftables=FIREWALL,
)


def address_seen(netns: Network) -> str:
    """Return from where, in the eyes of the internet, a datagram of ns1 comes."""
    ns1, internet = netns["ns1"], netns["internet"]
    with internet.socket(type=SOCK_DGRAM) as there, ns1.socket(type=SOCK_DGRAM) as here:
        there.settimeout(5)
        there.bind(("203.0.113.7", 5000))
        here.sendto(b"hello", ("203.0.113.7", 5000))
        return str(there.recvfrom(5)[1][0])


@pytest.mark.netns(*CABLES, SHARING)
def test_sharing(netns: Network) -> None:
    """Declared all at once: ns1 gets out, and the internet sees the host's address."""
    assert netns["ns1"].ping("203.0.113.7")
    assert address_seen(netns) == "192.0.2.2"


@pytest.mark.netns(*CABLES, PLAIN)
def test_nobody_forwards_unasked(netns: Network) -> None:
    """Forwarding is off, and switched on like this nothing knows the way back."""
    assert not netns["ns1"].ping("203.0.113.7", timeout=0.1)
    netns["host"].sysctl["net.ipv4.ip_forward"] = "1"
    assert address_seen(netns) == "10.200.1.2"
    assert not netns["ns1"].ping("203.0.113.7", timeout=0.1)


@pytest.mark.netns(*CABLES, PLAIN, requires=["iptables"])
@pytest.mark.parametrize("run", ["first", "second"])
def test_commands_of_your_own(netns: Network, run: str) -> None:
    """What you have as commands stays as it is, and need not be undone afterwards."""
    host = netns["host"]
    assert "MASQUERADE" not in host.run("iptables -t nat -S").stdout, f"in the {run}"

    host.run("sysctl -w net.ipv4.ip_forward=1")
    for command in IPTABLES.strip().splitlines():
        host.run(command)
    assert netns["ns1"].ping("203.0.113.7")
    assert address_seen(netns) == "192.0.2.2"


@pytest.mark.netns(*CABLES, SHARING)
def test_a_firewall(netns: Network) -> None:
    """Between other interfaces nothing passes, unless another rule says so."""
    netns.add(
        Namespace("guest", routes=[Route("default", via="10.99.0.1")]),
        Veth("host:guests", "guest:eth0", subnet="10.99.0.0/24"),
    )
    assert not netns["ns1"].ping("guest", timeout=0.1)
    netns["host"].nft("add rule inet filter forward accept")
    assert netns["ns1"].ping("guest")
