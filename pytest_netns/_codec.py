"""rtnetlink requests as bytes: pyroute2 encodes each shape once, we fill in numbers.

pyroute2's message classes know every attribute, but encoding a cable takes
them 93 us. Tests build alike networks again and again, and two requests of one
shape differ only in indexes and descriptors. So a shape is encoded once, with
placeholders where those numbers go; filling them in takes 1 us.
"""

from __future__ import annotations

import functools
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._addresses import InterfaceAddress
    from .entries import Neighbour, Route
    from .records import Bridge

# include/uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
RTM_GETQDISC = 38
RTM_GETMDB = 86

_REQUEST = 0x1
_CREATE = _REQUEST | 0x400
_CREATE_EXCLUSIVE = _CREATE | 0x200
_REPLACE = _CREATE | 0x100

_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_NUD_PERMANENT = 0x80
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNICAST = 1
_SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}
_RTEXT_FILTER_SKIP_STATS = 8


class _Placeholder(int):
    """Stands in a shape where a number goes."""


_INDEX, _PEER_INDEX, _PEER_FD, _MASTER = (
    _Placeholder(0x7A5A_C3F0 + number) for number in range(4)
)

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class _Message(Protocol):
    """What we use of a pyroute2 message."""

    data: bytearray

    def encode(self) -> None: ...
    def __getitem__(self, key: str) -> Any: ...
    def __setitem__(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class _Template:
    """An encoded request and the places of its numbers, by placeholder."""

    data: bytes
    offsets: tuple[tuple[int, int], ...]

    def fill(self, numbers: dict[int, int]) -> bytearray:
        request = bytearray(self.data)
        for placeholder, offset in self.offsets:
            struct.pack_into("=I", request, offset, numbers[placeholder])
        return request


def _encode(
    message: Any,
    kind: int,
    request_flags: int,
    attributes: list[tuple[str, Any]],
    **header: int,
) -> _Template:
    # pyroute2 puts objects of its own into the attributes while it encodes them
    placeholders = tuple(_placeholders([header, attributes]))
    encoded = cast("_Message", message)
    for key, value in header.items():
        encoded[key] = value
    encoded["attrs"] = attributes
    encoded["header"]["type"] = kind
    encoded["header"]["flags"] = request_flags
    encoded.encode()
    data = bytes(encoded.data)
    # the first match is the placeholder: in every shape it stands before all
    # that is the user's own and might look like it, such as a MAC address
    offsets = tuple(
        (placeholder, data.index(struct.pack("=I", placeholder)))
        for placeholder in placeholders
    )
    return _Template(data, offsets)


def _placeholders(value: Any) -> Iterator[_Placeholder]:
    if isinstance(value, _Placeholder):
        yield value
    elif isinstance(value, dict):
        yield from _placeholders(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _placeholders(one)


def _present(**attributes: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in attributes.items() if value is not None]


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
            _INDEX: index,
            _PEER_INDEX: peer_index,
            _PEER_FD: peer_fd,
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
) -> _Template:
    peer = {
        "index": _PEER_INDEX,
        "attrs": _present(
            IFLA_IFNAME=peer_ifname,
            IFLA_NET_NS_FD=_PEER_FD,
            IFLA_ADDRESS=peer_lladdr,
            IFLA_MTU=mtu,
        ),
    }
    attributes = _present(
        IFLA_IFNAME=ifname,
        IFLA_LINKINFO=_linkinfo("veth", VETH_INFO_PEER=peer),
        IFLA_ADDRESS=lladdr,
        IFLA_MTU=mtu,
    )
    return _encode(
        ifinfmsg(),
        RTM_NEWLINK,
        _CREATE_EXCLUSIVE,
        attributes,
        index=_INDEX,
        flags=_IFF_UP,
        change=_IFF_UP,
    )


def add_bridge(index: int, bridge: Bridge) -> bytearray:
    """``ip link add NAME up type bridge [stp_state 1] [vlan_filtering 1]``."""
    return _bridge(bridge.name, bridge, _CREATE_EXCLUSIVE).fill({_INDEX: index})


def set_bridge(index: int, bridge: Bridge, *, rename: bool) -> bytearray:
    """``ip link set dev INDEX [name NAME] up type bridge stp_state ...``."""
    name = bridge.name if rename else None
    return _bridge(name, bridge, _REQUEST).fill({_INDEX: index})


@functools.lru_cache(maxsize=256)
def _bridge(ifname: str | None, bridge: Bridge, flags: int) -> _Template:
    settings = _present(
        IFLA_BR_STP_STATE=int(bridge.stp),
        # a kernel without it refuses even the 0 that is its default
        IFLA_BR_VLAN_FILTERING=1 if bridge.vlan_filtering else None,
    )
    attributes = _present(
        IFLA_IFNAME=ifname,
        IFLA_ADDRESS=bridge.lladdr,
        IFLA_MTU=bridge.mtu,
        IFLA_LINKINFO=_linkinfo("bridge", **dict(settings)),
    )
    return _encode(
        ifinfmsg(),
        RTM_NEWLINK,
        flags,
        attributes,
        index=_INDEX,
        flags=_IFF_UP,
        change=_IFF_UP,
    )


@functools.lru_cache(maxsize=8)
def _reset_bridge(mtu: int | None, *, vlan_filtering: bool) -> _Template:
    settings = _present(
        IFLA_BR_STP_STATE=0,
        IFLA_BR_VLAN_FILTERING=0 if vlan_filtering else None,
        IFLA_BR_FDB_FLUSH=True,
    )
    return _encode(
        ifinfmsg(),
        RTM_NEWLINK,
        _REQUEST,
        _present(IFLA_MTU=mtu, IFLA_LINKINFO=_linkinfo("bridge", **dict(settings))),
        index=_INDEX,
    )


def reset_bridge(index: int, mtu: int | None, *, vlan_filtering: bool) -> bytearray:
    """``ip link set dev INDEX type bridge stp_state 0 vlan_filtering 0 fdb_flush``."""
    return _reset_bridge(mtu, vlan_filtering=vlan_filtering).fill({_INDEX: index})


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
) -> bytearray:
    """``ip link set dev INDEX [master BRIDGE] [alias ALIAS] [up|down]``."""
    template = _link(alias, up=up, enslaved=master is not None)
    return template.fill({_INDEX: index, _MASTER: master or 0})


