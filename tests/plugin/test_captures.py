"""Packets that are kept for those who read the report of a failed test."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

ARTIFACTS = "--netns-artifacts=kept"
FAILED = ("--netns-capture=failed", ARTIFACTS)
ALL = ("--netns-capture=all", ARTIFACTS)

#: A test that fails, one that passes, and one that is skipped; each has said something.
OUTCOMES = """
    @pytest.mark.netns(CABLE)
    def test_failing(netns):
        netns["left"].ping("right")
        assert False, "the test's own failure"

    @pytest.mark.netns(CABLE)
    def test_passing(netns):
        netns["left"].ping("right")

    @pytest.mark.netns(CABLE)
    def test_skipped(netns):
        netns["left"].ping("right")
        pytest.skip("for a reason")
"""


def kept(inner: Inner, folder: str = "kept") -> dict[str, list[str]]:
    """Return the names of the files that are kept, by directory."""
    found: dict[str, list[str]] = {}
    for path in sorted((inner.path / folder).rglob("*")):
        if path.is_file():
            found.setdefault(path.parent.name, []).append(path.name)
        else:
            assert path.parent == inner.path / folder
            found.setdefault(path.name, [])
    return found


def echoes(path: Path) -> list[str]:
    """Return which interface has seen which echo, as tshark reads the file."""
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type"]
    shown = subprocess.run(
        ["tshark", "-r", path, "-Y", "icmp", *fields],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    return [line.replace("\t", " ") for line in shown.splitlines()]


#: One ping from left to right, as seen at both ends.
PING = ["left:eth0 8", "right:eth0 8", "right:eth0 0", "left:eth0 0"]


class TestRecording:
    """All that passes, kept without being asked for in a test."""

    @pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
    @pytest.mark.parametrize(
        ("value", "names"),
        [("failed", ["failing"]), ("all", ["failing", "passing", "skipped"])],
    )
    def test_which(
        self, inner: Inner, value: str, names: list[str], workers: tuple[str, ...]
    ) -> None:
        """Packets of failed tests are kept, or of all, each in its own directory."""
        inner.write(OUTCOMES)
        result = inner.run(f"--netns-capture={value}", ARTIFACTS, *workers)
        result.assert_outcomes(failed=1, passed=1, skipped=1)
        assert kept(inner) == {
            f"test_inner.py-test_{name}": ["network.pcapng"] for name in names
        }
        for directory in kept(inner):
            assert echoes(inner.path / "kept" / directory / "network.pcapng") == PING
        path = inner.path / "kept" / "test_inner.py-test_failing" / "network.pcapng"
        result.stdout.fnmatch_lines(
            ["*Captured netns packets call*", f"{path}: * packets"]
        )

    @pytest.mark.parametrize("arguments", [(), (ARTIFACTS,), ("--netns-capture=none",)])
    def test_none(self, inner: Inner, arguments: tuple[str, ...]) -> None:
        """Nothing is kept, nor said, unless it is wanted."""
        inner.write(OUTCOMES)
        result = inner.run(*arguments)
        result.assert_outcomes(failed=1, passed=1, skipped=1)
        result.stdout.no_fnmatch_line("*netns packets*")
        assert not (inner.path / "kept").exists()

    def test_passing(self, inner: Inner) -> None:
        """A run without failures leaves neither files nor directories."""
        inner.write(
            """
            @pytest.mark.netns(CABLE)
            def test_passing(netns):
                with netns["left"].capture("eth0"):
                    assert netns["left"].ping("right")

            @pytest.mark.netns(CABLE)
            @pytest.mark.xfail(reason="as it should")
            def test_expected(netns):
                with netns["left"].capture("eth0"):
                    assert not netns["left"].ping("right")
            """
        )
        inner.run(*FAILED).assert_outcomes(passed=1, xfailed=1)
        assert not (inner.path / "kept").exists()

    def test_ini(self, inner: Inner) -> None:
        """The ini-file says the same, with a directory beside it."""
        inner.pytester.makeini(
            "[pytest]\nnetns_capture = failed\nnetns_artifacts = some/where"
        )
        inner.write(OUTCOMES)
        elsewhere = inner.pytester.mkdir("elsewhere")
        inner.monkeypatch.chdir(elsewhere)
        inner.run("..").assert_outcomes(failed=1, passed=1, skipped=1)
        assert kept(inner, "some/where") == {
            "test_inner.py-test_failing": ["network.pcapng"]
        }
        inner.run("..", "--netns-capture=none").assert_outcomes(
            failed=1, passed=1, skipped=1
        )
        ours = {path.name for path in elsewhere.iterdir()} - {".benchmarks"}
        assert not ours  # that one is pytest-benchmark's

    @pytest.mark.parametrize(
        ("ini", "arguments", "message"),
        [
            (
                "",
                ("--netns-capture=failed",),
                "--netns-capture=failed needs --netns-ar",
            ),
            ("netns_capture = all", (), "--netns-capture=all needs --netns-artifacts="),
            (
                "netns_capture = sometimes",
                (ARTIFACTS,),
                "netns_capture is 'sometimes', and not one of failed, all, none",
            ),
            (
                "",
                ("--netns-capture=sometimes", ARTIFACTS),
                "invalid choice: 'sometimes'",
            ),
        ],
        ids=["nowhere", "nowhere-ini", "ini", "option"],
    )
    def test_usage(
        self, inner: Inner, ini: str, arguments: tuple[str, ...], message: str
    ) -> None:
        """What cannot be meant is said before anything runs."""
        inner.pytester.makeini(f"[pytest]\n{ini}")
        inner.write(OUTCOMES)
        result = inner.run(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert message in result.stderr.str()
        assert "Traceback" not in result.stderr.str()

    @pytest.mark.parametrize("when", ["setup", "call", "teardown", "strict"])
    def test_when(self, inner: Inner, when: str) -> None:
        """Whatever fails of a test, its packets are kept."""
        inner.write(
            f"""
            WHEN = {when!r}

            @pytest.fixture
            def fixture(netns):
                netns["left"].ping("right")
                assert WHEN != "setup"
                yield
                assert WHEN != "teardown"

            @pytest.mark.netns(CABLE)
            @pytest.mark.xfail(WHEN == "strict", reason="it should", strict=True)
            def test_it(netns, fixture):
                assert WHEN != "call"
            """
        )
        result = inner.run(*FAILED)
        outcomes = result.parseoutcomes()
        assert (
            outcomes
            == {
                "setup": {"errors": 1},
                "call": {"failed": 1},
                "teardown": {"passed": 1, "errors": 1},
                "strict": {"failed": 1},
            }[when]
        )
        (directory,) = kept(inner)
        assert echoes(inner.path / "kept" / directory / "network.pcapng") == PING
        result.stdout.fnmatch_lines(["*/network.pcapng: * packets"])

    def test_after_the_fixtures_of_a_network(self, inner: Inner) -> None:
        """What the network's own teardown finds is no reason to lose the packets."""
        inner.write(
            """
            @pytest.fixture
            def closed(netns_manager):
                network = netns_manager.build(CABLE)
                network["left"].ping("right")
                network.close()

            def test_closed(closed):
                assert False

            def test_within(netns_manager):
                with netns_manager.build(CABLE) as network:
                    with network["left"].capture("eth0"):
                        network["left"].ping("right")
                    assert False
            """
        )
        inner.run(*FAILED).assert_outcomes(failed=2)
        assert kept(inner) == {
            "test_inner.py-test_closed": ["network.pcapng"],
            "test_inner.py-test_within": [
                "capture-1-left-eth0.pcapng",
                "network.pcapng",
            ],
        }
        for directory in kept(inner):
            assert echoes(inner.path / "kept" / directory / "network.pcapng") == PING

    def test_of_a_module(self, inner: Inner) -> None:
        """Of a network for several tests, each has what passed while it ran."""
        inner.write(
            """
            @pytest.fixture(scope="module")
            def network(netns_manager):
                with netns_manager.build(CABLE) as network:
                    yield network

            def test_first(network):
                network["left"].ping("right", count=5, interval=0)
                assert False

            def test_second(network):
                network["left"].ping("right", count=3, interval=0)

            def test_third(network):
                network["left"].ping("right")
                assert False

            @pytest.mark.netns(Namespace("alone"))
            def test_fourth(netns):
                netns["alone"].ping("127.0.0.1")
                assert False
            """
        )
        inner.run(*FAILED).assert_outcomes(failed=3, passed=1)
        files = {
            name: [echoes(path) for path in sorted(folder.iterdir())]
            for name in ("first", "third", "fourth")
            for folder in [inner.path / "kept" / f"test_inner.py-test_{name}"]
        }
        assert files["first"] == [PING * 5]
        assert files["third"] == [PING]
        assert sorted(files["fourth"]) == [[], ["alone:lo 8", "alone:lo 0"]]

    def test_what_is_added(self, inner: Inner) -> None:
        """Namespaces and interfaces of later are recorded from when they are there."""
        inner.write(
            """
            def test_later(netns):
                netns.add(*CABLE)
                netns["left"].ping("right")
                netns.add(Veth("left", "right", subnet="10.9.0.0/24"))
                netns["left"].ping("10.9.0.2")
                assert False
            """
        )
        inner.run(*FAILED).assert_outcomes(failed=1)
        seen = echoes(inner.path / "kept" / "test_inner.py-test_later/network.pcapng")
        assert seen == [*PING, *(line.replace("eth0", "eth1") for line in PING)]

    def test_no_network(self, inner: Inner) -> None:
        """A failed test without networks has no packets."""
        inner.write("def test_failing(): assert False")
        result = inner.run(*FAILED)
        result.assert_outcomes(failed=1)
        result.stdout.no_fnmatch_line("*packets*")
        assert not (inner.path / "kept").exists()

    def test_without_scapy(self, inner: Inner) -> None:
        """Recording and keeping needs no scapy, which takes long to import."""
        inner.write(
            OUTCOMES
            + """
    def test_last():
        assert "scapy" not in sys.modules
"""
        )
        inner.run(*FAILED).assert_outcomes(failed=1, passed=2, skipped=1)
        assert kept(inner) == {"test_inner.py-test_failing": ["network.pcapng"]}

    def test_nothing_is_left(self, inner: Inner) -> None:
        """Of what was recorded nothing stays open, however the test ended."""
        inner.write(
            OUTCOMES
            + """
    def test_last():
        import leftovers
        leftovers.assert_nothing_left()
        eventually(lambda: "socket:" not in Path("/proc/self/maps").read_text())
        eventually(lambda: "capture" not in str(threading.enumerate()))
"""
        )
        inner.run(*ALL).assert_outcomes(failed=1, passed=2, skipped=1)


