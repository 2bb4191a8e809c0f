"""Values of every kind, many of them odd, and the way in which inputs are tried."""

from __future__ import annotations

import collections
import datetime as dt
import ipaddress
import pathlib
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

#: How many inputs are tried at least; all properties together take seconds.
SAMPLE = 30


def tried(
    inputs: SearchStrategy[Any],
    check: Callable[[Any], object],
    number: int = SAMPLE,
) -> int:
    """Check many inputs, and return how many there were.

    Args:
        inputs: What they are taken from.
        check: Raises an error for one that is taken badly.
        number: How many there are to be.
    """
    count = 0

    def counted(value: Any) -> None:
        nonlocal count
        count += 1
        check(value)

    how = settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=[*HealthCheck],
    )
    how(given(inputs)(counted))()
    assert count >= number // 2, "there are hardly any such inputs"
    return count


class Text(str):
    """A str that is none of the builtin type."""

    __slots__ = ()


#: All of Unicode, also what is no text: halves of pairs, controls, null bytes.
characters = st.characters(exclude_categories=())
texts = st.one_of(
    st.text(characters, max_size=20),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "\0",
                "\n",
                "a\0b",
                "a\nb",
                "\ud800",
                "a\ud800",
                "%",
                "%s",
                "{}",
            ),
            *("default", "all", "lo", "eth0", "eth1", "a", "br0", "host", ".", ".."),
            *("a:eth0", "a:", ":a", "br0:p", "a:b:c", "a/b", "-", "~", "*", "eth*"),
            *("10.0.0.1", "10.0.0.1/24", "10.0.0.0/24", "0.0.0.0", "0.0.0.0/0", "::"),
            *("fd00::1", "fd00::1/64", "fd00::/64", "fe80::1", "fe80::1%eth0", "::/0"),
            *(
                "10.0.0.1/33",
                "10.0.0.1/-1",
                "10.0.0.1/24/24",
                "/24",
                "1/1",
                "256.0.0.1",
            ),
            *("10.0.0.255/24", "10.0.0.0/31", "10.0.0.1/32", "224.0.0.1", "ff02::1/64"),
            *("::ffff:10.0.0.1", "[fd00::1]:80", "10.0.0.1:80", "10.0.0.1:0", "[::1"),
            *("02:00:00:00:00:01", "02-00-00-00-00-01", "01:00:00:00:00:00"),
            *(
                "00:00:00:00:00:00",
                "net.ipv4.ip_forward",
                "net.",
                "net/a",
                "net.a/../b",
            ),
            *("tcp", "udp", "TCP", "link", "global", "a" * 15, "a" * 16, "a" * 65, "é"),
            *("table inet a {}", "flush ruleset", "\u2028", "\x85", "\u0661\u0660"),
        ]
    ),
    st.sampled_from(["a", "10.0.0.1/24", "default"]).map(Text),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, -1, 67, 68, 1500, 65535, 65536, 2**32 - 1, 2**32, 2**64]),
    # Python does not write numbers of more than 4,300 digits (sys.int_info)
    st.sampled_from([4299, 4300, 5000]).map(lambda digits: 10**digits),
    st.floats(),
)
leaves: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    texts,
    texts,
    numbers,
    st.binary(max_size=5),
    st.ip_addresses(),
    st.sampled_from(
        [
            *(ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::/64")),
            *(ipaddress.ip_interface("10.0.0.1/24"), Decimal("NaN"), Fraction(1, 3)),
            *(dt.date(2000, 1, 1), dt.time(1), uuid.UUID(int=0), 1j),
            *(pathlib.Path("a"), object(), ..., NotImplemented, int, len, range(3)),
        ]
    ),
)


def _collections(inner: SearchStrategy[Any]) -> SearchStrategy[Any]:
    some = st.lists(inner, max_size=3)
    keys = st.one_of(texts, numbers, st.none(), st.tuples(texts))
    sysctls = st.sampled_from(["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/mtu"])
    return st.one_of(
        some,
        some.map(tuple),
        some.map(collections.deque),
        some.map(iter),  # can be read once
        st.dictionaries(keys, inner, max_size=2),
        st.dictionaries(sysctls, inner, min_size=1, max_size=2),
        st.sets(texts, max_size=2),
        st.frozensets(texts, max_size=2),
    )


#: Anything that somebody may put where something else belongs.
anything: SearchStrategy[Any] = st.recursive(leaves, _collections, max_leaves=5)

#: What a TOML file can hold: https://toml.io/en/v1.0.0
toml_leaves: SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.text(max_size=10),
    texts.filter(lambda text: text.isprintable() and type(text) is str),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
toml_keys = st.one_of(
    st.text(max_size=5), st.sampled_from(["a", "name", "kind", "net"])
)
toml_values: SearchStrategy[Any] = st.recursive(
    toml_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(toml_keys, inner, max_size=3)
    ),
    max_leaves=5,
)
