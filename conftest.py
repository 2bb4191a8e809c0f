"""The root of all tests: pytest takes plugins for tests of plugins only from here."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that makes tests of endurance as long as they claim to be."""
    parser.addoption(
        "--soak",
        action="store_true",
        help="run the tests of reliability at full length, which takes 45 minutes",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the figures that the tests of reliability have reached."""
    if not config.getoption("soak"):
        return
    terminalreporter.section("figures")
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.fixture(scope="session")
def soaks(request: pytest.FixtureRequest) -> bool:
    """Whether tests of reliability run at full length; otherwise a sample will do."""
    return bool(request.config.getoption("soak"))
