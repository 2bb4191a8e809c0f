"""The NAT rules of a namespace as an nftables ruleset."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from .nat import DNAT, SNAT, Masquerade, split_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .nat import NatRule

#: The table that holds the rules; the user's own are beside it.
TABLE = "pytest_netns_nat"
_FAMILY = {4: "ip", 6: "ip6"}


def nat_ruleset(rules: Iterable[NatRule]) -> str:
    """Return the text that ``nft -f`` takes, in order of declaration.

    ::

        table inet pytest_netns_nat {
            chain prerouting {
                type nat hook prerouting priority dstnat;
                fib daddr type local tcp dport 80 dnat ip to 192.168.15.2:80
            }
            chain postrouting {
                type nat hook postrouting priority srcnat;
                ip saddr 192.168.15.0/24 masquerade
            }
        }
    """
    hooks: dict[str, list[str]] = {"prerouting": [], "postrouting": []}
    for rule in rules:
        if isinstance(rule, DNAT):
            hooks["prerouting"] += _dnat(rule)
        elif isinstance(rule, SNAT):
            hooks["postrouting"] += _snat(rule)
        else:
            hooks["postrouting"] += _masquerade(rule)
    lines = [f"table inet {TABLE} {{"]
    for (hook, statements), priority in zip(
        hooks.items(), ("dstnat", "srcnat"), strict=True
    ):
        if statements:
            lines.append(f"\tchain {hook} {{")
            lines.append(f"\t\ttype nat hook {hook} priority {priority};")
            lines += [f"\t\t{statement}" for statement in statements]
            lines.append("\t}")
    return "\n".join([*lines, "}", ""])


def _masquerade(rule: Masquerade) -> Iterator[str]:
    # what stays inside, such as from one own address to another, is nobody's business
    out = _interface("oifname", rule.out_interface) or 'oifname != "lo"'
    for source in rule.source or (None,):
        yield _join(_network("saddr", source), out, "masquerade")


def _snat(rule: SNAT) -> Iterator[str]:
    target, family = _target(rule.to)
    out = _interface("oifname", rule.out_interface) or 'oifname != "lo"'
    # ports are there in these two alone
    ports = "meta l4proto { tcp, udp }" if split_target(rule.to)[1] else ""
    for source in rule.source or (None,):
        matches = (_network("saddr", source), out, ports)
        yield _join(*matches, f"snat {family} to {target}")


def _dnat(rule: DNAT) -> Iterator[str]:
    target, family = _target(rule.to)
    for destination in rule.destination or (None,):
        yield _join(
            _interface("iifname", rule.in_interface),
            _network("daddr", destination) or "fib daddr type local",
            f"meta nfproto {'ipv4' if family == 'ip' else 'ipv6'}",
            f"{rule.protocol} dport {rule.port}",
            f"dnat {family} to {target}",
        )


def _target(to: str) -> tuple[str, str]:
    return to, _FAMILY[ipaddress.ip_address(split_target(to)[0]).version]


def _network(field: str, network: str | None) -> str:
    if network is None:
        return ""
    return f"{_FAMILY[ipaddress.ip_network(network).version]} {field} {network}"


def _interface(field: str, ifname: str | None) -> str:
    return "" if ifname is None else f"{field} {quoted(ifname)}"


def quoted(ifname: str) -> str:
    r"""Return an interface name as nft reads it: a final ``\*`` is no wildcard."""
    return f'"{ifname[:-1]}\\*"' if ifname.endswith("*") else f'"{ifname}"'


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
