"""All that the kernel tells of a network, as a bag of lines that can be compared.

A line is ``place|kind|object|attribute=value``. Each attribute of a link has a line
of its own, and so has each sysctl, each file of sysfs, each entry of any table. What
is a matter of chance (MAC addresses that nobody declared, and what follows from
them) is called that; what may differ then is in the table of `differing`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_netns import _codec as codec
from pytest_netns._netlink import Refusal, RouteSocket, attributes
from tests.reliability.differing import VOLATILE, still

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_netns import Network, NetworkNamespace, Topology
    from pytest_netns._nsfile import NamespaceFile

_AF_BRIDGE = 7
_LINK_HEADER = 32  # struct nlmsghdr and struct ifinfomsg
_AF_SPEC = 26  # IFLA_AF_SPEC
_IFNAME, _LLADDRS = 3, (1, 54)  # IFLA_IFNAME; IFLA_ADDRESS, IFLA_PERM_ADDRESS
#: IFLA_LINKINFO, its data and those of a port, and IFLA_AF_SPEC.
_NESTED = {"18", "18.2", "18.5", "26"}
#: Request, family, length of the header (include/uapi/linux/rtnetlink.h).
_TABLES = {
    "raw address": (22, 0, 8),
    "raw route": (26, 0, 12),
    "raw neighbour": (30, 0, 12),
    "raw rule": (34, 0, 12),
    "raw queue": (38, 0, 20),
    "raw forwarding": (30, _AF_BRIDGE, 12),
    "raw vlan": (18, _AF_BRIDGE, 16),
    "raw peer": (90, 0, 4),
    "raw next hop": (106, 0, 8),
}
_HEADERS_WITH_A_NUMBER = {"raw neighbour", "raw queue", "raw forwarding", "raw vlan"}
#: Attributes that hold the number of an interface, by table.
_NUMBERS = {
    "raw link": {"10"},  # IFLA_MASTER
    "raw route": {"4"},  # RTA_OIF
    "raw neighbour": {"8", "9"},  # NDA_IFINDEX, NDA_MASTER
    "raw forwarding": {"8", "9"},
    "raw vlan": {"10", "5"},
}
#: Shown as JSON, with details.
_DETAILED = (
    *("ip link", "ip address", "ip neighbour", "ip nexthop", "ip netns list-id"),
    *("ip route show table all", "ip -6 route show table all"),
    *("ip rule", "ip -6 rule", "ip maddress", "ip tcp_metrics"),
    *("bridge link", "bridge fdb", "bridge vlan", "bridge vlan global", "bridge mdb"),
)
#: Shown as they are.
_PLAIN = (
    *("nft list ruleset", "tc qdisc", "tc actions list action gact", "ip xfrm state"),
    *("ip xfrm policy", "iptables-save", "ss --all --packet --raw --numeric"),
)
#: Each command after a line with its name; the sysfs of the place comes last.
_SCRIPT = "\n".join(
    [
        *(f"echo '# {one}'; {one.replace(' ', ' -d -j ', 1)}" for one in _DETAILED),
        *(f"echo '# {one}'; {one}" for one in _PLAIN),
        "for one in $(ls /sys/class/net); do",
        'echo "# ethtool|$one"; ethtool --show-features $one; done',
        "echo '# sys'; cd /sys/devices/virtual/net && grep -rs . .",
    ]
)
_PROC = (
    *("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "icmp6", "packet"),
    *("igmp", "igmp6", "dev_mcast", "if_inet6", "ip_tables_names", "arp", "ptype"),
    *("ip6_tables_names", "arp_tables_names", "nf_conntrack", "psched"),
)
#: Words that are numbers of interfaces, pointers or inodes; the last one first.
_NUMBERS_IN_PROC = {"if_inet6": (1,), "packet": (8, 4, 0)}
#: Behind so many words there are counters, pointers and inodes.
_TELLING = 6
_INSIDE = (
    "hostname; pwd; umask; cat /etc/hosts /etc/resolv.conf; env | sort;"
    "cut -d' ' -f 2-4 /proc/self/mounts"
)


class Place:
    """A place of a network.

    Attributes:
        chance: The MAC addresses there that nobody has declared.
    """

    def __init__(self, name: str, file: NamespaceFile, declared: set[str]) -> None:
        self._name = name
        self._file = file
        self._names: dict[int, str] = {}
        self.chance: set[bytes] = set()
        with file.entered(), RouteSocket() as route:
            self._links = route.dump(codec.dump(codec.RTM_GETLINK))
        for message in self._links:
            self._learn(message, declared)

    def _learn(self, message: bytes, declared: set[str]) -> None:
        (index,) = struct.unpack_from("=i", message, 20)
        parts = dict(attributes(message, _LINK_HEADER))
        self._names[index] = parts[_IFNAME].rstrip(b"\0").decode()
        lladdrs = {parts.get(number, b"") for number in _LLADDRS}
        self.chance |= {
            one for one in lladdrs if any(one) and one.hex(":") not in declared
        }

    def lines(self) -> Iterator[str]:
        """Yield all lines, but for what this thread has to go there for."""
        with self._file.entered():
            raw = [*self._raw(), *_sysctls(), *self._proc()]
            output = subprocess.run(
                ["unshare", "--mount", "sh", "-c", f"mount -t sysfs s /sys; {_SCRIPT}"],
                check=False,
                capture_output=True,
                text=True,
            ).stdout
        for line in (*raw, *_outputs(output)):
            yield f"{self._name}|{line}"

    def _raw(self) -> Iterator[str]:
        for message in self._links:
            kind, index, flags = struct.unpack_from("=xxHiI", message, 16)
            start = f"raw link|{self._names[index]}|"
            yield f"{start}kind={kind}"
            yield f"{start}flags={flags & ~0x10040:x}"  # IFF_LOWER_UP, IFF_RUNNING
            for path, value in _leaves(message[_LINK_HEADER:]):
                yield f"{start}{path}={self._shown('raw link', path, value)}"
        with RouteSocket() as route:
            for kind, (request, family, length) in _TABLES.items():
                try:
                    messages = route.dump(_dump(request, family, length))
                except Refusal as refusal:
                    yield f"{kind}|refused with {refusal.number}"
                    continue
                for message in messages:
                    yield f"{kind}|{self._entry(kind, message, length)}"

    def _entry(self, kind: str, message: bytes, length: int) -> str:
        header = message[16 : 16 + length].hex()
        if kind in _HEADERS_WITH_A_NUMBER:
            (number,) = struct.unpack_from("=i", message, 20)
            header = f"{header[:8]} {self._names.get(number, '?')} {header[16:]}"
        parts = (
            f"{path}={self._shown(kind, path, value)}"
            for path, value in _leaves(message[16 + length :])
        )
        if kind == "raw vlan":  # the rest is that of the link
            specification = f"{_AF_SPEC}."
            parts = (part for part in parts if part.startswith(specification))
            header = header.split()[1]
        return f"{header} {' '.join(sorted(parts))}"

    def _shown(self, kind: str, path: str, value: bytes) -> str:
        if (kind, path) == ("raw link", "5"):
            return "peer"  # IFLA_LINK, by a number that means nothing here
        if path in _NUMBERS.get(kind, ()) and len(value) == 4:
            (number,) = struct.unpack("=i", value)
            return self._names.get(number, "elsewhere")
        return value.hex()

    def _proc(self) -> Iterator[str]:
        for name in _PROC:
            text = _read(f"/proc/thread-self/net/{name}")
            for line in (text or "").splitlines()[1 if name != "if_inet6" else 0 :]:
                if name != "packet":  # a pointer, which may look like a number
                    line = re.sub(r"^\s*\d+:?\s", "", line)  # noqa: PLW2901
                words = line.split()
                for at in _NUMBERS_IN_PROC.get(name, ()):
                    words[at : at + 1] = []
                yield f"proc|{name}|{' '.join(words[:_TELLING])}"


def look_at(network: Network) -> Counter[str]:
    """Read everything in all places of a network."""
    declared = declared_lladdrs(network.topology)
    fabric = network._fabric
    files = dict(fabric.files)
    files |= {f"hidden {name}": one.file for name, one in fabric.switches.items()}
    if fabric.ovs is not None:
        files["Open vSwitch"] = fabric.ovs.daemons.file
    places = [Place(name, file, declared) for name, file in files.items()]
    lines = [line for place in places for line in place.lines()]
    lines += [line for namespace in network for line in _inside(namespace)]
    chance = _pattern(lladdr for place in places for lladdr in place.chance)
    found = (still(chance.sub("<chance>", line)) for line in lines)
    return Counter(line for line in found if not VOLATILE.search(line))


def declared_lladdrs(topology: Topology) -> set[str]:
    """Return the MAC addresses that records declare: these must be what they are."""
    return set(re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", repr(topology)))


def _inside(namespace: NetworkNamespace) -> Iterator[str]:
    """Yield what a process in a namespace sees of its surroundings."""
    for line in namespace.run(["sh", "-c", _INSIDE]).stdout.splitlines():
        yield f"{namespace.name}|inside|{line}"


def _outputs(text: str) -> Iterator[str]:
    """Yield the lines of the programs, those of JSON one entry each."""
    for section in text.split("# ")[1:]:
        command, _, output = section.partition("\n")
        for entry in _entries(output) if command in _DETAILED else output.splitlines():
            yield f"{command}|{entry}"


def _entries(text: str) -> Iterator[str]:
    """Yield what a program of iproute2 lists; some lists are no JSON."""
    try:
        entries = json.loads(text)
    except ValueError:
        yield from text.splitlines()
        return
    for entry in entries:
        lists = [key for key, value in entry.items() if isinstance(value, list)]
        for key in lists:  # such as the addresses of a link
            for one in entry.pop(key):
                owner = entry.get("ifname", "")
                yield f"{owner} {key} {json.dumps(one, sort_keys=True)}"
        yield json.dumps(entry, sort_keys=True)


def _sysctls() -> Iterator[str]:
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            path = f"{folder}/{name}"
            yield f"sysctl|{path.removeprefix('/proc/sys/')}={_read(path)!r}"


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8", "replace").replace("\t", " ")
    except OSError:
        return None


def _leaves(data: bytes, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield (path of numbers, value) of all attributes that hold no others."""
    for number, value in attributes(data):
        below = f"{path}.{number}" if path else str(number)
        if below in _NESTED or re.fullmatch(r"26\.\d+", below):
            yield from _leaves(value, below)
        else:
            yield below, value


def _dump(kind: int, family: int, length: int) -> bytearray:
    if kind == codec.RTM_GETLINK:
        return codec.dump(kind, family)
    body = bytes([family]).ljust(length, b"\0")
    return bytearray(struct.pack("=IHHII", 16 + len(body), kind, 1, 0, 0) + body)


def _pattern(lladdrs: Iterator[bytes]) -> re.Pattern[str]:
    """Return what finds MAC addresses, and IPv6 addresses that are made of them."""
    forms = {form for lladdr in lladdrs for form in _forms(lladdr)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _forms(lladdr: bytes) -> Iterator[str]:
    # RFC 4291: the end of a link-local address, and the group that its neighbours ask
    end = bytes([lladdr[0] ^ 2]) + lladdr[1:3] + b"\xff\xfe" + lladdr[3:]
    group = b"\xff" + lladdr[3:]
    multicast = b"\x33\x33" + group
    for raw in (lladdr, end, multicast):
        yield raw.hex()
        yield raw.hex(":")
    yield "ff02" + "0" * 18 + "01" + group.hex()
    for raw in (end, group):
        halves = struct.unpack(f"!{len(raw) // 2}H", raw)
        yield ":".join(f"{half:x}" for half in halves)
