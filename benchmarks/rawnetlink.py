"""Speak rtnetlink with nothing but the standard library.

What is here is as little as the kernel can be asked with: packed messages, one
``send`` for many of them, and the acknowledgements read back. It is what everything
else is measured against, so it shares no code with the package that is measured.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWNET: Final = 0x40000000

NLMSG_ERROR: Final = 2
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_NEWROUTE: Final = 24
RTMGRP_LINK: Final = 1

_REQUEST: Final = 0x1
_ACKNOWLEDGE: Final = 0x4
_CREATE_NEW: Final = 0x400 | 0x200

_IFLA_IFNAME: Final = 3
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_IFLA_NET_NS_FD: Final = 28
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_VETH_INFO_PEER: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_RTA_DST: Final = 1
_RTA_OIF: Final = 4

# Every acknowledgement lies in the receive buffer until the whole batch has been
# carried out, so a batch must be small enough for that buffer (212,992 bytes).
_BATCH: Final = 64
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces of the given kinds."""
    _check(_libc.unshare(flags))


def setns(descriptor: int) -> None:
    """Move the calling thread into the network namespace of a descriptor."""
    _check(_libc.setns(descriptor, CLONE_NEWNET))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def open_current() -> int:
    """Open the network namespace of the calling thread."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class RawNamespace:
    """A new network namespace: a descriptor, and a netlink socket inside."""

    def __init__(self, home: int, *, groups: int = 0) -> None:
        """Create the namespace and return to ``home``.

        Args:
            home: Descriptor of the namespace the calling thread is in.
            groups: Multicast groups that the socket listens to.
        """
        unshare(CLONE_NEWNET)
        try:
            self.descriptor = open_current()
            self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            self.netlink.bind((0, groups))
        finally:
            setns(home)

    def carry_out(self, *messages: bytes) -> None:
        """Send messages in as few batches as fit, and wait for each answer.

        Raises:
            OSError: The kernel refused one of the messages.
        """
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            self.netlink.send(b"".join(batch))
            self._await_acknowledgements(len(batch))

    def _await_acknowledgements(self, expected: int) -> None:
        while expected:
            reply = self.netlink.recv(65536)
            offset = 0
            while offset < len(reply):
                length, kind = struct.unpack_from("=IH", reply, offset)
                if kind == NLMSG_ERROR:
                    (error,) = struct.unpack_from("=i", reply, offset + 16)
                    if error:
                        raise OSError(-error, os.strerror(-error))
                    expected -= 1
                offset += (length + 3) & ~3

    def settle(self, indexes: Sequence[int]) -> None:
        """Read links back, so that they transmit from now on.

        The kernel finishes pending carrier work for a link before it describes it
        (``linkwatch_sync_dev``, since Linux 6.5).
        """
        for index in indexes:
            request = _message(RTM_GETLINK, _LINK.pack(0, 0, index, 0, 0), _REQUEST)
            self.netlink.send(request)
            self.netlink.recv(65536)

    def close(self) -> None:
        """Let go of the namespace; the kernel takes it down later."""
        self.netlink.close()
        os.close(self.descriptor)


def veth(index: int, name: str, peer_name: str, peer_descriptor: int) -> bytes:
    """Encode ``ip link add NAME up type veth peer PEER_NAME netns PEER``."""
    peer = (
        _link_header(2, up=False)
        + _attribute(_IFLA_IFNAME, peer_name.encode() + b"\0")
        + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_descriptor))
    )
    data = _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, peer))
    return _new_link(index, name, b"veth", data)


def bridge(index: int, name: str) -> bytes:
    """Encode ``ip link add NAME up type bridge``."""
    return _new_link(index, name, b"bridge", b"")


def _new_link(index: int, name: str, kind: bytes, data: bytes) -> bytes:
    info = _attribute(_IFLA_INFO_KIND, kind) + data
    body = (
        _link_header(index, up=True)
        + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + _attribute(_IFLA_LINKINFO, info)
    )
    return _message(RTM_NEWLINK, body, _REQUEST | _ACKNOWLEDGE | _CREATE_NEW)


def enslave(index: int, master: int) -> bytes:
    """Encode ``ip link set INDEX master MASTER``."""
    body = _link_header(index, up=False)
    body += _attribute(_IFLA_MASTER, struct.pack("=I", master))
    return _message(RTM_NEWLINK, body, _REQUEST | _ACKNOWLEDGE)


def set_up(index: int) -> bytes:
    """Encode ``ip link set INDEX up``."""
    return _message(RTM_NEWLINK, _link_header(index, up=True), _REQUEST | _ACKNOWLEDGE)


def address(index: int, value: str, prefix: int) -> bytes:
    """Encode ``ip address add VALUE/PREFIX dev INDEX``."""
    packed = socket.inet_aton(value)
    body = struct.pack("=BBBBi", socket.AF_INET, prefix, 0, 0, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return _message(RTM_NEWADDR, body, _REQUEST | _ACKNOWLEDGE | _CREATE_NEW)


def route(index: int, destination: str, prefix: int) -> bytes:
    """Encode ``ip route add DESTINATION/PREFIX dev INDEX scope link``."""
    main_table, by_boot, scope_link, unicast = 254, 3, 253, 1
    body = struct.pack(
        "=BBBBBBBBI",
        *(socket.AF_INET, prefix, 0, 0, main_table, by_boot, scope_link, unicast, 0),
    )
    body += _attribute(_RTA_DST, socket.inet_aton(destination))
    body += _attribute(_RTA_OIF, struct.pack("=i", index))
    return _message(RTM_NEWROUTE, body, _REQUEST | _ACKNOWLEDGE | _CREATE_NEW)


def _message(kind: int, body: bytes, flags: int) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _link_header(index: int, *, up: bool) -> bytes:
    return _LINK.pack(0, 0, index, int(up), int(up))
