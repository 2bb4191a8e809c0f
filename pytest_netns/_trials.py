"""What the kernel can do, tried out: each trial in a child, in a namespace of its own.

Nothing of it reaches the machine: the namespace goes with the child. Nor does it
reach this process: a library that ends its process ends the child alone.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from . import _codec as codec
from . import _codec_tables as codec_tables
from . import _nftables as nftables
from ._fabric import LOOPBACK_INDEX, first_free_index
from ._netlink import Refusal, RouteSocket, strerror
from ._ruleset import nat_ruleset
from ._syscalls import CLONE_NEWNET, CLONE_NEWUSER, unshare
from ._userns import become_root
from .nat import DNAT, Masquerade
from .records import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long a trial may take, in seconds.
_PATIENCE = 5
#: The user and group nobody (OVERFLOW_UID in the kernel's include/linux/highuid.h).
_NOBODY = 65534


def attempt(trial: Callable[[], None], *, rootless: bool = False) -> str | None:
    """Make a trial in a new namespace; return why it failed, None if it did not.

    Args:
        trial: Called in a child of this process, which must have one thread only.
        rootless: Whether to take a new user namespace for the privileges it needs.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _report(trial, writing, rootless=rootless)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as pipe:
        reason = pipe.read()
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        return reason or f"the attempt ended with {code}"
    return reason or None


def _report(trial: Callable[[], None], writing: int, *, rootless: bool) -> NoReturn:
    """Make the trial in the calling process, write why it failed, and end."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_PATIENCE)
        try:
            if rootless:
                become_root()
            unshare(CLONE_NEWNET)
            trial()
        except BaseException as error:
            os.write(writing, _reason(error).encode(errors="replace"))
        code = 0
    finally:
        os._exit(code)


def _reason(error: BaseException) -> str:
    """Say in one line why a trial failed."""
    if isinstance(error, Refusal):
        name = errno.errorcode.get(error.number, str(error.number))
        return f"{strerror(error)} ({name})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__


# --- trials ---


def stay() -> None:
    """Do nothing: being there is the trial."""


def by_nobody(trial: Callable[[], None]) -> Callable[[], None]:
    """Return a trial that takes its user namespace as an ordinary user."""

    def as_nobody() -> None:
        with contextlib.suppress(PermissionError):  # root of a container, perhaps
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        trial()

    return as_nobody


def set_loopback_up() -> None:
    """``ip link set lo up``: some machines grant namespaces, but no rights in them."""
    _apply(codec.set_link(LOOPBACK_INDEX, up=True))


def add_veth() -> None:
    """``ip link add veth0 type veth peer name veth1``."""
    index = first_free_index()
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _apply(codec.add_veth("veth0", index, "veth1", index + 1, here))


def add_bridge() -> None:
    """``ip link add br0 type bridge``."""
    _apply(codec.add_bridge(first_free_index(), Bridge("br0")))


def add_vlan_filtering_bridge() -> None:
    """``ip link add br0 type bridge vlan_filtering 1``."""
    _apply(codec.add_bridge(first_free_index(), Bridge("br0", vlan_filtering=True)))


def add_ipv6_address() -> None:
    """``ip address add fd00::1/64 dev lo``."""
    _apply(
        codec_tables.add_address(LOOPBACK_INDEX, ipaddress.ip_interface("fd00::1/64"))
    )


def load_nat() -> None:
    """``nft -f -``, with rules for NAT of each kind."""
    rules = (Masquerade(), DNAT("10.0.0.2:80", port=8080))
    nftables.load(nat_ruleset(rules), namespace="trial", record=rules)


def look_for_nftables() -> None:
    """Ask the kernel for nftables; needs no program."""
    nftables.check_kernel("nft")


def _apply(request: bytearray) -> None:
    with RouteSocket() as route:
        route.apply([request])
