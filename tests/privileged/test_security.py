"""What processes under test get of ours, and what those get that write for root."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    KernelError,
    Namespace,
    Network,
    NetworkManager,
    OVSBridge,
    Topology,
    UnknownName,
    Veth,
    process,
)
from pytest_netns._ovs_place import Place
from pytest_netns._watcher import Watcher
from pytest_netns.privileges import is_in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

CABLE = Topology(
    Namespace("left"),
    Namespace("right"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
)
USER = 4321
needs_ovs = pytest.mark.netns(requires=("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"))

#: Lists the descriptors that a process was born with, and what they are.
LIST = """
import json, os
found = {}
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # that of the listing itself
        pass
print(json.dumps(found))
"""


@pytest.fixture
def sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a user be behind sudo."""
    if os.geteuid() != 0 or is_in_user_namespace():
        pytest.skip("only root can act for others")
    monkeypatch.setenv("SUDO_UID", str(USER))
    monkeypatch.setenv("SUDO_GID", str(USER))


@pytest.mark.netns(CABLE)
class TestDescriptors:
    """What a process finds open when it begins."""

    @pytest.fixture(autouse=True)
    def secrets(self, netns: Network) -> Iterator[None]:
        """Have a capture, sockets and a watcher, none of which is others' business."""
        with (
            netns["left"].capture("eth0"),
            netns["left"].socket() as listening,
            netns["right"].popen(["sleep", "60"]),
        ):
            listening.bind(("10.0.0.1", 8080))
            listening.listen()
            links = [self.link(fd) for fd in self.open()]
            assert sum(link.startswith("net:[") for link in links) >= 3
            assert sum(link.startswith("socket:[") for link in links) >= 4
            yield

    @staticmethod
    def open() -> Iterator[int]:
        """Yield the descriptors of this process."""
        for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  # numbers
            if os.path.lexists(f"/proc/self/fd/{entry}"):
                yield int(entry)

    @staticmethod
    def link(fd: int) -> str:
        """Return what the kernel calls that which is open."""
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115  # it is no path

    def test_a_command_gets_its_own_three(self, netns: Network) -> None:
        """Nothing, and two pipes."""
        text = netns["left"].run([sys.executable, "-I", "-S", "-c", LIST]).stdout
        found: dict[str, str] = json.loads(text)
        assert found.keys() == {"0", "1", "2"}
        assert found["0"] == "/dev/null"
        assert found["1"].startswith("pipe:")

    def test_a_daemon_gets_its_own_three(self, netns: Network) -> None:
        """Nothing, and its log."""
        daemon = netns["left"].popen(
            [sys.executable, "-I", "-S", "-c", LIST], expect_exit=True
        )
        assert daemon.wait(20) == 0
        found: dict[str, str] = json.loads(daemon.output)
        assert found == {
            "0": "/dev/null",
            "1": found["2"],
            "2": found["2"],
        }
        assert "memfd:output of" in found["2"]

    def test_none_of_ours_is_for_children(self) -> None:
        """Also not for those that a test starts by itself, without closing any."""
        passed_on = [fd for fd in self.open() if fd > 2 and os.get_inheritable(fd)]
        links = [self.link(fd) for fd in passed_on]
        assert [one for one in links if one.startswith(("net:", "socket:"))] == []


