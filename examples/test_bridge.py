"""Two machines on a bridge, and a web server that one visits at the other.

br0
├── ns1:vethX  10.1.0.1/24
└── ns2:vethP  10.1.0.2/24
"""

from __future__ import annotations

import http.client
import sys

import pytest

from pytest_netns import Bridge, Namespace, Network, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("ns1"),
        Namespace("ns2"),
        Bridge("br0"),
        Veth("ns1:vethX", "br0:vethY", address="10.1.0.1/24"),
        Veth("ns2:vethP", "br0:vethQ", address="10.1.0.2/24"),
    )
)


def test_the_ends_of_the_cables(netns: Network) -> None:
    """Each machine has one end; the other is a port of the bridge."""
    assert netns["ns1"].run("ip -brief link show vethX").stdout.startswith("vethX@")
    assert netns.link("br0:vethY").is_up
    assert netns["ns1"].ping("ns2")


def test_a_web_server(netns: Network) -> None:
    """A program serves in one namespace, a Python function asks from the other."""
    server = netns["ns2"].popen([sys.executable, "-m", "http.server", "80"])
    server.wait_listening(80)

    def fetch() -> int:
        connection = http.client.HTTPConnection("ns2", timeout=5)
        connection.request("GET", "/")
        return connection.getresponse().status

    assert netns["ns1"].call(fetch) == 200
    assert '"GET / HTTP/1.1" 200' in server.wait_for_output("GET").string
