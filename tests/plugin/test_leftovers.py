from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

#: After each test: the next one works, and nothing of the last is there.
AROUND = """
    import leftovers

    @pytest.fixture(autouse=True)
    def nothing_of_earlier_tests():
        leftovers.assert_nothing_left()

    @pytest.mark.netns(CABLE)
    def test_next(netns):
        assert netns["left"].ping("right")

    def test_last():
        pass
"""


def write(inner: Inner, tests: str) -> None:
    """Write tests that leave something behind, each followed by an innocent one."""
    inner.write(tests, name="test_a")
    inner.write(AROUND, name="test_b")


def test_sockets_and_descriptors(inner: Inner) -> None:
    """Sockets and descriptors that a test keeps do not keep its namespaces."""
    write(
        inner,
        """
        pytestmark = pytest.mark.netns(CABLE)
        kept = []

        def test_plain_socket(netns):
            listener = netns["left"].socket()
            listener.bind(("", 80))
            listener.listen()
            connection = netns["right"].socket()
            connection.connect(("10.0.0.1", 80))
            kept.extend([listener, connection, *listener.accept()])

        def test_socket_made_inside(netns):
            with netns["left"]:
                kept.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
                kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
                kept.extend(socket.socketpair())

        def test_socket_made_by_call(netns):
            kept.append(netns["left"].call(socket.socket))

        def test_file(netns):
            kept.append(open(netns["left"].path))
            kept.append(os.dup(kept[-1].fileno()))
            kept.append(open(f"/proc/{os.getpid()}/fd/{netns['left'].fd}"))

        @pytest.mark.netns()
        def test_kept_objects_are_harmless():
            for one in kept:
                if isinstance(one, socket.socket):
                    with pytest.raises(OSError):
                        one.send(b"more")
                    one.close()
                elif isinstance(one, int):
                    os.close(one)
                elif hasattr(one, "close"):
                    one.close()
        """,
    )
    inner.run().assert_outcomes(passed=7)


def test_processes(inner: Inner) -> None:
    """Servers, daemons that forked twice and stubborn children end with their test."""
    write(
        inner,
        """
        pytestmark = pytest.mark.netns(CABLE)

        DAEMON = '''
        import os, signal, sys, time
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        if len(sys.argv) > 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
        '''

        def daemon(namespace, tmp_path, *arguments):
            program = tmp_path / "daemon.py"
            program.write_text("\\n".join(map(str.strip, DAEMON.splitlines())))
            pid_file = tmp_path / "pid"
            namespace.run([sys.executable, "-S", program, pid_file, *arguments])
            return int(eventually(lambda: pid_file.exists() and pid_file.read_text()))

        def test_server(netns):
            netns["left"].popen(
                [sys.executable, "-S", "-m", "http.server", "80"]
            ).wait_listening(80)

        def test_daemon(netns, tmp_path):
            assert daemon(netns["left"], tmp_path) in netns["left"].pids()

        def test_stubborn_daemon(netns, tmp_path):
            assert daemon(netns["left"], tmp_path, "stubborn") in netns["left"].pids()

        def test_stubborn_child(netns):
            script = "trap '' TERM; sleep 600 & echo on; sleep 600; wait"
            child = netns["left"].popen(["sh", "-c", script])
            child.wait_for_output("on")

        def test_child_of_call(netns):
            netns["left"].call(subprocess.Popen, ["sleep", "600"]).returncode = 0

        def test_child_of_block(netns):
            with netns["left"]:
                child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            child.returncode = 0  # it is not ours to wait for

        def test_in_a_namespace_of_its_own(netns):
            # out of sight by its network namespace, but not by its host name's
            netns["left"].popen(["unshare", "-n", "sleep", "600"])
        """,
    )
    result = inner.run()
    result.assert_outcomes(passed=9)


def test_threads_that_wait(inner: Inner) -> None:
    """Threads that wait on a socket, or run Python, end with their test.

    Their tests pass: a task that is under way when its test ends has done no wrong.
    """
    write(
        inner,
        """
        pytestmark = pytest.mark.netns(CABLE)

        def listener(namespace):
            listener = namespace.socket()
            listener.bind(("", 80))
            listener.listen()
            return listener

        def test_accept(netns):
            waiting = listener(netns["left"])
            netns["left"].spawn(waiting.accept)
            netns["left"].wait_listening(80)

        def serve():
            with socket.create_server(("", 80)) as server:
                while True:
                    connection, _ = server.accept()
                    connection.close()

        def test_server(netns):
            netns["left"].spawn(serve)
            netns["left"].wait_listening(80)
            netns["right"].call(socket.create_connection, ("left", 80)).close()

        def test_receive(netns):
            receiver = netns["left"].socket(type=socket.SOCK_DGRAM)
            receiver.bind(("", 80))
            netns["left"].spawn(receiver.recv, 1)

        def loop(started):
            started.set()
            while True:
                pass

        def test_loop(netns):
            started = threading.Event()
            netns["left"].spawn(loop, started)
            assert started.wait(20)

        def stubborn_loop(started):
            while True:
                try:
                    loop(started)
                except Exception:
                    pass

        def test_loop_that_catches_exceptions(netns):
            started = threading.Event()
            netns["left"].spawn(stubborn_loop, started)
            assert started.wait(20)
        """,
    )
    result = inner.run()
    result.assert_outcomes(passed=7)


def test_thread_that_cannot_be_ended(inner: Inner) -> None:
    """A thread that sleeps in C stays, and an error of its test alone names it."""
    inner.write(
        """
        import leftovers

        @pytest.mark.netns(CABLE)
        def test_sleeps(netns):
            netns["left"].spawn(time.sleep, 3)

        @pytest.mark.netns(CABLE)
        def test_own_thread(netns):
            def sleep():
                with netns["right"]:
                    entered.set()
                    time.sleep(3)

            entered = threading.Event()
            threading.Thread(target=sleep, name="sleeper", daemon=True).start()
            assert entered.wait(20)

        @pytest.mark.netns(CABLE)
        def test_next(netns):
            assert netns["left"].ping("right")

        def test_nothing_left_once_they_wake():
            leftovers.assert_nothing_left()
        """
    )
    result = inner.run()
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_sleeps*", "*namespace 'left'*still inside*"]
    )
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_own_thread*", "*sleeper*still inside*"]
    )
