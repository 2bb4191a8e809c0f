"""Work that no signal handler interrupts: handlers run when it is done.

Python runs signal handlers on the main thread, between any two bytecodes, and
the one for Ctrl-C raises. Work in the kernel must not stop half-way: a namespace
that was made would belong to nobody, a thread could be left inside it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

Handler = Any  # what signal.signal() takes and gives


class DeferredSignals:
    """The signals that came while their handlers were put off."""

    def __init__(self) -> None:
        self._pending: list[tuple[Callable[..., object], int, FrameType | None]] = []

    def deliver(self) -> None:
        """Run the handlers of all signals that came, in order.

        Raises:
            BaseException: What a handler raises, such as `KeyboardInterrupt`.
        """
        pending, self._pending = self._pending, []
        with contextlib.ExitStack() as handlers:
            for handler, number, frame in reversed(pending):
                # the rest even if one raises
                handlers.callback(handler, number, frame)

    def put_off(self, handler: Callable[..., object]) -> Callable[..., None]:
        """Return a handler that remembers to call `handler`."""

        def remember(number: int, frame: FrameType | None) -> None:
            self._pending.append((handler, number, frame))

        return remember


@contextlib.contextmanager
def deferred_signals() -> Iterator[DeferredSignals]:
    """Put off all handlers that are written in Python, on the main thread.

    Other threads run none. The caller delivers what came, after the block; if the
    block raises, that has been done.
    """
    deferred = DeferredSignals()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return
    replaced: list[tuple[int, Handler]] = []
    try:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                replaced.append((number, handler))
                signal.signal(number, deferred.put_off(handler))
        yield deferred
    except BaseException:
        _restore(replaced)
        deferred.deliver()  # what came is not lost because of another error
        raise
    else:
        _restore(replaced)


def _restore(replaced: list[tuple[int, Handler]]) -> None:
    try:
        # Ctrl-C last: from then on it may come between any two bytecodes
        while replaced:
            signal.signal(*replaced[-1])
            replaced.pop()
    finally:
        if replaced:  # the handler of another signal, such as a timeout's, has raised
            _restore(replaced)


#: SIGINT is among the first to be replaced, and so the last to come back.
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
