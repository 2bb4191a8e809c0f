"""Run everything where nothing of it can touch the machine's own network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class SandboxError(Exception):
    """The sandbox cannot be made, or something got out of it."""


def run_inside(arguments: Sequence[str]) -> int:
    """Run this program again in namespaces of its own and return its exit status.

    A network namespace alone would not do. Programs that give namespaces names write
    to ``/run/netns``; dummynet moves links "home" to the namespace of process 1,
    which would be the machine's. And when process 1 of a process namespace ends, so
    does everything that was started.

    Raises:
        SandboxError: Not privileged, or the machine's own links have changed.
    """
    if os.geteuid() != 0:
        message = "creating network namespaces needs root: run this with sudo"
        raise SandboxError(message)
    before = socket.if_nameindex()
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
    command += ["--kill-child", sys.executable, *arguments]
    status = subprocess.run(command, check=False).returncode
    after = socket.if_nameindex()
    if after != before:
        message = f"the machine's links have changed from {before} to {after}"
        raise SandboxError(message)
    return status


def furnish() -> None:
    """Give the sandbox an empty ``/run``, its own ``/sys`` and a loopback."""
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["mount", "-t", "sysfs", "sysfs", "/sys"],
        ["ip", "link", "set", "lo", "up"],
    ):
        subprocess.run(command, check=True)
