"""``netns["host"]``: what is started there ends with the test, and nothing else does.

::

    host:server-eth0 10.5.0.1 ─── 10.5.0.2 server:eth0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Machine

#: A daemon that ignores all polite requests to end.
DAEMON = """
        DAEMON = '''
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        print("on", os.getpid(), flush=True)
        time.sleep(600)
        '''.replace("\\n        ", "\\n")

        def start_daemon(namespace):
            process = namespace.popen([sys.executable, "-Sc", DAEMON], expect_exit=True)
            namespace.wait_until(lambda: process.output.endswith("\\n"))
            return int(process.output.split()[1])

        def is_there(pid):
            try:
                status = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                return False
            return "Z" not in status.rpartition(")")[2]
"""


def test_running_things_at_home(machine: Machine) -> None:
    """They see the machine as it is: its host name, its files and its interfaces."""
    machine.passes(
        """
        HOME = os.readlink("/proc/self/ns/net")

        def look():
            return (os.readlink("/proc/thread-self/ns/net"), socket.gethostname(),
                    Path("/etc/hosts").read_text(),
                    sorted(os.listdir("/sys/class/net")))

        @pytest.mark.netns(CABLE)
        def test_home(netns):
            host = netns["host"]
            expected = (HOME, socket.gethostname(), Path("/etc/hosts").read_text(),
                        ["lo", "server-eth0", "up.0"])
            assert host.call(look) == host.spawn(look).result(5) == expected
            with host:
                assert os.readlink("/proc/thread-self/ns/net") == HOME
            assert host.run("hostname").stdout.strip() == socket.gethostname()
            assert host.run("cat /etc/hosts").stdout == Path("/etc/hosts").read_text()
            assert f"net:[{host.inode}]" == HOME
            with host.popen(["sleep", "600"]) as process:
                path = Path(f"/proc/{process.pid}/ns/net")
                assert os.readlink(path) == HOME
            # a host name of its own to play with, not the machine's
            host.run("hostname other")
            assert socket.gethostname() == expected[1]
            assert host.wait_until(lambda: host.ip) == host.ip
        """
    )


def test_processes_end_with_the_test(machine: Machine) -> None:
    """So do daemons of theirs, and a process that was there before does not."""
    machine.passes(
        DAEMON
        + """
        BYSTANDERS = [subprocess.Popen(["sleep", "600"], start_new_session=new)
                      for new in (False, True)]
        PIDS = []

        @pytest.mark.netns(CABLE)
        def test_start(netns):
            host = netns["host"]
            process = host.popen(["sh", "-c", "setsid sleep 600 & echo on; sleep 600"])
            process.wait_for_output("on")
            PIDS.append(start_daemon(host))
            PIDS.extend(host.pids())
            assert len(set(PIDS)) == 4
            assert process.pid in PIDS
            # a child of the test itself is the test's own business
            BYSTANDERS.append(subprocess.Popen(["sleep", "600"]))

        def test_all_gone():
            assert not any(is_there(pid) for pid in PIDS)
            assert all(process.poll() is None for process in BYSTANDERS)
            for process in BYSTANDERS:
                process.kill()
                process.wait()
        """
    )


def test_processes_of_a_killed_run(machine: Machine) -> None:
    """The watcher ends what was started at home, and nobody else there."""
    machine.write(
        DAEMON
        + """
        @pytest.mark.netns(CABLE)
        def test_killed(netns):
            pids = [start_daemon(netns["host"]), start_daemon(netns["server"]),
                    netns["host"].popen(["sleep", "600"]).pid]
            Path("pids.new").write_text(" ".join(map(str, pids)))
            os.replace("pids.new", "pids")
            time.sleep(60)
        """
    )
    run = machine.start()
    pids = [int(pid) for pid in machine.file("pids").split()]
    machine.kill(run)
    machine.eventually(
        lambda: not set(pids) & set(machine.namespace.pids()), "its processes to end"
    )
    machine.assert_untouched(within=5)


def test_sockets_and_threads_of_the_test_process_stay(machine: Machine) -> None:
    """Those that have nothing to do with the network are left alone at its end."""
    machine.passes(
        """
        LISTENER = socket.create_server(("127.0.0.1", 0))
        ENDED = threading.Event()
        THREAD = threading.Thread(target=ENDED.wait, daemon=True)
        THREAD.start()
        EPHEMERAL = []

        @pytest.mark.netns(CABLE)
        def test_first(netns):
            netns["host"].popen(["sleep", "600"])
            with netns["host"]:  # it affects the network alone, which is the same
                EPHEMERAL.append(socket.create_server(("127.0.0.1", 0)))
            EPHEMERAL.append(netns["host"].socket())

        def test_second():
            for listener in (LISTENER, EPHEMERAL[0]):
                with socket.create_connection(listener.getsockname()) as client:
                    accepted, _ = listener.accept()
                    with accepted:
                        accepted.sendall(b"still here")
                        assert client.recv(100) == b"still here"
                listener.close()
            # the network gave this one out
            assert EPHEMERAL[1].fileno() == -1
            assert THREAD.is_alive()
            ENDED.set()
            THREAD.join()
        """
    )


def test_tasks_end_with_the_test(machine: Machine) -> None:
    """A task that waits on a socket of the network ends; one that cannot is named."""
    machine.write(
        """
        COUNT = threading.active_count()

        @pytest.mark.netns(CABLE)
        def test_waiting(netns):
            listener = netns["host"].socket()
            listener.bind(("10.5.0.1", 80))
            listener.listen()
            assert netns["server"].ping("host")
            netns["host"].spawn(listener.accept)
            netns["host"].spawn(lambda: [time.sleep(0.01) for _ in range(10_000)])

        def test_nobody_left():
            assert threading.active_count() == COUNT

        @pytest.mark.netns(CABLE)
        def test_endless(netns):
            netns["host"].spawn(time.sleep, 20)
        """
    )
    completed = machine.run()
    assert "3 passed, 1 error" in completed.stdout
    assert "<Task sleep() in 'host' running>: no thread can be ended" in (
        completed.stdout
    )
    machine.assert_untouched()


def test_what_belongs_to_the_machine_is_read_only(machine: Machine) -> None:
    """Sysctls can be looked at, and the range of groups that may ping stays."""
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_sysctl(netns):
            sysctl = netns["host"].sysctl
            assert sysctl["net.ipv4.ip_forward"] == "0"
            assert "net.ipv4.conf.server-eth0.forwarding" in sysctl
            with pytest.raises(TypeError):
                sysctl["net.ipv4.ip_forward"] = "1"
            with pytest.raises(TypeError):
                del sysctl["net.ipv4.ip_forward"]
        """
    )


