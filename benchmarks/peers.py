"""Install the peers into a folder of their own, and speak with them.

A peer runs in a process of its own with an interpreter of its own: nothing is
installed on the machine, and what a peer imports or leaves behind stays there.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WORKER: Final = Path(__file__).with_name("peer_worker.py")
_INSTALL_TIMEOUT: Final = 300.0
_ANSWER_TIMEOUT: Final = 60.0
# What Mininet's LinuxBridge runs, besides iproute2.
_MININET_PACKAGES: Final = ("mininet", "bridge-utils", "net-tools")


class PeerError(Exception):
    """A peer cannot be installed, or did not do what it was asked."""


@dataclass(frozen=True)
class Peer:
    """An installed peer, or the reason why it is not.

    Attributes:
        name: Also tells the worker what to import.
        python: The interpreter that has it.
        environment: What to add to the environment of that interpreter.
        problem: Why it cannot take part; empty if it can.
    """

    name: str
    python: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def default_folder() -> Path:
    """Return where the peers are kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pytest-netns-benchmarks"


def install(folder: Path, note: Callable[[str], None]) -> list[Peer]:
    """Install what is not yet there; a peer that cannot be had says why."""
    peers = []
    for name, installer in (
        ("dummynet", _install_dummynet),
        ("mininet", _install_mininet),
    ):
        note(f"looking for {name}")
        try:
            peers.append(installer(folder / name))
        except PeerError as error:
            peers.append(Peer(name, problem=str(error)))
    return peers


def _install_dummynet(folder: Path) -> Peer:
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "install", "dummynet"])
        (folder / "complete").touch()
    return Peer("dummynet", str(python))


def _install_mininet(folder: Path) -> Peer:
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        download = ["apt-get", "-qq", "download", *_MININET_PACKAGES]
        try:
            _run(download, cwd=folder)
        except PeerError:
            # A machine that was just installed has no package lists yet.
            _run(["apt-get", "-qq", "update"])
            _run(download, cwd=folder)
        # Unpacked, not installed: the packages would start services.
        for package in sorted(folder.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(folder)])
        (folder / "complete").touch()
    programs = [folder / "usr" / "bin", folder / "usr" / "sbin", folder / "sbin"]
    environment = {
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "PYTHONPATH": str(folder / "usr" / "lib" / "python3" / "dist-packages"),
    }
    # The distribution's own interpreter: the packaged version needs `distutils`,
    # which newer ones no longer have.
    return Peer("mininet", "/usr/bin/python3", environment)


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            command,
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_INSTALL_TIMEOUT,
        )
    except FileNotFoundError as error:
        message = f"no program {error.filename}"
        raise PeerError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} took over {_INSTALL_TIMEOUT:g} s"
        raise PeerError(message) from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        message = lines[-1].strip() if lines else f"{command[0]} failed"
        raise PeerError(message) from error


class PeerContestant:
    """A peer that builds the pair network in its own process, on demand."""

    def __init__(self, peer: Peer) -> None:
        """Start the worker and wait until it has imported the peer.

        Raises:
            PeerError: It cannot be started or imported.
        """
        try:
            self._process = subprocess.Popen(
                [peer.python, str(_WORKER), peer.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": "", **peer.environment},
            )
        except OSError as error:
            message = f"cannot start {peer.python}: {error.strerror}"
            raise PeerError(message) from error
        self.name = f"{peer.name} {self._receive()}"

    def build(self) -> None:
        """Build the network."""
        self._ask("build")

    def close(self) -> None:
        """Take it down."""
        self._ask("close")

    def _ask(self, what: str) -> None:
        if self._process.stdin is None:
            raise AssertionError
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        self._receive()

    def _receive(self) -> str:
        """Return the worker's answer, which is one line of JSON."""
        if self._process.stdout is None:
            raise AssertionError
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            in_time = selector.select(_ANSWER_TIMEOUT)
        line = self._process.stdout.readline() if in_time else ""
        if not line:
            self._process.kill()
            _, errors = self._process.communicate()
            last = errors.strip().splitlines()[-1:] or ["no answer"]
            raise PeerError(last[0])
        answer: dict[str, str] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer.get("version", "")

    def stop(self) -> None:
        """End the worker, which takes down what it has built."""
        if self._process.poll() is None:
            # The end of its input is the worker's sign to finish.
            self._process.communicate()
