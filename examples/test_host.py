"""The test itself is a machine: it talks to a server in a network without entering it.

host 198.51.100.1, 2001:db8:5::1  ───  198.51.100.2, 2001:db8:5::2  server

While a test runs, the machine that it runs on has one interface more. Networks that
it has a route to are refused; these are kept free for documentation.
"""

from __future__ import annotations

import sys
from urllib.request import urlopen

import pytest

from pytest_netns import Host, Namespace, Network, NetworkNamespace, Topology, Veth

REACHABLE = Topology(
    Host(),
    Namespace("server"),
    Veth("host", "server", subnet=["198.51.100.0/24", "2001:db8:5::/64"]),
)
pytestmark = pytest.mark.netns(REACHABLE)


@pytest.fixture
def server(netns: Network) -> NetworkNamespace:
    """Give a machine with a web server on port 80, of IPv4 and IPv6."""
    web = [sys.executable, "-m", "http.server", "--bind", "::", "80"]
    netns["server"].popen(web).wait_listening(80)
    return netns["server"]


def test_a_client_that_knows_nothing_of_networks(server: NetworkNamespace) -> None:
    """Clients, browsers and debuggers of the machine reach what is in the network."""
    assert urlopen(f"http://{server.ip}/").status == 200
    assert urlopen(f"http://[{server.ip6}]/").status == 200


def test_the_way_back(netns: Network, server: NetworkNamespace) -> None:
    """The network finds the test under the name of its record."""
    assert server.ping("host")
    assert netns["host"].ping("server")


def test_programs_of_the_machine(netns: Network) -> None:
    """What is started at home sees all of the machine, and ends with the test."""
    assert "server-eth0" in netns["host"].run("ip link").stdout
    process = netns["host"].popen(["sleep", "600"])
    assert netns["host"].pids() == [process.pid]
