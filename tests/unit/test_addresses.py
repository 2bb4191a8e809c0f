from __future__ import annotations

import contextlib
import ipaddress
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import InvalidAddress
from pytest_netns._addresses import (
    canonical_addresses,
    canonical_hosts,
    canonical_subnets,
    parse_address,
    parse_interface_address,
    parse_lladdr,
    parse_network,
)

WHAT = "Veth('a', 'b') address"


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "fd00::1", " 10.0.0.1 ", "::ffff:10.0.0.1"]
)
def test_an_address_of_either_family_is_parsed(text: str) -> None:
    """IPv4 and IPv6 are alike."""
    assert parse_address(text, WHAT) == ip_address(text.strip())


@pytest.mark.parametrize(
    "value", ["", "10.0.0", "10.0.0.256", "10.0.0.1/24", "left", "fd00::g", "010.0.0.1"]
)
def test_what_is_no_address_is_shown_with_the_record(value: str) -> None:
    """The message says which record, which text, and what was expected."""
    with pytest.raises(InvalidAddress) as caught:
        parse_address(value, WHAT)

    assert str(caught.value) == f"{WHAT}: {value!r} is not an IPv4 or IPv6 address"


@pytest.mark.parametrize("value", [None, 1, 1.5, b"\n\0\0\1", True])
def test_numbers_and_bytes_are_no_addresses(value: object) -> None:
    """1 is not taken for 0.0.0.1."""
    for parse in (parse_address, parse_interface_address, parse_network, parse_lladdr):
        with pytest.raises(InvalidAddress) as caught:
            parse(value, WHAT)

        assert str(caught.value).startswith(f"{WHAT}: {value!r} is not a")


def test_a_scope_belongs_to_the_interface() -> None:
    """``fe80::1%eth0`` names an interface where a record has a field for it."""
    with pytest.raises(InvalidAddress, match="has a scope"):
        parse_address("fe80::1%eth0", WHAT)
    with pytest.raises(InvalidAddress, match="has a scope"):
        parse_interface_address("fe80::1%eth0/64", WHAT)
    with pytest.raises(InvalidAddress, match="has a scope"):
        parse_network("fe80::%eth0/64", WHAT)


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.9/24", "10.0.0.0/24"), ("fd00::9/64", "fd00::/64")]
)
def test_a_network_with_host_bits_is_corrected_in_the_message(
    text: str, network: str
) -> None:
    """The message has the network that was probably meant."""
    with pytest.raises(InvalidAddress) as caught:
        parse_network(text, WHAT)

    assert f"host bits set; the network is {network!r}" in str(caught.value)


def test_what_is_no_network_at_all_gets_an_example() -> None:
    """The message shows how a network is written."""
    with pytest.raises(InvalidAddress, match=r"write it as '10\.0\.0\.0/24'"):
        parse_network("lan", WHAT)


@pytest.mark.parametrize(
    ("text", "suggestion"), [("10.0.0.1", "10.0.0.1/24"), ("fd00::1", "fd00::1/64")]
)
def test_an_interface_address_needs_its_prefix(text: str, suggestion: str) -> None:
    """The message shows the address with the usual prefix."""
    with pytest.raises(InvalidAddress, match=f"has no prefix; write '{suggestion}'"):
        parse_interface_address(text, WHAT)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/24", "host bits are missing .* its first host is '10.0.0.1/24'"),
        ("fd00::/64", "host bits are missing .* its first host is 'fd00::1/64'"),
        ("10.0.0.255/24", "is the broadcast address of 10.0.0.0/24"),
        ("224.0.0.1/24", "is not the address of one host"),
        ("ff02::1/64", "is not the address of one host"),
        ("0.0.0.0/32", "is not the address of one host"),
        ("::/128", "is not the address of one host"),
        ("10.0.0.1/33", "is not an address with a prefix"),
        ("lan/24", "is not an address with a prefix"),
    ],
)
def test_an_address_that_no_host_can_have_is_refused(text: str, why: str) -> None:
    """The message says why, and for a network which host comes first."""
    with pytest.raises(InvalidAddress, match=why) as caught:
        parse_interface_address(text, WHAT)

    assert repr(text) in str(caught.value)
    assert str(caught.value).startswith(WHAT)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/31",
        "10.0.0.1/31",
        "10.0.0.0/32",
        "fd00::/127",
        "fd00::/128",
        "fd00::ffff/112",
    ],
)
def test_subnets_of_two_and_one_have_no_network_address(text: str) -> None:
    """A /31 has two hosts, a /32 one, and IPv6 has no broadcast."""
    assert parse_interface_address(text, WHAT) == ip_interface(text)