@functools.lru_cache(maxsize=8)
def _link(alias: str | None, *, up: bool | None, enslaved: bool) -> _Template:
    return _encode(
        ifinfmsg(),
        RTM_NEWLINK,
        _REQUEST,
        _present(IFLA_MASTER=_MASTER if enslaved else None, IFLA_IFALIAS=alias),
        index=_INDEX,
        flags=_IFF_UP if up else 0,
        change=0 if up is None else _IFF_UP,
    )


def delete_link(index: int) -> bytearray:
    """``ip link delete dev INDEX``; waits for the kernel, some 20 ms."""
    return _delete_link().fill({_INDEX: index})


@functools.lru_cache(maxsize=1)
def _delete_link() -> _Template:
    return _encode(ifinfmsg(), RTM_DELLINK, _REQUEST, [], index=_INDEX)


def set_group(index: int, group: int) -> bytearray:
    """``ip link set dev INDEX group GROUP``."""
    return _group(group, RTM_NEWLINK, _INDEX).fill({_INDEX: index})


def delete_group(group: int) -> bytearray:
    """``ip link delete group GROUP``; takes no longer than `delete_link`."""
    return _group(group, RTM_DELLINK, 0).fill({})


@functools.lru_cache(maxsize=4)
def _group(group: int, kind: int, index: int) -> _Template:
    return _encode(ifinfmsg(), kind, _REQUEST, _present(IFLA_GROUP=group), index=index)


def add_address(
    index: int, address: InterfaceAddress, *, replace: bool = False
) -> bytearray:
    """``ip address add ADDRESS dev INDEX nodad``, with the network's broadcast."""
    return _address(address, _REPLACE if replace else _CREATE_EXCLUSIVE).fill(
        {_INDEX: index}
    )


@functools.lru_cache(maxsize=4096)
def _address(address: InterfaceAddress, flags: int) -> _Template:
    text = str(address.ip)
    network = address.network
    has_broadcast = address.version == 4 and network.num_addresses > 2
    return _encode(
        ifaddrmsg(),
        RTM_NEWADDR,
        flags,
        _present(
            IFA_ADDRESS=text,
            IFA_LOCAL=text,
            IFA_BROADCAST=str(network.broadcast_address) if has_broadcast else None,
            IFA_FLAGS=_IFA_F_NODAD if address.version == 6 else None,
        ),
        family=FAMILIES[address.version],
        prefixlen=network.prefixlen,
        index=_INDEX,
    )