def test_only_what_was_started_here_is_listed(machine: Machine) -> None:
    """Of all the machine's processes, pids() knows those of the test alone."""
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_pids(netns):
            assert netns["host"].pids() == []
            process = netns["host"].popen(["sleep", "600"])
            other = netns["server"].popen(["sleep", "600"])
            assert netns["host"].pids() == [process.pid]
            assert netns["server"].pids() == [other.pid]
            process.kill()
            process.wait(5)
            assert netns["host"].pids() == []
        """
    )


def test_a_place_beside_the_namespaces(machine: Machine) -> None:
    """Iteration and len() are over namespaces, which the host is none of."""
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_container(netns):
            assert [namespace.name for namespace in netns] == ["server"]
            assert len(netns) == 1
            assert "host" in netns
            assert netns["host"] in netns
            assert netns["host"] is netns["host"]
            assert netns["host"].name == "host"
            assert "'host'" in repr(netns["host"])

        def test_closed(netns_manager):
            with netns_manager.build(CABLE) as network:
                visited = network["host"]
                visited.run("true")
            with netns_manager.build(CABLE) as network:
                never = network["host"]
            for host in (visited, never):
                assert host.closed
                with pytest.raises(ClosedError):
                    host.run("true")
                with pytest.raises(ClosedError), host:
                    pass
            assert "up.0" in run("ip link")  # the test itself is still at home

        def test_threads(netns_manager):
            with netns_manager.build(CABLE) as network:
                starts = [threading.Thread(target=network["host"].run, args=("true",))
                          for _ in range(10)]
                for thread in starts:
                    thread.start()
                for thread in starts:
                    thread.join()
        """
    )


@pytest.mark.usefixtures("unconfined")
@pytest.mark.parametrize("groups", ["1 0", "0 2147483647"])
def test_ping_from_home(machine: Machine, groups: str) -> None:
    """It works whether or not the machine lets this process have echo sockets."""
    machine.namespace.sysctl["net.ipv4.ping_group_range"] = groups
    machine.before = machine.state()
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_ping(netns):
            host = netns["host"]
            for target in ("server", "10.5.0.1", "fd05::2", "127.0.0.1", "::1"):
                assert host.ping(target), target
            several = host.ping("server", count=3, interval=0.01)
            assert len(several.rtts) == 3
            assert "no neighbour" in host.ping("10.5.0.9", timeout=4).error
            pingers = [host.spawn(host.ping, "server", count=20, interval=0.001)
                       for _ in range(5)]
            assert all(one.result(10) for one in pingers)

        @pytest.mark.netns(
            Host(routes=[Route("192.0.2.0/24", via="10.5.0.2"),
                         Route("2001:db8:2::/64", via="fd05::2")]),
            Namespace("gw", forwarding=True, nftables='''
                table inet filter {
                    chain forward {
                        type filter hook forward priority 0;
                        reject with icmpx type admin-prohibited
                    }
                }'''),
            Namespace("far"),
            Veth("host", "gw", subnet=["10.5.0.0/24", "fd05::/64"]),
            Veth("gw", "far", subnet=["192.0.2.0/24", "2001:db8:2::/64"]),
        )
        def test_errors(netns):
            host = netns["host"]
            for target in ("192.0.2.2", "2001:db8:2::2"):
                assert "administratively prohibited by" in host.ping(target).error
        """
    )


@pytest.mark.usefixtures("unconfined")
def test_ping_without_any_right(machine: Machine) -> None:
    """What forbids it is said."""
    machine.namespace.sysctl["net.ipv4.ping_group_range"] = "1 0"
    machine.before = machine.state()
    machine.write(
        """
        @pytest.mark.netns(CABLE)
        def test_ping(netns):
            result = netns["host"].ping("server")
            assert not result
            assert "ping_group_range" in result.error and "CAP_NET_RAW" in result.error
        """
    )
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    completed = machine.run(behind=command)
    assert "1 passed" in completed.stdout
    machine.assert_untouched()
