"""What is inside besides the network: /sys, /etc/hosts, /etc/resolv.conf, host name.

::

    left (10.0.0.1, fd00::1) --- br0 --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_netns import Bridge, Namespace, Network, NetworkNamespace, Topology, Veth

LAN = Topology(
    Namespace("left", hosts={"printer": "10.0.0.9", "both": ["10.0.0.8", "fd00::8"]}),
    Namespace("right", hostname="dexter", nameservers=["10.0.0.1", "fd00::1"]),
    Bridge("br0", subnet=["10.0.0.0/24", "fd00::/64"]),
    Veth("left:eth0", "br0"),
    Veth("right:wan", "br0"),
)

pytestmark = pytest.mark.netns(LAN)

Look = Callable[[NetworkNamespace, str], str]


def by_run(namespace: NetworkNamespace, path: str) -> str:
    """Read a file, or list a directory, with a command."""
    return namespace.run(["ls" if Path(path).is_dir() else "cat", path]).stdout


def by_popen(namespace: NetworkNamespace, path: str) -> str:
    """Read a file, or list a directory, with a background process."""
    program = "ls" if Path(path).is_dir() else "cat"
    process = namespace.popen([program, path], expect_exit=True)
    assert process.wait(10) == 0
    return process.output


def read(path: str) -> str:
    """Read a file, or list a directory."""
    if Path(path).is_dir():
        return "".join(f"{one.name}\n" for one in sorted(Path(path).iterdir()))
    return Path(path).read_text(encoding="utf-8")


def by_call(namespace: NetworkNamespace, path: str) -> str:
    """Read a file, or list a directory, in a call."""
    return namespace.call(read, path)


def by_spawn(namespace: NetworkNamespace, path: str) -> str:
    """Read a file, or list a directory, in a task."""
    return namespace.spawn(read, path).result(10)


every_way = pytest.mark.parametrize("look", [by_run, by_popen, by_call, by_spawn])


@every_way
def test_interfaces_in_sys(netns: Network, look: Look) -> None:
    """/sys/class/net has the interfaces of the namespace, and no others."""
    assert "wan" in look(netns["right"], "/sys/class/net").split()
    for namespace in netns:
        with namespace:
            expected = {name for _, name in socket.if_nameindex()}
        found = set(look(namespace, "/sys/class/net").split())
        assert found - {"bonding_masters"} == expected
    assert look(netns["right"], "/sys/class/net/wan/operstate") == "up\n"


@every_way
def test_hosts_file(netns: Network, look: Look) -> None:
    """/etc/hosts has all namespaces of the network, and what its record adds."""
    lines = look(netns["left"], "/etc/hosts").splitlines()
    assert {"127.0.0.1 localhost", "10.0.0.1 left", "fd00::1 left"} <= set(lines)
    assert {"10.0.0.2 right dexter", "fd00::2 right dexter"} <= set(lines)
    assert {"10.0.0.9 printer", "10.0.0.8 both", "fd00::8 both"} <= set(lines)
    assert "printer" not in look(netns["right"], "/etc/hosts"), "it is left's alone"


@every_way
def test_resolver_file(netns: Network, look: Look) -> None:
    """/etc/resolv.conf has the record's name servers and never the machine's."""

    def servers(text: str) -> list[str]:
        return [
            words[1]
            for words in map(str.split, text.splitlines())
            if words and words[0] == "nameserver"
        ]

    assert servers("# no\nnameserver 10.0.0.1\n") == ["10.0.0.1"]
    assert servers(look(netns["right"], "/etc/resolv.conf")) == ["10.0.0.1", "fd00::1"]
    assert servers(look(netns["left"], "/etc/resolv.conf")) == []


@every_way
def test_host_name(netns: Network, look: Look) -> None:
    """The host name is the record's, or the namespace's name."""
    path = "/proc/sys/kernel/hostname"
    assert look(netns["left"], path).strip() == "left"
    assert look(netns["right"], path).strip() == "dexter"


def test_names_for_programs(netns: Network) -> None:
    """A program finds the other namespaces by name, over IPv4 and IPv6."""
    for target in ("right", "dexter"):
        for family in ("-4", "-6"):
            done = netns["left"].run(["ping", family, "-c1", "-W2", target])
            assert "1 received" in done.stdout
    assert "10.0.0.9" in netns["left"].run("getent hosts printer").stdout


def test_names_for_functions(netns: Network) -> None:
    """A function finds the other namespaces by name."""
    with netns["right"]:
        listener = socket.create_server(("10.0.0.2", 8000))
    with listener:
        for name in ("right", "dexter"):
            connection = netns["left"].call(socket.create_connection, (name, 8000), 5)
            with connection:
                assert connection.getpeername() == ("10.0.0.2", 8000)
    assert netns["left"].call(socket.gethostname) == "left"


def test_nearest_address_first(netns: Network) -> None:
    """A name leads to the address that the asker is connected to.

    ::

        left --- br0 --- right (10.0.0.2), right (10.7.0.1) --- (10.7.0.2) far
    """
    cable = Veth(
        "right:eth7", "far:eth0", address="10.7.0.1/24", peer_address="10.7.0.2/24"
    )
    netns.add(Namespace("far"), cable)
    assert netns["left"].call(socket.gethostbyname, "right") == "10.0.0.2"
    assert netns["far"].call(socket.gethostbyname, "right") == "10.7.0.1"


def test_own_name_without_address(netns: Network) -> None:
    """A namespace without any address finds its own name all the same."""
    netns.add(Namespace("lonely"))
    assert netns["lonely"].call(socket.gethostbyname, "lonely").startswith("127.")


def test_unknown_names(netns: Network) -> None:
    """A name that nobody has is an error, inside of the test's network."""
    with pytest.raises(socket.gaierror):
        netns["left"].call(socket.getaddrinfo, "nobody.invalid", 80)


