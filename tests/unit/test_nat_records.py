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
    InvalidAddress,
    InvalidName,
    Masquerade,
    TopologyError,
)
from pytest_netns.nat import split_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns._record import Record

FULL: list[Record] = [
    Masquerade(),
    Masquerade(source="10.0.0.0/24"),
    Masquerade(source=["10.0.0.0/24", "fd00::/64"], out_interface="eth0"),
    SNAT("192.0.2.1"),
    SNAT("2001:db8::1", source=["fd00::/64", "fd01::/64"], out_interface="wan"),
    SNAT("192.0.2.1:1024", source="10.0.0.0/24"),
    DNAT("10.0.0.2", port=80),
    DNAT("[fd00::2]:8080", port=80, destination="2001:db8::1", in_interface="wan"),
    DNAT("10.0.0.2:53", port=5353, protocol="udp", destination="0.0.0.0/0"),
]
every_record = pytest.mark.parametrize("record", FULL, ids=repr)


@every_record
def test_a_rule_is_a_value(record: Record) -> None:
    """Its repr evaluates to an equal one, and so does a copy."""
    assert eval(repr(record)) == record  # noqa: S307  # our own repr
    for copied in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):  # noqa: S301
        assert type(copied) is type(record)
        assert copied == record
        assert hash(copied) == hash(record)


@every_record
def test_a_rule_does_not_change(record: Record) -> None:
    """Fields cannot be set, and new ones cannot be added."""
    field = dataclasses.fields(record)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, field, "other")
    with pytest.raises((AttributeError, TypeError)):
        record.undeclared = 1  # type: ignore[attr-defined]


def test_fields_are_given_by_name() -> None:
    """But for where packets go, which comes first."""
    with pytest.raises(TypeError, match="positional"):
        Masquerade("10.0.0.0/24")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        SNAT("192.0.2.1", "10.0.0.0/24")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        DNAT("10.0.0.2", 80)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="port"):
        DNAT("10.0.0.2")  # type: ignore[call-arg]


def test_a_repr_shows_what_differs_from_the_defaults_only() -> None:
    """An error message is not buried under defaults."""
    assert repr(Masquerade()) == "Masquerade()"
    assert repr(SNAT("192.0.2.1")) == "SNAT('192.0.2.1')"
    assert repr(DNAT("10.0.0.2:80", port=8080)) == "DNAT('10.0.0.2:80', port=8080)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Masquerade(source=()), Masquerade()),
        (Masquerade(source=[]), Masquerade(source=None)),
        (Masquerade(source="10.0.0.1"), Masquerade(source=["10.0.0.1/32"])),
        (Masquerade(source="FD00::/64"), Masquerade(source="fd00:0::/64")),
        (SNAT(" 192.0.2.1 "), SNAT("192.0.2.1")),
        (
            SNAT(ipaddress.ip_address("192.0.2.1")),  # type: ignore[arg-type]
            SNAT("192.0.2.1"),
        ),
        (SNAT("2001:DB8:0::1"), SNAT("2001:db8::1")),
        (SNAT("[2001:db8::1]"), SNAT("2001:db8::1")),
        (SNAT("192.0.2.1:0080"), SNAT("192.0.2.1:80")),
        (DNAT("[FD00::2]:80", port=80), DNAT("[fd00::2]:80", port=80)),
        (
            DNAT("10.0.0.2", port=80, destination=("192.0.2.1",)),
            DNAT("10.0.0.2", port=80, destination="192.0.2.1/32"),
        ),
    ],
)
def test_two_ways_to_write_one_thing_are_equal(one: Record, other: Record) -> None:
    """Fields are normalised when a rule is made."""
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)


def test_rules_of_different_kinds_or_values_differ() -> None:
    """A change of source is not one of destination, and protocols count."""
    snat: Record = SNAT("192.0.2.1")
    assert snat != DNAT("192.0.2.1", port=80)
    assert Masquerade() != Masquerade(out_interface="eth0")
    assert DNAT("10.0.0.2", port=53) != DNAT("10.0.0.2", port=53, protocol="udp")
    assert DNAT("10.0.0.2:80", port=80) != DNAT("10.0.0.2", port=80)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("10.0.0.2", ("10.0.0.2", None)),
        ("10.0.0.2:80", ("10.0.0.2", 80)),
        ("fd00::2", ("fd00::2", None)),
        ("[fd00::2]", ("fd00::2", None)),
        ("[fd00::2]:80", ("fd00::2", 80)),
    ],
)
def test_a_target_is_an_address_and_perhaps_a_port(
    target: str, parts: tuple[str, int | None]
) -> None:
    """The colons of IPv6 are no mark of a port: brackets are."""
    assert split_target(target) == parts


