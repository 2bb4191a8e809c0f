"""Who opens a namespace is seen, and nothing else is taken for it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._nsfile import NamespaceFile
from pytest_netns._openings import Openings
from pytest_netns.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def file() -> Iterator[NamespaceFile]:
    """A namespace."""
    file = NamespaceFile.create("place")
    yield file
    file.close()


@pytest.fixture
def openings(file: NamespaceFile) -> Iterator[Openings]:
    """What watches it."""
    openings = Openings()
    openings.watch(file)
    yield openings
    openings.close()


def open_once(file: NamespaceFile) -> None:
    """Open a namespace, as nsenter does."""
    with Path(file.path).open("rb"):
        pass


def test_an_opening_is_noticed_for_good(
    openings: Openings, file: NamespaceFile
) -> None:
    """By this process or another one; also by the path of a process that is inside."""
    assert not openings.noticed(file)
    open_once(file)
    assert openings.noticed(file)
    assert openings.noticed(file)


def test_the_way_over_a_process_inside(openings: Openings, file: NamespaceFile) -> None:
    """Who follows a process into its namespace opens that."""
    with file.entered(), subprocess.Popen(["cat"], stdin=subprocess.PIPE) as inside:
        assert not openings.noticed(file)
        subprocess.run(
            ["nsenter", f"--target={inside.pid}", "--net"], check=True, input=b""
        )
        assert openings.noticed(file)
        inside.communicate()


def test_visits_and_looks_are_none(openings: Openings, file: NamespaceFile) -> None:
    """Neither is who enters by a descriptor, or looks which namespaces there are."""
    with file.entered():
        subprocess.run(["true"], check=True)
        Path("/proc/thread-self/ns/net").readlink()
        assert Path("/proc/thread-self/ns/net").stat().st_ino == file.inode
    assert not openings.noticed(file)
    open_once(file)
    assert openings.noticed(file), "it would have seen it"


def test_others_are_others(openings: Openings, file: NamespaceFile) -> None:
    """Each namespace is watched by itself, and one that nobody watches is not."""
    other = NamespaceFile.create("other")
    open_once(other)
    assert not openings.noticed(other)
    openings.watch(other)
    open_once(file)
    assert openings.noticed(file)
    assert not openings.noticed(other)
    openings.forget(other)
    other.close()


def test_what_is_disregarded(openings: Openings, file: NamespaceFile) -> None:
    """An opening in the block is overlooked, but none that came before it."""
    with openings.disregarded():
        open_once(file)
    assert not openings.noticed(file)
    open_once(file)
    with openings.disregarded():
        pass
    assert openings.noticed(file)


def test_a_namespace_that_is_forgotten_ends(
    openings: Openings, file: NamespaceFile
) -> None:
    """A watch keeps its namespace alive, and so does nothing else here."""
    other = NamespaceFile.create("other")
    openings.watch(other)
    with file.entered():
        add = [
            "ip",
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
        ]
        subprocess.run([*add, other.path], check=True)
    openings.forget(other)
    openings.forget(other)
    other.close()

    def names() -> list[str]:
        with file.entered():
            return [name for _, name in socket.if_nameindex()]

    # with a namespace go its ends of cables
    wait_until(lambda: "cable" not in names(), timeout=20.0)


def test_without_watches_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a machine allows for none, all goes on without."""

    def refuse(*_: object) -> int:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr("pytest_netns._openings.inotify_init", refuse)
    openings = Openings()
    file = NamespaceFile.create("place")
    openings.watch(file)
    open_once(file)
    assert not openings.noticed(file)
    openings.close()
    openings.close()
    file.close()
