"""Machines that are thrown away, each in namespaces of its own (see `box.py`)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(__file__).with_name("box.py")
_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc")
#: All numbers of users there are: they are the same inside.
_EVERYBODY = "0 0 4294967295"


class Box:
    """A machine in which a program runs; what it prints comes as it is printed.

    Args:
        words: What the program is told; with ``--counted`` the machine has a user
            namespace, in which the kernel counts what belongs to it alone.
    """

    def __init__(self, *words: str) -> None:
        in_user_namespace = "--counted" in words
        command = [
            *("unshare", *_NAMESPACES, "--kill-child"),
            *(sys.executable, str(PROGRAM), *words),
        ]
        if in_user_namespace:
            # only from outside all users can be mapped; then it is root, by exec
            script = 'read go && exec "$@"'
            command = ["unshare", "--user", "sh", "-c", script, "sh", *command]
        self._process = subprocess.Popen(
            command,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._errors: str | None = None
        if in_user_namespace:
            self._map_users()

    def _map_users(self) -> None:
        process = Path(f"/proc/{self._process.pid}")
        ours = Path("/proc/self/ns/user").readlink()
        while (process / "ns/user").readlink() == ours:
            assert self._process.poll() is None, self.close()
        for kind in ("uid", "gid"):
            (process / f"{kind}_map").write_text(_EVERYBODY)
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def outcomes(self) -> Iterator[Any]:
        """Yield what it prints."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)
        self._process.wait()
        assert self._process.returncode == 0, self.close()

    def close(self) -> str:
        """End it, and return its errors; again is harmless."""
        if self._errors is None:
            self._process.kill()  # it is deaf to less; what is inside goes with it
            _, self._errors = self._process.communicate()
        return self._errors


@pytest.fixture
def box() -> Iterator[Callable[..., Box]]:
    """Make machines that are gone after the test."""
    with contextlib.ExitStack() as boxes:

        def make(*words: str) -> Box:
            one = Box(*words)
            boxes.callback(one.close)
            return one

        yield make
