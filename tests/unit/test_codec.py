from __future__ import annotations

import struct
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from pytest_netns import Bridge, Neighbour, Route
from pytest_netns import _codec as codec
from pytest_netns import _codec_tables as codec_tables

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/netlink.h
REQUEST, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x100, 0x200, 0x400
NEW = REQUEST | CREATE | EXCLUSIVE
AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
UP = 1
PLACEHOLDERS = [struct.pack("=I", 0x7A5A_C3F0 + number) for number in range(4)]
CLASSES = {
    range(16, 20): ifinfmsg,
    range(20, 24): ifaddrmsg,
    range(24, 28): rtmsg,
    range(28, 32): ndmsg,
}


def decoded(request: bytearray) -> Any:
    """Decode a request again, with pyroute2's classes, and check its frame."""
    data = bytes(request)
    length, kind, _, sequence, port = struct.unpack_from("=IHHII", data)
    assert length == len(data)
    assert len(data) % 4 == 0
    assert (sequence, port) == (0, 0)
    (message_class,) = (one for kinds, one in CLASSES.items() if kind in kinds)
    message = message_class(data)
    message.decode()
    return message


def head(message: Any) -> tuple[int, int]:
    """Return type and flags."""
    return message["header"]["type"], message["header"]["flags"]


def attributes(message: Any) -> dict[str, Any]:
    """Return the attributes by name; none is there twice."""
    pairs = [(one[0], one[1]) for one in message["attrs"]]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def nested(message: Any, *path: str) -> dict[str, Any]:
    """Return the attributes of a nested attribute."""
    for name in path:
        message = message.get_attr(name)
    return attributes(message)


# --- links ---


def test_a_cable_is_one_request_with_both_ends() -> None:
    """Names, indexes, MAC addresses, MTU and the peer's namespace are in it."""
    message = decoded(
        codec.add_veth(
            "eth0",
            11,
            "veth-peer",
            12,
            7,
            lladdr="02:00:00:00:00:01",
            peer_lladdr="02:00:00:00:00:02",
            mtu=1400,
        )
    )

    assert head(message) == (16, NEW)
    assert (message["index"], message["flags"], message["change"]) == (11, UP, UP)
    own = attributes(message)
    assert own.pop("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "veth"
    assert own == {
        "IFLA_IFNAME": "eth0",
        "IFLA_ADDRESS": "02:00:00:00:00:01",
        "IFLA_MTU": 1400,
    }
    peer = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    peer = peer.get_attr("VETH_INFO_PEER")
    assert peer["index"] == 12
    assert peer["flags"] == 0
    assert attributes(peer) == {
        "IFLA_IFNAME": "veth-peer",
        "IFLA_NET_NS_FD": 7,
        "IFLA_ADDRESS": "02:00:00:00:00:02",
        "IFLA_MTU": 1400,
    }


def test_a_plain_cable_leaves_the_rest_to_the_kernel() -> None:
    """What was not asked for is not mentioned."""
    message = decoded(codec.add_veth("a", 1, "b", 2, 3))

    assert attributes(message).keys() == {"IFLA_IFNAME", "IFLA_LINKINFO"}
    peer = nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert peer == {"IFLA_IFNAME": "b", "IFLA_NET_NS_FD": 3}


def test_a_bridge_is_made_with_its_settings() -> None:
    """Spanning tree, VLANs and MAC address are there from birth, an MTU right after."""
    bridge = Bridge(
        "br0", stp=True, vlan_filtering=True, mtu=9000, lladdr="02:00:00:00:00:01"
    )

    message = decoded(codec.add_bridge(5, bridge))

    assert head(message) == (16, NEW)
    assert (message["index"], message["flags"], message["change"]) == (5, UP, UP)
    own = attributes(message)
    assert own.pop("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"
    assert own == {
        "IFLA_IFNAME": "br0",
        "IFLA_ADDRESS": "02:00:00:00:00:01",
        "IFLA_MTU": 9001,  # what is given next is 9,000, and is kept
    }
    assert nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA") == {
        "IFLA_BR_STP_STATE": 1,
        "IFLA_BR_VLAN_FILTERING": 1,
    }


def test_a_plain_bridge_does_not_mention_vlans() -> None:
    """A kernel without them refuses even their default."""
    message = decoded(codec.add_bridge(5, Bridge("br0")))

    assert nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA") == {
        "IFLA_BR_STP_STATE": 0
    }


