"""Names under /run/netns, in a mount namespace whose /run is empty and its own."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: What the inner tests share; ``ip netns`` does what people do.
TOOLS = """
import glob

def names():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}

def named(namespace):
    return f"pytest-{os.getpid()}-{namespace}"

def addresses(name):
    return subprocess.run(
        ["ip", "netns", "exec", name, "ip", "-brief", "address"],
        capture_output=True, text=True, check=True,
    ).stdout

def forget_directory():
    # ip and killed runs leave it, mounted on itself
    subprocess.run(["umount", "/run/netns"], check=True)
    os.rmdir("/run/netns")

def pytest_run(text, *arguments):
    file = Path(f"inner_{len(glob.glob('inner_*.py'))}.py").absolute()
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--netns-names",
         "--netns-require", *arguments, str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )

HOLDING = '''
import time, pytest
from pathlib import Path
from pytest_netns import Namespace

@pytest.mark.netns(Namespace("red"), Namespace("blue"))
def test_hold(netns):
    netns["red"].run(["true"])  # its thread has a copy of the mounts
    Path("held").touch()
    time.sleep(60)
'''
"""
#: Runs a command where /run is an empty folder that nobody else sees.
PRIVATE = [
    "unshare",
    "--mount",
    "--propagation=slave",
    "sh",
    "-c",
    'mount -t tmpfs tmpfs /run && exec "$@"',
    "sh",
]


def run(inner: Inner, tests: str, *arguments: str) -> None:
    """Run tests that pass, and leave /run as empty as it was."""
    inner.write(TOOLS + textwrap.dedent(tests))
    inner.pytester.makeconftest(
        """
        import os
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_unconfigure():
            left = [name for name in os.listdir("/run") if name == "netns"]
            print("left in /run:", left)
        """
    )
    result = inner.run_behind(PRIVATE, "--netns-require", *arguments)
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}, outcomes
    if "-n" not in arguments:
        result.stdout.fnmatch_lines(["*left in /run: []"])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_every_namespace_has_a_name(inner: Inner, how: str) -> None:
    """``ip netns list`` and ``exec`` know it while the test runs, and then no more.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    if how == "ini":
        inner.pytester.makeini("[pytest]\nnetns_names = true")
    run(
        inner,
        """
        @pytest.mark.netns(CABLE)
        def test_named(netns):
            assert names() == {named("left"), named("right")}
            assert "10.0.0.1/24" in addresses(named("left"))
            right = Path("/run/netns", named("right"))
            assert right.stat().st_ino == netns["right"].inode
            netns.add(Namespace("green"))
            assert named("green") in names()

        def test_gone():
            assert names() == set()
            assert not os.path.exists("/run/netns")
        """,
        *(["--netns-names"] if how == "option" else []),
    )


def test_without_the_option_nothing_is_named(inner: Inner) -> None:
    """Names are for those who ask for them: on the command line, or in a topology."""
    run(
        inner,
        """
        @pytest.mark.netns(CABLE)
        def test_unnamed(netns):
            assert names() == set()

        @pytest.mark.netns(Topology(Namespace("red"), names=True))
        def test_named_by_its_topology(netns):
            assert names() == {named("red")}
        """,
    )


def test_two_networks_may_have_one_name(inner: Inner) -> None:
    """The second of a process gets a number; each name leads to its own."""
    run(
        inner,
        """
        @pytest.mark.netns(Namespace("red"))
        def test_two(netns, netns_manager):
            name = named("red")
            with netns_manager.build(Topology(Namespace("red"))) as other:
                assert names() == {name, name + "-2"}
                for one, network in ((name, netns), (name + "-2", other)):
                    assert os.stat(f"/run/netns/{one}").st_ino == network["red"].inode
            assert names() == {name}
        """,
        "--netns-names",
    )


def test_xdist(inner: Inner) -> None:
    """Workers name their namespaces side by side."""
    run(
        inner,
        """
        @pytest.mark.netns(CABLE)
        @pytest.mark.parametrize("number", range(20))
        def test_named(netns, number):
            assert {named("left"), named("right")} <= names()
            assert "10.0.0.1/24" in addresses(named("left"))
        """,
        "--netns-names",
        "-n",
        "2",
    )


