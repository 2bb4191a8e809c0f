"""Build networks with raw netlink messages: the floor of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rawnetlink import (
    RawNamespace,
    address,
    bridge,
    enslave,
    open_current,
    route,
    set_up,
    veth,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOPBACK = 1
_BRIDGE = 2
_FIRST_PORT = 3


@dataclass(frozen=True)
class Machine:
    """What the floor needs to know of one namespace on the bridge.

    Attributes:
        address: IPv4 address of ``eth0``.
        prefix: Its prefix length.
        on_link: Another IPv4 network that is reached directly, as a /24.
    """

    address: str
    prefix: int
    on_link: str | None = None


PAIR = (
    Machine("10.0.1.1", 24, on_link="10.0.0.0"),
    Machine("10.0.0.1", 24, on_link="10.0.1.0"),
)


def star(size: int) -> tuple[Machine, ...]:
    """Return ``size`` machines of one /16."""
    return tuple(
        Machine(f"10.0.{number // 250}.{number % 250 + 1}", 16)
        for number in range(size)
    )


class Floor:
    """Builds machines on a bridge, as fast as netlink and Python allow.

    With ``keep_bridge`` one bridge is kept in a namespace of its own and gets new
    ports every time. A port goes when the namespace of its other end goes.
    """

    def __init__(
        self, machines: Sequence[Machine] = PAIR, *, keep_bridge: bool = True
    ) -> None:
        """Make the kept bridge, if there is to be one."""
        self.name = "floor, bridge kept" if keep_bridge else "floor, new bridge"
        self._machines = machines
        self._home = open_current()
        self._live: list[RawNamespace] = []
        self._next_port = _FIRST_PORT
        self._kept: RawNamespace | None = None
        if keep_bridge:
            self._kept = RawNamespace(self._home)
            self._kept.carry_out(bridge(_BRIDGE, "br0"))

    def build(self) -> None:
        """Build the network; its links carry packets when this returns."""
        fabric = self._kept
        if fabric is None:
            fabric = RawNamespace(self._home)
            self._live.append(fabric)
            fabric.carry_out(bridge(_BRIDGE, "br0"))
            self._next_port = _FIRST_PORT
        # Two ports of one bridge must never share an index, and those of the
        # network before may still be there: the kernel takes them down later.
        ports = range(self._next_port, self._next_port + len(self._machines))
        self._next_port = ports.stop
        members = [RawNamespace(self._home) for _ in self._machines]
        self._live.extend(members)
        cables = [
            veth(port, f"p{port}", "eth0", member.descriptor)
            for port, member in zip(ports, members, strict=True)
        ]
        fabric.carry_out(*cables, *(enslave(port, _BRIDGE) for port in ports))
        for machine, member in zip(self._machines, members, strict=True):
            member.carry_out(*_configuration(machine))
        fabric.settle(ports)

    def close(self) -> None:
        """Let go of what ``build`` made."""
        while self._live:
            self._live.pop().close()

    def stop(self) -> None:
        """Let go of everything, the kept bridge included."""
        self.close()
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _configuration(machine: Machine) -> list[bytes]:
    eth0 = 2
    messages = [
        set_up(_LOOPBACK),
        set_up(eth0),
        address(eth0, machine.address, machine.prefix),
    ]
    if machine.on_link is not None:
        messages.append(route(eth0, machine.on_link, 24))
    return messages
