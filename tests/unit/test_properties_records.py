"""What is declared wrongly is said to be wrong, and nothing else ever happens."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    SNAT,
    Bridge,
    InvalidAddress,
    Masquerade,
    Namespace,
    Neighbour,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from pytest_netns._shown import shown
from tests.inputs import any_records, any_topologies, whole
from tests.inputs.any_values import tried

if TYPE_CHECKING:
    from pytest_netns._record import Record

#: Python does not write it: sys.int_info.default_max_str_digits is 4,300.
ENDLESS = 10**5000


def test_anything_in_any_field() -> None:
    """It makes a record, or a `TopologyError` that names record and field."""
    tried(any_records.one_wrong, any_records.check_one_wrong, 300)


def test_anything_in_all_fields() -> None:
    """However much is wrong, it is the declaration that is said to be wrong."""
    tried(any_records.all_wrong, any_records.check_all_wrong, 200)


def test_anything_in_one_record_of_a_topology() -> None:
    """A change is taken or refused, also where other records depend on the field."""
    tried(whole.one_changed, whole.check_one_changed)


def test_topologies_are_values() -> None:
    """They can be compared, sent, joined, planned and drawn."""
    tried(any_topologies.topologies, whole.check_value)


def test_parts_make_the_whole() -> None:
    """`+` and `with_records()` give what the records together give."""
    tried(whole.cut, whole.check_cut)


def test_a_check_that_fails_is_noticed() -> None:
    """What tries inputs does not swallow what they show."""

    def check(value: object) -> None:
        assert not isinstance(value, Topology) or len(value) < 3

    with pytest.raises(AssertionError):
        tried(any_topologies.topologies, check)


class Unwritable:
    """A value that has no text at all."""

    def __repr__(self) -> str:
        raise LookupError

    __str__ = __repr__


@pytest.mark.parametrize(
    "value",
    [ENDLESS, Unwritable(), [[ENDLESS]], {1: ENDLESS}],
    ids=["number", "object", "list", "mapping"],
)
@pytest.mark.parametrize(("kind", "field"), any_records.every_field())
def test_values_that_cannot_be_shown(
    kind: type[Record], field: str, value: object
) -> None:
    """Not even they get another error than that the declaration is wrong."""
    values = {**any_records.FIELDS[kind], field: value}

    with pytest.raises(
        TopologyError, match="(?i)" + "|".join(any_records.called(kind))
    ):
        kind(**values)


def test_what_is_shown_of_values() -> None:
    """It is what they write themselves, or of what kind they are."""
    assert shown("a") == "'a'"
    assert shown(ENDLESS) == "<int that cannot be shown>"
    assert shown(Unwritable()) == "<Unwritable that cannot be shown>"


@pytest.mark.parametrize(
    ("text", "why"),
    [("table inet a {}\0garbage", "a null byte"), ("\ud800", "half of a character")],
)
def test_text_that_the_kernel_would_not_read_to_its_end(text: str, why: str) -> None:
    """Nft stops at a null byte, and halves of characters cannot be written."""
    with pytest.raises(TopologyError, match=rf"Namespace\('a'\) nftables has .*{why}"):
        Namespace("a", nftables=text)
    with pytest.raises(TopologyError, match=rf"sysctls\['net.a'\] has .*{why}"):
        Namespace("a", sysctls={"net.a": text})


def test_numbers_of_sysctls_are_those_of_the_kernel() -> None:
    """It has none of more than 64 bits."""
    assert (
        Namespace("a", sysctls={"net.a": 2**64 - 1}).sysctls["net.a"] == f"{2**64 - 1}"
    )
    with pytest.raises(TopologyError, match=r"\['net.a'\]: .* is not a 64-bit number"):
        Namespace("a", sysctls={"net.a": 2**64})


MACHINES = [Namespace("a"), Namespace("b")]
ROUTE = Route("fd09::/64", dev="eth0")
NEIGHBOUR = Neighbour("fd09::1", any_records.LLADDR, dev="eth0")


@pytest.mark.parametrize(
    ("records", "ifname"),
    [
        ([*MACHINES, Veth("a", "b", address="fd00::1/64", mtu=1279)], "eth0"),
        ([*MACHINES, Veth("a", "b", subnet="fd00::/64", mtu=68)], "eth0"),
        ([Namespace("a", routes=[ROUTE]), MACHINES[1], Veth("a", "b", mtu=68)], "eth0"),
        (
            [
                Namespace("a", neighbours=[NEIGHBOUR]),
                MACHINES[1],
                Veth("a", "b", mtu=68),
            ],
            "eth0",
        ),
        (
            [
                *MACHINES,
                Bridge("br0", namespace="a", address="fd00::1/64"),
                Veth("b", "br0", mtu=68),
            ],
            "br0",
        ),
        ([*MACHINES, Bridge("br0", namespace="a", subnet="fd00::/64", mtu=68)], "br0"),
    ],
)
def test_ipv6_where_the_kernel_has_none(records: list[Record], ifname: str) -> None:
    """An MTU below 1,280 turns it off: what is declared would not be there."""
    with pytest.raises(InvalidAddress, match=rf"1,280 bytes, and '{ifname}' has \d+"):
        Topology(*records)


def test_ipv6_where_the_kernel_just_has_it() -> None:
    """1,280 is enough, and IPv4 takes less."""
    Topology(*MACHINES, Veth("a", "b", address="fd00::1/64", mtu=1280))
    Topology(*MACHINES, Veth("a", "b", address="10.0.0.1/24", mtu=68))
    Topology(
        *MACHINES,
        Bridge("br0", namespace="a", address="fd00::1/64", mtu=1500),
        Veth("b", "br0", mtu=68),
    )


def test_one_rule_is_as_good_as_several() -> None:
    """What is read once, such as a generator, is read once."""
    rules = chain([Masquerade()], [SNAT("10.0.0.1")])

    assert Namespace("a", nat=rules).nat == (Masquerade(), SNAT("10.0.0.1"))  # type: ignore[arg-type]
