"""What is valid is built, and the kernel has what was declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_netns import Bridge, Namespace, Neighbour, NetworkManager, Topology, Veth
from tests.inputs import building, whole
from tests.inputs.any_topologies import topologies
from tests.inputs.any_values import tried
from tests.inputs.kernel_state import declared, differences, found

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many topologies are built here; `tests/reliability` builds thousands.
SAMPLE = 20
NEIGHBOURS = [
    Neighbour("10.55.0.1", "02:00:00:00:00:09", dev="br0"),
    Neighbour("fd55::1", "02:00:00:00:00:09", dev="br0"),
]


@pytest.fixture
def built() -> Iterator[building.Building]:
    """Give what builds and compares, with a manager of its own."""
    with NetworkManager() as manager:
        yield building.Building(manager)


def test_what_is_declared_is_there(built: building.Building) -> None:
    """Names, kinds, MTUs, addresses, tables, rules, sysctls and files read back."""
    tried(topologies, built.check_whole, SAMPLE)


def test_the_rest_can_be_added(built: building.Building) -> None:
    """A network that is built in two parts is that of the whole."""
    tried(whole.cut, built.check_parts, SAMPLE)


def test_what_the_kernel_refuses_is_taken_back(built: building.Building) -> None:
    """An error shows the record that asked for it, and no namespace is left."""
    tried(building.refused, built.check_refused, SAMPLE)


@pytest.mark.parametrize("namespace", [None, "a"])
@pytest.mark.parametrize("mtu", [68, 1280, 1500, 9000, 65535])
def test_a_bridge_keeps_its_mtu(
    built: building.Building, namespace: str | None, mtu: int
) -> None:
    """Ports that come with another one, at once or later, do not change it."""
    records = [
        *(Namespace("a"), Namespace("b"), Bridge("br0", namespace=namespace, mtu=mtu)),
        *(Veth("b", "br0", mtu=9000), Veth("b", "br0", mtu=1400), Veth("b", "br0")),
    ]
    for at in (3, 4, 6):
        built.check_parts((Topology(*records), at))


@pytest.mark.parametrize("at", [3, 4, 5])
def test_neighbours_of_a_bridge_stay(built: building.Building, at: int) -> None:
    """A port whose MAC address the bridge takes over does not cost its entries."""
    records = [
        *(Namespace("a", neighbours=NEIGHBOURS), Namespace("b")),
        Bridge("br0", namespace="a"),
        Veth("br0", "b", lladdr="02:00:00:00:00:02"),
        Veth("br0", "b", lladdr="00:00:00:00:00:01"),
    ]
    built.check_parts((Topology(*records), at))


def test_a_difference_is_seen() -> None:
    """What is changed behind the back of a network is no longer as declared."""
    topology = Topology(
        Namespace("a", hosts={"x": "10.9.9.9"}, forwarding=True),
        Namespace("b"),
        Bridge("br0", namespace="a"),
        Veth("a:eth0", "b:eth0", address="10.0.0.1/24", offload=False),
    )
    changes = {
        "ip link set eth0 mtu 1400": "/links/eth0/mtu",
        "ip address add 10.0.0.9/24 dev eth0": "/addresses/eth0",
        "ip route add 10.1.0.0/24 dev eth0": "/routes",
        "ip link add eth9 type bridge": "/links/eth9",
        "ip link set br0 type bridge stp_state 1": "/bridges/br0/stp",
        "ethtool -K eth0 tx on": "/no offload",
        "ip neigh add 10.0.0.5 lladdr 02:00:00:00:00:01 dev eth0": "/neighbours",
        "nft add table ip x": "/tables",
        "sysctl -qw net.ipv4.ip_forward=0": "/forwarding",
        "ip link set eth0 down": "/links/eth0/up",
    }
    with NetworkManager() as manager, manager.build(topology) as network:
        assert differences(declared(topology), found(network)) == []
        for command, place in changes.items():
            network["a"].run(command)
            lines = differences(declared(topology), found(network))
            assert any(line.startswith(f"/namespaces/a{place}") for line in lines)
