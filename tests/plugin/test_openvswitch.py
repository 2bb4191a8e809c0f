"""Bridges of Open vSwitch, as a run of pytest has them."""

from __future__ import annotations

import os
import signal
import stat
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._genetlink import has_family

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = [
    pytest.mark.usefixtures("privileged"),
    pytest.mark.netns(requires=("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")),
]

#: ns1 ─── OVS-1 ─── ns2, and the numbers of the daemons.
LAN = """\
LAN = pytest.mark.netns(
    Namespace("ns1"),
    Namespace("ns2"),
    OVSBridge("OVS-1", subnet="192.168.0.0/24"),
    Veth("ns1", "OVS-1:veth-ns1"),
    Veth("ns2", "OVS-1:veth-ns2"),
)

def daemons(netns):
    return [process.pid for process in netns._fabric.daemons()]

def write(name, text):
    Path(name + ".new").write_text(text)
    os.replace(name + ".new", name)
"""

#: Where a system service has its files.
SYSTEM = ("/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch")


def write(inner: Inner, tests: str, name: str = "test_inner") -> None:
    """Write a file of tests that know the network."""
    inner.write(LAN + textwrap.dedent(tests), name)


def files(*directories: str | Path) -> set[tuple[str, float]]:
    """List all files below some directories, with the times of their changes."""
    return {
        (str(path), path.lstat().st_mtime)
        for directory in directories
        for path in Path(directory).rglob("*")
    }


def is_alive(pid: int) -> bool:
    """Tell whether a process is there."""
    return Path(f"/proc/{pid}").exists()


def test_a_daemon_that_dies_fails_its_test(inner: Inner) -> None:
    """With its log; the next test has new daemons, and works."""
    write(
        inner,
        """
        @LAN
        def test_dies(netns):
            pid = daemons(netns)[1]
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: netns._fabric.daemons()[1].poll() is not None)

        @LAN
        def test_next(netns):
            assert netns["ns1"].ping("ns2")
        """,
    )
    result = inner.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "background process 'ovs-vswitchd' * was killed by SIGKILL while the test*",
            "*the next network gets new daemons*",
            "*bridge OVS-1: added interface veth-ns1 on port 1*",
        ]
    )


def test_a_failing_test_shows_the_switch(inner: Inner) -> None:
    """What ovs-vsctl shows is a section of the report; others have none."""
    write(
        inner,
        """
        @LAN
        def test_fails(netns):
            netns.switch("OVS-1").vsctl("set port veth-ns1 tag=7")
            assert not netns["ns1"].ping("ns2", timeout=0.1).received
            assert False

        @pytest.mark.netns(CABLE)
        def test_without(netns):
            assert False
        """,
    )
    result = inner.run()
    result.assert_outcomes(failed=2)
    output = result.stdout.str()
    assert output.count("netns Open vSwitch") == 1
    result.stdout.fnmatch_lines(
        ["*Captured netns Open vSwitch call*", "*Bridge OVS-1", "*tag: 7"]
    )


@pytest.mark.parametrize("require", [False, True], ids=["skip", "require"])
def test_not_installed(inner: Inner, require: bool) -> None:  # noqa: FBT001
    """The test is skipped with the reason, or fails where skips are not allowed."""
    write(
        inner,
        """
        @LAN
        def test_switch(netns):
            pass

        @pytest.mark.netns(CABLE)
        def test_cable(netns):
            assert netns["left"].ping("right")
        """,
    )
    inner.monkeypatch.setenv("PATH", str(inner.path))
    result = inner.run("-rs", *(["--netns-require"] if require else []))
    if require:
        result.assert_outcomes(passed=1, errors=1)
    else:
        result.assert_outcomes(passed=1, skipped=1)
    text = "*Open vSwitch is not installed (no *ovs-vswitchd*OVSBridge('OVS-1'*"
    result.stdout.fnmatch_lines([text])
    assert "openvswitch-switch" in result.stdout.str()


def test_without_tun(inner: Inner) -> None:
    """Switching in user space needs a device; a test is skipped where that is not."""
    if has_family("ovs_datapath"):
        pytest.skip("the kernel switches")
    write(
        inner,
        """
        @LAN
        def test_switch(netns):
            pass
        """,
    )
    hide = 'mount -t tmpfs none /dev/net && exec "$@"'
    result = inner.run_behind(["unshare", "-m", "sh", "-c", hide, "sh"], "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*/dev/net/tun is not there, needed by OVSBridge('OVS-1'*modprobe tun*"]
    )


