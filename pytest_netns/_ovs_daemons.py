"""One pair of Open vSwitch's daemons, private to this process: its children."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from ._genetlink import has_family
from ._jsonrpc import Connection, Refused
from ._ovs_place import DIRECTORY, KEPT, PATIENCE, Place
from ._ovsdb import Database
from ._processes import await_end
from ._programs import directory_of, hint_of_sudo, missing_of
from .errors import MissingTool, SwitchError, WaitTimeout
from .process import Process
from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._netlink import RouteSocket
    from ._nsfile import NamespaceFile
    from ._ovs_rows import Operation
    from ._ovsdb import Result
    from ._watcher import Watcher
    from .errors import ProcessEnded

_PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
_SOCKET = f"{DIRECTORY}/db.sock"
#: Without thirty lines about what a datapath of its can do.
_CONCISE = ("-vofproto_dpif:console:warn", "-vdpif_netdev:console:warn")
#: How long after its sockets the end of a process may be known, in seconds.
_LAST_BREATH = 0.2
#: ovs-vswitchd counts the processors every 10 s, and first when the machine has run
#: that long; as long as it knows of none, it hands no packet on that the kernel's
#: datapath asks it about (count_cpu_cores() in lib/ovs-thread.c).
_YOUTH = 10.5


class Daemon(Process):
    """A daemon: a background process whose end is never expected."""

    def failure(self) -> ProcessEnded | None:
        """Return the error to raise if it ended although it should not have."""
        failure = super().failure()
        if failure is not None:
            failure.advice = "the next network gets new daemons"
        return failure

    def forget_output(self) -> None:
        """Let its output begin anew; the daemon appends to what there is."""
        os.ftruncate(self._log, 0)
        self._text = ""
        self._read_up_to = 0


class Daemons:
    """An ovsdb-server and an ovs-vswitchd, in a place of their own.

    Attributes:
        place: Where they run.
        database: A connection to their database.
        in_user_space: Whether ovs-vswitchd switches the packets itself.
        processes: The two of them.

    Args:
        watcher: Ends them if this process is killed.
        artifacts: The directory for their logs and database; None keeps none.

    Raises:
        ProcessEnded: One of them ended at once; shows its log.
        SwitchError: They do not start in time; shows a log.
    """

    def __init__(self, watcher: Watcher, artifacts: str | None) -> None:
        self.in_user_space = not has_family("ovs_datapath")
        self.processes: list[Daemon] = []
        self._connections: list[Connection] = []
        self.place = Place(watcher, artifacts)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.place.run(["ovsdb-tool", "create", f"{KEPT}/conf.db"])
        self._spawn("ovsdb-server", f"{KEPT}/conf.db", f"--remote=punix:{_SOCKET}")
        self.database = Database(self._connect(_SOCKET))
        version = self.place.run(["ovs-vswitchd", "--version"]).split()[3]
        row = {"ovs_version": version}  # what ``ovs-vsctl show`` ends with
        self.database.transact([{"op": "insert", "table": "Open_vSwitch", "row": row}])
        options = [f"unix:{_SOCKET}", *_CONCISE]
        if self.in_user_space:
            options.append("--disable-system")
        else:
            time.sleep(max(0.0, _YOUTH - time.monotonic()))
        self._spawn("ovs-vswitchd", *options)
        _, number = self.commit([], "start")
        self.follow(number, "start")
        switch = self.processes[-1]
        self._control = self._connect(f"{DIRECTORY}/{switch.name}.{switch.pid}.ctl")
        self.database.guard()

    def _spawn(self, program: str, *arguments: str) -> None:
        # on its console is what is kept in memory, and shown if it dies
        words = [program, "--pidfile", "--no-chdir", "-vsyslog:off", "-vconsole:info"]
        if self.place.folder is not None:
            words.append("--log-file")
        words += arguments
        self.processes.append(
            Daemon(
                self.place.file,
                self.place.threads,
                words,
                env=self.place.environment,
                cwd="/",
            )
        )

    def _connect(self, path: str) -> Connection:
        """Return a connection to the daemon that listens at `path`, once it does."""

        def look() -> socket.socket | None:
            self.check()
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(path)
            except OSError:
                stream.close()
                return None
            return stream

        try:
            stream = self.place.threads.call(wait_until, look, timeout=PATIENCE)
        except WaitTimeout as error:
            reason = f"nobody listens at {path} within {PATIENCE:g} s"
            raise SwitchError("start", reason, log=self.log) from error
        connection = Connection(stream)
        self._connections.append(connection)
        return connection

    def stop(self) -> None:
        """End both, and let go of all that was theirs; again is harmless."""
        if self.place.file.closed:
            return
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.close()
        for connection in self._connections:
            connection.close()
        self.place.close()

    # as a place of a network

    @property
    def file(self) -> NamespaceFile:
        """Their network namespace."""
        return self.place.file

    @property
    def socket(self) -> RouteSocket:
        """An rtnetlink socket inside."""
        return self.place.socket

    def next_port_index(self) -> int:
        """Return an index that no port of theirs ever had."""
        return self.place.next_index()

    # while they run

    def failures(self) -> list[ProcessEnded]:
        """Return the errors to raise for those that have ended."""
        return [one for process in self.processes if (one := process.failure())]

    def check(self) -> None:
        """Check that both run.

        Raises:
            ProcessEnded: One does not; shows its log.
        """
        for failure in self.failures():
            raise failure

    @property
    def log(self) -> str:
        """What the one that was started last has logged for the present network."""
        return self.processes[-1].output if self.processes else ""

    def forget_logs(self) -> None:
        """Let their output begin anew, for another network."""
        for process in self.processes:
            process.forget_output()

    def commit(
        self, operations: Sequence[Operation], action: str, record: object = None
    ) -> tuple[list[Result], int]:
        """Change the database; return the results, and the number to await.

        Args:
            operations: The changes.
            action: What they do, in words.
            record: The record that asks for it.

        Raises:
            SwitchError: It is refused.
            ProcessEnded: One of the daemons is dead.
        """
        with self._explaining(action, record):
            return self.database.configure(operations)

    def follow(self, number: int, action: str, record: object = None) -> None:
        """Wait until ovs-vswitchd has done what was committed.

        Raises:
            SwitchError: It takes too long.
            ProcessEnded: One of the daemons is dead.
        """
        with self._explaining(action, record):
            done = self.database.await_configuration(number, PATIENCE, self.check)
        if not done:
            reason = f"ovs-vswitchd has not done it within {PATIENCE:g} s"
            raise SwitchError(action, reason, record, self.log)

    def ask(self, query: Operation, action: str, record: object = None) -> Result:
        """Return the answer to a question about an action.

        Raises:
            SwitchError: It is refused.
            ProcessEnded: One of the daemons is dead.
        """
        with self._explaining(action, record):
            return self.database.transact([query])[0]

    def forget_flows(self) -> None:
        """Have the next packet of each kind meet the tables as they are now.

        ovs-vswitchd keeps what it has once decided, and looks whether it still
        holds up to half a second later; it counts packets as late.
        Equivalent to ``ovs-appctl revalidator/purge``.

        Raises:
            SwitchError: It is refused.
            ProcessEnded: One of the daemons is dead.
        """
        with self._explaining("forget flows", None):
            self._control.call("revalidator/purge")

    @contextlib.contextmanager
    def _explaining(self, action: str, record: object) -> Iterator[None]:
        try:
            yield
        except (Refused, OSError) as error:
            if isinstance(error, OSError):
                await_end([process.pid for process in self.processes], _LAST_BREATH)
            self.check()
            raise SwitchError(action, str(error), record, self.log) from error


def check_programs(record: object) -> None:
    """Check that Open vSwitch is installed.

    Raises:
        MissingTool: It is not; says what is missing, and which package has it.
    """
    missing = missing_of(_PROGRAMS)
    if not missing:
        return
    text = (
        f"Open vSwitch is not installed (no {', '.join(missing)}), needed by "
        f"{record!r}; it is the package openvswitch-switch of Debian and Ubuntu"
    )
    if directory := directory_of(missing):
        text += f"; here it is in {directory}, which is not in PATH"
    raise MissingTool(text + hint_of_sudo())
