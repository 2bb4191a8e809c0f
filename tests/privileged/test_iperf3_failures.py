"""`netns_iperf3`: what goes wrong, and what is said of it.

::

    client (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) server
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    BenchmarkError,
    BenchmarkTimeout,
    MissingTool,
    Namespace,
    Topology,
    Veth,
    _agent,
)
from pytest_netns._agent import Agent

if TYPE_CHECKING:
    from pytest_netns import Network, NetworkNamespace
    from pytest_netns.iperf3_flows import Iperf3

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("client"),
        Namespace("server"),
        Veth("client", "server", subnet=["10.0.0.0/24", "fd00::/64"]),
    )
)

#: What 3.9 says of all that goes wrong before data flow: its cleaning up fails as well.
OF_3_9 = "unable to send control message"


@pytest.fixture
def client(netns: Network) -> NetworkNamespace:
    """Give the namespace that asks."""
    return netns["client"]


@pytest.fixture
def server(netns: Network) -> NetworkNamespace:
    """Give the namespace that serves."""
    return netns["server"]


def test_a_port_in_use(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A server that cannot listen says so, and why."""
    with server.socket() as other:
        other.bind(("10.0.0.2", 7000))
        other.listen()
        with pytest.raises(
            BenchmarkError,
            match=r"iperf3_server in namespace 'server' failed: unable to start "
            r"listener.*Address already in use",
        ):
            netns_iperf3(client, server, port=7000)


