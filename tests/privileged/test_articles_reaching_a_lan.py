"""From a private network into the LAN of its host, and back in: what it takes.

::

    v-net-0  in host, with (192.168.15.5, fd15::5)
    └── blue:veth-blue (192.168.15.2, fd15::2)

    host (192.168.1.2, fd01::2) --- (192.168.1.3, fd01::3, and farther away
                                     203.0.113.8, 2001:db8::8) other
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    DNAT,
    Bridge,
    CommandError,
    InvalidAddress,
    Masquerade,
    Namespace,
    Network,
    NetworkNamespace,
    Process,
    Route,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Serve = Callable[..., Process]


@dataclass(frozen=True)
class Plan:
    """The addresses of one family."""

    blue: str
    gateway: str
    host: str
    other: str
    far: str
    private: str
    lan: str
    iptables: str
    forwarding: str

    @property
    def length(self) -> str:
        """The length of the prefix of all addresses."""
        return self.lan.partition("/")[2]

    def url(self, address: str) -> str:
        """Return an address as it stands before a port."""
        return f"[{address}]" if ":" in address else address

    def network(
        self,
        *,
        blue: Sequence[Route] = (),
        other: Sequence[Route] = (),
        **host: Any,
    ) -> list[Namespace | Bridge | Veth]:
        """Return the records of the network, with these routes and this host."""
        far = f"{self.far}/{32 if '.' in self.far else 128}"
        return [
            Namespace("blue", routes=blue),
            Namespace("host", routes=[Route("default", via=self.other)], **host),
            Namespace("other", routes=other),
            Bridge("v-net-0", namespace="host", address=self.on(self.gateway)),
            Veth("blue:veth-blue", "v-net-0", address=self.on(self.blue)),
            Veth(
                "host:eth0",
                "other:eth0",
                address=self.on(self.host),
                peer_address=[self.on(self.other), far],
            ),
        ]

    def on(self, address: str) -> str:
        """Return an address with the length of its prefix."""
        return f"{address}/{self.length}"

    @property
    def to_lan(self) -> Route:
        """The route of blue to the LAN."""
        return Route(self.lan, via=self.gateway)

    @property
    def to_all(self) -> Route:
        """The route of blue to everybody."""
        return Route("default", via=self.gateway)


IPV4 = Plan(
    blue="192.168.15.2",
    gateway="192.168.15.5",
    host="192.168.1.2",
    other="192.168.1.3",
    far="203.0.113.8",
    private="192.168.15.0/24",
    lan="192.168.1.0/24",
    iptables="iptables",
    forwarding="net.ipv4.ip_forward",
)
IPV6 = Plan(
    blue="fd15::2",
    gateway="fd15::5",
    host="fd01::2",
    other="fd01::3",
    far="2001:db8::8",
    private="fd15::/64",
    lan="fd01::/64",
    iptables="ip6tables",
    forwarding="net.ipv6.conf.all.forwarding",
)

pytestmark = pytest.mark.parametrize("plan", [IPV4, IPV6], ids=["ipv4", "ipv6"])


class Eavesdropper:
    """Sees the echo requests that come to a namespace."""

    def __init__(self, packets: socket.socket) -> None:
        self._packets = packets
        packets.settimeout(5)

    def next_source(self) -> str:
        """Wait for an echo request, and return where it comes from."""
        while True:
            packet, (_, _, direction, *_) = self._packets.recvfrom(2048)
            if direction == socket.PACKET_OUTGOING:
                continue
            if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_ICMP:
                source, kind = packet[12:16], packet[(packet[0] & 15) * 4]
            elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_ICMPV6:
                source, kind = packet[8:24], packet[40]
            else:
                continue
            if kind in (8, 128):
                return str(ipaddress.ip_address(source))


@contextlib.contextmanager
def listening_in(namespace: NetworkNamespace) -> Iterator[Eavesdropper]:
    """Watch what comes through eth0 of a namespace."""
    kind, everything = socket.SOCK_DGRAM, socket.htons(3)  # ETH_P_ALL
    with namespace.socket(socket.AF_PACKET, kind, everything) as packets:
        packets.bind(("eth0", 3))
        yield Eavesdropper(packets)


def peer_of_connection(
    client: NetworkNamespace, server: NetworkNamespace, address: str
) -> str:
    """Connect over TCP, and return with whom the server says it is connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with server.socket(family) as listener, client.socket(family) as connection:
        for one in (listener, connection):
            one.settimeout(5)
        listener.bind((address, 8080))
        listener.listen()
        connection.connect((address, 8080))
        accepted, _ = listener.accept()
        with accepted:
            return str(accepted.getpeername()[0])


