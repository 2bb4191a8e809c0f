"""Files of topologies: whatever is in them, an error says where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_netns import Topology, TopologyError
from tests.inputs import any_files, any_topologies
from tests.inputs.any_values import tried

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> any_files.Files:
    """Give what writes files and reads them."""
    return any_files.Files(tmp_path)


def test_topologies_come_back(files: any_files.Files) -> None:
    """What `to_toml()` writes, `from_file()` reads."""
    tried(any_topologies.topologies, files.check_topology)


def test_any_bytes(files: any_files.Files) -> None:
    """They make a topology, or a `TopologyError` that names the file and a place."""
    tried(any_files.files, files.check_bytes, 300)


def test_any_document(files: any_files.Files) -> None:
    """What is TOML, but no topology, is named by its keys and tables."""
    tried(any_files.documents, files.check_document, 300)


def test_a_damaged_file(files: any_files.Files) -> None:
    """Something was put into a file that was right, or taken out."""
    tried(any_files.damaged, files.check_bytes)


def test_one_thing_changed(files: any_files.Files) -> None:
    """A key that is wrong by itself is named, with its table and the file."""
    tried(any_files.changed, files.check_changed)


DEEP = ".".join(["a"] * 5000)
HUGE = "0x" + "f" * 5000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"names.{DEEP} = 1", "names 1: nested deeper than 50 levels"),
        (f"order.{DEEP} = 1", "order 1: nested"),
        (f"host = {{}}\nveth.{DEEP} = 1", "veth 1: nested"),
        (
            f'[[namespace]]\nname = "a"\n[namespace.sysctls]\n{DEEP} = 1',
            "namespace 1: ne",
        ),
        (f'[[namespace]]\nname = "a"\nnat.kind.{DEEP} = 1', "namespace 1: nested"),
        ("names = " + "[" * 90 + "]" * 90, "names 1: nested"),
        ("names = " + "[" * 9000 + "]" * 9000, "not TOML: "),
        (f"order = [{HUGE}]", "key 'order', entry 1: unknown array '<int that cannot"),
        (f"names = {HUGE}", "key 'names': <int that cannot be shown>"),
        (
            f'[[bridge]]\nname = "b"\nmtu = {HUGE}',
            "bridge 1 ('b'), key 'mtu': Bridge('b",
        ),
        (
            f"[[bridge]]\nname = {HUGE}",
            "bridge 1 (<int that cannot be shown>), key 'name",
        ),
        (
            f'[[namespace]]\nname = "a"\nnat = [{{kind = {HUGE}}}]',
            "namespace 1 ('a'), nat 1, key 'kind': unknown kind '<int that cannot",
        ),
        (
            f'[[namespace]]\nname = "a"\nsysctls = {{"net.a" = {HUGE}}}',
            "namespace 1 ('a'), key 'sysctls': Namespace('a') sysctls['net.a']: <int",
        ),
    ],
)
def test_what_python_cannot_walk_through_or_show(
    tmp_path: Path, text: str, place: str
) -> None:
    """Tables within tables without end, and numbers that are longer than it writes."""
    path = tmp_path / "odd.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(TopologyError) as caught:
        Topology.from_file(path)

    assert str(caught.value).startswith(f"{path}: {place}")


def test_keys_of_sysctls_may_be_tables(tmp_path: Path) -> None:
    """They are the deepest that is right, far from the limit."""
    path = tmp_path / "deep.toml"
    path.write_text(
        '[[namespace]]\nname = "a"\n'
        "[namespace.sysctls]\nnet.ipv4.conf.all.a.b.c.d = 1\n",
        encoding="utf-8",
    )

    (namespace,) = Topology.from_file(path)

    assert dict(namespace.sysctls) == {"net.ipv4.conf.all.a.b.c.d": "1"}  # type: ignore[attr-defined]
