from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pytest_netns
from pytest_netns import NetnsError, records
from pytest_netns._record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(pytest_netns.__file__)
PREFIX = "pytest_netns."
every_name = pytest.mark.parametrize("name", pytest_netns.__all__)


def imports_for_type_checkers() -> dict[str, tuple[str, ...]]:
    """Read what ``if TYPE_CHECKING:`` in __init__.py imports, by module."""
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text("utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    homes = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 1
        assert all(alias.asname is None for alias in node.names)
        homes[str(node.module)] = tuple(alias.name for alias in node.names)
    return homes


def test_public_names_are_sorted_and_there_once() -> None:
    """``__all__`` is a list to read."""
    assert pytest_netns.__all__ == sorted(set(pytest_netns.__all__))


def test_type_checkers_see_what_is_there_at_run_time() -> None:
    """The imports that are never run are those that run when first used."""
    assert imports_for_type_checkers() == pytest_netns._HOMES


@every_name
def test_a_public_name_can_be_imported(name: str) -> None:
    """It is the object of its home, and an ordinary attribute from then on."""
    home = importlib.import_module(f"pytest_netns.{pytest_netns._HOME_OF[name]}")

    assert getattr(pytest_netns, name) is getattr(home, name)
    assert vars(pytest_netns)[name] is getattr(home, name)


@every_name
def test_a_public_name_is_defined_in_its_home(name: str) -> None:
    """Its home is where it is made, not where it is passed through."""
    value = getattr(pytest_netns, name)

    assert value.__module__ == f"pytest_netns.{pytest_netns._HOME_OF[name]}"
    assert value.__name__ == name


def members(name: str) -> Iterator[tuple[str, Any]]:
    """Yield a public name and all public methods and properties of a class."""
    value = getattr(pytest_netns, name)
    yield name, value
    if inspect.isclass(value):
        own = [base for base in value.__mro__ if base.__module__.startswith(PREFIX)]
        for key, member in (item for base in own for item in vars(base).items()):
            # of class and static methods
            function = getattr(member, "__func__", member)
            if not key.startswith("_") and (
                inspect.isfunction(function) or isinstance(member, property)
            ):
                yield f"{name}.{key}", function


@every_name
def test_a_public_name_is_documented(name: str) -> None:
    """Every public class, function, method and property says what it does."""
    undocumented = [
        title
        for title, member in members(name)
        if not (member.__doc__ or "").strip()
        or (member.__doc__ or "").startswith(f"{name}(")  # a dataclass's own
    ]

    assert undocumented == []


@every_name
def test_a_public_function_is_typed(name: str) -> None:
    """Every argument and result has its annotation."""
    for title, member in members(name):
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            signature = inspect.signature(function)
            arguments = list(signature.parameters.values())
            if "." in title and arguments and arguments[0].name in {"self", "cls"}:
                del arguments[0]
            annotations = [one.annotation for one in arguments]
            assert inspect.Signature.empty not in [
                *annotations,
                signature.return_annotation,
            ], title


def test_every_error_and_record_is_public() -> None:
    """What can be caught and what can be declared can be imported."""

    def subclasses(base: type[NetnsError]) -> Iterator[type[NetnsError]]:
        for child in base.__subclasses__():
            yield child
            yield from subclasses(child)

    public = {getattr(pytest_netns, name) for name in pytest_netns.__all__}
    assert {NetnsError, *subclasses(NetnsError)} <= public
    declared = {
        value
        for value in vars(records).values()
        if inspect.isclass(value) and issubclass(value, Record) and value is not Record
    }
    assert declared
    assert declared <= public


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module, so that hasattr() works."""
    with pytest.raises(
        AttributeError, match="'pytest_netns' has no attribute 'Namespce'"
    ):
        pytest_netns.Namespce  # noqa: B018

    assert not hasattr(pytest_netns, "__wrapped__")


def test_all_public_names_are_listed() -> None:
    """dir() shows them before they are first used, for completion."""
    assert set(pytest_netns.__all__) <= set(dir(pytest_netns))
    assert dir(pytest_netns) == sorted(dir(pytest_netns))


def test_the_package_is_typed() -> None:
    """Type checkers look for the file py.typed."""
    assert (SOURCE.parent / "py.typed").is_file()


def test_the_package_imports_nothing_of_itself() -> None:
    """Names are imported when first used: one name, one module and what it needs."""
    program = """
import sys, pytest_netns
print(*sorted(m for m in sys.modules if m.startswith("pytest_netns.")))
pytest_netns.NetnsError
print(*sorted(m for m in sys.modules if m.startswith("pytest_netns.")))
from pytest_netns import Topology
print(*sorted({"pyroute2", "ctypes", "asyncio", "pytest"} & sys.modules.keys()))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.split("\n")[:3] == ["", "pytest_netns.errors", ""]
