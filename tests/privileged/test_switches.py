"""Recycled bridges: what comes back clean is lent again, what does not is not.

a --- br0 --- b
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bridge,
    MissingFeature,
    Namespace,
    NetworkManager,
    Topology,
    Veth,
    _switches,
)
from pytest_netns._switches import Switch, Switches, SwitchState
from pytest_netns.waiting import wait_until
from tests.inputs.kernel_state import kernel_filters_vlans

if TYPE_CHECKING:
    from collections.abc import Iterator


def lan(bridge: Bridge) -> Topology:
    """Two machines on `bridge`."""
    return Topology(
        bridge,
        Namespace("a"),
        Namespace("b"),
        Veth("a", bridge.name, address="10.1.0.1/24"),
        Veth("b", bridge.name, address="10.1.0.2/24"),
    )


PLAIN = lan(Bridge("br0"))


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """A manager of its own, so that its switches can be looked at."""
    with NetworkManager() as manager:
        yield manager


@pytest.fixture
def switch() -> Iterator[Switch]:
    """A switch that was just made."""
    switch = Switch(Bridge("br0"))
    yield switch
    switch.close()


def inside(switch: Switch, command: str) -> str:
    """Run a command in a place that no test can see, and return what it prints."""
    with switch.file.entered():
        return subprocess.run(
            command.split(), check=True, capture_output=True, text=True
        ).stdout


def wait_for_ports(switch: Switch) -> None:
    """Wait until the kernel has taken the ports of a switch away."""
    wait_until(lambda: switch.state() is not SwitchState.HAS_PORTS)


def use_up_to(manager: NetworkManager, topology: Topology, wanted: Switch) -> bool:
    """Build until `wanted` is lent again; its ports vanish some 30 ms late."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with manager.build(topology) as network:
            if wanted in network._fabric.switches.values():
                return bool(network["a"].ping("b"))
    return False


class TestRecycling:
    """Bridges go from network to network."""

    def test_a_bridge_is_lent_again(self, manager: NetworkManager) -> None:
        """A later network gets the same bridge, under its own names."""
        with manager.build(PLAIN) as network:
            (first,) = network._fabric.switches.values()
            assert network["a"].ping("b")
        assert use_up_to(manager, lan(Bridge("other")), first)
        assert use_up_to(manager, PLAIN, first)

    def test_few_bridges_serve_many_networks(self, manager: NetworkManager) -> None:
        """Over hundreds of networks no more bridges are made than rest at a time."""
        switches = set()
        for _ in range(300):
            with manager.build(PLAIN) as network:
                switches |= set(network._fabric.switches.values())
        assert len(switches) < 100  # without recycling it is 300

    @pytest.mark.parametrize(
        "bridge",
        [
            Bridge("br0", stp=True),
            Bridge("br0", mtu=1400),
            Bridge("br0", lladdr="02:00:00:00:00:0a"),
        ],
        ids=["stp", "mtu", "lladdr"],
    )
    def test_what_a_record_declared_is_gone(
        self, manager: NetworkManager, bridge: Bridge
    ) -> None:
        """A plain network after one with settings gets a bridge without them."""
        with manager.build(lan(bridge)) as network:
            (used,) = network._fabric.switches.values()
        wait_for_ports(used)
        with manager.build(PLAIN) as network:
            lent = used in network._fabric.switches.values()
        if bridge.stp:
            assert lent
        else:  # the kernel keeps such a setting for good: only for its like
            assert not lent
            assert use_up_to(manager, lan(bridge), used)

    def test_vlan_filtering_is_real_or_an_error(self, manager: NetworkManager) -> None:
        """A kernel that cannot filter VLANs says so, and names the record."""
        filtering = lan(Bridge("br0", vlan_filtering=True))
        if not kernel_filters_vlans():
            with pytest.raises(MissingFeature) as caught:
                manager.build(filtering)
            assert "CONFIG_BRIDGE_VLAN_FILTERING" in str(caught.value)
            assert "Bridge('br0', vlan_filtering=True)" in str(caught.value)
            return
        with manager.build(filtering) as network:
            (used,) = network._fabric.switches.values()
            assert "vlan_filtering 1" in inside(used, "ip -d link show br0")
            assert network["a"].ping("b")
        assert use_up_to(manager, PLAIN, used)
        assert "vlan_filtering 0" in inside(used, "ip -d link show br0")


