"""Beside pytest-timeout, with both of its methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

TIMEOUT = ("-p", "timeout")

#: What a test may be waiting for: as long as it takes, or longer than anybody waits.
WAITS = {
    "run": "left.run(['sleep', '60'])",
    "call": "left.call(left.socket(type=socket.SOCK_DGRAM).recv, 1)",
    "task": "left.spawn(left.socket(type=socket.SOCK_DGRAM).recv, 1).result()",
    "with": "with left, right: time.sleep(60)",
    "capture": "with left.capture('eth0') as capture: capture.wait(99, timeout=60)",
    "process": "left.popen(['sleep', '60']).wait()",
    "output": "left.popen(['sleep', '60']).wait_for_output('never', timeout=60)",
    "listening": "left.wait_listening(80, timeout=60)",
    "until": "left.wait_until(lambda: False, timeout=60)",
    "ping": "left.ping('10.0.0.9', count=9999, timeout=60)",
    "build": """while True:
            with netns_manager.build(CABLE) as network:
                network["left"].popen(["sleep", "60"])""",
    "add": """for number in itertools.count():
            netns.add(Namespace(f"n{number}"), Veth(f"n{number}", "left"))""",
}

TEST = """
    @pytest.mark.timeout(20)
    def test_before_{name}(netns, check):
        check()

    @pytest.mark.timeout(0.2, func_only=True)
    def test_{name}(netns, netns_manager, check):
        left, right = netns
        left.popen(["sleep", "600"])
        {wait}
"""

TESTS = """
    import itertools

    HOME = os.stat("/proc/thread-self/ns/net").st_ino
    pytestmark = pytest.mark.netns(CABLE)

    @pytest.fixture
    def check(netns):
        def check():
            assert os.stat("/proc/thread-self/ns/net").st_ino == HOME
            assert [*netns] == [netns["left"], netns["right"]]
            assert netns["left"].ping("right", timeout=10)
            assert not netns["left"].pids()

        return check

    @pytest.mark.timeout(20)
    def test_last(netns, check):
        check()
"""


def test_signal(inner: Inner) -> None:
    """After a timeout the main thread is home, and the next test has a fresh network.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    tests = "".join(TEST.format(name=name, wait=wait) for name, wait in WAITS.items())
    inner.write(tests + TESTS)
    result = inner.run(*TIMEOUT, "-rf")
    result.assert_outcomes(failed=len(WAITS), passed=len(WAITS) + 1)
    for name in WAITS:
        result.stdout.fnmatch_lines(f"FAILED *::test_{name} - Failed: Timeout *0.2s*")
    assert str(result.stdout).count("10.0.0.1/24  ───  10.0.0.2/24") >= len(WAITS)


def test_anywhere(inner: Inner) -> None:
    """A timeout at any moment ends its test, and never anything of the next.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.write(
        TESTS
        + """
    @pytest.mark.parametrize("number", [
        pytest.param(number, marks=pytest.mark.timeout(number / 500, func_only=True))
        for number in range(1, 51)
    ])
    def test_busy(netns, netns_manager, check, number):
        check()
        left, right = netns
        while True:
            with left.capture("eth0"), left, right:
                left.popen(["sleep", "600"])
                left.call(os.getpid)
            with netns_manager.build(CABLE) as network, network["right"] as third:
                third.spawn(third.socket(type=socket.SOCK_DGRAM).recv, 1)
                third.run(["true"])
    """
    )
    result = inner.run(*TIMEOUT, "-rf")
    result.assert_outcomes(failed=50, passed=1)
    assert str(result.stdout).count(" - Failed: Timeout ") == 50


def test_in_a_fixture(inner: Inner) -> None:
    """What a timeout has torn out of the fixture's hands is closed before it matters.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.pytester.makeconftest(
        """
        import pytest
        from pytest_netns import NetworkManager

        @pytest.fixture(scope="session", autouse=True)
        def torn(netns_manager):
            build = netns_manager.build

            def once(topology):
                build(topology)["left"].popen(["sleep", "600"])
                netns_manager.build = build
                pytest.fail("Timeout")

            netns_manager.build = once
        """
    )
    inner.write(
        """
    pytestmark = pytest.mark.netns(CABLE)

    def test_torn(netns):
        pass

    def test_next(netns, netns_manager):
        assert netns_manager.networks == [netns]
        assert netns["left"].ping("right", timeout=10)
    """
    )
    result = inner.run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines("*Failed: Timeout")


@pytest.mark.parametrize("name", ["run", "with", "capture", "build"])
def test_thread(inner: Inner, name: str) -> None:
    """Where the timeout's thread ends the process at once, nothing of it is left.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.write(TESTS + TEST.format(name=name, wait=WAITS[name]))
    result = inner.run(*TIMEOUT, "--timeout-method=thread", "-k", f"test_{name}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*+ Timeout +*", "*Stack of MainThread*"])
    result.stdout.no_fnmatch_line("*1 failed*")  # it did not come to that
    assert inner.remains() == ""
