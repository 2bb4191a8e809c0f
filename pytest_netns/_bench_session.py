"""The benchmarks of a session: collected as reports come, judged at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ._bench_options import options_of

if TYPE_CHECKING:
    from ._bench_options import BenchOptions
    from ._bench_results import BenchResults
    from .measurement import Measurement

#: The attribute of a report that takes measurements to where they are shown, also
#: from a worker of xdist, and into the files of plugins that write whole reports.
ATTRIBUTE = "netns_benchmarks"
#: Where a pytest configuration has what attaches measurements to the report of a test,
#: once there are some.
HAND_OVER = pytest.StashKey[Callable[[pytest.TestReport], None]]()
#: Exit statuses of runs that have got as far as they should.
_WHOLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class BenchSession:
    """Collects what tests have measured; a plugin of the process that shows it.

    Args:
        options: What is done with it.
        saved: What it is compared with; None is nothing.
    """

    def __init__(
        self, options: BenchOptions, saved: list[Measurement] | None = None
    ) -> None:
        self._options = options
        self._saved = saved
        self._of_test: dict[str, list[Any]] = {}
        self._failed: set[str] = set()
        self._workers = 0
        self._results: BenchResults | None = None

    @classmethod
    def from_config(cls, config: pytest.Config) -> BenchSession:
        """Read the options, and the saved run.

        Raises:
            pytest.UsageError: They are wrong, or it cannot be read.
        """
        options = options_of(config)
        return cls(options, options.saved())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a test has measured; if it runs again, that is what counts."""
        if report.when == "setup":
            self._of_test.pop(report.nodeid, None)
            self._failed.discard(report.nodeid)
        if report.failed:
            self._failed.add(report.nodeid)
        if brought := vars(report).get(ATTRIBUTE):
            self._of_test.setdefault(report.nodeid, []).extend(brought["measurements"])
            self._workers = brought["workers"]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge and write; fail the session if it shall."""
        if not self._of_test and self._options.save is None:
            return
        from ._bench_results import results_of

        is_whole = session.exitstatus in _WHOLE
        stopped = bool(session.shouldfail or session.shouldstop or not is_whole)
        self._results = results_of(
            self._options,
            self._of_test,
            self._failed,
            self._saved,
            remark=f"{workers_note(self._workers)}; -n 0 uses none"
            if self._workers
            else "",
            stopped=stopped,
        )
        if self._results.fails and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Show what was measured, and what was said of it."""
        if self._results is not None:
            self._results.show(terminalreporter)


def workers_note(workers: int) -> str:
    """Say what a reader must know of what was measured beside other tests."""
    return (
        f"measured under xdist with {workers} workers: tests on the others may have "
        "disturbed it"
    )