def test_a_lent_bridge_gets_the_name_and_settings_of_its_record() -> None:
    """It is there already, and is only changed."""
    message = decoded(codec.set_bridge(5, Bridge("br0", stp=True), rename=True))

    assert head(message) == (16, REQUEST)
    assert message["index"] == 5
    assert message.get_attr("IFLA_IFNAME") == "br0"
    assert nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA") == {
        "IFLA_BR_STP_STATE": 1
    }


def test_a_bridge_that_keeps_its_name_is_not_renamed() -> None:
    """Kernels before 6.2 refuse any name for a bridge that is up, even its own."""
    message = decoded(codec.set_bridge(5, Bridge("br0", stp=True), rename=False))

    assert message.get_attr("IFLA_IFNAME") is None


@pytest.mark.parametrize("vlan_filtering", [False, True])
def test_a_bridge_that_comes_back_forgets_what_it_has_learnt(
    *, vlan_filtering: bool
) -> None:
    """Spanning tree is off, VLANs as well where there were some, the table is empty."""
    message = decoded(codec.reset_bridge(5, 1500, vlan_filtering=vlan_filtering))

    assert head(message) == (16, REQUEST)
    assert message["index"] == 5
    assert message.get_attr("IFLA_MTU") == 1500
    data = nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA")
    assert data["IFLA_BR_STP_STATE"] == 0
    assert "IFLA_BR_FDB_FLUSH" in data
    assert data.get("IFLA_BR_VLAN_FILTERING") == (0 if vlan_filtering else None)


@pytest.mark.parametrize(
    ("up", "master", "flags", "change", "expected"),
    [
        (True, None, UP, UP, {}),
        (False, None, 0, UP, {}),
        (None, 3, 0, 0, {"IFLA_MASTER": 3}),
        (True, 3, UP, UP, {"IFLA_MASTER": 3}),
    ],
)
def test_a_link_is_changed_where_it_was_asked_for(
    up: bool | None,  # noqa: FBT001  # a parameter of the test
    master: int | None,
    flags: int,
    change: int,
    expected: dict[str, int],
) -> None:
    """Neither state nor bridge is touched without a word about it."""
    message = decoded(codec.set_link(9, up=up, master=master))

    assert head(message) == (16, REQUEST)
    assert (message["index"], message["flags"], message["change"]) == (9, flags, change)
    assert attributes(message) == expected


def test_a_link_is_signed() -> None:
    """With a text that says nothing of its state."""
    message = decoded(codec.set_link(9, alias="ours"))

    assert head(message) == (16, REQUEST)
    assert (message["index"], message["flags"], message["change"]) == (9, 0, 0)
    assert attributes(message) == {"IFLA_IFALIAS": "ours"}


def test_a_link_is_deleted_by_its_index() -> None:
    """And by nothing else."""
    message = decoded(codec.delete_link(9))

    assert head(message) == (17, REQUEST)
    assert message["index"] == 9
    assert attributes(message) == {}


def test_links_are_deleted_by_their_group() -> None:
    """Each is put into it, then all of it is deleted."""
    member = decoded(codec.set_group(9, 7))
    dying = decoded(codec.delete_group(7))

    assert head(member) == (16, REQUEST)
    assert member["index"] == 9
    assert head(dying) == (17, REQUEST)
    assert dying["index"] == 0
    assert attributes(member) == attributes(dying) == {"IFLA_GROUP": 7}


@pytest.mark.parametrize(("statistics", "mask"), [(False, 8), (True, None)])
def test_a_link_is_read_without_statistics_unless_asked_for(
    *, statistics: bool, mask: int | None
) -> None:
    """They are most of an answer."""
    message = decoded(codec.get_link(9, statistics=statistics))

    assert head(message) == (18, REQUEST)
    assert message["index"] == 9
    assert message.get_attr("IFLA_EXT_MASK") == mask


