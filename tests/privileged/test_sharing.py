"""The network gets out through the machine's own connection.

::

    red (10.5.0.2, fd05::2) ─── (10.5.0.1, fd05::1) host ─ up.0 203.0.113.1 ─── world
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_netns import Process

    from .conftest import Machine

#: Connects from a namespace, and returns what the server sends.
TALKING = """
        def talk(namespace, address):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with namespace.socket(family) as client:
                client.settimeout(5)
                client.connect((address, 80))
                return client.recv(100).decode()

        def sysctls():
            found = {}
            for folder, _, names in os.walk("/proc/sys/net"):
                for name in names:
                    try:
                        found[f"{folder}/{name}"] = Path(folder, name).read_text()
                    except OSError:
                        pass
            return found

        def changed(before):
            now = sysctls()
            return {path.removeprefix("/proc/sys/net/") for path in before
                    if now.get(path) != before[path] and "conntrack_count" not in path}
"""

#: A server that tells everybody the address that they come from.
SERVER = """
import socket
options = {"family": socket.AF_INET6, "dualstack_ipv6": True}
with socket.create_server(("::", 80), **options) as one:
    while True:
        connection, address = one.accept()
        with connection:
            connection.sendall(address[0].removeprefix("::ffff:").encode())
"""


@pytest.fixture(autouse=True)
def server(machine: Machine) -> Process:
    """Have somebody in the world who says what address one comes from."""
    server = machine.world.popen([sys.executable, "-c", SERVER])
    server.wait_listening(80)
    return server


def test_the_world_sees_the_machine(machine: Machine) -> None:
    """A server in the world is reached, IPv4 and IPv6, from the machine's addresses."""
    machine.passes(
        TALKING
        + """
        @pytest.mark.netns(SHARED)
        def test_out(netns):
            assert talk(netns["red"], "203.0.113.254") == "203.0.113.1"
            assert talk(netns["red"], "2001:db8::fe") == "2001:db8::1"
            assert netns["red"].ping("203.0.113.254")
            assert netns["red"].ping("2001:db8::fe")
            assert netns["host"].ping("red")
            # the test itself has not lost its connection either
            assert talk(netns["host"], "203.0.113.254") == "203.0.113.1"
            assert talk(netns["host"], "2001:db8::fe") == "2001:db8::1"
        """
    )


def test_without_it_nobody_gets_out(machine: Machine) -> None:
    """What arrives at the machine is not passed on, as long as nobody has asked."""
    machine.passes(
        TALKING
        + """
        ALONE = Topology(Host(), *(one for one in SHARED if not isinstance(one, Host)))

        @pytest.mark.netns(ALONE)
        def test_not_out(netns):
            # the default route leads to the machine, which answers for itself
            assert netns["red"].ping("203.0.113.1")
            assert netns["red"].ping("2001:db8::1")
            for address in ("203.0.113.254", "2001:db8::fe"):
                assert netns["host"].ping(address)
                assert not netns["red"].ping(address, timeout=0.2)
        """
    )