def test_added_names_appear(netns: Network) -> None:
    """What is added later is in /etc/hosts of processes that already run."""
    left = netns["left"]
    waiter = left.popen(
        ["sh", "-c", "until grep -w late /etc/hosts; do sleep 0.01; done"],
        expect_exit=True,
    )
    held = left.call(open, "/etc/hosts", encoding="utf-8")
    with held:
        assert "late" not in held.read()
        netns.add(Namespace("late"), Veth("late:eth0", "br0"))
        held.seek(0)
        assert "10.0.0.3 late" in held.read()
    assert waiter.wait(10) == 0
    assert "10.0.0.3 late" in waiter.output
    assert left.run("ping -c1 -W2 late").returncode == 0
    assert netns["late"].call(socket.gethostbyname, "left") == "10.0.0.1"


def _answer(query: bytes) -> bytes:
    """Return the DNS answer 10.0.0.77 to a query of one A record, else none."""
    question = query[12 : query.index(b"\0", 12) + 5]
    if question[-4:] != b"\0\1\0\1":
        return query[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + question
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("10.0.0.77")
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + record


def test_name_server_is_asked(netns: Network) -> None:
    """Programs and functions ask the name server of the namespace."""
    asked: list[bytes] = []
    server = netns["left"].socket(type=socket.SOCK_DGRAM)
    server.bind(("10.0.0.1", 53))

    def serve() -> None:
        with contextlib.suppress(OSError):  # the test is over
            while True:
                query, client = server.recvfrom(512)
                asked.append(query)
                server.sendto(_answer(query), client)

    netns["left"].spawn(serve)
    shown = netns["right"].run("getent ahostsv4 www.example.test").stdout
    assert shown.startswith("10.0.0.77 ")
    assert (
        netns["right"].call(socket.gethostbyname, "other.example.test") == "10.0.0.77"
    )
    assert len(asked) >= 2


def test_machine_is_unchanged(netns: Network) -> None:
    """The machine's own files, host name, interfaces and mounts stay as they are."""
    shown = ("/etc/hosts", "/etc/resolv.conf", "/sys/class/net", "/proc/self/mountinfo")

    def state() -> list[str]:
        return [
            *map(read, shown),
            socket.gethostname(),
            *map(str, Path("/tmp").iterdir()),
        ]

    before = state()
    left = netns["left"]
    for look in (by_run, by_popen, by_call, by_spawn):
        assert look(left, "/etc/hosts") != before[0]
        assert look(left, "/proc/thread-self/mountinfo") != before[3]
    assert left.call(socket.gethostname) != before[4]
    netns.add(Namespace("more"))
    left.run("hostname changed-by-a-command")
    with left:
        pass
    assert state() == before


def test_mounts_of_a_function_stay_inside(netns: Network, tmp_path: Path) -> None:
    """What a program of a namespace mounts is seen there, and not by the machine."""
    netns["left"].run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)])
    assert str(tmp_path) not in read("/proc/self/mountinfo")


def test_other_files_are_the_machines(netns: Network, tmp_path: Path) -> None:
    """All other files are shared, in both directions."""
    netns["left"].run(["sh", "-c", 'echo inside > "$0"', str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "inside\n"
    (tmp_path / "file").write_text("outside")
    assert netns["left"].run(["cat", str(tmp_path / "file")]).stdout == "outside"


def test_control_groups_stay_visible(netns: Network) -> None:
    """Programs find their control groups below /sys, with all hierarchies."""

    def names(path: Path) -> set[str]:
        return {one.name for one in path.iterdir()}

    root = Path("/sys/fs/cgroup")
    outside = names(root)
    if not outside:
        pytest.skip("this machine has no control groups")
    assert netns["left"].call(names, root) == outside
    assert set(netns["left"].run(f"ls -A {root}").stdout.split()) == outside
    for hierarchy in filter(Path.is_dir, root.iterdir()):
        assert netns["left"].call(names, hierarchy) >= names(hierarchy)