def add_route(
    route: Route, family: int, index: int | None, *, replace: bool = False
) -> bytearray:
    """``ip route add DESTINATION [via GATEWAY] [dev INDEX] ...``."""
    flags = _REPLACE if replace else _CREATE_EXCLUSIVE
    template = _route(route, family, flags, has_device=index is not None)
    return template.fill({_INDEX: index or 0})


@functools.lru_cache(maxsize=4096)
def _route(
    route: Route,
    family: int,
    flags: int,
    *,
    has_device: bool,
) -> _Template:
    is_default = route.destination == "default"
    network, _, prefix = route.destination.partition("/")
    # ip-route(8): without a gateway the destination is on the link itself; IPv6
    # knows no scopes
    scope = route.scope or ("link" if route.via is None and family == 4 else "global")
    table = _RT_TABLE_MAIN if route.table is None else route.table
    return _encode(
        rtmsg(),
        RTM_NEWROUTE,
        flags,
        _present(
            RTA_OIF=_INDEX if has_device else None,  # before what may look like it
            RTA_DST=None if is_default else network,
            RTA_GATEWAY=route.via,
            RTA_PREFSRC=route.source,
            RTA_PRIORITY=route.metric,
            RTA_TABLE=table,
        ),
        family=FAMILIES[family],
        dst_len=0 if is_default else int(prefix),
        table=table if table < 256 else 0,
        proto=_RTPROT_STATIC,
        scope=_SCOPES[scope],
        type=_RTN_UNICAST,
    )


@functools.lru_cache(maxsize=1024)
def _get_route(address: str) -> _Template:
    return _encode(
        rtmsg(),
        RTM_GETROUTE,
        _REQUEST,
        _present(RTA_DST=address),
        family=socket.AF_INET6,
        dst_len=128,
    )


def get_route(address: str) -> bytearray:
    """``ip -6 route get ADDRESS``."""
    return _get_route(address).fill({})


def add_neighbour(
    neighbour: Neighbour, index: int, *, replace: bool = False
) -> bytearray:
    """``ip neighbour add ADDRESS lladdr LLADDR dev INDEX nud permanent``."""
    return _neighbour(neighbour, replace=replace).fill({_INDEX: index})


@functools.lru_cache(maxsize=1024)
def _neighbour(neighbour: Neighbour, *, replace: bool) -> _Template:
    return _encode(
        ndmsg(),
        RTM_NEWNEIGH,
        _REPLACE if replace else _CREATE_EXCLUSIVE,
        _present(NDA_DST=neighbour.address, NDA_LLADDR=neighbour.lladdr),
        family=FAMILIES[6 if ":" in neighbour.address else 4],
        ifindex=_INDEX,
        state=_NUD_PERMANENT,
    )


def get_link(index: int, *, statistics: bool = False) -> bytearray:
    """``ip link show dev INDEX``."""
    return _get_link(statistics=statistics).fill({_INDEX: index})


@functools.lru_cache(maxsize=2)
def _get_link(*, statistics: bool) -> _Template:
    mask = None if statistics else _RTEXT_FILTER_SKIP_STATS
    return _encode(
        ifinfmsg(), RTM_GETLINK, _REQUEST, _present(IFLA_EXT_MASK=mask), index=_INDEX
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
    return struct.pack("=IHHII", 16 + len(body), kind, _REQUEST, 0, 0) + body


def dump(kind: int, family: int = 0) -> bytearray:
    """``ip link|address|route|neighbour show``: all objects of one kind."""
    return bytearray(_dump(kind, family))


def decode(message: bytes) -> Any:
    """Return a message of the kernel as pyroute2's object for it."""
    (kind,) = struct.unpack_from("=H", message, 4)
    decoded = _DECODERS[kind](message)
    decoded.decode()
    return decoded


_DECODERS: dict[int, Any] = {
    RTM_NEWLINK: ifinfmsg,
    RTM_NEWADDR: ifaddrmsg,
    RTM_NEWROUTE: rtmsg,
    RTM_NEWNEIGH: ndmsg,
}
