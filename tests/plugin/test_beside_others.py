"""Beside plugins that shuffle tests, repeat them, or look at what they run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from scapy.utils import rdpcap

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")


class TestRandomly:
    """pytest-randomly: another order, and the same random numbers in each test."""

    TESTS = """
    import random

    def write(name, *lines):
        with Path(name).open("a") as file:
            print(*lines, sep="\\n", file=file)

    @pytest.fixture(scope="module")
    def shared(netns_manager):
        with netns_manager.build(CABLE) as network:
            write("built", __name__)
            yield network

    @pytest.mark.netns(CABLE)
    @pytest.mark.parametrize("number", range(4))
    def test_own(netns, netns_manager, shared, number):
        write("drawn", random.random())
        with netns_manager.build(CABLE) as third:
            for network in (netns, third):
                write("lladdrs", *(one.interface("eth0").lladdr for one in network))
                assert network["left"].ping("right")

    @pytest.mark.parametrize("number", range(4))
    def test_shared(shared, number):
        with shared["left"].capture("eth0") as capture:
            assert shared["right"].ping("left")
            assert len(capture.wait(2)) >= 2
        assert not shared["left"].pids()
    """

    @pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
    def test_order(self, inner: Inner, workers: tuple[str, ...]) -> None:
        """In any order modules share their networks, and nothing unique is drawn.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        for name in ("test_one", "test_two"):
            inner.write(self.TESTS, name)
        orders = set()
        drawn = []
        for seed in (1, 1, 2):
            for path in ("built", "drawn"):
                (inner.path / path).unlink(missing_ok=True)
            arguments = ("-p", "randomly", f"--randomly-seed={seed}", "-v", *workers)
            result = inner.run(*arguments, "--dist=loadscope")
            result.assert_outcomes(passed=16)
            orders.add(tuple(re.findall(r"test_\w+\.py::\S+", str(result.stdout))))
            assert self.lines(inner, "built") == ["test_one", "test_two"]
            drawn.append(self.lines(inner, "drawn"))
        assert workers or len(orders) == 2
        # the same seed gave the same numbers, but nobody the same address
        assert drawn[0] == drawn[1] != drawn[2]
        lladdrs = self.lines(inner, "lladdrs")
        assert len(lladdrs) == len(set(lladdrs)) == 3 * 32

    @staticmethod
    def lines(inner: Inner, name: str) -> list[str]:
        """Return what the tests have written, sorted."""
        return sorted((inner.path / name).read_text().splitlines())


class TestRerunFailures:
    """pytest-rerunfailures: a test that fails is run again."""

    NAMES = ("flaky", "hopeless")

    def test_again(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """The second attempt has a fresh network, and what the first left is kept.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            """
            @pytest.mark.netns(CABLE)
            def test_flaky(netns, netns_manager, request):
                left, right = netns
                assert netns_manager.networks == [netns]
                assert not left.pids() and len(left.interfaces) == 2
                attempt = request.node.execution_count
                netns.add(Namespace(f"n{attempt}"), Veth(f"n{attempt}", "left"))
                assert len(netns) == 3
                process = left.popen(["sh", "-c", f"echo at {attempt}; sleep 600"])
                process.wait_for_output("at")
                with left.capture("eth0", bpf_filter="icmp") as capture:
                    assert left.ping("right", count=attempt)
                    capture.wait(2 * attempt)
                assert attempt == 3, f"attempt {attempt}"

            @pytest.mark.netns(CABLE)
            def test_hopeless(netns):
                assert not netns["left"].ping("right")
            """
        )
        result = inner.run(
            *("-p", "rerunfailures", "--reruns=2", "-rR", "--netns-artifacts=kept"),
            *("--netns-capture=failed", *plugin_args),
        )
        outcomes = result.parseoutcomes()
        assert (outcomes["passed"], outcomes["failed"], outcomes["rerun"]) == (1, 1, 4)
        kept = inner.path / "kept"
        names = {str(path.relative_to(kept)) for path in kept.rglob("*.pcapng")}
        flaky, hopeless = (f"test_inner.py-test_{name}" for name in self.NAMES)
        assert names == {
            f"{flaky}/network.pcapng",
            f"{flaky}/capture-1-left-eth0.pcapng",
            f"{flaky}/attempt-2/network.pcapng",
            f"{flaky}/attempt-2/capture-1-left-eth0.pcapng",
            f"{hopeless}/network.pcapng",
            f"{hopeless}/attempt-2/network.pcapng",
            f"{hopeless}/attempt-3/network.pcapng",
        }
        # each attempt sends one more echo, seen when it is sent and answered
        for attempt, place in ((1, "."), (2, "attempt-2")):
            path = kept / flaky / place / "capture-1-left-eth0.pcapng"
            assert len(rdpcap(str(path))) == 2 * attempt

    def test_section(self, inner: Inner) -> None:
        """A test that fails for good shows the network of its last attempt alone.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            """
            @pytest.mark.netns(CABLE)
            def test_hopeless(netns, request):
                netns.add(Namespace(f"n{request.node.execution_count}"))
                netns["left"].popen(["sleep", "60"], name=f"p{len(netns)}")
                assert False
            """
        )
        text = str(inner.run("-p", "rerunfailures", "--reruns=2").stdout)
        assert text.count("Captured netns network call") == 1
        assert text.count("Captured netns output of") == 0
        assert text.count("10.0.0.1/24  ───  10.0.0.2/24") == 1
        assert re.search("^n3$", text, re.MULTILINE)
        assert not re.search("^n[12]$", text, re.MULTILINE)
