"""The test process as a machine of the network: what it reaches, what is added.

::

    host:server-eth0 (10.5.0.1, fd05::1) ─── (10.5.0.2, fd05::2) server:eth0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Machine

#: What an inner test file needs to see what was added to the machine.
LOOKING = """
        COMMANDS = ["ip -o link", "ip -o addr", "ip route show table all",
                    "ip -6 route show table all", "ip rule", "nft list ruleset"]
        BEFORE = {command: run(command).splitlines() for command in COMMANDS}

        def added(command):
            now = run(command).splitlines()
            assert [line for line in BEFORE[command] if line not in now] == []
            return [line for line in now if line not in BEFORE[command]]
"""


def test_the_test_itself_talks_to_a_server(machine: Machine) -> None:
    """Without entering anything, over IPv4 and IPv6, from the host's addresses."""
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_itself(netns):
            command = [sys.executable, "-m", "http.server", "--bind", "::", "80"]
            web = netns["server"].popen(command)
            web.wait_listening(80)
            assert urlopen("http://10.5.0.2/").status == 200
            assert urlopen("http://[fd05::2]/").status == 200
            assert "10.5.0.1 - -" in web.output
            assert "fd05::1 - -" in web.output
        """
    )


def test_others_reach_it_by_name(machine: Machine) -> None:
    """It is in their hosts files, under the name of its record, and answers pings."""
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_by_name(netns):
            assert netns["server"].ping("host")
            assert netns["server"].ping("fd05::1")
            hosts = netns["server"].run("cat /etc/hosts").stdout.splitlines()
            assert "10.5.0.1 host" in hosts
            assert "fd05::1 host" in hosts
            with socket.create_server(("10.5.0.1", 8080)):
                code = "import socket; socket.create_connection(('host', 8080))"
                netns["server"].run([sys.executable, "-c", code])

        @pytest.mark.netns(Host("laptop"), Namespace("server"),
                           Veth("server", "laptop", subnet="10.5.0.0/24"))
        def test_by_another_name(netns):
            assert netns["server"].ping("laptop")
            assert netns["laptop"].ping("server")
            with pytest.raises(UnknownName, match="'host'"):
                netns["host"]
        """
    )


def test_only_its_own_is_added(machine: Machine) -> None:
    """One interface with its addresses, and the routes of these and of the record."""
    machine.passes(
        LOOKING
        + """
        ROUTED = Topology(
            Host(routes=[Route("10.6.0.0/24", via="10.5.0.2"),
                         Route("fd06::/64", dev="server-eth0", metric=7)]),
            *(record for record in CABLE if not isinstance(record, Host)),
        )

        @pytest.mark.netns(ROUTED)
        def test_added(netns):
            (link,) = added("ip -o link")
            assert "server-eth0@" in link
            scopes = [line.split()[1:4] for line in added("ip -o addr")
                      if "scope link" not in line]
            assert scopes == [["server-eth0", "inet", "10.5.0.1/24"],
                              ["server-eth0", "inet6", "fd05::1/64"]]
            for command in ("ip route show table all", "ip -6 route show table all"):
                assert all("dev server-eth0" in line for line in added(command))
            routes = " / ".join(added("ip route show table all"))
            assert "10.5.0.0/24 dev server-eth0 proto kernel" in routes
            assert "10.6.0.0/24 via 10.5.0.2 dev server-eth0" in routes
            routes = " / ".join(added("ip -6 route show table all"))
            assert "fd06::/64 dev server-eth0 proto static metric 7" in routes
            assert added("ip rule") == added("nft list ruleset") == []

        def test_gone():
            assert not any(added(command) for command in COMMANDS)
        """
    )


def test_a_host_without_cables_adds_nothing(machine: Machine) -> None:
    """It is a name, and a place to run things in."""
    machine.passes(
        LOOKING
        + """
        @pytest.mark.netns(Host(), Namespace("alone"))
        def test_nothing(netns):
            assert not any(added(command) for command in COMMANDS)
            assert netns["host"].run("true").returncode == 0
            assert netns["host"].interface("up.0").is_up
        """
    )