def test_a_failed_build_leaves_no_name(inner: Inner) -> None:
    """Names go with the namespaces, whichever step failed."""
    run(
        inner,
        """
        def test_fails(netns_manager):
            wrong = Namespace("blue", nftables="no such thing")
            with pytest.raises(RulesetError):
                netns_manager.build(Topology(Namespace("red"), wrong))
            assert names() == set()
            with netns_manager.build(Topology(Namespace("red"))) as network:
                with pytest.raises(RulesetError):
                    network.add(wrong)
                assert names() == {named("red")}
        """,
        "--netns-names",
    )


def test_names_of_a_killed_run(inner: Inner) -> None:
    """Its watcher removes them; if that is killed as well, the next run does."""
    run(
        inner,
        """
        @pytest.mark.parametrize("watcher", ["alive", "killed"])
        def test_killed(netns_manager, watcher):
            killed = pytest_run(HOLDING)
            eventually(lambda: Path("held").exists())
            Path("held").unlink()
            left = {f"pytest-{killed.pid}-red", f"pytest-{killed.pid}-blue"}
            assert names() == left
            if watcher == "killed":
                found = subprocess.run(
                    ["pgrep", "-f", f"_watcher_main.py {killed.pid}"],
                    capture_output=True, text=True,
                ).stdout.split()
                assert len(found) == 1
                os.kill(int(found[0]), signal.SIGKILL)
            killed.kill()
            killed.communicate()
            if watcher == "killed":
                assert names() == left  # nobody has removed them, so this one could see
                with netns_manager.build(Topology(Namespace("red"), names=True)):
                    assert names() == {named("red")}
            else:
                eventually(lambda: names() == set())
            if watcher == "alive":
                assert os.listdir("/run/netns") == []
                forget_directory()
        """,
    )


def test_names_of_a_run_that_is_alive_stay(inner: Inner) -> None:
    """The next run removes neither them nor names that are not ours."""
    run(
        inner,
        """
        def test_alive(netns_manager):
            alive = pytest_run(HOLDING)
            eventually(lambda: Path("held").exists())
            others = {f"pytest-{alive.pid}-red", f"pytest-{alive.pid}-blue", "red",
                      "pytest-red"}
            for name in ("red", "pytest-red"):
                subprocess.run(["ip", "netns", "add", name], check=True)
            with netns_manager.build(Topology(Namespace("red"), names=True)):
                assert names() == {*others, named("red")}
            assert names() == others
            assert addresses(f"pytest-{alive.pid}-red")
            alive.terminate()
            alive.send_signal(signal.SIGKILL)
            alive.communicate()
            for name in ("red", "pytest-red"):
                subprocess.run(["ip", "netns", "delete", name], check=True)
            eventually(lambda: names() == set())
            forget_directory()
        """,
    )


def test_a_number_that_was_given_again(inner: Inner) -> None:
    """A name whose process has no descriptor of its namespace is a dead one's."""
    run(
        inner,
        """
        def test_reused(netns_manager):
            innocent = os.getppid()  # alive, and somebody else
            name = f"pytest-{innocent}-red"
            subprocess.run(["ip", "netns", "add", name], check=True)
            assert names() == {name}
            with netns_manager.build(Topology(Namespace("red"), names=True)):
                assert names() == {named("red")}
            forget_directory()
        """,
    )


def test_a_name_keeps_no_namespace(inner: Inner) -> None:
    """What had a name is gone with its test, also where others copied the mounts."""
    run(
        inner,
        """
        @pytest.fixture(scope="module")
        def wide(netns_manager):
            with netns_manager.build(Topology(Namespace("wide"))) as network:
                yield network

        @pytest.mark.netns(CABLE)
        def test_copied(netns, wide):
            wide["wide"].run(["true"])  # its mounts are copied now, names included
            assert str(netns["left"].inode) in wide["wide"].run(
                ["cat", "/proc/self/mountinfo"]).stdout

        def test_gone(wide):
            mounts = wide["wide"].run(["cat", "/proc/self/mountinfo"]).stdout
            assert named("wide") in mounts
            assert named("left") not in mounts
        """,
        "--netns-names",
    )
