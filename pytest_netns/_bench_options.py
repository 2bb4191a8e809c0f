"""What is done with benchmarks, as the command line and the ini-file say it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .session import path_of

if TYPE_CHECKING:
    from ._bench_store import Store
    from .measurement import Measurement

#: Where saved runs are, below pytest's root directory.
_DIRECTORY = ".netns-benchmarks"
#: How much slower is slower, if nobody says it.
_THRESHOLD = 0.1
_PERCENT = r"([0-9]+(?:\.[0-9]+)?) ?%"


class BenchOptions:
    """What is done with the benchmarks of a session.

    Args:
        directory: Where saved runs are.
        save: Under which name they are saved.
        compare: With which saved run they are compared.
        threshold: How much slower is slower, as a part: 0.1 is 10 %; the session
            fails if something is. With None nothing fails.
        page: The HTML file to write.
    """

    def __init__(
        self,
        directory: str,
        *,
        save: str | None = None,
        compare: str | None = None,
        threshold: float | None = None,
        page: str | None = None,
    ) -> None:
        self.directory = directory
        self.save = save
        self.compare = compare
        self.threshold = _THRESHOLD if threshold is None else threshold
        self.fails = threshold is not None
        self.page = page

    def saved(self) -> list[Measurement] | None:
        """Read the saved run that is compared with; None if there is none.

        Raises:
            pytest.UsageError: It cannot be read.
        """
        if self.compare is None:
            return None
        from .errors import BenchmarkError

        try:
            return self.store().read(self.compare)
        except BenchmarkError as error:
            raise pytest.UsageError(f"--netns-bench-compare: {error}") from error

    def store(self) -> Store:
        """Return the saved runs."""
        from ._bench_store import Store

        return Store(self.directory)


def add_options(group: pytest.OptionGroup, parser: pytest.Parser) -> None:
    """Add the options; those that suit every run are also ini values."""
    group.addoption(
        "--netns-bench-save",
        metavar="NAME",
        help="save what benchmarks measure as NAME, for --netns-bench-compare; but not "
        "what failed tests have measured",
    )
    group.addoption(
        "--netns-bench-compare",
        metavar="NAME",
        help="compare what benchmarks measure with what was saved as NAME",
    )
    fail = "with --netns-bench-compare: fail if something is surely slower by more"
    where = f"where benchmarks are saved; by default {_DIRECTORY} in the root directory"
    page = "write an HTML page with plots of all benchmarks; needs matplotlib"
    for flag, metavar, text in (
        ("fail-if-slower", "PERCENT", f"{fail} than that, such as 10%%"),
        ("dir", "DIR", where),
        ("html", "PATH", page),
    ):
        group.addoption(f"--netns-bench-{flag}", metavar=metavar, help=text)
        name = f"netns_bench_{flag.replace('-', '_')}"
        parser.addini(name, f"the same as --netns-bench-{flag}", default="")


def options_of(config: pytest.Config) -> BenchOptions:
    """Read the options; the only place where they become arguments.

    Raises:
        pytest.UsageError: They are wrong, or do not fit together.
    """
    compare = _name(config, "compare")
    given = config.getoption("netns_bench_fail_if_slower")
    if given is not None and compare is None:
        raise pytest.UsageError(
            "--netns-bench-fail-if-slower needs --netns-bench-compare=NAME: slower "
            "than what?"
        )
    threshold = threshold_of(given or config.getini("netns_bench_fail_if_slower"))
    return BenchOptions(
        directory=path_of(config, "netns_bench_dir")
        or str(config.rootpath / _DIRECTORY),
        save=_name(config, "save"),
        compare=compare,
        threshold=threshold,
        page=_page(config),
    )


def _name(config: pytest.Config, option: str) -> str | None:
    name = config.getoption(f"netns_bench_{option}")
    if name is None:
        return None
    from ._bench_store import check_name

    try:
        check_name(name)
    except ValueError as error:
        raise pytest.UsageError(f"--netns-bench-{option}: {error}") from error
    return str(name)


def threshold_of(text: str) -> float | None:
    """Return the part that a percentage is; None if there is no text.

    Raises:
        pytest.UsageError: It is no percentage, or one that nothing can reach.
    """
    if not text:
        return None
    match = re.fullmatch(_PERCENT, text.strip())
    if match is None or not float(match[1]) < 100:
        raise pytest.UsageError(
            f"--netns-bench-fail-if-slower: {text!r} is no percentage below 100, such "
            "as '10%' or '2.5 %'"
        )
    return float(match[1]) / 100


def _page(config: pytest.Config) -> str | None:
    """Return where the page is written.

    Raises:
        pytest.UsageError: The command line wants one that cannot be made.
    """
    if config.getoption("netns_bench_html"):
        from importlib.util import find_spec

        if find_spec("matplotlib") is None:
            raise pytest.UsageError(
                "--netns-bench-html needs matplotlib, which is not installed: "
                "pip install 'pytest-netns[html]'"
            )
    return path_of(config, "netns_bench_html")
