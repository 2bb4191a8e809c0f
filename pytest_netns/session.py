"""What the plugin keeps for one pytest session."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from ._rootless_options import outlook

if TYPE_CHECKING:
    from .errors import UnsupportedError
    from .manager import NetworkManager
    from .network import Network

#: Of which tests packets are kept that nobody asked for.
CAPTURE = ("failed", "all", "none")
#: How many characters of an output a report shows.
_LONGEST = 200_000
#: Why something is a failure that would be a skip elsewhere.
_REQUIRED = "(a failure because of --netns-require)"
#: Where a pytest configuration has its session.
SESSION = pytest.StashKey["NetnsSession"]()


class NetnsSession:
    """Options, the manager once there is one, and what a failing test shows.

    Args:
        require: Whether what would be a skip is a failure.
        names: Whether namespaces get names under ``/run/netns``.
        artifacts: The directory where logs and packets are kept; None keeps none.
        capture: Of which tests all packets are kept: "failed", "all" or "none".
        outlook: What a message on missing privileges says of user namespaces.
    """

    def __init__(
        self,
        *,
        require: bool,
        names: bool = False,
        artifacts: str | None = None,
        capture: str = "none",
        outlook: str | None = None,
    ) -> None:
        self.require = require
        self.names = names
        self.artifacts = artifacts
        self.capture = capture
        self._outlook = outlook
        #: The networks that the current test has had, and when it began.
        self._networks: list[Network] = []
        self._began = 0
        #: How often each test was begun: plugins run tests again.
        self._attempts: dict[str, int] = {}
        #: Whether what is built now is the test's own, and what of that there was.
        self.builds_for_test = False
        self._own: list[Network] = []
        self.manager: NetworkManager | None = None

    @classmethod
    def from_config(cls, config: pytest.Config) -> NetnsSession:
        """Read the options; the only place where they become arguments.

        Raises:
            pytest.UsageError: They do not fit together.
        """
        artifacts = path_of(config, "netns_artifacts")
        return cls(
            require=_is_set(config, "netns_require"),
            names=_is_set(config, "netns_names"),
            artifacts=artifacts,
            capture=_capture(config, artifacts),
            outlook=outlook(config),
        )

    def start(self) -> NetworkManager:
        """Make the manager.

        Raises:
            PrivilegeError: This process may not build networks.
        """
        from .manager import NetworkManager
        from .privileges import check_privileges

        check_privileges(rootless=self._outlook)
        self.manager = NetworkManager(
            names=self.names,
            artifacts=self.artifacts,
            records=self.capture != "none",
        )
        self.manager.when_built.append(self._note)
        return self.manager

    def stop(self) -> None:
        """Close the manager."""
        manager, self.manager = self.manager, None
        if manager is not None:
            manager.close()

    def give_up(self, error: UnsupportedError) -> NoReturn:
        """Skip the test, or fail it where skips are not allowed."""
        if self.require:
            pytest.fail(f"{error}\n{_REQUIRED}", pytrace=False)
        pytest.skip(str(error))

    def without_unsupported(
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> pytest.ExceptionInfo[BaseException]:
        """Return a skip for what a machine lacks, wherever a test came upon it.

        A command of the test's own that does not exist is no such thing: it may be a
        typing error, and who means it says so with ``requires=``.
        """
        from .errors import MissingProgram, UnsupportedError

        error = excinfo.value
        if not isinstance(error, UnsupportedError) or isinstance(error, MissingProgram):
            return excinfo
        outcome: BaseException = (
            pytest.fail.Exception(f"{error}\n{_REQUIRED}")
            if self.require
            else pytest.skip.Exception(str(error))
        )
        outcome.__suppress_context__ = True
        return pytest.ExceptionInfo.from_exception(
            outcome.with_traceback(error.__traceback__)
        )

    def take_failures(self) -> list[BaseException]:
        """Return what went wrong in the background since the last time."""
        return self.manager.take_failures() if self.manager else []

    def sections(self) -> list[tuple[str, str]]:
        """Return (title, text) of all that helps to understand a failed test."""
        networks = self.manager.networks if self.manager else []
        return [section for network in networks for section in _sections(network)]

    def begin_test(self, test: str) -> None:
        """Forget the networks of the test before, and its captures."""
        self._attempts[test] = self._attempts.get(test, 0) + 1
        self._close_own()
        self._networks = self.manager.networks if self.manager else []
        for network in self._networks:
            network.forget_captures()
        self._began = time.time_ns()

    def _note(self, network: Network) -> None:
        """Keep a network in mind: it may be closed when its packets are wanted."""
        if self.builds_for_test:
            self._own.append(network)
        if self.artifacts is not None:
            self._networks.append(network)

    def _close_own(self) -> None:
        """Close what a timeout has torn out of the fixture's hands: seldom anything."""
        self.builds_for_test = False
        own, self._own = self._own, []
        for network in own:
            with contextlib.suppress(Exception):  # the test before has failed already
                network.close()

    def keep_packets(self, test: str) -> str:
        """Write the packets of the current test; return what was written, in lines."""
        if self.artifacts is None or not self._networks:
            return ""
        from ._artifacts import directory_for, save_packets

        directory = directory_for(self.artifacts, test, self._attempts.get(test, 1))
        return "\n".join(save_packets(self._networks, directory, self._began))

    def main_thread_is_home(self) -> bool:
        """Whether the main thread is where pytest was started."""
        if self.manager is None:
            return True
        from ._nsfile import is_home

        return is_home()

    def bring_main_thread_home(self) -> None:
        """Undo a visit that Ctrl-C or a signal handler has left half-way.

        Raises:
            pytest.Exit: The thread cannot come back: no further test can be trusted.
        """
        if (
            self.manager is None
            or threading.current_thread() is not threading.main_thread()
        ):
            return
        from ._nsfile import go_home
        from .errors import NamespaceRestoreError

        if not self.main_thread_is_home():
            try:
                go_home("of the test")
            except NamespaceRestoreError as error:
                pytest.exit(f"pytest-netns: {error}; no further test can be trusted")


