"""What this machine can do for pytest-netns, and how to get what it lacks.

Everything is read, or tried in a namespace that is gone afterwards (`_trials`):
the machine is not changed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _libnftables as libnftables
from . import _trials as trials
from ._allowances import examine_allowances, examine_ground, examine_proc, try_out
from ._findings import Finding, Report, Subject
from ._genetlink import has_family
from ._libpcap import SONAMES as LIBPCAP_SONAMES
from ._programs import directory_of, missing_of
from ._syscalls import has_library
from .privileges import missing_capabilities, user_namespace_obstacle

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = re.compile(r"\d+(?:\.\d+)+")


def examine() -> Report:
    """Look at everything; takes a fraction of a second, and no privileges.

    It forks: call it where there is one thread only.
    """
    privileges, user_namespaces = _privileges(), _user_namespaces()
    privileged = bool(privileges.present)
    rootless = bool(user_namespaces.present)
    ground = examine_ground(privileged=privileged, rootless=rootless)
    findings = (
        _python(),
        _kernel(),
        privileges,
        user_namespaces,
        examine_proc(),
        ground,
        *examine_allowances(ground, rootless=not privileged),
        *try_out(_FEATURES, ground, rootless=not privileged),
        _openvswitch_datapath(),
        _tun(),
        _libnftables(),
        *map(_library, _LIBRARIES),
        *map(_program, _PROGRAMS),
    )
    return Report(findings, privileged=privileged, rootless=rootless)


# --- the ground ---


def _python() -> Finding:
    return Subject("Python", "everything").found(
        f"{platform.python_version()} ({sys.executable})"
    )


def _kernel() -> Finding:
    system = os.uname()
    return Subject("kernel", "everything").found(f"{system.sysname} {system.release}")


def _privileges() -> Finding:
    subject = Subject(
        "privileges",
        "networks outside of user namespaces",
        "run it as root; in Docker: --privileged",
    )
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if missing := missing_capabilities():
        return subject.lacking(f"{who} without {' and '.join(missing)}")
    return subject.found(who)


def _user_namespaces() -> Finding:
    subject = Subject(
        "user namespaces",
        "networks without root",
        "let the container's seccomp profile allow them; in Docker: --privileged",
    )
    if obstacle := user_namespace_obstacle():
        reason, _, remedy = obstacle.partition(" (as root: ")
        return subject.lacking(reason, remedy.removesuffix(")"))
    trial = trials.set_loopback_up
    reason_or_none = (
        trials.attempt(trial, rootless=True)
        if missing_capabilities()
        else trials.attempt(trials.by_nobody(trial))
    )
    if reason_or_none is None:
        return subject.found("unshare -Urnm works")
    return subject.lacking(reason_or_none)


# --- the kernel ---

_FEATURES: tuple[tuple[Subject, Callable[[], None]], ...] = (
    (Subject("veth", "Veth", "modprobe veth", required=True), trials.add_veth),
    (Subject("bridge", "Bridge", "modprobe bridge"), trials.add_bridge),
    (
        Subject(
            "VLAN filtering",
            "Bridge(vlan_filtering=True)",
            "a kernel with CONFIG_BRIDGE_VLAN_FILTERING: those of distributions",
        ),
        trials.add_vlan_filtering_bridge,
    ),
    (
        Subject(
            "IPv6",
            "IPv6 addresses",
            "start the kernel without ipv6.disable=1, and "
            "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
        ),
        trials.add_ipv6_address,
    ),
    (
        Subject(
            "nftables",
            "Namespace(nat=..., nftables=...), ns.nft()",
            "modprobe nf_tables",
        ),
        trials.look_for_nftables,
    ),
    (
        Subject(
            "NAT of nftables",
            "Namespace(nat=...), Host(share_connection=True)",
            "modprobe -a nft_chain_nat nft_nat nft_masq nft_fib_inet; "
            "nft or libnftables",
        ),
        trials.load_nat,
    ),
)


def _openvswitch_datapath() -> Finding:
    subject = Subject(
        "Open vSwitch datapath",
        "OVSBridge at the kernel's speed; without it, it switches in user space",
        "modprobe openvswitch",
    )
    if has_family("ovs_datapath"):
        return subject.found()
    return subject.lacking("the kernel has none")


def _tun() -> Finding:
    subject = Subject(
        "/dev/net/tun",
        "OVSBridge where the kernel has no datapath for it",
        "modprobe tun; in Docker: --device /dev/net/tun",
    )
    if os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return subject.found()
    reason = "not to be used" if os.path.exists("/dev/net/tun") else "not there"
    return subject.lacking(reason)


# --- libraries and programs ---


@dataclass(frozen=True, slots=True)
class _Software:
    """A library under one of its names, or programs, all of which are needed.

    Attributes:
        asked: How the first program is asked for its version; () for not at all.
    """

    subject: Subject
    names: tuple[str, ...]
    asked: tuple[str, ...] = ()


def _install(package: str) -> str:
    return f"Debian, Ubuntu: apt install {package}"


_BY_HAND = "looking at captures by hand"
_LIBRARIES = (
    _Software(
        Subject("libpcap", "bpf_filter= of captures", _install("libpcap0.8")),
        LIBPCAP_SONAMES,
    ),
    _Software(
        Subject("libiperf", "netns_iperf3", _install("libiperf0")), ("libiperf.so.0",)
    ),
)
_PROGRAMS = (
    _Software(
        Subject("nft", "Namespace(nftables=...), ns.nft()", _install("nftables")),
        ("nft",),
        ("--version",),
    ),
    _Software(
        Subject("iptables", "rules of your own", _install("iptables")),
        ("iptables",),
        ("--version",),
    ),
    _Software(
        Subject("Open vSwitch", "OVSBridge", _install("openvswitch-switch")),
        ("ovs-vsctl", "ovs-ofctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool"),
        ("--version",),
    ),
    _Software(
        Subject("iperf3", "measurements by hand", _install("iperf3")),
        ("iperf3",),
        ("--version",),
    ),
    _Software(Subject("tcpdump", _BY_HAND, _install("tcpdump")), ("tcpdump",)),
    _Software(Subject("tshark", _BY_HAND, _install("tshark")), ("tshark",)),
    _Software(
        Subject("Graphviz", "pytest-netns draw --format svg", _install("graphviz")),
        ("dot",),
        ("-V",),
    ),
)


def _libnftables() -> Finding:
    subject = Subject(
        "libnftables",
        "Namespace(nat=...) in a fraction of the time; nft does it as well",
        _install("libnftables1"),
    )
    if libnftables.is_available():
        return subject.found("libnftables.so.1")
    return subject.lacking("libnftables.so.1 is not installed")


def _library(library: _Software) -> Finding:
    for soname in library.names:
        if has_library(soname):
            return library.subject.found(soname)
    return library.subject.lacking(f"{library.names[0]} is not installed")


def _program(program: _Software) -> Finding:
    missing = missing_of(program.names)
    if not missing:
        path = shutil.which(program.names[0]) or program.names[0]
        version = _version(path, *program.asked) if program.asked else ""
        return program.subject.found(version or path)
    names = ", ".join(missing)
    if directory := directory_of(missing):
        return program.subject.lacking(
            f"not in PATH: {names} in {directory}", f'PATH="$PATH:{directory}"'
        )
    return program.subject.lacking(f"not installed: {names}")


def _version(*command: str) -> str:
    """Return the version that a program states, or ""."""
    try:
        completed = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(completed.stdout) or _VERSION.search(completed.stderr)
    return match[0] if match else ""