class TestArtifacts:
    """The option `--netns-artifacts`."""

    TESTS = """
        @LAN
        @pytest.mark.parametrize("turn", range(4))
        def test_switch(netns, turn):
            assert netns["ns1"].ping("ns2")
        """

    def test_option(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Each process has a folder of its own there, with logs and database."""
        write(inner, self.TESTS)
        inner.run("--netns-artifacts=logs", *plugin_args).assert_outcomes(passed=4)
        folders = list((inner.path / "logs").iterdir())
        assert len(folders) == len({one.name for one in folders})
        assert len(folders) == (2 if plugin_args else 1)
        for folder in folders:
            names = sorted(one.name for one in folder.iterdir())
            assert names == ["conf.db", "ovs-vswitchd.log", "ovsdb-server.log"]
            log = (folder / "ovs-vswitchd.log").read_text()
            assert "bridge OVS-1: added interface veth-ns1 on port 1" in log

    def test_ini(self, inner: Inner) -> None:
        """The ini value is relative to the file that it is in; the option wins."""
        (inner.path / "below").mkdir()
        write(inner, self.TESTS, name="below/test_inner")
        inner.pytester.makeini("[pytest]\nnetns_artifacts = kept\n")
        inner.monkeypatch.chdir(inner.path / "below")
        inner.run("test_inner.py").assert_outcomes(passed=4)
        assert len(list((inner.path / "kept").iterdir())) == 1
        inner.run("--netns-artifacts=more", "test_inner.py")
        assert len(list((inner.path / "kept").iterdir())) == 1
        assert len(list((inner.path / "below" / "more").iterdir())) == 1

    def test_absent(self, inner: Inner) -> None:
        """Without it nothing is written anywhere."""
        write(inner, self.TESTS)
        (inner.path / "tmp").mkdir()
        inner.monkeypatch.setenv("TMPDIR", str(inner.path / "tmp"))
        before = files(*SYSTEM)
        inner.run("-p", "no:tmpdir").assert_outcomes(passed=4)
        assert files(*SYSTEM, inner.path / "tmp") == before
        assert not list(inner.path.glob("**/*.log"))


BUSY = """
    @LAN
    def test_busy(netns, netns_manager):
        with netns_manager.build(netns.topology) as other:
            pids = daemons(netns) + daemons(other)
            write("pids", " ".join(map(str, pids)))
            time.sleep(60)

    def test_never_reached():
        Path("reached").touch()
"""


@pytest.mark.parametrize("with_folder", [False, True], ids=["memory", "folder"])
def test_pytest_is_killed(inner: Inner, with_folder: bool) -> None:  # noqa: FBT001
    """No daemon outlives it, and no file but the logs that were asked for."""
    write(inner, BUSY)
    (inner.path / "tmp").mkdir()
    inner.monkeypatch.setenv("TMPDIR", str(inner.path / "tmp"))
    system = files(*SYSTEM)
    run = inner.start(*(["--netns-artifacts=logs"] if with_folder else []))
    pids = [int(word) for word in inner.read("pids").split()]
    assert len(pids) == 4
    assert all(map(is_alive, pids))
    run.kill()
    run.communicate(timeout=30)
    inner.eventually(lambda: not any(map(is_alive, pids)), "the end of the daemons")
    assert inner.remains() == ""
    assert files(*SYSTEM, inner.path / "tmp") == system
    kept = [path for path in (inner.path / "logs").rglob("*") if not path.is_dir()]
    assert bool(kept) is with_folder
    assert all(stat.S_ISREG(path.stat().st_mode) for path in kept)
    assert not [path for path in kept if path.suffix in {".pid", ".ctl", ".sock"}]


def test_ctrl_c(inner: Inner) -> None:
    """The daemons do not notice it; they end when their manager is closed."""
    write(
        inner,
        BUSY
        + """
    @pytest.fixture(autouse=True)
    def afterwards(netns_manager):
        yield
        pids = Path("pids").read_text().split()
        write("alive", " ".join(str(Path(f"/proc/{pid}").exists()) for pid in pids))
    """,
    )
    run = inner.start()
    pids = [int(word) for word in inner.read("pids").split()]
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert inner.read("alive").split() == ["True"] * 4
    assert not any(map(is_alive, pids))
    assert not (inner.path / "reached").exists()


def test_two_workers(inner: Inner) -> None:
    """Each worker of xdist has daemons of its own, and nobody notices another."""
    write(
        inner,
        """
        @LAN
        @pytest.mark.parametrize("turn", range(12))
        def test_switch(netns, turn):
            assert netns["ns1"].ping("ns2")
            assert netns.switch("OVS-1").vsctl("list-br") == "OVS-1\\n"
            with open("pids", "a") as file:
                file.write(f"{daemons(netns)}\\n")
        """,
    )
    inner.run("-n", "2").assert_outcomes(passed=12)
    lines = (inner.path / "pids").read_text().splitlines()
    assert len(lines) == 12
    assert len(set(lines)) == 2


def test_without_pytest(inner: Inner) -> None:
    """A program that ends without closing anything leaves no daemon either."""
    program = inner.path / "program.py"
    program.write_text(
        "from pytest_netns import *\n"
        "import os\n"
        "network = build(Topology(Namespace('a'), OVSBridge('b'), Veth('a', 'b')))\n"
        "print(*[process.pid for process in network._fabric.daemons()], flush=True)\n"
        "os._exit(0)\n"
    )
    result = inner.pytester.run(sys.executable, program)
    pids = [int(word) for word in result.outlines[0].split()]
    inner.eventually(lambda: not any(map(is_alive, pids)), "the end of the daemons")
