from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

CABLE_PICTURE = "left:eth0  10.0.0.1/24  *  10.0.0.2/24  right:eth0"


def reports(result: pytest.RunResult) -> dict[str, str]:
    """Return the report of each failed test, by the test's name."""
    parts = re.split(
        r"^_{3,} (?:ERROR at \w+ of )?(\w+) _{3,}$",
        str(result.stdout),
        flags=re.MULTILINE,
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_process_that_ends(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """A background process that ends by itself fails its test, and shows its output."""
    inner.write(
        """
        pytestmark = pytest.mark.netns(CABLE)

        def run(netns, script, **options):
            process = netns["left"].popen(["sh", "-c", script], **options)
            if "sleep" not in script:
                process.wait(20)
            return process

        def test_ends(netns):
            run(netns, "echo first words; echo last words >&2; exit 3")

        def test_is_killed(netns):
            run(netns, "kill -9 $$", name="victim")

        def test_succeeds_early(netns):
            run(netns, "true")

        def test_while_asserting(netns):
            run(netns, "echo cause; exit 3")
            assert not "the effect"

        def test_expected(netns):
            run(netns, "echo unheard; exit 3", expect_exit=True)

        def test_ended_by_us(netns):
            run(netns, "echo unheard; sleep 60").terminate()
            run(netns, "echo unheard; sleep 60").kill()
            with run(netns, "echo unheard; sleep 60"):
                pass

        def test_still_runs(netns):
            run(netns, "echo unheard; sleep 60")
        """
    )
    result = inner.run("-rA", *plugin_args)
    result.assert_outcomes(passed=3, failed=4)
    report = reports(result)
    assert (
        "background process 'sh' in namespace 'left' ended with exit code 3"
        in (report["test_ends"])
    )
    assert report["test_ends"].index("first words") < report["test_ends"].index(
        "last words"
    )
    assert (
        "'victim' in namespace 'left' was killed by SIGKILL" in report["test_is_killed"]
    )
    assert "ended with exit code 0" in report["test_succeeds_early"]
    assert "All traceback entries are hidden" not in report["test_ends"]
    # what is seen first may be the effect; the cause stands beside it
    assert "cause" in report["test_while_asserting"]
    assert "unheard" not in str(result.stdout)


def test_process_of_a_wider_scope(inner: Inner) -> None:
    """A process of a module that ends fails the test that runs meanwhile, once."""
    inner.write(
        """
        @pytest.fixture(scope="module")
        def server(netns_manager):
            with netns_manager.build(CABLE) as network:
                yield network["left"].popen(["sh", "-c", "sleep 60; exit 3"])

        def test_before(server):
            assert server.poll() is None

        def test_meanwhile(server):
            os.kill(server.pid, signal.SIGKILL)
            eventually(lambda: server.poll() is not None)

        def test_after(server):
            pass

        @pytest.fixture(scope="class")
        def ends_at_teardown(netns_manager):
            with netns_manager.build(CABLE) as network:
                process = network["left"].popen(["sh", "-c", "read line; exit 4"])
                yield
                process.wait(20)

        @pytest.fixture(scope="class")
        def noticed_by_nobody(netns_manager):
            with netns_manager.build(CABLE) as network:
                process = network["left"].popen(["sleep", "60"])
                yield
                os.kill(process.pid, signal.SIGKILL)
                process.wait(20)

        def test_last(noticed_by_nobody):
            pass
        """
    )
    result = inner.run()
    result.assert_outcomes(passed=3, failed=1, errors=1)
    report = reports(result)
    assert report.keys() == {"test_meanwhile", "test_last"}
    assert "'sleep' in namespace 'left' was killed by SIGKILL" in report["test_last"]


def test_output_of_processes(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """A failed test shows its network and its processes' output, and no other's."""
    inner.write(
        """
        def chatter(netns, words):
            netns["left"].popen(
                # goes on after its test, if it is let
                ["sh", "-c", f"while echo {words}; do sleep 0.01; done"],
                name="chatterer",
            ).wait_for_output(words)

        @pytest.mark.netns(CABLE)
        def test_good(netns):
            chatter(netns, "good words")

        @pytest.mark.netns(CABLE)
        def test_bad(netns):
            chatter(netns, "bad words")
            assert False

        @pytest.mark.netns(CABLE)
        def test_worse(netns):
            chatter(netns, "worse words")
            assert False

        def test_without_network():
            assert False

        def test_empty(netns):
            assert False

        @pytest.fixture
        def broken(netns):
            chatter(netns, "broken words")
            assert False

        @pytest.mark.netns(CABLE)
        def test_broken_fixture(broken):
            pass

        @pytest.mark.netns(CABLE)
        def test_skipped(netns):
            chatter(netns, "skipped words")
            pytest.skip("later")
        """
    )
    result = inner.run("-rA", *plugin_args)
    result.assert_outcomes(passed=1, failed=4, errors=1, skipped=1)
    report = reports(result)
    for name, words in (
        ("test_bad", "bad words"),
        ("test_worse", "worse words"),
        ("test_broken_fixture", "broken words"),
    ):
        assert "output of 'chatterer' in namespace 'left' (running)" in report[name]
        said = set(re.findall(r"^\w+ words$", report[name], flags=re.MULTILINE))
        assert said == {words}
        assert re.search(CABLE_PICTURE.replace("*", ".+"), report[name])
    for name in ("test_without_network", "test_empty"):
        assert "Captured netns" not in report[name]
        assert "words" not in report[name]


def test_tasks(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """A task that fails unobserved fails its test, with the task's own traceback."""
    inner.write(
        """
        pytestmark = pytest.mark.netns(CABLE)

        def spawn(netns, function, *args):
            task = netns["left"].spawn(function, *args)
            eventually(task.done)
            return task

        def compare(number):
            assert number == 4, "compared in the background"

        def test_unobserved(netns):
            spawn(netns, compare, 3)

        def test_observed(netns):
            with pytest.raises(AssertionError, match="background"):
                spawn(netns, compare, 3).result()

        def test_good(netns):
            spawn(netns, compare, 4)
            assert spawn(netns, lambda: 5).result() == 5

        def test_still_running(netns):
            server = netns["left"].socket()
            server.listen()
            netns["left"].spawn(server.accept)

        def test_next(netns):
            pass
        """
    )
    result = inner.run(*plugin_args)
    result.assert_outcomes(passed=4, failed=1)
    report = reports(result)["test_unobserved"]
    assert ">       assert number == 4" in report
    assert "assert 3 == 4" in report
    assert "pytest_netns/" not in report


def test_outcomes_inside_call(inner: Inner) -> None:
    """pytest.skip(), fail() and xfail() mean inside call() what they mean in a test."""
    inner.write(
        """
        pytestmark = pytest.mark.netns(CABLE)

        @pytest.mark.parametrize("outcome", ["skip", "fail", "xfail"])
        @pytest.mark.parametrize("way", ["call", "spawn"])
        def test_outcome(netns, outcome, way):
            left = netns["left"]
            if way == "call":
                left.call(getattr(pytest, outcome), "as it should")
            left.spawn(getattr(pytest, outcome), "as it should").result()

        def test_raises(netns):
            with pytest.raises(ZeroDivisionError):
                netns["left"].call(lambda: 1 / 0)
            with pytest.raises(SystemExit):
                netns["left"].call(sys.exit)
            with pytest.raises(KeyboardInterrupt):
                netns["left"].call(signal.raise_signal, signal.SIGINT)
        """
    )
    result = inner.run("-rsfx", "-k", "outcome")
    result.assert_outcomes(skipped=2, failed=2, xfailed=2)
    result.stdout.fnmatch_lines(["SKIPPED * as it should", "FAILED *as it should"])


def test_tracebacks(inner: Inner) -> None:
    """An assertion inside a namespace is explained, without frames of the package."""
    inner.pytester.makeconftest(
        """
        import pytest

        pytest.register_assert_rewrite("checks")
        """
    )
    inner.pytester.makepyfile(
        checks="""
        def check_equal(left, right):
            assert left == right
        """
    )
    inner.write(
        """
        from checks import check_equal

        pytestmark = pytest.mark.netns(CABLE)

        def test_call(netns):
            number = 3
            netns["left"].call(lambda: check_equal({"number": number}, {"number": 4}))

        def test_nested(netns):
            def outer():
                netns["right"].call(check_equal, [1, 2], [1, 3])
            netns["left"].call(outer)

        def test_entered(netns):
            with netns["left"]:
                check_equal("entered", "left")

        def test_result(netns):
            netns["left"].spawn(check_equal, "spawned", "called").result()

        def test_run(netns):
            netns["left"].run(["sh", "-c", "echo out; echo err >&2; exit 3"])

        def test_wait_until(netns):
            netns["left"].wait_until(lambda: check_equal(1, 2), timeout=0.01)

        def test_unknown(netns):
            netns["lfet"].run("true")
        """
    )
    result = inner.run()
    result.assert_outcomes(failed=7)
    report = reports(result)
    for name, *texts in (
        (
            "test_call",
            "assert {'number': 3} == {'number': 4}",
            "{'number': 3} != {'number': 4}",
        ),
        ("test_nested", "assert [1, 2] == [1, 3]", "At index 1 diff: 2 != 3"),
        ("test_entered", "assert 'entered' == 'left'"),
        ("test_result", "assert 'spawned' == 'called'"),
        ("test_run", "exit code 3", "out", "err"),
        ("test_wait_until", "assert 1 == 2"),
        ("test_unknown", "did you mean 'left'?"),
    ):
        for text in texts:
            assert text in report[name], name
        assert "pytest_netns/" not in report[name], name
        assert "/threading.py" not in report[name], name


def test_errors_that_no_line_is_to_blame_for(inner: Inner) -> None:
    """What cannot be built says why and where, and not how pytest calls fixtures."""
    inner.write(
        """
        @pytest.mark.netns(Namespace("a", sysctls={"net.ipv4.no_such_thing": 1}))
        def test_build(netns):
            pass

        @pytest.mark.netns(Namespace("a"))
        def test_program(netns):
            netns["a"].run(["no-such-program"])

        @pytest.mark.netns(Namespace("a"))
        def test_fault_of_ours(netns):
            pass

        @pytest.fixture
        def netns_topology(request, netns_topology, monkeypatch):
            if "fault" in request.node.name:
                monkeypatch.setattr("pytest_netns.manager.Fabric", None)
            return netns_topology
        """
    )
    result = inner.run()
    result.assert_outcomes(failed=1, errors=2)
    report = reports(result)
    blamed, *error, _, place = report["test_build"].strip().splitlines()
    assert blamed.startswith('>   @pytest.mark.netns(Namespace("a", sysctls=')
    assert re.match("E .*KernelError: cannot set sysctl 'net.ipv4.no_such_", error[0])
    assert error[1].startswith("E     declared by Namespace('a', sysctls=")
    assert len(error) == 2
    assert re.fullmatch(r"test_inner.py:\d+: KernelError", place)

    assert "\nFileNotFoundError: " in "\n" + report["test_program"]
    assert "MissingProgram: cannot run 'no-such-program'" in report["test_program"]
    assert "subprocess.py" not in report["test_program"]

    assert "'NoneType' object is not callable" in report["test_fault_of_ours"]
    assert "pytest_netns/manager.py" in report["test_fault_of_ours"]
    assert "_pytest/" not in report["test_fault_of_ours"]