def _is_set(config: pytest.Config, flag: str) -> bool:
    """Tell whether a flag is set, on the command line or in the ini-file."""
    return bool(config.getoption(flag) or config.getini(flag))


def _capture(config: pytest.Config, artifacts: str | None) -> str:
    """Return the value of `--netns-capture`.

    Raises:
        pytest.UsageError: It is none that there is, or there is nowhere to write.
    """
    value = str(config.getoption("netns_capture") or config.getini("netns_capture"))
    if value not in CAPTURE:
        choices = ", ".join(CAPTURE)
        raise pytest.UsageError(f"netns_capture is {value!r}, and not one of {choices}")
    if value != "none" and artifacts is None:
        raise pytest.UsageError(
            f"--netns-capture={value} needs --netns-artifacts=DIR, to write packets to"
        )
    return value


def path_of(config: pytest.Config, name: str) -> str | None:
    """Return a path, of the command line or of the ini-file, as a whole one."""
    if given := config.getoption(name):
        return str(config.invocation_params.dir / given)
    configured = config.getini(name)
    base = config.inipath.parent if config.inipath else config.rootpath
    return str(base / configured) if configured else None


def raise_failure(failure: BaseException) -> NoReturn:
    """Fail the test with what went wrong in the background."""
    from .errors import ProcessEnded

    if isinstance(failure, ProcessEnded):
        pytest.fail(str(failure), pytrace=False)  # it happened outside of any Python
    raise failure


def _sections(network: Network) -> list[tuple[str, str]]:
    if network.closed or not len(network):
        return []
    from ._outputs import last_of

    sections = [("network", network.topology.diagram())]
    sections.append(("Open vSwitch", network.show_switches()))
    lacks = dict.fromkeys(lack for namespace in network for lack in namespace.lacks)
    sections.append(("what processes lack on this machine", "\n".join(lacks)))
    for process in network.processes:
        code = process.poll()
        state = "running" if code is None else f"ended with {code}"
        title = (
            f"output of {process.name!r} in namespace {process.namespace!r} ({state})"
        )
        sections.append((title, process.output))
    return [(title, last_of(text, _LONGEST)) for title, text in sections if text]
