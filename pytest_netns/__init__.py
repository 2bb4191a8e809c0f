"""Networks for tests: Linux network namespaces, built in milliseconds.

General layout, imports pointing strictly downward:

* what a test declares: `records`, `topology` (pure data)
* what the kernel is told: ``_plan`` (pure), ``_netlink``, ``_switches``, `builder`
* what a test gets: `network`, `namespace`, `process`, `interface`
* how pytest sees it: `plugin`, `fixtures`, `markers`
* without a test: `cli`, `doctor`

Names are imported when first used: a test run without networks pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench import Bench, Proxy
    from .capture import PacketCapture
    from .comparisons import Comparison, ProxyComparison, ProxyComparisons
    from .entries import Neighbour, Route
    from .errors import (
        BenchmarkError,
        BenchmarkTimeout,
        CaptureError,
        ClosedError,
        CommandError,
        CommandTimeout,
        DuplicateName,
        InconclusiveError,
        InvalidAddress,
        InvalidFilter,
        InvalidName,
        KernelError,
        MissingFeature,
        MissingProgram,
        MissingTool,
        NamespaceRestoreError,
        NetnsError,
        NoTerminal,
        PrivilegeError,
        ProcessEnded,
        RulesetError,
        SwitchError,
        TeardownError,
        TopologyError,
        UnknownName,
        UnstableBenchmark,
        UnsupportedError,
        WaitTimeout,
    )
    from .estimates import Estimate
    from .flow import Arrow, Flow
    from .interface import Interface, Statistics
    from .iperf3_flows import Iperf3, Iperf3Flow
    from .manager import NetworkManager, build
    from .measurement import Measurement
    from .namespace import NetworkNamespace
    from .nat import DNAT, SNAT, Masquerade
    from .network import Network
    from .openvswitch import OpenVSwitch
    from .ping import PingResult
    from .process import Process
    from .records import Bridge, Host, Namespace, OVSBridge, Veth
    from .replay import ReplayResult
    from .tables import NeighbourEntry, RouteEntry
    from .task import Task
    from .throughput import ThroughputInterval, ThroughputResult
    from .topology import Topology

_HOMES = {
    "bench": ("Bench", "Proxy"),
    "capture": ("PacketCapture",),
    "comparisons": ("Comparison", "ProxyComparison", "ProxyComparisons"),
    "entries": ("Neighbour", "Route"),
    "errors": (
        "BenchmarkError",
        "BenchmarkTimeout",
        "CaptureError",
        "ClosedError",
        "CommandError",
        "CommandTimeout",
        "DuplicateName",
        "InconclusiveError",
        "InvalidAddress",
        "InvalidFilter",
        "InvalidName",
        "KernelError",
        "MissingFeature",
        "MissingProgram",
        "MissingTool",
        "NamespaceRestoreError",
        "NetnsError",
        "NoTerminal",
        "PrivilegeError",
        "ProcessEnded",
        "RulesetError",
        "SwitchError",
        "TeardownError",
        "TopologyError",
        "UnknownName",
        "UnstableBenchmark",
        "UnsupportedError",
        "WaitTimeout",
    ),
    "estimates": ("Estimate",),
    "flow": ("Arrow", "Flow"),
    "interface": ("Interface", "Statistics"),
    "iperf3_flows": ("Iperf3", "Iperf3Flow"),
    "manager": ("NetworkManager", "build"),
    "measurement": ("Measurement",),
    "namespace": ("NetworkNamespace",),
    "nat": ("DNAT", "SNAT", "Masquerade"),
    "network": ("Network",),
    "openvswitch": ("OpenVSwitch",),
    "ping": ("PingResult",),
    "process": ("Process",),
    "records": ("Bridge", "Host", "Namespace", "OVSBridge", "Veth"),
    "replay": ("ReplayResult",),
    "tables": ("NeighbourEntry", "RouteEntry"),
    "task": ("Task",),
    "throughput": ("ThroughputInterval", "ThroughputResult"),
    "topology": ("Topology",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # as sorted() does it
    "Arrow",
    "Bench",
    "BenchmarkError",
    "BenchmarkTimeout",
    "Bridge",
    "CaptureError",
    "ClosedError",
    "CommandError",
    "CommandTimeout",
    "Comparison",
    "DNAT",
    "DuplicateName",
    "Estimate",
    "Flow",
    "Host",
    "InconclusiveError",
    "Interface",
    "InvalidAddress",
    "InvalidFilter",
    "InvalidName",
    "Iperf3",
    "Iperf3Flow",
    "KernelError",
    "Masquerade",
    "Measurement",
    "MissingFeature",
    "MissingProgram",
    "MissingTool",
    "Namespace",
    "NamespaceRestoreError",
    "Neighbour",
    "NeighbourEntry",
    "NetnsError",
    "Network",
    "NetworkManager",
    "NetworkNamespace",
    "NoTerminal",
    "OVSBridge",
    "OpenVSwitch",
    "PacketCapture",
    "PingResult",
    "PrivilegeError",
    "Process",
    "ProcessEnded",
    "Proxy",
    "ProxyComparison",
    "ProxyComparisons",
    "ReplayResult",
    "Route",
    "RouteEntry",
    "RulesetError",
    "SNAT",
    "Statistics",
    "SwitchError",
    "Task",
    "TeardownError",
    "ThroughputInterval",
    "ThroughputResult",
    "Topology",
    "TopologyError",
    "UnknownName",
    "UnstableBenchmark",
    "UnsupportedError",
    "Veth",
    "WaitTimeout",
    "build",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value  # the next time it is an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
