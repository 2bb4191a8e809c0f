from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

BAD = """
    @pytest.mark.netns(Namespace("one"), Namespace("one"))  # twice
    def test_function():
        Path("ran").touch()

    @pytest.mark.netns(80)
    class TestClass:
        def test_of_class(self):  # a number
            Path("ran").touch()

        @pytest.mark.netns(required=["nc"])  # unknown keyword
        def test_keyword(self):
            Path("ran").touch()

    @pytest.mark.netns(requires=3)  # no program
    @pytest.mark.parametrize("number", [1, 2])
    def test_requires(number):
        Path("ran").touch()

    @pytest.mark.netns(Veth("left", "rihgt"), Namespace("left"), Namespace("right"))
    def test_names():
        Path("ran").touch()

    def test_good():
        Path("ran").touch()
"""


def test_active_by_itself(inner: Inner) -> None:
    """An installed plugin needs no configuration: its marker is there."""
    result = inner.run("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.netns([*]what, requires=()): build *"])
    assert result.ret == 0


@pytest.mark.usefixtures("privileged")
def test_joined_from_outside_in(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Markers of module, class and function make one network, in that order.

    ::

        outer --- middle --- inner
    """
    inner.write(
        """
        pytestmark = pytest.mark.netns(Namespace("outer"))

        @pytest.mark.netns(Namespace("middle"), Veth("outer", "middle"))
        class TestClass:
            @pytest.mark.netns(Topology(Namespace("inner")), Veth("middle", "inner"))
            def test_method(self, netns):
                assert [one.name for one in netns] == ["outer", "middle", "inner"]
                cable = netns.topology.records[-1]
                assert (cable.a, cable.b) == ("middle", "inner")
                assert len(netns["middle"].interfaces) == 3

            def test_without(self, netns):
                assert [one.name for one in netns] == ["outer", "middle"]

        def test_function(netns):
            assert [one.name for one in netns] == ["outer"]
        """
    )
    inner.run(*plugin_args).assert_outcomes(passed=3)


def test_bad_arguments(inner: Inner) -> None:
    """Each bad marker is reported with file and line, and no test runs."""
    inner.write(BAD)
    inner.pytester.makeconftest(
        """
        import pytest
        from pytest_netns.session import SESSION

        @pytest.hookimpl(tryfirst=True)
        def pytest_unconfigure(config):
            print("what builds networks:", config.stash[SESSION].manager)
        """
    )
    result = inner.run()
    of_class = "TestClass.test_of_class: TopologyError: 80 is neither *"
    keyword = "TestClass.test_keyword: TopologyError: *'required'*'requires'"
    names = "test_names: UnknownName: *'rihgt'*did you mean 'right'?*"
    result.stderr.fnmatch_lines(
        [
            f"ERROR: {inner.place('# twice')}: test_function: DuplicateName: *'one'*",
            f"ERROR: {inner.place('# a number')}: {of_class}",
            f"ERROR: {inner.place('# unknown keyword')}: {keyword}",
            f"ERROR: {inner.place('# no program')}: test_requires: TopologyError: *3*",
            f"ERROR: {inner.path}/test_inner.py:*: {names}",
        ]
    )
    # all sets of parameters have the same marker
    assert str(result.stderr).count("test_requires") == 1
    result.stdout.fnmatch_lines(["*no tests ran*", "what builds networks: None"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (inner.path / "ran").exists()


def test_bad_arguments_with_xdist(inner: Inner) -> None:
    """Workers of xdist report bad markers as errors of collection, and run no test."""
    inner.write(BAD)
    result = inner.run("-n", "2")
    result.stdout.fnmatch_lines(
        [
            f"{inner.place('# twice')}: test_function: DuplicateName: *'one'*",
            f"{inner.place('# unknown keyword')}: TestClass.test_keyword: *'required'*",
            "*= 5 errors in *",
        ]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (inner.path / "ran").exists()


REQUIRES = """
    pytestmark = pytest.mark.netns(CABLE, requires=("sh",))

    @pytest.mark.netns(requires="no-such-program")
    def test_missing(netns):
        Path("ran").touch()

    @pytest.mark.netns(requires=["sh"])
    def test_there(netns):
        assert netns["left"].run("sh -c 'exit 3'", check=False).returncode == 3
"""


@pytest.mark.usefixtures("privileged")
def test_missing_program(inner: Inner) -> None:
    """A test whose required program is missing is skipped, and the reason names it."""
    inner.write(REQUIRES)
    result = inner.run("-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED * program 'no-such-program' is not installed*install*"]
    )
    assert not (inner.path / "ran").exists()


@pytest.mark.usefixtures("privileged")
def test_missing_program_where_skips_are_failures(inner: Inner) -> None:
    """With --netns-require a missing program is a failure."""
    inner.write(REQUIRES)
    result = inner.run("--netns-require")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["program 'no-such-program' is not installed*", "*--netns-require*"]
    )
