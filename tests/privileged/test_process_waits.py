"""`Process`: waiting for what a background process says and serves.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import re
import socket
import sys
import time

import pytest

from pytest_netns import (
    Namespace,
    Network,
    NetworkNamespace,
    ProcessEnded,
    Topology,
    Veth,
    WaitTimeout,
)

PAIR = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)
LONG = "600"
SERVER = """
import socket, sys, time
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
time.sleep(0.05)
server = socket.socket(type=kind)
server.bind(("", int(sys.argv[2])))
if kind == socket.SOCK_STREAM:
    server.listen()
    print("accepted", server.accept()[1][0], flush=True)
else:
    print("received", *server.recvfrom(100), flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.netns(PAIR)


@pytest.fixture
def left(netns: Network) -> NetworkNamespace:
    """Give the namespace that the processes run in."""
    return netns["left"]


def shell(script: str) -> list[str]:
    """Return a command that runs a script."""
    return ["sh", "-c", script]


def test_wait_for_output(left: NetworkNamespace) -> None:
    """It waits for a match, and returns it; lines have beginnings and ends."""
    process = left.popen(
        shell("echo starting; sleep 0.05; echo listening on 8080; sleep 600")
    )
    match = process.wait_for_output(r"^listening on (\d+)$")
    assert isinstance(match, re.Match)
    assert match[1] == "8080"
    assert process.wait_for_output("starting", timeout=0)[0] == "starting"


def test_wait_for_output_in_vain(left: NetworkNamespace) -> None:
    """Out of time, it shows what it waited for and all that was said."""
    process = left.popen(shell("echo something else; sleep 600"), name="talker")
    process.wait_for_output("else")
    start = time.monotonic()
    with pytest.raises(
        WaitTimeout, match=r"0\.1 s.*'ready'.*'talker'.*'left'"
    ) as caught:
        process.wait_for_output("ready", timeout=0.1)
    assert time.monotonic() - start >= 0.1
    assert "something else" in str(caught.value)


def test_wait_for_output_of_the_silent(left: NetworkNamespace) -> None:
    """Out of time, it says that there was no output."""
    process = left.popen(["sleep", LONG])
    with pytest.raises(WaitTimeout, match="no output"):
        process.wait_for_output("ready", timeout=0.05)


def test_wait_for_output_of_the_dead(left: NetworkNamespace) -> None:
    """It does not wait for the words of a process that has ended."""
    process = left.popen(shell("sleep 0.05; echo no way; exit 4"), expect_exit=True)
    start = time.monotonic()
    with pytest.raises(ProcessEnded, match="exit code 4") as caught:
        process.wait_for_output("ready", timeout=60)
    assert time.monotonic() - start < 30
    assert "no way" in str(caught.value)


def test_last_words_count(left: NetworkNamespace) -> None:
    """What it said just before it ended is a match all the same."""
    for _ in range(20):
        process = left.popen("echo ready", expect_exit=True)
        assert process.wait_for_output("ready")[0] == "ready"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_wait_listening(netns: Network, protocol: str) -> None:
    """It waits for a server, and the first that the server hears of is the client."""
    server = netns["left"].popen([sys.executable, "-c", SERVER, protocol, "8000"])
    server.wait_listening(8000, protocol, timeout=20)
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with netns["right"].socket(type=kind) as client:
        client.connect(("10.0.0.1", 8000))
        client.send(b"x")
        server.wait_for_output(r"10\.0\.0\.2", timeout=20)
    assert len(server.output.splitlines()) == 1


def test_wait_listening_in_vain(left: NetworkNamespace) -> None:
    """Out of time, it says which port of which namespace."""
    process = left.popen(["sleep", LONG])
    with pytest.raises(WaitTimeout, match=r"tcp port 8000.*'left'"):
        process.wait_listening(8000, timeout=0.05)


def test_wait_listening_for_the_dead(left: NetworkNamespace) -> None:
    """It does not wait for a server that has ended, and shows why it did."""
    process = left.popen(
        shell("sleep 0.05; echo cannot bind; exit 1"), expect_exit=True
    )
    start = time.monotonic()
    with pytest.raises(ProcessEnded, match="exit code 1") as caught:
        process.wait_listening(8000, timeout=60)
    assert time.monotonic() - start < 30
    assert "cannot bind" in str(caught.value)
