from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

TESTS = """
def test_without_network():
    pass
"""


def test_heavy_imports_are_left_out(inner: Inner) -> None:
    """A run without networks imports nothing that takes time on the plugin's behalf."""
    inner.pytester.makepyfile(TESTS)
    inner.pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            heavy = {"asyncio", "ctypes", "iperf3", "pyroute2", "scapy", "subprocess"}
            print("heavy:", *sorted(heavy & sys.modules.keys()))
        """
    )

    def heavy(*arguments: str) -> set[str]:
        result = inner.run(*arguments, "-p", "no:xdist", "-p", "no:faulthandler")
        result.assert_outcomes(passed=1)
        (line,) = [line for line in result.outlines if line.startswith("heavy:")]
        return set(line.split()[1:])

    assert heavy() == heavy("-p", "no:netns")


def test_layers_are_left_out(inner: Inner) -> None:
    """A run without networks imports nothing of the layers that build them."""
    inner.pytester.makepyfile(
        """
        import sys

        def test_modules():
            parts = [name.split(".") for name in sys.modules]
            loaded = {rest[0] for top, *rest in parts if top == "pytest_netns" and rest}
            assert loaded == {
                "_bench_options",
                "_bench_session",
            "_rootless_options",
            "_sudo",
                "benchmarking",
                "fixtures",
                "markers",
                "plugin",
            "privileges",
                "session",
                "tracebacks",
            }
        """
    )
    inner.run().assert_outcomes(passed=1)


@pytest.mark.usefixtures("privileged")
def test_no_warnings(inner: Inner) -> None:
    """In Python's development mode, with warnings as errors, nothing is to be heard.

    ::

        left (10.0.0.1) --- br0 --- (10.0.0.2) right
    """
    inner.write(
        """
        pytestmark = pytest.mark.netns(
            Namespace("left"),
            Namespace("right"),
            Bridge("br0", subnet="10.0.0.0/24"),
            Veth("left", "br0"),
            Veth("right", "br0"),
        )

        @pytest.mark.parametrize("number", range(3))
        def test_everything(netns, number):
            left, right = netns
            assert left.ping("right")
            with left.popen(["sleep", "60"]), right:
                assert right.run(["true"]).returncode == 0
            left.popen(["sleep", "60"])
            assert left.call(os.getpid) == os.getpid()
            with right.socket() as server:
                server.bind(("", 80))
                server.listen()
                task = right.spawn(server.accept)
                left.call(socket.create_connection, ("right", 80)).close()
                task.result(10)[0].close()
            netns.add(Namespace("third"), Veth("third", "left"))
        """
    )
    result = inner.pytester.run(
        sys.executable,
        *("-X", "dev", "-W", "error", "-m", "pytest", "-W", "error"),
        *("--strict-markers", "-p", "no:cacheprovider", "-p", "no:asyncio"),
        *("-p", "no:hypothesispytest", "-p", "no:xdist"),
    )
    result.assert_outcomes(passed=3)
    result.stdout.no_re_match_line("=.* warning")
    assert str(result.stderr) == ""
