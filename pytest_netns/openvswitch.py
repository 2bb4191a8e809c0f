"""A live bridge of Open vSwitch: its own tools, against this network's daemons."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ._ovs_place import DIRECTORY
from .command import split_arguments

if TYPE_CHECKING:
    from ._ovs_loan import Loan

#: The options of ovs-ofctl(8) and ovs-appctl(8) whose value is a word of its own.
_WITH_VALUE = re.compile(
    r"-[OFPtTfpcC]|--(?:protocols|flow-format|packet-in-format|timeout|target|format|"
    r"private-key|certificate|ca-cert|bootstrap-ca-cert)"
)
#: Requests to a daemon that change nothing, or nothing that outlives its bridge.
_HARMLESS = re.compile(
    r"(?:^|[/-])(?:show|list|dump|trace|lookup|stats|version)(?:$|-)|^(?:fdb|mdb)/"
)

#: Words of a command, or one string that is split as by `shlex`.
Word = str | os.PathLike[str]


class OpenVSwitch:
    """A bridge of Open vSwitch; made by `Network`, never by hand.

    Each call runs a program of Open vSwitch against this network's own daemons,
    and returns its standard output. Its arguments are words, or one string that
    is split as by `shlex`; never a shell.

    Attributes:
        name: The name of the bridge.
    """

    def __init__(self, name: str, loan: Loan) -> None:
        self.name = name
        self._loan = loan

    def vsctl(self, *args: Word) -> str:
        """Run ovs-vsctl: ``vsctl("show")``, ``vsctl("set port p tag=1")``.

        It sees all bridges of the network. What it configures is gone when the
        network is closed.

        Raises:
            CommandError: It failed; shows both outputs.
            CommandTimeout: It did not end in time.
            ProcessEnded: One of the daemons is dead; shows its log.
            ClosedError: The network is closed.
        """
        return self._loan.run(["ovs-vsctl", *_words(args)])

    def ofctl(self, command: Word, *args: Word) -> str:
        """Run ovs-ofctl on this bridge: ``ofctl("add-flow", "actions=drop")``.

        The bridge is put behind the command. Options come before it, as in
        ``ofctl("-O OpenFlow13 dump-flows")``. Ports are numbered from 1, in
        order of declaration.

        Raises:
            CommandError: It failed; shows both outputs.
            CommandTimeout: It did not end in time.
            ProcessEnded: One of the daemons is dead; shows its log.
            ClosedError: The network is closed.
        """
        words = _words((command, *args))
        bridge = f"unix:{DIRECTORY}/{self.name}.mgmt"
        words.insert(_position_of_command(words) + 1, bridge)
        return self._loan.run(["ovs-ofctl", *words])

    def appctl(self, *args: Word) -> str:
        """Run ovs-appctl: ``appctl("fdb/show", "OVS-1")``, ``appctl("list-commands")``.

        Daemons whose own settings it may have changed serve no other network.

        Raises:
            CommandError: It failed; shows both outputs.
            CommandTimeout: It did not end in time.
            ProcessEnded: One of the daemons is dead; shows its log.
            ClosedError: The network is closed.
        """
        words = _words(args)
        request = "".join(words[_position_of_command(words) :][:1])
        return self._loan.run(
            ["ovs-appctl", *words], is_harmless=bool(_HARMLESS.search(request))
        )

    def __repr__(self) -> str:
        return f"<OpenVSwitch {self.name!r}{' closed' if self._loan.closed else ''}>"


def _words(args: tuple[Word, ...]) -> list[str]:
    (first, *more) = args or ("",)
    return split_arguments(args if more or not isinstance(first, str) else first)


def _position_of_command(words: list[str]) -> int:
    """Return where the options end."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if _WITH_VALUE.fullmatch(words[position]) else 1
    return position
