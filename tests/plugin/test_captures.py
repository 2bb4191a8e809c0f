"""Packets that are kept for people: --netns-capture and --netns-artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP
from scapy.utils import rdpcap

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: One test that fails and one that passes; each has an answered echo.
TWO = """
    @pytest.mark.netns(CABLE)
    def test_bad(netns):
        assert not netns["left"].ping("right")

    @pytest.mark.netns(CABLE)
    def test_good(netns):
        assert netns["left"].ping("right")
"""


def files(inner: Inner) -> dict[str, int]:
    """Return how many echoes each file has that was kept."""
    kept = inner.path / "kept"
    return {
        str(path.relative_to(kept)): _echoes(path) for path in kept.rglob("*.pcapng")
    }


def _echoes(path: Path) -> int:
    return len([packet for packet in rdpcap(str(path)) if ICMP in packet])


@pytest.mark.parametrize(
    ("value", "kept"),
    [("failed", ["bad"]), ("all", ["bad", "good"]), ("none", []), (None, [])],
)
def test_which_tests(
    inner: Inner, plugin_args: tuple[str, ...], value: str | None, kept: list[str]
) -> None:
    """All packets of failed tests are kept, or of all, or of none."""
    inner.write(TWO)
    option = [f"--netns-capture={value}"] if value else []
    result = inner.run("--netns-artifacts=kept", *option, *plugin_args)
    result.assert_outcomes(passed=1, failed=1)
    assert files(inner) == {
        f"test_inner.py-test_{name}/network.pcapng": 4 for name in kept
    }
    if not kept:
        assert not (inner.path / "kept").exists()


def test_the_report(inner: Inner) -> None:
    """A failed test says where its packets are."""
    inner.write(TWO)
    result = inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    result.stdout.fnmatch_lines(
        [
            "*Captured netns packets call*",
            f"{inner.path}/kept/test_inner.py-test_bad/network.pcapng: * packets",
        ]
    )
    assert "test_good/" not in result.stdout.str()


def test_captures_of_the_test(inner: Inner) -> None:
    """What a failed test has captured itself is kept without being asked for."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_bad(netns):
            with netns["left"].capture("eth0"):
                netns["left"].ping("right")
            with netns.capture("left", "right", bpf_filter="icmp"):
                netns["left"].ping("right")
            netns["left"].capture()  # never begun
            assert False

        @pytest.mark.netns(CABLE)
        def test_good(netns):
            with netns["left"].capture("eth0"):
                netns["left"].ping("right")
        """
    )
    inner.run("--netns-artifacts=kept").assert_outcomes(passed=1, failed=1)
    assert files(inner) == {
        "test_inner.py-test_bad/capture-1-left-eth0.pcapng": 2,
        "test_inner.py-test_bad/capture-2-left-right.pcapng": 4,
    }


def test_nothing_without_a_directory(inner: Inner) -> None:
    """Without a directory nothing is written anywhere."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_bad(netns):
            with netns["left"].capture("eth0"):
                assert not netns["left"].ping("right")
        """
    )
    before = set(inner.path.rglob("*"))
    inner.run().assert_outcomes(failed=1)
    new = set(inner.path.rglob("*")) - before
    assert [path for path in new if path.suffix == ".pcapng"] == []


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_failures_of_fixtures(inner: Inner, when: str) -> None:
    """It does not matter when a test fails."""
    inner.write(
        f"""
        @pytest.fixture
        def fragile(netns):
            netns["left"].ping("right")
            assert {when != "setup"}
            yield
            assert {when != "teardown"}

        @pytest.mark.netns(CABLE)
        def test_bad(netns, fragile):
            assert {when != "call"}
        """
    )
    inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    assert files(inner) == {"test_inner.py-test_bad/network.pcapng": 4}


def test_networks_of_wider_scope(inner: Inner) -> None:
    """Of a network that was there before only what the test has seen is kept."""
    inner.write(
        """
        @pytest.fixture(scope="module")
        def shared(netns_manager):
            with netns_manager.build(CABLE) as network:
                network["left"].ping("right")
                yield network

        def test_first(shared):
            shared["left"].ping("right", count=2, interval=0)

        def test_second(shared):
            shared["left"].ping("right", count=3, interval=0)
        """
    )
    inner.run("--netns-artifacts=kept", "--netns-capture=all").assert_outcomes(passed=2)
    assert files(inner) == {
        "test_inner.py-test_first/network.pcapng": 4 + 8,
        "test_inner.py-test_second/network.pcapng": 12,
    }


def test_what_is_added(inner: Inner) -> None:
    """Machines and interfaces that are added later are captured on as well."""
    inner.write(
        """
        def test_bad(netns):
            netns.add(*CABLE)
            netns.add(Namespace("third"), Veth("left:eth1", "third",
                      address="10.0.1.1/24", peer_address="10.0.1.2/24"))
            netns["left"].ping("right")
            assert not netns["left"].ping("third")
        """
    )
    inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    assert files(inner) == {"test_inner.py-test_bad/network.pcapng": 8}
    (path,) = (inner.path / "kept").rglob("*.pcapng")
    seen = {str(packet.sniffed_on) for packet in rdpcap(str(path)) if ICMP in packet}
    assert seen == {"left:eth0", "right:eth0", "left:eth1", "third:eth0"}


def test_names(inner: Inner) -> None:
    """Whatever a test is called, its folder is inside the directory, and its own."""
    inner.write(
        """
        @pytest.mark.parametrize("text", ["../../x", "a b", "a-b", "ü"])
        @pytest.mark.netns(CABLE)
        def test_bad(netns, text):
            assert not netns["left"].ping("right")
        """
    )
    inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    kept = files(inner)
    assert len(kept) == 4
    assert all(path.count("/") == 1 for path in kept)
    assert set(kept.values()) == {4}


def test_ini_values(inner: Inner) -> None:
    """The ini-file's values do the same, relative to its own directory."""
    inner.write(TWO)
    inner.pytester.makeini("[pytest]\nnetns_artifacts = kept\nnetns_capture = failed\n")
    inner.run().assert_outcomes(passed=1, failed=1)
    assert files(inner) == {"test_inner.py-test_bad/network.pcapng": 4}


@pytest.mark.parametrize(
    ("ini", "arguments", "message"),
    [
        ("", ["--netns-capture=failed"], "needs --netns-artifacts=DIR"),
        ("netns_capture = all", [], "needs --netns-artifacts=DIR"),
        ("netns_capture = some", [], "'some', and not one of failed, all, none"),
        ("", ["--netns-capture=some"], "invalid choice: 'some'"),
    ],
)
def test_usage(inner: Inner, ini: str, arguments: list[str], message: str) -> None:
    """What does not fit together is said before any test runs."""
    inner.write(TWO)
    inner.pytester.makeini(f"[pytest]\n{ini}\n")
    result = inner.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])


def test_a_directory_that_cannot_be_written(inner: Inner) -> None:
    """The test's own failure is shown all the same."""
    inner.write(TWO)
    (inner.path / "kept").write_text("no directory")
    result = inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*assert not*", "*network.pcapng: cannot be written: Not a directory*"]
    )


def test_scapy_is_not_needed(inner: Inner) -> None:
    """Who does not look at packets does not pay for scapy."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_bad(netns):
            assert not netns["left"].ping("right")

        def test_modules():
            assert "scapy" not in sys.modules
        """
    )
    result = inner.run("--netns-artifacts=kept", "--netns-capture=failed")
    result.assert_outcomes(passed=1, failed=1)
    assert len(files(inner)) == 1
