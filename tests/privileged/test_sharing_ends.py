"""However runs that share the machine's connection end, one beside the other.

::

    one (10.1.0.2, fd01::2) ─── (10.1.0.1, fd01::1) host ─┐
    two (10.2.0.2, fd02::2) ─── (10.2.0.1, fd02::1) host ─┴ up.0 ─── world
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns import Process

    from .conftest import Machine

#: A run waits until it is told to look, as often as that happens, or to end.
RUN = """
        NETWORK = Topology(
            Host(share_connection=True),
            Namespace("{name}", routes=[Route("default", via="10.{number}.0.1"),
                                        Route("default", via="fd0{number}::1")]),
            Veth("host", "{name}", subnet=["10.{number}.0.0/24", "fd0{number}::/64"]),
        )

        @pytest.mark.netns(NETWORK)
        def test_{name}(netns):
            print("ready", flush=True)
            for count in range(100):
                while not Path("{name}-end").exists():
                    if Path(f"{name}-look-{{count}}").exists():
                        break
                    time.sleep(0.005)
                else:
                    return
                for address in ("203.0.113.254", "2001:db8::fe"):
                    assert netns["{name}"].ping(address), address
                print("looked", count, flush=True)
"""


class Run:
    """A run of one test, whose network shares the machine's connection."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine = machine
        self._name = ("one", "two")[number - 1]
        machine.write(RUN.format(name=self._name, number=number), f"test_{self._name}")
        self.process: Process = machine.start(f"test_{self._name}.py")
        self.process.wait_for_output("ready", timeout=20)
        self._looks = 0

    def looks(self) -> None:
        """Have it look whether its network reaches the world."""
        (self._machine.path / f"{self._name}-look-{self._looks}").touch()
        self.process.wait_for_output(f"looked {self._looks}", timeout=20)
        self._looks += 1

    def ends(self) -> None:
        """Have it end."""
        (self._machine.path / f"{self._name}-end").touch()
        assert self.process.wait(20) == 0, self.process.output

    def is_killed(self) -> None:
        """Kill it."""
        self._machine.kill(self.process)

    def is_killed_with_its_watcher(self) -> None:
        """Kill it, and whoever could tidy up."""
        self._machine.kill(self.process, self._machine.watcher_of(self.process))


def tables(machine: Machine) -> list[str]:
    """List the names of the machine's nftables tables."""
    listed = machine.namespace.run("nft list tables").stdout.splitlines()
    return [line.rpartition(" ")[2] for line in listed]


def forwarding(machine: Machine) -> list[str]:
    """Tell whether the uplink forwards: IPv4, then IPv6, which all others share."""
    sysctl = machine.namespace.sysctl
    keys = ["net.ipv4.conf.up/0.forwarding", "net.ipv6.conf.all.forwarding"]
    return [sysctl[key] for key in keys]


def sweep(machine: Machine) -> None:
    """Run any test with a host, as the next run of somebody would."""
    machine.write(
        """
        @pytest.mark.netns(CABLE)
        def test_next(netns):
            assert netns["host"].ping("server")
        """,
        "test_next",
    )
    completed = machine.run("test_next.py")
    assert completed.returncode == 0, completed.stdout


def leave_table(machine: Machine, name: str) -> None:
    """Leave behind what a killed run does: a table, and what it tells of."""
    machine.namespace.sysctl["net.ipv4.conf.up/0.forwarding"] = "1"
    machine.namespace.nft(
        f"table inet {name} {{\n"
        '  set forwarding4 { type ifname; elements = { "up.0", "gone" }\n }\n'
        "  set forwarding6 { type ifname;\n }\n"
        "}\n"
    )


def identity(pid: int) -> tuple[int, int, int]:
    """Return what tells a process: PID namespace, number and start time."""
    return Path("/proc/self/ns/pid").stat().st_ino, pid, int(status(pid)[19])


