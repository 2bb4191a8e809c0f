"""A process that has never built a network, and children of its that build one each."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING

from pytest_netns import NetworkManager
from tests.reliability.looking import look_at

if TYPE_CHECKING:
    from collections import Counter
    from multiprocessing.connection import Connection

    from pytest_netns import Network, Topology

#: How long until a look at the same network is another one, in seconds.
_PAUSE = 0.3
#: How often a difference that may be one of moments is looked at again.
_SECOND_LOOKS = 4


class Pristine:
    """Builds each network as if it were the first; made before there is any thread."""

    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._pid = os.fork()
        if not self._pid:
            self._ours.close()
            _serve(theirs)
            os._exit(0)
        theirs.close()

    def start(self, topology: Topology, count: int) -> None:
        """Start to build a network, and to look at it `count` times."""
        self._ours.send((topology, count))

    def looks(self) -> list[Counter[str]]:
        """Return how the network looked, at its beginning and then again."""
        looks: list[Counter[str]] = self._ours.recv()
        return looks

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        os.waitpid(self._pid, 0)


def _serve(connection: Connection) -> None:
    while True:
        try:
            topology, count = connection.recv()
        except EOFError:
            return
        child = os.fork()
        if not child:
            connection.send(_build(topology, count))
            os._exit(0)
        os.waitpid(child, 0)


def _build(topology: Topology, count: int) -> list[Counter[str]]:
    with NetworkManager() as manager, manager.build(topology) as network:
        looks = [look_at(network)]
        for _ in range(count - 1):
            time.sleep(_PAUSE)  # not for anything: it is another moment
            looks.append(look_at(network))
        return looks


def differences(network: Network, pristine: Pristine) -> tuple[list[str], list[str]]:
    """Tell what is too much and what is missing in a network that is new to its test.

    Some of it comes a moment after the rest. So what it has at its very beginning
    must have been seen in a pristine one at some time; and what a pristine one has
    at any time, it must have in the end.
    """
    pristine.start(network.topology, 1)
    first = latest = look_at(network)
    looks = pristine.looks()
    for count in range(1, _SECOND_LOOKS):
        ever, always = looks[0], looks[0]
        for look in looks[1:]:
            ever, always = ever | look, always & look
        extra, missing = first - ever, always - latest
        if not extra and not missing:
            break
        pristine.start(network.topology, count)
        latest = look_at(network)
        looks += pristine.looks()
    return sorted(extra), sorted(missing)
