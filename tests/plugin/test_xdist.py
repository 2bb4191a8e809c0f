"""Suites on several workers of xdist: what they say and share, and how they scale."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: Something of everything that a test can come to, and of all that it may use.
MIXED = """
    pytestmark = pytest.mark.netns(CABLE)

    def write(name, line):
        with Path(name).open("a") as file:
            file.write(line + "\\n")

    def worker():
        return os.environ.get("PYTEST_XDIST_WORKER", "alone")

    @pytest.fixture(scope="module")
    def shared(netns_manager):
        write("managers", f"{worker()} {os.getpid()} {id(netns_manager)}")
        with netns_manager.build(CABLE) as network:
            write("built", f"{__name__} {worker()}")
            yield network

    @pytest.fixture
    def broken(netns):
        yield
        netns["left"].popen(["echo", "in teardown"], expect_exit=True).wait()
        assert not "broken in teardown"

    @pytest.mark.parametrize("number", range(4))
    def test_shared(shared, netns, number):
        assert shared["left"].ping("right") and netns["left"].ping("right")
        assert shared["left"].inode != netns["left"].inode

    @pytest.mark.parametrize("number", range(2))
    def test_capture(netns, number):
        left, right = netns
        with left.capture("eth0", bpf_filter="icmp") as capture:
            assert left.ping("right")
            assert len(capture.wait(2)) == 2
        assert number == 0

    def test_names(netns):
        names = [path.name for path in Path("/run/netns").iterdir()]
        assert f"pytest-{os.getpid()}-left" in names

    def test_output(netns):
        process = netns["left"].popen(["sh", "-c", "echo some words; sleep 60"])
        process.wait_for_output("words")
        assert not netns["right"].run("hostname").stdout

    def test_ended(netns):
        netns["left"].popen(["sh", "-c", "echo last words; exit 3"], name="p").wait()

    def test_task(netns):
        netns["left"].spawn(lambda: 1 / 0)
        netns["right"].run(["sleep", "0.1"])

    def test_teardown(broken):
        pass

    def test_skipped(netns):
        pytest.skip("for a reason")

    @pytest.mark.xfail(reason="as it should", strict=True)
    def test_expected(netns):
        assert netns["left"].ping("10.0.0.9", timeout=0.1)

    @pytest.mark.netns(Namespace("third"), requires=["no-such-program"])
    def test_missing(netns):
        pass

    @pytest.mark.netns(Namespace("third", routes=[Route("10.9.0.0/24", dev="lo")]))
    def test_records(netns):
        assert [*netns["third"].routes()] == []
"""

#: Notes each report: its test, phase and outcome, and the text that is ours.
CONFTEST = """
    import json, os, re

    UNIQUE = re.compile(r"inode=[0-9]+|pid=[0-9]+|pid [0-9]+|0x[0-9a-f]+|[0-9.]+ ms")

    def pytest_runtest_logreport(report):
        if "PYTEST_XDIST_WORKER" in os.environ:
            return  # its controller has it, too
        sections = [
            (name, UNIQUE.sub("*", text))
            for name, text in report.sections if "netns" in name
        ]
        why = UNIQUE.sub("*", str(report.longrepr or ""))
        line = [report.nodeid, report.when, report.outcome, why, sections]
        with open("reports", "a") as file:
            file.write(json.dumps(line) + "\\n")
