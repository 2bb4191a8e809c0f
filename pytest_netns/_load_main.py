"""The program of a load's process inside a namespace: it forks one more an order.

Its standard input is a socket of packets, from which it reads orders in JSON:
``{"number": 1, "order": "echo", "arguments": {...}}``. Each is carried out by a
child of its own, so that a library that ends its process, or keeps a state, spoils
nothing but its own order. What it answers, where a long answer is in a file that
comes along as a descriptor:

* ``{"number": 1, "ready": ...}``: a server listens now;
* ``{"number": 1, "result": ...}``: the order is done;
* ``{"number": 1, "error": "...", "kind": "..."}``: it could not be;
* ``{"number": 1, "ended": -9}``: its child has ended without a word.

``{"number": 1, "stop": true}`` kills an order's child; ``ended`` follows.

Nothing is imported from outside of these ``_load_*`` modules and the standard
library until an order needs it: the program must start fast.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The module that carries out an order, and has a function of this name:
#: ``function(say, **arguments)`` returns the result, ``say(value)`` is "ready".
ORDERS = {
    "iperf3_client": "_load_iperf3",
    "iperf3_server": "_load_iperf3",
    "echo": "_load_server",
    "latency": "_load_latency",
    "connections": "_load_connections",
    "concurrent": "_load_connections",
}

#: Less than what a socket takes at once, in bytes (``net.core.wmem_default``).
_LONGEST_PACKET = 65_536
_LONGEST_ORDER = 65_536


class Failure(Exception):  # it is an answer
    """What an order could not do, in words for the user.

    Args:
        text: The words.
        kind: ``"failed"``, ``"missing"`` (a library) or ``"timeout"``.
    """

    def __init__(self, text: str, kind: str = "failed") -> None:
        super().__init__(text)
        self.kind = kind


def main() -> None:
    """Follow orders until nobody gives any more; what then still runs is killed."""
    connection = socket.socket(fileno=0)
    os.set_inheritable(0, False)  # noqa: FBT003  # children of children need none
    gc.freeze()
    running: dict[int, int] = {}  # pid -> number
    wake, wakened = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            _reap(connection, running)
        if connection.fileno() in ready:
            data = connection.recv(_LONGEST_ORDER)
            if not data:
                break
            _follow(connection, json.loads(data), running)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _follow(
    connection: socket.socket, message: dict[str, Any], running: dict[int, int]
) -> None:
    number = message["number"]
    if message.get("stop"):
        for pid, other in running.items():
            if other == number:
                os.kill(pid, signal.SIGKILL)  # not reaped yet: it is still that one
        return
    function = _function(message["order"])  # what one order imports, the next one has
    pid = os.fork()
    if not pid:
        _carry_out(connection, number, function, message["arguments"])
    running[pid] = number


def _function(order: str) -> Callable[..., Any]:
    module = importlib.import_module(f".{ORDERS[order]}", __package__)
    function: Callable[..., Any] = getattr(module, order)
    return function


def _carry_out(
    connection: socket.socket,
    number: int,
    function: Callable[..., Any],
    arguments: dict[str, Any],
) -> None:
    """Carry out an order in a child, and end it."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

        def say(ready: object = None) -> None:
            _tell(connection, {"number": number, "ready": ready})

        answer: dict[str, Any] = {"number": number}
        try:
            answer["result"] = function(say, **arguments)
        except Failure as failure:
            answer |= {"error": str(failure), "kind": failure.kind}
        except OSError as error:
            answer |= {"error": str(error), "kind": "failed"}
        except Exception:
            answer |= {"error": traceback.format_exc(), "kind": "failed"}
        _tell(connection, answer)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap(connection: socket.socket, running: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number = running.pop(pid, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                _tell(connection, {"number": number, "ended": code})


def _tell(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a message in one packet: whole or not at all, whoever is killed when."""
    data = json.dumps(message).encode()
    if len(data) <= _LONGEST_PACKET:
        connection.send(data)
        return
    file = os.memfd_create("answer")
    with open(file, "wb", closefd=False) as writing:
        writing.write(data)
    socket.send_fds(connection, [b"{}"], [file])
    os.close(file)