def test_what_changes_meanwhile(machine: Machine) -> None:
    """Forwarding of the interfaces that need it, and one table with a telling name."""
    machine.passes(
        TALKING
        + """
        def table():
            pid_namespace = os.stat("/proc/self/ns/pid").st_ino
            start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
            return f"table inet pytest-netns-{pid_namespace}-{os.getpid()}-{start}"

        def test_ipv4(netns):
            before = sysctls()
            netns.add(Host(share_connection=True), Namespace("red"),
                      Veth("host", "red", subnet="10.5.0.0/24"))
            assert changed(before) == {"ipv4/conf/up.0/forwarding"}
            ipv4 = Path("/proc/sys/net/ipv4")
            assert (ipv4 / "conf/red-eth0/forwarding").read_text() == "1\\n"
            assert (ipv4 / "conf/up.0/forwarding").read_text() == "1\\n"
            assert (ipv4 / "ip_forward").read_text() == "0\\n"
            assert run("nft list tables").splitlines() == [table()]

        def test_both(netns):
            before = sysctls()
            netns.add(*SHARED)
            # IPv6 is forwarded by all interfaces or by none, and then router
            # advertisements are listened to only by those that are told to
            ipv6 = {f"ipv6/conf/{one}/forwarding"
                    for one in ("all", "default", "lo", "up.0")}
            assert changed(before) == {"ipv4/conf/up.0/forwarding",
                                       "ipv6/conf/up.0/accept_ra", *ipv6}
            assert Path("/proc/sys/net/ipv6/conf/up.0/accept_ra").read_text() == "2\\n"
            assert run("nft list tables").splitlines() == [table()]

        def test_no_addresses(netns):
            before = sysctls()
            netns.add(Host(share_connection=True), Namespace("red"),
                      Veth("host", "red"))
            assert changed(before) == set()
            assert run("nft list ruleset") == ""

        def test_two_networks(netns_manager):
            before = sysctls()
            blue = Topology(
                Host(share_connection=True),
                Namespace("blue", routes=[Route("default", via="10.6.0.1")]),
                Veth("host", "blue", subnet="10.6.0.0/24"))
            with netns_manager.build(blue) as other:
                with netns_manager.build(SHARED) as network:
                    assert talk(network["red"], "203.0.113.254") == "203.0.113.1"
                    tables = run("nft list tables").splitlines()
                    assert tables == [table(), table() + "-2"]
                assert talk(other["blue"], "203.0.113.254") == "203.0.113.1"
            assert changed(before) == set()
            assert run("nft list tables") == ""
        """
    )


def test_more_later(machine: Machine) -> None:
    """A network that grows keeps its way out, and what is new gets one."""
    machine.passes(
        TALKING
        + """
        @pytest.mark.netns(SHARED)
        def test_grows(netns):
            red = netns["red"].socket()
            red.connect(("203.0.113.254", 80))
            handle = run("nft -a list tables")
            netns.add(Namespace("alone"))
            assert run("nft -a list tables") == handle  # nothing was done anew
            netns.add(Namespace("blue", routes=[Route("default", via="10.6.0.1"),
                                                Route("default", via="fd06::1")]),
                      Veth("host:b", "blue", subnet=["10.6.0.0/24", "fd06::/64"]))
            assert red.recv(100) == b"203.0.113.1"
            red.close()
            for name in ("red", "blue"):
                assert talk(netns[name], "203.0.113.254") == "203.0.113.1"
                assert talk(netns[name], "2001:db8::fe") == "2001:db8::1"
            assert netns["red"].ping("blue")  # as themselves: the machine routes
            with pytest.raises(KernelError):
                netns.add(Namespace("bad", sysctls={"net.ipv4.conf.eth0.no": 1}),
                          Veth("host:c", "bad", subnet="10.7.0.0/24"))
            assert talk(netns["red"], "203.0.113.254") == "203.0.113.1"

        def test_shared_later(netns):
            netns.add(Namespace("red"))
            netns.add(Host(share_connection=True))
            assert run("nft list tables") == ""
            netns.add(Veth("host:x", "red", subnet="10.5.0.0/24"))
            netns["red"].run("ip route add default via 10.5.0.1")
            assert talk(netns["red"], "203.0.113.254") == "203.0.113.1"
        """
    )


