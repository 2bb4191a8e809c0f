"""Others' namespaces, processes, interfaces and tables, by the names of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = Path("/run/netns")
#: No process has it (proc_sys_kernel_pid_max(5)).
_NOBODY = (1 << 22) - 1
#: Holds a namespace as a run does that has a name for it (fcntl_locking(2)).
_HOLD = """
import fcntl, os, struct, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
if sys.argv[2] == "lock": fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
print("held", flush=True)
time.sleep(3600)
"""


def gather(number: int) -> None:
    """Make all of it.

    Args:
        number: How many namespaces there are, each with a bridge and a process.
    """
    subjects = [f"left{one}" for one in range(number)] + ["left", "right", "gw"]
    subjects += ["pytest-red", f"mypytest-{_NOBODY}-left", f"pytest-{_NOBODY}"]
    _batch(f"netns add {name}" for name in subjects)
    for name in subjects:
        inside = ["nsenter", f"--net={NAMES / name}"]
        words = ["sh", "-c", "ip link add br0 type bridge; exec sleep 3600"]
        subprocess.Popen([*inside, *words], start_new_session=True)
    _name_runs()
    _change_the_machine()


def _name_runs() -> None:
    """Have names of runs that are alive, in one way or another, and of dead ones."""
    _batch(f"netns add {name}" for name in ("alive", "elsewhere"))
    alive = _hold("alive", "look")
    # in a PID namespace of its own: its number is that of nobody here
    _hold("elsewhere", "lock", "unshare", "--pid", "--fork")
    _batch(
        [
            f"netns add pytest-{_NOBODY}-dead",
            f"netns add pytest-{os.getpid()}-reused",
        ]
    )
    for name, new in (
        ("alive", f"pytest-{alive}-alive"),
        ("elsewhere", f"pytest-{_NOBODY}-elsewhere"),
    ):
        (NAMES / new).touch()
        _run("mount", "--bind", str(NAMES / name), str(NAMES / new))


def _change_the_machine() -> None:
    """Have tables and interfaces signed as runs do."""
    pid, namespace = os.getpid(), Path("/proc/self/ns/pid").stat().st_ino
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    signatures = {
        "mine": f"pytest-netns-{namespace}-{pid}-{started}",
        "reused": f"pytest-netns-{namespace}-{pid}-{started + 1}",
        "dead": f"pytest-netns-{namespace}-{_NOBODY}-{started}",
        "other": f"pytest-netns-{namespace + 1}-{_NOBODY}-{started}",
        "odd": "pytest-netns-host",
    }
    for name, signature in signatures.items():
        if name in {"reused", "dead", "odd"}:  # who is alive has more in a table
            _run("nft", "add", "table", "inet", signature)
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}1")
        _run("ip", "link", "set", name, "alias", signature)


def _hold(name: str, how: str, *prefix: str) -> int:
    """Start a process that has a descriptor of a namespace; return its number."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-S", "-c", _HOLD, str(NAMES / name), how],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process.pid


def _batch(lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)