# --- addresses, routes, neighbours ---


@pytest.mark.parametrize(
    ("text", "family", "prefix", "expected"),
    [
        ("10.0.0.1/24", AF_INET, 24, {"IFA_BROADCAST": "10.0.0.255"}),
        ("10.0.0.0/31", AF_INET, 31, {}),
        ("10.0.0.1/32", AF_INET, 32, {}),
        ("fd00::1/64", AF_INET6, 64, {"IFA_FLAGS": 2}),
    ],
)
def test_an_address_is_added_to_its_link(
    text: str, family: int, prefix: int, expected: dict[str, Any]
) -> None:
    """IPv4 has a broadcast where there is room for it, IPv6 no duplicate detection."""
    message = decoded(codec_tables.add_address(4, ip_interface(text)))

    assert head(message) == (20, NEW)
    assert (message["family"], message["prefixlen"], message["index"]) == (
        family,
        prefix,
        4,
    )
    ip = text.partition("/")[0]
    assert attributes(message) == {"IFA_ADDRESS": ip, "IFA_LOCAL": ip, **expected}


def test_an_address_and_a_route_may_replace_what_is_there() -> None:
    """A link that was down is given back what the kernel took away."""
    address = decoded(
        codec_tables.add_address(4, ip_interface("10.0.0.1/24"), replace=True)
    )
    route = decoded(
        codec_tables.add_route(Route("10.0.0.0/8", dev="e"), 4, 4, replace=True)
    )

    assert head(address) == (20, REQUEST | CREATE | REPLACE)
    assert head(route) == (24, REQUEST | CREATE | REPLACE)


@pytest.mark.parametrize(
    ("route", "family", "index", "header", "expected"),
    [
        (
            Route("10.1.0.0/16", dev="e"),
            4,
            9,
            {"family": AF_INET, "dst_len": 16, "scope": 253, "table": 254},
            {"RTA_DST": "10.1.0.0", "RTA_OIF": 9, "RTA_TABLE": 254},
        ),
        (
            Route("default", via="10.0.0.1"),
            4,
            None,
            {"family": AF_INET, "dst_len": 0, "scope": 0, "table": 254},
            {"RTA_GATEWAY": "10.0.0.1", "RTA_TABLE": 254},
        ),
        (
            Route("default", dev="e"),
            6,
            9,
            {"family": AF_INET6, "dst_len": 0, "scope": 0, "table": 254},
            {"RTA_OIF": 9, "RTA_TABLE": 254},
        ),
        (
            Route("fd01::/48", via="fe80::1", dev="e", metric=5),
            6,
            9,
            {"family": AF_INET6, "dst_len": 48, "scope": 0, "table": 254},
            {
                "RTA_DST": "fd01::",
                "RTA_OIF": 9,
                "RTA_GATEWAY": "fe80::1",
                "RTA_PRIORITY": 5,
                "RTA_TABLE": 254,
            },
        ),
        (
            Route("10.1.0.0/16", dev="e", source="10.0.0.2", table=1000, scope="host"),
            4,
            9,
            {"family": AF_INET, "dst_len": 16, "scope": 254, "table": 0},
            {
                "RTA_DST": "10.1.0.0",
                "RTA_OIF": 9,
                "RTA_PREFSRC": "10.0.0.2",
                "RTA_TABLE": 1000,
            },
        ),
        (
            Route("10.1.0.1", dev="e", scope="global", table=100),
            4,
            9,
            {"family": AF_INET, "dst_len": 32, "scope": 0, "table": 100},
            {"RTA_DST": "10.1.0.1", "RTA_OIF": 9, "RTA_TABLE": 100},
        ),
    ],
)
def test_a_route_is_added_as_it_was_declared(
    route: Route,
    family: int,
    index: int | None,
    header: dict[str, int],
    expected: dict[str, Any],
) -> None:
    """Without a gateway an IPv4 destination is on the link, as ip-route(8) has it."""
    message = decoded(codec_tables.add_route(route, family, index))

    assert head(message) == (24, NEW)
    assert {key: message[key] for key in header} == header
    assert (message["proto"], message["type"]) == (4, 1)  # static, unicast
    assert attributes(message) == expected


