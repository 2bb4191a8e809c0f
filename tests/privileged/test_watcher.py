"""The watcher: started late, replaced when killed, gone with the manager."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    Host,
    Masquerade,
    Namespace,
    NetworkManager,
    NetworkNamespace,
    Topology,
    Veth,
)
from pytest_netns._nsfile import NamespaceFile
from pytest_netns._processes import await_end
from pytest_netns._watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALONE = Topology(Namespace("a"))
#: a (10.0.0.1) --- br0 --- (10.0.0.2) b
LAN = Topology(
    Namespace("a", nat=[Masquerade()], forwarding=True),
    Namespace("b", nftables="table inet mine {}"),
    Bridge("br0", subnet="10.0.0.0/24"),
    Veth("a:eth0", "br0"),
    Veth("b:eth0", "br0"),
)


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


def test_is_not_started_for_what_ends_with_us(
    manager: NetworkManager, tmp_path: Path
) -> None:
    """What is built, sent, captured and saved goes with this process by itself.

    ::

        a (10.0.0.1) --- br0 --- (10.0.0.2) b
    """
    with manager.build(LAN) as network:
        network.record()
        a, b = network
        with a.capture() as capture, b.socket() as listener:
            listener.bind(("10.0.0.2", 80))
            listener.listen()
            assert a.ping("b")
            assert a.interfaces
            assert a.routes()
            network.add(Namespace("c"), Veth("c", "br0"))
            network.link("a:eth0").set_down()
        capture.save(tmp_path / "capture.pcapng")
        assert watcher_pid(manager) is None
        a.run("true")  # it would have been seen
        assert watcher_pid(manager) is not None
    assert list(tmp_path.iterdir()) == [tmp_path / "capture.pcapng"]


@pytest.mark.parametrize(
    "act",
    [
        lambda namespace: namespace.popen(["true"], expect_exit=True),
        lambda namespace: namespace.call(int),
        lambda namespace: namespace.spawn(int).result(10),
        lambda namespace: namespace.__enter__().__exit__(None, None, None),
        lambda namespace: namespace.path,
    ],
    ids=["popen", "call", "spawn", "with", "path"],
)
def test_starts_before_anything_that_could_outlive_us(
    manager: NetworkManager, act: Callable[[NetworkNamespace], object]
) -> None:
    """Whoever may start a process inside is not asked what it is going to do."""
    with manager.build(ALONE) as network:
        namespace = network["a"]
        assert watcher_pid(manager) is None
        act(namespace)
        assert watcher_pid(manager) is not None


@pytest.mark.parametrize("what", ["names", "host"])
def test_starts_before_the_machine_is_changed(
    manager: NetworkManager, what: str
) -> None:
    """Names and interfaces of the machine do not go by themselves."""
    if what == "names":
        topology = Topology(Namespace("a"), names=True)
    else:
        topology = Topology(
            Host(), Namespace("a"), Veth("host", "a", subnet="10.255.254.0/30")
        )
    with NetworkManager() as home, home.build(ALONE) as machine, machine["a"]:
        # nothing of it is on the machine that this runs on
        assert watcher_pid(manager) is None
        with manager.build(topology):
            assert watcher_pid(manager) is not None


def test_starting_it_takes_little() -> None:
    """For this process it is a program started, and no more; it does the rest alone."""
    file = NamespaceFile.create("a")
    plain, watching = [], []
    for _ in range(15):
        began = time.thread_time()
        null = subprocess.DEVNULL
        process = subprocess.Popen(["true"], stdin=null, stdout=null, stderr=null)
        plain.append(time.thread_time() - began)
        process.wait()
        watcher = Watcher()
        began = time.thread_time()
        watcher.watch(file.inode, file.fd)
        watching.append(time.thread_time() - began)
        watcher.close()
    file.close()
    assert median(watching) < 3 * median(plain)


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
        inodes = [inode for network in (one, other) for inode in network["a"].inodes()]
        assert len(inodes) == 4
        assert set(manager._watcher._watched) == set(inodes)
