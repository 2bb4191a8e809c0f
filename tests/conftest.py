"""Who may run: tests that build networks skip, or fail, with the plugin's reason."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Listen to Ctrl-C, which tests send: jobs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def privileged(request: pytest.FixtureRequest) -> None:
    """Skip where networks cannot be built, or fail under --netns-require."""
    request.getfixturevalue("netns_manager")


@pytest.fixture(autouse=True)
def _privileges_where_needed(request: pytest.FixtureRequest) -> None:
    """Ask for privileges in all of ``tests/privileged``."""
    if "privileged" in request.path.parts:
        request.getfixturevalue("privileged")