def status(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on (proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return text.rpartition(")")[2].split()


def test_a_killed_run(machine: Machine) -> None:
    """The watcher puts everything back, within two seconds."""
    run = Run(machine, 1)
    run.looks()
    assert forwarding(machine) == ["1", "1"]
    killed = time.monotonic()
    run.is_killed()
    machine.eventually(lambda: forwarding(machine) == ["0", "0"], "forwarding to end")
    assert time.monotonic() - killed < 4  # twice that, for slow machines
    machine.assert_untouched(within=2)


def test_a_killed_run_with_a_killed_watcher(machine: Machine) -> None:
    """The next run of anybody with a host puts everything back."""
    run = Run(machine, 1)
    namespace, pid, started = identity(run.process.pid)
    run.is_killed_with_its_watcher()
    machine.eventually(lambda: "one-eth0" not in machine.ifnames(), "its cable to go")
    assert tables(machine) == [f"pytest-netns-{namespace}-{pid}-{started}"]
    assert forwarding(machine) == ["1", "1"]
    sweep(machine)
    machine.assert_untouched()


@pytest.mark.parametrize("end", [Run.ends, Run.is_killed])
def test_two_runs_at_once(machine: Machine, end: Callable[[Run], None]) -> None:
    """The end of the first takes nothing from the second, whose end restores all."""
    one = Run(machine, 1)
    two = Run(machine, 2)
    one.looks()
    two.looks()
    assert len(tables(machine)) == 2
    end(one)
    machine.eventually(lambda: len(tables(machine)) == 1, "the first to go")
    assert forwarding(machine) == ["1", "1"]
    two.looks()
    sweep(machine)  # which the second survives
    two.looks()
    end(two)
    machine.assert_untouched(within=5)


@pytest.mark.parametrize("end", [Run.ends, Run.is_killed])
def test_the_second_ends_first(machine: Machine, end: Callable[[Run], None]) -> None:
    """It has changed nothing that the first had not, and puts nothing back."""
    one = Run(machine, 1)
    two = Run(machine, 2)
    end(two)
    machine.eventually(lambda: len(tables(machine)) == 1, "the second to go")
    one.looks()
    end(one)
    machine.assert_untouched(within=5)


def test_a_run_that_nobody_tidied_up_after(machine: Machine) -> None:
    """A live run inherits what a dead one has changed, and restores it at its end."""
    one = Run(machine, 1)
    two = Run(machine, 2)
    one.is_killed_with_its_watcher()
    assert len(tables(machine)) == 2
    two.looks()
    sweep(machine)
    assert len(tables(machine)) == 1
    two.looks()
    two.ends()
    machine.assert_untouched()


def test_a_dead_run_is_nobodys_heir(machine: Machine) -> None:
    """The last live run puts everything back, whatever tables are beside its own."""
    one = Run(machine, 1)
    two = Run(machine, 2)
    two.is_killed_with_its_watcher()
    one.ends()
    assert forwarding(machine) == ["0", "0"]
    sweep(machine)
    machine.assert_untouched()


@pytest.mark.parametrize("what", ["number", "start", "zombie"])
def test_the_table_of_a_dead_process(machine: Machine, what: str) -> None:
    """It is known as such by the number, or by the time at which that was given."""
    namespace, pid, started = identity(machine.bystander.pid)
    if what == "number":
        gone = machine.namespace.popen("true", expect_exit=True)
        pid = gone.pid
        gone.wait(5)
    elif what == "start":
        started += 1
    else:
        # the shell has become a program that does not ask how its child has ended
        parent = machine.namespace.popen(
            ["sh", "-c", "echo $$; sleep 600 & exec sleep 600"]
        )
        parent.wait_for_output(r"\d+\n")
        pid = int(machine.namespace.run(["pgrep", "-P", str(parent.pid)]).stdout)
        namespace, pid, started = identity(pid)
        os.kill(pid, 9)
        machine.eventually(lambda: status(pid)[0] == "Z", "it to be dead")
    leave_table(machine, f"pytest-netns-{namespace}-{pid}-{started}")
    sweep(machine)
    machine.assert_untouched()


@pytest.mark.parametrize("whose", ["alive", "another PID namespace", "not ours at all"])
def test_the_table_of_somebody_else(machine: Machine, whose: str) -> None:
    """What is in use, or cannot be judged, is never touched."""
    namespace, pid, started = identity(machine.bystander.pid)
    name = {
        "alive": f"pytest-netns-{namespace}-{pid}-{started}",
        "another PID namespace": f"pytest-netns-{namespace - 1}-{pid}-{started + 1}",
        "not ours at all": "pytest-netns-mine",
    }[whose]
    leave_table(machine, name)
    machine.before = machine.state()
    sweep(machine)
    machine.assert_untouched()


def test_many_runs_come_and_go(machine: Machine) -> None:
    """Whoever starts while another ends finds its way out all the same."""
    machine.write(
        """
        def test_again_and_again(netns_manager, worker_id):
            number = int(worker_id.removeprefix("gw")) + 1
            network = Topology(
                Host(share_connection=True),
                Namespace(worker_id, routes=[Route("default", via=f"10.{number}.0.1"),
                                             Route("default", via=f"fd0{number}::1")]),
                Veth("host", worker_id,
                     subnet=[f"10.{number}.0.0/24", f"fd0{number}::/64"]))
            Path(worker_id).touch()
            for other in ("gw0", "gw1", "gw2"):
                await_file(other)
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                with netns_manager.build(network) as built:
                    for address in ("203.0.113.254", "2001:db8::fe"):
                        assert built[worker_id].ping(address), address

        test_one = test_two = test_three = test_again_and_again
        del test_again_and_again
        """
    )
    completed = machine.run("-n", "3")
    assert "3 passed" in completed.stdout, completed.stdout
    machine.assert_untouched()
