"""Who may run: tests in ``tests/privileged`` build networks, all others do not."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _privileges_where_needed(request: pytest.FixtureRequest) -> None:
    """Skip privileged tests with the reason, or fail them under --netns-require."""
    if "privileged" in request.path.parts:
        request.getfixturevalue("netns_manager")