@pytest.mark.parametrize(
    ("address", "family"), [("10.0.0.9", AF_INET), ("fd00::9", AF_INET6)]
)
def test_a_neighbour_is_permanent(address: str, family: int) -> None:
    """It is never asked for, and never forgotten."""
    neighbour = Neighbour(address, "02:00:00:00:00:09", dev="e")

    message = decoded(codec_tables.add_neighbour(neighbour, 9))

    assert head(message) == (28, NEW)
    assert (message["family"], message["ifindex"], message["state"]) == (
        family,
        9,
        0x80,
    )
    assert attributes(message) == {
        "NDA_DST": address,
        "NDA_LLADDR": "02:00:00:00:00:09",
    }


def test_the_route_to_an_ipv6_address_is_asked_for() -> None:
    """Where the kernel would deliver to it."""
    message = decoded(codec_tables.get_route("fd00::1"))

    assert head(message) == (26, REQUEST)
    assert (message["family"], message["dst_len"]) == (AF_INET6, 128)
    assert attributes(message) == {"RTA_DST": "fd00::1"}


@pytest.mark.parametrize(
    ("kind", "family", "expected"),
    [
        (codec.RTM_GETLINK, 0, {"IFLA_EXT_MASK": 8}),
        (codec.RTM_GETLINK, AF_BRIDGE, {"IFLA_EXT_MASK": 2}),
        (codec.RTM_GETADDR, AF_INET6, {}),
        (codec.RTM_GETROUTE, 0, {}),
        (codec.RTM_GETNEIGH, AF_BRIDGE, {}),
    ],
)
def test_all_objects_of_a_kind_and_family_are_asked_for(
    kind: int, family: int, expected: dict[str, int]
) -> None:
    """The request has a header of its kind's length."""
    message = decoded(codec.dump(kind, family))

    assert head(message) == (kind, REQUEST)
    assert message["family"] == family
    assert attributes(message) == expected


def test_what_the_kernel_says_is_decoded_by_its_type() -> None:
    """A message of a new address is one of addresses."""
    address = codec.decode(
        bytes(codec_tables.add_address(4, ip_interface("10.0.0.1/24")))
    )
    link = codec.decode(bytes(codec.set_link(9, up=True)))

    assert address.get_attr("IFA_LOCAL") == "10.0.0.1"
    assert link["index"] == 9


# --- templates ---

LLADDR = "02:00:00:00:00:01"
#: Requests that take numbers: name -> (function of the numbers, how many there are).
FILLED: dict[str, tuple[Callable[..., bytearray], int]] = {
    "veth": (lambda i, p, f: codec.add_veth("a", i, "b", p, f, lladdr=LLADDR), 3),
    "bridge": (lambda i: codec.add_bridge(i, Bridge("br0", lladdr=LLADDR)), 1),
    "set bridge": (lambda i: codec.set_bridge(i, Bridge("br0"), rename=True), 1),
    "reset": (lambda i: codec.reset_bridge(i, None, vlan_filtering=True), 1),
    "link": (lambda i: codec.set_link(i, up=True), 1),
    "enslave": (lambda i, m: codec.set_link(i, up=True, master=m), 2),
    "sign": (lambda i: codec.set_link(i, alias="ours"), 1),
    "delete": (codec.delete_link, 1),
    "group": (lambda i: codec.set_group(i, 7), 1),
    "address": (lambda i: codec_tables.add_address(i, ip_interface("fd00::1/64")), 1),
    "route": (lambda i: codec_tables.add_route(Route("10.0.0.0/8", dev="e"), 4, i), 1),
    "neighbour": (
        lambda i: codec_tables.add_neighbour(Neighbour("10.0.0.9", LLADDR, dev="e"), i),
        1,
    ),
    "get": (codec.get_link, 1),
}
filled = pytest.mark.parametrize("name", FILLED)