def test_what_is_behind_a_router(machine: Machine) -> None:
    """Host(routes=...) leads through a gateway of the network.

    ::

        host 10.5.0.1 ─── 10.5.0.2 gw 10.6.0.1 ─── 10.6.0.2 behind
    """
    machine.passes(
        """
        @pytest.mark.netns(
            Host(routes=[Route("10.6.0.0/24", via="10.5.0.2")]),
            Namespace("gw", forwarding=True),
            Namespace("behind", routes=[Route("default", via="10.6.0.1")]),
            Veth("host", "gw", subnet="10.5.0.0/24"),
            Veth("gw", "behind", subnet="10.6.0.0/24"),
        )
        def test_behind(netns):
            with netns["behind"].socket() as server:
                server.bind(("10.6.0.2", 80))
                server.listen()
                with socket.create_connection(("10.6.0.2", 80)) as client:
                    assert client.getsockname()[0] == "10.5.0.1"
        """
    )


def test_names_of_its_ends(machine: Machine) -> None:
    """Those that have none are called after what they lead to; others as one says."""
    machine.passes(
        """
        @pytest.mark.netns(
            Host(), Namespace("a"), Namespace("b"), Bridge("br0"),
            Namespace("a-very-long-name-of-a-machine"),
            Veth("host", "a", subnet="10.5.0.0/24"),
            Veth("b:wan", "host", subnet="10.5.1.0/24"),
            Veth("host:mine.5", "b", subnet="10.5.2.0/24"),
            Veth("br0", "host", subnet="10.5.3.0/24"),
            Veth("br0", "a"),
            Veth("host", "a-very-long-name-of-a-machine"),
        )
        def test_names(netns):
            names = [one.name for one in netns["host"].interfaces]
            assert names == ["lo", "up.0", *sorted(names[2:], key=names.index)]
            assert set(names[2:]) == {"a-eth0", "b-wan", "mine.5", "br0-host",
                                      "a-very-long-n~1"}
            assert netns.link("host:mine.5").is_up
            assert netns["host"].ping("10.5.2.2")
            assert netns["host"].ping("a")
        """
    )


def test_on_a_switch(machine: Machine) -> None:
    """A switch that nobody sees has a port for it as for any machine.

    ::

        br0
        ├── host 10.5.0.1
        ├── a    10.5.0.2
        └── b    10.5.0.3
    """
    machine.passes(
        LOOKING
        + """
        @pytest.mark.netns(
            Host(), Namespace("a"), Namespace("b"),
            Bridge("br0", subnet=["10.5.0.0/24", "fd05::/64"]),
            Veth("host", "br0"), Veth("a", "br0"), Veth("b", "br0"),
        )
        def test_switch(netns):
            assert len(added("ip -o link")) == 1
            for name in "ab":
                assert netns["host"].ping(name)
                assert netns[name].ping("host")
                assert netns["host"].ping(str(netns[name].ip6))
        """
    )


def test_a_bridge_of_the_machine(machine: Machine) -> None:
    """It is a device like one made by hand, its ports are, and no sysctl changes.

    ::

        host:br9 10.5.0.1
        ├── a 10.5.0.2
        └── b 10.5.0.3
    """
    machine.passes(
        """
        BRIDGE_NF = Path("/proc/sys/net/bridge")

        def sysctls():
            return {path.name: path.read_text() for path in BRIDGE_NF.glob("*")}

        BEFORE = sysctls()

        @pytest.mark.netns(
            Host(), Namespace("a"), Namespace("b"),
            Bridge("br9", namespace="host", subnet=["10.5.0.0/24", "fd05::/64"]),
            Veth("a", "br9"), Veth("b:eth0", "br9:port"),
        )
        def test_bridge(netns):
            assert "br9" in run("ip -o link show type bridge")
            ports = run("ip -o link show master br9")
            assert "a-eth0@" in ports and "port@" in ports
            assert netns["a"].ping("b")
            assert netns["a"].ping("host")
            assert netns["host"].ping(str(netns["b"].ip6))
            assert sysctls() == BEFORE

        def test_gone():
            assert run("ip -o link show type bridge") == ""
        """
    )


