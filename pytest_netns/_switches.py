"""Bridges that nobody can look into, lent again once they are proven clean.

Destroying a bridge holds the kernel's RTNL lock for about 19 ms (it waits in
``rcu_barrier()``), and every build waits behind it. So a hidden bridge outlives
its test: it rests until the kernel has taken the last port of its namespace
away, is compared with what it was when it was new, and is lent again only if
nothing differs, and if nobody has opened its namespace meanwhile: not all that
can be done in there can be seen. What differs is never repaired, but put aside.
"""

from __future__ import annotations

import enum
import errno
import math
import time
from collections import deque

from . import _codec as codec
from . import _nftables as nftables
from . import _sysctl as sysctl
from ._netlink import Refusal, RouteSocket
from ._nsfile import NamespaceFile
from ._openings import Openings
from ._snapshot import Snapshot, bridge_settings, read_links
from .errors import KernelError, MissingFeature
from .records import Bridge

#: Far beyond what the kernel gives to devices that it puts into every namespace.
_INDEX = 1 << 16
_NO_LLADDR = bytes(6)

#: A switch namespace is silent: its bridges and ports send nothing by
#: themselves, and netfilter never sees what they forward.
SILENCE = (
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv6.conf.all.disable_ipv6", "1"),
)
#: With br_netfilter loaded, as on any Docker host, these are 1 in a new namespace.
NO_BRIDGE_NETFILTER = tuple(
    (f"net.bridge.bridge-nf-call-{table}", "0")
    for table in ("arptables", "iptables", "ip6tables")
)
#: How many switches are kept because letting go of one holds up all builds. Each has
#: two descriptors, of which a process has 1,024.
_MOST_ASIDE = 8
#: How many are kept ready: while the kernel takes the ports of one away, some dozen
#: quick tests have begun, each with another one.
_MOST_READY = 128

_IFLA_BR_VLAN_FILTERING = 7


class SwitchState(enum.Enum):
    """What a switch that was given back may be."""

    #: The kernel has not yet taken the last port away.
    HAS_PORTS = "has ports"
    #: Something differs from when it was new.
    CHANGED = "changed"
    #: It can be lent again.
    CLEAN = "clean"


#: How long a switch may rest in each state before it is put aside, in seconds. A
#: port stays as long as somebody keeps the test's namespace open; and when the
#: last one has gone, the kernel still collects what belonged to it.
_PATIENCE = {
    SwitchState.HAS_PORTS: 10.0,
    SwitchState.CHANGED: 0.5,
    SwitchState.CLEAN: math.inf,
}


class Switch:
    """One hidden bridge in a namespace of its own.

    Attributes:
        file: Its namespace.
        socket: An rtnetlink socket inside.
        borrower: The record it is lent for.
        index: The index of its bridge.
    """

    index = _INDEX

    def __init__(self, bridge: Bridge) -> None:
        self.borrower = bridge
        self.returned = 0.0
        self.file = NamespaceFile.create(bridge.name, self._prepare)
        self._next_index = _INDEX + 1
        try:
            plain = Bridge(bridge.name)
            self._apply(
                codec.add_bridge(_INDEX, plain), f"create bridge {bridge.name!r}"
            )
            self._virgin = self._snapshot(read_links(self.socket))
            self._virgin_inside = self._look_inside()
            self._lladdr = self._virgin.lladdr
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        sysctl.write_present(SILENCE + NO_BRIDGE_NETFILTER)
        self.socket = RouteSocket()

    def close(self) -> None:
        """Let the kernel have it."""
        self.socket.close()
        self.file.close()

    @property
    def sticky(self) -> tuple[bool, bool]:
        """What the kernel never forgets: that an MTU or a MAC address was set."""
        return _stickiness(self.borrower)

    def next_port_index(self) -> int:
        """Return an index that no port of this switch ever had."""
        self._next_index += 1
        return self._next_index - 1

    def lend(self, bridge: Bridge) -> None:
        """Turn it into what `bridge` declares.

        Raises:
            KernelError: The kernel refuses.
            MissingFeature: The kernel cannot filter VLANs.
        """
        before, self.borrower = self.borrower, bridge
        rename = before.name != bridge.name
        if rename:
            # only kernels since 6.2 rename an interface that is up
            self._apply(
                codec.set_link(_INDEX, up=False), f"set bridge {before.name!r} down"
            )
        if bridge.mtu is not None:
            self._apply(
                codec.set_link(_INDEX, mtu=codec.other_mtu(bridge.mtu)),
                f"change the MTU of bridge {bridge.name!r}",
            )
        if rename or _is_special(bridge):
            self._apply(
                codec.set_bridge(_INDEX, bridge, rename=rename),
                f"set up bridge {bridge.name!r}",
            )
        check_vlan_filtering(self.socket, _INDEX, bridge)

    def reset(self) -> None:
        """Take back what the borrower's record declared."""
        bridge = self.borrower
        if not _is_special(bridge):
            return
        mtu = 1500 if bridge.mtu is not None else None
        request = codec.reset_bridge(_INDEX, mtu, vlan_filtering=bridge.vlan_filtering)
        self._apply(request, f"reset bridge {bridge.name!r}")

    def state(self) -> SwitchState:
        """Tell whether it is indistinguishable from when it was new."""
        links = read_links(self.socket)
        if len(links) > len(self._virgin.links):
            return SwitchState.HAS_PORTS
        now = self._snapshot(links)
        # a bridge takes its ports' MAC address, and loses it with the last of them
        had_ports = self._next_index > _INDEX + 1
        lladdr = _NO_LLADDR if had_ports else self._lladdr
        if not self.sticky[1] and now.lladdr != lladdr:
            return SwitchState.CHANGED
        if not now.equals(self._virgin) or self._look_inside() != self._virgin_inside:
            return SwitchState.CHANGED
        self._virgin = now  # proven equal, and the next one is more like it
        return SwitchState.CLEAN

    def _snapshot(self, links: list[bytes]) -> Snapshot:
        return Snapshot.take(self.socket, _INDEX, links)

    def _look_inside(self) -> tuple[object, ...]:
        """Read what is not told by rtnetlink, and has a say in what is forwarded."""
        with self.file.entered():
            return (
                nftables.generation(),
                *sysctl.read_present(key for key, _ in SILENCE + NO_BRIDGE_NETFILTER),
            )

    def _apply(self, request: bytearray, action: str) -> None:
        try:
            self.socket.apply([request])
        except Refusal as refusal:
            if refusal.detail.startswith("Unknown device type"):
                raise MissingFeature.of_kernel(
                    "bridges (CONFIG_BRIDGE)",
                    needed_by=self.borrower,
                    remedy="modprobe bridge, or use a kernel of a distribution",
                ) from refusal
            if self.borrower.vlan_filtering and refusal.number == errno.EOPNOTSUPP:
                raise no_vlan_filtering(self.borrower) from refusal
            raise KernelError(
                refusal.number, action, None, self.borrower, refusal.detail
            ) from refusal


