from __future__ import annotations

import copy
import dataclasses
import ipaddress
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Host,
    InvalidAddress,
    InvalidName,
    Masquerade,
    Namespace,
    Neighbour,
    OVSBridge,
    Route,
    TopologyError,
    Veth,
)
from pytest_netns.records import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns._record import Record

FULL: list[Record] = [
    Route("default", via="10.0.0.1"),
    Route(
        "10.1.0.0/16",
        via="10.0.0.1",
        dev="eth0",
        source="10.0.0.2",
        metric=5,
        table=100,
        scope="global",
    ),
    Neighbour("10.0.0.9", "02:00:00:00:00:09", dev="eth0"),
    Namespace("left"),
    Namespace(
        "left",
        routes=[Route("10.0.1.0/24", dev="eth0"), Route("default", via="fd00::1")],
        neighbours=[Neighbour("fd00::9", "02:00:00:00:00:09", dev="eth0")],
        forwarding=True,
        sysctls={
            "net.ipv4.tcp_syncookies": 0,
            "net.ipv4.ip_local_port_range": "1024 2000",
        },
        hosts={"mirror": "192.0.2.1", "both": ["192.0.2.2", "2001:db8::2"]},
        nameservers=["192.0.2.53", "2001:db8::53"],
        hostname="left.example",
    ),
    Namespace(
        "gw",
        nat=[Masquerade(), SNAT("192.0.2.1"), DNAT("10.0.0.2", port=80)],
        nftables="table inet mine {\n}\n",
    ),
    Host(),
    Host("laptop"),
    Host(
        routes=[Route("10.1.0.0/16", via="10.0.0.2"), Route("fd01::/64", dev="x")],
        share_connection=True,
    ),
    OVSBridge("br0"),
    OVSBridge(
        "br0",
        namespace="gw",
        address=["10.0.0.1/24", "fd00::1/64"],
        subnet=("10.0.0.0/24", "fd00::/64"),
    ),
    Bridge("br0"),
    Bridge(
        "br0",
        namespace="gw",
        address=["10.0.0.1/24", "fd00::1/64"],
        subnet=("10.0.0.0/24", "fd00::/64"),
        stp=True,
        vlan_filtering=True,
        mtu=9000,
        lladdr="02:00:00:00:00:01",
    ),
    Veth("left", "br0"),
    Veth(
        "left:eth0",
        "right:eth0",
        address="10.0.0.1/24",
        peer_address=["10.0.0.2/24", "fd00::2/64"],
        subnet="10.0.0.0/24",
        lladdr="02:00:00:00:00:01",
        peer_lladdr="02:00:00:00:00:02",
        mtu=1400,
        offload=False,
    ),
]
every_record = pytest.mark.parametrize(
    "record", FULL, ids=lambda record: repr(record)[:20]
)


@every_record
def test_the_repr_of_a_record_evaluates_to_an_equal_one(record: Record) -> None:
    """What an error message shows can be pasted into a test."""
    assert eval(repr(record)) == record  # noqa: S307  # our own repr


@every_record
def test_a_record_survives_pickling_and_copying(record: Record) -> None:
    """A copy is equal, has the same hash, and is of the same kind."""
    for copied in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):  # noqa: S301
        assert type(copied) is type(record)
        assert copied == record
        assert hash(copied) == hash(record)


@every_record
def test_a_record_does_not_change(record: Record) -> None:
    """Fields cannot be set, and new ones cannot be added."""
    before = repr(record)
    field = dataclasses.fields(record)[0].name  # type: ignore[arg-type]

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, field, "other")
    with pytest.raises((AttributeError, TypeError)):
        record.undeclared = 1  # type: ignore[attr-defined]

    assert repr(record) == before


