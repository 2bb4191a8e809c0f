"""What other processes say, and what files hold, where nobody should trust it."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns._agent import Agent
from pytest_netns._bench_json import from_data, read_document
from pytest_netns._bench_schema import SCHEMA_ID, VERSION
from pytest_netns._jsonrpc import Connection, Refused
from pytest_netns._ovsdb import Database
from pytest_netns.errors import BenchmarkError
from tests.inputs.hostile import damaged

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Whatever JSON may hold, and what Python reads although it may not.
json_values: SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, -1, 0, 2**63]),
        st.floats(),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    max_leaves=6,
)
_words = st.sampled_from(
    ["id", "method", "params", "error", "result", "tables", "columns", "rows", "number"]
)
_answers = st.dictionaries(_words, json_values, max_size=4)
SAID_BY_A_DATABASE = [
    b'{"id": 1, "result": {"tables": {"Open_vSwitch": {"columns": {"a": {}}}}}}',
    b'{"id": 2, "error": null, "result": [{}, {"rows": [{"next_cfg": 7}]}, null]}',
    b'{"id": 3, "error": "no", "result": null}',
    b'{"method": "update", "params": [1], "id": null}',
    b'{"method": "echo", "params": [], "id": "echo"}',
    b"[" * 5000,
    b"7" * 5000,
    b"{}",
    b"1",
    b"\xff",
]
streams: SearchStrategy[bytes] = st.one_of(
    damaged(SAID_BY_A_DATABASE),
    st.lists(_answers, max_size=4).map(lambda all_: json.dumps(all_)[1:-1].encode()),
    st.lists(
        st.builds(lambda one: {"id": 1, "result": one}, json_values), max_size=2
    ).map(lambda said: b"".join(json.dumps(one).encode() for one in said)),
)


def check_stream(data: bytes) -> None:
    """Check that a database that says this is one, refuses, or is said to be broken."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Refused, OSError):
            database = Database(Connection(ours))
            database.configure([{"op": "comment"}])
            database.await_configuration(1, 0.0, lambda: None)


said: SearchStrategy[bytes] = st.one_of(
    damaged(
        [
            b'{"number": 1, "result": [1, 2]}',
            b'{"number": 1, "error": "no", "kind": "missing"}',
            b'{"number": 1, "error": 5, "kind": []}',
            b'{"number": 1, "ended": "exit code 7"}',
            b"[" * 5000,
            b"7" * 5000,
        ]
    ),
    st.builds(
        lambda one: json.dumps({"number": 1, **one}).encode(),
        st.dictionaries(
            st.sampled_from(["number", "result", "error", "kind", "ended"]),
            json_values,
            max_size=3,
        ),
    ),
)


def check_said(data: bytes) -> None:
    """Check what becomes of a message of a load's process that is taken over."""
    agent = object.__new__(Agent)
    agent.namespace = "a"
    agent.process = SimpleNamespace(output="")  # type: ignore[assignment]
    with contextlib.suppress(BenchmarkError):
        message = agent._understood(data)
        assert isinstance(message["number"], int)


@st.composite
def _changed_measurements(draw: st.DrawFn, right: dict[str, Any]) -> object:
    """Put something else into a place of what is right."""
    data = copy.deepcopy(right)
    inner: Any = data
    while True:
        keys = [*inner] if isinstance(inner, dict) else [*range(len(inner))]
        if not keys:
            return data
        key = draw(st.sampled_from(keys))
        deeper = inner[key]
        if not isinstance(deeper, dict | list) or draw(st.integers(0, 2)) == 0:
            inner[key] = draw(json_values)
            return data
        inner = deeper


def measurements_like(right: dict[str, Any]) -> SearchStrategy[object]:
    """Return what could be saved benchmarks, but mostly is not.

    Args:
        right: One that is.
    """
    return st.one_of(json_values, _changed_measurements(right))


def check_measurement(data: object) -> None:
    """Check that it is a measurement, or a `ValueError` that says where it is not."""
    with contextlib.suppress(ValueError):
        from_data(data)
    with contextlib.suppress(ValueError):
        read_document({"schema": SCHEMA_ID, "version": VERSION, "measurements": [data]})
    with contextlib.suppress(ValueError):
        read_document(data)
