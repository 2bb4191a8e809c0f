"""The watcher's own program: how it reads orders, and what it does at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_netns import _watcher_main as program

if TYPE_CHECKING:
    from pathlib import Path


class Watching:
    """What the watcher has been told."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.chores: dict[int, str] = {}

    def hear(self, message: str, *descriptors: int) -> None:
        """Follow one order."""
        program.follow(message, list(descriptors), self.held, self.chores)


def test_a_namespace_is_held_until_it_is_let_go() -> None:
    """Its descriptor is closed then."""
    watching = Watching()
    reading, writing = os.pipe()

    watching.hear("+4026532177", reading)
    assert watching.held == {4026532177: reading}
    watching.hear("-4026532177")
    assert watching.held == {}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
    os.close(writing)


def test_letting_go_of_what_was_never_held() -> None:
    """A watcher that was started later may be told of it."""
    watching = Watching()
    watching.hear("-4026532177")
    watching.hear("~7")
    assert (watching.held, watching.chores) == ({}, {})


def test_chores_are_noted_until_they_are_done() -> None:
    """Their text is kept as it is, blanks and all."""
    watching = Watching()
    watching.hear("!1 netlink 0 1234")
    watching.hear("!2 unname /run/netns/a b")
    watching.hear("!10 run /bin/sh\0-c\0exit 1")
    assert watching.chores == {
        1: "netlink 0 1234",
        2: "unname /run/netns/a b",
        10: "run /bin/sh\0-c\0exit 1",
    }
    watching.hear("~2")
    assert list(watching.chores) == [1, 10]


def test_a_program_is_run_to_its_end(tmp_path: Path) -> None:
    """With its arguments as they are, whatever they contain."""
    done = tmp_path / "a file"
    code = f"sleep 0.01; echo \"$1\" > '{done}'"
    program.do(f"run /bin/sh\0-c\0{code}\0sh\0two  words; $HOME")
    assert done.read_text() == "two  words; $HOME\n"


def test_requests_are_sent_to_the_kernel() -> None:
    """One that asks for an answer has been understood when it is there."""
    with pytest.raises(ValueError, match="non-hexadecimal"):
        program.do("netlink 0 xyz")
    # RTM_GETLINK of lo, with an acknowledgement that nobody reads
    header = (40).to_bytes(4, sys.byteorder) + b"\x12\0\x05\0" + bytes(8)
    program.do("netlink 0 " + (header + bytes(24)).hex())


def test_a_file_is_removed_from_a_folder_that_was_handed_over(tmp_path: Path) -> None:
    """Wherever that is by then; its descriptor is closed when the chore is done."""
    watching = Watching()
    for name in ("left", "kept"):
        (tmp_path / name).touch()
    folders = [os.open(tmp_path, os.O_PATH) for _ in range(2)]
    tmp_path = tmp_path.rename(tmp_path.with_name("moved"))

    watching.hear("!1 remove left", folders[0])
    watching.hear("!2 remove kept", folders[1])
    watching.hear("~2")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(folders[1])
    for number, chore in watching.chores.items():
        program.do(chore, watching.held[-number])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    os.close(folders[0])


def test_an_unknown_chore_is_none() -> None:
    """A watcher may be older than who speaks to it."""
    program.do("sing a song")


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_chores_are_done_at_the_end(tmp_path: Path, ending: str) -> None:
    """The last one first, each for itself: one that fails stops no other."""
    log = tmp_path / "log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(["sleep", "60"]) as run:
        with theirs:
            watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", program.__file__, str(run.pid)],
                stdin=theirs.fileno(),
            )
        for number in (1, 2, 3, 4):
            code = f"echo {number} >> '{log}'"
            ours.send(f"!{number} run /bin/sh\0-c\0{code}".encode())
        ours.send(b"!5 run /not/there")
        ours.send(b"!6 unname /not/there")
        ours.send(b"~2")
        if ending == "killed":
            run.kill()
        else:
            ours.close()
        assert watcher.wait(10) == 0
        run.kill()
    ours.close()
    assert log.read_text().split() == ["4", "3", "1"]