def test_a_repr_shows_what_differs_from_the_defaults_only() -> None:
    """An error message is not buried under defaults."""
    assert repr(Namespace("left")) == "Namespace('left')"
    assert repr(Veth("left:eth0", "br0", address="10.0.1.1/24")) == (
        "Veth('left:eth0', 'br0', address='10.0.1.1/24')"
    )
    assert repr(Neighbour("10.0.0.9", "02:00:00:00:00:09", dev="eth0")) == (
        "Neighbour('10.0.0.9', '02:00:00:00:00:09', dev='eth0')"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Veth("a", "b", address="FD00::1/64"), Veth("a", "b", address=["fd00::1/64"])),
        (
            Veth("a", "b", lladdr="02-00-00-00-00-0A"),
            Veth("a", "b", lladdr="02:00:00:00:00:0a"),
        ),
        (Bridge("b", subnet="10.0.0.0/24"), Bridge("b", subnet=("10.0.0.0/24",))),
        (Bridge("b", subnet=()), Bridge("b")),
        (
            Namespace("n", routes=Route("default", dev="e"), nameservers="10.0.0.1"),  # type: ignore[arg-type]
            Namespace(
                "n", routes=[Route("default", dev="e")], nameservers=("10.0.0.1",)
            ),
        ),
        (
            Namespace("n", sysctls={"net.a": True, "net.b": 2}),
            Namespace("n", sysctls={"net.b": "2", "net.a": 1}),
        ),
        (Route("10.0.0.1", dev="e"), Route("10.0.0.1/32", dev="e")),
        (
            Namespace("n", hosts={"m": "10.0.0.1"}),
            Namespace("n", hosts={"m": ["10.0.0.1"]}),
        ),
        (
            Veth("a", "b", address=ipaddress.ip_interface("10.0.0.1/24")),  # type: ignore[arg-type]
            Veth("a", "b", address="10.0.0.1/24"),
        ),
        (
            Host(routes=Route("10.0.0.0/8", dev="x")),  # type: ignore[arg-type]
            Host("host", routes=[Route("10.0.0.0/8", dev="x")]),
        ),
        (
            Namespace("n", nat=Masquerade()),  # type: ignore[arg-type]
            Namespace("n", nat=[Masquerade()]),
        ),
        (
            OVSBridge("b", namespace="a", address="10.0.0.1/24", subnet="10.0.0.0/24"),
            OVSBridge(
                "b", namespace="a", address=["10.0.0.1/24"], subnet=["10.0.0.0/24"]
            ),
        ),
        (
            Veth("a", "b", subnet=ipaddress.ip_network("fd00::/120")),  # type: ignore[arg-type]
            Veth("a", "b", subnet="fd00::/120"),
        ),
    ],
)
def test_two_ways_to_write_one_thing_are_equal(one: Record, other: Record) -> None:
    """Fields are normalised when a record is made."""
    assert one == other
    assert hash(one) == hash(other)


def test_records_of_different_kinds_or_values_differ() -> None:
    """A namespace is no bridge, and direction counts."""
    machine: Record = Namespace("x")

    assert machine != Bridge("x")
    assert machine != Host("x")
    assert Bridge("x") != OVSBridge("x")  # type: ignore[comparison-overlap]
    assert Host(share_connection=True) != Host()
    assert Namespace("n", nat=[Masquerade()]) != Namespace("n")
    assert Veth("a", "b") != Veth("b", "a")
    assert Bridge("b", stp=True) != Bridge("b")
    assert Namespace("n", sysctls={"net.a": 1}) != Namespace("n", sysctls={"net.a": 2})


