"""The orders of iperf3, each in a child of its own: one test of libiperf.

The wrapper ``iperf3`` knows the library; its own ``run()`` is not called, because it
waits for ever once the library has printed more than a pipe takes (64 KiB): the
library prints its JSON as well as keeping it. Here that goes into a file in memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from ._load_main import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import iperf3
except ImportError as failure:
    iperf3 = None
    _why_no_wrapper = str(failure)

LIBRARY = "libiperf.so.0"
with contextlib.suppress(OSError):
    ctypes.CDLL(LIBRARY)  # loaded once, for all children

#: What the server has sent to the client's control socket once data flow: one byte
#: for each of PARAM_EXCHANGE, CREATE_STREAMS, TEST_START and TEST_RUNNING.
_BYTES_UNTIL_RUNNING = 4
# include/uapi/linux/tcp.h, struct tcp_info: since Linux 4.1 and 4.6
_BYTES_RECEIVED = struct.Struct("=128xQ")
_DATA_SEGMENTS_SENT = struct.Struct("=156xI")
_LISTENING = "0A"  # include/net/tcp_states.h
_PAUSE = 0.001
_PATIENCE = 0.01
_MESSAGE_OF_A_MISSING_LIBRARY = (
    "netns_iperf3 needs {library}, which cannot be loaded ({error}); "
    "Debian, Ubuntu: apt-get install libiperf0"
)


def iperf3_client(
    say: Callable[[object], None],
    *,
    address: str,
    port: int,
    seconds: float,
    omit: int,
    interval: float,
    protocol: str,
    parallel: int,
    reverse: bool,
    rate: int,
    connect_timeout: float,
    library: str = LIBRARY,
) -> dict[str, Any]:
    """Run a test as the client, and return libiperf's report of it."""
    del say
    test = _Test("Client", library, interval)
    test.wrapper.server_hostname = address
    test.wrapper.port = port
    test.wrapper.protocol = protocol
    if protocol == "udp":
        # as the program does: as much as fits into a packet of this path
        test.wrapper.blksize = 0
    test.wrapper.num_streams = parallel
    test.wrapper.reverse = reverse
    test.wrapper.omit = omit
    test.wrapper.duration = -int(-seconds // 1)  # the library knows whole ones only
    test.call("iperf_set_test_rate", ctypes.c_uint64(rate))
    with contextlib.suppress(_MissingCall):  # since 3.8
        milliseconds = ctypes.c_int(round(connect_timeout * 1000))
        test.call("iperf_set_test_connect_timeout", milliseconds)
    if seconds == int(seconds):
        return test.run()
    with _ended_after(test, omit + seconds):
        return test.run()


def iperf3_server(
    say: Callable[[object], None],
    *,
    ports: list[int],
    interval: float,
    address: str | None = None,
    library: str = LIBRARY,
) -> dict[str, Any]:
    """Serve one client on the first of these ports that is free; return the report."""
    for port in ports:
        if len(ports) > 1 and not _is_free(port):
            continue
        test = _Test("Server", library, interval)
        test.wrapper.port = port
        if address is not None:
            test.wrapper.bind_address = address
        with _told_when_listening(say, port) as told:
            try:
                return test.run()
            except Failure:
                if told.is_set() or port == ports[-1]:
                    raise
                # somebody was faster: on to the next one
    raise Failure(f"none of the ports {ports[0]} to {ports[-1]} is free")


class _MissingCall(Failure):
    """This libiperf has no such function."""


class _Test:
    """A test of libiperf, to be run once."""

    def __init__(self, role: str, library: str, interval: float) -> None:
        self._output = _redirect_output()
        if iperf3 is None:
            raise Failure(
                f"netns_iperf3 needs the package iperf3 ({_why_no_wrapper}); "
                "pip install iperf3",
                kind="missing",
            )
        try:
            ctypes.CDLL(library)  # the wrapper's destructor does not survive that
        except OSError as error:
            text = _MESSAGE_OF_A_MISSING_LIBRARY.format(library=library, error=error)
            raise Failure(text, kind="missing") from error
        try:
            self.wrapper: Any = getattr(iperf3, role)(verbose=False, lib_name=library)
        except AttributeError as error:
            raise Failure(f"{library} is not libiperf: {error}") from error
        self._test = self.wrapper._test  # noqa: SLF001  # what libiperf knows it by
        # Its destructor would end a test that has ended; this process ends soon.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.wrapper))
        self.call("iperf_set_test_stats_interval", ctypes.c_double(interval))
        self.call("iperf_set_test_reporter_interval", ctypes.c_double(interval))

    def call(self, name: str, *arguments: Any, returns: Any = None) -> Any:
        """Call a function of the library about this test."""
        try:
            function = getattr(self.wrapper.lib, name)
        except AttributeError as error:
            version = self.wrapper.iperf_version
            raise _MissingCall(f"{version} is too old: it has no {name}()") from error
        function.restype = returns
        return function(ctypes.c_void_p(self._test), *arguments)

    @property
    def control(self) -> int:
        """The descriptor of the control connection; -1 as long as there is none."""
        return int(self.call("iperf_get_control_socket", returns=ctypes.c_int))

    def run(self) -> dict[str, Any]:
        """Run it, and return the report."""
        role = "client" if self.wrapper.role == "c" else "server"
        status = self.call(f"iperf_run_{role}", returns=ctypes.c_int)
        kind = ctypes.c_char_p
        text = self.call("iperf_get_test_json_output_string", returns=kind)
        report = _parse(text or _printed(self._output))
        if error := report.get("error"):
            raise Failure(str(error))
        if status < 0 or not report:
            raise Failure(self._error())
        return report

    def _error(self) -> str:
        try:
            number = self.wrapper._errno  # noqa: SLF001  # it has no other name
            return str(self.wrapper._error_to_string(number))  # noqa: SLF001
        except ValueError:  # it has no i_errno to look into
            return "the library does not say why"


def _redirect_output() -> int:
    """Let what this process prints go into a file, and return that."""
    output = os.memfd_create("output")
    os.dup2(output, 1)
    return output


def _printed(output: int) -> bytes:
    """Return the JSON that was printed.

    3.9 forgets it too early to be asked for it (iperf's commit 98d87bd7).
    """
    text = os.pread(output, os.fstat(output).st_size, 0)
    return text[text.find(b"{") : text.rfind(b"}") + 1]


def _parse(text: bytes) -> dict[str, Any]:
    report = json.loads(text.decode(errors="replace")) if text else {}
    return report if isinstance(report, dict) else {}


# the client's clock


@contextlib.contextmanager
def _ended_after(test: _Test, seconds: float) -> Iterator[None]:
    """End the test this long after its data began to flow, if it is not over before.

    It ends when it has sent, or since 3.10 received, a number of bytes: the number is
    set to one in the midst. Where the library cannot do that, it goes on until its
    own whole seconds are over.
    """
    over = threading.Event()
    # it need not do anything but come
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, False)  # noqa: FBT003  # takes no keyword
    arguments = (test, seconds, over, threading.get_ident())
    watch = threading.Thread(target=_end, args=arguments, daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _end(test: _Test, seconds: float, over: threading.Event, main: int) -> None:
    with contextlib.suppress(_MissingCall):
        while _tcp_info(test.control, _BYTES_RECEIVED) < _BYTES_UNTIL_RUNNING:
            if over.wait(_PAUSE):
                return
        if over.wait(seconds):
            return
        sent = _tcp_info(test.control, _DATA_SEGMENTS_SENT)
        test.call("iperf_set_test_bytes", ctypes.c_uint64(1))
        # It looks when its select() returns, which a signal makes it do (signal(7))
        # on a path where nothing moves. Once it has said that the test ends, it must
        # not be interrupted any more.
        while not over.wait(_PATIENCE):
            if _tcp_info(test.control, _DATA_SEGMENTS_SENT) != sent:
                return
            signal.pthread_kill(main, signal.SIGUSR1)


def _tcp_info(descriptor: int, field: struct.Struct) -> int:
    """Return a field of a socket's ``TCP_INFO``; 0 if it is no socket, or not yet."""
    if descriptor < 0:
        return 0
    try:
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return 0
    with duplicate:
        try:
            info = duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            return 0
    return int(field.unpack_from(info)[0]) if len(info) >= field.size else 0


# the server's port


def _is_free(port: int) -> bool:
    """Return whether nobody has a port, neither for TCP nor for UDP.

    It does not listen, so whoever tries the same at the same time does not notice.
    """
    return all(
        _can_be_bound(port, family, kind)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        for family in (socket.AF_INET6, socket.AF_INET)
    )


def _can_be_bound(port: int, family: int, kind: int) -> bool:
    try:
        trial = socket.socket(family, kind)
    except OSError:
        return True  # a kernel without IPv6
    with trial:
        if family == socket.AF_INET6:
            trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # connections that are over do not matter
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


@contextlib.contextmanager
def _told_when_listening(
    say: Callable[[object], None], port: int
) -> Iterator[threading.Event]:
    """Say the port when a socket of this process listens on it."""
    told, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not _listens(port):
            if over.wait(_PAUSE):
                return
        told.set()
        say(port)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield told
    finally:
        over.set()
        watching.join()


def _listens(port: int) -> bool:
    """Return whether this process listens on a port, read from /proc."""
    inodes = set(_inodes())
    for name in ("tcp6", "tcp"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            with open(f"/proc/self/net/{name}", encoding="ascii") as table:
                lines = table.read().splitlines()[1:]
            for words in map(str.split, lines):
                if words[3] == _LISTENING and words[9] in inodes:
                    number = words[1].rpartition(":")[2]
                    if int(number, 16) == port:
                        return True
    return False


def _inodes() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            yield str(os.stat(f"/proc/self/fd/{name}").st_ino)
