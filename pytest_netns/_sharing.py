"""Letting a network out through the machine's own connection, and undoing it.

It changes the machine while it lasts, so all of it is in the ledger (`_ledger`)
before it is done.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from . import _ledger as ledger
from . import _nftables as nftables
from . import _sysctl as sysctl
from ._addresses import is_everything, network_of
from ._ledger import CHANGES
from ._ruleset import quoted
from .errors import InvalidName, KernelError
from .tables import routes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._ledger import Changes
    from ._nsfile import NamespaceFile
    from ._steps import ShareConnection
    from ._watcher import Watcher


class Sharing:
    """One network's way out: started, extended when the network is, stopped."""

    def __init__(self, file: NamespaceFile, watcher: Watcher) -> None:
        self._file = file
        self._watcher = watcher
        #: Its table in the ledger, and the watcher's chore, once there is one.
        self._table: str | None = None
        self._chore = 0
        self._changes: Changes = {}

    def extend(self, step: ShareConnection) -> None:
        """Masquerade what comes from the network, and forward it.

        Raises:
            InvalidName: An interface has a quote in its name.
            MissingFeature: The kernel lacks what NAT needs.
            MissingTool: nft is not installed.
            KernelError: A sysctl cannot be set.
        """
        nftables.check_is_there(step.host)
        uplinks = _uplinks(self._file)
        with self._file.entered(), ledger.alone():
            needed = _needed(step, uplinks)
            _check_names(step, needed)
            if self._table is None:
                self._table = ledger.free_name()
                command = "\0".join(ledger.sweeping_command())
                self._chore = self._watcher.leave_chore(f"run {command}")
            known = ledger.joined(self._changes, ledger.recorded(self._table))
            self._changes = ledger.joined(known, needed)
            nftables.load(
                _ruleset(self._table, self._changes, step.ifnames),
                namespace=step.place,
                record=step.host,
            )
            _carry_out(step, needed)

    def stop(self) -> None:
        """Put everything back, but for what another run has need of."""
        if self._table is None:
            return
        with self._file.entered(), ledger.alone():
            ledger.settle(self._table, self._changes)
        self._watcher.drop_chore(self._chore)
        self._table = None
        self._changes = {}


def _ruleset(table: str, changes: Changes, ifnames: Iterable[str]) -> str:
    ours = ", ".join(map(quoted, ifnames))
    return (
        # one transaction: the old table, if there is one, works until the new does
        f"table inet {table}\ndelete table inet {table}\n"
        f"table inet {table} {{\n{ledger.sets(changes)}"
        "\tchain postrouting {\n"
        "\t\ttype nat hook postrouting priority srcnat;\n"
        f"\t\tiifname {{ {ours} }} oifname != {{ {ours} }} masquerade\n"
        "\t}\n}\n"
    )


def _carry_out(step: ShareConnection, needed: Changes) -> None:
    for name, change in CHANGES.items():
        # what is ours needs no undoing: it goes with its interface
        ours = step.ifnames if name == "forwarding4" and 4 in step.families else ()
        for ifname in (*ours, *needed[name]):
            key = change.of(ifname)
            try:
                sysctl.write(key, change.after, namespace=step.place, record=step.host)
            except KernelError as error:
                # somebody else's interface may have gone since we looked
                if error.errno != errno.ENOENT:
                    raise


def _check_names(step: ShareConnection, needed: Changes) -> None:
    for ifname in (*step.ifnames, *(one for names in needed.values() for one in names)):
        if '"' in ifname:
            raise InvalidName(
                f"{step.host!r}: nftables, which share_connection needs, cannot write "
                f"the quote in the name of interface {ifname!r}"
            )


def _uplinks(file: NamespaceFile) -> dict[int, list[str]]:
    """Return the interfaces that the machine's default routes lead through."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for route in routes_of(file):
        network = network_of(route.destination, route.family)
        if route.dev and route.kind == "unicast" and is_everything(network):
            found[route.family].append(route.dev)
    return found


def _needed(step: ShareConnection, uplinks: dict[int, list[str]]) -> Changes:
    """Return what has to be changed and put back, by the name of its set."""
    needed: Changes = {name: [] for name in CHANGES}
    if 4 in step.families:
        # each of them alone: the machine does not become a router for others
        needed["forwarding4"] = _as_before("forwarding4", uplinks[4])
    # IPv6 knows no forwarding for single interfaces (ip6_forward() in the kernel)
    if 6 in step.families and uplinks[6] and _as_before("forwarding6", ["all"]):
        needed["forwarding6"] = ["all"]
        others = [name for name in _interfaces() if name not in step.ifnames]
        needed["forwarded6"] = _as_before("forwarded6", [*others, "default", "lo"])
        needed["accept_ra"] = _as_before("accept_ra", others)
    return needed


def _as_before(change: str, ifnames: Iterable[str]) -> list[str]:
    unique = dict.fromkeys(ifnames)  # default routes may lead through one twice
    return [ifname for ifname in unique if CHANGES[change].is_as_before(ifname)]


def _interfaces() -> Iterator[str]:
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        if name not in ("all", "default", "lo"):
            yield name
