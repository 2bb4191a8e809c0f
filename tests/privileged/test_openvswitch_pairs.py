"""The daemons of Open vSwitch: few, clean, and gone in the end.

::

    ns1 192.168.0.1 ─── veth-ns1  OVS-1  veth-ns2 ─── 192.168.0.2 ns2
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Namespace,
    NetnsError,
    Network,
    NetworkManager,
    OVSBridge,
    Topology,
    Veth,
)
from pytest_netns._genetlink import has_family
from pytest_netns._ovs_place import KEPT
from pytest_netns.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAN = Topology(
    Namespace("ns1"),
    Namespace("ns2"),
    OVSBridge("OVS-1"),
    Veth("ns1", "OVS-1:veth-ns1", address="192.168.0.1/24"),
    Veth("ns2", "OVS-1:veth-ns2", address="192.168.0.2/24"),
)
DAEMONS = ("ovsdb-server", "ovs-vswitchd")
pytestmark = pytest.mark.netns(requires=("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"))


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """A manager of its own, so that its daemons can be looked at."""
    with NetworkManager() as manager:
        yield manager


def pids(network: Network) -> list[int]:
    """List the daemons of a network: ovsdb-server, then ovs-vswitchd."""
    assert network._fabric.ovs is not None
    return [one.pid for one in network._fabric.ovs.daemons.processes]


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class TestLending:
    """Which network gets which daemons."""

    def test_one_pair_serves_a_run(self, manager: NetworkManager) -> None:
        """Twenty networks in a row are switched by the same two processes."""
        seen = set()
        for _ in range(20):
            with manager.build(LAN) as network:
                assert network["ns1"].ping("ns2")
                seen.add(tuple(pids(network)))
        assert len(seen) == 1

    def test_networks_at_once(self, manager: NetworkManager) -> None:
        """Networks at the same time have different daemons, later ones the same."""
        with manager.build(LAN) as one, manager.build(LAN) as other:
            pairs = {tuple(pids(one)), tuple(pids(other))}
            assert len(pairs) == 2
            assert one["ns1"].ping("ns2")
            assert other["ns1"].ping("ns2")
        with manager.build(LAN) as one, manager.build(LAN) as other:
            assert {tuple(pids(one)), tuple(pids(other))} == pairs

    def test_whose_place_was_opened(self, manager: NetworkManager) -> None:
        """Nobody gets daemons in whose namespace somebody may have been."""
        with manager.build(LAN) as network:
            first = pids(network)
            assert network["ns1"].ping("ns2")
        with manager.build(LAN) as network:
            assert pids(network) == first
            assert network._fabric.ovs is not None
            place = network._fabric.ovs.daemons.file.path
            subprocess.run(["nsenter", f"--net={place}", "true"], check=True)
        with manager.build(LAN) as network:
            assert pids(network) != first

    def test_none_without_need(self, manager: NetworkManager) -> None:
        """A network without such a bridge starts nothing."""
        with manager.build(Topology(Namespace("a"))) as network:
            assert network._fabric.daemons() == []

    def test_gone_with_the_manager(self, manager: NetworkManager) -> None:
        """When the manager is closed, so are all daemons, lent or not."""
        manager.build(LAN)
        with manager.build(LAN) as network:
            resting = pids(network)
        (lent,) = [pids(network) for network in manager.networks]
        assert all(map(is_alive, [*lent, *resting]))
        manager.close()
        assert not any(map(is_alive, [*lent, *resting]))

    def test_out_of_everyones_way(self, manager: NetworkManager) -> None:
        """They have a session of their own, and nothing of this process.

        Neither its descriptors nor its terminal, and not its working directory.
        """
        mark = os.memfd_create("mark", 0)  # a child would inherit it
        try:
            with manager.build(LAN) as network:
                for pid in pids(network):
                    process = Path(f"/proc/{pid}")
                    held = [str(one.readlink()) for one in (process / "fd").iterdir()]
                    assert not any("mark" in one or "/dev/pt" in one for one in held)
                    assert str((process / "cwd").readlink()) == "/"
                    assert os.getsid(pid) == pid
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    assert fields[4] == "0"  # tty_nr of proc_pid_stat(5)
        finally:
            os.close(mark)

    def test_nothing_on_disk(self, manager: NetworkManager) -> None:
        """Their files are in memory that no other process sees."""
        with manager.build(LAN) as network:
            assert network._fabric.ovs is not None
            place = network._fabric.ovs.daemons.place
            assert "db.sock" in place.run(["ls", "/run/openvswitch"])
            (kind,) = set(place.run(["stat", "-fc%T", "/run", KEPT]).split())
            assert kind == "tmpfs"
            assert not Path(KEPT).exists()

    def test_who_switches(self, manager: NetworkManager) -> None:
        """The kernel does where it has a datapath, ovs-vswitchd where it has none."""
        kernel_can = has_family("ovs_datapath")
        with manager.build(LAN) as network:
            datapath = network.switch("OVS-1").vsctl("get bridge OVS-1 datapath_type")
            assert datapath.strip() == ('""' if kernel_can else "netdev")
        modules = Path("/proc/modules").read_text() if kernel_can else ""
        assert kernel_can == ("openvswitch " in modules)


#: What a test may do, and whether the daemons serve another one afterwards.
DEEDS: dict[str, tuple[Callable[[Network], object], bool]] = {
    "flows": (lambda n: n.switch("OVS-1").ofctl("add-flow actions=drop"), True),
    "groups": (
        lambda n: n.switch("OVS-1").ofctl(
            "-O OpenFlow13 add-group group_id=1,type=all,bucket=output:1"
        ),
        True,
    ),
    "vlan": (lambda n: n.switch("OVS-1").vsctl("set port veth-ns1 tag=9"), True),
    "bridge": (
        lambda n: n.switch("OVS-1").vsctl(
            "add-br more -- set bridge more datapath_type=netdev"
        ),
        True,
    ),
    "mirror": (
        lambda n: n.switch("OVS-1").vsctl(
            "-- --id=@m create mirror name=m select_all=true "
            "-- set bridge OVS-1 mirrors=@m"
        ),
        True,
    ),
    "controller": (
        lambda n: n.switch("OVS-1").vsctl("set-controller OVS-1 tcp:127.0.0.1"),
        True,
    ),
    "patch port": (
        lambda n: n.switch("OVS-1").vsctl(
            "add-port OVS-1 p -- set interface p type=patch options:peer=q"
        ),
        True,
    ),
    "internal port": (
        lambda n: n.switch("OVS-1").vsctl(
            "add-port OVS-1 tap -- set interface tap type=internal"
        ),
        True,
    ),
    "look": (lambda n: n.switch("OVS-1").appctl("fdb/show OVS-1"), True),
    "down": (lambda n: n.link("OVS-1:veth-ns1").set_down(), True),
    "queue": (lambda n: n.switch("OVS-1").vsctl("create queue dscp=1"), False),
    "manager": (
        lambda n: n.switch("OVS-1").vsctl("set-manager ptcp:6640:127.0.0.1"),
        False,
    ),
    "settings": (
        lambda n: n.switch("OVS-1").vsctl(
            "set Open_vSwitch . other_config:max-idle=1234"
        ),
        False,
    ),
    "settings undone": (
        lambda n: (
            n.switch("OVS-1").vsctl("set Open_vSwitch . other_config:max-idle=1"),
            n.switch("OVS-1").vsctl("clear Open_vSwitch . other_config"),
        ),
        False,
    ),
    "log level": (lambda n: n.switch("OVS-1").appctl("vlog/set dbg"), False),
}


#: What is another number in each network, or what ovs-vswitchd tells a moment later.
VOLATILE = re.compile(
    "cur_cfg|next_cfg|statistics|status|link_resets|ifindex|mac_in_use|ofport|"
    "datapath_version"
)


def state(network: Network) -> str:
    """Return all that can be seen of a network's daemons, but for what is random."""
    switch = network.switch("OVS-1")
    tables = ("Open_vSwitch", "Bridge", "Port", "Interface", "QoS", "Queue", "Mirror")
    text = "".join(switch.vsctl(f"list {table}") for table in tables)
    text += switch.vsctl("list Controller") + switch.vsctl("list Manager")
    text += switch.ofctl("dump-flows") + switch.ofctl("-O OpenFlow13 dump-groups")
    text += switch.appctl("vlog/list")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"(([0-9a-f]{2}:){5}[0-9a-f]{2}|0000[0-9a-f]{12})", "MAC", text)
    text = re.sub(r"(duration|idle_age|n_packets|n_bytes|xid)=[^, )]*", "", text)
    lines = [line for line in text.splitlines() if not VOLATILE.match(line)]
    return "\n".join(sorted(lines))