def dnat(**fields: Any) -> Callable[[], Record]:
    """Return a maker of a rule that differs from a good one in some fields."""
    return lambda: DNAT(**{"to": "10.0.0.2:80", "port": 80, **fields})


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (
            lambda: Masquerade(source="lan"),
            InvalidAddress,
            r"Masquerade\(\) source: 'lan' is not a network",
        ),
        (
            lambda: Masquerade(source=["10.0.0.0/24", "10.0.0.1/24"]),
            InvalidAddress,
            "source: '10.0.0.1/24' is not a network: it has host bits set",
        ),
        (lambda: Masquerade(source=5), InvalidAddress, "source: 5 is not"),  # type: ignore[arg-type]
        (
            lambda: Masquerade(source="fe80::%eth0/64"),
            InvalidAddress,
            "Masquerade.. source: 'fe80::%eth0/64'",
        ),
        (
            lambda: Masquerade(out_interface="a b"),
            InvalidName,
            r"Masquerade\(\) out_interface name 'a b' contains ' '",
        ),
        (
            lambda: Masquerade(out_interface="x" * 16),
            InvalidName,
            "has 16 characters; the limit of an interface name is 15",
        ),
        (lambda: Masquerade(out_interface=""), InvalidName, "out_interface name is em"),
        (
            lambda: Masquerade(out_interface='e"0'),
            InvalidName,
            "out_interface name 'e\"0': nftables cannot write a quote",
        ),
        (
            lambda: Masquerade(out_interface=5),  # type: ignore[arg-type]
            InvalidName,
            "out_interface name 5 is of type int, not str",
        ),
        (lambda: SNAT("gw"), InvalidAddress, r"SNAT\('gw'\) to: 'gw' is not an IPv4"),
        (lambda: SNAT(""), InvalidAddress, "to: '' is not an IPv4"),
        (lambda: SNAT(None), InvalidAddress, "to: None is not an address"),  # type: ignore[arg-type]
        (lambda: SNAT(5), InvalidAddress, "to: 5 is not an address"),  # type: ignore[arg-type]
        (lambda: SNAT("192.0.2.1/24"), InvalidAddress, "'192.0.2.1/24' is not an IPv4"),
        (lambda: SNAT("0.0.0.0"), InvalidAddress, "'0.0.0.0' is not the address of on"),
        (lambda: SNAT("::"), InvalidAddress, "'::' is not the address of one host"),
        (lambda: SNAT("224.0.0.1"), InvalidAddress, "'224.0.0.1' is not the address"),
        (lambda: SNAT("fe80::1%eth0"), InvalidAddress, "has a scope"),
        (lambda: SNAT("192.0.2.1:"), InvalidAddress, "to: '' is not a port; write 'a"),
        (lambda: SNAT("192.0.2.1:0"), InvalidAddress, "'0' is not a port"),
        (lambda: SNAT("192.0.2.1:65536"), InvalidAddress, "'65536' is not a port"),
        (lambda: SNAT("192.0.2.1:9" + "9" * 9), InvalidAddress, "is not a port"),
        (lambda: SNAT("192.0.2.1:http"), InvalidAddress, "'http' is not a port"),
        (lambda: SNAT("192.0.2.1:-1"), InvalidAddress, "'-1' is not a port"),
        (lambda: SNAT("192.0.2.1:٨٠"), InvalidAddress, "is not a port"),
        (lambda: SNAT("192.0.2.1:1-9"), InvalidAddress, "'1-9' is not a port"),
        (
            lambda: SNAT("[2001:db8::1]80"),
            InvalidAddress,
            r"is not a port; write .* '\[address\]:port'",
        ),
        (lambda: SNAT("[2001:db8::1"), InvalidAddress, "is not an IPv4 or IPv6"),
        (
            lambda: SNAT("192.0.2.1", source="fd00::/64"),
            InvalidAddress,
            r"SNAT\('192.0.2.1', source='fd00::/64'\) mixes IPv4 and IPv6",
        ),
        (
            lambda: SNAT("2001:db8::1", source=["fd00::/64", "10.0.0.0/24"]),
            InvalidAddress,
            "mixes IPv4 and IPv6",
        ),
        (
            lambda: SNAT("192.0.2.1", out_interface="a/b"),
            InvalidName,
            r"SNAT\('192.0.2.1'\) out_interface name 'a/b' contains '/'",
        ),
        (dnat(to="server"), InvalidAddress, r"DNAT\('server'\) to: 'server' is not an"),
        (dnat(to="10.0.0.2:80:90"), InvalidAddress, "is not an IPv4 or IPv6 address"),
        (dnat(port=0), TopologyError, r"DNAT\('10.0.0.2:80'\) port: 0 is not a number"),
        (
            dnat(port=65536),
            TopologyError,
            "port: 65536 is not a number from 1 to 65535",
        ),
        (dnat(port="80"), TopologyError, "port: '80' is not a number"),
        (dnat(port=80.0), TopologyError, "port: 80.0 is not a number"),
        (dnat(port=True), TopologyError, "port: True is not a number"),
        (dnat(port=None), TopologyError, "port: None is not a number"),
        (dnat(protocol="TCP"), TopologyError, "protocol: 'TCP' is not one of tcp, udp"),
        (dnat(protocol="sctp"), TopologyError, "'sctp' is not one of tcp, udp"),
        (dnat(protocol=None), TopologyError, "protocol: None is not one of tcp, udp"),
        (dnat(protocol=["tcp"]), TopologyError, "is not one of tcp, udp"),
        (
            dnat(destination="2001:db8::1"),
            InvalidAddress,
            r"DNAT\('10.0.0.2:80', port=80, destination=.* mixes IPv4 and IPv6",
        ),
        (
            dnat(destination="wan"),
            InvalidAddress,
            "destination: 'wan' is not a network",
        ),
        (dnat(in_interface="%d"), InvalidName, "in_interface name '%d' contains '%'"),
        (dnat(in_interface='"'), InvalidName, "nftables cannot write a quote"),
    ],
)
def test_a_rule_refuses_what_it_can_know_to_be_wrong(
    make: Callable[[], Record], error: type[TopologyError], why: str
) -> None:
    """The error is of the right kind and says which rule, which value, and why."""
    with pytest.raises(error, match=why) as caught:
        make()

    assert type(caught.value) is error
