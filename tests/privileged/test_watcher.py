"""The watcher: started late, replaced when killed, gone with the manager."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pytest_netns import Namespace, NetworkManager, Topology
from pytest_netns._processes import await_end

if TYPE_CHECKING:
    from collections.abc import Iterator

ALONE = Topology(Namespace("a"))


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """A manager of its own, so that its watcher can be looked at."""
    with NetworkManager() as manager:
        yield manager


def watcher_pid(manager: NetworkManager) -> int | None:
    """The process of the watcher, if there is one."""
    process = manager._watcher._process
    return None if process is None else process.pid


def test_starts_with_the_first_process(manager: NetworkManager) -> None:
    """A network that nothing is started in needs no watcher; the next ones share it."""
    with manager.build(ALONE) as network:
        assert network["a"].ping("127.0.0.1")
        assert watcher_pid(manager) is None
        network["a"].run("true")
        first = watcher_pid(manager)
        assert first is not None
    with manager.build(ALONE) as network:
        network["a"].run("true")
        assert watcher_pid(manager) == first


def test_ends_with_the_manager(manager: NetworkManager) -> None:
    """When the manager is closed, so is its watcher."""
    with manager.build(ALONE) as network:
        network["a"].run("true")
    pid = watcher_pid(manager)
    assert pid is not None
    os.kill(pid, 0)
    manager.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_is_replaced_when_killed(manager: NetworkManager) -> None:
    """A killed watcher has a successor, which is told all that is there."""
    with manager.build(ALONE) as one, manager.build(ALONE) as other:
        one["a"].run("true")
        killed = watcher_pid(manager)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await_end([killed], 5)
        other["a"].run("true")
        successor = watcher_pid(manager)
        assert successor not in (None, killed)
        assert set(manager._watcher._watched) == {one["a"].inode, other["a"].inode}