def test_a_record_keeps_nothing_that_its_maker_can_change() -> None:
    """Lists and mappings are copied into the record."""
    sysctls: dict[str, Any] = {"net.a": 1}
    routes = [Route("default", dev="eth0")]
    namespace = Namespace("n", sysctls=sysctls, routes=routes)

    sysctls["net.b"] = 2
    routes.clear()

    assert namespace == Namespace(
        "n", sysctls={"net.a": 1}, routes=[Route("default", dev="eth0")]
    )
    with pytest.raises(TypeError):
        namespace.sysctls["net.b"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (lambda: Namespace(""), InvalidName, "namespace name is empty"),
        (lambda: Namespace("a b"), InvalidName, "'a b' contains ' '"),
        (lambda: Namespace("a:b"), InvalidName, "'a:b' contains ':'"),
        (
            lambda: Namespace("n", hostname="a b"),
            InvalidName,
            r"Namespace\('n'\) hostname",
        ),
        (lambda: Bridge("a/b"), InvalidName, "bridge name 'a/b' contains '/'"),
        (
            lambda: Bridge("x" * 16),
            InvalidName,
            "has 16 characters; the limit .* is 15",
        ),
        (lambda: Bridge("all"), InvalidName, "'all' is reserved"),
        (lambda: Bridge("default"), InvalidName, "'default' is reserved"),
        (lambda: Bridge("lo"), InvalidName, "'lo' is reserved"),
        (lambda: Bridge("br%d"), InvalidName, "'br%d' contains '%'"),
        (lambda: Bridge("b", namespace=""), InvalidName, r"Bridge\('b'\) namespace"),
        (
            lambda: Veth("a:" + "x" * 16, "b"),
            InvalidName,
            "has 16 characters; .* is 15",
        ),
        (
            lambda: Veth("a", "b:" + "x" * 16),
            InvalidName,
            "has 16 characters; .* is 15",
        ),
        (
            lambda: Veth("a:", "b"),
            InvalidName,
            "endpoint 'a:': interface name is empty",
        ),
        (
            lambda: Veth(":eth0", "b"),
            InvalidName,
            "endpoint ':eth0': node name is empty",
        ),
        (lambda: Veth("a:b:c", "b"), InvalidName, "'b:c' contains ':'"),
        (lambda: Veth("a:all", "b"), InvalidName, "'all' is reserved"),
        (lambda: Veth(5, "b"), InvalidName, "endpoint 5 is not a str"),  # type: ignore[arg-type]
        (
            lambda: Veth("a", "b", address="10.0.0.1"),
            InvalidAddress,
            r"Veth\('a', 'b'\) address: '10.0.0.1' has no prefix",
        ),
        (
            lambda: Veth("a", "b", peer_address="10.0.0.0/24"),
            InvalidAddress,
            r"Veth\('a', 'b'\) peer_address: host bits are missing in '10.0.0.0/24'",
        ),
        (
            lambda: Veth("a", "b", subnet="10.0.0.1/24"),
            InvalidAddress,
            r"subnet: '10.0.0.1/24' is not a network: it has host bits set",
        ),
        (
            lambda: Veth("a", "b", peer_lladdr="01:00:5e:00:00:01"),
            InvalidAddress,
            "peer_lladdr: .* is a multicast MAC address",
        ),
        (
            lambda: Veth("a", "b", mtu=67),
            TopologyError,
            "mtu: 67 is not .* 68 to 65535",
        ),
        (
            lambda: Veth("a", "b", mtu=65536),
            TopologyError,
            "mtu: 65536 is not a number",
        ),
        (lambda: Bridge("b", mtu="big"), TopologyError, "mtu: 'big' is not a number"),  # type: ignore[arg-type]
        (lambda: Bridge("b", mtu=True), TopologyError, "mtu: True is not a number"),
        (
            lambda: Bridge("b", address="10.0.0.1/24"),
            TopologyError,
            "has an address but no namespace: .* give it namespace=",
        ),
        (
            lambda: Bridge("b", subnet=["10.0.0.0/24", "10.1.0.0/24"]),
            InvalidAddress,
            "at most one subnet of each family",
        ),
        (
            lambda: Route("lan", dev="e"),
            InvalidAddress,
            r"Route\('lan'\): 'lan' is not a net",
        ),
        (
            lambda: Route("10.0.0.1/8", dev="e"),
            InvalidAddress,
            "network is '10.0.0.0/8'",
        ),
        (
            lambda: Route("default"),
            TopologyError,
            r"needs a gateway \(via=\) or .* \(dev=\)",
        ),
        (
            lambda: Route("default", via="gw"),
            InvalidAddress,
            "via: 'gw' is not an IPv4",
        ),
        (
            lambda: Route("default", dev="a b"),
            InvalidName,
            "dev name 'a b' contains ' '",
        ),
        (
            lambda: Route("default", dev="e", metric=-1),
            TopologyError,
            "metric: -1 is not",
        ),
        (
            lambda: Route("default", dev="e", table=2**32),
            TopologyError,
            "table: 4294967296 is",
        ),
        (
            lambda: Route("default", dev="e", metric=True),
            TopologyError,
            "metric: True is",
        ),
        (
            lambda: Route("default", dev="e", scope="near"),
            TopologyError,
            "scope: 'near' is not one of global, host, link, site",
        ),
        (
            lambda: Route("10.0.0.0/8", via="fd00::1"),
            InvalidAddress,
            "mixes IPv4 and IPv6",
        ),
        (
            lambda: Route("default", via="fd00::1", source="10.0.0.1"),
            InvalidAddress,
            "mixes IPv4 and IPv6",
        ),
        (
            lambda: Route("default", via="fe80::1"),
            InvalidAddress,
            "link-local .* needs dev=",
        ),
        (
            lambda: Neighbour("left", "02:00:00:00:00:01", dev="e"),
            InvalidAddress,
            r"Neighbour\('left'\): 'left' is not an IPv4",
        ),
        (
            lambda: Neighbour("10.0.0.1", "02:00", dev="e"),
            InvalidAddress,
            r"Neighbour\('10.0.0.1'\) lladdr: '02:00' is not a MAC address",
        ),
        (
            lambda: Neighbour("10.0.0.1", "02:00:00:00:00:01", dev=""),
            InvalidName,
            "dev name is empty",
        ),
        (
            lambda: Namespace("n", routes=["default"]),  # type: ignore[list-item]
            TopologyError,
            r"Namespace\('n'\) routes: 'default' is not a Route",
        ),
        (
            lambda: Namespace("n", neighbours=5),  # type: ignore[arg-type]
            TopologyError,
            "neighbours: 5 is not a Neighbour",
        ),
        (
            lambda: Namespace("n", nat=["masquerade"]),  # type: ignore[list-item]
            TopologyError,
            r"Namespace\('n'\) nat: 'masquerade' is not a Masquerade or SNAT or DNAT",
        ),
        (
            lambda: Namespace("n", nat=[Route("default", dev="e")]),  # type: ignore[list-item]
            TopologyError,
            r"nat: Route\('default', dev='e'\) is not a Masquerade or SNAT or DNAT",
        ),
        (
            lambda: Namespace("n", nftables=["table inet a"]),  # type: ignore[arg-type]
            TopologyError,
            r"Namespace\('n'\) nftables: \['table inet a'\] is not a str",
        ),
        (
            lambda: Namespace("n", nftables=None),  # type: ignore[arg-type]
            TopologyError,
            "nftables: None is not a str",
        ),
        (lambda: Host(""), InvalidName, "host name is empty"),
        (lambda: Host("a:b"), InvalidName, "host name 'a:b' contains ':'"),
        (lambda: Host("x" * 65), InvalidName, "has 65 characters; .* is 64"),
        (
            lambda: Host(share_connection=1),  # type: ignore[arg-type]
            TopologyError,
            "share_connection=1 is neither True nor False",
        ),
        (
            lambda: Host(routes=["default"]),  # type: ignore[list-item]
            TopologyError,
            r"Host\('host'\) routes: 'default' is not a Route",
        ),
        (lambda: OVSBridge("x" * 16), InvalidName, "has 16 characters; .* is 15"),
        (lambda: OVSBridge("lo"), InvalidName, "'lo' is reserved"),
        (
            lambda: OVSBridge("b", address="10.0.0.1/24"),
            TopologyError,
            r"OVSBridge\('b', .* has an address but no namespace",
        ),
        (
            lambda: OVSBridge("b", namespace="a", address="10.0.0.0/24"),
            InvalidAddress,
            r"OVSBridge\('b'\) address: host bits are missing",
        ),
        (
            lambda: OVSBridge("b", subnet=["fd00::/64", "fd01::/64"]),
            InvalidAddress,
            r"OVSBridge\('b'\) subnet: at most one subnet of each family",
        ),
        (
            lambda: Namespace("n", sysctls={"kernel.hostname": "x"}),
            TopologyError,
            "'kernel.hostname' is not below 'net.', and would change the machine",
        ),
        (
            lambda: Namespace("n", sysctls={"net/../kernel/hostname": "x"}),
            TopologyError,
            "is not the name of a sysctl",
        ),
        (
            lambda: Namespace("n", sysctls={"net.": 1}),
            TopologyError,
            "'net.' is not the name",
        ),
        (
            lambda: Namespace("n", sysctls={"net.a\0": 1}),
            TopologyError,
            "is not the name",
        ),
        (lambda: Namespace("n", sysctls=["net.a"]), TopologyError, "is not a mapping"),  # type: ignore[arg-type]
        (lambda: Namespace("n", hosts=["a"]), TopologyError, "is not a mapping"),  # type: ignore[arg-type]
        (
            lambda: Namespace("n", hosts={"a": "b"}),
            InvalidAddress,
            r"hosts\['a'\]: 'b' is not an IPv4",
        ),
        (
            lambda: Namespace("n", hosts={"a#b": "10.0.0.1"}),
            InvalidName,
            "hosts: host name 'a#b' contains '#'",
        ),
        (
            lambda: Namespace("n", nameservers="dns"),
            InvalidAddress,
            r"Namespace\('n'\) nameservers: 'dns' is not an IPv4",
        ),
        (
            lambda: Namespace("n", nameservers=5),  # type: ignore[arg-type]
            InvalidAddress,
            "nameservers: 5 is not",
        ),
    ],
)
def test_a_record_refuses_what_it_can_know_to_be_wrong(
    make: Callable[[], Record], error: type[TopologyError], why: str
) -> None:
    """The error is of the right kind and says which record, which value, and why."""
    with pytest.raises(error, match=why) as caught:
        make()

    assert type(caught.value) is error


def test_an_endpoint_is_split_at_its_colon() -> None:
    """A node alone has no interface name."""
    assert split_endpoint("left:eth0") == ("left", "eth0")
    assert split_endpoint("br0") == ("br0", None)


def test_a_route_knows_its_family_where_an_address_tells() -> None:
    """A default route that names a device alone may be of both."""
    assert Route("10.0.0.0/8", dev="e").family == 4
    assert Route("default", via="fd00::1").family == 6
    assert Route("default", dev="e", source="fd00::1").family == 6
    assert Route("default", dev="e").family is None