class TestCaptures:
    """What a test captures itself."""

    def test_kept(self, inner: Inner) -> None:
        """Of a failed test it is kept wherever there is a directory for it."""
        inner.write(
            """
            @pytest.mark.netns(CABLE)
            def test_failing(netns):
                netns["left"].ping("right")
                with netns["left"].capture("eth0", bpf_filter="icmp"):
                    netns["left"].ping("right")
                with netns.capture("left:eth0", "right", bpf_filter="icmp") as second:
                    netns["left"].ping("right")
                assert len(second) == 4
                netns["left"].capture("lo")  # never begun
                with netns["left"].capture("lo"):
                    assert False

            @pytest.mark.netns(CABLE)
            def test_passing(netns):
                with netns["left"].capture("eth0"):
                    netns["left"].ping("right")
            """
        )
        result = inner.run(ARTIFACTS)
        result.assert_outcomes(failed=1, passed=1)
        directory = inner.path / "kept" / "test_inner.py-test_failing"
        names = kept(inner)
        assert [name[:20] for name in names[directory.name]] == [
            "capture-1-left-eth0.",
            "capture-2-left-eth0-",
            "capture-3-left-lo.pc",
        ]
        first, second, third = sorted(directory.iterdir())
        assert echoes(first) == [PING[0], PING[3]]
        assert echoes(second) == PING
        assert echoes(third) == []
        for path, count in ((first, "2 packets"), (second, "4 packets")):
            result.stdout.fnmatch_lines([f"{path}: {count}"])

    def test_only_the_tests_own(self, inner: Inner) -> None:
        """What earlier tests captured on a network for several is not kept again."""
        inner.write(
            """
            @pytest.fixture(scope="module")
            def network(netns_manager):
                with netns_manager.build(CABLE) as network:
                    with network.capture("right:eth0"):
                        yield network

            def test_first(network):
                for _ in range(5):
                    with network["left"].capture("eth0"):
                        network["left"].ping("right")

            def test_second(network):
                with network["left"].capture("eth0"):
                    network["left"].ping("right")
                assert False
            """
        )
        inner.run(ARTIFACTS).assert_outcomes(failed=1, passed=1)
        (names,) = kept(inner).values()
        assert [re.sub(r"\d+", "N", name) for name in names] == [
            "capture-N-right-ethN.pcapng",
            "capture-N-left-ethN.pcapng",
        ]

    def test_a_wrong_filter(self, inner: Inner) -> None:
        """What is wrong with a test's own function does not hide the test's failure."""
        inner.write(
            """
            @pytest.mark.netns(CABLE)
            def test_failing(netns):
                with netns["left"].capture("eth0", bpf_filter=lambda p: p.typo):
                    netns["left"].ping("right")
                with netns["left"].capture("eth0", bpf_filter="icmp"):
                    netns["left"].ping("right")
                assert False, "the test's own failure"
            """
        )
        result = inner.run(ARTIFACTS)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "E*AssertionError: the test's own failure",
                "*/capture-1-left-eth0.pcapng: cannot be written: *typo*",
                "*/capture-2-left-eth0.pcapng: 2 packets",
            ]
        )
        assert kept(inner) == {
            "test_inner.py-test_failing": ["capture-2-left-eth0.pcapng"]
        }


