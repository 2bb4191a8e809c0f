"""``--netns-rootless``: pytest enters a user namespace before it has threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_netns.privileges import is_in_user_namespace
from tests.plugin.people import CONFINED, ORDINARY

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

HEADER = "netns: rootless, in a user and network namespace*no way to this machine's *"

TESTS = """
    @pytest.mark.netns(CABLE)
    def test_network(netns):
        assert netns["left"].ping("right")
        netns["left"].popen(
            [sys.executable, "-m", "http.server", "80"]
        ).wait_listening(80)
        note("ran")

    def note(name):
        with open(name, "a") as file:
            file.write(os.readlink("/proc/self/ns/user") + "\\n")
"""
OTHERS = """
    def test_something_else():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
        note("ran")
"""


def test_everything_runs(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Networks are built, the loopback interface works, and the header says it.

    The workers of xdist are where their controller is.
    """
    inner.write(TESTS + OTHERS)
    result = inner.run_behind(ORDINARY, "--netns-require", *plugin_args)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([HEADER])
    places = (inner.path / "ran").read_text().splitlines()
    assert len(places) == 2
    assert len({*places}) == 1


def test_without_networks_of_ours(inner: Inner) -> None:
    """A suite that builds nothing is there, too: nobody can know before."""
    inner.write("def test_nothing(): assert os.geteuid() == 0")
    result = inner.run_behind(ORDINARY)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([HEADER])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_never(inner: Inner, how: str, plugin_args: tuple[str, ...]) -> None:
    """The run stays where it is, and networks need root."""
    inner.write(TESTS)
    if how == "ini":
        inner.pytester.makeini("[pytest]\nnetns_rootless = never\n")
    else:
        plugin_args += ("--netns-rootless=never",)
    result = inner.run_behind(
        ORDINARY,
        "-rs",
        *plugin_args,
        "--deselect",
        "test_inner.py::test_something_else",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.no_fnmatch_line("*netns: rootless*")
    result.stdout.fnmatch_lines(
        [
            "SKIPPED*network namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN, which *",
            "*either: run as root*",
            "*or rootless, in a user namespace: with --netns-rootless=auto",
        ]
    )


def test_privileged(inner: Inner) -> None:
    """Who may build networks anyway stays where he is, unless he says "always"."""
    inner.write(
        "def test_nothing(): Path('at').write_text(os.readlink('/proc/self/ns/user'))"
    )
    inner.run().stdout.no_fnmatch_line("*netns: rootless*")
    at_first = (inner.path / "at").read_text()
    inner.run("--netns-rootless=always").stdout.fnmatch_lines([HEADER])
    assert (inner.path / "at").read_text() != at_first


def test_always(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Even root's tests have no way to the machine's network, if that is wanted."""
    inner.write(TESTS + OTHERS)
    result = inner.run("--netns-rootless=always", *plugin_args)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([HEADER])


def test_the_reason_why_not(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Where it is impossible, the skip names the cause; workers say the same."""
    inner.write(TESTS)
    result = inner.run_behind(
        CONFINED,
        "-rs",
        *plugin_args,
        "--deselect",
        "test_inner.py::test_something_else",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*rootless, which does not work here: *uid_map cannot be written*"]
    )
    result.stdout.no_fnmatch_line("*netns: rootless, in*")


def test_required(inner: Inner) -> None:
    """With --netns-require the same is a failure."""
    inner.write(TESTS)
    result = inner.run_behind(CONFINED, "--netns-require")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*uid_map cannot be written*", "*--netns-require*"])


def test_a_thread_of_a_conftest(inner: Inner) -> None:
    """A thread that a conftest starts is inside as well: it comes later."""
    inner.write(TESTS + OTHERS)
    inner.pytester.makeconftest(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    inner.run_behind(ORDINARY, "--netns-require").assert_outcomes(passed=2)


def test_a_thread_of_an_earlier_plugin(inner: Inner) -> None:
    """One that a plugin has started before keeps all out; the skip says so."""
    inner.write(TESTS)
    inner.pytester.makepyfile(
        busy="import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    arguments = ("-rs", "-p", "busy")
    inner.monkeypatch.setenv("PYTHONPATH", str(inner.path))
    result = inner.run_behind(ORDINARY, *arguments)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*does not work here: 2 threads run already*"])


def test_numpy_of_an_earlier_plugin(inner: Inner) -> None:
    """Its threads end at a fork; pytest-randomly, for one, imports it."""
    inner.write(TESTS)
    inner.pytester.makepyfile(early="import numpy")
    inner.monkeypatch.setenv("PYTHONPATH", str(inner.path))
    result = inner.run_behind(ORDINARY, "--netns-require", "-p", "early")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([HEADER])


def test_loaded_by_a_conftest(inner: Inner) -> None:
    """Where plugins are not loaded by themselves, it enters when it is loaded."""
    inner.write(TESTS + OTHERS)
    inner.pytester.makeconftest('pytest_plugins = ["pytest_netns.plugin"]\n')
    inner.monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = inner.run_behind(ORDINARY)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([HEADER])


def test_a_value_that_there_is_not(inner: Inner) -> None:
    """A mistake is found before anything happens."""
    inner.write(TESTS)
    inner.pytester.makeini("[pytest]\nnetns_rootless = sometimes\n")
    result = inner.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*netns_rootless is 'sometimes', and not one of auto, always, never*"]
    )


class TestHint:
    """A test of something else may fail for want of the machine's network."""

    FAILING = """
        def test_service():
            socket.create_connection(("127.0.0.1", 9))

        def test_wrapped():
            try:
                socket.create_connection(("192.0.2.1", 9))
            except OSError as error:
                raise RuntimeError("no service") from error

        def test_name():
            socket.getaddrinfo("host.example", 80)

        def test_other_reason():
            open("missing")

        def test_assertion():
            assert False

        @pytest.mark.netns(CABLE)
        def test_network(netns):
            netns["left"].call(socket.create_connection, ("10.0.0.2", 9))
    """

    def hints(self, result: pytest.RunResult) -> int:
        """Count the hints in a report."""
        return str(result.stdout).count("Captured netns rootless call")

    def test_where_it_helps(self, inner: Inner) -> None:
        """It is there when a connection or a name failed, and names the way out."""
        inner.write(self.FAILING)
        result = inner.run_behind(ORDINARY, "-k", "service or wrapped or name")
        result.assert_outcomes(failed=3, deselected=3)
        assert self.hints(result) == 3
        result.stdout.fnmatch_lines(["*no*", "*--netns-rootless=never*"])

    def test_where_it_does_not(self, inner: Inner) -> None:
        """It is not there for other failures, nor for tests of networks."""
        inner.write(self.FAILING)
        result = inner.run_behind(ORDINARY, "-k", "other or assertion or network")
        result.assert_outcomes(failed=3, deselected=3)
        assert self.hints(result) == 0

    def test_where_the_machine_is_there(self, inner: Inner) -> None:
        """It is not there in a run that has not entered."""
        if is_in_user_namespace():
            pytest.skip("this run itself has no way to the machine's network")
        inner.write(self.FAILING)
        result = inner.run("-k", "service")
        result.assert_outcomes(failed=1, deselected=5)
        assert self.hints(result) == 0
