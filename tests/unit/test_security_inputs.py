"""Records and files of networks that somebody has made up to do harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import Namespace, Topology, TopologyError, Veth, _processes
from pytest_netns import _watcher_main as watcher
from pytest_netns._hosts import hosts_file, resolv_file
from pytest_netns._jsonrpc import _LONGEST, Connection
from pytest_netns._sysctl import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116  # a descriptor's number


@pytest.mark.parametrize(
    "key",
    [
        "../../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.../../kernel.core_pattern",
        "net.ipv4.//.//.kernel.core_pattern",
        "net/ipv4/../../kernel/core_pattern",
        "net/./../kernel/core_pattern",
        "net.ipv4/..//..//kernel",
        "kernel.core_pattern",
        "/proc/sys/kernel/core_pattern",
        "net.ipv4.ip_forward\0",
        "net.ipv4.ip_forward\n",
        "net.",
        "net",
        "",
    ],
)
def test_no_sysctl_leads_out_of_those_of_the_network(key: str) -> None:
    """The machine has one core_pattern, and it runs programs as root."""
    with pytest.raises(TopologyError):
        Namespace("left", sysctls={key: "|/bin/evil"})


@pytest.mark.parametrize("key", ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/mtu"])
def test_sysctls_of_the_network_are_sysctls(key: str) -> None:
    """Others are refused for a reason."""
    Namespace("left", sysctls={key: 1})
    assert os.path.normpath(path_of(key)) == path_of(key)
    assert path_of(key).startswith("/proc/sys/net/")


@pytest.mark.parametrize(
    "fields",
    [
        {"hosts": {"right\n6.6.6.6 bank": "10.0.0.1"}},
        {"hosts": {"right 6.6.6.6": "10.0.0.1"}},
        {"hosts": {"right#": "10.0.0.1"}},
        {"hosts": {"right": "10.0.0.1 bank"}},
        {"hosts": {"right": "10.0.0.1\n6.6.6.6 bank"}},
        {"hosts": {"right": "fe80::1%eth0\n6.6.6.6 bank"}},
        {"nameservers": "fe80::1%eth0\nsearch evil"},
        {"nameservers": ["10.0.0.1", "10.0.0.1\noptions evil"]},
        {"hostname": "left\n6.6.6.6 bank"},
        {"hostname": "left\x1b[2J"},
    ],
)
def test_no_entry_is_more_than_one_line(fields: dict[str, Any]) -> None:
    """Of /etc/hosts or /etc/resolv.conf."""
    with pytest.raises(TopologyError):
        Namespace("left", **fields)


def test_a_name_has_one_line_for_each_address() -> None:
    """What is taken is written as it was meant."""
    layout = Topology(
        Namespace(
            "left", hosts={"bank": ["10.0.0.9", "fd00::9"]}, nameservers=" 10.0.0.1 \n"
        )
    ).layout
    assert hosts_file(layout, "left").splitlines()[2:] == [
        "127.0.1.1 left",
        "10.0.0.9 bank",
        "fd00::9 bank",
    ]
    assert resolv_file(layout, "left").splitlines()[1:] == ["nameserver 10.0.0.1"]


@pytest.mark.parametrize(
    "name",
    ["..", ".", "a/b", "../etc", "a\0b", "a\nb", "a b", "\x1b[2J", "\u202eb", ""],
)
def test_no_name_is_a_path_or_does_anything(name: str) -> None:
    """Names become those of files, under /run/netns and below /proc/sys."""
    for make in (
        lambda: Namespace(name),
        lambda: Veth(f"left:{name}", "right"),
    ):
        with pytest.raises(TopologyError):
            make()


@pytest.mark.parametrize(
    "text",
    [
        '"\\u001b[2J" = 1',
        '[["\\u001b[2J"]]\nname = "left"',
        '[[namespace]]\n"\\u001b[2J" = 1',
        '[[namespace]]\nname = "\\u001b[2J"',
        '[[veth]]\na = "left:\\u001b[2J"\nb = "right"',
        '[[namespace]]\nname = "left"\nsysctls = { "net.\\u001b[2J" = 1 }',
        "name = \x1b[2J",
    ],
)
def test_errors_about_files_do_nothing(text: str, tmp_path: Path) -> None:
    """They quote what is wrong as Python writes it."""
    path = tmp_path / "lab.toml"
    path.write_text(text)
    with pytest.raises(TopologyError, match=r"lab\.toml") as caught:
        Topology.from_file(path)
    assert "\x1b" not in str(caught.value)


class _Endless:
    """A daemon that begins an answer and never ends it."""

    def settimeout(self, seconds: float) -> None:
        """Wait no longer than that."""

    def sendall(self, data: bytes) -> None:
        """Take a request."""

    def recv(self, size: int) -> bytes:
        """Send as much as can be, and more than is asked for."""
        del size
        return b"[" + b" " * (_LONGEST // 8)


def test_an_answer_without_an_end_is_not_waited_for() -> None:
    """It would take all memory."""
    stream: Any = _Endless()
    with pytest.raises(ConnectionError, match="never comes to an end"):
        Connection(stream).call("echo")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that is in the network namespace of this one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "kill",
    [
        lambda pid, inodes: _processes._signal(pid, signal.SIGKILL, inodes),
        watcher.kill,
    ],
    ids=["run", "watcher"],
)
def test_a_number_that_is_somebody_elses_by_now_is_not_killed(
    kill: Callable[[int, set[int]], None], sleeper: subprocess.Popen[bytes]
) -> None:
    """A process that is elsewhere has got the number of one that has ended."""
    kill(sleeper.pid, {OWN + 1})
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.1)
    kill(sleeper.pid, {OWN})
    assert sleeper.wait(10) == -signal.SIGKILL
    kill(sleeper.pid, {OWN})  # and one that has ended is no error
