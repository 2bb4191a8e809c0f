"""``pytest-netns doctor`` where root may do less: it names what stands in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from . import restrictions
from .restrictions import mounted, rootless, without_calls

pytestmark = pytest.mark.usefixtures("privileged", "unconfined")


def examine(*prefix: str) -> tuple[dict[str, Any], str]:
    """Return what it finds behind a restriction, by name, and its conclusion."""
    completed = subprocess.run(
        [*prefix, sys.executable, "-m", "pytest_netns", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stderr == ""
    report = json.loads(completed.stdout)
    return {one["what"]: one for one in report["findings"]}, report["conclusion"]


def test_nothing_stands_in_the_way() -> None:
    """Where root may do everything, all of it is there."""
    findings, conclusion = examine()
    allowances = ("/proc", "network namespaces", "sysctls", "mounts")
    assert all(findings[name]["present"] is True for name in allowances)
    assert conclusion == "Networks can be built here."


def test_a_filter() -> None:
    """Privileges are there, and yet nothing can be built: the filter is named."""
    findings, conclusion = examine(*without_calls("unshare", "setns", "mount"))
    assert findings["privileges"]["present"] is True
    assert findings["network namespaces"]["present"] is False
    assert "a seccomp filter forbids it" in findings["network namespaces"]["remedy"]
    assert findings["veth"]["detail"] == "cannot be tried without network namespaces"
    assert conclusion.startswith("Networks cannot be built here: no network namespaces")


def test_only_mounts_are_filtered() -> None:
    """Networks can be built, and what processes lack is named."""
    findings, conclusion = examine(*without_calls("mount"))
    assert findings["mounts"]["present"] is False
    assert "a seccomp filter forbids it" in findings["mounts"]["remedy"]
    assert conclusion == "Networks can be built here."


def test_no_proc() -> None:
    """It says so, and does not end with an error of its own."""
    findings, _ = examine(*mounted("umount --lazy /proc"))
    assert findings["/proc"]["present"] is False
    assert findings["/proc"]["remedy"] == "as root: mount -t proc proc /proc"


def test_a_container_without_privileges() -> None:
    """What root of a user namespace may not do there has a remedy of its own."""
    container = mounted(restrictions.READ_ONLY_SETTINGS + restrictions.COVERED_PATHS)
    findings, _ = examine(*container, *rootless())
    assert "Read-only file system" in findings["sysctls"]["detail"]
    assert "/sys shows no interfaces" in findings["mounts"]["detail"]
    for name in ("sysctls", "mounts"):
        assert "systempaths=unconfined" in findings[name]["remedy"]


def test_limits() -> None:
    """Those that are too low for a few namespaces are named, with their values."""
    script = "echo 9 >/proc/sys/user/max_uts_namespaces; ulimit -n 50"
    findings, _ = examine(*rootless(script))
    assert findings["open files"]["present"] is False
    assert findings["open files"]["detail"] == "50 at most"
    assert findings["number of namespaces"]["detail"] == "9 at most"
    remedy = findings["number of namespaces"]["remedy"]
    assert remedy == "as root: sysctl -w user.max_uts_namespaces=10000"