def check_vlan_filtering(route: RouteSocket, index: int, bridge: Bridge) -> None:
    """Check that a bridge filters VLANs if it was declared to.

    Some kernels take the setting and ignore it.

    Raises:
        MissingFeature: It does not.
    """
    if not bridge.vlan_filtering:
        return
    (message,) = route.query([codec.get_link(index)])
    if bridge_settings(message).get(_IFLA_BR_VLAN_FILTERING) != b"\1":
        raise no_vlan_filtering(bridge)


def no_vlan_filtering(bridge: Bridge) -> MissingFeature:
    """Return the error for a kernel that was built without it."""
    return MissingFeature.of_kernel(
        "VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)",
        needed_by=bridge,
        remedy="use a kernel of a distribution, which has it",
    )


class Switches:
    """The switches of one manager: lent, resting, ready, or aside.

    Args:
        openings: Tells whether somebody was inside.
    """

    def __init__(self, openings: Openings | None = None) -> None:
        self._openings = openings or Openings()
        self._resting: deque[Switch] = deque()
        self._ready: list[Switch] = []
        self._aside: deque[Switch] = deque()

    def borrow(self, bridge: Bridge) -> Switch:
        """Return a clean switch that is what `bridge` declares.

        Raises:
            KernelError: The kernel refuses.
            MissingFeature: The kernel lacks what the bridge needs.
        """
        switch = self._recycled(bridge) or self._new(bridge)
        try:
            switch.lend(bridge)
        except BaseException:
            self._put_aside(switch)
            raise
        return switch

    def give_back(self, switch: Switch) -> None:
        """Let a switch rest until its ports are gone."""
        switch.returned = time.monotonic()
        self._resting.append(switch)

    def inspect(self) -> None:
        """Look at the switches that have rested longest; who is clean is ready.

        Done when a network was taken down, so that the next build need not.
        """
        for switch in list(self._resting):
            state, rested = _scrub(switch), time.monotonic() - switch.returned
            if self._openings.noticed(switch.file) or rested > _PATIENCE[state]:
                self._resting.remove(switch)
                self._put_aside(switch)
            elif state is SwitchState.CLEAN:
                self._resting.remove(switch)
                self._make_ready(switch)
            elif state is SwitchState.HAS_PORTS:
                return  # those behind it were given back later still

    def close(self) -> None:
        """Let the kernel have all switches that are not lent."""
        for switches in (self._resting, self._ready, self._aside):
            for switch in switches:
                self._openings.forget(switch.file)
                switch.close()
            switches.clear()

    def _new(self, bridge: Bridge) -> Switch:
        switch = Switch(bridge)
        self._openings.watch(switch.file)
        return switch

    def _make_ready(self, switch: Switch) -> None:
        self._ready.append(switch)
        if len(self._ready) > _MOST_READY:
            self._put_aside(self._ready.pop(0))

    def _put_aside(self, switch: Switch) -> None:
        """Let nobody have a switch any more."""
        self._aside.append(switch)
        while len(self._aside) > _MOST_ASIDE:
            oldest = self._aside.popleft()
            self._openings.forget(oldest.file)
            oldest.close()

    def _recycled(self, bridge: Bridge) -> Switch | None:
        wanted = _stickiness(bridge)
        if not any(switch.sticky == wanted for switch in self._ready):
            self.inspect()
        for switch in [one for one in self._ready if one.sticky == wanted]:
            self._ready.remove(switch)
            if not self._openings.noticed(switch.file):
                return switch
            self._put_aside(switch)
        return None


def _scrub(switch: Switch) -> SwitchState:
    try:
        switch.reset()
        return switch.state()
    except (KernelError, Refusal):
        return SwitchState.CHANGED


def _is_special(bridge: Bridge) -> bool:
    """Tell whether a bridge has settings that a plain one has not."""
    return bridge.stp or bridge.vlan_filtering or any(_stickiness(bridge))


def _stickiness(bridge: Bridge) -> tuple[bool, bool]:
    """Tell what is kept for good: once set, neither follows the ports any more."""
    return bridge.mtu is not None, bridge.lladdr is not None
