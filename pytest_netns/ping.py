"""Echo requests over ICMP datagram sockets: no program, no raw packets.

Source: icmp(7) and ip(7), IP_RECVERR; net/ipv4/ping.c. The kernel fills in
identifier and checksum, and delivers only the replies to this socket. Where it
does not let us (ping_group_range), a raw socket does, and we do the rest.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._addresses import Address
    from ._nsfile import NamespaceFile

_IP_RECVERR = 11
_IPV6_RECVERR = 25
#: struct sock_extended_err (include/uapi/linux/errqueue.h)
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_PAYLOAD = b"pytest-netns".ljust(56, b".")

_ECHO_REQUEST = {4: 8, 6: 128}
_ECHO_REPLY = {4: 0, 6: 129}
#: Codes of "destination unreachable" that mean a filter: RFC 1812 and RFC 4443.
_PROHIBITED = {4: frozenset({9, 10, 13}), 6: frozenset({1, 5, 6})}
_TYPE_UNREACHABLE = {4: 3, 6: 1}
_TYPE_REDIRECT = 5
_TYPE_TIME_EXCEEDED = {4: 11, 6: 3}
_REASONS = {
    (4, 0): "network unreachable",
    (4, 1): "host unreachable",
    (4, 2): "protocol unreachable",
    (4, 3): "port unreachable",
    (4, 4): "fragmentation needed",
    (6, 0): "no route",
    (6, 2): "beyond scope",
    (6, 3): "address unreachable",
    (6, 4): "port unreachable",
}
#: What the kernel tells itself when nobody answers ARP or neighbour discovery.
_FAILED_NEIGHBOUR = frozenset({(4, 1), (6, 3)})
_ERRNO_REASONS = {
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTUNREACH: "host unreachable",
    errno.EACCES: "prohibited by a route or filter of this namespace",
    errno.EPERM: "prohibited by a filter of this namespace",
    errno.EADDRNOTAVAIL: "no source address",
    errno.EMSGSIZE: "message too long",
    errno.ENETDOWN: "network is down",
    errno.ENODEV: "no such device",
}
_NOT_PERMITTED = (
    "not permitted: net.ipv4.ping_group_range leaves this process out, and it has no "
    "CAP_NET_RAW"
)


@dataclass(frozen=True, slots=True)
class PingResult:
    """What came of a ping; true if every echo was answered.

    Attributes:
        target: The address that was asked.
        sent: How many echo requests were sent, or were to be.
        received: How many were answered in time.
        rtts: The round-trip time of each answer, in seconds.
        error: Why the first unanswered echo was not answered, or None.
    """

    target: str
    sent: int
    received: int
    rtts: tuple[float, ...] = ()
    error: str | None = None

    def __bool__(self) -> bool:
        return self.sent > 0 and self.received == self.sent

    def __repr__(self) -> str:
        text = f"<PingResult {self.target}: {self.received} of {self.sent} answered"
        if self.rtts:
            text += f", {min(self.rtts) * 1e3:.3f} ms at best"
        return f"{text}, {self.error}>" if self.error else f"{text}>"


class _Pinger:
    """One run of echoes to one target."""

    def __init__(
        self,
        file: NamespaceFile,
        connection: socket.socket,
        target: Address,
        address: tuple[Any, ...],
    ) -> None:
        self._file = file
        self._socket = connection
        self._target = target
        self._address = address
        self._family = target.version
        self._is_raw = connection.type == socket.SOCK_RAW
        #: By which echoes are told from those of others; the kernel has its own.
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sent_at: dict[int, float] = {}
        self.rtts: dict[int, float] = {}
        self.errors: dict[int, str] = {}

    def send(self, number: int) -> None:
        request = self._request(number)
        while number not in self.errors:
            self._sent_at[number] = time.perf_counter()
            try:
                self._socket.sendto(request, self._address)
                return
            except OSError as error:
                # what an earlier echo brought home comes up here, too: try again
                if not self._read_errors():
                    self.errors[number] = _reason(error)

    def _request(self, number: int) -> bytes:
        kind = _ECHO_REQUEST[self._family]
        rest = struct.pack("!HH", self._identifier, number) + _PAYLOAD
        # that of ICMPv6 is always computed by the kernel (ipv6(7), IPV6_CHECKSUM)
        checksum = _checksum(bytes([kind, 0, 0, 0]) + rest) if self._is_raw else 0
        return struct.pack("!BBH", kind, 0, checksum) + rest

    def _number_of(self, message: bytes, kind: int) -> int | None:
        """Return the number of an echo of ours; None if it is somebody else's."""
        if len(message) < 8:
            return None
        found, _, _, identifier, number = struct.unpack_from("!BBHHH", message)
        if self._is_raw and (found, identifier) != (kind, self._identifier):
            return None
        return int(number)

    def listen_until(self, deadline: float, last: int) -> None:
        """Collect answers until all echoes up to `last` have one, or the deadline."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        is_last = False
        while not self._answered(last) and not is_last:
            remaining = deadline - time.perf_counter()
            # what is there counts, however late it is looked at
            is_last = remaining <= 0
            if not poll.poll(max(remaining, 0) * 1000):
                return
            self._read_errors()
            self._read_replies()

    def _answered(self, last: int) -> bool:
        return all(
            number in self.rtts or number in self.errors
            for number in range(1, last + 1)
        )

    def _read_replies(self) -> None:
        while True:
            try:
                data = self._socket.recv(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error of the queue, which is read on its own
            now = time.perf_counter()
            if self._is_raw and self._family == 4:
                data = data[(data[0] & 15) * 4 :]  # behind its IP header
            number = self._number_of(data, _ECHO_REPLY[self._family])
            if number in self._sent_at:
                self.rtts.setdefault(number, now - self._sent_at[number])

    def _read_errors(self) -> bool:
        found = False
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    2048, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
                )
            except OSError:
                return found
            number = self._number_of(data, _ECHO_REQUEST[self._family])
            if number is None and self._is_raw:
                continue  # somebody else's: raw sockets hear of all errors
            found = True
            for _, kind, payload in ancillary:
                if kind in (_IP_RECVERR, _IPV6_RECVERR) and not self._is_advice(
                    payload
                ):
                    self.errors.setdefault(number or 0, self._explain(payload))

    def _is_advice(self, payload: bytes) -> bool:
        """Tell whether it is a redirect, whose sender has forwarded the echo."""
        _, origin, kind, _, _, _, _ = _EXTENDED_ERROR.unpack_from(payload)
        return bool(origin == _ORIGIN_ICMP and kind == _TYPE_REDIRECT)

    def _explain(self, payload: bytes) -> str:
        number, origin, kind, code, _, _, _ = _EXTENDED_ERROR.unpack_from(payload)
        if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
            if number == errno.EHOSTUNREACH:
                return self._no_neighbour()
            return _reason(OSError(number, os.strerror(number)))
        reporter = _offender(payload[_EXTENDED_ERROR.size :])
        if kind == _TYPE_TIME_EXCEEDED[self._family]:
            return f"time exceeded at {reporter}"
        if kind == _TYPE_UNREACHABLE[self._family]:
            if code in _PROHIBITED[self._family]:
                return f"administratively prohibited by {reporter}"
            if (self._family, code) in _FAILED_NEIGHBOUR and self._is_own(reporter):
                return self._no_neighbour()
            reason = _REASONS.get((self._family, code), f"unreachable (code {code})")
            return f"{reason}, says {reporter}"
        return f"ICMP type {kind} code {code} from {reporter}"

    def _no_neighbour(self) -> str:
        return f"no answer from {self._target}: no neighbour has that address"

    def _is_own(self, address: str) -> bool:
        """Tell whether the namespace itself has an address."""
        with self._file.entered(), _datagram_socket(self._socket) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                return False
            return True


def ping(
    file: NamespaceFile, target: Address, *, count: int, interval: float, timeout: float
) -> PingResult:
    """Send echoes from a namespace; see `NetworkNamespace.ping`."""
    try:
        address = _socket_address(file, target)
        connection = _open(file, target)
    except PermissionError:
        return PingResult(str(target), count, 0, (), _NOT_PERMITTED)
    except OSError as error:
        return PingResult(str(target), count, 0, (), _reason(error))
    with connection:
        pinger = _Pinger(file, connection, target, address)
        start = time.perf_counter()
        for number in range(1, count + 1):
            pinger.listen_until(start + (number - 1) * interval, number - 1)
            _pause_until(start + (number - 1) * interval)
            pinger.send(number)
        pinger.listen_until(time.perf_counter() + timeout, count)
    unanswered = (number for number in range(1, count + 1) if number not in pinger.rtts)
    first = next(unanswered, None)
    reason = None
    if first is not None:
        reason = pinger.errors.get(
            first, f"no answer from {target} within {timeout:g} s"
        )
    rtts = tuple(rtt for _, rtt in sorted(pinger.rtts.items()))
    return PingResult(str(target), count, len(rtts), rtts, reason)


def _open(file: NamespaceFile, target: Address) -> socket.socket:
    with file.entered():
        if target.version == 4:
            connection = _icmp_socket(socket.AF_INET, socket.IPPROTO_ICMP)
            connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        else:
            connection = _icmp_socket(socket.AF_INET6, socket.IPPROTO_ICMPV6)
            connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    return connection


def _icmp_socket(family: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        return socket.socket(family, socket.SOCK_RAW, protocol)


def _checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071 of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _datagram_socket(like: socket.socket) -> socket.socket:
    return socket.socket(like.family, socket.SOCK_DGRAM)


def _socket_address(file: NamespaceFile, target: Address) -> tuple[Any, ...]:
    """Return what `sendto` takes; a zone is an interface's name, known inside only."""
    zone = target.scope_id if isinstance(target, ipaddress.IPv6Address) else None
    if zone is None:
        return (str(target), 0)
    with file.entered():
        try:
            index = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
        except OSError as error:  # without an errno
            raise OSError(errno.ENODEV, f"no interface {zone!r}") from error
    return (str(target).partition("%")[0], 0, 0, index)


def _pause_until(moment: float) -> None:
    # answers to all earlier echoes are in: nothing is left to listen for
    with contextlib.suppress(ValueError):
        time.sleep(moment - time.perf_counter())


def _offender(data: bytes) -> str:
    """Return who sent the error: a socket address behind the extended error."""
    if len(data) < 8:
        return "somebody"
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_INET:
        return str(ipaddress.ip_address(data[4:8]))
    if family == socket.AF_INET6 and len(data) >= 24:
        return str(ipaddress.ip_address(data[8:24]))
    return "somebody"


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return _ERRNO_REASONS.get(number, os.strerror(number).lower())
