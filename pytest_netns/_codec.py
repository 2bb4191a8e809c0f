"""rtnetlink requests as bytes: links, bridges and dumps; and answers decoded.

pyroute2 encodes each shape once, we fill in the numbers (`_templates`). What is
about addresses, routes and neighbours is in `_codec_tables`.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ._netlink import kind_of
from ._templates import (
    CREATE_EXCLUSIVE,
    INDEX,
    MASTER,
    PEER_FD,
    PEER_INDEX,
    REQUEST,
    Template,
    encode,
    present,
)

if TYPE_CHECKING:
    from .records import Bridge

# include/uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
RTM_GETQDISC = 38
RTM_GETMDB = 86

_IFF_UP = 0x1
_RTEXT_FILTER_SKIP_STATS = 8


def add_veth(
    ifname: str,
    index: int,
    peer_ifname: str,
    peer_index: int,
    peer_fd: int,
    *,
    lladdr: str | None = None,
    peer_lladdr: str | None = None,
    mtu: int | None = None,
) -> bytearray:
    """``ip link add IFNAME up type veth peer name PEER netns FD``, all in one."""
    template = _veth(
        ifname,
        peer_ifname,
        lladdr=lladdr,
        peer_lladdr=peer_lladdr,
        mtu=mtu,
    )
    return template.fill(
        {
            INDEX: index,
            PEER_INDEX: peer_index,
            PEER_FD: peer_fd,
        }
    )


@functools.lru_cache(maxsize=4096)
def _veth(
    ifname: str,
    peer_ifname: str,
    *,
    lladdr: str | None,
    peer_lladdr: str | None,
    mtu: int | None,
) -> Template:
    peer = {
        "index": PEER_INDEX,
        "attrs": present(
            IFLA_IFNAME=peer_ifname,
            IFLA_NET_NS_FD=PEER_FD,
            IFLA_ADDRESS=peer_lladdr,
            IFLA_MTU=mtu,
        ),
    }
    attributes = present(
        IFLA_IFNAME=ifname,
        IFLA_LINKINFO=_linkinfo("veth", VETH_INFO_PEER=peer),
        IFLA_ADDRESS=lladdr,
        IFLA_MTU=mtu,
    )
    return encode(
        ifinfmsg(),
        RTM_NEWLINK,
        CREATE_EXCLUSIVE,
        attributes,
        index=INDEX,
        flags=_IFF_UP,
        change=_IFF_UP,
    )


def add_bridge(index: int, bridge: Bridge) -> bytearray:
    """``ip link add NAME up type bridge [stp_state 1] [vlan_filtering 1]``.

    Its MTU, if it has one, is still to be set: it is not yet that one.
    """
    mtu = None if bridge.mtu is None else other_mtu(bridge.mtu)
    return _bridge(bridge.name, mtu, bridge, CREATE_EXCLUSIVE).fill({INDEX: index})


def other_mtu(mtu: int) -> int:
    """Return an MTU that is not `mtu`: what a bridge has before it is given `mtu`.

    A bridge keeps to an MTU that it was given (``br_change_mtu()`` in
    net/bridge/br_device.c), and else takes that of its ports. It does not notice
    what it is created with, nor what it has already (``__netif_set_mtu_ext()`` in
    net/core/dev.c).
    """
    return mtu ^ 1


def set_bridge(index: int, bridge: Bridge, *, rename: bool) -> bytearray:
    """``ip link set dev INDEX [name NAME] up type bridge stp_state ...``."""
    name = bridge.name if rename else None
    return _bridge(name, bridge.mtu, bridge, REQUEST).fill({INDEX: index})


@functools.lru_cache(maxsize=256)
def _bridge(
    ifname: str | None, mtu: int | None, bridge: Bridge, flags: int
) -> Template:
    settings = present(
        IFLA_BR_STP_STATE=int(bridge.stp),
        # a kernel without it refuses even the 0 that is its default
        IFLA_BR_VLAN_FILTERING=1 if bridge.vlan_filtering else None,
    )
    attributes = present(
        IFLA_IFNAME=ifname,
        IFLA_ADDRESS=bridge.lladdr,
        IFLA_MTU=mtu,
        IFLA_LINKINFO=_linkinfo("bridge", **dict(settings)),
    )
    return encode(
        ifinfmsg(),
        RTM_NEWLINK,
        flags,
        attributes,
        index=INDEX,
        flags=_IFF_UP,
        change=_IFF_UP,
    )


@functools.lru_cache(maxsize=8)
def _reset_bridge(mtu: int | None, *, vlan_filtering: bool) -> Template:
    settings = present(
        IFLA_BR_STP_STATE=0,
        IFLA_BR_VLAN_FILTERING=0 if vlan_filtering else None,
        IFLA_BR_FDB_FLUSH=True,
    )
    return encode(
        ifinfmsg(),
        RTM_NEWLINK,
        REQUEST,
        present(IFLA_MTU=mtu, IFLA_LINKINFO=_linkinfo("bridge", **dict(settings))),
        index=INDEX,
    )


def reset_bridge(index: int, mtu: int | None, *, vlan_filtering: bool) -> bytearray:
    """``ip link set dev INDEX type bridge stp_state 0 vlan_filtering 0 fdb_flush``."""
    return _reset_bridge(mtu, vlan_filtering=vlan_filtering).fill({INDEX: index})


def _linkinfo(kind: str, **data: Any) -> dict[str, Any]:
    attributes: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
    if data:
        attributes.append(("IFLA_INFO_DATA", {"attrs": list(data.items())}))
    return {"attrs": attributes}


def set_link(
    index: int,
    *,
    up: bool | None = None,
    master: int | None = None,
    alias: str | None = None,
    mtu: int | None = None,
) -> bytearray:
    """``ip link set dev INDEX [master BRIDGE] [alias ALIAS] [mtu MTU] [up|down]``."""
    template = _link(alias, mtu, up=up, enslaved=master is not None)
    return template.fill({INDEX: index, MASTER: master or 0})


@functools.lru_cache(maxsize=32)
def _link(
    alias: str | None, mtu: int | None, *, up: bool | None, enslaved: bool
) -> Template:
    return encode(
        ifinfmsg(),
        RTM_NEWLINK,
        REQUEST,
        present(
            IFLA_MASTER=MASTER if enslaved else None, IFLA_IFALIAS=alias, IFLA_MTU=mtu
        ),
        index=INDEX,
        flags=_IFF_UP if up else 0,
        change=0 if up is None else _IFF_UP,
    )


def delete_link(index: int) -> bytearray:
    """``ip link delete dev INDEX``; waits for the kernel, some 20 ms."""
    return _delete_link().fill({INDEX: index})


@functools.lru_cache(maxsize=1)
def _delete_link() -> Template:
    return encode(ifinfmsg(), RTM_DELLINK, REQUEST, [], index=INDEX)


def set_group(index: int, group: int) -> bytearray:
    """``ip link set dev INDEX group GROUP``."""
    return _group(group, RTM_NEWLINK, INDEX).fill({INDEX: index})


def delete_group(group: int) -> bytearray:
    """``ip link delete group GROUP``; takes no longer than `delete_link`."""
    return _group(group, RTM_DELLINK, 0).fill({})


@functools.lru_cache(maxsize=4)
def _group(group: int, kind: int, index: int) -> Template:
    return encode(ifinfmsg(), kind, REQUEST, present(IFLA_GROUP=group), index=index)


def get_link(index: int, *, statistics: bool = False) -> bytearray:
    """``ip link show dev INDEX``."""
    return _get_link(statistics=statistics).fill({INDEX: index})


@functools.lru_cache(maxsize=2)
def _get_link(*, statistics: bool) -> Template:
    mask = None if statistics else _RTEXT_FILTER_SKIP_STATS
    return encode(
        ifinfmsg(), RTM_GETLINK, REQUEST, present(IFLA_EXT_MASK=mask), index=INDEX
    )


#: The length of the header that each dump request starts with (rtnetlink(7)).
_HEADER_LENGTHS = {
    RTM_GETLINK: 16,
    RTM_GETADDR: 8,
    RTM_GETROUTE: 12,
    RTM_GETNEIGH: 12,
    RTM_GETQDISC: 20,
    RTM_GETMDB: 8,
}
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_BRVLAN = 2


@functools.lru_cache(maxsize=16)
def _dump(kind: int, family: int) -> bytes:
    body = struct.pack("=B", family).ljust(_HEADER_LENGTHS[kind], b"\0")
    if kind == RTM_GETLINK:
        mask = _RTEXT_FILTER_BRVLAN if family else _RTEXT_FILTER_SKIP_STATS
        body += struct.pack("=HHI", 8, _IFLA_EXT_MASK, mask)
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST, 0, 0) + body


def dump(kind: int, family: int = 0) -> bytearray:
    """``ip link|address|route|neighbour show``: all objects of one kind."""
    return bytearray(_dump(kind, family))


def decode(message: bytes) -> Any:
    """Return a message of the kernel as pyroute2's object for it.

    Raises:
        OSError: It is none of those that we ask for, or makes no sense.
    """
    kind = kind_of(message)
    if kind not in _DECODERS:
        raise OSError(f"netlink: a message of an unexpected type, {kind}")
    decoded = _DECODERS[kind](message)
    try:
        decoded.decode()
    except Exception as error:  # whatever pyroute2 stumbles over
        raise OSError(f"netlink: a message makes no sense: {error}") from error
    return decoded


_DECODERS: dict[int, Any] = {
    RTM_NEWLINK: ifinfmsg,
    RTM_NEWADDR: ifaddrmsg,
    RTM_NEWROUTE: rtmsg,
    RTM_NEWNEIGH: ndmsg,
}
