"""What a topology declares, and what the kernel has, in the same words.

What is declared is worked out from the records. What is there is read by iproute2, nft
and ethtool, and from files of /proc, as a user would look at it.
"""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_netns import DNAT, Bridge, Masquerade, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_netns import Namespace, Network, Route, Topology
    from pytest_netns._layout import Interface, Layout
    from pytest_netns.nat import NatRule

State = dict[str, Any]

#: What is asked inside a namespace, each answer on a line of its own.
_QUESTIONS = (
    *("ip -j -d link", "ip -j address", "ip -j -4 route show table all"),
    *("ip -j -6 route show table all", "ip -j -4 neigh show nud permanent"),
    *("ip -j -6 neigh show nud permanent", "nft -j list ruleset"),
)
_SCRIPT = "; ".join(f"{question}; echo" for question in _QUESTIONS)
#: What `offload=False` turns off, as `ethtool -k` calls it.
_OFFLOADS = (
    *("tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-checksumming"),
    *("generic-segmentation-offload", "generic-receive-offload"),
)
_FORWARDING = (
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
)
#: What the kernel puts into its tables by itself.
_KERNELS_OWN = {"kernel", "ra"}
_DEFAULT_MTU = 1500


# --- what is declared ---


def kernel_filters_vlans() -> bool:
    """Ask iproute2, which does not know us."""
    command = "ip link add br0 type bridge vlan_filtering 1 && ip -d link show br0"
    asked = subprocess.run(
        ["unshare", "-n", "sh", "-c", command],
        check=False,
        capture_output=True,
        text=True,
    )
    return "vlan_filtering 1" in asked.stdout


def declared(topology: Topology) -> State:
    """Return what there must be in the kernel, by namespaces and hidden bridges."""
    layout = topology.layout
    return {
        "namespaces": {
            name: _declared_namespace(layout, namespace)
            for name, namespace in layout.namespaces.items()
        },
        "switches": {
            name: {
                "bridge": _declared_bridge(layout, bridge),
                "links": {
                    port.ifname: _declared_link(layout, port)
                    for port in layout.ports[name]
                },
            }
            for name, bridge in layout.bridges.items()
            if isinstance(bridge, Bridge) and bridge.namespace is None
        },
    }


def _declared_namespace(layout: Layout, namespace: Namespace) -> State:
    interfaces = layout.interfaces_of(namespace.name)
    own = {address for one in interfaces for address in one.addresses}
    return {
        "links": {one.ifname: _declared_link(layout, one) for one in interfaces},
        "bridges": {
            one.ifname: _declared_bridge(layout, one.record)
            for one in interfaces
            if isinstance(one.record, Bridge)
        },
        "addresses": {
            one.ifname: {str(address) for address in one.addresses}
            for one in interfaces
        },
        "routes": {
            _declared_route(route, own, interfaces) for route in namespace.routes
        },
        "neighbours": {
            (one.address, one.lladdr, one.dev) for one in namespace.neighbours
        },
        "forwarding": {"1" if namespace.forwarding else "0"},
        "sysctls": {
            key: str(value).split() for key, value in namespace.sysctls.items()
        },
        # what comes in and what goes out have a chain each
        "nat": sorted(
            (fact for rule in namespace.nat for fact in _declared_rules(rule)),
            key=lambda fact: "dnat" not in fact,
        ),
        "tables": _tables_in(namespace),
        "hosts": {
            (address, name)
            for name, addresses in namespace.hosts.items()
            for address in addresses
        },
        "nameservers": [*namespace.nameservers],
        "hostname": namespace.hostname or namespace.name,
        "no offload": {
            one.ifname
            for one in interfaces
            if isinstance(one.record, Veth) and not one.record.offload
        },
    }


def _declared_link(layout: Layout, interface: Interface) -> State:
    record = interface.record
    link: State = {"up": True, "lladdr": interface.lladdr}
    if isinstance(record, Bridge):
        return link | {"kind": "bridge", "mtu": _mtu_of_bridge(layout, record)}
    master = interface.master
    is_device = master in layout.bridges and layout.bridges[master].namespace
    return link | {
        "kind": "veth",
        "mtu": interface.mtu or _DEFAULT_MTU,
        "master": master if master is None or is_device else "hidden",
    }


def _mtu_of_bridge(layout: Layout, bridge: Bridge) -> int:
    # one without an MTU of its own has that of its smallest port: br_mtu_auto_adjust()
    ports = (port.mtu or _DEFAULT_MTU for port in layout.ports[bridge.name])
    return bridge.mtu or min(ports, default=_DEFAULT_MTU)


def _declared_bridge(layout: Layout, bridge: Bridge) -> State:
    return {
        "stp": bridge.stp,
        "vlan_filtering": bridge.vlan_filtering,
        "mtu": _mtu_of_bridge(layout, bridge),
        "lladdr": bridge.lladdr,
    }


