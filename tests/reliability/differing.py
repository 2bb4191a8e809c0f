"""What may differ between two networks of one topology, and why; nothing else may."""

from __future__ import annotations

import re

_LINK = r"\|raw link\|[^|]+\|"
#: MAC addresses that a network has, in one form or the other: by chance, or declared.
_OWN = r"<chance>|02(:?00){4}:?0\w|06:?11:?22:?33:?44:?55"
_SYS = r"\|sys\|\S+"

#: Patterns of lines that say nothing about what a test has done.
MAY_DIFFER = {
    _LINK + r"(7|23)=": "counters of packets (IFLA_STATS, IFLA_STATS64)",
    _LINK + r"(35|47|48)=": "how often the carrier came and went",
    _LINK + r"(16|33)=": "the carrier comes a moment later (linkwatch)",
    _LINK + r"42=": "padding, which depends on the length of the name",
    _LINK + r"18\.2\.(16|17|18|19|40)=": "timers of the bridge",
    _LINK + r"18\.2\.(1[0-5])=": "the root of a spanning tree goes by MAC address",
    _LINK + r"18\.5\.(3[0-9]|2[0-3])=": "timers and padding of a port",
    _LINK + r"18\.5\.(14|15|16)=": "the root of a spanning tree goes by MAC address",
    _LINK + r"(18\.2\.48|18\.5\.41)=": "how much was learnt from the network itself",
    _LINK + r"26\.10\.(3|5|6)=": "counters and ages of IPv6",
    _LINK + r"26\.10\.1=": "IPv6 is ready once the carrier is there",
    _SYS + r"/(statistics/|power/|uevent:)": "counters",
    _SYS + r"/(ifindex|iflink):": "the numbers of a bridge's ports only ever grow",
    _SYS + r"/(operstate|carrier\w*|speed|duplex|dormant):": "the carrier, as above",
    _SYS + r"_timer:": "timers",
    _SYS + r"/brport/state:": "where the spanning tree protocol stands",
    _LINK + r"18\.5\.1=": "where the spanning tree protocol stands",
    _SYS + r"/(root_id|root_port|designated_root|designated_bridge):": "as above",
    _SYS + r"/bridge/topology_change\w*:": "as above",
    _SYS + r"/name_assign_type:": "a bridge that was lent before was renamed",
    _SYS + r"/(config_pending|change_ack|byte_queue_limits/\S+):": "moves by itself",
    r"\|sysctl\|\S*(nf_conntrack_count|random/|stable_secret)": "moves by itself",
    r"\|sysctl\|net/(netfilter/nf_log|core/rps_)": "the machine's own",
    r"\|raw neighbour\|.* \w{0,4}4000": "multicast needs no neighbour (NUD_NOARP)",
    rf"\|raw forwarding\|\S+ \S+ 0200.* 2=({_OWN})": "learnt from the network itself",
    rf"\|raw neighbour\|.*({_OWN})": "learnt from the network itself",
    rf"\|ip neighbour\|(.*({_OWN})| state )": "learnt from the network itself",
    r'\|ip (link|address)\|\S+ flags "(NO-CARRIER|LOWER_UP)"': "the carrier, as above",
    r'\|bridge link\|\S+ flags "(NO-CARRIER|LOWER_UP)"': "the carrier, as above",
    rf'\|bridge fdb\|.*"mac": "({_OWN})".*"state": ""': "learnt, as above",
    r"\|inside\|(PYTEST_CURRENT_TEST|NETNS_|OLDPWD|_)": "tells which test it is",
    r"^Open vSwitch\|proc\|packet\|2 3 0000 0 ": "what it sends by, when it has",
    r"\|ss\b": "sockets of our own that read, by process",
}
VOLATILE = re.compile("|".join(MAY_DIFFER))

#: Attributes of messages that are ages and counters, by table.
_MOVING_ATTRIBUTES = {
    "raw address": "6",  # IFA_CACHEINFO
    "raw route": "12|17",  # RTA_CACHEINFO
    "raw neighbour": "3|4",  # NDA_CACHEINFO, NDA_PROBES
    "raw forwarding": "3",
    "raw queue": "3|7|9",  # TCA_STATS, TCA_STATS2, TCA_PAD
}
#: What moves by itself, or goes by number or MAC address, in the JSON of iproute2.
_MOVING_KEYS = re.compile(
    r'"(ifindex|link_index|used|updated|cache_info|hello_timer|tcn_timer|gc_timer'
    r"|topology_change_timer|hold_timer|message_age_timer|forward_delay_timer|root_id"
    r"|root_port|topology_change|topology_change_detected|designated_root|designated_bridge|bridge_id|timer|index|operstate"
    r"|topology_change_ack|config_pending|root_path_cost)"
    r'": ("[^"]*"|[-\d.a-z]+)(, )?'
    r'|"state": "(blocking|listening|learning|forwarding)"(, )?'
)


def still(line: str) -> str:
    """Return a line without what moves by itself in its middle."""
    kind = line.partition("|")[2].partition("|")[0]
    if kind == "raw address":
        # a link-local one is IFA_F_TENTATIVE until the carrier is there
        line = line.replace("|0a40c0fd", "|0a4080fd").replace(" 8=c0", " 8=80")
    if numbers := _MOVING_ATTRIBUTES.get(kind):
        return re.sub(rf" ({numbers})=\w*", "", line)
    return _MOVING_KEYS.sub("", line) if '": ' in line else line
