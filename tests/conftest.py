"""Who may run: tests that build networks skip, or fail, with the plugin's reason."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Listen to what tests send: jobs in the background, and nohup, ignore it."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture
def privileged(request: pytest.FixtureRequest) -> None:
    """Skip where networks cannot be built, or fail under --netns-require."""
    request.getfixturevalue("netns_manager")


@pytest.fixture(autouse=True)
def _privileges_where_needed(request: pytest.FixtureRequest) -> None:
    """Ask for privileges in all of ``tests/privileged``."""
    if "privileged" in request.path.parts:
        request.getfixturevalue("privileged")
