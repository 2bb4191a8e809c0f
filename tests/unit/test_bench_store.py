"""Saved runs as files, and what the options make of names and percentages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._bench_json import document
from pytest_netns._bench_options import threshold_of
from pytest_netns._bench_store import Store
from pytest_netns.errors import BenchmarkError

if TYPE_CHECKING:
    from tests.conftest import Fake


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give a store whose directory is not there yet."""
    return Store(str(tmp_path / "of" / "runs"))


def test_what_is_saved_can_be_read(store: Store, fake: Fake) -> None:
    """A run is read as it was saved, and a second one takes its place."""
    several = list(fake.several())
    path = store.save("main", several)
    assert path == str(Path(store.directory) / "main.json")
    assert store.read("main") == several
    store.save("main", several[:1])
    assert store.read("main") == several[:1]
    assert list(Path(store.directory).iterdir()) == [Path(path)]


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "../x", "a..b", ".hidden", "-x", "a\0b", "a\n", "x" * 101]
)
def test_names_that_are_none(store: Store, name: str) -> None:
    """A name is no path, and cannot lead out of the directory."""
    with pytest.raises(ValueError, match="is no name for saved benchmarks"):
        store.path_of(name)


@pytest.mark.parametrize("name", ["main", "release-1.0", "größe", "a+b=c@d_e", "2"])
def test_names(store: Store, name: str) -> None:
    """Names of versions and branches are names."""
    store.save(name, [])
    assert store.names() == [name]


def test_unknown(store: Store) -> None:
    """Of a run that is not saved, those that are are named, and the nearest."""
    with pytest.raises(BenchmarkError, match=r"as 'mainn': none are in .*/of/runs$"):
        store.read("mainn")
    for name in ("main", "release"):
        store.save(name, [])
    os.utime(store.path_of("main"), (1, 1))
    known = r"there are: release, main; did you mean 'main'\?$"
    with pytest.raises(BenchmarkError, match=known):
        store.read("mainn")
    with pytest.raises(BenchmarkError, match=r"there are: release, main$"):
        store.read("qqq")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[1]", "these are no benchmarks"),
        ("[" * 100_000, "recursion"),
        ("\udcff", "can't decode"),
        ('{"schema": "x"}', "these are no benchmarks"),
        (json.dumps({**document([]), "version": 99}), "with a newer pytest-netns"),
    ],
)
def test_broken(store: Store, content: str, reason: str) -> None:
    """A file that holds something else is named, with what is wrong with it."""
    path = Path(store.save("main", []))
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(BenchmarkError) as caught:
        store.read("main")
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert reason in str(caught.value)


def test_a_directory(store: Store) -> None:
    """What is no file cannot be read."""
    Path(store.path_of("main")).mkdir(parents=True)
    with pytest.raises(BenchmarkError, match=r"main\.json: Is a directory"):
        store.read("main")


@pytest.mark.parametrize(
    ("text", "part"), [("10%", 0.1), ("10 %", 0.1), (" 2.5% ", 0.025), ("0%", 0.0)]
)
def test_threshold(text: str, part: float) -> None:
    """A percentage is a part of a hundred."""
    assert threshold_of(text) == pytest.approx(part)
    assert threshold_of("") is None


@pytest.mark.parametrize(
    "text", ["10", "0.1", "ten", "-5%", "100%", "1e1%", "10%%", "10  %", "nan%", "٣%"]
)
def test_no_threshold(text: str) -> None:
    """All else is refused, and told what would be right."""
    with pytest.raises(pytest.UsageError, match="no percentage below 100, such as"):
        threshold_of(text)
