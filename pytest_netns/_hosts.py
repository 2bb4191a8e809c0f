"""The text of a namespace's ``/etc/hosts`` and ``/etc/resolv.conf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .records import Namespace

if TYPE_CHECKING:
    from ._addresses import InterfaceAddress
    from ._layout import Layout


def addresses_towards(
    layout: Layout, target: str, viewer: str
) -> list[InterfaceAddress]:
    """List the addresses of `target`, those that `viewer` is connected to first."""
    seen = [
        address.network
        for interface in layout.interfaces_of(viewer)
        for address in interface.addresses
    ]
    own = [
        address
        for interface in layout.interfaces_of(target)
        for address in interface.addresses
    ]
    return sorted(own, key=lambda address: not any(address.ip in net for net in seen))


def hosts_file(layout: Layout, viewer: str) -> str:
    """Return the ``/etc/hosts`` of `viewer`: every machine of the network by name."""
    namespace = layout.namespaces[viewer]
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for name, other in layout.machines.items():
        names = name
        if isinstance(other, Namespace) and other.hostname not in (None, name):
            names = f"{name} {other.hostname}"
        addresses = [str(one.ip) for one in addresses_towards(layout, name, viewer)]
        if name == viewer and not addresses:
            addresses = ["127.0.1.1"]  # its own name always leads somewhere
        lines += [f"{address} {names}" for address in addresses]
    for name, addresses_of_host in namespace.hosts.items():
        lines += [f"{address} {name}" for address in addresses_of_host]
    return "\n".join(lines) + "\n"


def resolv_file(layout: Layout, viewer: str) -> str:
    """Return the ``/etc/resolv.conf`` of `viewer`: its own name servers only.

    With none it is empty but for a comment; the resolver then asks the loopback
    (resolv.conf(5)), where nobody answers, and never the machine's servers.
    """
    servers = layout.namespaces[viewer].nameservers
    lines = [
        "# the name servers of this namespace",
        *(f"nameserver {one}" for one in servers),
    ]
    return "\n".join(lines) + "\n"
