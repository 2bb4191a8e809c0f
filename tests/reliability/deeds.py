"""What a test may do to its network: through its objects, and behind their back.

A deed is a value that names what it does and with which numbers; whether it can be
done with a certain network is found out by trying.
"""

from __future__ import annotations

import struct
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import NetnsError
from pytest_netns._netlink import Refusal, RouteSocket
from tests.reliability.live import LIVE, ports_of

if TYPE_CHECKING:
    from pytest_netns import Network, NetworkNamespace

#: What there is nothing of in a network, or what this kernel does not know.
_IMPOSSIBLE = (
    *(NetnsError, OSError, LookupError, Refusal, StopIteration),
    subprocess.TimeoutExpired,
)
#: Commands in a namespace of the network; {dev} is an interface of its.
INSIDE = (
    "ip address add 198.51.100.7/24 dev {dev}",
    "ip address add 2001:db8::7/64 dev {dev}",
    "ip address flush dev {dev}",
    "ip route add 203.0.113.0/24 dev {dev}",
    "ip route add blackhole 203.0.113.0/24",
    "ip route add unreachable 2001:db8:1::/64",
    "ip route flush table main",
    "ip rule add from 198.51.100.0/24 table 100",
    "ip -6 rule del from all table main",
    "ip neighbour add 198.51.100.9 lladdr 02:09:00:00:00:09 dev {dev}",
    "ip nexthop add id 7 blackhole",
    "ip maddress add 33:33:00:00:00:99 dev {dev}",
    "ip xfrm policy add src 10.7.0.0/24 dst 10.8.0.0/24 dir out action block",
    "ip link set {dev} down",
    "ip link set {dev} mtu 1280",
    "ip link set {dev} address 02:77:00:00:00:07",
    "ip link set {dev} promisc on txqueuelen 7 alias changed",
    "sh -c 'ip link set {dev} down && ip link set {dev} name renamed'",
    "ip link set {dev} netns {other}",
    "ip link delete {dev}",
    "ip link add dummy0 type dummy",
    "ip link add br9 type bridge",
    "ip link add v9 type veth peer name v10",
    "ip link add v9 type veth peer name v10 netns {other}",
    "tc qdisc add dev {dev} root tbf rate 1mbit burst 10kb latency 10ms",
    "tc qdisc add dev {dev} clsact",
    "nft add table inet mine",
    "nft flush ruleset",
    "iptables -A FORWARD -j DROP",
    "sysctl -w net.ipv4.ip_forward=1",
    "sysctl -w net.ipv4.ip_forward=0",
    "sysctl -w net.ipv6.conf.all.disable_ipv6=1",
    "sysctl -w net.ipv4.conf.default.rp_filter=2",
    "sysctl -w net.core.somaxconn=7",
    "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close=7",
    "ethtool -K {dev} tx off gro off",
    "hostname changed",
    "mount -t tmpfs none /mnt",
    "sh -c 'echo 192.0.2.66 wrong >> /etc/hosts; rm -f /etc/resolv.conf'",
    "setsid -f sleep 600",
    "sh -c 'trap \"\" TERM; setsid -f sleep 600 & cd / && umask 0'",
    "ping -c 1 -W 1 10.1.0.1",
    "ping -c 1 -W 1 10.1.0.2",
)
#: Settings of a bridge, each with a value that is not what a new one has.
BRIDGE_SETTINGS = (
    *("ageing_time 100", "forward_delay 400", "hello_time 300", "max_age 900"),
    *("priority 7", "group_fwd_mask 8", "group_address 01:80:c2:00:00:0d"),
    *("stp_state 1", "stp_state 0", "vlan_filtering 1", "vlan_default_pvid 7"),
    *("vlan_stats_enabled 1", "vlan_stats_per_port 1", "vlan_protocol 802.1ad"),
    *("mcast_snooping 0", "mcast_router 2", "mcast_querier 1", "mcast_hash_max 64"),
    *("mcast_query_use_ifaddr 1", "mcast_igmp_version 3", "mcast_mld_version 2"),
    *("mcast_last_member_count 7", "mcast_startup_query_count 7"),
    *("mcast_last_member_interval 700", "mcast_membership_interval 7000"),
    *("mcast_querier_interval 7000", "mcast_query_interval 700"),
    *("mcast_query_response_interval 70", "mcast_startup_query_interval 700"),
    *("mcast_stats_enabled 1", "nf_call_iptables 1", "nf_call_ip6tables 1"),
    *("nf_call_arptables 1", "mcast_vlan_snooping 1", "no_linklocal_learn 1"),
)
PORT_SETTINGS = (
    *("hairpin on", "guard on", "root_block on", "fastleave on", "learning off"),
    *("flood off", "mcast_flood off", "bcast_flood off", "neigh_suppress on"),
    *("isolated on", "locked on", "cost 77", "priority 7", "state 0", "mcast_router 2"),
    *("mcast_to_unicast on", "vlan_tunnel on"),
)
_DROPPING = "'{{ chain c {{ type filter hook forward priority 0; policy drop; }}; }}'"
IN_SYSFS = (
    "echo 3 > /sys/class/net/{bridge}/queues/rx-0/rps_cpus",
    "echo 7 > /sys/class/net/{bridge}/bridge/multicast_last_member_count",
    "echo 777 > /sys/class/net/{bridge}/bridge/ageing_time",
)
#: Commands in the namespace of a hidden bridge {bridge}; {dev} is one of its ports.
HIDDEN = (
    *(f"ip link set {{bridge}} type bridge {one}" for one in BRIDGE_SETTINGS),
    *(f"bridge link set dev {{dev}} {one}" for one in PORT_SETTINGS),
    "bridge fdb add 02:66:00:00:00:01 dev {dev} master static",
    "bridge fdb add 02:66:00:00:00:02 dev {dev} master dynamic",
    "bridge fdb add 02:66:00:00:00:03 dev {dev} self",
    "bridge fdb add 02:66:00:00:00:04 dev {bridge} self local",
    "bridge mdb add dev {bridge} port {dev} grp 239.1.2.3 permanent",
    "bridge mdb add dev {bridge} port {bridge} grp 239.1.2.4 permanent",
    "bridge mdb add dev {bridge} port {dev} grp ff15::9 temp",
    "bridge vlan add dev {dev} vid 10 pvid untagged",
    "bridge vlan add dev {bridge} vid 10 self",
    "bridge vlan del dev {bridge} vid 1 self",
    "bridge vlan global set dev {bridge} vid 1 mcast_snooping 0",
    "ip link set {bridge} mtu 1300",
    "ip link set {bridge} address 02:66:00:00:00:09",
    "ip link set {bridge} txqueuelen 7 alias changed",
    "ip link set {bridge} promisc on",
    "ip link set {bridge} allmulticast on",
    "ip link set {bridge} multicast off",
    "ip link set {bridge} arp off",
    "ip link set {bridge} group 7",
    "ip link set {bridge} gso_max_size 7000 gso_max_segs 70",
    "ip link set {bridge} addrgenmode none",
    "ip link set {bridge} down",
    "ip link set {bridge} netns {other}",
    "ip link set {dev} nomaster",
    "ip link set {dev} down",
    "ip link set {dev} mtu 1280",
    "ip link set {dev} netns {other}",
    "ip link delete {dev}",
    "ip link delete {bridge}",
    "ip link property add dev {bridge} altname other",
    "ip link add dummy0 type dummy",
    "ip link add dummy0 master {bridge} type dummy",
    "ip link add v9 master {bridge} up type veth peer name v10 netns {other}",
    "ip link set lo up",
    "ip address add 10.66.0.1/24 dev {bridge}",
    "ip route add blackhole 10.67.0.0/24",
    "ip rule add from 10.66.0.0/24 table 66",
    "ip nexthop add id 7 blackhole",
    "ip neighbour add 10.66.0.9 lladdr 02:66:00:00:00:0a dev {bridge}",
    "ip xfrm policy add src 10.7.0.0/24 dst 10.8.0.0/24 dir out action block",
    "ip maddress add 33:33:00:00:00:66 dev {bridge}",
    "tc qdisc add dev {bridge} clsact",
    "tc qdisc add dev {bridge} root pfifo limit 7",
    "tc actions add action gact drop index 7",
    "ethtool -K {bridge} tx off gro off",
    f"nft add table bridge x {_DROPPING}",
    "nft add table netdev x",
    "iptables -P FORWARD DROP",
    "sysctl -w net.bridge.bridge-nf-call-iptables=1",
    "sysctl -w net.bridge.bridge-nf-filter-vlan-tagged=1",
    "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
    "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
    "sysctl -w net.ipv6.conf.{bridge}.disable_ipv6=0",
    "sysctl -w net.ipv4.conf.default.arp_ignore=1",
    "sysctl -w net.ipv4.neigh.{bridge}.gc_stale_time=7",
    "sysctl -w net.core.somaxconn=7",
    *(f"unshare --mount sh -c 'mount -t sysfs s /sys && {one}'" for one in IN_SYSFS),
    "setsid -f sleep 5",
    "tcpdump -i {bridge} -c 1 -w /dev/null",
)
#: Requests in a namespace of the network, for the place beyond its first interface.
BY_PEER = ("delete the bridge", "delete a port", "add a link")
# include/uapi/linux/rtnetlink.h and if_link.h
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_IFLA_LINKINFO, _IFLA_TARGET_NETNSID = 18, 46


