"""Benchmarks in a session: their table, saved runs, comparisons, and pages.

Measurements are made up (see made_up.py); what is done with them is not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._bench_json import read_document

if TYPE_CHECKING:
    from pytest_netns.measurement import Measurement

    from .conftest import Inner

needs_matplotlib = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="needs matplotlib"
)

PLUGIN = ("-p", "made_up")
SLOWER = "netns benchmarks: slower than main"

#: A proxy that is as good as the environment says.
PROXY = """
    FACTOR = float(os.environ.get("FACTOR", "1"))

    @pytest.mark.parametrize("proxy", ["mine", "an other"])
    def test_proxy(noted, proxy):
        noted(ratio_of=0.6 * FACTOR)
"""


@pytest.fixture(autouse=True)
def _made_up(inner: Inner) -> None:
    inner.pytester.makepyfile(
        made_up=Path(__file__).with_name("made_up.py").read_text(encoding="utf-8")
    )
    inner.monkeypatch.setenv("PYTHONPATH", str(inner.path))
    inner.monkeypatch.setenv("COLUMNS", "100")


def section(result: pytest.RunResult) -> str:
    """Return what the run says of benchmarks, and all behind that."""
    return str(result.stdout).partition("= netns benchmarks =")[2]


def saved(inner: Inner, name: str = "main") -> list[Measurement]:
    """Return a saved run."""
    path = inner.path / ".netns-benchmarks" / f"{name}.json"
    return read_document(json.loads(path.read_text(encoding="utf-8")))


class TestTable:
    """What everybody sees at the end of a run."""

    def test_shown(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Each measurement is shown with its test, also from a worker of xdist."""
        inner.write(PROXY)
        result = inner.run(*PLUGIN, *plugin_args)
        result.assert_outcomes(passed=2)
        text = section(result)
        for proxy in ("mine", "an other"):
            assert text.count(f"test_inner.py::test_proxy[{proxy}]") == 1
        assert text.count("throughput") == 2
        assert text.count("0.60x (0.60 to 0.61)") == 2

    @pytest.mark.parametrize("argument", ["-q", "-v", "-rA", "--tb=no"])
    def test_always(self, inner: Inner, argument: str) -> None:
        """How much else is said does not matter."""
        inner.write(PROXY)
        assert section(inner.run(*PLUGIN, argument)).count("client to server") == 2

    def test_narrow(self, inner: Inner) -> None:
        """It is not wider than the terminal."""
        inner.write(PROXY)
        inner.monkeypatch.setenv("COLUMNS", "60")
        lines = section(inner.run(*PLUGIN)).splitlines()
        assert len(lines) > 12
        assert max(map(len, lines)) <= 60

    def test_none(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Nothing is said, and nothing imported, where nothing was measured."""
        inner.pytester.makepyfile(
            """
            import sys

            def test_nothing():
                loaded = {name for name in sys.modules if "pytest_netns._bench" in name}
                assert loaded <= {
                    "pytest_netns._bench_options",
                    "pytest_netns._bench_session",
                }
            """
        )
        result = inner.run(*plugin_args)
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*netns benchmarks*")

    def test_failed(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """What a failed test has measured is shown, and that it has failed."""
        inner.write(
            """
            def test_good(noted):
                noted(name="good")

            def test_bad(noted):
                noted(name="bad")
                assert False

            @pytest.mark.xfail(reason="known", strict=True)
            def test_expected(noted):
                noted(name="expected")
                assert False
            """
        )
        result = inner.run(*PLUGIN, *plugin_args)
        result.assert_outcomes(passed=1, failed=1, xfailed=1)
        text = section(result)
        marked = text.partition("bad: client to server")[2]
        assert "note: its test failed" in marked
        assert text.count("its test failed") == 1

    def test_fixtures(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Measurements of setup and teardown belong to their test, too."""
        inner.write(
            """
            @pytest.fixture
            def around(noted):
                noted(name="before")
                yield
                noted(name="after")

            def test_one(around, noted):
                noted(name="meanwhile")
            """
        )
        result = inner.run(*PLUGIN, *plugin_args)
        result.assert_outcomes(passed=1)
        found = re.findall(r"^(\w+): client", section(result), re.MULTILINE)
        assert found == ["before", "meanwhile", "after"]

    def test_run_again(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Of a test that is run again the last run counts, and whether that failed."""
        inner.pytester.makeconftest(
            """
            from _pytest.runner import runtestprotocol

            def pytest_runtest_protocol(item, nextitem):
                for _ in range(3):
                    item._initrequest()
                    for report in runtestprotocol(item, nextitem=nextitem, log=False):
                        if report.failed:
                            report.outcome = "rerun"
                        item.ihook.pytest_runtest_logreport(report=report)
                return True

            def pytest_report_teststatus(report):
                if report.outcome == "rerun":
                    return "rerun", "R", "RERUN"
            """
        )
        inner.write(
            """
            runs = []

            def test_flaky(noted):
                runs.append(1)
                noted(name=f"run {len(runs)}")
                assert len(runs) == 3
            """
        )
        text = section(inner.run(*PLUGIN, *plugin_args))
        assert re.findall(r"^(.*): client", text, re.MULTILINE) == ["run 3"]
        assert "its test failed" not in text

    def test_much(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Thousands of requests come from the workers to the file."""
        inner.write(
            """
            def test_much(noted):
                noted(requests=20_000)
            """
        )
        inner.run(*PLUGIN, "--netns-bench-save=main", *plugin_args)
        (one,) = saved(inner)
        assert len(one.requests["direct"]) == 20_000

    @pytest.mark.parametrize("argument", ["--collect-only", "-p no:terminal"])
    def test_without(self, inner: Inner, argument: str) -> None:
        """Runs without tests, or without a terminal, work as well."""
        inner.write(PROXY)
        result = inner.run(*PLUGIN, *argument.split(maxsplit=1))
        assert result.ret == 0
        assert section(result) == ""
        result.stderr.no_fnmatch_line("*Error*")


class TestReports:
    """What other plugins get to know."""

    @pytest.mark.parametrize(
        ("family", "expected"), [("xunit1", True), ("xunit2", False)]
    )
    def test_junit(
        self,
        inner: Inner,
        family: str,
        expected: bool,  # noqa: FBT001
        plugin_args: tuple[str, ...],
    ) -> None:
        """Figures are properties in JUnit's XML, if its schema knows properties."""
        inner.write(PROXY)
        inner.run(
            *PLUGIN, "--junitxml=x.xml", "-o", f"junit_family={family}", *plugin_args
        )
        tree = ET.parse(inner.path / "x.xml")  # noqa: S314  # our own
        assert len(tree.findall(".//testcase")) == 2
        found = {
            str(one.get("name")): str(one.get("value"))
            for one in tree.findall(".//testcase/properties/property")
        }
        if expected:
            assert re.match(r"10\.0+ Gbit/s \(", found["netns throughput direct"])
            assert found["netns throughput proxied/direct"].startswith("0.604x (")
        else:
            assert found == {}

    def test_reports(self, inner: Inner) -> None:
        """Reports have the measurements as data that JSON can have."""
        inner.pytester.makeconftest(
            """
            import json

            def pytest_runtest_logreport(report):
                if hasattr(report, "netns_benchmarks"):
                    print(json.dumps(report.netns_benchmarks, allow_nan=False)[:40])
            """
        )
        inner.write(PROXY)
        result = inner.run(*PLUGIN)
        result.stdout.fnmatch_lines(['*{"workers": 0, "measurements": [[]{"kind":*'])


class TestSaving:
    """Runs that are saved under a name."""

    def test_saved(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """A run is a JSON file, whole and readable by all who may read its folder."""
        inner.write(PROXY)
        result = inner.run(*PLUGIN, "--netns-bench-save=main", *plugin_args)
        path = inner.path / ".netns-benchmarks" / "main.json"
        result.stdout.fnmatch_lines([f"saved as main: {path}"])
        assert {one.test for one in saved(inner)} == {
            "test_inner.py::test_proxy[mine]",
            "test_inner.py::test_proxy[an other]",
        }
        assert [one.name for one in path.parent.iterdir()] == ["main.json"]
        umask = os.umask(0)
        os.umask(umask)
        assert path.stat().st_mode & 0o777 == 0o644 & ~umask

    def test_replaced(self, inner: Inner) -> None:
        """A run takes the place of the one that had its name."""
        inner.write(PROXY)
        inner.run(*PLUGIN, "--netns-bench-save=main")
        assert len(saved(inner)) == 2
        inner.run(*PLUGIN, "--netns-bench-save=main", "-k", "mine")
        (one,) = saved(inner)
        assert one.test == "test_inner.py::test_proxy[mine]"

    def test_failed(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """What a failed test has measured is no measure for others."""
        inner.write(
            """
            def test_good(noted):
                noted()

            def test_bad(noted):
                noted()
                assert False

            @pytest.fixture
            def broken():
                yield
                assert False

            def test_bad_end(noted, broken):
                noted()
            """
        )
        result = inner.run(*PLUGIN, "--netns-bench-save=main", *plugin_args)
        assert [one.test for one in saved(inner)] == ["test_inner.py::test_good"]
        result.stdout.fnmatch_lines(["saved as main: *, but for 2 of failed tests"])

    def test_unfinished(self, inner: Inner) -> None:
        """A run that has stopped early does not take the place of a whole one."""
        inner.write(
            """
            def test_good(noted):
                noted()

            def test_bad():
                assert "FACTOR" not in os.environ
            """
        )
        assert inner.run(*PLUGIN, "--netns-bench-save=main").ret == 0
        before = saved(inner)
        inner.monkeypatch.setenv("FACTOR", "1")
        result = inner.run(*PLUGIN, "--netns-bench-save=main", "-x")
        result.stdout.fnmatch_lines(
            ["not saved as main: the run has not come to its end"]
        )
        assert saved(inner) == before

    def test_nothing(self, inner: Inner) -> None:
        """Nothing is saved of nothing, which is said, and is a failure."""
        inner.write("def test_nothing(): pass")
        result = inner.run("--netns-bench-save=main")
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            ["not saved as main: no test that passed has measured anything"]
        )
        assert not (inner.path / ".netns-benchmarks").exists()

    def test_no_room(self, inner: Inner) -> None:
        """What cannot be written is said, and is a failure."""
        inner.write(PROXY)
        (inner.path / "file").touch()
        result = inner.run(
            *PLUGIN, "--netns-bench-save=main", "--netns-bench-dir=file/below"
        )
        result.assert_outcomes(passed=2)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["cannot save main: Not a directory"])

    def test_directory(self, inner: Inner) -> None:
        """A path on the command line starts where pytest was started, else its file."""
        inner.write(PROXY)
        sub = inner.path / "sub"
        sub.mkdir()
        inner.pytester.makeini("[pytest]\nnetns_bench_dir = of/ini")
        inner.monkeypatch.chdir(sub)
        inner.run(*PLUGIN, "--netns-bench-save=main", "..")
        inner.run(*PLUGIN, "--netns-bench-save=main", "..", "--netns-bench-dir=given")
        assert (inner.path / "of" / "ini" / "main.json").exists()
        assert (sub / "given" / "main.json").exists()

    @pytest.mark.parametrize("option", ["save", "compare"])
    def test_no_name(self, inner: Inner, option: str) -> None:
        """A name is no path, and cannot lead out of the directory."""
        inner.write(PROXY)
        result = inner.run(*PLUGIN, f"--netns-bench-{option}=../x")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        said = f"ERROR: --netns-bench-{option}: '../x' is no name for saved benchmarks"
        result.stderr.fnmatch_lines([f"{said}: *"])
        assert not (inner.path / ".netns-benchmarks").exists()


class TestComparing:
    """Runs against one that was saved."""

    GATE = ("--netns-bench-compare=main", "--netns-bench-fail-if-slower=10%")

    @pytest.fixture(autouse=True)
    def _saved(self, inner: Inner, _made_up: None) -> None:
        inner.write(PROXY)
        assert inner.run(*PLUGIN, "--netns-bench-save=main").ret == 0

    def test_the_same(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """What is as it was lets the run pass, and is shown."""
        result = inner.run(*PLUGIN, *self.GATE, *plugin_args)
        assert result.ret == 0
        text = section(result)
        assert "- netns benchmarks: compared with main, of 2023-11-1" in text
        assert len(re.findall(r"(?:throughput|latency) +same ", text)) == 4
        assert SLOWER not in text

    def test_slower(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """What is surely slower fails the run, though all tests pass; it says what."""
        inner.monkeypatch.setenv("FACTOR", "0.7")
        result = inner.run(*PLUGIN, *self.GATE, *plugin_args)
        result.assert_outcomes(passed=2)
        assert result.ret == 1
        listed = str(result.stdout).partition(SLOWER)[2]
        for proxy in ("mine", "an other"):
            assert f"test_inner.py::test_proxy[{proxy}]: client to server" in listed
        change = r"0\.604x then, 0\.42x now: -30 % \(.* to .*\)"
        assert len(re.findall(f"throughput, proxied/direct: {change}", listed)) == 2
        assert re.search(r"latency, proxied/direct: 1\.67x then, 2\.38x now", listed)

    def test_red(self, inner: Inner) -> None:
        """It is red."""
        inner.monkeypatch.setenv("FACTOR", "0.7")
        result = inner.run(*PLUGIN, *self.GATE, "--color=yes")
        assert re.search(rf"\x1b\[31m\x1b\[1m=+ {SLOWER} =+", str(result.stdout))

    def test_a_little_slower(self, inner: Inner) -> None:
        """The threshold says how much is too much."""
        inner.monkeypatch.setenv("FACTOR", "0.93")
        assert inner.run(*PLUGIN, *self.GATE).ret == 0
        gate = (self.GATE[0], "--netns-bench-fail-if-slower=2.5 %")
        assert inner.run(*PLUGIN, *gate).ret == 1

    def test_faster(self, inner: Inner) -> None:
        """What is faster is said, and no failure."""
        inner.monkeypatch.setenv("FACTOR", "1.5")
        result = inner.run(*PLUGIN, *self.GATE)
        assert result.ret == 0
        assert len(re.findall(r"(?:throughput|latency) +faster ", section(result))) == 4

    def test_no_gate(self, inner: Inner) -> None:
        """Without a threshold a run is compared, and does not fail."""
        inner.monkeypatch.setenv("FACTOR", "0.7")
        result = inner.run(*PLUGIN, "--netns-bench-compare=main")
        assert result.ret == 0
        assert len(re.findall(r"(?:throughput|latency) +SLOWER ", section(result))) == 4
        assert SLOWER not in section(result)

    def test_gate_of_the_ini_file(self, inner: Inner) -> None:
        """A threshold in the ini-file is that of all comparisons, and needs none."""
        inner.pytester.makeini("[pytest]\nnetns_bench_fail_if_slower = 10%")
        inner.monkeypatch.setenv("FACTOR", "0.7")
        assert inner.run(*PLUGIN).ret == 0
        assert inner.run(*PLUGIN, "--netns-bench-compare=main").ret == 1

    def test_failed_tests_stay_failed(self, inner: Inner) -> None:
        """A run that failed anyhow has pytest's own exit status."""
        inner.write(
            """
            def test_proxy(noted):
                noted(ratio_of=0.1)
                raise KeyboardInterrupt
            """
        )
        result = inner.run(*PLUGIN, *self.GATE)
        assert result.ret == pytest.ExitCode.INTERRUPTED

    def test_unstable(self, inner: Inner) -> None:
        """Numbers that nobody should believe are shown, and fail nothing."""
        inner.write(
            """
            @pytest.mark.parametrize("proxy", ["mine"])
            def test_proxy(noted, proxy):
                noted(ratio_of=0.05, spread=0.9, rounds=6)
            """
        )
        result = inner.run(*PLUGIN, *self.GATE)
        assert result.ret == 0
        text = section(result)
        assert "unstable: now: it may be off by " in text
        assert "in the saved run only:\n  test_inner.py::test_proxy[an other]" in text

    def test_new(self, inner: Inner) -> None:
        """What the saved run has not is said, and fails nothing."""
        inner.write("def test_new(noted): noted()")
        result = inner.run(*PLUGIN, *self.GATE)
        assert result.ret == 0
        assert "not in the saved run:\n  test_inner.py::test_new" in section(result)

    def test_another_machine(self, inner: Inner) -> None:
        """Of another machine only ratios are judged, and it is said so."""
        inner.write(
            """
            @pytest.mark.parametrize("proxy", ["mine"])
            def test_proxy(noted, proxy):
                machine = {"processor": "Slow 1", "processors": 8, "kernel": "6.18.1"}
                noted(speed=0.3, machine=machine)
            """
        )
        result = inner.run(*PLUGIN, *self.GATE)
        assert result.ret == 0
        text = section(result).partition("compared with")[2]
        assert "only ratios are judged" in text
        assert "processor: Fake 9000 then, Slow 1 now" in text
        assert "cost.cpu" not in text
        assert len(re.findall(r"(?:throughput|latency) +same ", text)) == 2

    def test_save_and_compare(self, inner: Inner) -> None:
        """With one name for both, it is compared with what was, and then saved."""
        before = saved(inner)
        inner.monkeypatch.setenv("FACTOR", "0.7")
        result = inner.run(*PLUGIN, *self.GATE, "--netns-bench-save=main")
        assert result.ret == 1
        assert saved(inner) != before
        assert inner.run(*PLUGIN, *self.GATE).ret == 0

    def test_group(self, inner: Inner) -> None:
        """The group that xdist adds to a test's name does not make it another one."""
        inner.write(
            """
            @pytest.mark.xdist_group("bench@group")
            @pytest.mark.parametrize("proxy", ["mine", "an other"])
            def test_proxy(noted, proxy):
                noted()
            """
        )
        result = inner.run(
            *PLUGIN, "--netns-bench-compare=main", "-n2", "--dist=loadgroup"
        )
        assert "not in the saved run" not in section(result)
        assert len(re.findall(r"(?:throughput|latency) +same ", section(result))) == 4


class TestUsage:
    """What is refused before any test runs."""

    @pytest.fixture(autouse=True)
    def _tests(self, inner: Inner, _made_up: None) -> None:
        inner.write(PROXY)

    def refused(self, inner: Inner, *arguments: str) -> str:
        """Return why pytest does not run."""
        result = inner.run(*PLUGIN, *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stdout.no_fnmatch_line("*passed*")
        return str(result.stderr)

    @pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
    def test_unknown(self, inner: Inner, workers: tuple[str, ...]) -> None:
        """Of a run that is not saved, those that are are named, and the nearest."""
        said = self.refused(inner, "--netns-bench-compare=mainn", *workers)
        assert "no benchmarks are saved as 'mainn': none are in " in said
        for name in ("main", "release-1.0"):
            assert inner.run(*PLUGIN, f"--netns-bench-save={name}").ret == 0
        said = self.refused(inner, "--netns-bench-compare=mainn", *workers)
        assert "there are: release-1.0, main; did you mean 'main'?" in said
        assert inner.run(*PLUGIN, "--netns-bench-compare=main").ret == 0

    def test_broken(self, inner: Inner) -> None:
        """A file that holds something else is named, with what is wrong with it."""
        path = inner.path / ".netns-benchmarks" / "main.json"
        path.parent.mkdir()
        path.write_text("[1]")
        said = self.refused(inner, "--netns-bench-compare=main")
        assert f"--netns-bench-compare: cannot read {path}: these are no" in said

    def test_threshold(self, inner: Inner) -> None:
        """How much slower is a percentage, and says so."""
        assert inner.run(*PLUGIN, "--netns-bench-save=main").ret == 0
        said = self.refused(
            inner, "--netns-bench-compare=main", "--netns-bench-fail-if-slower=0.1"
        )
        assert "'0.1' is no percentage below 100, such as '10%'" in said

    def test_threshold_alone(self, inner: Inner) -> None:
        """Slower than nothing makes no sense."""
        said = self.refused(inner, "--netns-bench-fail-if-slower=10%")
        assert "needs --netns-bench-compare=NAME" in said


class TestPages:
    """HTML pages of all that a run has measured."""

    @needs_matplotlib
    def test_page(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """The page has all measurements, and its directories are made."""
        inner.write(PROXY)
        result = inner.run(*PLUGIN, "--netns-bench-html=new/x.html", *plugin_args)
        assert result.ret == 0
        path = inner.path / "new" / "x.html"
        result.stdout.fnmatch_lines([f"page: {path}"])
        text = path.read_text(encoding="utf-8")
        assert "test_proxy[mine]" in text
        assert "test_proxy[an other]" in text

    @needs_matplotlib
    def test_ini(self, inner: Inner) -> None:
        """The ini-file may ask for it; a run without benchmarks writes none."""
        inner.write(PROXY + "\n    def test_nothing(): pass\n")
        inner.pytester.makeini("[pytest]\nnetns_bench_html = x.html")
        assert inner.run(*PLUGIN, "-k", "nothing").ret == 0
        assert not (inner.path / "x.html").exists()
        assert inner.run(*PLUGIN).ret == 0
        assert (inner.path / "x.html").exists()

    @pytest.fixture
    def no_matplotlib(self, inner: Inner) -> None:
        """See to it that matplotlib cannot be found."""
        inner.pytester.makepyfile(hidden="import sys; sys.modules['matplotlib'] = None")
        inner.monkeypatch.setenv("PYTEST_ADDOPTS", "-p hidden")

    @pytest.mark.usefixtures("no_matplotlib")
    def test_without_matplotlib(self, inner: Inner) -> None:
        """Without matplotlib the command line is refused; an ini-file's wish is not.

        What is in the way of a page then is said at the end.
        """
        inner.write(PROXY)
        result = inner.run(*PLUGIN, "--netns-bench-html=x.html")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*pip install 'pytest-netns?html?'"])
        inner.pytester.makeini("[pytest]\nnetns_bench_html = x.html")
        result = inner.run(*PLUGIN)
        result.assert_outcomes(passed=2)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["cannot write *x.html: *matplotlib*"])


def test_help(inner: Inner) -> None:
    """Each option is explained."""
    text = " ".join(str(inner.run("--help").stdout).split())
    for option in ("save", "compare", "fail-if-slower", "dir", "html"):
        assert f"--netns-bench-{option}=" in text
    assert "such as 10% " in text


def test_imports() -> None:
    """What every run pays for is two small files."""
    program = (
        "import sys, pytest_netns.plugin; print(*(name for name in sys.modules "
        "if name.startswith(('pytest_netns._bench', 'pytest_netns._reg'))))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, text=True, capture_output=True
    ).stdout.split()
    assert sorted(loaded) == [
        f"pytest_netns._bench_{name}" for name in ("options", "session")
    ]


@pytest.mark.usefixtures("privileged")
def test_real(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """What the fixture measures is shown, saved, and compared with itself.

    ::

        left (10.0.0.1) ------- (10.0.0.2) right
    """
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        @pytest.mark.parametrize("number", [1, 2])
        def test_latency(netns, netns_bench, number):
            left, right = netns
            netns_bench.latency(left, right, budget=1.0, name=f"number {number}")
        """
    )
    result = inner.run("--netns-bench-save=main", *plugin_args)
    result.assert_outcomes(passed=2)
    assert {(one.kind, one.test, one.name) for one in saved(inner)} == {
        ("latency", f"test_inner.py::test_latency[{number}]", f"number {number}")
        for number in (1, 2)
    }
    result = inner.run("--netns-bench-compare=main", *plugin_args)
    result.assert_outcomes(passed=2)
    text = section(result)
    assert "not in the saved run" not in text
    compared = text.partition("compared with main")[2]
    for number in (1, 2):
        assert f"test_latency[{number}]: number {number}: " in compared
    assert len(re.findall("latency, p50", compared)) >= 2
