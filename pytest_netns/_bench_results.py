"""What a session's benchmarks come to: a table, verdicts, files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ._bench_json import from_data
from ._bench_store import write
from ._bench_table import table
from ._regression import judge
from ._regression_table import comparison_lines, slower_lines
from .errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pytest

    from ._bench_options import BenchOptions
    from ._regression import Judgement
    from .measurement import Measurement

_FAILED = "its test failed"


@dataclass
class BenchResults:
    """What is shown at the end of a session.

    Attributes:
        options: What is done with benchmarks.
        measurements: What was measured.
        remark: What is to be known of all of them; may be empty.
        judgement: How it compares with a saved run.
        saved_at: When that was measured, in seconds since 1970.
        files: What was written, and what not.
        errors: What could not be written.
    """

    options: BenchOptions
    measurements: Sequence[Measurement]
    remark: str = ""
    judgement: Judgement | None = None
    saved_at: float = 0.0
    files: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether the session is a failure."""
        return bool(self.errors or self._failures)

    @property
    def _failures(self) -> list[str]:
        if self.judgement is None or not self.options.fails:
            return []
        return list(slower_lines(self.judgement))

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Write it to the terminal."""
        width = reporter.config.get_terminal_writer().fullwidth
        reporter.write_sep("=", "netns benchmarks")
        if self.measurements:
            reporter.write_line(table(self.measurements, width=width))
        reporter.write_line("")
        if self.remark:
            reporter.write_line(self.remark)
        if self.judgement is not None:
            self._show_judgement(reporter, self.judgement, width)
        for line in self.files:
            reporter.write_line(line)
        for line in self.errors:
            reporter.write_line(line, red=True)
        if failures := self._failures:
            name = self.options.compare
            title = f"netns benchmarks: slower than {name}"
            reporter.write_sep("=", title, red=True, bold=True)
            for line in failures:
                reporter.write_line(line, red=True)

    def _show_judgement(
        self, reporter: pytest.TerminalReporter, judgement: Judgement, width: int
    ) -> None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.saved_at))
        threshold = judgement.threshold * 100
        title = f"netns benchmarks: compared with {self.options.compare}, of {when}"
        reporter.write_sep("-", title)
        for line in comparison_lines(judgement, width):
            reporter.write_line(line, red="SLOWER" in line)
        reporter.write_line(
            f"slower, faster: the whole interval (99 %) is beyond {threshold:g} %; "
            "same: none of it is"
        )


def results_of(
    options: BenchOptions,
    of_test: Mapping[str, Sequence[object]],
    failed: Collection[str],
    saved: Sequence[Measurement] | None,
    *,
    remark: str = "",
    stopped: bool = False,
) -> BenchResults:
    """Compare what was measured, and write the files that are wanted.

    Args:
        options: What is wanted.
        of_test: The measurements as data, by the node ids of tests.
        failed: Which tests have failed: what they measured is no measure.
        saved: What to compare with; None is nothing.
        remark: What is to be known of all of them; may be empty.
        stopped: Whether the session ended early: what it measured is not all.
    """
    good, bad = [], []
    for test, measured in of_test.items():
        for one in map(from_data, measured):
            if test in failed:
                bad.append(replace(one, notes=(*one.notes, _FAILED)))
            else:
                good.append(one)
    results = BenchResults(options, [*good, *bad], remark)
    if saved is not None:
        results.judgement = judge(saved, results.measurements, options.threshold)
        results.saved_at = min((one.began for one in saved), default=0.0)
    if options.page is not None and results.measurements:
        _write_page(results, options.page)
    if options.save is not None:
        _save(results, options.save, good, stopped=stopped)
    return results


def _write_page(results: BenchResults, path: str) -> None:
    from ._bench_page import page

    try:
        write(path, page(results.measurements))
    except (OSError, UnsupportedError) as error:
        results.errors.append(f"cannot write {path}: {_reason(error)}")
    else:
        results.files.append(f"page: {path}")


def _save(
    results: BenchResults, name: str, good: Sequence[Measurement], *, stopped: bool
) -> None:
    if stopped:
        results.errors.append(f"not saved as {name}: the run has not come to its end")
        return
    if not good:
        results.errors.append(
            f"not saved as {name}: no test that passed has measured anything"
        )
        return
    try:
        path = results.options.store().save(name, good)
    except OSError as error:
        results.errors.append(f"cannot save {name}: {_reason(error)}")
        return
    left_out = len(results.measurements) - len(good)
    but = f", but for {left_out} of failed tests" if left_out else ""
    results.files.append(f"saved as {name}: {path}{but}")


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)
