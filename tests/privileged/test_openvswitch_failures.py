"""Daemons of Open vSwitch that die, or are not there, and the logs they leave.

::

    ns1 192.168.0.1 ─── veth-ns1  OVS-1  veth-ns2 ─── 192.168.0.2 ns2
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    KernelError,
    MissingTool,
    Namespace,
    Network,
    NetworkManager,
    OVSBridge,
    ProcessEnded,
    SwitchError,
    Topology,
    Veth,
)
from pytest_netns._processes import await_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAN = Topology(
    Namespace("ns1"),
    Namespace("ns2"),
    OVSBridge("OVS-1"),
    Veth("ns1", "OVS-1:veth-ns1", address="192.168.0.1/24"),
    Veth("ns2", "OVS-1:veth-ns2", address="192.168.0.2/24"),
)
DAEMONS = ("ovsdb-server", "ovs-vswitchd")
pytestmark = pytest.mark.netns(requires=("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"))


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """A manager of its own, so that its daemons can be looked at."""
    with NetworkManager() as manager:
        yield manager


def pids(network: Network) -> list[int]:
    """List the daemons of a network: ovsdb-server, then ovs-vswitchd."""
    assert network._fabric.ovs is not None
    return [one.pid for one in network._fabric.ovs.daemons.processes]


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class TestDeath:
    """Daemons that die."""

    @pytest.mark.parametrize("which", [0, 1], ids=DAEMONS)
    def test_while_a_network_is_there(
        self, manager: NetworkManager, which: int
    ) -> None:
        """It is an error, with the log; the next network gets new daemons."""
        network = manager.build(LAN)
        network.raises_failures = False
        first = pids(network)
        os.kill(first[which], signal.SIGKILL)
        await_end([first[which]], 5)
        with pytest.raises(ProcessEnded) as caught:
            network.switch("OVS-1").vsctl("show")
        (failure,) = network.take_failures()
        for error in (caught.value, failure):
            assert "was killed by SIGKILL" in str(error)
            assert DAEMONS[which] in str(error)
            assert "the next network gets new daemons" in str(error)
        if which == 1:
            assert "bridge OVS-1: added interface veth-ns1" in str(failure)
        assert network.take_failures() == []
        with pytest.raises(ProcessEnded):
            network.add(OVSBridge("OVS-2"))
        network.close()
        with manager.build(LAN) as network:
            assert not set(pids(network)) & set(first)
            assert network["ns1"].ping("ns2")
        assert not any(map(is_alive, first))

    @pytest.mark.parametrize("which", [0, 1], ids=DAEMONS)
    def test_between_two_networks(self, manager: NetworkManager, which: int) -> None:
        """Nobody is told: the next network has new ones."""
        with manager.build(LAN) as network:
            first = pids(network)
        os.kill(first[which], signal.SIGKILL)
        await_end([first[which]], 5)
        with manager.build(LAN) as network:
            assert not set(pids(network)) & set(first)
            assert network["ns1"].ping("ns2")

    def test_a_context_manager_raises_it(self, manager: NetworkManager) -> None:
        """Without pytest, the end of the block says so."""
        network = manager.build(LAN)
        os.kill(pids(network)[1], signal.SIGKILL)
        await_end(pids(network)[1:], 5)
        with pytest.raises(ProcessEnded), network:
            pass


class Interruption(Exception):
    """What a signal handler raises, as that for Ctrl-C does."""


class TestInterruption:
    """Signals at any moment."""

    @pytest.fixture
    def interrupting(self) -> Iterator[Callable[[float], object]]:
        """Give a function that has an exception raised after some seconds."""

        def interrupt(_number: int, _frame: object) -> None:
            raise Interruption

        before = signal.signal(signal.SIGALRM, interrupt)
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    @pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
    def test_build(
        self,
        manager: NetworkManager,
        interrupting: Callable[[float], object],
        is_first: bool,  # noqa: FBT001
    ) -> None:
        """A build is done, or taken back; the next one works, and nothing leaks."""
        if not is_first:
            manager.build(LAN).close()
        interrupted = 0
        for turn in range(12):
            with contextlib.suppress(Interruption):
                interrupted += 1
                interrupting(0.001 + turn * 0.01)
                with manager.build(LAN) as network:
                    time.sleep(0.2)
                interrupted -= 1
            assert manager.networks == []
        assert interrupted == 12
        with manager.build(LAN) as network:
            last = pids(network)
            assert network["ns1"].ping("ns2")
        assert set(manager._watcher._watched) == {
            resting.daemons.file.inode for resting in manager._ovs._resting
        }
        manager.close()
        assert not any(map(is_alive, last))

    def test_extension(
        self, manager: NetworkManager, interrupting: Callable[[float], object]
    ) -> None:
        """The network stays as it was, and has what is added once that is done."""
        with manager.build(LAN) as network:
            for turn in range(12):
                name = f"late{turn}"
                with contextlib.suppress(Interruption):
                    interrupting(0.0005 * (turn + 1))
                    network.add(Namespace(name), Veth(name, "OVS-1"))
                    interrupting(0)  # may itself be what is interrupted
                shown = network.switch("OVS-1").vsctl("list-ports OVS-1").split()
                assert len(shown) == len(network)
                assert network["ns1"].ping("ns2")


class TestMissing:
    """Open vSwitch that is not there, or does not work."""

    def test_not_installed(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The error names the programs, the record and the package."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingTool) as caught:
            manager.build(LAN)
        for text in ("ovs-vswitchd", "OVSBridge('OVS-1')", "openvswitch-switch"):
            assert text in str(caught.value)
        monkeypatch.undo()
        with manager.build(LAN) as network:
            assert network["ns1"].ping("ns2")

    def test_not_in_path(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The error tells where the daemons are, if PATH is all that is wrong."""
        directories = {str(Path(shutil.which(one) or "").parent) for one in DAEMONS}
        if not directories <= {"/usr/local/sbin", "/usr/sbin", "/sbin"}:
            pytest.skip(f"the daemons are in {directories}")
        for tool in ("ovsdb-tool", "ovs-vsctl", "ovs-ofctl"):
            (tmp_path / tool).symlink_to(shutil.which(tool) or "")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingTool, match="which is not in PATH") as caught:
            manager.build(LAN)
        assert "(no ovsdb-server, ovs-vswitchd)" in str(caught.value)

    @pytest.mark.parametrize("program", DAEMONS)
    def test_a_daemon_that_does_not_start(
        self,
        manager: NetworkManager,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        program: str,
    ) -> None:
        """The error says what it said."""
        broken = tmp_path / program
        broken.write_text(
            '#!/bin/sh\n[ "$1" != --version ] || exec /usr/sbin/ovs-vswitchd "$1"\n'
            "echo no such luck >&2\nexit 3\n"
        )
        broken.chmod(0o755)
        with monkeypatch.context() as context:
            context.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            with pytest.raises(ProcessEnded, match="no such luck") as caught:
                manager.build(LAN)
        assert caught.value.name == program
        assert "exit code 3" in str(caught.value)
        with manager.build(LAN) as network:
            assert network["ns1"].ping("ns2")

    def test_a_port_that_cannot_be_made(self, manager: NetworkManager) -> None:
        """What Open vSwitch says of a port is in the error, and the record."""
        with manager.build(LAN) as network:
            network.switch("OVS-1").vsctl(
                "add-port OVS-1 late -- set interface late type=patch options:peer=x"
            )
            with pytest.raises(SwitchError) as caught:
                network.add(Namespace("ns3"), Veth("ns3", "OVS-1:late"))
            assert "Veth('ns3', 'OVS-1:late')" in str(caught.value)
            assert "ns3" not in network
            assert network["ns1"].ping("ns2")


class TestArtifacts:
    """Logs that are kept."""

    def test_folder(self, tmp_path: Path) -> None:
        """Logs and database of each pair stay, in a folder named after the process."""
        with (
            NetworkManager(artifacts=str(tmp_path / "new")) as manager,
            manager.build(LAN) as one,
            manager.build(LAN) as other,
        ):
            assert one["ns1"].ping("ns2")
            assert other["ns1"].ping("ns2")
        folders = sorted((tmp_path / "new").iterdir())
        assert [one.name for one in folders] == [
            f"openvswitch-{os.getpid()}-{number}" for number in (1, 2)
        ]
        for folder in folders:
            assert sorted(one.name for one in folder.iterdir()) == [
                "conf.db",
                "ovs-vswitchd.log",
                "ovsdb-server.log",
            ]
            log = (folder / "ovs-vswitchd.log").read_text()
            assert "bridge OVS-1: added interface veth-ns1 on port 1" in log

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        """It is an error that says so, and nothing is left."""
        (tmp_path / "file").touch()
        with (
            NetworkManager(artifacts=str(tmp_path / "file")) as manager,
            pytest.raises(KernelError, match="make folder"),
        ):
            manager.build(LAN)