@dataclass(frozen=True)
class Deed:
    """Something done to a network.

    Attributes:
        kind: "inside", "hidden", "peer" or "live".
        what: The command with places for names, or the key of what is done.
        which: Chooses among the namespaces, bridges and interfaces there are.
    """

    kind: str
    what: str
    which: int

    def do(self, network: Network) -> bool:
        """Do it; return whether it could be done with this network."""
        try:
            code: int | None = getattr(self, f"_do_{self.kind}")(network)
        except _IMPOSSIBLE:
            return False
        return not code

    def _do_inside(self, network: Network) -> int:
        namespace: NetworkNamespace = self._one_of(list(network))
        names = [one.name for one in namespace.interfaces if one.name != "lo"]
        others = [one for one in network if one is not namespace] or [namespace]
        command = self.what.format(dev=self._one_of(names), other=others[0].path)
        completed = namespace.run(command, check=False, timeout=5)
        return completed.returncode

    def _do_hidden(self, network: Network) -> int:
        bridge = self._one_of(list(network._fabric.switches))
        other = self._one_of(list(network)).path
        command = self.what.format(
            bridge=bridge, dev=self._one_of(ports_of(network, bridge)), other=other
        )
        return enter_hidden(network, bridge, command)

    def _do_peer(self, network: Network) -> None:
        """Change a hidden place from a namespace that a port there leads to.

        A request may name another namespace by the number that this one knows it by.
        """
        namespace: NetworkNamespace = self._one_of(list(network))
        bridge = self._one_of(list(network._fabric.switches))
        bridge_index = network._fabric.switches[bridge].index
        index, kind = {
            "delete the bridge": (bridge_index, _RTM_DELLINK),
            "delete a port": (bridge_index + 1 + self.which, _RTM_DELLINK),
            "add a link": (0, _RTM_NEWLINK),
        }[self.what]
        body = struct.pack("=BxHiII", 0, 0, index, 0, 0)
        body += struct.pack("=HHi", 8, _IFLA_TARGET_NETNSID, 0)
        if kind == _RTM_NEWLINK:
            body += struct.pack("=HHHH8s", 16, _IFLA_LINKINFO, 11, 1, b"bridge")
        flags = 0x601 if kind == _RTM_NEWLINK else 1  # NLM_F_CREATE and NLM_F_EXCL
        request = struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body
        with namespace, RouteSocket() as route:
            route.apply([bytearray(request)])

    def _do_live(self, network: Network) -> None:
        namespace = self._one_of(list(network))
        LIVE[self.what](network, namespace)

    def _one_of(self, choices: list[Any]) -> Any:
        if not choices:
            raise IndexError(self.what)
        return choices[self.which % len(choices)]


def enter_hidden(network: Network, bridge: str, command: str) -> int:
    """Run a command beside a hidden bridge, found as anybody could find it."""
    path = network._fabric.switches[bridge].file.path
    return subprocess.run(
        ["nsenter", f"--net={path}", "sh", "-c", command],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=5,
    ).returncode


_KINDS = {
    "inside": INSIDE,
    "hidden": HIDDEN,
    "peer": BY_PEER,
    "live": tuple(LIVE),
}
#: Each deed once, the kinds mixed.
EVERY = sorted(
    (Deed(kind, what, 0) for kind, those in _KINDS.items() for what in those),
    key=lambda deed: zlib.crc32(deed.what.encode()),
)
#: Any deed.
DEEDS = st.builds(
    lambda deed, which: Deed(deed.kind, deed.what, which),
    st.sampled_from(EVERY),
    st.integers(0, 2),
)