@filled
def test_two_requests_of_one_shape_differ_in_their_numbers_alone(name: str) -> None:
    """All numbers are in, each once, and everything else stays."""
    make, count = FILLED[name]
    ones = [0x0101_0101 * (number + 1) for number in range(count)]
    others = [0x1111_1111 * (number + 1) for number in range(count)]

    one, other = bytes(make(*ones)), bytes(make(*others))

    expected = one
    for before, after in zip(ones, others, strict=True):
        assert one.count(struct.pack("=I", before)) == 1
        expected = expected.replace(struct.pack("=I", before), struct.pack("=I", after))
    assert other == expected


@filled
def test_no_placeholder_is_left_over(name: str) -> None:
    """Every number that was asked for has been filled in."""
    make, count = FILLED[name]

    request = bytes(make(*range(1, count + 1)))

    assert not [one for one in PLACEHOLDERS if one in request]


@filled
def test_a_request_is_a_copy(name: str) -> None:
    """The sequence number that is written into one is not in the next."""
    make, count = FILLED[name]
    numbers = range(1, count + 1)
    first = make(*numbers)
    before = bytes(first)

    first[:] = b"\xff" * len(first)

    assert bytes(make(*numbers)) == before


def lookalike(placeholder: bytes) -> str:
    """Return a MAC address with the bytes of a placeholder in it."""
    return ":".join(f"{byte:02x}" for byte in (2, *placeholder, 1))


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_mac_address_is_never_taken_for_a_placeholder(placeholder: bytes) -> None:
    """Whatever the user's own bytes are, they arrive."""
    lladdr = lookalike(placeholder)

    message = decoded(
        codec.add_veth("a", 1, "b", 2, 7, lladdr=lladdr, peer_lladdr=lladdr)
    )

    assert message["index"] == 1
    assert message.get_attr("IFLA_ADDRESS") == lladdr
    info = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    peer = info.get_attr("VETH_INFO_PEER")
    assert peer["index"] == 2
    assert attributes(peer) == {
        "IFLA_IFNAME": "b",
        "IFLA_NET_NS_FD": 7,
        "IFLA_ADDRESS": lladdr,
    }


def test_an_address_or_metric_is_never_taken_for_a_placeholder() -> None:
    """Routes with and without a device, addresses, neighbours and bridges alike."""
    index = PLACEHOLDERS[0]
    (metric,) = struct.unpack("=I", index)
    network = f"fd00::{index[:2].hex()}:{index[2:].hex()}"
    plain = Route(network, via="fd00::1", metric=metric)
    with_device = Route(network, dev="e", metric=metric)

    for route, number in ((plain, None), (with_device, 9)):
        message = decoded(codec_tables.add_route(route, 6, number))
        assert message.get_attr("RTA_DST") == network
        assert message.get_attr("RTA_PRIORITY") == metric
        assert message.get_attr("RTA_OIF") == number
    assert decoded(codec_tables.get_route(network)).get_attr("RTA_DST") == network
    address = decoded(codec_tables.add_address(4, ip_interface(f"{network}/64")))
    assert (address["index"], address.get_attr("IFA_LOCAL")) == (4, network)
    neighbour = decoded(
        codec_tables.add_neighbour(Neighbour(network, lookalike(index), dev="e"), 4)
    )
    assert (neighbour["ifindex"], neighbour.get_attr("NDA_DST")) == (4, network)
    bridge = decoded(codec.add_bridge(5, Bridge("b", lladdr=lookalike(index))))
    assert (bridge["index"], bridge.get_attr("IFLA_ADDRESS")) == (5, lookalike(index))


@given(
    st.text(alphabet="abé-.~", min_size=1, max_size=7),
    st.integers(1, 2**31 - 1),
    st.integers(0, 2**31 - 1),
)
def test_any_cable_is_decoded_to_what_was_asked_for(
    ifname: str, index: int, fd: int
) -> None:
    """Names of any length and letters keep the message whole."""
    message = decoded(codec.add_veth(ifname, index, ifname * 2, index, fd))

    assert message.get_attr("IFLA_IFNAME") == ifname
    assert message["index"] == index
    peer = nested(message, "IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert peer == {"IFLA_IFNAME": ifname * 2, "IFLA_NET_NS_FD": fd}
