"""Letting a network out through the machine's own connection, and undoing it.

It changes the machine, so every trace carries its owner's name: one nftables
table, called after the process, which also holds what was changed besides: the
interfaces whose forwarding was switched on. Whoever finds the table of a process
that is gone can put everything back, and does.

The table of a process, as ``nft list table`` shows it::

    table inet pytest-netns-4026531836-1234-567890 {
        set forwarding4 { type ifname; elements = { "eth0" } }
        chain postrouting {
            type nat hook postrouting priority srcnat;
            iifname "host-br0" oifname != "host-br0" masquerade
        }
    }
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import _nftables as nftables
from . import _sysctl as sysctl
from ._ruleset import quoted
from .errors import KernelError
from .tables import routes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._nsfile import NamespaceFile
    from ._steps import ShareConnection
    from ._watcher import Watcher

_NAME = re.compile(r"^table inet pytest-netns-(\d+)-(\d+)-(\d+)$", re.MULTILINE)
_SET = re.compile(r"\tset (\w+) \{(.*?)\n\t\}", re.DOTALL)
_ELEMENT = re.compile(r'"([^"]+)"')


@dataclass(frozen=True, slots=True)
class _Change:
    """One kind of sysctl that is changed, for some interfaces.

    Attributes:
        key: The sysctl, with ``*`` for the interface.
        before: What it was.
        after: What it becomes.
    """

    key: str
    before: str
    after: str

    def of(self, ifname: str) -> str:
        """Return the key for one interface, whose name may contain dots."""
        return self.key.replace("*", ifname.replace(".", "/"))


#: By the name of the set that holds the interfaces, in the order in which they are
#: made; undone backwards, since forwarding of all interfaces resets that of each.
_CHANGES = {
    # a router ignores what other routers announce, unless told otherwise
    "accept_ra": _Change("net.ipv6.conf.*.accept_ra", "1", "2"),
    # those that forward already, and will lose it with the others
    "forwarded6": _Change("net.ipv6.conf.*.forwarding", "1", "1"),
    "forwarding6": _Change("net.ipv6.conf.*.forwarding", "0", "1"),
    "forwarding4": _Change("net.ipv4.conf.*.forwarding", "0", "1"),
}


class Sharing:
    """One network's way out; started once, stopped once."""

    def __init__(self, file: NamespaceFile, watcher: Watcher) -> None:
        self._file = file
        self._watcher = watcher
        self._table = f"pytest-netns-{_identity()}"
        self._chores: list[int] = []
        self._changed: dict[str, list[str]] = {}

    def start(self, step: ShareConnection) -> None:
        """Masquerade what comes from the network, and forward it.

        Raises:
            MissingFeature: The kernel lacks what NAT needs.
            MissingTool: nft is not installed.
            KernelError: A sysctl cannot be set.
        """
        if not step.families:
            return
        uplinks = _uplinks(self._file)
        ours = ", ".join(map(quoted, step.ifnames))
        with self._file.entered():
            self._changed = _needed(step, uplinks)
            undo = nftables.delete_table_request(self._table).hex()
            self._leave_chore(f"netlink {nftables.NETLINK_NETFILTER} {undo}")
            nftables.load(
                f"table inet {self._table} {{\n{_sets(self._changed)}"
                "\tchain postrouting {\n"
                "\t\ttype nat hook postrouting priority srcnat;\n"
                f"\t\tiifname {{ {ours} }} oifname != {{ {ours} }} masquerade\n"
                "\t}\n}\n",
                namespace=step.place,
                record=step.host,
            )
            for name, ifnames in self._changed.items():
                self._change(_CHANGES[name], ifnames, step)

    def stop(self) -> None:
        """Put everything back, but for what another run has need of."""
        with self._file.entered():
            heirs = [name for name in _tables() if name != self._table]
            if heirs and self._changed:
                _bequeath(self._changed, heirs[0])
            else:
                _put_back(self._changed)
            _delete(self._table)
        for chore in self._chores:
            self._watcher.drop_chore(chore)
        self._changed = {}

    def _change(
        self, change: _Change, ifnames: Iterable[str], step: ShareConnection
    ) -> None:
        for ifname in ifnames:
            key = change.of(ifname)
            self._leave_chore(f"write {change.before} {sysctl.path_of(key)}")
            sysctl.write(key, change.after, namespace=step.place, record=step.host)

    def _leave_chore(self, chore: str) -> None:
        self._chores.append(self._watcher.leave_chore(chore))


