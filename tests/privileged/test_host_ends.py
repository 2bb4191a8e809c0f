"""However a test ends, the machine is as it was before.

::

    host:server-eth0 (10.5.0.1, fd05::1) ─── (10.5.0.2, fd05::2) server:eth0
    host:br9 10.6.0.1 ─── 10.6.0.2 server:eth1        host:a ─── host:b
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Machine

#: What does not go by itself with the namespaces of the network is there, too.
EVERYTHING = """
        EVERYTHING = CABLE.with_records(
            Bridge("br9", namespace="host", address="10.6.0.1/24"),
            Veth("server", "br9", address="10.6.0.2/24"),
            Veth("host:a", "host:b"),
        )

        def check(netns):
            assert netns["host"].ping("server")
            names = {one.name for one in netns["host"].interfaces} - {"lo", "up.0"}
            assert names == {"server-eth0", "br9", "server-eth1", "a", "b"}
            places = (netns["host"], netns["server"])
            return [place.popen(["sleep", "600"]).pid for place in places]
"""
READY_AND_WAITING = """
        @pytest.mark.netns(EVERYTHING)
        def test_waits(netns):
            Path("pids.new").write_text(" ".join(map(str, check(netns))))
            os.replace("pids.new", "pids")
            time.sleep(60)
"""


@pytest.mark.parametrize(
    "ending", ["pass", "assert not netns", "pytest.skip()", "raise SystemExit"]
)
def test_a_test_ends(machine: Machine, ending: str) -> None:
    """With success, a failure, a skip or an attempt to leave: it is all the same."""
    machine.write(
        EVERYTHING
        + f"""
        BEFORE = run("ip -o link")

        @pytest.mark.netns(EVERYTHING)
        def test_ends(netns):
            check(netns)
            {ending}

        def test_is_gone():
            assert run("ip -o link") == BEFORE
        """
    )
    assert "1 passed" in machine.run().stdout or ending == "pass"
    machine.assert_untouched()


def test_ctrl_c(machine: Machine) -> None:
    """Ctrl-C ends the run, which takes everything away before it does."""
    machine.write(EVERYTHING + READY_AND_WAITING)
    run = machine.start()
    machine.file("pids")
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == pytest.ExitCode.INTERRUPTED, run.output
    machine.assert_untouched()


def test_sigterm(machine: Machine) -> None:
    """SIGTERM ends the run as Ctrl-C does."""
    machine.write(EVERYTHING + READY_AND_WAITING)
    run = machine.start()
    machine.file("pids")
    run.send_signal(signal.SIGTERM)
    assert run.wait(10) == 128 + signal.SIGTERM, run.output
    machine.assert_untouched()


@pytest.mark.parametrize("ending", ["os._exit(7)", "os.kill(os.getpid(), 9)"])
def test_a_process_that_just_ends(machine: Machine, ending: str) -> None:
    """Nothing of Python runs any more, but the watcher does the rest."""
    machine.write(
        EVERYTHING
        + f"""
        @pytest.mark.netns(EVERYTHING)
        def test_ends(netns):
            check(netns)
            {ending}
        """
    )
    assert machine.run().returncode in {7, -signal.SIGKILL}
    machine.assert_untouched(within=5)


def test_a_killed_run(machine: Machine) -> None:
    """The watcher takes everything away, within two seconds."""
    machine.write(EVERYTHING + READY_AND_WAITING)
    run = machine.start()
    machine.file("pids")
    killed = time.monotonic()
    machine.kill(run)
    machine.eventually(lambda: machine.ifnames() == {"lo", "up.0"}, "all to go")
    assert time.monotonic() - killed < 2
    machine.assert_untouched(within=5)
    pids = machine.namespace.pids()
    assert pids == [machine.bystander.pid]


def test_a_killed_run_with_a_killed_watcher(machine: Machine) -> None:
    """What is left is signed: the next run with a host takes it away.

    But for the processes, which nobody ends; they hold their namespaces.
    """
    machine.write(EVERYTHING + READY_AND_WAITING)
    run = machine.start()
    pids = machine.file("pids").split()
    machine.kill(run, machine.watcher_of(run))
    left = {"server-eth0", "server-eth1", "br9", "a", "b"}
    assert machine.ifnames() == {"lo", "up.0", *left}
    text = machine.namespace.run("ip link").stdout
    assert text.count("alias pytest-netns-") == len(left)
    assert text.count(f"-{run.pid}-") == len(left)
    machine.passes(
        EVERYTHING
        + """
        @pytest.mark.netns(EVERYTHING)
        def test_again(netns):
            check(netns)
        """
    )
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)


def test_what_ends_with_its_namespaces(machine: Machine) -> None:
    """A cable to the host goes with the other end, whoever is killed."""
    machine.write(
        """
        @pytest.mark.netns(CABLE)
        def test_waits(netns):
            Path("ready").touch()
            time.sleep(60)
        """
    )
    run = machine.start()
    machine.await_file("ready")
    machine.kill(run, machine.watcher_of(run))
    machine.assert_untouched(within=5)


@pytest.mark.parametrize("whose", ["alive", "another PID namespace", "nobody's"])
def test_interfaces_of_others_stay(machine: Machine, whose: str) -> None:
    """What belongs to a run that goes on, or to nobody we know, is never touched."""
    pid = machine.bystander.pid
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    started = int(text.rpartition(")")[2].split()[19])
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    alias = {
        "alive": f"pytest-netns-{namespace}-{pid}-{started}",
        "another PID namespace": f"pytest-netns-{namespace - 1}-{pid}-{started + 1}",
        "nobody's": "the bridge of somebody",
    }[whose]
    machine.namespace.run("ip link add name br0 type bridge")
    machine.namespace.run(["ip", "link", "set", "dev", "br0", "alias", alias])
    machine.before = machine.state()
    machine.passes(
        EVERYTHING
        + """
        @pytest.mark.netns(CABLE)
        def test_beside_it(netns):
            assert "br0" in {one.name for one in netns["host"].interfaces}
        """
    )


def test_workers_of_xdist(machine: Machine) -> None:
    """Tests with addresses and names of their own run side by side."""
    machine.passes(
        """
        def lan(name):
            number = 10 + int(name[-1])
            return [Host(), Namespace(name),
                    Veth("host", name,
                         subnet=[f"10.{number}.0.0/24", f"fd{number}::/64"])]

        def meet(netns, me, other):
            Path(me).touch()
            await_file(other)
            assert netns["host"].ping(me)
            assert netns[me].ping("host")
            names = {one.name for one in netns["host"].interfaces}
            assert {"s1-eth0", "s2-eth0"} <= names
            Path(me + "-done").touch()
            await_file(other + "-done")

        @pytest.mark.netns(*lan("s1"))
        def test_one(netns):
            meet(netns, "s1", "s2")

        @pytest.mark.netns(*lan("s2"))
        def test_two(netns):
            meet(netns, "s2", "s1")
        """,
        *("-n", "2"),
    )


def test_a_killed_worker_of_xdist(machine: Machine) -> None:
    """Its watcher takes away what it has added, and the other tests pass."""
    machine.write(
        EVERYTHING
        + """
        @pytest.mark.netns(EVERYTHING)
        def test_crashes(netns):
            check(netns)
            Path("crashing").touch()
            os.kill(os.getpid(), signal.SIGKILL)

        @pytest.mark.parametrize("number", range(3))
        def test_others(netns_manager, number):
            await_file("crashing")
            deadline = time.monotonic() + 10
            while True:
                try:
                    with netns_manager.build(EVERYTHING) as network:
                        check(network)
                    return
                except TopologyError:  # that of the other worker
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        """
    )
    completed = machine.run("-n", "2")
    assert "1 failed, 3 passed" in completed.stdout
    machine.assert_untouched(within=5)
