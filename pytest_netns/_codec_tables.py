"""rtnetlink requests about addresses, routes and neighbours, as bytes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ._templates import (
    CREATE_EXCLUSIVE,
    FAMILIES,
    INDEX,
    REPLACE,
    REQUEST,
    Template,
    encode,
    present,
)

if TYPE_CHECKING:
    from ._addresses import InterfaceAddress
    from .entries import Neighbour, Route

# include/uapi/linux/rtnetlink.h
RTM_NEWADDR, RTM_NEWROUTE, RTM_GETROUTE, RTM_NEWNEIGH = 20, 24, 26, 28
_IFA_F_NODAD = 0x02
_NUD_PERMANENT = 0x80
_NTF_USE = 0x01
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNICAST = 1
_SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}


def add_address(
    index: int, address: InterfaceAddress, *, replace: bool = False
) -> bytearray:
    """``ip address add ADDRESS dev INDEX nodad``, with the network's broadcast."""
    return _address(address, REPLACE if replace else CREATE_EXCLUSIVE).fill(
        {INDEX: index}
    )


@functools.lru_cache(maxsize=4096)
def _address(address: InterfaceAddress, flags: int) -> Template:
    text = str(address.ip)
    network = address.network
    has_broadcast = address.version == 4 and network.num_addresses > 2
    return encode(
        ifaddrmsg(),
        RTM_NEWADDR,
        flags,
        present(
            IFA_ADDRESS=text,
            IFA_LOCAL=text,
            IFA_BROADCAST=str(network.broadcast_address) if has_broadcast else None,
            IFA_FLAGS=_IFA_F_NODAD if address.version == 6 else None,
        ),
        family=FAMILIES[address.version],
        prefixlen=network.prefixlen,
        index=INDEX,
    )


def add_route(
    route: Route, family: int, index: int | None, *, replace: bool = False
) -> bytearray:
    """``ip route add DESTINATION [via GATEWAY] [dev INDEX] ...``."""
    flags = REPLACE if replace else CREATE_EXCLUSIVE
    template = _route(route, family, flags, has_device=index is not None)
    return template.fill({INDEX: index or 0})


@functools.lru_cache(maxsize=4096)
def _route(
    route: Route,
    family: int,
    flags: int,
    *,
    has_device: bool,
) -> Template:
    is_default = route.destination == "default"
    network, _, prefix = route.destination.partition("/")
    # ip-route(8): without a gateway the destination is on the link itself; IPv6
    # knows no scopes
    scope = route.scope or ("link" if route.via is None and family == 4 else "global")
    table = _RT_TABLE_MAIN if route.table is None else route.table
    return encode(
        rtmsg(),
        RTM_NEWROUTE,
        flags,
        present(
            RTA_OIF=INDEX if has_device else None,  # before what may look like it
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


def get_route(
    address: str, *, source: str | None = None, index: int | None = None
) -> bytearray:
    """``ip route get ADDRESS [from SOURCE] [oif INDEX]``."""
    template = _get_route(address, source, has_device=index is not None)
    return template.fill({INDEX: index or 0})


@functools.lru_cache(maxsize=1024)
def _get_route(address: str, source: str | None, *, has_device: bool) -> Template:
    version = 6 if ":" in address else 4
    bits = 128 if version == 6 else 32
    return encode(
        rtmsg(),
        RTM_GETROUTE,
        REQUEST,
        present(
            RTA_OIF=INDEX if has_device else None,  # before what may look like it
            RTA_DST=address,
            RTA_SRC=source,
        ),
        family=FAMILIES[version],
        dst_len=bits,
        src_len=0 if source is None else bits,
    )


def add_neighbour(
    neighbour: Neighbour, index: int, *, replace: bool = False
) -> bytearray:
    """``ip neighbour add ADDRESS lladdr LLADDR dev INDEX nud permanent``."""
    return _neighbour(neighbour, replace=replace).fill({INDEX: index})


@functools.lru_cache(maxsize=1024)
def _neighbour(neighbour: Neighbour, *, replace: bool) -> Template:
    return encode(
        ndmsg(),
        RTM_NEWNEIGH,
        REPLACE if replace else CREATE_EXCLUSIVE,
        present(NDA_DST=neighbour.address, NDA_LLADDR=neighbour.lladdr),
        family=FAMILIES[6 if ":" in neighbour.address else 4],
        ifindex=INDEX,
        state=_NUD_PERMANENT,
    )


def use_neighbour(address: str, index: int) -> bytearray:
    """``ip neighbour replace ADDRESS dev INDEX use nud none``: have the kernel ask."""
    return _use_neighbour(address).fill({INDEX: index})


@functools.lru_cache(maxsize=1024)
def _use_neighbour(address: str) -> Template:
    return encode(
        ndmsg(),
        RTM_NEWNEIGH,
        REPLACE,
        present(NDA_DST=address),
        family=FAMILIES[6 if ":" in address else 4],
        ifindex=INDEX,
        flags=_NTF_USE,
    )
