"""NAT rules as nft reads them: the text, word for word."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from pytest_netns import DNAT, SNAT, Masquerade
from pytest_netns._ruleset import TABLE, nat_ruleset, quoted

if TYPE_CHECKING:
    from pytest_netns.nat import NatRule


def statements(*rules: NatRule) -> list[str]:
    """Return the lines of a ruleset that are rules."""
    lines = [line.strip() for line in nat_ruleset(rules).splitlines()]
    structure = ("table ", "chain ", "type nat ", "}")
    return [line for line in lines if not line.startswith(structure)]


def test_a_ruleset_is_one_table_with_a_chain_for_each_hook() -> None:
    """In order of declaration: in a chain, the first rule that fits wins."""
    assert nat_ruleset(
        [
            DNAT("192.168.15.2:80", port=8080),
            Masquerade(source="192.168.15.0/24"),
            DNAT("192.168.15.3", port=53, protocol="udp"),
            SNAT("203.0.113.1", source="192.168.16.0/24"),
        ]
    ) == textwrap.dedent(
        """\
        table inet pytest_netns_nat {
        \tchain prerouting {
        \t\ttype nat hook prerouting priority dstnat;
        \t\tfib daddr type local meta nfproto ipv4 tcp dport 8080 dnat ip to 192.168.15.2:80
        \t\tfib daddr type local meta nfproto ipv4 udp dport 53 dnat ip to 192.168.15.3
        \t}
        \tchain postrouting {
        \t\ttype nat hook postrouting priority srcnat;
        \t\tip saddr 192.168.15.0/24 oifname != "lo" masquerade
        \t\tip saddr 192.168.16.0/24 oifname != "lo" snat ip to 203.0.113.1
        \t}
        }
        """  # noqa: E501  # it is what nft is given
    )


@pytest.mark.parametrize(
    ("rule", "absent"), [(Masquerade(), "prerouting"), (DNAT("::2", port=1), "postr")]
)
def test_a_hook_without_rules_has_no_chain(rule: NatRule, absent: str) -> None:
    """A chain that does nothing would still be asked for every connection."""
    text = nat_ruleset([rule])
    assert absent not in text
    assert text.count("chain") == 1
    assert text.startswith(f"table inet {TABLE} {{\n")


def test_no_rules_make_an_empty_table() -> None:
    """It is still a ruleset that nft takes."""
    assert nat_ruleset([]) == f"table inet {TABLE} {{\n}}\n"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Masquerade(), ['oifname != "lo" masquerade']),
        (Masquerade(out_interface="wan"), ['oifname "wan" masquerade']),
        (Masquerade(out_interface="lo"), ['oifname "lo" masquerade']),
        (
            Masquerade(source=["10.0.0.0/24", "fd00::/64"], out_interface="wan"),
            [
                'ip saddr 10.0.0.0/24 oifname "wan" masquerade',
                'ip6 saddr fd00::/64 oifname "wan" masquerade',
            ],
        ),
    ],
)
def test_masquerade(rule: Masquerade, expected: list[str]) -> None:
    """One rule for each source; what stays inside is left alone."""
    assert statements(rule) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (SNAT("192.0.2.1"), ['oifname != "lo" snat ip to 192.0.2.1']),
        (SNAT("2001:db8::1"), ['oifname != "lo" snat ip6 to 2001:db8::1']),
        (
            SNAT("192.0.2.1:1024", out_interface="wan"),
            ['oifname "wan" meta l4proto { tcp, udp } snat ip to 192.0.2.1:1024'],
        ),
        (
            SNAT("[2001:db8::1]:9", source=["fd00::/64", "fd01::7"]),
            [
                (
                    'ip6 saddr fd00::/64 oifname != "lo" meta l4proto { tcp, udp } '
                    "snat ip6 to [2001:db8::1]:9"
                ),
                (
                    'ip6 saddr fd01::7/128 oifname != "lo" meta l4proto { tcp, udp } '
                    "snat ip6 to [2001:db8::1]:9"
                ),
            ],
        ),
    ],
)
def test_snat(rule: SNAT, expected: list[str]) -> None:
    """A port is for protocols that have some."""
    assert statements(rule) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            DNAT("fd00::2", port=80),
            ["fib daddr type local meta nfproto ipv6 tcp dport 80 dnat ip6 to fd00::2"],
        ),
        (
            DNAT("10.0.0.2", port=53, protocol="udp", in_interface="wan"),
            [
                (
                    'iifname "wan" fib daddr type local meta nfproto ipv4 udp dport 53 '
                    "dnat ip to 10.0.0.2"
                )
            ],
        ),
        (
            DNAT("10.0.0.2:1", port=9, destination=["192.0.2.1", "192.0.2.8/29"]),
            [
                (
                    "ip daddr 192.0.2.1/32 meta nfproto ipv4 tcp dport 9 "
                    "dnat ip to 10.0.0.2:1"
                ),
                (
                    "ip daddr 192.0.2.8/29 meta nfproto ipv4 tcp dport 9 "
                    "dnat ip to 10.0.0.2:1"
                ),
            ],
        ),
        (
            DNAT("[fd00::2]:80", port=8, destination="::/0"),
            ["ip6 daddr ::/0 meta nfproto ipv6 tcp dport 8 dnat ip6 to [fd00::2]:80"],
        ),
    ],
)
def test_dnat(rule: DNAT, expected: list[str]) -> None:
    """For the namespace's own addresses, unless others are named."""
    assert statements(rule) == expected


@pytest.mark.parametrize(
    ("ifname", "text"),
    [
        ("eth0", '"eth0"'),
        ("wan.5", '"wan.5"'),
        ("a;b{c}#$", '"a;b{c}#$"'),
        ("any*", '"any\\*"'),
        ("*", '"\\*"'),
        ("a*b", '"a*b"'),
    ],
)
def test_an_interface_name_is_not_a_pattern(ifname: str, text: str) -> None:
    """A final asterisk would fit all that begins alike."""
    assert quoted(ifname) == text
    assert statements(Masquerade(out_interface=ifname)) == [
        f"oifname {text} masquerade"
    ]
