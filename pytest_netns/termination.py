"""SIGTERM ends a run that has networks as Ctrl-C does: by its normal teardown.

By itself it would end Python on the spot; what is left then is ended by the
watcher, but no fixture is torn down and nothing is reported. A handler is there from
the first network of a session to its end, and only where there is none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

#: Of a second signal: so soon it is the same one, sent to the process and to its
#: group as timeout(1) does; later it means that somebody has no more patience.
_PATIENCE = 1.0
#: The same in a worker of xdist, whose controller passes the first signal on.
_PATIENCE_OF_WORKER = 5.0
#: As shells report a process that SIGTERM has ended.
EXIT_CODE = 128 + signal.SIGTERM
#: The attribute of a report by which a worker of xdist tells that it has networks: its
#: process number.
_ATTRIBUTE = "netns_worker"


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the session ends, and what it has set up is torn down.

    Like Ctrl-C it is no `Exception`: loops that try again do not swallow it.
    """


class Termination:
    """A plugin that turns SIGTERM into `Terminated`.

    The first signal ends the test, but no teardown: that goes on to its end. A second
    one, a second later or more, ends the process as if nobody listened.

    Args:
        is_worker: Whether this is a worker of xdist, which has a controller.
        workers: The workers of this controller, as they come.
    """

    def __init__(self, *, is_worker: bool, workers: Collection[int]) -> None:
        self._is_worker = is_worker
        self._patience = _PATIENCE_OF_WORKER if is_worker else _PATIENCE
        self._workers = workers
        self._came: float | None = None
        self._test = ""
        self._is_put_off = False
        signal.signal(signal.SIGTERM, self.handle)

    def handle(self, number: int, frame: object) -> None:
        """Raise `Terminated`, now or when a teardown is done; the handler.

        Raises:
            Terminated: At the first signal, but not in a teardown.
        """
        del number, frame
        now = time.monotonic()
        if self._came is None:
            self._came = now
            # by itself xdist lets them go on for five seconds
            for worker in filter(_is_child, self._workers):
                os.kill(worker, signal.SIGTERM)
            if not self._is_put_off:
                self._raise()
        elif now - self._came >= self._patience:
            self.stop()
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        """Leave SIGTERM to the kernel again, if nobody else has taken it."""
        if signal.getsignal(signal.SIGTERM) == self.handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin no further test: somebody has swallowed what was raised."""
        self._test = item.nodeid
        if self._came is not None:
            self._raise()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Note which test it is: in the setup of the first, nobody listened yet."""
        self._test = item.nodeid

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Let what is torn down after a test be torn down."""
        with self._put_off():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell the controller that there are networks."""
        report = yield
        if self._is_worker:
            setattr(report, _ATTRIBUTE, os.getpid())
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> None:
        """Leave of the traceback what pytest can show, and of ours what it does show.

        To look up the sources of all of it takes a second at times.
        """
        if excinfo.errisinstance(Terminated):
            excinfo.traceback = excinfo.traceback[:1]
        else:
            excinfo.traceback = excinfo.traceback.filter(_has_line)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session
    ) -> Generator[None, object, object]:
        """Let what is torn down at the end be torn down, and say why it was."""
        self._is_put_off = True  # from here on it ends anyway
        result = yield
        if self._came is not None and not self._is_worker:
            session.exitstatus = EXIT_CODE
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Stop listening when all is torn down."""
        self.stop()

    @contextlib.contextmanager
    def _put_off(self) -> Iterator[None]:
        had_come = self._came is not None
        self._is_put_off = True
        try:
            yield
        finally:
            self._is_put_off = False
            self._test = ""
            if self._came is not None and not had_come:
                self._raise()

    def _raise(self) -> None:
        raise Terminated(f"SIGTERM in {self._test}" if self._test else "SIGTERM")


class _Lookout:
    """A plugin of xdist's controller, which builds no network itself.

    Args:
        config: The controller's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._workers: set[int] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Listen once a worker has networks."""
        worker = vars(report).get(_ATTRIBUTE)
        if worker is not None and worker not in self._workers:
            self._workers.add(worker)
            listen(self._config, self._workers)


def listen(config: pytest.Config, workers: Collection[int] = ()) -> None:
    """Have SIGTERM end the session by its teardown, where it would end the process.

    Not with ``--pdb``, which would open a debugger instead.

    Args:
        config: That of the session.
        workers: The numbers of the processes that run its tests, if others do.
    """
    if (
        signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        or threading.current_thread() is not threading.main_thread()
        or config.getoption("usepdb")
    ):
        return
    is_worker = hasattr(config, "workerinput")
    config.pluginmanager.register(Termination(is_worker=is_worker, workers=workers))
    if is_worker:
        from ._syscalls import send_when_parent_dies

        # by itself a worker looks up from its test five seconds after that
        send_when_parent_dies(signal.SIGTERM)


def await_networks(node: Any) -> None:
    """Have xdist's controller listen as soon as a worker has networks."""
    manager = node.config.pluginmanager
    if not manager.has_plugin(_Lookout.__name__):
        manager.register(_Lookout(node.config), _Lookout.__name__)


def _has_line(entry: Any) -> bool:
    """Tell whether Python knows the line; a signal may come where there is none."""
    try:
        return isinstance(entry.lineno, int)
    except TypeError:
        return False


def _is_child(pid: int) -> bool:
    """Tell whether this is still a child of ours; a worker may be elsewhere."""
    from .privileges import status_of

    return status_of(pid, "PPid") == [str(os.getpid())]


#: What each thread had blocked before it forked.
_forking = threading.local()


def _is_ours() -> bool:
    return isinstance(
        getattr(signal.getsignal(signal.SIGTERM), "__self__", None), Termination
    )


def _hold_back() -> None:
    """Block SIGTERM before a fork: Python forgets what a child gets at its birth."""
    _forking.mask = None
    if _is_ours():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        _forking.mask = mask


def _leave_it_to_the_kernel() -> None:
    """Let SIGTERM end a forked child as it always did."""
    if _is_ours():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_through()


def _let_through() -> None:
    if (mask := getattr(_forking, "mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


os.register_at_fork(
    before=_hold_back,
    after_in_child=_leave_it_to_the_kernel,
    after_in_parent=_let_through,
)
