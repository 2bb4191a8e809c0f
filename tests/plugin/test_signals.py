from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: All that could outlive a run: each of them in a namespace.
BUSY = """
    DAEMON = '''
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    print("on", flush=True)
    time.sleep(600)
    '''

    def busy(netns):
        program = "\\n".join(map(str.strip, DAEMON.splitlines()))
        daemon = netns["left"].popen([sys.executable, "-Sc", program], expect_exit=True)
        eventually(lambda: "on" in daemon.output)
        # without the environment by which others are found
        netns["right"].popen(["env", "-i", "sleep", "600"])
        # and without the namespace
        away = netns["left"].popen(["unshare", "--net", "sleep", "600"])
        inode = netns["left"].inode
        eventually(lambda: os.stat(f"/proc/{away.pid}/ns/net").st_ino != inode)
        server = netns["right"].socket()
        server.listen()
        netns["right"].spawn(server.accept)
        with netns["left"]:
            subprocess.Popen(["sleep", "600"], start_new_session=True).returncode = 0
        paths = [namespace.path for namespace in netns]
        Path("paths.new").write_text("\\n".join(paths))
        pids = [*netns["left"].pids(), *netns["right"].pids()]
        assert len(pids) >= 3
        Path("pids.new").write_text(" ".join(map(str, pids)))
        os.replace("pids.new", "pids")
        os.replace("paths.new", "paths")
"""

FAREWELL = """
    @pytest.fixture
    def farewell(netns):
        yield
        Path("farewell").touch()

    @pytest.mark.netns(CABLE)
    def test_busy(netns, farewell):
        busy(netns)
        with netns["left"]:
            time.sleep(60)

    def test_never_reached():
        Path("reached").touch()
"""


def hold(inner: Inner) -> list[int]:
    """Return descriptors of the namespaces of a run, which keep their numbers."""
    paths = inner.read("paths").splitlines()
    return [os.open(path, os.O_RDONLY) for path in paths]


def assert_deserted(namespaces: list[int]) -> None:
    """Wait until nobody but this process has anything in the namespaces."""
    deadline = time.monotonic() + 10
    inodes = {f"net:[{os.fstat(fd).st_ino}]" for fd in namespaces}
    while left := list(holders(inodes)):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    for fd in namespaces:
        os.close(fd)


def holders(namespaces: set[str]) -> list[str]:
    """List all descriptors and threads of other processes that hold the namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        for link in (*process.glob("task/*/ns/net"), *process.glob("fd/*")):
            try:
                if str(link.readlink()) in namespaces:
                    found.append(str(link))
            except OSError:
                continue  # it has ended meanwhile
    return found


def end(run: subprocess.Popen[str]) -> str:
    """Return the output of a run that has been told to end."""
    output, _ = run.communicate(timeout=30)
    return output


def test_ctrl_c_in_a_test(inner: Inner) -> None:
    """Ctrl-C ends the run and the test it comes in, whose network is taken down."""
    inner.write(BUSY + FAREWELL)
    run = inner.start()
    namespaces = hold(inner)
    run.send_signal(signal.SIGINT)
    output = end(run)
    assert "KeyboardInterrupt" in output
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert (inner.path / "farewell").exists()
    assert not (inner.path / "reached").exists()
    assert_deserted(namespaces)


def test_killed(inner: Inner) -> None:
    """A run that is killed has no chance to clean up, and yet nothing of it remains."""
    inner.write(BUSY + FAREWELL)
    run = inner.start()
    namespaces = hold(inner)
    run.kill()
    run.wait(60)
    assert run.returncode == -signal.SIGKILL
    assert not (inner.path / "farewell").exists()
    assert_deserted(namespaces)
    assert inner.remains() == ""


def test_ctrl_c_while_building(inner: Inner) -> None:
    """Ctrl-C at any moment of building and closing ends the run, and leaves nothing."""
    inner.write(
        """
        LAN = Topology(
            *(Namespace(f"n{number}") for number in range(5)),
            Bridge("br0", subnet="10.0.0.0/24"),
            *(Veth(f"n{number}", "br0") for number in range(5)),
        )

        def test_loop(netns_manager, request):
            ready = Path(os.environ["NETNS_READY"])
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with netns_manager.build(LAN) as network:
                    network["n0"].popen(["sleep", "600"])
                    network.add(Namespace("more"), Veth("more", "n1"))
                    ready.touch()
        """
    )
    moments = random.Random()
    for number in range(10):
        ready = inner.path / f"ready{number}"
        inner.monkeypatch.setenv("NETNS_READY", str(ready))
        # what Ctrl-C takes out of our hands just when it is made, Python closes
        run = inner.start()
        inner.eventually(ready.exists, "the first network")
        moment = moments.uniform(0, 0.1)
        time.sleep(moment)  # not to wait for anything: any moment will do
        run.send_signal(signal.SIGINT)
        output = end(run)
        assert run.returncode == pytest.ExitCode.INTERRUPTED, (moment, output)
        assert "ERROR" not in output, (moment, output)
        assert "Traceback" not in output, (moment, output)
    assert inner.remains() == ""


def test_worker_of_xdist_is_killed(inner: Inner) -> None:
    """When a worker of xdist is killed, its networks go, and the other tests pass."""
    inner.write(
        BUSY
        + """
    @pytest.mark.netns(CABLE)
    def test_crashes(netns):
        busy(netns)
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.netns(CABLE)
    @pytest.mark.parametrize("number", range(4))
    def test_others(netns, number):
        assert netns["left"].ping("right")
        eventually(Path("pids").exists)
        pids = Path("pids").read_text().split()
        # while the run goes on: of a zombie there is no command line
        eventually(lambda: not any(command_line(pid) for pid in pids))

    def command_line(pid):
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
    """
    )
    result = inner.run("-n", "2")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["worker * crashed while running *test_crashes*"])
    assert inner.remains() == ""


def test_two_runs_at_once(inner: Inner) -> None:
    """Two runs with the same names at the same time never meet.

    ::

        left (10.0.0.1) --- br0 --- (10.0.0.2) right
    """
    inner.write(
        """
        LAN = [
            Namespace("left"), Namespace("right"), Bridge("br0", subnet="10.0.0.0/24"),
            Veth("left:eth0", "br0"), Veth("right:eth0", "br0"),
        ]

        @pytest.mark.netns(*LAN)
        @pytest.mark.parametrize("number", range(3))
        def test_own_server(netns, number):
            with netns["right"].socket() as server:
                server.bind(("10.0.0.2", 80))
                server.listen()
                # the other run has come as far: both are there now
                Path(f"{os.environ['NETNS_ME']}-{number}").touch()
                eventually(Path(f"{os.environ['NETNS_OTHER']}-{number}").exists)
                me = f"{os.environ['NETNS_ME']} {number}".encode()
                with netns["left"].socket() as client:
                    client.connect(("10.0.0.2", 80))
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(me)
                        assert client.recv(100) == me
        """
    )
    runs = []
    for me, other in (("one", "two"), ("two", "one")):
        inner.monkeypatch.setenv("NETNS_ME", me)
        inner.monkeypatch.setenv("NETNS_OTHER", other)
        runs.append(inner.start())
    for run in runs:
        assert "3 passed" in end(run)