def test_what_was_set_before_is_set_afterwards(machine: Machine) -> None:
    """A machine that forwards already, or some of whose interfaces do, stays so.

    Whatever an interface is called, and however many default routes there are.
    """
    run = machine.namespace.run
    for name in ("a;b", "d*", "e'f", "h$i"):
        run(["ip", "link", "add", "name", name, "type", "bridge"])
        run(["ip", "link", "set", "dev", name, "up"])
    for number, name in enumerate(("a;b", "d*"), start=1):
        run(["ip", "addr", "add", f"192.0.2.{number}/32", "dev", name])
    run("ip route add default metric 9 nexthop dev a;b nexthop dev d*")
    sysctl = machine.namespace.sysctl
    sysctl["net.ipv6.conf.e'f.forwarding"] = "1"
    sysctl["net.ipv6.conf.default.forwarding"] = "1"
    sysctl["net.ipv6.conf.lo.forwarding"] = "1"
    sysctl["net.ipv6.conf.d*.accept_ra"] = "0"
    sysctl["net.ipv6.conf.a;b.accept_ra"] = "2"
    sysctl["net.ipv4.conf.d*.forwarding"] = "1"
    machine.before = machine.state()
    machine.passes(
        TALKING
        + """
        @pytest.mark.netns(SHARED)
        def test_out(netns):
            assert talk(netns["red"], "203.0.113.254") == "203.0.113.1"
            assert talk(netns["red"], "2001:db8::fe") == "2001:db8::1"
            for name in ("up.0", "a;b", "d*"):
                path = Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding")
                assert path.read_text() == "1\\n"
            assert Path("/proc/sys/net/ipv6/conf/d*/accept_ra").read_text() == "0\\n"
        """
    )
    sysctl["net.ipv4.ip_forward"] = "1"
    sysctl["net.ipv6.conf.all.forwarding"] = "1"
    machine.before = machine.state()
    machine.passes(
        TALKING
        + """
        @pytest.mark.netns(SHARED)
        def test_out(netns):
            assert talk(netns["red"], "203.0.113.254") == "203.0.113.1"
            assert talk(netns["red"], "2001:db8::fe") == "2001:db8::1"
            assert Path("/proc/sys/net/ipv6/conf/e'f/accept_ra").read_text() == "1\\n"
        """
    )


def test_a_name_that_nftables_cannot_write(machine: Machine) -> None:
    """It is refused, and nothing is left."""
    machine.passes(
        r"""
        @pytest.mark.parametrize("names", [('host:"', "red"), ("host", 'r"d')])
        def test_quote(netns_manager, names):
            host, red = names
            with pytest.raises(InvalidName, match="Host.*cannot write the quote"):
                netns_manager.build(Topology(
                    Host(share_connection=True), Namespace(red),
                    Veth(host, red, subnet="10.5.0.0/24")))
        """
    )


def test_somebody_flushes_all_tables(machine: Machine) -> None:
    """A firewall that is loaded anew takes the table away, yet all is put back."""
    machine.passes(
        """
        @pytest.mark.netns(SHARED)
        def test_flush(netns):
            run("nft flush ruleset")
        """
    )


def test_without_the_library(machine: Machine) -> None:
    """The program nft does what libnftables does where that is not installed."""
    machine.write(
        """
        import pytest_netns._libnftables as library
        library._library = lambda: None
        """,
        "conftest",
    )
    machine.passes(
        TALKING
        + """
        def test_out(netns, netns_manager):
            before = run("nft list ruleset")
            from pytest_netns import _libnftables
            assert not _libnftables.is_available()
            with netns_manager.build(SHARED) as network:
                assert talk(network["red"], "203.0.113.254") == "203.0.113.1"
                assert talk(network["red"], "2001:db8::fe") == "2001:db8::1"
            assert run("nft list ruleset") == before
        """
    )


def test_without_nft_at_all(machine: Machine) -> None:
    """A host can do without; sharing says what is missing, and leaves nothing."""
    machine.write(
        """
        import pytest_netns._libnftables as library
        library._library = lambda: None
        os.environ["PATH"] = "/nowhere"
        """,
        "conftest",
    )
    machine.passes(
        """
        def test_missing(netns_manager):
            with netns_manager.build(CABLE) as network:
                assert network["host"].ping("server")
            with pytest.raises(MissingTool, match="nft.*needed by Host"):
                netns_manager.build(SHARED)
        """
    )
