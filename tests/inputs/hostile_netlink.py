"""Answers of a kernel that nobody should trust."""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import Bridge, Neighbour, Route, _codec, _codec_tables
from pytest_netns._links import _link
from pytest_netns._netlink import (
    Refusal,
    RouteSocket,
    _extended_message,
    attributes,
    split_messages,
)
from pytest_netns._snapshot import (
    _forwarding,
    _multicast,
    _still_parts,
    _vlans,
    bridge_settings,
)
from tests.inputs.hostile import damaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Interface

    from hypothesis.strategies import SearchStrategy

ERROR, DONE = 2, 3


def _header(kind: int, body: bytes, sequence: int = 1) -> bytes:
    padded = body.ljust((len(body) + 3) & ~3, b"\0")
    return struct.pack("=IHHII", 16 + len(body), kind, 0x200, sequence, 0) + padded


def _requests() -> list[bytes]:
    """Return requests of ours: what the kernel answers looks like them."""
    from ipaddress import ip_interface

    address: IPv4Interface | Any = ip_interface("10.0.0.1/24")
    bridge = Bridge("br0", mtu=1400, stp=True, lladdr="02:00:00:00:00:01")
    neighbour = Neighbour("fd00::1", "02:00:00:00:00:02", dev="eth0")
    route = Route("10.1.0.0/24", via="10.0.0.2", metric=5, table=1000)
    cable = _codec.add_veth(
        "eth0", 2, "eth1", 3, 4, lladdr=None, peer_lladdr=None, mtu=9
    )
    made = [
        *(cable, _codec.add_bridge(2, bridge), _codec_tables.add_address(2, address)),
        *(
            _codec_tables.add_route(route, 4, 2),
            _codec_tables.add_neighbour(neighbour, 2),
        ),
    ]
    return [bytes(one).ljust((len(one) + 3) & ~3, b"\0") for one in made]


_REFUSAL = (
    struct.pack("=i", -22) + bytes(16) + struct.pack("=HH", 12, 1) + b"no way\0\0"
)
MESSAGES = [
    *_requests(),
    *(
        _header(ERROR, struct.pack("=i", code) + bytes(16), n)
        for code, n in ((0, 1), (-17, 2))
    ),
    _header(ERROR, _REFUSAL, 3),
    _header(DONE, bytes(4), 1),
]
messages: SearchStrategy[bytes] = damaged(MESSAGES)
datagrams: SearchStrategy[list[bytes]] = st.lists(messages, max_size=4)


class End(OSError):
    """The scripted kernel has nothing more to say."""


class Kernel:
    """Takes the place of a socket, and says what it is told to."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = deque(answers)

    def send(self, data: bytes) -> None:
        """Ignore a request."""

    def recv(self, size: int) -> bytes:
        """Give the next answer."""
        if not self._answers:
            raise End("nothing more")
        return self._answers.popleft()[:size]


def check_message(data: bytes) -> None:
    """Check that whatever reads messages finds what is there, or raises `OSError`."""
    with contextlib.suppress(OSError):
        for _, flags, _, message in split_messages(data):
            assert message in data
            _extended_message(message, flags)
            for read in _READERS:
                with contextlib.suppress(OSError):
                    read(message)
    for _, payload in attributes(data):
        assert payload in data


_READERS: list[Callable[[bytes], object]] = [
    _link,
    _codec.decode,
    _still_parts,
    bridge_settings,
    lambda message: [*_vlans((message,))],
    lambda message: [*_forwarding((message,), b"")],
    lambda message: [*_multicast((message,))],
]


def check_answers(answers: list[bytes]) -> None:
    """Check that requests end with an answer, a refusal or an `OSError`."""
    requests = [bytearray(one) for one in MESSAGES[:3]]
    with RouteSocket() as route:
        real = route._socket
        for ask in (
            lambda: route.apply(requests),
            lambda: [*route.query(requests)],
            lambda: route.dump(requests[0]),
        ):
            route._sequence = 0
            route._socket = Kernel(answers)  # type: ignore[assignment]
            try:
                ask()
            except Refusal as refusal:
                assert 0 <= refusal.position < len(requests)  # noqa: PT017  # of many
            except OSError:
                pass
            finally:
                route._socket = real
