"""A call in the background of a namespace."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._threads import Job, cancel
from .errors import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


class Task(Generic[T]):
    """What `NetworkNamespace.spawn` gives: a call under way, also awaitable.

    Attributes:
        name: The function's name.
        namespace: The name of its namespace.
    """

    def __init__(self, name: str, namespace: str, job: Job[T]) -> None:
        self.name = name
        self.namespace = namespace
        self._job = job
        self._observed = False
        self._cancelled = False

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the value, or raise the error with its traceback.

        Raises:
            WaitTimeout: It has not ended within `timeout` seconds.
            Exception: Whatever the function raised.
        """
        if not self._job.wait(timeout):
            raise WaitTimeout(
                f"task {self.name}() in namespace {self.namespace!r} to end",
                timeout or 0.0,
                "it still runs",
            )
        self._observed = True
        return self._job.outcome()

    @property
    def thread(self) -> int | None:
        """The identifier of the thread that it runs on; None before it does."""
        return self._job.thread

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self._job.finished

    def failure(self) -> BaseException | None:
        """Return the error that it ended with, if nobody has asked for its result."""
        if not self.done() or self._observed or self._cancelled:
            return None
        return self._job.error

    def cancel(self) -> None:
        """Ask it to end: whatever it raises from now on is its answer to that."""
        self._cancelled = True
        cancel(self._job)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the end without blocking the loop."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(ended.set)

        self._job.when_finished(wake)
        yield from ended.wait().__await__()
        return self.result(0)

    def __repr__(self) -> str:
        state = "ended" if self.done() else "running"
        return f"<Task {self.name}() in {self.namespace!r} {state}>"
