"""Generic netlink: which families of it the kernel has."""

from __future__ import annotations

import socket
import struct

from ._netlink import split_messages

# include/uapi/linux/netlink.h and genetlink.h
_NETLINK_GENERIC = 16
_NLM_F_REQUEST = 0x1
_GENL_ID_CTRL = 0x10
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_NAME = 2


def has_family(name: str) -> bool:
    """Tell whether the kernel has a family, and load its module if it is one.

    Equivalent to ``genl ctrl get name NAME``: who asks for a family that is not
    there makes the kernel look for its module (ctrl_getfamily() in genetlink.c).
    """
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), _CTRL_ATTR_FAMILY_NAME) + value
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=BBH", _CTRL_CMD_GETFAMILY, 1, 0) + attribute
    header = struct.pack("=IHHII", 16 + len(body), _GENL_ID_CTRL, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as asking:
        asking.send(header + body)
        answers = split_messages(asking.recv(1 << 16))
        # the family itself, or an error message
        return any(kind == _GENL_ID_CTRL for kind, _, _, _ in answers)
