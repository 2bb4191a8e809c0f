"""Bridges that nobody can look into, lent again once they are proven clean.

Destroying a bridge holds the kernel's RTNL lock for about 19 ms (it waits in
``rcu_barrier()``), and every build waits behind it. So a hidden bridge outlives
its test: it rests until the kernel has taken the last port of its namespace
away, is compared with what it was when it was new, and is lent again only if
nothing differs. What differs is never repaired, but kept aside until the end.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterator

from . import _codec as codec
from . import _sysctl as sysctl
from ._netlink import Refusal, RouteSocket, attributes
from ._nsfile import NamespaceFile
from .errors import KernelError, MissingFeature
from .records import Bridge

#: Far beyond what the kernel gives to devices that it puts into every namespace.
_INDEX = 1 << 16
_NO_LLADDR = bytes(6)
_AF_BRIDGE = 7

#: How long a switch may wait for its last port to vanish, in seconds. A port
#: stays as long as somebody keeps the test's namespace open.
_PATIENCE = 10.0

#: A switch namespace is silent: its bridges and ports send nothing by
#: themselves, and netfilter never sees what they forward.
_SYSCTLS = (
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv6.conf.all.disable_ipv6", "1"),
)
#: With br_netfilter loaded, as on any Docker host, these are 1 in a new namespace.
NO_BRIDGE_NETFILTER = tuple(
    (f"net.bridge.bridge-nf-call-{table}", "0")
    for table in ("arptables", "iptables", "ip6tables")
)

# include/uapi/linux/if_link.h: what changes by itself
_IFLA_ADDRESS, _IFLA_LINKINFO, _IFLA_INFO_DATA, _IFLA_AF_SPEC = 1, 18, 2, 26
_IFLA_BR_VLAN_FILTERING = 7
_NDA_LLADDR, _NDA_VLAN = 2, 5
_VOLATILE = frozenset(
    {
        _IFLA_ADDRESS,  # compared on its own
        3,  # IFNAME: each borrower's own
        7,  # STATS
        16,  # OPERSTATE
        23,  # STATS64
        33,  # CARRIER
        35,  # CARRIER_CHANGES
        47,  # CARRIER_UP_COUNT
        48,  # CARRIER_DOWN_COUNT
        59,  # TSO_MAX_SIZE: what the last port had
        _IFLA_LINKINFO,  # looked into
        _IFLA_AF_SPEC,  # looked into
    }
)
_VOLATILE_OF_BRIDGE = frozenset(
    {
        10,  # ROOT_ID: the MAC address again
        11,  # BRIDGE_ID
        *range(12, 20),  # ROOT_PORT ... GC_TIMER: where the protocol stands
    }
)
_VOLATILE_OF_INET6 = frozenset({3, 5, 6})  # STATS, CACHEINFO, ICMP6STATS
_IFF_RUNNING_AND_LOWER_UP = 0x40 | 0x10000

_Snapshot = frozenset[tuple[object, ...]]


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
            self._apply(codec.add_bridge(_INDEX, plain), f"create bridge {bridge.name!r}")
            self._lladdr = self._link_address()
            self._virgin = self._snapshot()
            self._links = self._count_links()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        sysctl.write_present(_SYSCTLS + NO_BRIDGE_NETFILTER)
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
        if before.name != bridge.name:
            # only kernels since 6.2 rename an interface that is up
            self._apply(codec.set_link(_INDEX, up=False), f"set bridge {before.name!r} down")
        if bridge != Bridge(before.name):
            self._apply(codec.set_bridge(_INDEX, bridge), f"set up bridge {bridge.name!r}")
        check_vlan_filtering(self.socket, _INDEX, bridge)

    def reset(self) -> None:
        """Take back what the borrower's record declared."""
        bridge = self.borrower
        if bridge == Bridge(bridge.name):
            return
        mtu = 1500 if bridge.mtu is not None else None
        request = codec.reset_bridge(_INDEX, mtu, vlan_filtering=bridge.vlan_filtering)
        self._apply(request, f"reset bridge {bridge.name!r}")

    def has_ports(self) -> bool:
        """Tell whether the kernel still has anything here but the bridge."""
        return self._count_links() > self._links

    def is_clean(self) -> bool:
        """Tell whether it is indistinguishable from when it was new."""
        # a bridge takes its ports' MAC address, and loses it with the last of them
        had_ports = self._next_index > _INDEX + 1
        lladdr = _NO_LLADDR if had_ports else self._lladdr
        if not self.sticky[1] and self._link_address() != lladdr:
            return False
        return self._snapshot() == self._virgin

    def _count_links(self) -> int:
        return len(self._dump(codec.RTM_GETLINK))

    def _link_address(self) -> bytes:
        (message,) = self.socket.query([codec.get_link(_INDEX)])
        return dict(attributes(message, 32)).get(_IFLA_ADDRESS, b"")

    def _snapshot(self) -> _Snapshot:
        """Read all that another network could notice, without what moves by itself."""
        return frozenset(
            (
                *_links(self._dump(codec.RTM_GETLINK)),
                *_vlans(self._dump(codec.RTM_GETLINK, _AF_BRIDGE)),
                *(("address", message[16:]) for message in self._dump(codec.RTM_GETADDR)),
                *_forwarding(self._dump(codec.RTM_GETNEIGH, _AF_BRIDGE), self._link_address()),
                *(("multicast", message[24:]) for message in self._dump(codec.RTM_GETMDB, 7)),
                *(("queue", message[16:36]) for message in self._dump(codec.RTM_GETQDISC)),
            )
        )

    def _dump(self, kind: int, family: int = 0) -> list[bytes]:
        return self.socket.dump(codec.dump(kind, family))

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
            raise KernelError(
                refusal.number, action, None, self.borrower, refusal.detail
            ) from refusal


