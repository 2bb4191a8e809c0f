"""Markers that name a file. The network of most tests is that of ``lab.toml``.

::

    left (10.0.1.1) --- br0 --- (10.0.0.1) right
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

LAB = """
namespace = [
  {name = "left", routes = [{destination = "10.0.0.0/24", dev = "eth0"}]},
  {name = "right", routes = [{destination = "10.0.1.0/24", dev = "eth0"}]},
]
bridge = [{name = "br0"}]
veth = [
  {a = "left", b = "br0", address = "10.0.1.1/24"},
  {a = "right", b = "br0", address = "10.0.0.1/24"},
]
"""

WRONG = LAB.replace('a = "right"', 'a = "rihgt"')
#: What is wrong with it.
PLACE = (
    "veth 2 ('rihgt' - 'br0'), key 'a': unknown namespace or bridge 'rihgt' *'right'?*"
)


def write_file(inner: Inner, text: str, name: str = "lab.toml") -> None:
    """Write a file below the directory of the tests."""
    path = inner.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("privileged")
def test_relative_to_the_test_file(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """A str or a path is looked for beside the test, wherever pytest was started."""
    write_file(inner, LAB, "tests/lab.toml")
    write_file(inner, LAB.replace("left", "near"), "labs/near.toml")
    inner.write(
        """
        @pytest.mark.netns("lab.toml")
        def test_str(netns):
            assert netns["right"].ping("10.0.1.1")
            assert not Path("lab.toml").exists()

        @pytest.mark.netns(Path("lab.toml"))
        def test_path(netns):
            assert netns["right"].ping("left")

        @pytest.mark.netns("../labs/near.toml")
        def test_elsewhere(netns):
            assert [one.name for one in netns] == ["near", "right"]

        @pytest.mark.netns(Path(__file__).with_name("lab.toml"))
        def test_absolute(netns, netns_topology):
            assert netns_topology == Topology.from_file("tests/lab.toml")
        """,
        "tests/test_inner",
    )
    inner.run(*plugin_args).assert_outcomes(passed=4)


@pytest.mark.usefixtures("privileged")
def test_joined_with_records(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Files, topologies and records of all markers are joined in the order given.

    ::

        outer --- left (10.0.1.1) --- br0 --- (10.0.0.1) right --- inner
    """
    write_file(inner, LAB)
    inner.write(
        """
        pytestmark = pytest.mark.netns(Namespace("outer"), "lab.toml")

        @pytest.mark.netns(Topology(Namespace("inner")), Veth("right", "inner"))
        class TestClass:
            @pytest.mark.netns(Veth("outer", "left"))
            def test_method(self, netns, netns_topology):
                names = ["outer", "left", "right", "inner"]
                assert [one.name for one in netns] == names
                lab = Topology.from_file("lab.toml")
                assert netns_topology.records[:6] == (Namespace("outer"), *lab)
                assert len(netns["left"].interfaces) == 3
                assert netns["left"].ping("right")

        def test_function(netns):
            assert [one.name for one in netns] == ["outer", "left", "right"]
        """
    )
    inner.run(*plugin_args).assert_outcomes(passed=2)


BAD = """
    @pytest.mark.netns("lab.toml")
    def test_wrong():  # what the file says
        Path("ran").touch()

    @pytest.mark.netns(Path("no.toml"))
    def test_missing():  # no file
        Path("ran").touch()

    def test_good():
        Path("ran").touch()
"""


def test_wrong_files(inner: Inner) -> None:
    """They are reported with the place of the test and in the file; no test runs."""
    write_file(inner, WRONG)
    inner.write(BAD)
    result = inner.run()

    wrong, missing = inner.path / "lab.toml", inner.path / "no.toml"
    test_wrong = inner.place('mark.netns("lab.toml")')
    test_missing = inner.place('mark.netns(Path("no.toml"))')
    reason = "cannot read it: No such file or directory (ENOENT)"
    result.stderr.fnmatch_lines(
        [
            f"ERROR: {test_wrong}: test_wrong: UnknownName: {wrong}: {PLACE}",
            f"ERROR: {test_missing}: test_missing: TopologyError: {missing}: {reason}",
        ]
    )
    result.stdout.fnmatch_lines(["*no tests ran*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (inner.path / "ran").exists()


def test_wrong_files_with_xdist(inner: Inner) -> None:
    """Workers of xdist report them as errors of collection, and run no test."""
    write_file(inner, WRONG)
    inner.write(BAD)
    result = inner.run("-n", "2")

    test_wrong = inner.place('mark.netns("lab.toml")')
    result.stdout.fnmatch_lines(
        [
            f"{test_wrong}: test_wrong: UnknownName: {inner.path}/lab.toml: {PLACE}",
            "*= 2 errors in *",
        ]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (inner.path / "ran").exists()


@pytest.mark.usefixtures("privileged")
def test_read_once(inner: Inner) -> None:
    """A file is read once, however many tests name it, and again once it changes."""
    write_file(inner, LAB)
    inner.pytester.makeconftest(
        """
        import sys
        import pytest

        OPENED = []

        def count(event, arguments):
            if event == "open" and str(arguments[0]).endswith("lab.toml"):
                OPENED.append(arguments)

        sys.addaudithook(count)

        @pytest.fixture
        def opened():
            return OPENED
        """
    )
    inner.write(
        """
        FILE = Path(__file__).with_name("lab.toml")

        @pytest.mark.netns("lab.toml")
        @pytest.mark.parametrize("number", range(3))
        def test_many(netns, opened, number):
            assert len(opened) == 1

        @pytest.mark.netns(Path("lab.toml"), Namespace("more"))
        def test_another_marker(netns, opened):
            assert len(opened) == 1
            text = FILE.read_text()
            opened.clear()
            FILE.write_text(text.replace("right", "wrong"))
            opened.clear()

        @pytest.mark.netns("lab.toml")
        @pytest.mark.parametrize("number", range(2))
        def test_changed(netns, opened, number):
            assert [one.name for one in netns] == ["left", "wrong"]
            assert len(opened) == 1
        """
    )
    inner.run().assert_outcomes(passed=6)