def _declared_route(
    route: Route, own: set[Any], interfaces: list[Interface]
) -> tuple[Any, ...]:
    family = route.family
    if family is None:  # a default route has the family of what it leaves through
        versions = {
            address.version
            for one in interfaces
            if one.ifname == route.dev
            for address in one.addresses
        }
        family = 6 if versions == {6} else 4
    destination = route.destination
    # ip6_route_info_create(): IP6_RT_PRIO_USER
    metric = route.metric or (1024 if family == 6 else None)
    return (
        family,
        destination,
        route.via,
        route.dev or _device_towards(str(route.via), own, interfaces),
        route.source,
        metric,
        route.table or "main",
        _declared_scope(route, family),
    )


def _declared_scope(route: Route, family: int) -> str:
    if family == 6:  # its routes have none
        return "global"
    return route.scope or ("global" if route.via else "link")


def _device_towards(via: str, own: set[Any], interfaces: list[Interface]) -> str | None:
    towards = [
        one.ifname
        for one in interfaces
        for address in one.addresses
        if ip_address(via) in address.network
    ]
    return towards[0] if towards else None


def _declared_rules(rule: NatRule) -> Iterator[State]:
    if isinstance(rule, DNAT):
        # those without a network are for the machine's own addresses
        for network in rule.destination or ("local",):
            yield {
                "daddr": network,
                "iifname": rule.in_interface,
                "family": "ipv6" if ":" in rule.to.rpartition(":")[0] else "ipv4",
                "dport": (rule.protocol, rule.port),
                "dnat": rule.to,
            }
        return
    for source in rule.source or (None,):
        out: State = {"saddr": source, "oifname": rule.out_interface or "!= lo"}
        if isinstance(rule, Masquerade):
            yield {**out, "masquerade": True}
        else:
            yield {**out, "snat": rule.to}


def _tables_in(namespace: Namespace) -> set[str]:
    words = namespace.nftables.split()
    names = {words[at + 2] for at, word in enumerate(words) if word == "table"}
    return names | ({"pytest_netns_nat"} if namespace.nat else set())


# --- what is there ---


def found(network: Network) -> State:
    """Return what there is in the kernel, of what `declared` speaks of."""
    topology = network.topology
    return {
        "namespaces": {
            name: _found_in_namespace(network, namespace)
            for name, namespace in topology.layout.namespaces.items()
        },
        "switches": {
            name: _found_in_switch(network, bridge)
            for name, bridge in topology.layout.bridges.items()
            if isinstance(bridge, Bridge) and bridge.namespace is None
        },
    }


def _found_in_namespace(network: Network, namespace: Namespace) -> State:
    inside = network[namespace.name]
    with inside:
        answers = _ask()
        sysctls = {key: _read(_path_of(key)).split() for key in namespace.sysctls}
        forwarding = {_read(path) for path in _FORWARDING}
        links, addresses, routes4, routes6, near4, near6, rules = answers
        veths = [one["ifname"] for one in links if _kind(one) == "veth"]
        silent = {name for name in veths if _is_silent(name)}
    names = {one["ifname"] for one in links} - {"lo"}
    # /etc and the host name are those of processes inside
    files = inside.run(["cat", "/etc/hosts", "/etc/resolv.conf"]).stdout.splitlines()
    lines = [line.split() for line in files if not line.startswith("#")]
    return {
        "links": {one["ifname"]: _link(one) for one in links if one["ifname"] in names},
        "bridges": {
            one["ifname"]: _bridge(one) for one in links if _kind(one) == "bridge"
        },
        "addresses": {
            one["ifname"]: {
                f"{info['local']}/{info['prefixlen']}"
                for info in one["addr_info"]
                # the kernel's own come from the MAC address
                if not ip_address(info["local"]).is_link_local
            }
            for one in addresses
            if one["ifname"] in names
        },
        "routes": {
            _route(family, route)
            for family, routes in ((4, routes4), (6, routes6))
            for route in routes
            if route.get("protocol") not in _KERNELS_OWN
        },
        "neighbours": {
            (one["dst"], one["lladdr"], one["dev"]) for one in (*near4, *near6)
        },
        "forwarding": forwarding,
        "sysctls": sysctls,
        "nat": [_rule(one["rule"]) for one in rules["nftables"] if _is_nat(one)],
        "tables": {one["table"]["name"] for one in rules["nftables"] if "table" in one},
        "hosts": {(line[0], name) for line in lines for name in line[1:]},
        "nameservers": [line[1] for line in lines if line[0] == "nameserver"],
        "hostname": inside.run(["uname", "-n"]).stdout.rstrip("\n"),
        "no offload": silent,
    }


