"""Open vSwitch's database, as RFC 7047 has it.

``ovs-vsctl`` does the same, and takes some 6 ms to start.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from ._jsonrpc import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._jsonrpc import Connection
    from ._ovs_rows import Operation

#: What one operation of a transaction has brought.
Result = dict[str, Any]

_DATABASE = "Open_vSwitch"
#: How long it waits at a time for what ovs-vswitchd does, in milliseconds.
_SLICE = 100
#: What ovs-vswitchd writes into the one row about the daemons, not a person.
_STATUS = frozenset(
    {
        "bridges",
        "next_cfg",
        "cur_cfg",
        "statistics",
        "ovs_version",
        "datapath_types",
        "iface_types",
        "dpdk_initialized",
        "dpdk_version",
    }
)


@contextlib.contextmanager
def _sense() -> Iterator[None]:
    """Say of an answer that is not what RFC 7047 has that it makes no sense."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        why = f"the answer of the database makes no sense: {error!r}"
        raise ConnectionError(why) from error


class Database:
    """The database of a pair of daemons.

    Attributes:
        tables: The tables of what is configured.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        schema = connection.call("get_schema", _DATABASE)
        with _sense():
            self._columns = {str(one) for one in schema["tables"][_DATABASE]["columns"]}
            self.tables = [table for table in schema["tables"] if table != _DATABASE]

    def guard(self) -> None:
        """Note from now on when somebody configures the daemons themselves."""
        request = {
            "columns": sorted(self._columns - _STATUS),
            "select": {"initial": False, "insert": False, "delete": False},
        }
        self._connection.call("monitor", _DATABASE, "guard", {_DATABASE: request})

    @property
    def was_touched(self) -> bool:
        """Whether anybody has done so since `guard()`, be it that it was undone."""
        return bool(self._connection.updates)

    def transact(self, operations: Sequence[Operation]) -> list[Result]:
        """Carry out all of `operations`, or none, and return their results.

        Raises:
            Refused: The server does not; says why.
            OSError: The server is gone.
        """
        answer = self._connection.call("transact", _DATABASE, *operations)
        with _sense():
            results: list[Result] = [dict(result or {}) for result in answer]
        for result in results:
            if "error" in result:
                raise Refused(f"{result['error']}: {result.get('details', '')}")
        return results

    def configure(self, operations: Sequence[Operation]) -> tuple[list[Result], int]:
        """Carry out `operations`; return their results, and the number to await.

        Raises:
            Refused: The server does not; says why.
            OSError: The server is gone.
        """
        where = {"table": _DATABASE, "where": []}
        results = self.transact(
            [
                *operations,
                {"op": "mutate", **where, "mutations": [["next_cfg", "+=", 1]]},
                {"op": "select", **where, "columns": ["next_cfg"]},
            ]
        )
        with _sense():
            return results[: len(operations)], int(results[-1]["rows"][0]["next_cfg"])

    def await_configuration(
        self, number: int, timeout: float, still_hopeful: Callable[[], None]
    ) -> bool:
        """Wait until ovs-vswitchd has done all up to a number; return whether it has.

        Args:
            number: What `configure` has returned.
            timeout: For how many seconds to wait.
            still_hopeful: Called between the looks; raises to end the wait early.

        Raises:
            OSError: The server is gone.
        """
        wait: Operation = {
            "op": "wait",
            "table": _DATABASE,
            "where": [["cur_cfg", "<", number]],
            "columns": ["cur_cfg"],
            "until": "==",
            "rows": [],
        }
        deadline = time.monotonic() + timeout
        while True:
            milliseconds = int((deadline - time.monotonic()) * 1000)
            wait["timeout"] = max(0, min(_SLICE, milliseconds))
            answer = self._connection.call("transact", _DATABASE, wait)
            with _sense():
                (result,) = answer
                if "error" not in result:
                    return True
            still_hopeful()
            if time.monotonic() >= deadline:
                return False
