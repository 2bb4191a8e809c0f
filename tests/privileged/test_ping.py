"""`ns.ping`: echoes that are answered.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) gw (10.1.0.1, fd01::1)
                                 --- (10.1.0.2, fd01::2) right
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from pytest_netns import (
    Bridge,
    Namespace,
    Network,
    NetworkNamespace,
    Route,
    Topology,
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


class TestAnswered:
    """Echoes that come back."""

    @pytest.mark.parametrize(
        "target",
        ["10.0.0.2", "10.1.0.2", "fd00::2", "fd01::2", "127.0.0.1", "::1", "10.0.0.1"],
    )
    def test_address(self, left: NetworkNamespace, target: str) -> None:
        """An address that answers makes the result true."""
        result = left.ping(target)
        assert result
        assert (result.target, result.sent, result.received) == (target, 1, 1)
        assert result.error is None
        assert target in repr(result)

    @pytest.mark.parametrize(
        ("name", "address"), [("gw", "10.0.0.2"), ("right", "10.1.0.2")]
    )
    def test_name(self, left: NetworkNamespace, name: str, address: str) -> None:
        """A namespace's name means its address nearest to the asker."""
        result = left.ping(name)
        assert result
        assert result.target == address

    def test_own_name(self, left: NetworkNamespace) -> None:
        """A namespace can ping itself by name."""
        assert left.ping("left").target == "10.0.0.1"

    def test_name_of_the_farther_side(self, netns: Network) -> None:
        """The same name means another address to somebody on the other side."""
        assert netns["right"].ping("gw").target == "10.1.0.1"

    def test_link_local(self, netns: Network) -> None:
        """An address with a zone means the interface of the namespace that asks."""
        (address,) = (
            one.ip
            for one in netns["gw"].interface("west").addresses
            if one.ip.is_link_local
        )
        assert netns["left"].ping(f"{address}%eth0")
        assert netns["left"].ping(f"{address}%eth9").error == "no such device"

    def test_by_a_router_that_knows_better(self, netns: Network) -> None:
        """A redirect is advice: the echo was forwarded, and is answered.

        ::

            a (10.2.0.1) --- br0 --- (10.2.0.2) b
                              +----- (10.2.0.3) c
        """
        netns.add(
            Namespace("a", routes=[Route("10.2.0.2/32", via="10.2.0.3")]),
            Namespace("b"),
            Namespace("c", forwarding=True),
            Bridge("br0", subnet="10.2.0.0/24"),
            *(Veth(name, "br0") for name in "abc"),
        )
        with netns["a"].socket(type=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP) as raw:
            for _ in range(20):
                result = netns["a"].ping("10.2.0.2", count=3, interval=0.001)
                assert result, result.error
                netns["a"].run("ip route flush cache")
            kinds: set[int] = set()
            while len(kinds) < 2:
                kinds.add(raw.recv(2048, socket.MSG_DONTWAIT)[20])
        assert kinds == {0, 5}, "there were answers, and redirects"

    def test_round_trip_times(self, left: NetworkNamespace) -> None:
        """There is a time for each echo, in seconds, shorter than all of it took."""
        start = time.monotonic()
        result = left.ping("10.0.0.2", count=5, interval=0.001)
        took = time.monotonic() - start
        assert len(result.rtts) == result.sent == result.received == 5
        assert all(0 < rtt < took for rtt in result.rtts)
        assert "ms" in repr(result)

    def test_interval(self, left: NetworkNamespace) -> None:
        """Echoes leave one interval apart, and the first at once."""
        start = time.monotonic()
        assert left.ping("10.0.0.2", count=4, interval=0.05)
        assert time.monotonic() - start >= 0.15
        start = time.monotonic()
        assert left.ping("10.0.0.2", interval=600)
        assert time.monotonic() - start < 60

    def test_no_interval(self, left: NetworkNamespace) -> None:
        """Many echoes may leave at once, and each is told from the others."""
        result = left.ping("10.0.0.2", count=100, interval=0)
        assert result, result.error
        assert len(result.rtts) == 100

    def test_needs_no_program(
        self, left: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It works where nothing is installed."""
        monkeypatch.setenv("PATH", "")
        assert left.ping("10.0.0.2")
        assert not left.pids()

    def test_many_threads(self, netns: Network) -> None:
        """Pings side by side get their own answers."""
        together = threading.Barrier(10)

        def ask(number: int) -> bool:
            together.wait(10)
            namespace, target = [("left", "right"), ("right", "left"), ("gw", "left")][
                number % 3
            ]
            return bool(netns[namespace].ping(target, count=5, interval=0.001))

        tasks = [netns["gw"].spawn(ask, number) for number in range(10)]
        assert all(task.result(20) for task in tasks)

    def test_in_a_running_loop(self, left: NetworkNamespace) -> None:
        """It works in a coroutine."""

        async def main() -> bool:
            return bool(left.ping("10.0.0.2"))

        assert asyncio.run(main())

    def test_leaves_no_descriptors(self, left: NetworkNamespace) -> None:
        """Neither answered nor unanswered pings leave a descriptor."""
        left.ping("10.0.0.2")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for target in ("10.0.0.2", "10.9.9.9", "fd09::9"):
            left.ping(target, timeout=0.01)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
