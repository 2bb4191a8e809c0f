"""JSON-RPC 1.0 over a stream, as the daemons of Open vSwitch speak it.

RFC 7047, chapter 4, for the database; ovs-appctl(8) speaks the same to a daemon.
"""

from __future__ import annotations

import codecs
import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

#: How long an answer may take, in seconds.
_PATIENCE = 10.0
#: How many characters of an answer are waited for; that of a database with a thousand
#: ports has some millions.
_LONGEST = 1 << 24


class Refused(Exception):
    """The other side has refused a request; the text says why."""


class Connection:
    """A connection to a daemon; one request at a time, from any thread.

    Attributes:
        updates: The parameters of each update that came without a request.
    """

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(_PATIENCE)
        self._stream = stream
        self._numbers = itertools.count(1)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._lock = threading.Lock()
        self.updates: list[Any] = []

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def call(self, method: str, *parameters: Any) -> Any:
        """Make a request, and return the result.

        Raises:
            Refused: The other side refuses; says why.
            OSError: It is gone, or takes too long.
        """
        with self._lock:
            number = next(self._numbers)
            self._send(method=method, params=parameters, id=number)
            while True:
                message = self._receive()
                if message.get("method") == "update":
                    self.updates.append(message.get("params"))
                elif message.get("method") == "echo":  # whether we are alive
                    self._send(
                        result=message.get("params"), error=None, id=message.get("id")
                    )
                elif message.get("id") == number:
                    if message.get("error") is not None:
                        raise Refused(f"{method}: {message['error']}")
                    return message.get("result")

    def _send(self, **message: Any) -> None:
        self._stream.sendall(json.dumps(message).encode())

    def _receive(self) -> dict[str, Any]:
        """Return the next message; nothing separates one from another."""
        while True:
            try:
                message, end = json.JSONDecoder().raw_decode(self._text)
            except ValueError:  # there is no end yet
                self._read_on()
            except RecursionError:
                why = "the other side says what is nested without end"
                raise ConnectionError(why) from None
            else:
                self._text = self._text[end:].lstrip()
                if not isinstance(message, dict):
                    raise ConnectionError("the other side says what is no message")
                return message

    def _read_on(self) -> None:
        data = self._stream.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the other side is gone")
        try:
            self._text += self._decode(data)
        except UnicodeDecodeError as error:
            raise ConnectionError("the other side says what is no text") from error
        if len(self._text) > _LONGEST:
            raise ConnectionError("the other side never comes to an end")
