"""Commands and background processes inside a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _nftables as nftables
from . import command
from ._inside import Inside
from ._processes import processes_in
from .errors import MissingProgram
from .process import Process

if TYPE_CHECKING:
    import os
    import subprocess
    from collections.abc import Mapping

    from ._inside import Home
    from ._mounts import Surroundings
    from ._nsfile import NamespaceFile
    from .command import Arguments


class Commands(Inside):
    """What runs programs in a namespace.

    Attributes:
        processes: The background processes that were started, in order.
    """

    def __init__(
        self, name: str, file: NamespaceFile, surroundings: Surroundings, home: Home
    ) -> None:
        super().__init__(name, file, surroundings, home)
        self.processes: list[Process] = []

    def run(
        self,
        args: Arguments,
        *,
        check: bool = True,
        timeout: float | None = None,
        input: str | None = None,  # the name that subprocess has for it
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        r"""Run a command inside until it ends, and return its outputs as text.

        It ends with the command itself, even if that leaves a daemon behind that
        holds its output. Bytes that are not UTF-8 are shown as ``\\xff``.

        Args:
            args: The words of the command, or a string that is split as by
                `shlex`; never a shell.
            check: Whether an exit code other than 0 is an error.
            timeout: After how many seconds to kill it and its children.
            input: The text of its standard input; None gives it none.
            env: Its environment; None passes that of this process on.
            cwd: Its working directory; None is the caller's.

        Raises:
            CommandError: It ended with a code other than 0; shows both outputs.
            CommandTimeout: It did not end in time.
            MissingProgram: There is no such program.
            ClosedError: The network is closed.
        """
        self.prepare_for_processes()
        return command.run(
            self._file,
            self._threads,
            args,
            check=check,
            timeout=timeout,
            input=input,
            env=env,
            cwd=cwd,
        )

    def popen(
        self,
        args: Arguments,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        expect_exit: bool = False,
        stdin: int | None = None,
    ) -> Process:
        """Start a background process inside.

        It and all its descendants end with the test. If it ends by itself while
        the test still runs, the test fails and shows its output.

        Args:
            args: The words of the command, or a string that is split as by
                `shlex`; never a shell.
            name: What messages call it; None is the program's name.
            env: Its environment; None passes that of this process on.
            cwd: Its working directory; None is the caller's.
            expect_exit: Whether it may end by itself.
            stdin: A descriptor that becomes its standard input; None gives it none.

        Raises:
            MissingProgram: There is no such program.
            ClosedError: The network is closed.
        """
        self.prepare_for_processes()
        process = Process(
            self._file,
            self._threads,
            args,
            name=name,
            env=env,
            cwd=cwd,
            expect_exit=expect_exit,
            stdin=stdin,
        )
        self.processes.append(process)
        return process

    def nft(self, ruleset: str) -> str:
        """Have nft read a ruleset, or other commands of its; return its output.

        Equivalent to ``nft -f -``: all of it is one transaction. ``list ruleset``
        shows what is there.

        Raises:
            RulesetError: nft refuses it; shows what it says, and the line.
            MissingTool: nft is not installed.
            MissingFeature: The kernel lacks nftables.
            ClosedError: The network is closed.
        """
        nftables.check_kernel(self)
        try:
            completed = self.run(nftables.COMMAND, input=ruleset, check=False)
        except MissingProgram as error:
            raise nftables.missing_nft(f"{self.name}.nft()") from error
        nftables.check(completed, ruleset, namespace=self.name)
        return completed.stdout

    def shell(self) -> int:
        """Open a shell inside, for people; return its exit code, or minus the signal.

        It talks to the terminal, whatever pytest captures, and the test goes on
        when it ends. It is bash, or sh where there is none; ``$NETNS`` is the
        namespace's name, which the prompt shows.

        Raises:
            NoTerminal: There is no terminal to talk to.
            ClosedError: The network is closed.
        """
        from .shell import interact  # hardly any test has one

        self.prepare_for_processes()
        return interact(self._file, self._threads)

    def nsenter(self) -> list[str]:
        """Return the words of a command that people enter with, from anywhere.

        Put the command to run behind them; it sees the namespace's ``/sys``, files
        and host name as well. They are valid while the network is there.
        """
        self.prepare_for_processes()
        self._threads.call(int)  # the first thread makes the surroundings
        return ["nsenter", *self._surroundings.nsenter_options()]

    def pids(self) -> list[int]:
        """List the processes inside, but for this one; ``ip netns pids``."""
        return processes_in({self._file.inode})