def get(client: NetworkNamespace, address: str) -> int:
    """Ask a web server for its page, and return the status."""
    connection = HTTPConnection(address, 80, timeout=5)
    with contextlib.closing(connection):
        with client:
            connection.connect()
        connection.request("GET", "/")
        return connection.getresponse().status


class TestOutwards:
    """From blue into the LAN."""

    def test_no_route(self, netns: Network, plan: Plan) -> None:
        """Without a route the LAN is unreachable, the host's address in it included."""
        netns.add(*plan.network(forwarding=True))
        for address in (plan.other, plan.host, plan.far):
            assert netns["blue"].ping(address).error == "network unreachable"
        assert netns["blue"].ping(plan.gateway)

    def test_gateway_off_the_network(self, netns: Network, plan: Plan) -> None:
        """The host's other address is refused as a gateway, as the kernel does."""
        wrong = Route(plan.lan, via=plan.host)
        with pytest.raises(InvalidAddress, match="is off every connected network"):
            netns.add(*plan.network(blue=[wrong], forwarding=True))
        netns.add(*plan.network(forwarding=True))
        with pytest.raises(CommandError, match=r"gateway|No route to host"):
            netns["blue"].run(f"ip route add {plan.lan} via {plan.host}")

    def test_nothing_is_forwarded_unasked(self, netns: Network, plan: Plan) -> None:
        """With a route, nothing arrives as long as the host does not forward."""
        netns.add(*plan.network(blue=[plan.to_lan]))
        with listening_in(netns["other"]) as other:
            assert not netns["blue"].ping(plan.other, timeout=0.1)
            assert netns["host"].ping(plan.other)
            assert other.next_source() == plan.host, "the first echo is the host's"
            netns["host"].sysctl[plan.forwarding] = "1"
            assert not netns["blue"].ping(plan.other, timeout=0.1)
            assert other.next_source() == plan.blue

    def test_no_way_back(self, netns: Network, plan: Plan) -> None:
        """With a route alone the echo arrives, and the answer has no way back."""
        netns.add(*plan.network(blue=[plan.to_lan], forwarding=True))
        with listening_in(netns["other"]) as other:
            error = netns["blue"].ping(plan.other, timeout=0.1).error
            assert error == f"no answer from {plan.other} within 0.1 s"
            assert other.next_source() == plan.blue
        assert netns["other"].ping(plan.blue).error == "network unreachable"
        # told the way back, it answers
        netns["other"].run(f"ip route add {plan.private} via {plan.host}")
        assert netns["blue"].ping(plan.other)

    def test_masquerading(self, netns: Network, plan: Plan) -> None:
        """Masqueraded, blue gets its answer; the other machine sees the host alone."""
        nat = [Masquerade(source=plan.private)]
        netns.add(*plan.network(blue=[plan.to_lan], forwarding=True, nat=nat))
        with listening_in(netns["other"]) as other:
            assert netns["blue"].ping(plan.other)
            assert other.next_source() == plan.host
        peer = peer_of_connection(netns["blue"], netns["other"], plan.other)
        assert peer == plan.host
        # other sees the host's own connections as before
        assert netns["host"].ping(plan.other)

    def test_default_gateway(self, netns: Network, plan: Plan) -> None:
        """With a default gateway blue reaches whatever the host does."""
        nat = [Masquerade(source=plan.private)]
        netns.add(*plan.network(blue=[plan.to_lan], forwarding=True, nat=nat))
        blue = netns["blue"]
        assert netns["host"].ping(plan.far)
        assert blue.ping(plan.far).error == "network unreachable"
        blue.run(f"ip route add default via {plan.gateway}")
        assert blue.ping(plan.far)

    def test_default_gateway_declared(self, netns: Network, plan: Plan) -> None:
        """A default gateway can be declared, and leads into the LAN as well."""
        nat = [Masquerade(source=plan.private)]
        netns.add(*plan.network(blue=[plan.to_all], forwarding=True, nat=nat))
        assert netns["blue"].ping(plan.far)
        assert netns["blue"].ping(plan.other)

    @pytest.mark.netns(requires=["iptables"])
    def test_commands(self, netns: Network, plan: Plan) -> None:
        """The same by iptables, where the host's own commands make the rule."""
        netns.add(*plan.network(blue=[plan.to_lan], forwarding=True))
        assert not netns["blue"].ping(plan.other, timeout=0.1)
        netns["host"].run(
            f"{plan.iptables} -t nat -A POSTROUTING -s {plan.private} -j MASQUERADE"
        )
        assert netns["blue"].ping(plan.other)


