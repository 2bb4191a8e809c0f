"""``pytest-netns doctor``, with and without privileges."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = (sys.executable, "-m", "pytest_netns", "doctor")
#: Runs a command that may do nothing with namespaces, whoever runs it.
FORBIDDEN = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    (
        "echo 0 >/proc/sys/user/max_user_namespaces && "
        'exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
    ),
    "sh",
)


def examine(*prefix: str, code: int = 0) -> dict[str, Any]:
    """Return what it says, as data, with the findings by name."""
    completed = subprocess.run(
        [*prefix, *PROGRAM, "--json"], capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stderr) == (code, "")
    report: dict[str, Any] = json.loads(completed.stdout)
    assert report["can_build"] is (code == 0)
    report["findings"] = {one["what"]: one for one in report["findings"]}
    return report


@pytest.mark.usefixtures("privileged")
def test_with_privileges() -> None:
    """What tests here rely on is found to be there."""
    report = examine()

    found = {what for what, one in report["findings"].items() if one["present"]}
    expected = {"Python", "kernel", "privileges", "network namespaces", "veth"}
    assert found >= expected | {"bridge", "IPv6", "nftables", "NAT of nftables", "nft"}
    assert report["conclusion"] == "Networks can be built here."


def test_without_privileges(unprivileged: list[str]) -> None:
    """It says that, and what can be done in a user namespace if there are any."""
    probe = subprocess.run(
        [*unprivileged, "unshare", "-Urn", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        check=False,
    )
    allowed = probe.returncode == 0
    report = examine(*unprivileged, code=0 if allowed else 1)

    findings = report["findings"]
    assert findings["privileges"]["present"] is False
    assert "without CAP_NET_ADMIN and CAP_SYS_ADMIN" in findings["privileges"]["detail"]
    assert findings["user namespaces"]["present"] is allowed
    assert findings["veth"]["present"] is (True if allowed else None)
    if allowed:
        assert "in a user namespace" in report["conclusion"]


def test_where_nothing_is_allowed() -> None:
    """As in a container without capabilities: it says so, and what would help."""
    ready = subprocess.run(
        [*FORBIDDEN, "true"], capture_output=True, text=True, check=False
    )
    if ready.returncode:
        pytest.skip(f"user namespaces are needed to take away: {ready.stderr.strip()}")
    report = examine(*FORBIDDEN, code=1)

    findings = report["findings"]
    assert findings["privileges"]["present"] is False
    assert findings["user namespaces"]["detail"].endswith("max_user_namespaces is 0")
    assert findings["user namespaces"]["remedy"].startswith("sysctl -w user.max_user")
    assert findings["nftables"]["present"] is None
    assert report["conclusion"].endswith("no privileges, no user namespaces.")


def test_the_table_can_be_read() -> None:
    """Each thing has a line that begins with a mark; below it, how to get it."""
    completed = subprocess.run(PROGRAM, capture_output=True, text=True, check=False)

    *lines, empty, conclusion = completed.stdout.splitlines()
    assert empty == ""
    assert conclusion.startswith("Networks can")
    kind = re.compile(r"(ok|no|\? )  \S.*|      (needed for|to get it ) ( )?\S.*")
    assert [line for line in lines if not kind.fullmatch(line)] == []
    assert "\x1b" not in completed.stdout


LOOKING = """
import glob, os, sys
from pytest_netns.cli import main

def look():
    with open("/proc/self/mounts") as mounts, open("/proc/net/dev") as interfaces:
        settings = {}
        for path in glob.glob("/proc/sys/net/ipv[46]/*"):
            if os.path.isfile(path) and os.access(path, os.R_OK):
                with open(path) as file:
                    settings[path] = file.read()
        return mounts.read(), interfaces.read(), settings, os.listdir("/proc/self/fd")

before = look()
assert len(before[2]) > 10
code = main(["doctor"])
assert look() == before
sys.exit(code)
"""


@pytest.mark.usefixtures("privileged")
def test_nothing_is_changed() -> None:
    """Mounts, interfaces, settings and descriptors are what they were."""
    completed = subprocess.run(
        ["unshare", "--net", sys.executable, "-W", "error", "-c", LOOKING],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.usefixtures("privileged")
def test_ends_of_libraries_end_nothing_else() -> None:
    """A trial whose process dies or hangs is one that failed, with a reason."""
    program = """
import os, signal, time
from pytest_netns import _trials as trials

trials._PATIENCE = 1
print(trials.attempt(lambda: os._exit(3)))
print(trials.attempt(lambda: os.kill(os.getpid(), signal.SIGKILL)))
print(trials.attempt(lambda: time.sleep(60)))
print(trials.attempt(trials.stay))
"""
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert completed.stdout.splitlines() == [
        "the attempt ended with 3",
        "the attempt ended with -9",
        f"the attempt ended with {-signal.SIGALRM}",
        "None",
    ]