def sweep(file: NamespaceFile) -> None:
    """Put back what killed runs have left in the namespace of `file`.

    A run that is alive is never touched: a table tells its process by number
    and start time, and in which PID namespace these count.
    """
    if not nftables.is_there():
        return  # so no run could have left anything
    with file.entered():
        left = [name for name in _tables() if not _is_alive(name)]
        for name in left:
            _put_back(_recorded(name))
            _delete(name)


def _identity() -> str:
    """Name this process so that no other one is ever meant."""
    return f"{_pid_namespace()}-{os.getpid()}-{_start_time(os.getpid())}"


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _start_time(pid: int) -> int | None:
    """Return when a process was started, in ticks since boot (proc(5), stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _is_alive(table: str) -> bool:
    namespace, pid, started = map(int, table.rsplit("-", 3)[1:])
    if namespace != _pid_namespace():
        return True  # not ours to judge: we cannot see its processes
    return _start_time(pid) == started


def _tables() -> list[str]:
    listed = nftables.query("list tables inet")
    return [f"pytest-netns-{a}-{b}-{c}" for a, b, c in _NAME.findall(listed)]


def _recorded(table: str) -> dict[str, list[str]]:
    """Return the interfaces in the sets of a table."""
    listed = nftables.query(f"list table inet {table}")
    return {
        name: _ELEMENT.findall(body)
        for name, body in _SET.findall(listed)
        if name in _CHANGES
    }


def _delete(table: str) -> None:
    nftables.query(f"delete table inet {table}")


def _bequeath(changed: dict[str, list[str]], heir: str) -> None:
    """Leave it to another run to put things back, when it is the last."""
    for name, ifnames in changed.items():
        if ifnames:
            elements = ", ".join(map(quoted, ifnames))
            nftables.query(f"add element inet {heir} {name} {{ {elements} }}")


def _put_back(changed: dict[str, list[str]]) -> None:
    for name, change in reversed(_CHANGES.items()):
        for ifname in changed.get(name, ()):
            # an interface that is gone has taken its settings with it
            with contextlib.suppress(KernelError):
                sysctl.write(change.of(ifname), change.before, namespace="host")


def _sets(changed: dict[str, list[str]]) -> str:
    # all of them, also without elements: another run may add some
    return "".join(
        f"\tset {name} {{\n\t\ttype ifname\n"
        + (
            f"\t\telements = {{ {', '.join(map(quoted, ifnames))} }}\n"
            if ifnames
            else ""
        )
        + "\t}\n"
        for name, ifnames in changed.items()
    )


def _uplinks(file: NamespaceFile) -> dict[int, list[str]]:
    """Return the interfaces that the machine's default routes lead through."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for route in routes_of(file):
        if route.destination == "default" and route.dev and route.kind == "unicast":
            found[route.family].append(route.dev)
    return found


def _needed(
    step: ShareConnection, uplinks: dict[int, list[str]]
) -> dict[str, list[str]]:
    """Return what has to be changed, by the name of the set that records it."""
    needed: dict[str, list[str]] = {name: [] for name in _CHANGES}
    if 4 in step.families:
        # each of them alone: the machine does not become a router for others
        needed["forwarding4"] = [
            name
            for name in (*step.ifnames, *uplinks[4])
            if _is("forwarding4", name, "0")
        ]
    # IPv6 knows no forwarding for single interfaces (ip6_forward() in the kernel)
    if 6 in step.families and uplinks[6] and _is("forwarding6", "all", "0"):
        others = [name for name in _interfaces() if name not in step.ifnames]
        needed["forwarding6"] = ["all"]
        needed["forwarded6"] = [one for one in others if _is("forwarded6", one, "1")]
        needed["accept_ra"] = [one for one in others if _is("accept_ra", one, "1")]
    return needed


def _is(change: str, ifname: str, value: str) -> bool:
    try:
        return sysctl.read(_CHANGES[change].of(ifname), namespace="host") == value
    except KernelError:
        return False


def _interfaces() -> Iterator[str]:
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        if name not in ("all", "default", "lo"):
            yield name
