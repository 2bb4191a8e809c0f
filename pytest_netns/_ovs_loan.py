"""What one network has of a pair of Open vSwitch's daemons."""

from __future__ import annotations

import copy
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _ovs_rows as rows
from ._steps import AddOVSBridge
from .errors import ClosedError, MissingFeature, NetnsError, SwitchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._ovs_daemons import Daemons
    from ._ovsdb import Result
    from ._steps import OVSStep

_TUN = "/dev/net/tun"


@dataclass(slots=True)
class Contents:
    """Bridges and ports.

    Attributes:
        places: The bridges that there shall be, whether they are made or not.
        bridges: The uuids of those that are made, by name.
        ports: Bridge and uuid of each port, by name.
        numbers: How many ports of each bridge are numbered.
    """

    places: set[str] = field(default_factory=set)
    bridges: dict[str, str] = field(default_factory=dict)
    ports: dict[str, tuple[str, str]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def note(
        self,
        steps: Sequence[OVSStep],
        operations: Sequence[rows.Operation],
        results: Sequence[Result],
    ) -> None:
        """Note what these operations have made."""
        self.bridges |= rows.uuids(operations, results, "Bridge")
        ports = rows.uuids(operations, results, "Port")
        for step in steps:
            name = rows.name_of(step)
            self.ports[name] = step.place, ports[name]
            if not isinstance(step, AddOVSBridge):
                self.numbers[step.place] = self.numbers.get(step.place, 0) + 1

    def removals_since(self, before: Contents) -> list[rows.Operation]:
        """Return the operations that take away what came since."""
        bridges = [
            uuid for name, uuid in self.bridges.items() if name not in before.bridges
        ]
        ports: dict[str, list[str]] = {}
        for name, (bridge, uuid) in self.ports.items():
            if name not in before.ports and bridge in before.bridges:
                ports.setdefault(bridge, []).append(uuid)
        return rows.removals(bridges, ports)


class Loan:
    """A pair of daemons, lent to one network.

    Attributes:
        daemons: The daemons.
        contents: The network's bridges and ports.
        is_harmless: Whether the daemons can be lent again, as far as is known.
    """

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self.contents = Contents()
        self.is_harmless = True
        self._lock = threading.Lock()
        self._running_tools = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether its network was closed."""
        return self._closed

    def plug(self, steps: Sequence[OVSStep]) -> None:
        """Make bridges and ports, all in one transaction, and wait for them.

        Raises:
            SwitchError: Open vSwitch cannot.
            MissingFeature: The kernel lacks what it needs.
            ProcessEnded: One of the daemons is dead.
        """
        action, record = _action(steps[0]), steps[0].record
        datapath = "netdev" if self.daemons.in_user_space else ""
        operations = rows.additions(steps, self.contents.numbers, datapath)
        results, number = self.daemons.commit(operations, action, record)
        self.contents.note(steps, operations, results)
        try:
            self.daemons.follow(number, action, record)
        except NetnsError:
            self.is_harmless = False
            raise
        self._check_made(steps)
        self.daemons.forget_flows()

    def _check_made(self, steps: Sequence[OVSStep]) -> None:
        action, record = _action(steps[0]), steps[0].record
        answer = self.daemons.ask(rows.QUERY_OF_INTERFACES, action, record)
        reasons = rows.reasons(answer["rows"])
        for step in steps:
            if reason := reasons.get(rows.name_of(step)):
                if self.daemons.in_user_space:
                    _check_tun(step.record)
                raise SwitchError(_action(step), reason, step.record, self.daemons.log)

    def before(self) -> Contents:
        """Return a copy of the contents, to come back to."""
        return copy.deepcopy(self.contents)

    def take_back(self, before: Contents) -> None:
        """Take bridges and ports away that came since; raises no error."""
        operations = self.contents.removals_since(before)
        if not operations:
            return
        try:
            _, number = self.daemons.commit(operations, "take back a build")
            self.daemons.follow(number, "take back a build")
        except NetnsError:
            self.is_harmless = False

    def run(self, words: Sequence[str], *, is_harmless: bool = True) -> str:
        """Run a tool beside the daemons, and return its output.

        Args:
            words: Its command.
            is_harmless: Whether its traces go with the bridges, or can be seen.

        Raises:
            CommandError: It failed; shows both outputs.
            CommandTimeout: It did not end in time.
            ProcessEnded: One of the daemons is dead.
            ClosedError: The network is closed.
        """
        with self._lock:
            if self._closed:
                raise ClosedError("Open vSwitch is closed, with all of its network")
            self._running_tools += 1
            self.is_harmless = self.is_harmless and is_harmless
        try:
            self.daemons.check()
            self.daemons.forget_flows()  # and count what they have seen
            try:
                return self.daemons.place.run(words)
            finally:
                self.daemons.forget_flows()
        finally:
            with self._lock:
                self._running_tools -= 1

    def close(self) -> None:
        """Let no tool run any more; one that still does makes the loan the last."""
        with self._lock:
            self._closed = True
            if self._running_tools:
                self.is_harmless = False


def _check_tun(record: object) -> None:
    """Check that ovs-vswitchd can make the device of a bridge in user space.

    Raises:
        MissingFeature: It cannot.
    """
    if os.access(_TUN, os.R_OK | os.W_OK):
        return
    problem, remedy = "is not there", "modprobe tun; in Docker: --device /dev/net/tun"
    if os.path.exists(_TUN):
        problem, remedy = "is not for this user", f"chmod 666 {_TUN}, as root"
    raise MissingFeature(
        f"Open vSwitch switches in user space here, and {_TUN} {problem}, "
        f"needed by {record!r}; {remedy}"
    )


def _action(step: OVSStep) -> str:
    if isinstance(step, AddOVSBridge):
        return f"make bridge {step.place!r}"
    return f"make {step.ifname!r} a port of bridge {step.place!r}"