class TestScrub:
    """Only what is as new is lent again."""

    def test_a_new_switch_is_clean(self, switch: Switch) -> None:
        """Nothing differs from when it was new, because it is new."""
        assert switch.state() is SwitchState.CLEAN

    def test_ports_come_and_go_without_a_trace(self, switch: Switch) -> None:
        """With a port it is not lent; when that is gone, and what it learnt, it is."""
        index = switch.next_port_index()
        inside(switch, f"ip link add p0 index {index} type veth peer name p1")
        inside(switch, "ip link set p0 master br0 up")
        inside(switch, "bridge fdb add 02:00:00:00:00:01 dev p0 master static")
        assert switch.state() is SwitchState.HAS_PORTS
        inside(switch, "ip link delete p0")
        assert switch.state() is SwitchState.CLEAN

    @pytest.mark.parametrize(
        "command",
        [
            "bridge fdb add 02:11:11:11:11:11 dev br0 self local",
            "ip address add 10.0.0.1/24 dev br0",
            "ip link set br0 mtu 1400",
            "ip link set br0 address 02:00:00:00:00:09",
            "ip link set br0 promisc on",
            "ip link set br0 down",
            "ip link set br0 alias changed",
            "ip link property add dev br0 altname other",
            "ip link set br0 txqueuelen 7",
            "ip link set br0 type bridge stp_state 1",
            "ip link set br0 type bridge ageing_time 100",
            "ip link set br0 type bridge forward_delay 400",
            "ip link set br0 type bridge priority 7",
            "ip link set br0 type bridge group_fwd_mask 8",
            "ip link set br0 type bridge mcast_snooping 0",
            "ip link set br0 type bridge nf_call_iptables 1",
            "tc qdisc add dev br0 root pfifo",
            "ip link set lo up",
        ],
    )
    def test_whatever_differs_is_noticed(self, switch: Switch, command: str) -> None:
        """A bridge that somebody got at is not lent again."""
        assert switch.state() is SwitchState.CLEAN
        inside(switch, command)
        assert switch.state() is SwitchState.CHANGED

    def test_a_changed_switch_is_kept_aside(self) -> None:
        """The next borrower gets another one."""
        switches = Switches()
        first = switches.borrow(Bridge("br0"))
        inside(first, "ip link set br0 type bridge ageing_time 100")
        switches.give_back(first)
        second = switches.borrow(Bridge("br0"))
        assert second is not first
        switches.give_back(second)
        assert switches.borrow(Bridge("br1")) is second
        switches.close()
        second.close()

    def test_ports_of_a_namespace_that_is_kept_open(
        self, manager: NetworkManager
    ) -> None:
        """While somebody holds the old network's namespaces, its switch is not lent."""
        with manager.build(PLAIN) as network:
            (used,) = network._fabric.switches.values()
            with Path(network["a"].path).open("rb") as kept:
                # outside, so that nobody takes it for a process of the test
                holder = subprocess.Popen(
                    ["cat"], stdin=subprocess.PIPE, pass_fds=[kept.fileno()]
                )
        with manager.build(PLAIN) as network:
            assert used not in network._fabric.switches.values()
        assert used.state() is SwitchState.HAS_PORTS
        holder.communicate()
        assert use_up_to(manager, PLAIN, used)


class TestOpenings:
    """Where nobody has a look at everything, nobody may have been."""

    @pytest.mark.parametrize(
        "command",
        [
            "sysctl -w net.ipv4.neigh.br0.gc_stale_time=7",
            "ip xfrm policy add src 10.0.0.0/24 dst 10.1.0.0/24 dir out action block",
            "ethtool -K br0 gro off",
            "true",
        ],
    )
    def test_who_goes_in_by_the_path_is_noticed(
        self, manager: NetworkManager, command: str
    ) -> None:
        """Whatever somebody did there, the bridge is lent to nobody any more."""
        with manager.build(PLAIN) as network:
            (used,) = network._fabric.switches.values()
            nsenter = ["nsenter", f"--net={used.file.path}", *command.split()]
            subprocess.run(nsenter, check=True, stdout=subprocess.PIPE)
        wait_for_ports(used)
        with manager.build(PLAIN) as network:
            assert used not in network._fabric.switches.values()
        assert used in manager._switches._aside

    def test_who_looks_at_a_bridge_that_waits(self, manager: NetworkManager) -> None:
        """It is not lent either, although it was as new when it was looked at."""
        with manager.build(PLAIN) as network:
            (used,) = network._fabric.switches.values()
        wait_for_ports(used)
        manager._switches.inspect()
        assert used in manager._switches._ready
        with Path(used.file.path).open("rb"):
            pass
        with manager.build(PLAIN) as network:
            assert used not in network._fabric.switches.values()

    def test_our_own_visits_do_not_count(self, manager: NetworkManager) -> None:
        """Captures, threads, sockets and processes of a test cost no bridge."""
        with manager.build(PLAIN) as network:
            (used,) = network._fabric.switches.values()
            kept = network["a"].socket()
            network["a"].popen(["sleep", "600"])
            with network.capture("br0:a-eth0"):
                assert network["b"].call(network["b"].ping, "a")
            network.link("br0:a-eth0").set_down()
        kept.close()
        assert use_up_to(manager, PLAIN, used)

    @pytest.mark.parametrize(
        "command",
        [
            "nft add table bridge mine",
            "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
        ],
    )
    def test_what_would_be_heard_is_looked_at_anyway(
        self, switch: Switch, command: str
    ) -> None:
        """Rulesets, and whether the bridge speaks, are compared as links are."""
        inside(switch, command)
        assert switch.state() is SwitchState.CHANGED

    def test_few_are_put_aside(self, manager: NetworkManager) -> None:
        """However many bridges somebody got at, the process keeps a handful."""
        for _ in range(12):
            with manager.build(PLAIN) as network:
                (used,) = network._fabric.switches.values()
                with Path(used.file.path).open("rb"):
                    pass
            wait_for_ports(used)
            manager._switches.inspect()
        assert 0 < len(manager._switches._aside) <= 8

    def test_not_all_are_kept_ready(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However slow the kernel was, what it has let go of is not kept for good."""
        monkeypatch.setattr(_switches, "_MOST_READY", 8)
        switches = manager._switches
        used = []
        for _ in range(12):
            with manager.build(PLAIN) as network:
                (one,) = network._fabric.switches.values()
                # as if the kernel had taken no port away so far
                switches._ready.clear()
                switches._resting.clear()
                used.append(one)
        for one in used:
            wait_for_ports(one)
        switches._resting.clear()
        switches._resting.extend(used)
        switches.inspect()
        assert switches._ready == used[-8:]
        assert [*switches._aside] == used[:4]
