"""A process inside a namespace that carries out orders of a load."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ._outputs import last_of
from ._processes import open_pidfd, signal_group
from .errors import SHOWN_OUTPUT, BenchmarkError, BenchmarkTimeout, MissingTool

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .process import Process

#: Finds the package beside this file, and what it depends on where we have it.
_PROGRAM = (
    "import sys; sys.path += sys.argv[1:]; "
    "from pytest_netns._load_main import main; main()"
)

_LONGEST_PACKET = 1 << 17


class Place(Protocol):
    """What an agent needs of the namespace that it works in."""

    @property
    def name(self) -> str:
        """Its name in the topology."""

    def popen(
        self,
        args: Sequence[str],
        *,
        name: str | None = None,
        expect_exit: bool = False,
        stdin: int | None = None,
    ) -> Process:
        """Start a background process inside."""


class Agent:
    """Gives orders to a process inside a namespace, one thread at a time.

    Args:
        place: The namespace.
        cpus: The processors that it may use; None is all that we may.
    """

    def __init__(self, place: Place, cpus: Collection[int] | None = None) -> None:
        self.namespace = place.name
        self._numbers = itertools.count(1)
        self._messages: dict[int, deque[dict[str, Any]]] = defaultdict(deque)
        self._connection, other = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        try:
            self.process = place.popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *_roots()],
                name="load",
                expect_exit=True,
                stdin=other.fileno(),
            )
        except BaseException:
            self._connection.close()
            raise
        finally:
            other.close()
        self._ended = open_pidfd(self.process.pid)
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        if self._ended is not None:  # orders hold the other end as well
            self._poll.register(self._ended, select.POLLIN)
        if cpus is not None:
            os.sched_setaffinity(self.process.pid, cpus)

    def begin(self, order: str, **arguments: Any) -> Order:
        """Have an order of `_load_main.ORDERS` carried out; it goes on meanwhile."""
        number = next(self._numbers)
        self._send({"number": number, "order": order, "arguments": arguments})
        return Order(self, number, order)

    def carry_out(self, order: str, /, timeout: float, **arguments: Any) -> Any:
        """Have an order carried out and return its result.

        Raises:
            BenchmarkError: It could not be; says why.
            BenchmarkTimeout: It was not done within `timeout` seconds.
            MissingTool: A library that it needs is not installed.
        """
        with self.begin(order, **arguments) as begun:
            return begun.result(timeout)

    def close(self) -> None:
        """End it, and all that it has begun; again is harmless."""
        self._connection.close()
        signal_group(self.process.pid, signal.SIGKILL)  # also of one that has ended
        self.process.kill()
        self.process.wait()
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None

    # for its orders

    def stop(self, number: int) -> None:
        """Kill the process of an order, if it still runs."""
        with contextlib.suppress(BenchmarkError):
            self._send({"number": number, "stop": True})

    def receive(self, number: int, deadline: float) -> dict[str, Any] | None:
        """Return the next message about an order, None if none comes in time."""
        messages = self._messages[number]
        while not messages:
            message = self._read(deadline)
            if message is None:
                return None
            self._messages[message["number"]].append(message)
        return messages.popleft()

    def _read(self, deadline: float) -> dict[str, Any] | None:
        pause = max(0.0, deadline - time.monotonic())
        ready = {fd for fd, _ in self._poll.poll(pause * 1000)}
        if not ready:
            return None
        if self._connection.fileno() not in ready:
            raise self._gone()
        try:
            data, files, _, _ = socket.recv_fds(
                self._connection, _LONGEST_PACKET, 1, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            data, files = b"", []
        if not data:
            raise self._gone()
        for file in files:  # a long answer
            with open(file, "rb") as answer:
                answer.seek(0)
                data = answer.read()
        return self._understood(data)

    def _understood(self, data: bytes) -> dict[str, Any]:
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BenchmarkError(self._nonsense(data)) from error
        if isinstance(message, dict) and isinstance(message.get("number"), int):
            return message
        raise BenchmarkError(self._nonsense(data))

    def _nonsense(self, data: bytes) -> str:
        return (
            f"the process of the load in namespace {self.namespace!r} has said "
            f"what makes no sense: {data[:80]!r}"
        )

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.send(json.dumps(message).encode())
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> BenchmarkError:
        output = last_of(self.process.output.strip(), SHOWN_OUTPUT)
        return BenchmarkError(
            f"the process of the load in namespace {self.namespace!r} has ended"
            + (f": {output}" if output else "")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Order:
    """An order that was given; a context manager that ends what still runs of it."""

    def __init__(self, agent: Agent, number: int, name: str) -> None:
        self.name = name
        self._agent = agent
        self._number = number
        self._is_over = False

    def wait_ready(self, timeout: float = 5.0) -> Any:
        """Wait until its server listens, and return what it says then.

        Raises:
            BenchmarkError: It cannot; says why.
            BenchmarkTimeout: It does not within `timeout` seconds.
        """
        return self._await("ready", timeout)

    def result(self, timeout: float) -> Any:
        """Wait until it is done, and return its result.

        Raises:
            BenchmarkError: It could not be done; says why.
            BenchmarkTimeout: It is not within `timeout` seconds; it was stopped.
            MissingTool: A library that it needs is not installed.
        """
        return self._await("result", timeout)

    def stop(self) -> None:
        """End what still runs of it, and wait for that."""
        if self._is_over:
            return
        self._is_over = True
        self._agent.stop(self._number)
        deadline = time.monotonic() + 5.0
        with contextlib.suppress(BenchmarkError):
            while message := self._agent.receive(self._number, deadline):
                if "ended" in message:
                    return

    def _await(self, what: str, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        if self._is_over:
            raise BenchmarkError(self._where("has ended"))
        while message := self._agent.receive(self._number, deadline):
            if what in message:
                return message[what]
            if "error" in message:
                raise self._error(message)
            if "ended" in message:
                self._is_over = True
                raise BenchmarkError(self._where(f"has ended ({message['ended']})"))
        self.stop()
        raise BenchmarkTimeout(self._where(f"was not done within {timeout:g} s"))

    def _error(self, message: dict[str, Any]) -> Exception:
        why = str(message["error"])
        if message.get("kind") == "missing":
            return MissingTool(why)
        kind = BenchmarkTimeout if message.get("kind") == "timeout" else BenchmarkError
        return kind(self._where(f"failed: {last_of(why, SHOWN_OUTPUT)}"))

    def _where(self, what: str) -> str:
        return f"{self.name} in namespace {self._agent.namespace!r} {what}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _roots() -> list[str]:
    """Return where Python finds the package, and then what it depends on."""
    package = str(Path(__file__).parents[1])
    return [package, *(path for path in sys.path if path and path != package)]
