"""Names of directories and files that are kept."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._artifacts import directory_for


def name_for(test: str) -> str:
    """Return the name of a test's directory."""
    path = directory_for("kept", test)
    directory, _, name = path.partition("/")
    assert directory == "kept"
    assert "/" not in name
    return name


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("test_a.py::test_it", "test_a.py-test_it"),
        ("tests/net/test_a.py::TestX::test_it", "tests-net-test_a.py-TestX-test_it"),
        ("test_a.py::test_it[left-80]", "test_a.py-test_it-left-80"),
        ("test_a.py::test_it[10.0.0.1]", "test_a.py-test_it-10.0.0.1"),
        ("test_a.py::test_it[mtu=1500]", "test_a.py-test_it-mtu=1500"),
    ],
)
def test_plain(test: str, name: str) -> None:
    """What is usual is replaced as anybody would, and can be guessed."""
    assert name_for(test) == name


def test_odd() -> None:
    """What is not is replaced as well, and told from others that look alike."""
    odd = ["a/b", "a b", "a:b", "a\\b", "a-b", "a--b", "a]b", "a[b", "ä", "ö", "日本"]
    odd += ["", " ", "[]", "..", "../..", "\0", "\n", "a" * 300, "a" * 301, "\udcff"]
    odd += ["a-", "-a", "a]", "a" * 200, "a" * 130, "a" * 131, "a" * 132]
    tests = [f"test_a.py::test_it[{one}]" for one in odd]
    tests += ["a/test_b.py::test_it", "a-test_b.py::test_it", "a/test_b.py/test_it"]
    names = {name_for(test) for test in tests}
    assert len(names) == len(tests) - 1  # the last one is not how tests are called


@given(st.text(max_size=400))
def test_any(parameters: str) -> None:
    """Whatever a test is called, any file system takes it, and it stays where it is."""
    name = name_for(f"test_a.py::test_it[{parameters}]")
    assert re.fullmatch(r"test_a\.py-test_it[\w.=-]*", name, re.ASCII)
    assert len(name) < 200
    assert name == name_for(f"test_a.py::test_it[{parameters}]")


@given(*[st.text(string.ascii_letters + string.digits + "-_./ []:\n", max_size=12)] * 2)
def test_different(one: str, other: str) -> None:
    """Two tests of one file never share a directory."""
    names = [
        name_for(f"test_a.py::test_it[{parameters}]") for parameters in (one, other)
    ]
    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize("test", ["", "-", "[", "::", "-rf", ".", "..", "/", "é"])
def test_nothing_to_call_it_by(test: str) -> None:
    """A name is never empty, an option, hidden, or a directory that is there."""
    assert re.fullmatch(r"[\w=][\w.=-]*", name_for(test), re.ASCII)
