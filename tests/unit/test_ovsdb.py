from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_netns import _ovs_rows as rows
from pytest_netns._jsonrpc import Connection, Refused
from pytest_netns._ovsdb import Database

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """The other side of a connection: it says what it is told to say."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection = Connection(theirs)
        self._stream = ours
        self.heard: list[dict[str, Any]] = []

    def hear(self) -> dict[str, Any]:
        """Return the next request; each comes in a piece of its own here."""
        message: dict[str, Any] = json.loads(self._stream.recv(1 << 16))
        self.heard.append(message)
        return message

    def say(self, *pieces: bytes) -> None:
        """Say something, in pieces."""
        for piece in pieces:
            self._stream.sendall(piece)

    def answer(self, *results: Any, before: bytes = b"") -> threading.Thread:
        """Answer requests in the background, each with the next result."""

        def answer() -> None:
            self.say(before)
            for result in results:
                number = self.hear()["id"]
                message = {"id": number, "error": None, "result": result}
                self.say(json.dumps(message).encode())

        thread = threading.Thread(target=answer)
        thread.start()
        return thread

    def close(self) -> None:
        """Hang up."""
        self._stream.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server for a connection."""
    server = Server()
    yield server
    server.close()
    server.connection.close()


class Pieces:
    """A stream that gives what it has piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.sent: list[dict[str, Any]] = []

    def settimeout(self, seconds: float) -> None:
        """Never wait."""

    def sendall(self, data: bytes) -> None:
        """Note what is sent."""
        self.sent.append(json.loads(data))

    def recv(self, _size: int) -> bytes:
        """Return the next piece."""
        return self._pieces.pop(0)


class TestConnection:
    """JSON-RPC over a stream."""

    def test_pieces_and_heaps(self) -> None:
        """Messages may come in pieces, several at once, and with others between."""
        stream = Pieces(
            b'{"id":7,"error":null,"result":0}\n {"method":"upd',
            b'ate","params":[1],"id":null}{"id":1,"error":null,"result":"\xc3',
            b'\xa4 {"}',
        )
        connection = Connection(cast("socket.socket", stream))
        assert connection.call("f", 1, "x") == "ä {"
        assert connection.updates == [[1]]
        assert stream.sent == [{"method": "f", "params": [1, "x"], "id": 1}]

    def test_an_echo_is_answered(self, server: Server) -> None:
        """The other side asks whether we are alive."""
        server.say(b'{"method":"echo","params":["?"],"id":"echo"}')
        server.say(b'{"id":1,"error":null,"result":2}')
        assert server.connection.call("f") == 2
        heard = server._stream.recv(1 << 16).decode()
        assert '"result": ["?"]' in heard
        assert '"id": "echo"' in heard

    def test_a_refusal(self, server: Server) -> None:
        """It is an error that says why."""
        server.say(b'{"id":1,"error":{"error":"nonsense"},"result":null}')
        with pytest.raises(Refused, match="nonsense"):
            server.connection.call("f")

    def test_the_other_side_is_gone(self, server: Server) -> None:
        """It is an OSError, not a wait."""
        server.close()
        with pytest.raises(OSError):  # noqa: PT011  # reset, or a broken pipe
            server.connection.call("f")


SCHEMA = {"tables": {"Open_vSwitch": {"columns": {"ssl": 0, "cur_cfg": 0}}, "Port": {}}}


class TestDatabase:
    """Transactions."""

    def test_configuring(self, server: Server) -> None:
        """The number to await comes with the results."""
        thread = server.answer(SCHEMA, [{"count": 1}, {}, {"rows": [{"next_cfg": 5}]}])
        database = Database(server.connection)
        assert database.tables == ["Port"]
        results, number = database.configure(rows.removal_of_all())
        thread.join()
        assert (results, number) == ([{"count": 1}], 5)

    def test_an_operation_that_fails(self, server: Server) -> None:
        """The transaction is refused as a whole."""
        failed = [{}, {"error": "constraint violation", "details": "no"}, None]
        thread = server.answer(SCHEMA, failed)
        with pytest.raises(Refused, match="constraint violation: no"):
            Database(server.connection).transact([])
        thread.join()

    def test_waiting(self, server: Server) -> None:
        """It goes on until the number is reached, or the time is over."""
        late: list[Any] = [[{"error": "timed out"}], [{}]]
        thread = server.answer(SCHEMA, *late, [{"error": "timed out"}])
        database = Database(server.connection)
        looks: list[int] = []
        assert database.await_configuration(3, 5.0, lambda: looks.append(1))
        assert looks == [1]
        assert not database.await_configuration(3, 0.0, lambda: None)
        thread.join()

    def test_guarding(self, server: Server) -> None:
        """Whoever configures the daemons is noticed, but not what they write."""
        thread = server.answer(SCHEMA, {})
        database = Database(server.connection)
        database.guard()
        thread.join()
        (_, _, requests) = server.heard[-1]["params"]
        assert requests["Open_vSwitch"]["columns"] == ["ssl"]
        assert not database.was_touched
        update = b'{"method":"update","params":[],"id":null}'
        thread = server.answer([], before=update)
        database.transact([])
        thread.join()
        assert database.was_touched
