from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

TESTS = """
    @pytest.fixture(scope="module")
    def wide(netns_manager):
        with netns_manager.build(CABLE) as network:
            yield network

    @pytest.mark.netns(CABLE)
    def test_marked():
        Path("ran").touch()

    def test_fixture(netns):
        Path("ran").touch()

    def test_module(wide):
        Path("ran").touch()

    def test_without_network():
        pass
"""


def test_skipped_with_the_reason(
    inner: Inner, unprivileged: list[str], plugin_args: tuple[str, ...]
) -> None:
    """Without privileges the reason says what is missing, and two ways to get it."""
    inner.write(TESTS)
    result = inner.run_behind(unprivileged, "-rs", *plugin_args)
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED * namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN, which *",
            "*either: run as root*",
            "*sudo *pytest*",
            "*or rootless, in a user namespace*",
        ]
    )
    assert not (inner.path / "ran").exists()


@pytest.mark.parametrize(
    ("option", "ini"),
    [("--netns-require", ""), ("-v", "netns_require = true")],
    ids=["option", "ini"],
)
def test_failure_where_skips_are_not_allowed(
    inner: Inner, unprivileged: list[str], option: str, ini: str
) -> None:
    """With --netns-require, or the ini value of that name, the same is a failure."""
    inner.write(TESTS)
    inner.pytester.makeini(f"[pytest]\n{ini}\n")
    result = inner.run_behind(unprivileged, option)
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "network namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN, which *",
            "*a failure because of --netns-require*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (inner.path / "ran").exists()


def test_bad_markers_are_found_without_privileges(
    inner: Inner, unprivileged: list[str]
) -> None:
    """A declaration is checked even where its network cannot be built."""
    inner.write(
        """
        @pytest.mark.netns(Veth("left", "right"))
        def test_bad():
            pass
        """
    )
    result = inner.run_behind(unprivileged)
    result.stderr.fnmatch_lines(["ERROR: *test_inner.py:*: test_bad: UnknownName: *"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
