from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._artifacts import directory_for


@pytest.mark.parametrize(
    ("test", "directory"),
    [
        ("tests/test_x.py::test_a", "kept/tests-test_x.py-test_a"),
        ("test_x.py::TestA::test_b[1-two]", "kept/test_x.py-TestA-test_b-1-two"),
    ],
)
def test_a_folder_has_the_name_of_its_test(test: str, directory: str) -> None:
    """People find the folder of a test."""
    assert directory_for("kept", test) == directory


@pytest.mark.parametrize(
    "parameters",
    [("a b", "a-b", "a/b"), ("x" * 300, "x" * 301), ("ä", "ö"), ("..", "...")],
)
def test_each_test_has_its_own(parameters: tuple[str, ...]) -> None:
    """However little the names of tests differ, their folders do."""
    tests = [f"test_x.py::test_a[{one}]" for one in parameters]
    assert len({directory_for("kept", test) for test in tests}) == len(tests)


@given(st.text())
def test_any_name(text: str) -> None:
    """The folder is always right inside the directory, and a name that is allowed."""
    directory = directory_for("kept", f"test_x.py::test_a[{text}]")
    kept, name = directory.split("/")
    assert kept == "kept"
    assert name.startswith("test_x.py-test_a")
    assert len(name.encode()) < 255