class TestInwards:
    """From the LAN to a web server in blue."""

    @pytest.fixture
    def serve(self, netns: Network, plan: Plan) -> Serve:
        """Give what builds the network, with a web server in blue."""

        def serve(*, other: Sequence[Route] = (), **host: Any) -> Process:
            blue = [plan.to_all]
            netns.add(*plan.network(blue=blue, other=other, forwarding=True, **host))
            address = "::" if ":" in plan.blue else "0.0.0.0"
            command = [sys.executable, "-um", "http.server", "-b", address, "80"]
            server = netns["blue"].popen(command)
            server.wait_listening(80)
            return server

        return serve

    def test_unreachable(self, netns: Network, plan: Plan, serve: Serve) -> None:
        """The private network is unreachable from the LAN, but not from the host."""
        serve()
        assert get(netns["host"], plan.blue) == 200
        assert netns["other"].ping(plan.host)
        assert netns["other"].ping(plan.blue).error == "network unreachable"
        with pytest.raises(ConnectionRefusedError):
            get(netns["other"], plan.host)

    def test_port_forwarding(self, netns: Network, plan: Plan, serve: Serve) -> None:
        """The host's address leads to blue's server; blue's own is as unreachable."""
        server = serve(nat=[DNAT(f"{plan.url(plan.blue)}:80", port=80)])
        assert get(netns["other"], plan.host) == 200
        server.wait_for_output(rf'^(::ffff:)?{plan.other} .*"GET / HTTP/1.1" 200')
        assert netns["other"].ping(plan.blue).error == "network unreachable"
        assert netns["other"].ping(plan.host)

    @pytest.mark.netns(requires=["iptables"])
    def test_commands(self, netns: Network, plan: Plan, serve: Serve) -> None:
        """The same by iptables, which wants the protocol and the target first."""
        serve()
        append = f"{plan.iptables} -t nat -A PREROUTING"
        port, to = "--dport 80", f"--to-destination {plan.url(plan.blue)}:80"
        for wrong in (f"{port} {to} -j DNAT", f"-p tcp {port} {to} -j DNAT"):
            with pytest.raises(CommandError, match="unknown option"):
                netns["host"].run(f"{append} {wrong}")
        with pytest.raises(ConnectionRefusedError):
            get(netns["other"], plan.host)
        netns["host"].run(f"{append} -p tcp {port} -j DNAT {to}")
        assert get(netns["other"], plan.host) == 200

    def test_route_instead(self, netns: Network, plan: Plan, serve: Serve) -> None:
        """Given a route, the other machine needs no NAT to reach the server."""
        serve(other=[Route(plan.private, via=plan.host)])
        assert get(netns["other"], plan.blue) == 200
        assert netns["blue"].ping(plan.other)