def _found_in_switch(network: Network, bridge: Bridge) -> State:
    with network._fabric.switches[bridge.name].file.entered():
        links = json.loads(_run(["ip", "-j", "-d", "link"]))
    (device,) = [one for one in links if _kind(one) == "bridge"]
    ports = [one for one in links if one.get("master") == device["ifname"]]
    return {
        "bridge": _bridge(device),
        "links": {one["ifname"]: _link(one) | {"master": "hidden"} for one in ports},
    }


def _ask() -> list[Any]:
    lines = _run(["sh", "-c", _SCRIPT]).splitlines()
    answers = [json.loads(line) for line in lines if line.strip()]
    # with no route at all ip says nothing, or an empty list
    assert len(answers) == len(_QUESTIONS), lines
    return answers


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def _kind(link: State) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _link(link: State) -> State:
    state: State = {
        "up": "UP" in link["flags"],
        "kind": _kind(link),
        "mtu": link["mtu"],
        "lladdr": link["address"],
    }
    if _kind(link) == "veth":
        state["master"] = link.get("master")
    return state


def _bridge(link: State) -> State:
    data = link["linkinfo"]["info_data"]
    return {
        "stp": bool(data["stp_state"]),
        "vlan_filtering": bool(data["vlan_filtering"]),
        "mtu": link["mtu"],
        "lladdr": link["address"],
    }


def _is_silent(ifname: str) -> bool:
    # its JSON does not escape what is in names
    lines = _run(["ethtool", "-k", ifname]).splitlines()
    features = dict(line.strip().split(": ")[:2] for line in lines[1:])
    return not any(features[one].startswith("on") for one in _OFFLOADS)


def _route(family: int, route: State) -> tuple[Any, ...]:
    table = route.get("table", "main")
    destination = route["dst"]
    if destination != "default":
        destination = str(ip_network(destination))
    return (
        family,
        destination,
        route.get("gateway"),
        route["dev"],
        route.get("prefsrc"),
        route.get("metric"),
        int(table) if str(table).isdecimal() else table,
        route.get("scope", "global"),
    )


def _is_nat(one: State) -> bool:
    return "rule" in one and one["rule"]["table"] == "pytest_netns_nat"


def _rule(rule: State) -> State:
    """Return what a rule of nft says, in the words of `_declared_rules`."""
    facts: State = {}
    for expression in rule["expr"]:
        ((what, body),) = expression.items()
        if what == "match":
            _match(facts, body)
        elif what in {"snat", "dnat"}:
            address, port = body["addr"], body.get("port")
            host = f"[{address}]" if ":" in address and port else address
            facts[what] = f"{host}:{port}" if port else address
        elif what == "masquerade":
            facts[what] = True
    if "dnat" in facts:
        return {"iifname": None, "family": None, **facts}
    return {"saddr": None, **facts}


def _match(facts: State, match: State) -> None:
    left, right = match["left"], match["right"]
    if "fib" in left:
        assert (left["fib"]["result"], right) == ("type", "local")
        facts["daddr"] = "local"
    elif "payload" in left:
        field = left["payload"]["field"]
        if field == "dport":
            facts[field] = (left["payload"]["protocol"], right)
        else:
            facts[field] = _network(right)
    elif left["meta"]["key"] in {"iifname", "oifname"}:
        sign = "" if match["op"] == "==" else f"{match['op']} "
        facts[left["meta"]["key"]] = sign + right.replace("\\*", "*")
    elif left["meta"]["key"] == "nfproto":
        facts["family"] = right


def _network(right: Any) -> str:
    if isinstance(right, dict):
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    return f"{right}/{128 if ':' in right else 32}"


def _path_of(key: str) -> str:
    """Return the file of a sysctl: the first separator decides, sysctl(8)."""
    words = key.replace("/", "\0").replace(".", "/").replace("\0", ".")
    return "/proc/sys/" + (key if "/" in key.partition(".")[0] else words)


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip()


# --- both ---


def differences(wanted: Any, there: Any, place: str = "") -> list[str]:
    """List what is not as declared; what declares nothing (None) may be anything.

    Where sets of names are declared, more may be there for hosts alone.
    """
    if isinstance(wanted, dict) and isinstance(there, dict):
        return [
            line
            for key in {**wanted, **there}
            for line in differences(
                wanted.get(key, "nothing"), there.get(key, "nothing"), f"{place}/{key}"
            )
            if not (key == "lladdr" and wanted.get(key) is None)
        ]
    if place.endswith("/hosts") and isinstance(wanted, set):
        return [f"{place}: {wanted - there} missing"] if wanted - there else []
    return [] if wanted == there else [f"{place}: declared {wanted!r}, found {there!r}"]
