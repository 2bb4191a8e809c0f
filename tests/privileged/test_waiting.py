"""`ns.wait_listening` and `ns.wait_until`: deadlines, and what was last seen.

::

    left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    ClosedError,
    Namespace,
    Network,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
    WaitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", subnet=["10.0.0.0/24", "fd00::/64"]),
)
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that is watched."""
    return netns["left"]


class Listeners:
    """Makes sockets that listen, and keeps them until the test has ended."""

    def __init__(self) -> None:
        self.kept: list[socket.socket] = []

    def __call__(
        self,
        namespace: NetworkNamespace,
        address: str,
        port: int = 8000,
        *,
        kind: int = TCP,
        v6only: bool | None = None,
    ) -> socket.socket:
        """Return a socket that listens in a namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = namespace.socket(family, kind)
        self.kept.append(made)
        if v6only is not None:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        made.bind((address, port))
        if kind == TCP:
            made.listen()
        return made


@pytest.fixture
def listen(netns: Network) -> Listeners:
    """Give what makes sockets that listen."""
    return Listeners()


def not_listening(namespace: NetworkNamespace, port: int = 8000, **kwargs: str) -> str:
    """Wait in vain, and return what the error says."""
    with pytest.raises(WaitTimeout) as caught:
        namespace.wait_listening(port, timeout=0.03, **kwargs)
    return str(caught.value)


class TestWaitListening:
    """`ns.wait_listening`."""

    @pytest.mark.parametrize("address", ["10.0.0.1", "0.0.0.0", "fd00::1", "::", "::1"])
    @pytest.mark.parametrize(("protocol", "kind"), [("tcp", TCP), ("udp", UDP)])
    def test_any_address(
        self,
        listen: Listeners,
        left: NetworkNamespace,
        address: str,
        protocol: str,
        kind: int,
    ) -> None:
        """A listener on any address of either family is found, and no other port."""
        listen(left, address, kind=kind)
        left.wait_listening(8000, protocol=protocol)
        assert "8000" in not_listening(left, 8001, protocol=protocol)

    def test_waits(self, listen: Listeners, left: NetworkNamespace) -> None:
        """It waits for a listener that comes later."""
        start = time.monotonic()
        timer = threading.Timer(0.1, listen, (left, "10.0.0.1"))
        timer.start()
        left.wait_listening(8000, timeout=20)
        assert time.monotonic() - start >= 0.05
        timer.join()

    def test_nobody(self, listen: Listeners, left: NetworkNamespace) -> None:
        """The error names port, namespace and time, and who listens elsewhere."""
        assert "no listener at all" in not_listening(left)
        listen(left, "10.0.0.1", 8001)
        listen(left, "fd00::1", 8002)
        message = not_listening(left)
        for part in (
            "0.03 s",
            "tcp port 8000",
            "'left'",
            "10.0.0.1:8001",
            "[fd00::1]:8002",
        ):
            assert part in message

    def test_protocols_are_apart(
        self, listen: Listeners, left: NetworkNamespace
    ) -> None:
        """A TCP listener is no UDP listener, nor the other way round."""
        listen(left, "10.0.0.1", 8000, kind=TCP)
        listen(left, "10.0.0.1", 8001, kind=UDP)
        left.wait_listening(8000)
        left.wait_listening(8001, protocol="udp")
        not_listening(left, 8000, protocol="udp")
        not_listening(left, 8001, protocol="tcp")

    def test_unknown_protocol(self, left: NetworkNamespace) -> None:
        """Another protocol is an error at once."""
        with pytest.raises(ValueError, match="'sctp'"):
            left.wait_listening(8000, protocol="sctp")

    def test_namespaces_are_apart(self, listen: Listeners, netns: Network) -> None:
        """A listener counts in its own namespace only."""
        listen(netns["right"], "10.0.0.2")
        netns["right"].wait_listening(8000)
        not_listening(netns["left"])

    @pytest.mark.parametrize(
        ("address", "served", "not_served"),
        [
            ("10.0.0.1", ["10.0.0.1"], ["127.0.0.1", "fd00::1"]),
            ("0.0.0.0", ["10.0.0.1", "127.0.0.1", "0.0.0.0"], ["fd00::1", "::1"]),
            ("fd00::1", ["fd00::1", "FD00:0::1"], ["::1", "10.0.0.1"]),
            ("::", ["fd00::1", "::1", "::", "10.0.0.1"], []),
            ("::ffff:10.0.0.1", ["10.0.0.1"], ["127.0.0.1", "fd00::1"]),
        ],
    )
    def test_address(
        self,
        listen: Listeners,
        left: NetworkNamespace,
        address: str,
        served: list[str],
        not_served: list[str],
    ) -> None:
        """A listener serves its own address, or as a wildcard all of them."""
        listen(left, address, v6only=False if ":" in address else None)
        for wanted in served:
            left.wait_listening(8000, address=wanted)
        for wanted in not_served:
            assert wanted in not_listening(left, address=wanted)

    @pytest.mark.parametrize(("protocol", "kind"), [("tcp", TCP), ("udp", UDP)])
    def test_ipv6_only(
        self, listen: Listeners, left: NetworkNamespace, protocol: str, kind: int
    ) -> None:
        """A listener on IPv6 alone is found, and one on IPv4 beside it."""
        listen(left, "::", v6only=True, kind=kind)
        left.wait_listening(8000, protocol=protocol)
        left.wait_listening(8000, protocol=protocol, address="fd00::1")
        listen(left, "0.0.0.0", kind=kind)
        left.wait_listening(8000, protocol=protocol, address="10.0.0.1")

    def test_not_an_address(self, left: NetworkNamespace) -> None:
        """An address that is none is an error at once."""
        with pytest.raises(ValueError, match="left"):
            left.wait_listening(8000, address="left")

    def test_connections_do_not_count(
        self, listen: Listeners, left: NetworkNamespace
    ) -> None:
        """A socket that is bound or connected is no listener."""
        listen(left, "10.0.0.1", 8000)
        with left.socket() as client:
            client.bind(("10.0.0.1", 8001))
            not_listening(left, 8001)
            client.connect(("10.0.0.1", 8000))
            not_listening(left, 8001)
        left.wait_listening(8000)
        datagrams = listen(left, "10.0.0.1", 9000, kind=UDP)
        left.wait_listening(9000, protocol="udp")
        datagrams.connect(("10.0.0.2", 9000))
        not_listening(left, 9000, protocol="udp")

    def test_server_is_not_disturbed(
        self, listen: Listeners, left: NetworkNamespace
    ) -> None:
        """Nobody connects to the listener, nor sends it anything."""
        server = listen(left, "10.0.0.1")
        datagrams = listen(left, "10.0.0.1", kind=UDP)
        for _ in range(10):
            left.wait_listening(8000)
            left.wait_listening(8000, protocol="udp")
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
        with pytest.raises(BlockingIOError):
            datagrams.recv(100, socket.MSG_DONTWAIT)
        with left.socket() as client, left.socket(type=UDP) as sender:
            client.connect(("10.0.0.1", 8000))
            sender.sendto(b"x", ("10.0.0.1", 8000))
            server.accept()[0].close()
            assert datagrams.recv(100, socket.MSG_DONTWAIT) == b"x", (
                "it would have been seen"
            )

    def test_in_a_thread_that_is_elsewhere(
        self, listen: Listeners, netns: Network
    ) -> None:
        """It looks into its own namespace wherever its caller is."""
        listen(netns["left"], "10.0.0.1")
        with netns["right"]:
            netns["left"].wait_listening(8000)
        netns["right"].call(netns["left"].wait_listening, 8000)

    def test_closed(self, netns_manager: NetworkManager) -> None:
        """There is nothing to wait for in a closed network."""
        network = netns_manager.build(PAIR)
        network.close()
        with pytest.raises(ClosedError, match="left"):
            network["left"].wait_listening(8000)


class TestWaitUntil:
    """`ns.wait_until`."""

    def test_value(self, left: NetworkNamespace) -> None:
        """It calls until there is something true, and returns that."""
        values: Iterator[object] = iter([0, "", None, [], "there", "later"])
        assert left.wait_until(lambda: next(values)) == "there"
        assert next(values) == "later", "it has stopped to call"

    def test_at_once(self, left: NetworkNamespace) -> None:
        """It looks at least once, and first of all."""
        assert left.wait_until(lambda: 5, timeout=0) == 5

    def test_called_inside(self, left: NetworkNamespace) -> None:
        """The function is called in the namespace, on the same thread."""

        def look() -> tuple[int, int]:
            return Path("/proc/thread-self/ns/net").stat().st_ino, threading.get_ident()

        outside = look()
        assert left.wait_until(look) == (left.inode, threading.get_ident())
        assert look() == outside

    def test_assertion_is_not_yet(self, left: NetworkNamespace) -> None:
        """A failed assertion means another look, and what follows it is the value."""
        calls: list[int] = []

        def look() -> str:
            calls.append(1)
            assert len(calls) >= 3
            return "done"

        assert left.wait_until(look) == "done"
        assert len(calls) == 3

    def test_other_errors(self, left: NetworkNamespace) -> None:
        """Any other error ends the wait at once."""
        calls: list[int] = []

        def look() -> None:
            calls.append(1)
            raise OSError("broken")

        with pytest.raises(OSError, match="broken"):
            left.wait_until(look, timeout=20)
        assert len(calls) == 1

    def test_in_vain(self, left: NetworkNamespace) -> None:
        """Out of time, it says for what it waited, how long, and what was last seen."""

        def number_of_peers() -> list[int]:
            return []

        start = time.monotonic()
        with pytest.raises(WaitTimeout) as caught:
            left.wait_until(number_of_peers, timeout=0.05)
        assert time.monotonic() - start >= 0.05
        for part in ("0.05 s", "number_of_peers", "last seen: []"):
            assert part in str(caught.value)
        assert isinstance(caught.value, TimeoutError)

    def test_message(self, left: NetworkNamespace) -> None:
        """The test may say in words what it waits for."""
        with pytest.raises(
            WaitTimeout, match=r"waited 0\.01 s for the moon; last seen: None"
        ):
            left.wait_until(lambda: None, timeout=0.01, message="the moon")

    def test_last_assertion(self, left: NetworkNamespace) -> None:
        """An assertion that failed to the end is shown."""

        def look() -> None:
            found = 41
            assert found == 42, f"found {found}"

        with pytest.raises(WaitTimeout, match="found 41"):
            left.wait_until(look, timeout=0.01)

    def test_patience(self, left: NetworkNamespace) -> None:
        """It looks often at first, and never keeps a processor busy."""
        calls: list[float] = []

        def look() -> bool:
            calls.append(time.monotonic())
            return False

        with pytest.raises(WaitTimeout):
            left.wait_until(look, timeout=0.3)
        assert 5 < len(calls) < 60
