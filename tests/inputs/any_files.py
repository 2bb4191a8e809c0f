"""TOML files of every kind: bytes, documents, and files with one thing changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w
from hypothesis import strategies as st

from pytest_netns import Topology, TopologyError
from pytest_netns._toml import KINDS, NESTED, OPTIONS, TAG, write
from tests.inputs.any_records import FIELDS
from tests.inputs.any_topologies import topologies
from tests.inputs.any_values import toml_keys, toml_leaves, toml_values

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

#: Which part of a file a message is about: a key at its top, or a table.
_PLACE = re.compile(
    rf"key ['\"]|not TOML: |not UTF-8: |({'|'.join((*KINDS, *OPTIONS))}) [1-9]\d*\b"
)

files = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")),
    st.lists(
        st.sampled_from(
            [
                *(b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b"\n", b'"'),
                *(b"'", b'"""', b"#", b"\\u", b"\\U0010ffff", b"0x", b"1e9", b"\xff"),
                *(b"namespace", b"host", b"bridge", b"veth", b"name", b"order", b"a"),
                *(b"names", b"true", b"1979-05-27", b"inf", b"nan", b"[[namespace]]\n"),
            ]
        ),
        max_size=30,
    ).map(b"".join),
)
_tables = st.dictionaries(
    st.one_of(
        toml_keys,
        st.sampled_from(sorted({name for one in FIELDS.values() for name in one})),
        st.just(TAG),
    ),
    toml_values,
    max_size=4,
)
#: What is not TOML's fault.
documents: SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.one_of(toml_keys, st.sampled_from([*KINDS, *OPTIONS])),
    st.one_of(toml_values, _tables, st.lists(_tables, max_size=3)),
    max_size=4,
)


@dataclass(frozen=True)
class Changed:
    """A document that was right before one key got another value.

    Attributes:
        document: All of it.
        places: How a message begins that is about the key: the table that has it.
        key: The key.
        values: The table that has the key.
        array: In which field, or array, that table is.
    """

    document: dict[str, Any]
    places: str
    key: str
    values: dict[str, Any]
    array: str


@st.composite
def _changed(draw: st.DrawFn) -> Changed:
    document = _document(draw(topologies))
    array = draw(st.sampled_from([*document]))
    number = draw(st.integers(1, len(document[array])))
    table, place = document[array][number - 1], f"{array} {number}"
    inner = [field for field in NESTED[KINDS[array]] if table.get(field)]
    goes_deeper = draw(st.booleans())
    if inner and goes_deeper:
        array = draw(st.sampled_from(inner))
        number = draw(st.integers(1, len(table[array])))
        table = table[array][number - 1]
        place += rf".*, {array} {number}"
    key = draw(st.one_of(st.sampled_from([*table]), st.just("surplus")))
    table[key] = draw(toml_leaves if key == TAG else toml_values)
    return Changed(document, place, key, table, array)


def _document(topology: Topology) -> dict[str, Any]:
    """Return what a file of a topology holds, all of it in lists that may change."""
    from pytest_netns._toml import _plain

    document: dict[str, Any] = {}
    for record in topology:
        array = document.setdefault(type(record).__name__.lower(), [])
        array.append(_mutable(_plain(record)))
    return document


def _mutable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mutable(one) for key, one in value.items()}
    return (
        [_mutable(one) for one in value] if isinstance(value, list | tuple) else value
    )


#: A file that was right, before something was put into it or taken out.
@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    text = write(draw(topologies).records, names=draw(st.booleans())).encode()
    at = draw(st.integers(0, len(text)))
    end = draw(st.integers(at, min(len(text), at + 40)))
    return text[:at] + draw(files) + text[end:]


changed: SearchStrategy[Changed] = _changed()
damaged: SearchStrategy[bytes] = _damaged()


class Files:
    """Reads what it writes.

    Args:
        folder: Where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "any.toml"

    def check_bytes(self, data: bytes) -> None:
        """Check that it is a topology, or that an error says where it is wrong."""
        self.path.write_bytes(data)
        read = self._read()
        if isinstance(read, Topology):
            self.check_topology(read)
        else:
            assert self._place(read), read

    def check_document(self, document: dict[str, Any]) -> None:
        """Check the file of a document."""
        self.check_bytes(tomli_w.dumps(document).encode())

    def check_changed(self, changed: Changed) -> None:
        """Check that an error names table and key, if that is wrong by itself."""
        self.path.write_bytes(tomli_w.dumps(changed.document).encode())
        read = self._read()
        if isinstance(read, Topology):
            assert changed.key != "surplus"
            assert not self._is_wrong_alone(changed)
            return
        place = self._place(read)
        assert place, read
        if changed.key == "surplus" or self._is_wrong_alone(changed):
            assert re.match(changed.places, place), read
            assert f"key {changed.key!r}" in place or _is_shown(changed, read), read

    def check_topology(self, topology: Topology) -> None:
        """Check that what is written is what is read."""
        self.path.write_bytes(topology.to_toml().encode())
        assert Topology.from_file(self.path) == topology

    def _read(self) -> Topology | TopologyError:
        try:
            return Topology.from_file(self.path)
        except TopologyError as error:
            return error

    def _place(self, error: TopologyError) -> str:
        """Return what the message says after the file's path, if it is a place."""
        path, _, rest = str(error).partition(": ")
        assert path == str(self.path)
        return rest if _PLACE.match(rest) else ""

    def _is_wrong_alone(self, changed: Changed) -> bool:
        """Tell whether the record cannot even be made, whatever the others are."""
        kind = KINDS.get(changed.array)
        if kind is None or changed.key in NESTED[kind]:
            return False
        values = {
            key: value
            for key, value in changed.values.items()
            if key not in NESTED[kind]
        }
        try:
            kind(**values)
        except TopologyError:
            return True
        return False


def _is_shown(changed: Changed, error: TopologyError) -> bool:
    """Tell whether the message at least shows the value, if it names no key."""
    value = changed.values[changed.key]
    return repr(value)[1:-1] in str(error)
