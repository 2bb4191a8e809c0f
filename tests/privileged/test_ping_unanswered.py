"""`ns.ping`: echoes that are not answered, and why.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                 --- (10.1.0.2, fd01::2) right
"""

from __future__ import annotations

import ipaddress
import time

import pytest

from pytest_netns import (
    ClosedError,
    InvalidAddress,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Route,
    Topology,
    UnknownName,
    Veth,
)

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
    """Give the namespace that asks."""
    return netns["left"]


def reject(router: NetworkNamespace, family: str, reason: str) -> None:
    """Have a router answer for what it does not forward; proved by its counter."""
    router.run(
        "nft -f -",
        input=f"""table {family} filter {{
            chain forward {{
                type filter hook forward priority 0
                counter reject with {reason}
            }}
        }}""",
    )


def quick_to_give_up(namespace: NetworkNamespace) -> None:
    """Have a namespace look for a neighbour once, and for a short time."""
    for family in ("ipv4", "ipv6"):
        prefix = f"net.{family}.neigh.eth0"
        namespace.sysctl[f"{prefix}.mcast_solicit"] = "1"
        namespace.sysctl[f"{prefix}.retrans_time_ms"] = "50"


class TestUnanswered:
    """Echoes that do not come back; none of them raises."""

    @pytest.mark.parametrize("target", ["10.9.9.9", "fd09::9"])
    def test_no_route(self, left: NetworkNamespace, target: str) -> None:
        """Without a route it says so at once."""
        start = time.monotonic()
        result = left.ping(target, timeout=60)
        assert time.monotonic() - start < 30
        assert not result
        assert (result.sent, result.received, result.rtts) == (1, 0, ())
        assert result.error == "network unreachable"
        assert "network unreachable" in repr(result)

    @pytest.mark.parametrize("target", ["10.9.9.9", "fd09::9"])
    def test_no_route_at_a_router(self, netns: Network, target: str) -> None:
        """A router without a route says so, and is named."""
        router = ipaddress.ip_address("10.1.0.1" if "." in target else "fd01::1")
        error = netns["right"].ping(target, timeout=10).error
        assert error is not None
        assert error.endswith(f", says {router}")
        assert "unreachable" in error or "no route" in error

    @pytest.mark.parametrize("target", ["10.1.0.2", "fd01::2"])
    def test_silent(self, netns: Network, left: NetworkNamespace, target: str) -> None:
        """A target that takes the echo without a word gave no answer."""
        assert left.ping(target)
        netns["right"].run(
            "nft -f -",
            input="""table inet filter { chain input {
                type filter hook input priority 0
                icmp type echo-request drop
                icmpv6 type echo-request drop
            }
            }""",
        )
        result = left.ping(target, timeout=0.1)
        assert not result
        assert result.error == f"no answer from {target} within 0.1 s"

    @pytest.mark.parametrize("target", ["10.0.0.77", "fd00::77"])
    def test_nobody_there(self, left: NetworkNamespace, target: str) -> None:
        """An address that nobody has gave no answer, be it waited for or not."""
        error = left.ping(target, timeout=0.01).error
        assert error is not None
        assert error.startswith(f"no answer from {target}")
        quick_to_give_up(left)
        start = time.monotonic()
        error = left.ping(target, timeout=60).error
        assert time.monotonic() - start < 30, "the kernel has given up"
        assert error == f"no answer from {target}: no neighbour has that address"

    @pytest.mark.parametrize(
        ("target", "family", "reason", "router"),
        [
            ("10.1.0.2", "ip", "icmp type admin-prohibited", "10.0.0.2"),
            ("10.1.0.2", "ip", "icmp type host-prohibited", "10.0.0.2"),
            ("10.1.0.2", "ip", "icmp type net-prohibited", "10.0.0.2"),
            ("fd01::2", "ip6", "icmpv6 type admin-prohibited", "fd00::2"),
        ],
    )
    def test_prohibited(
        self, netns: Network, target: str, family: str, reason: str, router: str
    ) -> None:
        """A filter that says so is named with its address, without waiting."""
        assert netns["left"].ping(target)
        reject(netns["gw"], family, reason)
        start = time.monotonic()
        result = netns["left"].ping(target, count=3, interval=0.01, timeout=60)
        assert time.monotonic() - start < 30
        assert result.received == 0
        assert result.error == f"administratively prohibited by {router}"
        assert "packets 3 " in netns["gw"].run("nft list ruleset").stdout

    @pytest.mark.parametrize(
        ("target", "family", "reason", "expected"),
        [
            (
                "10.1.0.2",
                "ip",
                "icmp type host-unreachable",
                "host unreachable, says 10.0.0.2",
            ),
            (
                "10.1.0.2",
                "ip",
                "icmp type port-unreachable",
                "port unreachable, says 10.0.0.2",
            ),
            ("fd01::2", "ip6", "icmpv6 type no-route", "no route, says fd00::2"),
        ],
    )
    def test_rejected(
        self, netns: Network, target: str, family: str, reason: str, expected: str
    ) -> None:
        """Other reasons of a router are told in words, too."""
        reject(netns["gw"], family, reason)
        assert netns["left"].ping(target, timeout=10).error == expected

    def test_prohibited_by_own_filter(self, netns: Network) -> None:
        """A filter of the asking namespace itself is told from those on the way."""
        netns["left"].run(
            "nft -f -",
            input="""table ip filter { chain output {
                type filter hook output priority 0
                meta l4proto icmp drop
            }
            }""",
        )
        error = netns["left"].ping("10.1.0.2", timeout=0.1).error
        assert error == "prohibited by a filter of this namespace"

    @pytest.mark.parametrize(
        ("target", "prefix", "west", "east"),
        [
            ("10.9.9.9", "10.9.9.0/24", "10.0.0.1", "10.0.0.2"),
            ("fd09::9", "fd09::/64", "fd00::1", "fd00::2"),
        ],
    )
    def test_route_loop(
        self, netns: Network, target: str, prefix: str, west: str, east: str
    ) -> None:
        """Of two routers that send an echo back and forth, one says that it is lost."""
        netns["left"].sysctl["net.ipv4.ip_forward"] = "1"
        netns["left"].sysctl["net.ipv6.conf.all.forwarding"] = "1"
        netns["left"].run(f"ip route add {prefix} via {east}")
        netns["gw"].run(f"ip route add {prefix} via {west}")
        error = str(netns["right"].ping(target, timeout=10).error)
        assert error.startswith("time exceeded at ")
        assert error.rsplit(maxsplit=1)[-1] in {west, east, "10.1.0.1", "fd01::1"}

    @pytest.mark.parametrize("target", ["10.0.0.2", "fd00::2"])
    def test_link_down(self, netns: Network, target: str) -> None:
        """With either end of the cable down there is no answer, and no exception."""
        netns.link("gw:west").set_down()
        assert not netns["left"].ping(target, timeout=0.05)
        netns.link("left:eth0").set_down()
        assert netns["left"].ping(target, timeout=0.05).error == "network unreachable"

    def test_some_answered(self, netns: Network) -> None:
        """The result counts what came back, and says why the rest did not."""
        netns["gw"].run(
            "nft -f -",
            input="""table ip filter { chain input {
                type filter hook input priority 0
                icmp type echo-request numgen inc mod 2 0 drop
            }
            }""",
        )
        result = netns["left"].ping("10.0.0.2", count=4, interval=0.01, timeout=0.1)
        assert not result
        assert (result.sent, result.received, len(result.rtts)) == (4, 2, 2)
        assert "no answer from 10.0.0.2" in str(result.error)
        assert "2 of 4" in repr(result)

    def test_unknown_name(self, left: NetworkNamespace) -> None:
        """A name that nobody has is an error of the test, with the nearest name."""
        with pytest.raises(
            UnknownName, match=r"'rihgt'.*'gw', 'left', 'right'.*'right'\?"
        ):
            left.ping("rihgt")

    def test_name_without_address(self, netns: Network) -> None:
        """A namespace without an address cannot be pinged by name."""
        netns.add(Namespace("lonely"))
        with pytest.raises(InvalidAddress, match="'lonely'"):
            netns["left"].ping("lonely")

    def test_closed(self, netns_manager: NetworkManager) -> None:
        """Nobody pings in a closed network."""
        network = netns_manager.build(ROUTED)
        network.close()
        with pytest.raises(ClosedError, match="left"):
            network["left"].ping("10.0.0.2")
