"""What runs have changed in the machine, written down where all of them find it.

Each run that shares the machine's connection has an nftables table, called after
its process, whose sets hold the interfaces whose sysctls it has changed. So
whoever finds the table of a process that is gone can put everything back: the
next run with a `Host`, or the watcher of the one that was killed. The last run to
leave puts out the light; who leaves earlier hands its sets on.

The table of a process, as ``nft list table`` shows it::

    table inet pytest-netns-4026531836-1234-567890 {
        set forwarding4 { type ifname; elements = { "eth0" } }
        chain postrouting {
            type nat hook postrouting priority srcnat;
            iifname "server-eth0" oifname != "server-eth0" masquerade
        }
    }

All functions act on the calling thread's namespace.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import _nftables as nftables
from . import _sysctl as sysctl
from ._locks import locked
from ._ruleset import quoted
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

_NAME = re.compile(r"pytest-netns-(\d+)-(\d+)-(\d+)(?:-\d+)?")
_SET = re.compile(r"\tset (\w+) \{(.*?)\n\t\}", re.DOTALL)
_ELEMENT = re.compile(r'"([^"]+)"')

#: Interfaces by the name of the change that was made to them.
Changes = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Change:
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

    def is_as_before(self, ifname: str) -> bool:
        """Tell whether the sysctl of an interface has the value of before."""
        try:
            return sysctl.read(self.of(ifname), namespace="host") == self.before
        except KernelError:  # there is no such interface
            return False


#: By the name of the set that holds the interfaces, in the order in which they are
#: made; undone backwards, since forwarding of all interfaces resets that of each.
CHANGES = {
    # a router ignores what other routers announce, unless told otherwise
    "accept_ra": Change("net.ipv6.conf.*.accept_ra", "1", "2"),
    # those that forward already, and will lose it with the others
    "forwarded6": Change("net.ipv6.conf.*.forwarding", "1", "1"),
    "forwarding6": Change("net.ipv6.conf.*.forwarding", "0", "1"),
    "forwarding4": Change("net.ipv4.conf.*.forwarding", "0", "1"),
}


def alone() -> AbstractContextManager[None]:
    """Keep all other runs in this namespace from looking and changing meanwhile.

    The lock is on the namespace itself: it needs no file.

    Raises:
        KernelError: Another process holds it for longer than anything takes.
    """
    return locked("/proc/thread-self/ns/net")


def identity() -> str:
    """Return a name for this process that is never another's."""
    pid, _, started = _status("self")
    return f"pytest-netns-{_pid_namespace()}-{pid}-{started}"


def free_name() -> str:
    """Return a name for a new table of this process, by which all will know it."""
    name = identity()
    taken = _tables()
    further = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in (name, *further) if one not in taken)


def sets(changes: Mapping[str, Iterable[str]]) -> str:
    """Return the sets that hold `changes`, as nft reads them.

    All of them, also without elements: another run may hand some on.
    """
    lines = []
    for name in CHANGES:
        lines += [f"\tset {name} {{", "\t\ttype ifname"]
        if ifnames := list(changes.get(name, ())):
            lines.append(f"\t\telements = {{ {', '.join(map(quoted, ifnames))} }}")
        lines.append("\t}")
    return "\n".join([*lines, ""])


def recorded(table: str) -> Changes:
    """Return what is in the sets of a table; nothing if there is no such table."""
    listed = nftables.query(f"list table inet {table}")
    return {
        name: [_unquoted(one) for one in _ELEMENT.findall(body)]
        for name, body in _SET.findall(listed)
        if name in CHANGES
    }


def settle(table: str, known: Changes | None = None) -> None:
    """Put back what a table holds, or hand it on, and delete the table.

    Args:
        table: Its name.
        known: What its owner knows of, in case somebody has flushed all tables.
    """
    changes = joined(known or {}, recorded(table))
    heirs = [one for one in _tables() if one != table and not is_left(one)]
    commands = [
        f"add element inet {heirs[0]} {name} {{ {', '.join(map(quoted, ifnames))} }}"
        for name, ifnames in changes.items()
        if ifnames and heirs
    ]
    if not heirs:
        _put_back(changes)
    # both at once, or nobody or two would have what is in it
    nftables.query("\n".join([*commands, f"delete table inet {table}"]))


def joined(one: Changes, other: Changes) -> Changes:
    """Return the changes of both, each once."""
    return {
        name: list(dict.fromkeys([*one.get(name, ()), *other.get(name, ())]))
        for name in CHANGES
    }


def sweep() -> None:
    """Put back what killed runs have left.

    A run that is alive is never touched: a table tells its process by number
    and start time, and in which PID namespace these count.
    """
    if not nftables.is_there():
        return  # so no run could have left anything
    if any(map(is_left, _tables())):
        with alone():
            for name in filter(is_left, _tables()):
                settle(name)


def sweeping_command() -> list[str]:
    """Return a command that sweeps, for when this process is gone."""
    folder = str(Path(__file__).resolve().parents[1])
    program = (
        f"import sys; sys.path.append({folder!r}); "
        f"from {__name__} import sweep; sweep()"
    )
    # isolated and without site: nobody waits longer than need be
    return [sys.executable, "-I", "-S", "-c", program]


def is_left(name: str) -> bool:
    """Tell whether `name` is that of a process that is not there any more."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    namespace, pid, started = map(int, match.groups())
    if namespace != _pid_namespace():
        return False  # not ours to judge: we cannot see its processes
    try:
        _, state, found = _status(str(pid))
    except OSError:
        return not _exists(pid)
    # a zombie does nothing any more
    return state in "ZX" or found != started


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _status(pid: str) -> tuple[int, str, int]:
    """Return number, state and start time (in ticks since boot) of a process."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # proc(5): the second field is a name in brackets, which may contain anything
    fields = text.rpartition(")")[2].split()
    return int(text.split()[0]), fields[0], int(fields[19])


def _exists(pid: int) -> bool:
    """Tell whether there is a process that we may not look at (hidepid of proc(5))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _tables() -> list[str]:
    listed = nftables.query("list tables inet").splitlines()
    names = (line.removeprefix("table inet ") for line in listed)
    return [name for name in names if _NAME.fullmatch(name)]


def _put_back(changes: Changes) -> None:
    for name, change in reversed(CHANGES.items()):
        for ifname in changes.get(name, ()):
            # an interface that is gone has taken its settings with it
            with contextlib.suppress(KernelError):
                sysctl.write(change.of(ifname), change.before, namespace="host")


def _unquoted(ifname: str) -> str:
    r"""Undo `quoted`, as far as nft has not: a final ``\*`` is an asterisk."""
    return f"{ifname[:-2]}*" if ifname.endswith(r"\*") else ifname
