"""The ways to build the pair network that need nothing installed besides us."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from rawnetlink import CLONE_NEWNET, open_current, setns, unshare

from pytest_netns import Bridge, Namespace, Route, Topology, Veth
from pytest_netns.manager import NetworkManager

_SHELL_DEMO: Final = Path(__file__).with_name("shell_demo.sh")

# left (10.0.1.1) --- br0 --- (10.0.0.1) right
PAIR: Final = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="eth0")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="eth0")]),
    Bridge("br0"),
    Veth("left:eth0", "br0", address="10.0.1.1/24"),
    Veth("right:eth0", "br0", address="10.0.0.1/24"),
)


def star(size: int) -> Topology:
    """Return ``size`` namespaces on one bridge, all in one network."""
    names = [f"machine{number}" for number in range(size)]
    return Topology(
        Bridge("br0"),
        *(Namespace(name) for name in names),
        *(
            Veth(
                f"{name}:eth0",
                "br0",
                address=f"10.0.{number // 250}.{number % 250 + 1}/16",
            )
            for number, name in enumerate(names)
        ),
    )


class Ours:
    """Our package: one manager for the session, a new network every time."""

    name = "pytest-netns"

    def __init__(self, topology: Topology = PAIR, *, records: bool = False) -> None:
        """Make the manager that a pytest session would have."""
        self._topology = topology
        self._manager = NetworkManager(records=records)
        self._network = ExitStack()

    def build(self) -> None:
        """Build the network as the fixture does."""
        self._network.enter_context(self._manager.build(self._topology))

    def close(self) -> None:
        """Take it down as the end of a test does."""
        self._network.close()

    def stop(self) -> None:
        """End the session."""
        self._manager.close()


class OneCallAtATime:
    """pyroute2 as its documentation shows it: one request, one answer."""

    name = "pyroute2, one call at a time"

    def __init__(self) -> None:
        """Remember the way home."""
        self._home = open_current()
        self._live = ExitStack()

    def build(self) -> None:
        """Build the network with an ``IPRoute`` in each namespace."""
        fabric, _ = self._create_namespace()
        left, left_namespace = self._create_namespace()
        right, right_namespace = self._create_namespace()
        fabric.link("add", index=2, ifname="br0", kind="bridge", state="up")
        for index, descriptor in ((3, left_namespace), (4, right_namespace)):
            peer = {"ifname": "eth0", "index": 2, "net_ns_fd": descriptor}
            fabric.link("add", index=index, ifname=f"p{index}", kind="veth", peer=peer)
            fabric.link("set", index=index, master=2)
            fabric.link("set", index=index, state="up")
        for ipr, address, other in (
            (left, "10.0.1.1", "10.0.0.0/24"),
            (right, "10.0.0.1", "10.0.1.0/24"),
        ):
            ipr.link("set", index=1, state="up")
            ipr.link("set", index=2, state="up")
            ipr.addr("add", index=2, address=address, prefixlen=24)
            ipr.route("add", dst=other, oif=2)

    def _create_namespace(self) -> tuple[Any, int]:
        # Not IPRoute(netns=...): it forks for each namespace, which costs more than
        # all the calls together.
        unshare(CLONE_NEWNET)
        try:
            descriptor = open_current()
            ipr = self._live.enter_context(IPRoute())
        finally:
            setns(self._home)
        self._live.callback(os.close, descriptor)
        return ipr, descriptor

    def close(self) -> None:
        """Let go of the namespaces and their sockets."""
        self._live.close()

    def stop(self) -> None:
        """Let go of what is left."""
        self._live.close()


class ShellScript:
    """``shell_demo.sh`` beside this file."""

    name = "shell script with ip"

    def build(self) -> None:
        """Run ``shell_demo.sh up``."""
        subprocess.run(["bash", _SHELL_DEMO, "up"], check=True)

    def close(self) -> None:
        """Run ``shell_demo.sh down``."""
        subprocess.run(["bash", _SHELL_DEMO, "down"], check=True)

    def stop(self) -> None:
        """Nothing is left to do."""