@pytest.mark.netns(requires=["ovs-vswitchd"])
def test_a_switch_of_open_vswitch_that_the_machine_has(machine: Machine) -> None:
    """Its device is there like that of a bridge.

    ::

        host:ovs 10.5.0.1 ─── a 10.5.0.2
    """
    machine.passes(
        """
        @pytest.mark.netns(
            Host(), Namespace("a"),
            OVSBridge("ovs", namespace="host", subnet=["10.5.0.0/24", "fd05::/64"]),
            Veth("a", "ovs"),
        )
        def test_ovs(netns):
            assert netns["host"].ping("a")
            assert netns["a"].ping("fd05::1")
            with socket.create_server(("10.5.0.1", 8080)) as server:
                with netns["a"].socket() as client:
                    client.connect(("10.5.0.1", 8080))
                    assert server.accept()[0].close() is None
        """
    )


def test_a_cable_with_both_ends_in_the_machine(machine: Machine) -> None:
    """It is there while the test runs, and gone afterwards."""
    machine.passes(
        """
        @pytest.mark.netns(Host(), Veth("host:a", "host:b", address="10.5.0.1/24"))
        def test_loop(netns):
            assert netns.link("host:a").is_up
            assert netns.link("host:b").is_up
            assert "10.5.0.0/24 dev a" in run("ip route")
        """
    )


def test_more_cables_later(machine: Machine) -> None:
    """A host joins a live network, and cables join a live host."""
    machine.passes(
        """
        def test_later(netns):
            netns.add(Namespace("server"))
            netns.add(Host())
            assert "host" in netns
            netns.add(Veth("host:x", "server", subnet="10.5.0.0/24"))
            assert netns["host"].ping("server")
            netns.add(Veth("host:y", "server", subnet="10.5.1.0/24"))
            assert netns["host"].ping("10.5.1.2")
            # a second cable into a network that is the test's own
            netns.add(Veth("host:z", "server", address="10.5.0.3/24"))
            netns.add(Bridge("br9", namespace="host", subnet="10.5.2.0/24"),
                      Veth("server", "br9"))
            assert netns["host"].ping("10.5.2.2")
            assert "10.5.0.1 host" in netns["server"].run("cat /etc/hosts").stdout
        """
    )


def test_a_pulled_cable(machine: Machine) -> None:
    """What was declared comes back when its end is set up again, routes included."""
    machine.passes(
        """
        @pytest.mark.netns(
            Host(routes=[Route("10.6.0.0/24", via="10.5.0.2")]), Namespace("server"),
            Veth("host:x", "server", subnet=["10.5.0.0/24", "fd05::/64"]),
        )
        def test_pulled(netns):
            cable = netns.link("host:x")
            assert netns["server"].ping("host")
            cable.set_down()
            assert "10.6.0.0/24" not in run("ip route")
            assert not netns["server"].ping("host", timeout=0.05)
            cable.set_up()
            assert "10.6.0.0/24 via 10.5.0.2" in run("ip route")
            assert netns["server"].ping("host")
            assert netns["server"].ping("fd05::1")
        """
    )


def test_two_networks_of_one_test(machine: Machine) -> None:
    """Two networks with a host each are there at once, and end one by one.

    ::

        host 10.5.0.1 ─── 10.5.0.2 server          host 10.6.0.1 ─── 10.6.0.2 server
    """
    machine.passes(
        """
        OTHER = Topology(Host(), Namespace("server"),
                         Veth("host:other", "server", subnet="10.6.0.0/24"))

        @pytest.mark.netns(CABLE)
        def test_two(netns, netns_manager):
            with netns_manager.build(OTHER) as other:
                assert netns["host"].ping("server")
                assert other["host"].ping("server")
                assert other["host"].inode == netns["host"].inode
                process = other["host"].popen(["sleep", "600"])
                assert netns["host"].pids() == []
            assert "other" not in run("ip link")
            assert process.poll() is not None
            assert netns["host"].ping("server")
        """
    )