"""


class TestSame:
    """The same results, whoever runs the tests."""

    MODULES = ("test_one", "test_two", "test_three")

    @pytest.fixture(autouse=True)
    def _suite(self, inner: Inner) -> None:
        inner.pytester.makeconftest(CONFTEST)
        for name in self.MODULES:
            inner.write(MIXED, name)

    def run(self, inner: Inner, *arguments: str) -> list[str]:
        """Return all reports of a run, sorted."""
        for name in ("reports", "built", "managers"):
            (inner.path / name).unlink(missing_ok=True)
        inner.run("--netns-names", "-p", "no:terminalreporter", *arguments)
        return self.lines(inner, "reports")

    @staticmethod
    def lines(inner: Inner, name: str) -> list[str]:
        """Return what the tests have written, sorted."""
        return sorted((inner.path / name).read_text().splitlines())

    def test_reports(self, inner: Inner) -> None:
        """On 2 or 8 workers every test comes to what it comes to on none.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        alone = self.run(inner)
        text = "\n".join(alone)
        assert len(alone) == 3 * 44
        for outcome in ("passed", "failed", "skipped", "last words", "some words"):
            assert outcome in text
        assert text.count("Captured netns network call") > 3 * 4
        assert self.run(inner, "-n", "2", "--dist=loadfile") == alone
        managers = self.lines(inner, "managers")
        assert {line.split()[0] for line in managers} == {"gw0", "gw1"}

    @pytest.mark.parametrize("how", ["-n2", "-n8 --dist=worksteal"])
    def test_outcomes(self, inner: Inner, how: str) -> None:
        """Where modules are torn apart, too; but for the other networks on a worker.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        alone, beside = self.run(inner), self.run(inner, *how.split())
        for one, other in zip(alone, beside, strict=True):
            assert json.loads(one)[:-1] == json.loads(other)[:-1]
        if "-n8" in how:  # two workers may come to share three modules without it
            assert len(self.lines(inner, "built")) > 3

    @pytest.mark.parametrize("how", ["loadscope", "loadfile"])
    def test_shared_networks(self, inner: Inner, how: str) -> None:
        """Tests of a module stay together, and their network is built once.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        self.run(inner, "-n", "2", f"--dist={how}")
        built = [line.split()[0] for line in self.lines(inner, "built")]
        assert built == sorted(self.MODULES)
        managers = self.lines(inner, "managers")
        # one to a worker, who is a process
        assert len({line.split()[0] for line in managers}) == 2
        assert len({tuple(line.split()[1:]) for line in managers}) == 2

    def test_numbers_of_workers(self, inner: Inner) -> None:
        """As many workers as there are processors, or as many as one allows."""
        arguments = ("-k", "test_shared", "--dist=loadfile")
        reports = self.run(inner, "-n", "logical", "--maxprocesses=3", *arguments)
        assert len(reports) == 3 * 4 * 3
        assert {'"passed"'} == {line.split(", ")[2] for line in reports}


class TestEnds:
    """Runs that do not come to their end, or workers that do not."""

    TESTS = """
    pytestmark = pytest.mark.netns(CABLE)

    @pytest.mark.parametrize("number", range(40))
    def test_fails(netns, number):
        netns["left"].popen(["sleep", "600"])
        assert netns["left"].ping("right")
        assert number < 1
    """

    @pytest.mark.parametrize("argument", ["-x", "--maxfail=2"])
    def test_first_failure(self, inner: Inner, argument: str) -> None:
        """After the last failure that is allowed workers end, and leave nothing.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(self.TESTS)
        result = inner.run("-n", "2", argument)
        assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
        assert result.parseoutcomes()["failed"] < 10
        result.stdout.fnmatch_lines("*stopping after * failures*")
        assert inner.remains() == ""

    @pytest.mark.parametrize("crash", ["os._exit(3)", "ctypes.string_at(0)"])
    def test_crash(self, inner: Inner, crash: str) -> None:
        """A worker that dies is replaced; later tests have networks as ever.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            f"""
            import ctypes

            pytestmark = pytest.mark.netns(CABLE)

            @pytest.mark.parametrize("number", range(6))
            def test_one(netns, number):
                netns["right"].popen(["sleep", "600"])
                assert netns["left"].ping("right")
                if number == 2:
                    {crash}
            """
        )
        result = inner.run("-n", "1", "--netns-names", "-p", "no:faulthandler")
        result.assert_outcomes(passed=5, failed=1)
        result.stdout.fnmatch_lines(["*replacing crashed worker gw0*"])
        assert inner.remains() == ""


def test_scaling(
    inner: Inner, record_property: Callable[[str, object], None], *, soaks: bool
) -> None:
    """Two workers run tests that wait at least 1.8 times as fast as one.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.write(
        """
        @pytest.fixture(scope="session", autouse=True)
        def begun(request):
            before = time.monotonic()
            yield
            Path(f"ended-{os.getpid()}").write_text(f"{before} {time.monotonic()}")

        @pytest.mark.netns(CABLE)
        @pytest.mark.parametrize("number", range(20))
        def test_waiting(netns, number):
            left, right = netns
            with left.socket(type=socket.SOCK_DGRAM) as one:
                one.settimeout(0.2)  # as long as an answer may take
                with pytest.raises(TimeoutError):
                    one.recv(1)
        """
    )

    def seconds(*arguments: str) -> float:
        """Return how long it took from the first test's begin to the last one's end."""
        inner.run(*arguments).assert_outcomes(passed=20)
        files = list(inner.path.glob("ended-*"))
        times = [[float(word) for word in one.read_text().split()] for one in files]
        for one in files:
            one.unlink()
        assert len(times) == int(arguments[1])
        return max(end for _, end in times) - min(begin for begin, _ in times)

    ratios: list[float] = []
    deadline = time.monotonic() + 100
    wanted = 5 if soaks else 1
    while len(ratios) < wanted or (
        median(ratios) < 1.8 and time.monotonic() < deadline
    ):
        ratios.append(seconds("-n", "1") / seconds("-n", "2"))
    record_property("figure", f"{median(ratios):.2f}")
    assert median(ratios) >= 1.8, ratios