def check_vlan_filtering(route: RouteSocket, index: int, bridge: Bridge) -> None:
    """Check that a bridge filters VLANs if it was declared to: some kernels take
    the setting and ignore it.

    Raises:
        MissingFeature: It does not.
    """
    if not bridge.vlan_filtering:
        return
    (message,) = route.query([codec.get_link(index)])
    if _bridge_data(message).get(_IFLA_BR_VLAN_FILTERING) != b"\1":
        raise MissingFeature.of_kernel(
            "VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)",
            needed_by=bridge,
            remedy="use a kernel of a distribution, which has it",
        )


class Switches:
    """The switches of one manager: lent, resting, or kept aside until the end."""

    def __init__(self) -> None:
        self._resting: deque[Switch] = deque()
        self._aside: list[Switch] = []

    def borrow(self, bridge: Bridge) -> Switch:
        """Return a clean switch that is what `bridge` declares.

        Raises:
            KernelError: The kernel refuses.
            MissingFeature: The kernel lacks what the bridge needs.
        """
        switch = self._recycled(bridge) or Switch(bridge)
        try:
            switch.lend(bridge)
        except BaseException:
            self._aside.append(switch)
            raise
        return switch

    def give_back(self, switch: Switch) -> None:
        """Let a switch rest until its ports are gone."""
        switch.returned = time.monotonic()
        self._resting.append(switch)

    def close(self) -> None:
        """Let the kernel have all switches that are not lent."""
        for switch in (*self._resting, *self._aside):
            switch.close()
        self._resting.clear()
        self._aside.clear()

    def _recycled(self, bridge: Bridge) -> Switch | None:
        wanted = _stickiness(bridge)
        for switch in list(self._resting):
            if switch.sticky != wanted:
                continue
            if switch.has_ports():
                if time.monotonic() - switch.returned > _PATIENCE:
                    self._put_aside(switch)
                    continue
                return None  # those behind it were given back later still
            self._resting.remove(switch)
            if self._scrub(switch):
                return switch
        return None

    def _put_aside(self, switch: Switch) -> None:
        self._resting.remove(switch)
        self._aside.append(switch)

    def _scrub(self, switch: Switch) -> bool:
        try:
            switch.reset()
            clean = switch.is_clean()
        except (KernelError, Refusal):
            clean = False
        if not clean:
            self._aside.append(switch)
        return clean


def _stickiness(bridge: Bridge) -> tuple[bool, bool]:
    """A set MTU stops following the ports', a set MAC address likewise, for good."""
    return bridge.mtu is not None, bridge.lladdr is not None


def _links(messages: list[bytes]) -> Iterator[tuple[object, ...]]:
    for message in messages:
        _, kind, index, flags, _ = struct.unpack_from("=BxHiII", message, 16)
        yield "link", index, kind, flags & ~_IFF_RUNNING_AND_LOWER_UP
        for attribute, payload in attributes(message, 32):
            if attribute not in _VOLATILE:
                yield "link", index, attribute, payload
            elif attribute == _IFLA_AF_SPEC:
                yield from _families(index, payload)
        for attribute, payload in _bridge_data(message).items():
            if attribute not in _VOLATILE_OF_BRIDGE:
                yield "bridge", index, attribute, payload


def _families(index: int, specification: bytes) -> Iterator[tuple[object, ...]]:
    for family, nested in attributes(specification):
        for attribute, payload in attributes(nested):
            if family != 10 or attribute not in _VOLATILE_OF_INET6:
                yield "family", index, family, attribute, payload


def _vlans(messages: list[bytes]) -> Iterator[tuple[object, ...]]:
    for message in messages:
        for attribute, payload in attributes(message, 32):
            if attribute == _IFLA_AF_SPEC:
                yield "vlans", payload


def _forwarding(messages: list[bytes], own: bytes) -> Iterator[tuple[object, ...]]:
    """List the entries of the forwarding database, but for the bridge's `own` address."""
    for message in messages:
        index, state, flags, kind = struct.unpack_from("=iHBB", message, 20)
        entry = dict(attributes(message, 28))
        lladdr = entry.get(_NDA_LLADDR, b"")
        if lladdr != own:
            yield "forwarding", index, state, flags, kind, lladdr, entry.get(_NDA_VLAN)


def _bridge_data(message: bytes) -> dict[int, bytes]:
    information = dict(attributes(message, 32)).get(_IFLA_LINKINFO, b"")
    return dict(attributes(dict(attributes(information)).get(_IFLA_INFO_DATA, b"")))