def test_nobody_listens(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A client that is refused says so, and its server does not wait any longer."""
    with pytest.raises(
        BenchmarkError,
        match=r"iperf3_client in namespace 'client' failed: unable to connect to server"
        rf".*Connection refused|{OF_3_9}",
    ) as caught:
        netns_iperf3(client, server, through=("10.0.0.2", 9))
    assert "iperf3_server" not in str(caught.value)  # it knows nothing


def test_no_way(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A client that has no route says so."""
    with pytest.raises(BenchmarkError, match=f"Network is unreachable|{OF_3_9}"):
        netns_iperf3(client, server, through=("192.0.2.1", 9))


def test_nobody_answers(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A client does not wait for ever for an answer."""
    server.nft(
        "table inet t { chain input { type filter hook input priority 0\n"
        " tcp dport 7000 drop\n }\n }\n"
    )
    with pytest.raises(BenchmarkError, match=rf"unable to connect.*timed out|{OF_3_9}"):
        netns_iperf3(client, server, port=7000, timeout=1.0)


def test_a_server_that_is_busy(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A client that meets a server of somebody else's flow says so."""
    with netns_iperf3.start(client, server, duration=30, rate="1mbit") as flow:
        server.wait_until(
            lambda: server.interface("eth0").statistics.rx_bytes > 100_000
        )
        with pytest.raises(BenchmarkError, match=f"the server is busy|{OF_3_9}"):
            netns_iperf3(client, server, through=("10.0.0.2", flow.port))


def test_no_time(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A run that takes longer than it may is ended."""
    begun = time.monotonic()
    with pytest.raises(BenchmarkTimeout, match="was not done within") as caught:
        netns_iperf3(client, server, duration=60, rate="1mbit", timeout=0.5)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - begun < 30
    assert netns_iperf3(client, server, duration=0.1).bytes


def test_waiting_for_a_part_of_the_time(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """Whoever asks a flow for its result may be in more of a hurry than the flow."""
    flow = netns_iperf3.start(client, server, duration=60, rate="1mbit")
    with pytest.raises(BenchmarkTimeout):
        flow.result(timeout=0.1)
    with pytest.raises(BenchmarkTimeout):
        flow.result()


@pytest.mark.parametrize("victim", ["client", "server"])
def test_a_process_that_ends(netns: Network, netns_iperf3: Iperf3, victim: str) -> None:
    """The library may end its process: then that is what is said, and soon."""
    flow = netns_iperf3.start(
        netns["client"], netns["server"], duration=60, rate="1mbit"
    )
    netns["server"].wait_until(
        lambda: netns["server"].interface("eth0").statistics.rx_bytes > 100_000
    )
    os.kill(_order(netns[victim]), signal.SIGKILL)
    with pytest.raises(BenchmarkError) as caught:
        flow.result()
    assert not isinstance(caught.value, BenchmarkTimeout)
    assert f"iperf3_{victim} in namespace '{victim}' has ended (-9)" in str(
        caught.value
    )


def _order(namespace: NetworkNamespace) -> int:
    """Return the process that carries out an order in a namespace."""
    pids = namespace.pids()
    (order,) = [pid for pid in pids if _parent(pid) in pids]
    return order


def _parent(pid: int) -> int:
    """Return the parent of a process (proc_pid_stat(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[1])


def test_a_link_that_goes_down(
    netns_iperf3: Iperf3, client: NetworkNamespace, server: NetworkNamespace
) -> None:
    """A run whose path breaks ends at its limit."""
    flow = netns_iperf3.start(client, server, duration=0.7, timeout=1.5)
    server.wait_until(lambda: server.interface("eth0").statistics.rx_bytes > 100_000)
    client.interface("eth0").set_down()
    with pytest.raises(BenchmarkTimeout):
        flow.result()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"duration": 0}, ValueError, "duration must be 0.01 to 86400, not 0"),
        ({"duration": -1}, ValueError, "duration"),
        ({"duration": "2"}, TypeError, "duration must be a number, not '2'"),
        ({"duration": float("nan")}, ValueError, "duration"),
        (
            {"protocol": "sctp"},
            ValueError,
            "protocol 'sctp' is neither 'tcp' nor 'udp'",
        ),
        ({"parallel": 0}, ValueError, "parallel must be 1 to 128, not 0"),
        ({"parallel": 1.5}, TypeError, "parallel must be a whole number"),
        ({"parallel": True}, TypeError, "parallel must be a whole number"),
        ({"reverse": 1}, TypeError, "reverse must be a truth value, not 1"),
        ({"rate": 0}, ValueError, "rate must be above 0"),
        ({"rate": "10 apples"}, ValueError, "rate '10 apples' is not like '10mbit'"),
        ({"rate": []}, TypeError, "rate must be a number or a string"),
        ({"omit": -1}, ValueError, "omit must be 0 to 60"),
        ({"omit": 0.5}, TypeError, "omit must be a whole number"),
        ({"interval": 0.01}, ValueError, "interval must be 0.1 to 60"),
        ({"port": 0}, ValueError, "port must be 1 to 65535"),
        ({"port": "http"}, TypeError, "port must be a whole number"),
        ({"family": 5}, ValueError, "family must be 4 or 6"),
        (
            {"through": "10.0.0.2:80"},
            TypeError,
            "through must be an address and a port",
        ),
        ({"through": ("10.0.0.2", 0)}, ValueError, "the port of through must be 1"),
        ({"timeout": 0}, ValueError, "timeout must be above 0"),
        ({"timeout": "1"}, TypeError, "timeout must be a number"),
        ({"server": "server"}, TypeError, "server must be a namespace, not 'server'"),
        ({"client": None}, TypeError, "client must be a namespace, not None"),
        ({"speed": 1}, TypeError, "speed"),
    ],
)
def test_bad_arguments(
    netns: Network,
    netns_iperf3: Iperf3,
    arguments: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    """A bad argument is an error before anything is started."""
    good = {"client": netns["client"], "server": netns["server"]}
    with pytest.raises(kind, match=message):
        netns_iperf3(**(good | arguments))
    assert netns["client"].processes == netns["server"].processes == []


def test_libiperf_is_missing(client: NetworkNamespace) -> None:
    """Where there is no libiperf, it says how to get it, also when asked again."""
    arguments = {"ports": [7000], "interval": 1.0, "library": "libiperf.so.none"}
    with Agent(client) as agent:
        for _ in range(2):
            with pytest.raises(
                MissingTool, match="apt-get install libiperf0"
            ) as caught:
                agent.carry_out("iperf3_server", 10.0, **arguments)
            assert "libiperf.so.none" in str(caught.value)


def test_another_library(client: NetworkNamespace) -> None:
    """A library that is not libiperf is an error that says which function it lacks."""
    arguments = {"ports": [7000], "interval": 1.0, "library": "libc.so.6"}
    with (
        Agent(client) as agent,
        pytest.raises(BenchmarkError, match=r"libc\.so\.6 is not libiperf: .*iperf_"),
    ):
        agent.carry_out("iperf3_server", 10.0, **arguments)


def test_the_wrapper_is_missing(
    client: NetworkNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package iperf3 is not installed, it says so, also when asked again."""
    package = Path(_agent.__file__).parent
    (tmp_path / package.name).symlink_to(package)
    monkeypatch.setattr(_agent, "__file__", str(tmp_path / package.name / "_agent.py"))
    monkeypatch.setattr(sys, "path", [])
    with Agent(client) as agent:
        for _ in range(2):
            with pytest.raises(MissingTool, match="pip install iperf3"):
                agent.carry_out("iperf3_server", 10.0, ports=[7000], interval=1.0)
