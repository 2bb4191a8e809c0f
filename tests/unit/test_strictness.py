"""Declarations that would be understood differently from what they say are refused."""

from __future__ import annotations

import pytest

from pytest_netns import (
    Bridge,
    DuplicateName,
    InvalidAddress,
    Namespace,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from pytest_netns._plan import plan
from pytest_netns._steps import AwaitAddress


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Namespace("a", forwarding="no"), "forwarding='no'"),  # type: ignore[arg-type]
        (lambda: Bridge("a", stp=1), "stp=1"),  # type: ignore[arg-type]
        (lambda: Bridge("a", vlan_filtering=None), "vlan_filtering=None"),  # type: ignore[arg-type]
        (lambda: Veth("a", "b", offload="off"), "offload='off'"),  # type: ignore[arg-type]
    ],
)
def test_flags_are_booleans(make: object, field: str) -> None:
    """A word such as "no" is not taken for true."""
    assert callable(make)
    with pytest.raises(TopologyError, match=f"{field} is neither True nor False"):
        make()


@pytest.mark.parametrize("other", ["0.0.0.0/0", "default"])
@pytest.mark.parametrize("table", [None, 254])
def test_two_ways_to_say_default(other: str, table: int | None) -> None:
    """Two default routes in one table are one too many, however they are written."""
    routes = [
        Route("default", via="10.0.0.2"),
        Route(other, via="10.0.0.3", table=table),
    ]
    with pytest.raises(DuplicateName, match="two records for one thing"):
        Topology(
            Namespace("a", routes=routes),
            Namespace("b"),
            Veth("a", "b", address="10.0.0.1/24"),
        )


def test_default_routes_of_both_families() -> None:
    """One default route for IPv4 and one for IPv6 are two things."""
    routes = [Route("default", via="10.0.0.2"), Route("default", via="fd00::2")]
    topology = Topology(
        Namespace("a", routes=routes),
        Namespace("b"),
        Veth("a", "b", address=["10.0.0.1/24", "fd00::1/64"]),
    )
    assert len(topology) == 3


def test_a_subnet_that_nobody_can_have() -> None:
    """A cable between two bridges has no end for an address."""
    with pytest.raises(InvalidAddress, match="no end that takes an address"):
        Topology(Bridge("x"), Bridge("y"), Veth("x", "y", subnet="10.0.0.0/24"))


def test_ports_between_bridges() -> None:
    """Each of the two ports is named after where it leads to."""
    layout = Topology(Bridge("x"), Bridge("y"), Veth("x", "y")).layout
    (cable,) = layout.cables
    assert (cable.a.endpoint, cable.b.endpoint) == ("x:y-x", "y:x-y")


@pytest.mark.parametrize(
    ("sysctls", "awaited"),
    [
        ({}, {"fd00::1"}),
        ({"net.ipv6.conf.all.disable_ipv6": 0}, {"fd00::1"}),
        ({"net.ipv6.conf.eth0.disable_ipv6": 1}, set()),
        ({"net.ipv6.conf.lo.disable_ipv6": 1}, {"fd00::1"}),
        ({"net.ipv6.conf.all.disable_ipv6": 1}, set()),
    ],
)
def test_no_wait_for_what_never_comes(
    sysctls: dict[str, int], awaited: set[str]
) -> None:
    """Addresses are not awaited where a sysctl takes IPv6 away."""
    topology = Topology(
        Namespace("a", sysctls=sysctls),
        Namespace("b"),
        Veth("a:eth0", "b:eth0", address="fd00::1/64"),
    )
    steps = [step for step in plan(topology.layout) if isinstance(step, AwaitAddress)]
    assert {step.address for step in steps if step.place == "a"} == awaited
