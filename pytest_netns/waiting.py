"""Waiting with a deadline for what cannot be awaited otherwise."""

from __future__ import annotations

import ipaddress
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .errors import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._addresses import Address
    from ._nsfile import NamespaceFile

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02

# include/net/tcp_states.h: a UDP socket that is not connected is in TCP_CLOSE
_LISTENING = {"tcp": "0A", "udp": "07"}


def wait_until(
    function: Callable[[], T | None],
    *,
    timeout: float = 5.0,
    message: str | None = None,
) -> T:
    """Call `function` until what it returns is true, and return that.

    An `AssertionError` counts as "not yet", so that it may hold assertions.

    Args:
        function: Called again and again, with pauses of 1 to 20 ms.
        timeout: The deadline, in seconds.
        message: What is waited for, in words; None shows the function.

    Raises:
        WaitTimeout: The deadline has passed; it says what was last seen.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            value = function()
        except AssertionError as error:
            last_seen = f"AssertionError: {error}"
        else:
            if value:
                return value
            last_seen = repr(value)
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            awaited = (
                message or f"{getattr(function, '__qualname__', function)}() to be true"
            )
            raise WaitTimeout(awaited, timeout, last_seen)
        time.sleep(min(pause, remaining))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for peers."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


def listeners(file: NamespaceFile, protocol: str) -> list[Listener]:
    """List the sockets that listen in a namespace; ``ss -ln``.

    Read from /proc and never by connecting, which a server would notice.

    Raises:
        ValueError: `protocol` is neither ``"tcp"`` nor ``"udp"``.
    """
    if protocol not in _LISTENING:
        raise ValueError(f"protocol {protocol!r} is neither 'tcp' nor 'udp'")
    found: list[Listener] = []
    with file.entered():
        for name in (protocol, protocol + "6"):
            try:
                with open(f"/proc/thread-self/net/{name}", encoding="ascii") as table:
                    text = table.read()
            except FileNotFoundError:
                continue  # a kernel without IPv6
            found += _parse(text, _LISTENING[protocol])
    return found


def _parse(text: str, state: str) -> Iterator[Listener]:
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3] == state:
            raw, _, port = words[1].partition(":")
            yield Listener(_parse_address(raw), int(port, 16))


def _parse_address(raw: str) -> Address:
    """Read an address that the kernel printed as words in its own byte order."""
    words = [int(raw[start : start + 8], 16) for start in range(0, len(raw), 8)]
    return ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))


def wait_listening(
    file: NamespaceFile,
    port: int,
    *,
    protocol: str = "tcp",
    address: str | None = None,
    timeout: float = 5.0,
    still_hopeful: Callable[[], None] = lambda: None,
) -> Listener:
    """Wait until somebody listens on `port` in a namespace.

    Args:
        file: The namespace.
        port: The port.
        protocol: ``"tcp"`` or ``"udp"``.
        address: The local address that must be served, be it by a wildcard.
        timeout: The deadline, in seconds.
        still_hopeful: Called between the looks; raises to end the wait early.

    Raises:
        WaitTimeout: Nobody does; it lists who listens where.
    """
    wanted = ipaddress.ip_address(address) if address is not None else None
    seen: list[Listener] = []

    def look() -> Listener | None:
        seen[:] = listeners(file, protocol)
        found = next((one for one in seen if _serves(one, port, wanted)), None)
        if found is None:
            still_hopeful()
        return found

    place = f" of {address}" if address else ""
    awaited = f"a listener on {protocol} port {port}{place} in namespace {file.name!r}"
    try:
        return wait_until(look, timeout=timeout, message=awaited)
    except WaitTimeout:
        shown = ", ".join(map(str, seen)) or "no listener at all"
        raise WaitTimeout(awaited, timeout, shown) from None


def _serves(listener: Listener, port: int, wanted: Address | None) -> bool:
    if listener.port != port:
        return False
    if wanted is None or listener.address == wanted:
        return True
    if getattr(listener.address, "ipv4_mapped", None) == wanted:
        return True  # an IPv6 socket that is bound to an IPv4 address
    if not listener.address.is_unspecified:
        return False
    # [::] takes IPv4 as well, unless it asked not to (ipv6(7), IPV6_V6ONLY), of
    # which /proc says nothing
    return listener.address.version in (wanted.version, 6)
