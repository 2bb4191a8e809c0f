"""Build the pair network with a peer whenever a line on standard input says so.

    python peer_worker.py dummynet|mininet

Runs in the peer's own interpreter. Every line of the input, "build" or "close", is
answered with one line of JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class _Builder(Protocol):
    version: str

    def build(self) -> None: ...

    def close(self) -> None: ...


class Dummynet:
    """The pair network with dummynet's own calls, each of which runs ``ip``."""

    def __init__(self) -> None:
        """Import dummynet and make its shell."""
        self._dummynet = importlib.import_module("dummynet")
        self.version = importlib.metadata.version("dummynet")
        log = logging.getLogger("dummynet")
        monitor = self._dummynet.ProcessMonitor(log=log)
        self._shell = self._dummynet.HostShell(
            log=log, sudo=False, process_monitor=monitor
        )
        self._net: Any = None

    def build(self) -> None:
        """Build the network; its routes are plain commands, as it has none on-link."""
        net = self._net = self._dummynet.DummyNet(shell=self._shell)
        bridge = net.bridge_add(name="br0")
        for name, address, other in (
            ("left", "10.0.1.1/24", "10.0.0.0/24"),
            ("right", "10.0.0.1/24", "10.0.1.0/24"),
        ):
            namespace = net.netns_add(name)
            inner, outer = net.link_veth_add(f"{name[0]}-in", f"{name[0]}-out")
            net.link_set(namespace=namespace, interface=inner)
            net.bridge_set(bridge=bridge, interface=outer)
            namespace.addr_add(address, interface=inner)
            namespace.up("lo")
            namespace.up(inner)
            net.up(outer)
            namespace.run(f"ip route add {other} dev {inner}")
        net.up(bridge)

    def close(self) -> None:
        """Let dummynet undo everything, in its own order."""
        self._net.cleanup()


class Mininet:
    """The pair network with Mininet's ``LinuxBridge`` and no controller."""

    def __init__(self) -> None:
        """Import Mininet and describe the network to it."""
        self._net_module = importlib.import_module("mininet.net")
        self._bridge = importlib.import_module("mininet.nodelib").LinuxBridge
        self._topology = importlib.import_module("mininet.topo").Topo
        self.version = self._net_module.VERSION
        # Otherwise Mininet raises limits of the whole machine with sysctl.
        self._net_module.Mininet.inited = True
        self._net: Any = None

    def build(self) -> None:
        """Build and start the network."""
        topology = self._topology()
        switch = topology.addSwitch("s1")
        for name, address in (("left", "10.0.1.1/24"), ("right", "10.0.0.1/24")):
            topology.addLink(topology.addHost(name, ip=address), switch)
        net = self._net = self._net_module.Mininet(
            topo=topology, switch=self._bridge, controller=None
        )
        net.start()
        net.get("left").cmd("ip route add 10.0.0.0/24 dev left-eth0")
        net.get("right").cmd("ip route add 10.0.1.0/24 dev right-eth0")

    def close(self) -> None:
        """Stop the network."""
        self._net.stop()


def _reserve_standard_output() -> int:
    """Return a descriptor of standard output, and turn the peer's own to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _answer(descriptor: int, **values: str) -> None:
    os.write(descriptor, json.dumps(values).encode() + b"\n")


def _carry_out(builder: _Builder, what: str) -> dict[str, str]:
    try:
        if what == "build":
            builder.build()
        else:
            builder.close()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {}


def main() -> None:
    """Answer lines until the input ends."""
    answers = _reserve_standard_output()
    builders: dict[str, Callable[[], _Builder]]
    builders = {"dummynet": Dummynet, "mininet": Mininet}
    try:
        builder = builders[sys.argv[1]]()
    except ImportError as error:
        _answer(answers, error=str(error))
        return
    _answer(answers, version=builder.version)
    for line in sys.stdin:
        _answer(answers, **_carry_out(builder, line.strip()))


if __name__ == "__main__":
    main()
