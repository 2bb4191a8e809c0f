"""Where this machine cannot do it: a skip, or a failure with --netns-require."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

FILTERED = Path(__file__).with_name("filtered.py")
#: Refuses what networks need to those with all privileges.
FORBIDDEN = [sys.executable, str(FILTERED), "unshare"]
#: Lets the inner tests find no program.
BARE = """
    @pytest.fixture(autouse=True, scope="module")
    def bare(netns_manager, tmp_path_factory):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
            yield

"""
#: What stands for a kernel without VLAN filtering, whatever this one's can do.
NO_VLAN_FILTERING = """
    @pytest.fixture(autouse=True, scope="module")
    def poor_kernel():
        from pytest_netns import _switches, builder

        def refuse(route, index, bridge):
            raise _switches.no_vlan_filtering(bridge)

        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(builder, "check_vlan_filtering", refuse)
            yield

    VLANS = Bridge("br0", namespace="gw", vlan_filtering=True)

"""
#: Hides the libraries from all that it runs, as if they were not installed.
WITHOUT_LIBRARIES = [
    *("unshare", "--mount", "sh", "-euc"),
    """
    for library in $(/sbin/ldconfig -p | sed -En 's/.*(libpcap|libiperf).* => //p'); do
        mount --bind /dev/null "$library"
    done
    exec "$@"
    """,
    "sh",
]

#: What is met -> (tests, all of which meet it; where it is met; words of the reason).
PLACES = {
    "the marker requires a program": (
        """
        @pytest.mark.netns(CABLE, requires=["no-such-program"])
        def test_it():
            pass
        """,
        "setup",
        r"'no-such-program' is not installed, required by the marker",
    ),
    "a topology needs a feature": (
        NO_VLAN_FILTERING
        + """
    @pytest.mark.netns(Namespace("gw"), VLANS)
    def test_it():
        pass
        """,
        "setup",
        r"the kernel lacks .*VLAN.*Bridge\('br0'",
    ),
    "add() needs a feature in a test": (
        NO_VLAN_FILTERING
        + """
    def test_it(netns):
        netns.add(Namespace("gw"), VLANS)
        """,
        "call",
        r"the kernel lacks .*VLAN.*Bridge\('br0'",
    ),
    "add() needs a feature in a fixture": (
        NO_VLAN_FILTERING
        + """
    @pytest.fixture
    def vlans(netns):
        netns.add(Namespace("gw"), VLANS)

    def test_it(vlans):
        pass
        """,
        "setup",
        r"the kernel lacks .*VLAN.*Bridge\('br0'",
    ),
    "a network of a module needs a feature": (
        NO_VLAN_FILTERING
        + """
    @pytest.fixture(scope="module")
    def wide(netns_manager):
        with netns_manager.build(Topology(Namespace("gw"), VLANS)) as network:
            yield network

    def test_it(wide):
        pass

    def test_again(wide):
        pass
        """,
        "setup",
        r"the kernel lacks .*VLAN.*Bridge\('br0'",
    ),
    "nft() needs a program": (
        BARE
        + """
    @pytest.mark.netns(CABLE)
    def test_it(netns):
        netns["left"].nft("list ruleset")
        """,
        "call",
        r"nft.* is not installed|there is no .*nft",
    ),
    "a record needs a program": (
        BARE
        + """
    @pytest.mark.netns(Namespace("gw", nftables="table inet t {}"))
    def test_it(netns):
        pass
        """,
        "setup",
        r"nft.* is not installed|there is no .*nft",
    ),
    "OVSBridge needs programs": (
        BARE
        + """
    @pytest.mark.netns(OVSBridge("sw"))
    def test_it(netns):
        pass
        """,
        "setup",
        r"Open vSwitch.*|ovs.* not installed",
    ),
    "a capture's filter needs a library": (
        """
        @pytest.mark.netns(CABLE)
        def test_it(netns):
            with netns["left"].capture("eth0", bpf_filter="icmp"):
                pass
        """,
        "call",
        r"libpcap",
    ),
    "netns_iperf3 needs a library": (
        """
        @pytest.mark.netns(CABLE)
        def test_it(netns, netns_iperf3):
            netns_iperf3(netns["left"], netns["right"], duration=0.1)
        """,
        "call",
        r"libiperf",
    ),
    "netns_bench needs a library": (
        """
        @pytest.mark.netns(CABLE)
        def test_it(netns, netns_bench):
            netns_bench.throughput(netns["left"], netns["right"], budget=0.5)
        """,
        "call",
        r"libiperf",
    ),
    "a task needs a program": (
        BARE
        + """
    @pytest.mark.netns(CABLE)
    def test_it(netns):
        netns["left"].spawn(netns["right"].nft, "list ruleset").result()
        """,
        "call",
        r"nft",
    ),
}


def run_all(inner: Inner, *arguments: str) -> dict[str, set[tuple[str, str]]]:
    """Run all of `PLACES`; return their outcomes, each with its message, by place."""
    for number, (tests, _, _) in enumerate(PLACES.values()):
        inner.write(tests, f"test_{number}")
    inner.run_behind(WITHOUT_LIBRARIES, "--junitxml=report.xml", *arguments)
    outcomes: dict[str, set[tuple[str, str]]] = {place: set() for place in PLACES}
    places = list(PLACES)
    for case in ET.parse(inner.path / "report.xml").iter("testcase"):  # noqa: S314  # pytest's own
        (outcome,) = [*case] or [ET.Element("passed")]
        number = int(case.attrib["classname"].removeprefix("test_"))
        message = outcome.get("message", "") + (outcome.text or "")
        outcomes[places[number]].add((outcome.tag, message))
    return outcomes


@pytest.mark.usefixtures("privileged")
class TestEveryPlace:
    """All places where a test may come upon what the machine lacks."""

    def test_is_a_skip(self, inner: Inner, plugin_args: tuple[str, ...]) -> None:
        """Wherever it is, the test is skipped, and the reason says what is missing."""
        for place, found in run_all(inner, *plugin_args).items():
            assert {outcome for outcome, _ in found} == {"skipped"}, (place, found)
            assert all(re.search(PLACES[place][2], text) for _, text in found), found

    def test_is_a_failure_where_skips_are_not_allowed(
        self, inner: Inner, plugin_args: tuple[str, ...]
    ) -> None:
        """With --netns-require the same fails, for the same reason."""
        for place, found in run_all(inner, "--netns-require", *plugin_args).items():
            _, when, reason = PLACES[place]
            expected = "error" if when == "setup" else "failure"
            assert {outcome for outcome, _ in found} == {expected}, (place, found)
            for _, text in found:
                assert re.search(reason, text), (place, text)
                assert "(a failure because of --netns-require)" in text, (place, text)


@pytest.mark.usefixtures("privileged")
def test_the_place_is_shown(inner: Inner) -> None:
    """A skip in the middle of a test names its line; so does the failure."""
    tests, _, _ = PLACES["add() needs a feature in a test"]
    inner.write(tests)
    place = inner.place('netns.add(Namespace("gw"), VLANS)').rpartition("/")[2]

    skipped = inner.run("-rs")
    skipped.stdout.fnmatch_lines([f"SKIPPED [[]1[]] {place}: the kernel lacks *"])
    failed = inner.run("--netns-require")
    failed.stdout.fnmatch_lines([f"{place}: Failed"])


@pytest.mark.usefixtures("privileged")
def test_a_command_of_the_test_that_does_not_exist_is_a_failure(inner: Inner) -> None:
    """It may be a typing error, which a skip would hide for ever."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_run(netns):
            netns["left"].run("no-such-program")

        @pytest.mark.netns(CABLE)
        def test_popen(netns):
            netns["left"].popen("no-such-program")
        """
    )
    inner.run().assert_outcomes(failed=2)


@pytest.mark.usefixtures("privileged")
def test_what_is_expected_is_no_skip(inner: Inner) -> None:
    """A test that looks for the error itself gets it."""
    tests, _, _ = PLACES["add() needs a feature in a test"]
    inner.write(
        tests.replace(
            "netns.add(Namespace",
            "with pytest.raises(MissingFeature): netns.add(Namespace",
        )
    )
    inner.run("--netns-require").assert_outcomes(passed=1)


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("option", [(), ("--netns-require",)], ids=["skip", "failure"])
def test_an_expected_failure_is_not_met_by_what_is_missing(
    inner: Inner, option: tuple[str, ...]
) -> None:
    """A test marked xfail is skipped like any other, where it cannot run."""
    tests, _, _ = PLACES["add() needs a feature in a test"]
    inner.write(tests.replace("def test_it", "@pytest.mark.xfail\n    def test_it"))
    result = inner.run(*option)
    if option:
        result.assert_outcomes(xfailed=1)  # it is a failure, as it is expected to be
    else:
        result.assert_outcomes(skipped=1)


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize(
    ("option", "outcomes"),
    [((), {"skipped": 3}), (("--netns-require",), {"errors": 2, "failed": 1})],
    ids=["skip", "failure"],
)
def test_what_is_forbidden(
    inner: Inner, option: tuple[str, ...], outcomes: dict[str, int]
) -> None:
    """To be refused what one has the privileges for is want of privilege, too."""
    inner.write(
        """
        @pytest.fixture(scope="module")
        def wide(netns_manager):
            with netns_manager.build(CABLE) as network:
                yield network

        @pytest.mark.netns(CABLE)
        def test_marked():
            pass

        def test_module(wide):
            pass

        def test_add(netns):
            netns.add(Namespace("left"))
        """
    )
    result = inner.run_behind(FORBIDDEN, "-rs", *option)
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(
        [
            "*cannot create it in namespace 'left': *(EPERM)*",
            "*this process has the capabilities for it, so a seccomp filter forbids *",
        ]
    )