class TestFiles:
    """Where files go, and what becomes of them if that is not possible."""

    def test_names(self, inner: Inner) -> None:
        """However a test is called, it has a directory of its own."""
        inner.write(
            """
            NAMES = ["a/b", "a b", "a-b", "../../x", "", ".", "é", "\\x00\\n", "[]",
                     "a" * 300, "a" * 299 + "b", "::", "-rf", "$(reboot)"]

            @pytest.mark.netns(Namespace("alone"))
            @pytest.mark.parametrize("name", NAMES)
            def test_it(netns, name):
                assert False
            """
        )
        inner.run(*FAILED).assert_outcomes(failed=14)
        directories = kept(inner)
        assert len(directories) == 14
        assert all(names == ["network.pcapng"] for names in directories.values())
        for name in directories:
            assert re.fullmatch(r"test_inner\.py-test_it[\w.=-]*", name, re.ASCII)
            assert len(name) < 200

    def test_the_same_once_more(self, inner: Inner) -> None:
        """The next run replaces what the one before has left."""
        inner.write(OUTCOMES)
        for _ in range(2):
            inner.run(*FAILED).assert_outcomes(failed=1, passed=1, skipped=1)
            assert kept(inner) == {"test_inner.py-test_failing": ["network.pcapng"]}

    @pytest.mark.parametrize("obstacle", ["file", "file-of-test", "full", "fifo"])
    def test_unwritable(self, inner: Inner, obstacle: str) -> None:
        """It is said in a line; the test's own failure is what counts."""
        target = inner.path / "kept" / "test_inner.py-test_failing"
        if obstacle == "file":
            target.parent.touch()
        else:
            target.parent.mkdir()
        if obstacle == "file-of-test":
            target.touch()
        if obstacle == "full":
            target.symlink_to("/dev/full")
        if obstacle == "fifo":
            os.mkfifo(target)
        inner.write(OUTCOMES)
        result = inner.run(*FAILED)
        result.assert_outcomes(failed=1, passed=1, skipped=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            [
                "E*AssertionError: the test's own failure",
                "*netns packets call*",
                f"{target}/network.pcapng: cannot be written: *",
            ]
        )
        result.stdout.no_fnmatch_line("*INTERNALERROR*")

    def test_read_by_scapy(self, inner: Inner) -> None:
        """A file can be read by what many tests have at hand."""
        inner.write(OUTCOMES)
        inner.run(*FAILED).assert_outcomes(failed=1, passed=1, skipped=1)
        path = inner.path / "kept/test_inner.py-test_failing/network.pcapng"
        assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
        read = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from scapy.all import *; print(rdpcap({str(path)!r}))",
            ],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
        assert "ICMP:4" in read


def test_without_privileges(inner: Inner, unprivileged: list[str]) -> None:
    """Where no network can be built, there is nothing to capture, and no error."""
    inner.write(OUTCOMES)
    result = inner.run_behind(unprivileged, *FAILED)
    assert result.parseoutcomes() == {"skipped": 3}
    assert not (inner.path / "kept").exists()
