"""Threads that belong to one place, and jobs handed to them.

A thread is born where it works, and never serves another place: a shared pool
would keep workers for ever in whatever namespace they were born in.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import functools
import os
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._obstacles import too_many_processes
from ._syscalls import raise_in_thread
from .errors import ClosedError, KernelError, NamespaceRestoreError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Cancelled(BaseException):
    """Ends a task whose test is over; no handler for `Exception` stops it."""


class Job(Generic[T]):
    """A call that another thread makes: its arguments, then its outcome."""

    __slots__ = (
        "_call",
        "_callbacks",
        "_context",
        "_cwd",
        "_done",
        "_ended",
        "_lock",
        "error",
        "thread",
        "value",
    )

    def __init__(self, call: Callable[[], T], *, cwd: str | None = None) -> None:
        self._call: Callable[[], T] | None = call
        self._context = contextvars.copy_context()
        self._cwd = cwd
        self._lock = threading.Lock()
        self._done = threading.Lock()
        self._done.acquire()
        self._ended = False
        self._callbacks: list[Callable[[], None]] = []
        self.value: T | None = None
        self.error: BaseException | None = None
        #: The identifier of the thread that works on it.
        self.thread: int | None = None

    def perform(self) -> None:
        """Make the call, on the thread that this is called on."""
        call, self._call = self._call, None
        self.thread = threading.get_ident()
        try:
            if self._cwd is not None:
                _change_directory(self._cwd)
            self.value = self._context.run(call)  # type: ignore[arg-type]  # set once
        except BaseException as error:  # whatever it is, it is the caller's
            self.error = error

    def finish(self) -> None:
        """Wake those who wait."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._ended = True
            self._let_through()
        for callback in callbacks:
            callback()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the call has ended; return whether it has."""
        if self.finished:
            return True
        try:
            return self._done.acquire(
                timeout=-1 if timeout is None else max(0.0, timeout)
            )
        finally:
            # also if Ctrl-C comes when the lock has just been acquired
            if self._ended:
                self._let_through()

    def _let_through(self) -> None:
        """Let the next one who waits through, if nobody else has."""
        with contextlib.suppress(RuntimeError):  # somebody else has
            self._done.release()

    @property
    def finished(self) -> bool:
        """Whether the call has ended."""
        return self._ended

    def when_finished(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the working thread at the end, or now if that has come."""
        with self._lock:
            if not self.finished:
                self._callbacks.append(callback)
                return
        callback()

    def outcome(self) -> T:
        """Return the value of a finished call, or raise its error and traceback."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # the traceback would keep it alive in a circle
        return self.value  # type: ignore[return-value]  # finished without an error


class _Worker:
    """One thread and the queue that it takes its jobs from."""

    __slots__ = ("queue", "thread")

    def __init__(self, threads: Threads) -> None:
        self.queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self.thread = threading.Thread(
            target=threads.serve, args=(self,), name=threads.name, daemon=True
        )


class Threads:
    """The threads of one place: as many as there are calls at a time, kept for more.

    Args:
        name: What the threads are called.
        arrive: Called once on each new thread; brings it to its place.
    """

    def __init__(self, name: str, arrive: Callable[[], None]) -> None:
        self.name = name
        self._arrive = arrive
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Make a call on one of the threads and return its value or raise its error."""
        # a partial has no frame of its own in the traceback
        job = self.submit(functools.partial(function, *args, **kwargs))
        job.wait()
        return job.outcome()

    def call_undisturbed(
        self,
        call: Callable[[], T],
        *,
        cancel: Callable[[], None] = lambda: None,
        undo: Callable[[T], None] = lambda _: None,
    ) -> T:
        """Make a call to its end, even if the calling thread is interrupted.

        Args:
            call: The call.
            cancel: Called at an interruption, to have the call end sooner.
            undo: Called with the call's value if there was an interruption, since
                nobody else will ever see that value.

        Raises:
            BaseException: The interruption, or what the call raised.
        """
        job = self.submit(call)
        interruption: BaseException | None = None
        while True:
            try:
                job.wait()
                break
            except BaseException as error:  # Ctrl-C, or a test's timeout
                interruption = interruption or error
                cancel()
        if interruption is None:
            return job.outcome()
        if job.error is None:
            undo(job.outcome())
        raise interruption

    def submit(self, call: Callable[[], T]) -> Job[T]:
        """Hand a call to an idle thread, or to a new one.

        Raises:
            ClosedError: The place is closed.
        """
        job = Job(call, cwd=_working_directory())
        with self._lock:
            if self._closed:
                raise ClosedError(f"{self.name} is closed")
            worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = self._start_worker()
            worker.queue.put(job)
        return job

    def _start_worker(self) -> _Worker:
        worker = _Worker(self)
        self._all.add(worker)  # first: Ctrl-C may come while it starts
        try:
            worker.thread.start()
        except RuntimeError as error:  # which says no more than that
            self._all.discard(worker)
            raise KernelError(
                errno.EAGAIN,
                f"start a thread of {self.name}",
                advice=too_many_processes(),
            ) from error
        return worker

    def serve(self, worker: _Worker) -> None:
        """Work, on a thread of its own, until there is no more."""
        try:
            self._arrive()
            place = _place()
        except BaseException as error:  # told to whoever needs the thread
            self._refuse(worker, error)
            return
        while (job := worker.queue.get()) is not None:
            try:
                job.perform()
                reusable = self._is_reusable(worker, job, place)
                job.finish()
            except Cancelled:
                # it came too late, when the call itself had just ended
                reusable = False
                job.finish()
            if not reusable:
                return
            del job  # its value would live until the next one

    def _refuse(self, worker: _Worker, error: BaseException) -> None:
        """Tell the one who waits for this thread why it cannot be used."""
        with self._lock:
            self._all.discard(worker)
        job = worker.queue.get()
        if job is not None:
            job.error = error
            job.finish()

    def _is_reusable(self, worker: _Worker, job: Job[Any], place: str) -> bool:
        """Offer the thread for the next call, if it is where it should be."""
        strayed = _place() != place  # a call may enter a namespace and stay there
        with self._lock:
            if self._closed or strayed or isinstance(job.error, NamespaceRestoreError):
                self._all.discard(worker)
                return False
            self._idle.append(worker)
            return True

    def close(self, grace: float) -> None:
        """End all threads, and wait for them for up to `grace` seconds."""
        with self._lock:
            self._closed = True
            workers = set(self._all)
            self._idle.clear()
        for worker in workers:
            # also to those that are not idle: Ctrl-C may have kept a job from one
            worker.queue.put(None)
        deadline = time.monotonic() + grace
        for worker in workers:
            if worker.thread.is_alive():
                worker.thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            # here, where Ctrl-C is put off: it would get lost in what Python does
            # when a thread object goes
            self._all.clear()


def cancel(job: Job[Any]) -> None:
    """Raise `Cancelled` in the thread that works on `job`, at its next bytecode."""
    if job.thread is not None and not job.finished:
        raise_in_thread(job.thread, Cancelled)


def _place() -> str:
    return os.readlink("/proc/thread-self/ns/net")


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None  # it was removed


def _change_directory(path: str) -> None:
    """Go where the caller is: threads of a namespace have a directory of their own."""
    with contextlib.suppress(OSError):  # it may not be there any more
        os.chdir(path)
