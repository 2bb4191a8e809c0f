"""Checksum and segmentation offload of an interface, through the ethtool ioctl."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct

from .errors import KernelError

# include/uapi/linux/sockios.h and ethtool.h
_SIOCETHTOOL = 0x8946
_SETTINGS = {
    "tso": 0x1F,  # ETHTOOL_STSO
    "gso": 0x24,  # ETHTOOL_SGSO
    "gro": 0x2C,  # ETHTOOL_SGRO
    "tx": 0x17,  # ETHTOOL_STXCSUM
}
#: What reads a setting is one less than what sets it: ETHTOOL_GTSO is 0x1E.
_READ = -1


def disable_offload(ifname: str, *, namespace: str, record: object) -> None:
    """Let the calling thread's namespace compute all of a packet itself.

    Equivalent to ``ethtool -K IFNAME tx off tso off gso off gro off``.

    Raises:
        KernelError: The kernel refuses.
    """
    _switch_off(_SETTINGS, ifname, namespace, record)


def disable_checksums(ifname: str, *, namespace: str, record: object) -> None:
    """Let the calling thread's namespace compute the checksums of what it sends.

    Equivalent to ``ethtool -K IFNAME tx off``, which takes segmentation with it.

    Raises:
        KernelError: The kernel refuses.
    """
    _switch_off({"tx": _SETTINGS["tx"]}, ifname, namespace, record)


def _switch_off(
    settings: dict[str, int], ifname: str, namespace: str, record: object
) -> None:
    for setting, command in settings.items():
        try:
            _ask(ifname, command)
        except OSError as error:
            raise KernelError(
                error.errno or 0,
                f"turn {setting} offload of {ifname!r} off",
                namespace,
                record,
            ) from error


def read_offload(ifname: str) -> frozenset[str]:
    """Return which of "tso", "gso", "gro" and "tx" are on.

    In the calling thread's namespace; ``ethtool -k IFNAME``. What an interface does
    not know is off.
    """
    on = set()
    for setting, command in _SETTINGS.items():
        with contextlib.suppress(OSError):
            if _ask(ifname, command + _READ):
                on.add(setting)
    return frozenset(on)


def _ask(ifname: str, command: int) -> int:
    """Have a command of ethtool carried out with 0, and return what it answers."""
    # struct ethtool_value: the command and the value; 0 is off
    value = array.array("B", struct.pack("=II", command, 0))
    address, _ = value.buffer_info()
    request = struct.pack("16sP16x", ifname.encode(), address)
    with socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    ) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return int(struct.unpack("=II", value)[1])
