"""What a machine has already: refused before anything is touched.

The machine has 203.0.113.1/24 and 2001:db8::1/64 on up.0, and what each test adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Machine

#: Builds what must be refused, and listens whether anything changes for a moment: the
#: kernel tells those who listen of every interface, address and route.
REFUSING = """
        COMMANDS = ["ip -d link", "ip addr", "ip route show table all",
                    "ip -6 route show table all", "nft list ruleset"]
        # include/uapi/linux/rtnetlink.h: RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, ...
        EVERYTHING = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

        def look():
            return [run(command) for command in COMMANDS]

        def has_heard(listener):
            try:
                return bool(listener.recv(65536, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return False

        @pytest.fixture
        def refused(netns_manager):
            def refused(error, message, *records):
                before = look()
                with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as listener:
                    listener.bind((0, EVERYTHING))
                    with pytest.raises(error, match=message):
                        netns_manager.build(Topology(*records))
                    assert not has_heard(listener)
                    run("ip link set lo promisc on")
                    run("ip link set lo promisc off")
                    assert has_heard(listener)
                assert netns_manager.networks == []
                assert look() == before
            return refused

        def cable(**fields):
            return [Host(), Namespace("server"),
                    Veth("host:x", "server:eth0", **fields)]
"""


def test_names_that_are_taken(machine: Machine) -> None:
    """An interface of the machine is never touched: the error says which it is."""
    machine.namespace.run("ip link add name br0 type bridge")
    machine.before = machine.state()
    machine.passes(
        REFUSING
        + """
        def test_an_end(refused):
            refused(DuplicateName, r"Host.*this machine has an interface 'up\\.0'",
                    Host(), Namespace("server"), Veth("host:up.0", "server"))

        def test_a_bridge(refused):
            refused(DuplicateName, r"this machine has an interface 'br0'",
                    Host(), Bridge("br0", namespace="host"))

        def test_a_port(refused):
            refused(DuplicateName, r"this machine has an interface 'br0'",
                    Host(), Bridge("br1", namespace="host"), Namespace("a"),
                    Veth("a", "br1:br0"))

        @pytest.mark.netns(CABLE)
        def test_later(netns):
            with pytest.raises(DuplicateName, match="'up.0'"):
                netns.add(Veth("host:up.0", "server"))
            assert len(netns["server"].interfaces) == 2
            netns.add(Veth("host:up.1", "server"))
        """
    )


def test_addresses_and_networks_that_are_taken(machine: Machine) -> None:
    """The machine's own addresses, and every network that it has a route to."""
    machine.passes(
        REFUSING
        + """
        @pytest.mark.parametrize("address", ["203.0.113.1/24", "203.0.113.1/32",
                                             "2001:db8::1/64", "2001:db8::1/128",
                                             "127.0.0.1/8"])
        def test_its_address(refused, address):
            text = address.partition("/")[0]
            message = f"address {text} is this machine's own, on '(up.0|lo)'; choose"
            refused(InvalidAddress, message, *cable(address=address))

        @pytest.mark.parametrize("address", [
            "203.0.113.7/24", "203.0.113.7/32", "203.0.113.130/25", "203.0.0.1/16",
            "2001:db8::7/64", "2001:db8::7/128", "2001:db8::4:1/112",
            "2001:db8:1::1/32"])
        def test_its_network(refused, address):
            network = "2001:db8::/64" if ":" in address else "203.0.113.0/24"
            message = rf"Host.*{address} would shadow .* {network} \\(dev up.0\\); ch"
            refused(InvalidAddress, message, *cable(address=address))

        def test_handed_out(refused):
            refused(InvalidAddress, "203.0.113.2/24 would shadow",
                    Host(), Namespace("a"), Bridge("br0", subnet="203.0.113.0/24"),
                    Veth("a", "br0"), Veth("host", "br0"))

        def test_of_a_bridge(refused):
            refused(InvalidAddress, "2001:db8::9/64 would shadow",
                    Host(), Bridge("br9", namespace="host", address="2001:db8::9/64"))

        @pytest.mark.netns(CABLE)
        def test_later(netns):
            with pytest.raises(InvalidAddress, match="203.0.113.9/24 would shadow"):
                netns.add(Veth("host:x", "server", address="203.0.113.9/24"))
            assert len(netns["server"].interfaces) == 2
            assert "x" not in netns.topology.layout.interfaces["host"]

        @pytest.mark.netns(CABLE)
        def test_of_another_network(netns, netns_manager):
            with pytest.raises(InvalidAddress, match="10.5.0.9/24 would shadow"):
                netns_manager.build(Topology(*cable(address="10.5.0.9/24")))

        @pytest.mark.netns(*cable(address=["203.0.114.1/24", "2001:db8:0:1::1/64",
                                           "fe80::1/64"]))
        def test_beside_it(netns):
            assert netns.link("host:x").is_up
        """
    )


def test_routes_that_are_taken(machine: Machine) -> None:
    """A route of the record must lead to where the machine has none."""
    for command in (
        "ip route add 192.0.2.0/24 via 203.0.113.254",
        "ip route add blackhole 198.51.100.0/24",
        "ip route add 10.9.0.0/16 via 203.0.113.254 table 77",
        "ip route add 169.254.0.0/16 dev up.0",
        "ip -6 r add 2001:db8:2::/48 nexthop via 2001:db8::a nexthop via 2001:db8::b",
    ):
        machine.namespace.run(command)
    machine.before = machine.state()
    machine.passes(
        REFUSING
        + """
        def via(destination, gateway="10.5.0.2", **fields):
            return [Host(routes=[Route(destination, via=gateway, **fields)]),
                    Namespace("server"),
                    Veth("host:x", "server", address=["10.5.0.1/24", "fd05::1/64"])]

        @pytest.mark.parametrize("destination", [
            "192.0.2.0/24", "192.0.2.128/25", "192.0.0.0/16", "198.51.100.0/24",
            "10.9.1.0/24", "203.0.113.0/25", "169.254.169.254/32"])
        def test_ipv4(refused, destination):
            refused(InvalidAddress, f"Route.'{destination}'.* would shadow",
                    *via(destination))

        @pytest.mark.parametrize("destination", ["2001:db8:2:1::/64", "2001:db8::/32"])
        def test_ipv6(refused, destination):
            refused(InvalidAddress, f"Route.'{destination}'.* would shadow .*dev up.0",
                    *via(destination, "fd05::2"))

        def test_what_is_said_of_a_route_to_nowhere(refused):
            refused(InvalidAddress, r"198.51.100.0/24 \\(blackhole\\)",
                    *via("198.51.100.0/24"))

        @pytest.mark.parametrize("to", ["default", "0.0.0.0/0", "128.0.0.0/1"])
        def test_default(refused, to):
            refused(InvalidAddress, f"'{to}'.* would shadow .* default .dev up.0",
                    *via(to))

        def test_default_of_ipv6(refused):
            refused(InvalidAddress, "would shadow .* default",
                    *via("default", "fd05::2"))
            refused(InvalidAddress, "would shadow .* default",
                    Host(routes=[Route("default", dev="x")]), Namespace("server"),
                    Veth("host:x", "server", address="fd05::1/64"))

        def test_link_local_of_ipv4(refused):
            refused(InvalidAddress, "would shadow .* 169.254.0.0/16",
                    *cable(address="169.254.7.7/16"))

        @pytest.mark.netns(*via("10.10.0.0/16"))
        def test_beside_them(netns):
            assert "10.10.0.0/16 via 10.5.0.2" in run("ip route")
        """
    )


def test_a_machine_behind_a_vpn(machine: Machine) -> None:
    """Halves of everything are a default route: all networks are inside of them."""
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        machine.namespace.run(f"ip route add {half} via 203.0.113.254")
    machine.before = machine.state()
    machine.passes(
        """
        @pytest.mark.netns(CABLE)
        def test_works(netns):
            assert netns["host"].ping("server")
        """
    )


def test_a_machine_without_a_connection(machine: Machine) -> None:
    """Where there is no default route, the network may bring one."""
    machine.namespace.run("ip link set up.0 down")
    machine.before = machine.state()
    machine.passes(
        """
        @pytest.mark.netns(
            Host(routes=[Route("default", via="10.5.0.2"), Route("default", dev="x6")]),
            Namespace("gw"),
            Veth("host", "gw", subnet="10.5.0.0/24"),
            Veth("host:x6", "gw", subnet="fd06::/64"),
        )
        def test_default(netns):
            assert "default via 10.5.0.2" in run("ip route")
            assert "default dev x6" in run("ip -6 route")
        """
    )


def test_a_failed_build_leaves_nothing(machine: Machine) -> None:
    """Whatever fails later, in whichever namespace, all of the machine is as before."""
    machine.passes(
        REFUSING
        + """
        BAD = {"net.ipv4.conf.eth0.forwarding_": "1"}

        @pytest.mark.parametrize("share", [False, True])
        def test_whole(netns_manager, share):
            before = look()
            with pytest.raises(KernelError, match="forwarding_"):
                netns_manager.build(Topology(
                    Host(share_connection=share), Namespace("bad", sysctls=BAD),
                    Bridge("br9", namespace="host"), Veth("host:a", "host:b"),
                    Veth("bad", "br9"),
                    Veth("host:x", "bad", address=["10.5.0.1/24", "fd05::1/64"])))
            assert look() == before

        @pytest.mark.netns(CABLE)
        def test_part(netns):
            before = look()
            with pytest.raises(KernelError, match="forwarding_"):
                netns.add(Namespace("bad", sysctls=BAD),
                          Bridge("br9", namespace="host"), Veth("host:a", "host:b"),
                          Veth("bad", "br9"),
                          Veth("host:x", "bad", address="10.6.0.1/24"))
            assert look() == before
            assert netns["host"].ping("server")

        def test_ruleset(netns_manager):
            before = look()
            with pytest.raises(RulesetError):
                netns_manager.build(CABLE.with_records(Namespace("bad", nftables="no")))
            assert look() == before
        """
    )


@pytest.mark.parametrize("kind", ["all", "default"])
def test_a_machine_without_ipv6(machine: Machine, kind: str) -> None:
    """An IPv6 address is refused with the kernel's reason; IPv4 works as ever."""
    machine.namespace.sysctl[f"net.ipv6.conf.{kind}.disable_ipv6"] = "1"
    machine.before = machine.state()
    machine.passes(
        """
        def test_ipv6(netns_manager):
            with pytest.raises(KernelError, match="add address fd05::1/64.*EACCES"):
                netns_manager.build(CABLE)
            assert "server" not in run("ip link")

        def test_ipv4(netns):
            netns.add(Host(), Namespace("server"),
                      Veth("host", "server", subnet="10.5.0.0/24"))
            assert netns["server"].ping("host")
        """
    )
