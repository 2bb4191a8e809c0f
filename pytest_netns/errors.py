"""Every error that pytest-netns raises, factored out to avoid import loops.

::

    NetnsError
    ├── TopologyError (ValueError)        the declaration is wrong; kernel untouched
    │   ├── InvalidName
    │   ├── DuplicateName                 shows both declarations
    │   ├── UnknownName                   shows the known names and the nearest one
    │   └── InvalidAddress
    ├── UnsupportedError                  this machine cannot do it
    │   ├── PrivilegeError
    │   ├── MissingFeature                the kernel lacks it
    │   └── MissingTool                   a program or library is not installed
    │       └── MissingProgram (FileNotFoundError)
    ├── KernelError (OSError)             the kernel refused; keeps errno
    │   └── NamespaceRestoreError         a thread could not come back
    ├── ClosedError                       used after its network was closed
    ├── TeardownError                     everything that was left behind
    ├── CommandError (CalledProcessError) a command failed; shows both outputs
    │   └── RulesetError                  nft refused a ruleset; shows the line
    ├── CommandTimeout (TimeoutError)
    ├── WaitTimeout (TimeoutError)
    ├── ProcessEnded                      a background process ended by itself
    ├── NoTerminal                        a shell for people, and there are none
    ├── SwitchError                       Open vSwitch failed; shows its log
    ├── InvalidFilter (ValueError)        libpcap refuses a filter; shows what it says
    ├── BenchmarkError                    a measurement failed; shows what its tool says
    │   ├── BenchmarkTimeout (TimeoutError)
    │   └── UnstableBenchmark             it went on, but there is no number to believe
    └── CaptureError (AssertionError)     packets were not seen, or were; shows which
        └── InconclusiveError             the capture cannot know
"""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: How much of an output a message shows; attributes always hold all of it.
SHOWN_OUTPUT = 4000


class NetnsError(Exception):
    """The root of all errors of pytest-netns."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by value, whatever the constructor's signature."""
        state = dict(self.__dict__)
        if isinstance(self, OSError):  # these two are not in its __dict__
            state |= {"errno": self.errno, "strerror": self.strerror}
        return _restore, (type(self), self.args, state)


def _restore(
    kind: type[NetnsError], args: tuple[Any, ...], state: dict[str, Any]
) -> NetnsError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class TopologyError(NetnsError, ValueError):
    """The declaration is wrong; the kernel was not touched."""


class InvalidName(TopologyError):
    """The kernel would not take this name."""


class DuplicateName(TopologyError):
    """Two records claim one name, or two links one interface."""


class UnknownName(TopologyError):
    """A record names somebody who is not there."""

    @classmethod
    def among(
        cls, name: str, known: Iterable[str], *, what: str, where: str
    ) -> UnknownName:
        """Say what is unknown, what is known, and which known name is nearest."""
        import difflib  # only on the way to an error

        names = sorted(known)
        message = f"unknown {what} {name!r} in {where}; "
        if not names:
            return cls(message + f"there is no {what} at all")
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        message += "known: " + ", ".join(map(repr, names))
        if nearest:
            message += f" (did you mean {nearest[0]!r}?)"
        return cls(message)


class InvalidAddress(TopologyError):
    """Not an address, or not one that makes sense where it stands."""


class UnsupportedError(NetnsError):
    """This machine cannot do what was asked; the pytest layer skips or fails."""


class PrivilegeError(UnsupportedError):
    """The process may not create network namespaces."""


class MissingFeature(UnsupportedError):
    """The kernel lacks a feature."""

    @classmethod
    def of_kernel(
        cls, feature: str, *, needed_by: object, remedy: str
    ) -> MissingFeature:
        """Name the feature, the record that needs it, and how to get it."""
        return cls(f"the kernel lacks {feature}, needed by {needed_by!r}; {remedy}")


class MissingTool(UnsupportedError):
    """A program or library is not installed."""


class MissingProgram(MissingTool, FileNotFoundError):
    """A command to run inside a namespace does not exist."""

    def __str__(self) -> str:
        """Show the message alone, without `OSError`'s decoration."""
        return str(self.args[-1])


