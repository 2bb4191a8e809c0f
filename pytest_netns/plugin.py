"""The plugin: hooks of a few lines that hand over to the session.

Nothing of the kernel layers is imported here: a run without networks pays for
this file, `markers`, `session` and `fixtures`, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ._bench_options import add_options
from ._bench_session import HAND_OVER, BenchSession
from ._rootless_options import (
    add_rootless_option,
    enter_if_wanted,
    header_of,
    hint_for,
    tell_worker,
)
from ._sudo import give_caches_back
from .benchmarking import netns_agents, netns_bench, netns_iperf3
from .fixtures import netns, netns_manager, netns_topology
from .markers import DESCRIPTION, MARKER, errors_at_collection, refuse
from .session import CAPTURE, SESSION, NetnsSession, raise_failure
from .tracebacks import without_package_frames

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "netns",
    "netns_agents",
    "netns_bench",
    "netns_iperf3",
    "netns_manager",
    "netns_topology",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, each also an ini value."""
    group = parser.getgroup("netns", "network namespaces")
    for flag, text in (
        (
            "require",
            "fail, instead of skipping, where networks cannot be built; for CI",
        ),
        (
            "names",
            "name namespaces under /run/netns (pytest-PID-NAME), for `ip netns exec`",
        ),
    ):
        group.addoption(f"--netns-{flag}", action="store_true", help=text)
        same = f"the same as --netns-{flag}"
        parser.addini(f"netns_{flag}", same, type="bool", default=False)
    group.addoption(
        "--netns-artifacts",
        metavar="DIR",
        help="keep there what helps to understand a failed test: the packets of its "
        "captures, and the logs of Open vSwitch's daemons",
    )
    parser.addini(
        "netns_artifacts",
        "the same as --netns-artifacts; relative to the ini-file's directory",
        default="",
    )
    group.addoption(
        "--netns-capture",
        choices=CAPTURE,
        help="capture on every interface of every network, and keep the packets of "
        "failed tests, of all, or of none, in the directory of --netns-artifacts",
    )
    parser.addini("netns_capture", "the same as --netns-capture", default="none")
    add_rootless_option(group, parser)
    add_options(group, parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Enter a user namespace, if need be, before any conftest starts a thread."""
    enter_if_wanted(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the session, and who collects its benchmarks."""
    enter_if_wanted(config)  # a conftest has loaded this: nobody was asked before
    give_caches_back(config)
    config.addinivalue_line("markers", DESCRIPTION)
    config.stash[SESSION] = NetnsSession.from_config(config)
    if not hasattr(config, "workerinput"):  # of xdist: its controller collects
        config.pluginmanager.register(BenchSession.from_config(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist what its controller has come to, and listen to it."""
    from .termination import await_networks

    tell_worker(node.config, node.workerinput)
    await_networks(node)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is different in a user namespace."""
    return header_of(config)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Check every marker before the first test runs, and have its network built."""
    errors = errors_at_collection(items)
    if errors:
        refuse(config, items, errors)
    for item in items:
        if item.get_closest_marker(MARKER) and isinstance(item, pytest.Function):
            item.fixturenames[:] = _with_netns(item.fixturenames)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to note what belongs to this test."""
    item.config.stash[SESSION].begin_test(item.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose background processes or tasks failed unnoticed."""
    session = item.config.stash[SESSION]
    at_home = session.main_thread_is_home()  # or a fixture has brought it somewhere
    try:
        result = yield
    finally:
        if at_home:
            session.bring_main_thread_home()
        failures = session.take_failures()
    if failures:
        raise_failure(failures[0])
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the network and the output of its processes with a failed test.

    A test that came upon what this machine lacks is skipped, unless skips are not
    allowed. Packets are kept once it is known whether it has failed: it may be
    expected to.
    """
    session = item.config.stash[SESSION]
    if call.excinfo is not None and call.when != "teardown":
        call.excinfo = session.without_unsupported(call.excinfo)
    has_failed = call.excinfo is not None and not call.excinfo.errisinstance(
        pytest.skip.Exception
    )
    if call.excinfo is not None and not item.config.getoption("fulltrace"):
        call.excinfo = without_package_frames(call.excinfo, item)
    sections = session.sections() if has_failed else []
    if has_failed and (hint := hint_for(item, call.excinfo and call.excinfo.value)):
        sections.append(("rootless", hint))
    report = yield
    # to the report, not to the item: that one may be run again, and keeps them
    report.sections += [
        (f"Captured netns {title} {call.when}", text) for title, text in sections
    ]
    is_wanted = session.capture == "all" and call.when == "teardown"
    if (report.failed or is_wanted) and (kept := session.keep_packets(item.nodeid)):
        report.sections.append((f"Captured netns packets {call.when}", kept))
    if (hand_over := item.config.stash.get(HAND_OVER, None)) is not None:
        hand_over(report)
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what a broken session left open."""
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.stop()


def _with_netns(names: list[str]) -> list[str]:
    """Add the fixture `netns`: a marked test gets its network asked for or not."""
    return names if "netns" in names else ["netns", *names]
