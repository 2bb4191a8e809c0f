"""What runs write down of their changes: names, sets and who is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from pytest_netns import _ledger as ledger
from pytest_netns import _nftables as nftables
from pytest_netns._ledger import CHANGES

if TYPE_CHECKING:
    import pytest

NAMESPACE = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  # as it is read there


def table(pid: int, *, namespace: int = NAMESPACE, later: int = 0) -> str:
    """Name the table of a process."""
    started = ledger._status(str(pid))[2]
    return f"pytest-netns-{namespace}-{pid}-{started + later}"


def test_changes_become_sets() -> None:
    """All kinds of them, since another run may hand on what this one has not."""
    text = ledger.sets({"forwarding4": ["eth0", "up.0"], "accept_ra": ["any*"]})

    assert text == (
        "\tset accept_ra {\n"
        "\t\ttype ifname\n"
        '\t\telements = { "any\\*" }\n'
        "\t}\n"
        "\tset forwarded6 {\n\t\ttype ifname\n\t}\n"
        "\tset forwarding6 {\n\t\ttype ifname\n\t}\n"
        "\tset forwarding4 {\n"
        "\t\ttype ifname\n"
        '\t\telements = { "eth0", "up.0" }\n'
        "\t}\n"
    )


def test_what_nft_lists_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One or many elements, any characters, and only the sets that are known."""
    listed = (
        "table inet pytest-netns-1-2-3 {\n"
        "\tset accept_ra {\n\t\ttype ifname\n"
        '\t\telements = { "a;b",\n\t\t\t     "up.0",\n\t\t\t     "c{d" }\n\t}\n\n'
        "\tset forwarded6 {\n\t\ttype ifname\n\t}\n\n"
        '\tset forwarding6 {\n\t\ttype ifname\n\t\telements = { "all" }\n\t}\n\n'
        '\tset forwarding4 {\n\t\ttype ifname\n\t\telements = { "x*", "y\\*" }\n\t}\n'
        '\tset other {\n\t\ttype ifname\n\t\telements = { "no" }\n\t}\n\n'
        "\tchain postrouting {\n"
        "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        '\t\tiifname { "s1", "s2" } oifname != { "s1", "s2" } masquerade\n'
        "\t}\n}\n"
    )
    monkeypatch.setattr(nftables, "query", lambda _: listed)

    assert ledger.recorded("pytest-netns-1-2-3") == {
        "accept_ra": ["a;b", "up.0", "c{d"],
        "forwarded6": [],
        "forwarding6": ["all"],
        "forwarding4": ["x*", "y*"],
    }
    monkeypatch.setattr(nftables, "query", lambda _: "")
    assert ledger.recorded("pytest-netns-1-2-3") == {}


def test_changes_are_joined() -> None:
    """Each is there once, in order."""
    joined = ledger.joined({"accept_ra": ["a", "b"]}, {"accept_ra": ["c", "a"]})

    assert joined["accept_ra"] == ["a", "b", "c"]
    assert list(joined) == list(CHANGES)


def test_the_key_of_an_interface_with_a_dot() -> None:
    """In a sysctl's name a slash stands for it (sysctl(8))."""
    change = CHANGES["forwarding4"]
    assert change.of("up.0") == "net.ipv4.conf.up/0.forwarding"
    assert change.of("all") == "net.ipv4.conf.all.forwarding"


def test_an_interface_that_is_not_there_is_not_as_before() -> None:
    """So nothing is done to it, and nothing undone."""
    assert not any(change.is_as_before("not-there") for change in CHANGES.values())


def test_a_process_is_told_by_more_than_its_number() -> None:
    """Numbers are given again; start times with them never."""
    pid = os.getpid()
    assert not ledger.is_left(table(pid))
    assert not ledger.is_left(table(pid) + "-2")
    assert ledger.is_left(table(pid, later=1))
    assert not ledger.is_left(table(pid, later=1, namespace=NAMESPACE + 1))


def test_other_names_are_nobodys_remains() -> None:
    """An administrator may call things as it pleases."""
    for name in ("", "pytest-netns-mine", "pytest-netns-1-2", f"x{table(1, later=1)}"):
        assert not ledger.is_left(name)


def test_a_process_that_is_gone() -> None:
    """Dead is also who has not been asked how it ended yet."""
    with subprocess.Popen(["sleep", "60"]) as process:
        name = table(process.pid)
        assert not ledger.is_left(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert ledger.is_left(name)
    assert ledger.is_left(name)


def test_a_process_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may well be the one: whose files are hidden is not for us to judge."""
    with subprocess.Popen(["sleep", "60"]) as process:
        name = table(process.pid, later=1)

        def hidden(_: str) -> tuple[int, str, int]:
            raise FileNotFoundError

        monkeypatch.setattr(ledger, "_status", hidden)
        assert not ledger.is_left(name)
        process.kill()
        process.wait()
        assert ledger.is_left(name)


def test_each_network_has_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of one process have different names, by which both know it."""
    taken: list[str] = []
    monkeypatch.setattr(
        nftables,
        "query",
        lambda _: "\n".join(f"table inet {name}" for name in ["filter", *taken]),
    )
    while len(taken) < 4:
        taken.append(ledger.free_name())

    own = table(os.getpid())
    assert taken == [own, f"{own}-2", f"{own}-3", f"{own}-4"]
    taken.remove(f"{own}-2")
    assert ledger.free_name() == f"{own}-2"
    assert not any(map(ledger.is_left, taken))


def test_only_tables_of_runs_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that merely looks alike is somebody else's."""
    names = ["pytest-netns-mine", "pytest-netns-1-2", "pytest-netns-1-2-3-x", "nat"]
    listed = "\n".join(f"table inet {name}" for name in [*names, "pytest-netns-1-2-3"])
    monkeypatch.setattr(nftables, "query", lambda _: listed)

    assert ledger._tables() == ["pytest-netns-1-2-3"]


def test_the_command_that_sweeps() -> None:
    """It runs this very package, wherever it is, whatever the environment says."""
    command = ledger.sweeping_command()
    assert command[0] == sys.executable
    assert "\0" not in "".join(command)
    # no sweeping here: the program ends when the package is found
    stopped = command[-1].replace("sweep()", "print(sweep.__module__)")
    completed = subprocess.run(
        [*command[:-1], stopped],
        check=True,
        cwd="/",
        env={"PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert completed.stdout == "pytest_netns._ledger\n"