@pytest.mark.parametrize(
    "text", ["02:00:00:00:00:0A", "02-00-00-00-00-0a", " 02:00:00:00:00:0a"]
)
def test_a_lladdr_becomes_lower_case_with_colons(text: str) -> None:
    """The kernel's way to write a MAC address is the one that is kept."""
    assert parse_lladdr(text, WHAT) == "02:00:00:00:00:0a"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("02:00:00:00:00", "is not a MAC address"),
        ("02:00:00:00:00:00:01", "is not a MAC address"),
        ("0200.0000.0001", "is not a MAC address"),
        ("2:0:0:0:0:1", "is not a MAC address"),
        ("01:00:5e:00:00:01", "is a multicast MAC address"),
        ("ff:ff:ff:ff:ff:ff", "is a multicast MAC address"),
        ("00:00:00:00:00:00", "is not the address of one station"),
    ],
)
def test_a_lladdr_that_no_station_can_have_is_refused(text: str, why: str) -> None:
    """The message says which text, and why."""
    with pytest.raises(InvalidAddress, match=why) as caught:
        parse_lladdr(text, WHAT)

    assert repr(text) in str(caught.value)


def test_one_address_or_several_become_a_tuple() -> None:
    """Addresses are one text or a sequence, and ipaddress objects are welcome."""
    assert canonical_addresses("10.0.0.1/24", WHAT) == ("10.0.0.1/24",)
    assert canonical_addresses(["10.0.0.1/24", "FD00::1/64"], WHAT) == (
        "10.0.0.1/24",
        "fd00::1/64",
    )
    assert canonical_addresses(ip_interface("10.0.0.1/24"), WHAT) == ("10.0.0.1/24",)
    assert canonical_addresses((), WHAT) == ()
    assert canonical_addresses(None, WHAT) == ()
    assert canonical_hosts("10.0.0.1", WHAT) == ("10.0.0.1",)


@pytest.mark.parametrize("value", [{"10.0.0.1/24": 1}, b"10.0.0.1/24"])
def test_mappings_and_bytes_are_no_sequences_of_addresses(value: object) -> None:
    """A mapping is not taken for the sequence of its keys."""
    with pytest.raises(InvalidAddress, match="is not a str or a sequence of them"):
        canonical_addresses(value, WHAT)


def test_subnets_are_one_of_each_family_at_most() -> None:
    """A pair is one of IPv4 and one of IPv6."""
    assert canonical_subnets(("10.0.0.0/24", "fd00::/64"), WHAT) == (
        "10.0.0.0/24",
        "fd00::/64",
    )
    assert canonical_subnets(ip_network("10.0.0.0/24"), WHAT) == ("10.0.0.0/24",)
    with pytest.raises(InvalidAddress, match="at most one subnet of each family"):
        canonical_subnets(("10.0.0.0/24", "10.0.1.0/24"), WHAT)


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f:./%]{0,20}", fullmatch=True)))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises anything but InvalidAddress, and what is parsed stays the same."""
    for parse in (parse_address, parse_interface_address, parse_network, parse_lladdr):
        with contextlib.suppress(InvalidAddress):
            parsed = parse(text, WHAT)
            assert parse(str(parsed), WHAT) == parsed


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_host_in_the_middle_of_its_network_is_always_valid(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int
) -> None:
    """Only ends of a network and special addresses are refused."""
    prefix = min(prefix, address.max_prefixlen)
    interface = ip_interface(f"{address}/{prefix}")
    if address.is_multicast or address.is_unspecified:
        return
    if address in (interface.network[0], interface.network[-1]):
        return
    assert parse_interface_address(str(interface), WHAT) == interface
