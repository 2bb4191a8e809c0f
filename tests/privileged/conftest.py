"""A machine for tests whose test process is itself a machine of the network.

Tests never touch the network of the machine that they run on. So a namespace stands
for it, with an uplink as any machine has one, and pytest is run inside::

    machine  up.0 203.0.113.1, 2001:db8::1 ─── 203.0.113.254, 2001:db8::fe eth0  world
"""

from __future__ import annotations

import os
import re
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import Namespace, Network, NetworkNamespace, Route, Topology, Veth

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

    from pytest_netns import Process

OUTSIDE = Topology(
    Namespace(
        "machine",
        routes=[
            Route("default", via="203.0.113.254"),
            Route("default", via="2001:db8::fe"),
        ],
    ),
    Namespace("world"),
    Veth(
        "machine:up.0",  # a dot, as in the name of a VLAN
        "world:eth0",
        address=["203.0.113.1/24", "2001:db8::1/64"],
        peer_address=["203.0.113.254/24", "2001:db8::fe/64"],
    ),
)

#: How pytest is run inside: warnings are errors, no other plugin has a say.
PYTEST = (
    *(sys.executable, "-m", "pytest", "-W", "error", "--strict-markers"),
    *("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:hypothesispytest"),
    *("-p", "no:anyio", "-p", "no:pytest_cov", "-p", "no:randomly"),
    *("-p", "no:rerunfailures", "-p", "no:timeout"),
    *("--netns-require", "--tb=short"),
)

#: What the inner test files may use without importing it.
PREAMBLE = """\
import os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from urllib.request import urlopen
import pytest
from pytest_netns import *

CABLE = Topology(
    Host(),
    Namespace("server"),
    Veth("host", "server",
         address=["10.5.0.1/24", "fd05::1/64"],
         peer_address=["10.5.0.2/24", "fd05::2/64"]),
)
SHARED = Topology(
    Host(share_connection=True),
    Namespace("red", routes=[Route("default", via="10.5.0.1"),
                             Route("default", via="fd05::1")]),
    Veth("host", "red", subnet=["10.5.0.0/24", "fd05::/64"]),
)

def run(command):
    return subprocess.run(command.split(), check=True, text=True,
                          stdout=subprocess.PIPE).stdout

def await_file(name):
    deadline = time.monotonic() + 30
    while not Path(name).exists():
        assert time.monotonic() < deadline, f"still waiting for {name}"
        time.sleep(0.005)

"""

_LOOK = (
    "ip -details link",
    "ip address",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "ip -6 rule",
    "ip neigh show nud permanent",
    "ip -oneline maddress",
    "tc qdisc",
    "nft list ruleset",
)
_EVERY_FEATURE = """
table inet modules {
    chain postrouting {
        type nat hook postrouting priority srcnat
        masquerade
    }
}
delete table inet modules
"""
#: What bridges count, and sysctls that change by themselves.
_TIMERS = re.compile(r"\w+_timer +[\d.]+")
_VOLATILE = ("nf_conntrack_count",)


class Machine:
    """A namespace that stands for the machine, and runs of pytest in it.

    Attributes:
        namespace: The namespace.
        world: What is beyond its uplink.
        path: The directory of the test files.
    """

    def __init__(self, network: Network, path: Path) -> None:
        self.namespace: NetworkNamespace = network["machine"]
        self.world: NetworkNamespace = network["world"]
        self.path = path
        #: Somebody else's process: no test may end it.
        self.bystander = self.namespace.popen(["sleep", "3600"])
        self._runs: list[Process] = []
        # modules that the kernel loads for a feature stay, and bring sysctls
        self.namespace.nft(_EVERY_FEATURE)
        self.before = self.state()

    def write(self, tests: str, name: str = "test_inner") -> None:
        """Write a file of tests, with `PREAMBLE` above them."""
        text = PREAMBLE + textwrap.dedent(tests)
        (self.path / f"{name}.py").write_text(text, encoding="utf-8")

    def run(
        self, *arguments: str, behind: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run the tests, by a command if one is given."""
        command = [*behind, *PYTEST, *arguments]
        return self.namespace.run(command, check=False, cwd=self.path, timeout=60)

    def passes(self, tests: str, *arguments: str) -> None:
        """Check that tests pass, and that nothing is different afterwards."""
        self.write(tests)
        completed = self.run(*arguments)
        assert completed.returncode == 0, completed.stdout
        self.assert_untouched()

    def start(self, *arguments: str) -> Process:
        """Start to run the tests."""
        run = self.namespace.popen(
            [*PYTEST, "-s", *arguments], cwd=self.path, expect_exit=True
        )
        self._runs.append(run)
        return run

    def kill(self, run: Process, *others: int) -> None:
        """Kill a run, and other processes of its before it, as no handler can help."""
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        os.kill(run.pid, signal.SIGKILL)
        run.wait(10)

    def watcher_of(self, run: Process) -> int:
        """Return the number of a run's watcher."""
        end = f"_watcher_main.py\0{run.pid}\0".encode()
        (found,) = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if _read(path).endswith(end)
        ]
        return found

    def state(self) -> list[str]:
        """Describe everything that a test could change, line by line."""
        lines: list[str] = []
        for command in _LOOK:
            output = _TIMERS.sub("", self.namespace.run(command).stdout)
            # those of a multicast list come in any order
            order = sorted if "maddress" in command else list
            lines += [f"# {command}", *order(output.splitlines())]
        return [*lines, *self.namespace.call(_sysctls)]

    def assert_untouched(self, within: float = 0.0) -> None:
        """Check that everything is as before, now or within some seconds."""
        deadline = time.monotonic() + within
        while (now := self.state()) != self.before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert now == self.before
        assert self.bystander.poll() is None

    def ifnames(self) -> set[str]:
        """Return the names of the machine's interfaces."""
        return {interface.name for interface in self.namespace.interfaces}

    def file(self, name: str) -> str:
        """Return the text of a file that a test writes, once it has."""
        self.await_file(name)
        return (self.path / name).read_text(encoding="utf-8")

    def await_file(self, name: str) -> None:
        """Wait until a test has made a file."""
        path = self.path / name
        self.eventually(lambda: path.exists() or self._nothing_runs(), f"file {name}")
        assert path.exists(), "the run has ended before"

    def _nothing_runs(self) -> bool:
        return all(run.poll() is not None for run in self._runs)

    @staticmethod
    def eventually(condition: Callable[[], object], what: str) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"still waiting for {what}"
            time.sleep(0.005)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


def _sysctls() -> list[str]:
    lines = []
    for folder, _, names in sorted(os.walk("/proc/sys/net")):
        for name in sorted(names):
            path = Path(folder, name)
            if name not in _VOLATILE:
                lines.append(f"{path}: {_read(path)!r}")
    return lines


@pytest.fixture
def machine(netns: Network, tmp_path: Path) -> Iterator[Machine]:
    """Give a machine; when the test ends, somebody else's process still runs there."""
    netns.add(*OUTSIDE)
    machine = Machine(netns, tmp_path)
    yield machine
    assert machine.bystander.poll() is None