class TestCleanness:
    """Nothing of one network is seen by the next."""

    @pytest.mark.parametrize("deed", DEEDS)
    def test_whatever_a_test_does(self, manager: NetworkManager, deed: str) -> None:
        """The next network is as the first was, with these daemons or with others."""
        do, is_recycled = DEEDS[deed]
        with manager.build(LAN) as network:
            virgin, first = state(network), pids(network)
            do(network)
            if deed not in ("look", "down", "settings undone"):
                assert state(network) != virgin
        with manager.build(LAN) as network:
            assert (pids(network) == first) is is_recycled
            assert state(network) == virgin
            assert network["ns1"].ping("ns2")
        if not is_recycled:
            assert not any(map(is_alive, first))

    def test_a_tool_that_still_runs(self, manager: NetworkManager) -> None:
        """Daemons that somebody still speaks to are ended, and the tool with them."""
        with manager.build(LAN) as network:
            first = pids(network)
            switch, loan = network.switch("OVS-1"), network._fabric.ovs
            assert loan is not None
            with ThreadPoolExecutor() as executor:
                future = executor.submit(switch.ofctl, "monitor 64")
                wait_until(lambda: loan._running_tools)
                network.close()
                assert isinstance(future.exception(timeout=5), NetnsError)
        assert not any(map(is_alive, first))
        with manager.build(LAN) as network:
            assert pids(network) != first

    def test_a_namespace_that_is_kept_open(self, manager: NetworkManager) -> None:
        """Ports go, although somebody holds the machine at the other end."""
        with manager.build(LAN) as network:
            first = pids(network)
            with Path(network["ns1"].path).open("rb") as kept:
                # outside, so that nobody takes it for a process of the test
                holder = subprocess.Popen(
                    ["cat"], stdin=subprocess.PIPE, pass_fds=[kept.fileno()]
                )
        try:
            with manager.build(LAN) as network:
                assert pids(network) == first
                assert network["ns1"].ping("ns2")
        finally:
            holder.communicate()