@pytest.mark.netns(CABLE)
class TestOutputs:
    """What a process may write."""

    PROGRAM = "import os; os.ftruncate(1, 1 << 40); os.write(1, b'the end')"

    def test_a_log_can_be_longer_than_memory(
        self, netns: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It costs a process nothing to make it a terabyte long; the end is read."""
        monkeypatch.setattr(process, "_LONGEST", 1 << 16)
        daemon = netns["left"].popen(
            [sys.executable, "-I", "-S", "-c", self.PROGRAM], expect_exit=True
        )
        assert daemon.wait(20) == 0
        began = time.monotonic()
        assert daemon.output.endswith("the end")
        assert time.monotonic() - began < 5
        assert daemon.output.startswith("... only the last ")
        assert len(daemon.output) < 1 << 17

    def test_the_last_of_many_words_are_kept(
        self, netns: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However often somebody looks meanwhile."""
        monkeypatch.setattr(process, "_LONGEST", 1 << 10)
        program = "for n in range(1000): print('x' * 90, n, flush=True); input()"
        reading, writing = os.pipe()
        daemon = netns["left"].popen(
            [sys.executable, "-I", "-S", "-c", program], stdin=reading, expect_exit=True
        )
        os.close(reading)
        try:
            for number in range(30):
                daemon.wait_for_output(rf"^x+ {number}$")
                os.write(writing, b"\n")
        finally:
            os.close(writing)
        assert len(daemon.output) < 4 << 10
        assert "x 29\n" in daemon.output
        assert "x 0\n" not in daemon.output


@pytest.mark.netns(CABLE)
def test_the_sysctls_of_a_namespace_are_no_others(netns: Network) -> None:
    """Whatever way is taken to those of the machine."""
    sysctl = netns["left"].sysctl
    assert sysctl["net.ipv4.ip_forward"] == sysctl["net/ipv4/ip_forward"]
    for key in (
        "kernel.hostname",
        "net/../kernel/hostname",
        "net.//.kernel.hostname",
    ):
        with pytest.raises(UnknownName, match=r"is not below 'net\.'"):
            sysctl[key] = "evil"


class TestOpenVSwitch:
    """Logs and databases, which daemons of root's write."""

    LAN = Topology(Namespace("left"), OVSBridge("OVS-1"), Veth("left:eth0", "OVS-1"))

    @needs_ovs
    @pytest.mark.usefixtures("sudo")
    def test_they_are_the_users_in_the_end(self, tmp_path: Path) -> None:
        """With the folder, and the folders above it that are new."""
        artifacts = tmp_path / "new" / "artifacts"
        with NetworkManager(artifacts=str(artifacts)) as manager:
            manager.build(self.LAN).close()
        found = [artifacts.parent, artifacts, *artifacts.rglob("*")]
        assert {path.suffix for path in found} >= {".log", ".db"}
        assert {path.stat().st_uid for path in found} == {USER}
        assert not any(path.stat().st_mode & stat.S_IWOTH for path in found)

    def test_they_go_into_no_other_folder(self, tmp_path: Path) -> None:
        """Somebody has put one in the place of that which was made."""
        watcher = Watcher()
        place = Place(watcher, str(tmp_path / "artifacts"))
        try:
            (folder,) = (tmp_path / "artifacts").iterdir()
            folder.rename(tmp_path / "moved")
            folder.symlink_to(tmp_path / "elsewhere")
            (tmp_path / "elsewhere").mkdir()
            with pytest.raises(KernelError, match=r"Stale file handle"):
                place.run(["true"])
        finally:
            place.close()
            watcher.close()

    def test_they_go_into_their_folder(self, tmp_path: Path) -> None:
        """It is where tools and daemons write to, and nowhere else."""
        watcher = Watcher()
        place = Place(watcher, str(tmp_path / "artifacts"))
        try:
            (folder,) = (tmp_path / "artifacts").iterdir()
            place.run(["touch", "/run/openvswitch/kept/a.log"])
            assert [path.name for path in folder.iterdir()] == ["a.log"]
        finally:
            place.close()
            watcher.close()


def test_a_descriptor_that_is_no_network_namespace_is_refused() -> None:
    """The kernel is told what it should be (setns(2)), whoever opened it."""
    from pytest_netns._nsfile import NamespaceFile

    for path in ("/proc/self/ns/uts", "/proc/self/ns/mnt", "/dev/null", "/"):
        file = NamespaceFile(os.open(path, os.O_RDONLY), "left")
        try:
            with pytest.raises(KernelError, match="cannot enter it"), file.entered():
                pass
        finally:
            file.close()
    assert Path("/proc/thread-self/ns/net").exists()