class KernelError(NetnsError, OSError):
    """The kernel refused a request.

    Args:
        number: The errno.
        action: Verb and object, such as ``"create veth 'left:eth0'"``.
        namespace: The name of the namespace it was to happen in, or None.
        record: The record that asked for it, or None.
        detail: What the kernel itself says (netlink's extended ack), or "".
        advice: What may be behind it, and what helps, or "".
    """

    def __init__(
        self,
        number: int,
        action: str,
        namespace: str | None = None,
        record: object = None,
        detail: str = "",
        *,
        advice: str = "",
    ) -> None:
        # OSError sets errno and strerror from these two in __new__.
        super().__init__(number, action)
        self.errno = number
        self.strerror = os.strerror(number)
        self.action = action
        self.namespace = namespace
        self.record = None if record is None else repr(record)
        self.detail = detail
        self.advice = advice

    def __str__(self) -> str:
        """Say verb, object, namespace, errno name, and the record it came from."""
        name = errno.errorcode.get(self.errno or 0, str(self.errno))
        text = f"cannot {self.action}"
        if self.namespace is not None:
            text += f" in namespace {self.namespace!r}"
        text += f": {self.strerror} ({name})"
        if self.detail:
            text += f"; the kernel says: {self.detail}"
        if self.advice:
            text += f"\n  {self.advice}"
        if self.record is not None:
            text += f"\n  declared by {self.record}"
        return text


class NamespaceRestoreError(KernelError):
    """A thread could not come back from a namespace and must not be used again."""


class ClosedError(NetnsError):
    """The network, and with it this namespace, is already closed."""


class TeardownError(NetnsError):
    """Something could not be taken down; the message lists all of it.

    Args:
        leftovers: One sentence for each.
    """

    def __init__(self, leftovers: Sequence[str]) -> None:
        super().__init__(tuple(leftovers))
        self.leftovers = tuple(leftovers)

    def __str__(self) -> str:
        """List every leftover, not just the first."""
        return "left behind by the test:\n" + "\n".join(
            f"  - {leftover}" for leftover in self.leftovers
        )


class CommandError(NetnsError, subprocess.CalledProcessError):
    """A command inside a namespace ended with a non-zero exit code.

    `returncode`, `cmd`, `stdout` and `stderr` are those of
    `subprocess.CalledProcessError`.
    """

    def __init__(
        self,
        returncode: int,
        command: Sequence[str],
        stdout: str = "",
        stderr: str = "",
        namespace: str = "",
    ) -> None:
        subprocess.CalledProcessError.__init__(
            self, returncode, list(command), stdout, stderr
        )
        self.namespace = namespace

    def __str__(self) -> str:
        """Show how it ended, and both outputs."""
        how = (
            f"was killed by signal {-self.returncode}"
            if self.returncode < 0
            else f"failed with exit code {self.returncode}"
        )
        return (
            f"command {_join(self.cmd)!r} {how} in namespace {self.namespace!r}"
            f"{_shown('standard output', self.stdout)}"
            f"{_shown('standard error', self.stderr)}"
        )


class RulesetError(CommandError):
    """nft refused a ruleset.

    Args:
        ruleset: The text that it was given.
        line: The number of the line that nft points at, from 1, or None.
        record: The record that it comes from, or None.
    """

    def __init__(
        self,
        returncode: int,
        command: Sequence[str],
        stdout: str,
        stderr: str,
        namespace: str,
        *,
        ruleset: str,
        line: int | None,
        record: object = None,
    ) -> None:
        super().__init__(returncode, command, stdout, stderr, namespace)
        self.ruleset = ruleset
        self.line = line
        self.record = None if record is None else repr(record)

    def __str__(self) -> str:
        """Show what nft says, and the line that it points at."""
        text = f"nft refused the ruleset of namespace {self.namespace!r}"
        if self.line is not None:
            (wrong,) = self.ruleset.splitlines()[self.line - 1 : self.line] or [""]
            text += f" at line {self.line}: {wrong.strip()}"
        text += _shown("nft says", self.stderr)
        return text if self.record is None else f"{text}\n  declared by {self.record}"


class CommandTimeout(NetnsError, TimeoutError):
    """A command ran out of time and was killed.

    `cmd`, `timeout` (seconds), `stdout`, `stderr` (so far) and `namespace`.
    """

    def __init__(
        self,
        command: Sequence[str],
        timeout: float,
        stdout: str = "",
        stderr: str = "",
        namespace: str = "",
    ) -> None:
        super().__init__(_join(command))  # OSError takes two for errno and strerror
        self.cmd = list(command)
        self.timeout = timeout
        self.stdout = stdout
        self.stderr = stderr
        self.namespace = namespace

    def __str__(self) -> str:
        """Show how long it had, and its output so far."""
        return (
            f"command {_join(self.cmd)!r} in namespace {self.namespace!r} "
            f"did not end within {self.timeout:g} s and was killed"
            f"{_shown('standard output so far', self.stdout)}"
            f"{_shown('standard error so far', self.stderr)}"
        )


