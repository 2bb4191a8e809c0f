"""Pairs of Open vSwitch's daemons, lent to one network at a time.

A pair outlives the network that it was lent to. What comes back is cleared: all
bridges are deleted, for which ovs-vswitchd and the kernel take some 40 ms behind
our back. It is lent again if nothing is left then, and if nobody has touched the
daemons' own configuration meanwhile, be it that it was put right again: some of
it is read only when a daemon starts. What differs is never repaired, but ended.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _codec as codec
from . import _ovs_rows as rows
from ._jsonrpc import Refused
from ._netlink import Refusal
from ._ovs_daemons import Daemons, check_programs
from ._ovs_loan import Loan
from .errors import NetnsError

if TYPE_CHECKING:
    from ._nsfile import NamespaceFile
    from ._openings import Openings
    from ._threads import Job
    from ._watcher import Watcher

_TRACKED = "/proc/sys/net/netfilter/nf_conntrack_count"
#: How long a pair may take until its bridges are deleted, and how long until their
#: interfaces are, in seconds.
_CLEARING = 10.0
_VANISHING = 0.5
#: The group of interfaces that are deleted together.
_DYING = 1
#: Kinds of interfaces that anybody may delete: cables, and those of user space.
_DELETABLE = frozenset({"veth", "tun"})


@dataclass(frozen=True)
class _Resting:
    """A pair that is being cleared.

    Attributes:
        daemons: The pair.
        number: The number of the configuration that has no bridges.
        deletion: The deletion of its interfaces.
    """

    daemons: Daemons
    number: int
    deletion: Job[None]

    @property
    def file(self) -> NamespaceFile:
        """The namespace of the pair."""
        return self.daemons.file

    def is_as_new(self) -> bool:
        """Wait until it is cleared; tell whether nothing is left."""
        daemons, database = self.daemons, self.daemons.database
        self.deletion.wait()
        try:
            self.deletion.outcome()
            if not database.await_configuration(self.number, _CLEARING, daemons.check):
                return False
            results = database.transact(rows.queries(database.tables))
            return (
                not any(result["rows"] for result in results)
                and not database.was_touched
                and not _tracks_connections(daemons)
                and _is_alone(daemons)
            )
        except (Refused, Refusal, OSError, NetnsError):
            return False

    def stop(self) -> None:
        """End it."""
        self.deletion.wait()
        self.daemons.stop()


class OVSPool:
    """The pairs of one manager: lent, or resting until they are clean.

    Args:
        watcher: Ends the daemons if this process is killed.
        artifacts: Where their logs and databases are kept; None is nowhere.
        openings: Tells whether somebody was inside.
    """

    def __init__(
        self, watcher: Watcher, artifacts: str | None, openings: Openings
    ) -> None:
        self._watcher = watcher
        self._artifacts = artifacts
        self._openings = openings
        self._resting: deque[_Resting] = deque()

    def borrow(self, record: object) -> Loan:
        """Lend a pair that is as new; start one if there is none.

        Args:
            record: The record that needs it.

        Raises:
            MissingTool: Open vSwitch is not installed.
            SwitchError: The daemons do not start.
            ProcessEnded: One of them ended at once.
        """
        while self._resting:
            resting = self._resting.popleft()
            if not self._openings.noticed(resting.daemons.file) and resting.is_as_new():
                resting.daemons.forget_logs()
                return Loan(resting.daemons)
            self._stop(resting)
        check_programs(record)
        daemons = Daemons(self._watcher, self._artifacts)
        self._openings.watch(daemons.file)
        return Loan(daemons)

    def give_back(self, loan: Loan) -> None:
        """Have the bridges of a loan deleted, or end daemons that cannot be lent."""
        loan.close()
        daemons = loan.daemons
        try:
            if not loan.is_harmless:
                self._stop(daemons)
                return
            _, number = daemons.commit(rows.removal_of_all(), "delete all bridges")
        except NetnsError:
            self._stop(daemons)
        else:
            deleting = functools.partial(_delete_links, daemons)
            deletion = daemons.place.threads.submit(deleting)
            self._resting.append(_Resting(daemons, number, deletion))

    def close(self) -> None:
        """End all daemons that are not lent."""
        while self._resting:
            self._stop(self._resting.pop())

    def _stop(self, ending: Daemons | _Resting) -> None:
        self._openings.forget(ending.file)
        ending.stop()


def _tracks_connections(daemons: Daemons) -> bool:
    """Tell whether the kernel remembers connections: they outlive a datapath."""
    if daemons.in_user_space:
        return False
    with daemons.file.entered():
        try:
            with open(_TRACKED, encoding="ascii") as file:
                return int(file.read()) > 0
        except FileNotFoundError:
            return False


def _is_alone(daemons: Daemons) -> bool:
    """Wait until no interface is left; tell whether that is so."""
    deadline = time.monotonic() + _VANISHING
    while daemons.place.links():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _delete_links(daemons: Daemons) -> None:
    """Delete what is left of the network's cables and bridges, all at once.

    ``ip link delete group GROUP``: the kernel takes as long for all of them as for
    each that ovs-vswitchd closes.
    """
    kinds = daemons.place.links()
    dying = [index for index, kind in kinds.items() if kind in _DELETABLE]
    for requests in (
        [codec.set_group(index, _DYING) for index in dying],
        [codec.delete_group(_DYING)],
    ):
        with contextlib.suppress(Refusal):  # what it cannot find is gone by itself
            daemons.socket.apply(requests)