class WaitTimeout(NetnsError, TimeoutError):
    """A wait ran out of time.

    Args:
        awaited: What was waited for.
        timeout: How long, in seconds.
        last_seen: What was there at the last look.
    """

    def __init__(self, awaited: str, timeout: float, last_seen: str = "") -> None:
        super().__init__(awaited)  # OSError takes two for errno and strerror
        self.awaited = awaited
        self.timeout = timeout
        self.last_seen = last_seen

    def __str__(self) -> str:
        """Say how long was waited, for what, and what was last seen."""
        text = f"waited {self.timeout:g} s for {self.awaited}"
        from ._outputs import last_of  # only on the way to a message

        seen = last_of(self.last_seen, SHOWN_OUTPUT)
        return f"{text}; last seen: {seen}" if seen else text


class ProcessEnded(NetnsError):
    """A background process ended by itself while it was still needed."""

    def __init__(
        self,
        name: str,
        namespace: str,
        command: Sequence[str],
        how: str,
        output: str,
        *,
        advice: str = "pass expect_exit=True to popen() if it may",
    ) -> None:
        super().__init__(name, namespace, tuple(command), how, output)
        self.name = name
        self.namespace = namespace
        self.cmd = list(command)
        self.how = how
        self.output = output
        self.advice = advice

    def __str__(self) -> str:
        """Show how it ended and all it had to say."""
        return (
            f"background process {self.name!r} in namespace {self.namespace!r} "
            f"{self.how} while the test still ran ({self.advice})\n"
            f"  command: {_join(self.cmd)}{_shown('output', self.output)}"
        )


class NoTerminal(NetnsError):
    """A shell was to be opened where nobody can type."""


class SwitchError(NetnsError):
    """Open vSwitch did not do what it was told.

    Args:
        action: Verb and object, such as ``"make bridge 'OVS-1'"``.
        reason: What it says.
        record: The record that asked for it, or None.
        log: What its daemons have logged.
    """

    def __init__(
        self, action: str, reason: str, record: object = None, log: str = ""
    ) -> None:
        super().__init__(action, reason)
        self.action = action
        self.reason = reason
        self.record = None if record is None else repr(record)
        self.log = log

    def __str__(self) -> str:
        """Say what failed, why, which record asked for it, and show the log."""
        text = f"Open vSwitch cannot {self.action}: {self.reason}"
        if self.record is not None:
            text += f"\n  declared by {self.record}"
        return text + _shown("log of its daemons", self.log)


class InvalidFilter(NetnsError, ValueError):
    """libpcap does not understand a filter.

    Args:
        text: The filter.
        reason: What libpcap says.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        """Show the filter and what libpcap says."""
        return f"not a filter (see pcap-filter(7)): {self.text!r}: {self.reason}"


class BenchmarkError(NetnsError):
    """A measurement failed, with the text of the tool that failed."""


class BenchmarkTimeout(BenchmarkError, TimeoutError):
    """A measurement did not end in time."""

    def __str__(self) -> str:
        """Show the message alone, without `OSError`'s decoration."""
        return str(self.args[-1])


class UnstableBenchmark(BenchmarkError):
    """A number was asked for that the measured samples do not give.

    The samples themselves are there; a number that hides how far apart they lie
    would be believed.
    """


class CaptureError(NetnsError, AssertionError):
    """An assertion about captured packets has failed; the message shows them."""


class InconclusiveError(CaptureError):
    """Packets were not seen, but the capture might have missed them."""


def _join(command: Sequence[str]) -> str:
    import shlex  # only on the way to a message

    return shlex.join(map(str, command))


def _shown(title: str, output: str | None) -> str:
    if not output:
        return f"\n  {title}: none"
    from ._outputs import last_of  # only on the way to a message

    shown = last_of(output.rstrip("\n"), SHOWN_OUTPUT)
    return f"\n  {title}:\n" + "\n".join(f"    {line}" for line in shown.split("\n"))
