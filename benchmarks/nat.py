"""Measure what NAT adds to a namespace, and the ways to load its rules."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from contestants import Ours
from measure import interleave, time_calls
from pyroute2.nftables.expressions import genex
from pyroute2.nftables.main import NFTables
from quiet import QuietKernel
from report import Row, Section, timed_row

from pytest_netns import DNAT, Masquerade, Namespace, Route, Topology, Veth
from pytest_netns import _libnftables as libnftables
from pytest_netns._nftables import COMMAND
from pytest_netns._ruleset import TABLE, nat_ruleset

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress, Series

_GOAL: Final = 3e-3
_WARM_UP: Final = 10
_CYCLES: Final = 25
_NAT: Final = (DNAT("10.0.0.2:80", port=80), Masquerade(source="10.0.0.0/24"))
_RULES: Final = nat_ruleset(_NAT)


def _gateway(*nat: DNAT | Masquerade) -> Topology:
    """Return a gateway between two machines, with these rules."""
    # inside 10.0.0.2 --- 10.0.0.1 gw 192.0.2.1 --- 192.0.2.2 outside
    return Topology(
        Namespace("inside", routes=[Route("default", via="10.0.0.1")]),
        Namespace("gw", forwarding=True, nat=nat),
        Namespace("outside"),
        Veth("gw:lan", "inside:eth0", subnet="10.0.0.0/24"),
        Veth("gw:wan", "outside:eth0", subnet="192.0.2.0/24"),
    )


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time a network with NAT and without, then each way to load the rules."""
    return [
        _measure_networks(progress, quick=quick),
        _measure_ways(progress, quick=quick),
    ]


def _measure_networks(progress: Progress, *, quick: bool) -> Section:
    """Time single builds on an idle kernel, and cycles one after the other."""
    quiet = QuietKernel()
    contestants = {"with NAT": Ours(_gateway(*_NAT)), "without": Ours(_gateway())}
    series: dict[str, Series] = {}
    for what, make_timer, rounds in (
        ("build", _build_timer, 20 if quick else 150),
        ("build and take down, sustained", _cycle_timer, 4 if quick else 20),
    ):
        timers = {
            f"{what}, {name}": make_timer(contestant, quiet)
            for name, contestant in contestants.items()
        }
        for timer in timers.values():
            timer()
        series |= interleave(what, timers, rounds, progress=progress)
    for contestant in contestants.values():
        contestant.stop()
    quiet.close()
    names = iter(series)
    rows = []
    for translating, plain in zip(names, names, strict=True):
        reference = plain, series[plain]
        rows.append(timed_row(translating, series[translating], "ms", reference))
        rows.append(timed_row(plain, series[plain], "ms"))
        what = plain.rpartition(",")[0]
        rows.append(_added(f"{what}, added", series[translating], series[plain]))
    return Section("A gateway between two machines, with NAT and without", rows)


def _build_timer(contestant: Ours, quiet: QuietKernel) -> Callable[[], float]:
    def build_once() -> float:
        start = time.perf_counter()
        contestant.build()
        seconds = time.perf_counter() - start
        contestant.close()
        quiet.wait()
        return seconds

    return build_once


def _cycle_timer(contestant: Ours, quiet: QuietKernel) -> Callable[[], float]:
    def cycle() -> None:
        contestant.build()
        contestant.close()

    def run_block() -> float:
        # The kernel takes networks down later: it is to be as busy as in a session.
        time_calls(cycle, _WARM_UP)
        seconds = time_calls(cycle, _CYCLES)
        quiet.wait()
        return seconds

    return run_block


def _added(what: str, series: Series, reference: Series) -> Row:
    added = series.difference_to(reference)
    return Row(
        what,
        f"{added * 1e3:.2f} ms",
        goal=f"<= {_GOAL * 1e3:g} ms",
        met=added <= _GOAL,
    )


def _measure_ways(progress: Progress, *, quick: bool) -> Section:
    """Time each way to load the very same rules."""
    ours = "libnftables in this process"
    ways = {
        ours: lambda: libnftables.run(_RULES),
        "the program nft": lambda: _run_nft(_RULES),
        "pyroute2, in bytecode": _load_by_pyroute2,
    }
    loaded = {name: _rules_of(load) for name, load in ways.items()}
    assert len(set(loaded.values())) == 1, f"they load different rules: {loaded}"
    timers = {name: _load_timer(load) for name, load in ways.items()}
    series = interleave("load NAT", timers, 20 if quick else 200, progress=progress)
    reference = ours, series[ours]
    rows = [
        timed_row(name, series[name], "ms", None if name == ours else reference)
        for name in ways
    ]
    return Section("Load the rules of NAT", rows)


def _load_timer(load: Callable[[], object]) -> Callable[[], float]:
    def load_once() -> float:
        start = time.perf_counter()
        load()
        seconds = time.perf_counter() - start
        _run_nft(f"delete table inet {TABLE}")
        return seconds

    return load_once


def _rules_of(load: Callable[[], object]) -> str:
    load()
    rules = _run_nft(f"list table inet {TABLE}")
    _run_nft(f"delete table inet {TABLE}")
    return rules


def _run_nft(commands: str) -> str:
    completed = subprocess.run(
        COMMAND, input=commands, check=True, capture_output=True, text=True
    )
    return completed.stdout


def _load_by_pyroute2() -> None:
    """Load the rules by pyroute2's nftables, which has no language for them.

    Its ready-made expressions are IPv4 addresses, verdicts and masquerading: all
    else is the kernel's bytecode, written out by hand; `fib` has two fields of the
    wrong kind, so that their values must be disguised; and every call is a
    transaction of its own, so that a failure leaves half of a ruleset behind.
    """
    with NFTables(nfgen_family=1) as nft:  # NFPROTO_INET
        nft.table("add", name=TABLE)
        for hook, priority in (("prerouting", -100), ("postrouting", 100)):
            nft.chain(
                "add", table=TABLE, name=hook, hook=hook, type="nat", priority=priority
            )
        nft.rule("add", table=TABLE, chain="prerouting", expressions=[_DNAT])
        nft.rule("add", table=TABLE, chain="postrouting", expressions=[_MASQUERADE])


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _meta(key: int) -> Any:
    return genex("meta", {"dreg": 1, "key": key})


def _payload(base: int, offset: int, length: int) -> Any:
    return genex("payload", {"dreg": 1, "base": base, "offset": offset, "len": length})


def _compare(data: bytes, operator: int = 0) -> Any:
    return genex("cmp", {"sreg": 1, "op": operator, "data": _value(data)})


def _immediate(register: int, data: bytes) -> Any:
    return genex("immediate", {"dreg": register, "data": _value(data)})


# include/uapi/linux/netfilter/nf_tables.h
_META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 7, 15, 16
_BASE_NETWORK, _BASE_TRANSPORT = 1, 2
_NOT_EQUAL = 1

#: fib daddr type local meta nfproto ipv4 tcp dport 80 dnat ip to 10.0.0.2:80
_DNAT: Final = (
    genex(
        "fib",
        {
            "dreg": 1,
            # 3, NFT_FIB_RESULT_ADDRTYPE, in what is taken for a set of flags
            "result": {"NFT_FIB_RESULT_UNSPEC", "NFT_FIB_RESULT_OIF"},
            "flags": 2,  # NFTA_FIB_F_DADDR, in what is taken for a number
        },
    ),
    _compare(struct.pack("=I", 2)),  # RTN_LOCAL
    _meta(_META_NFPROTO),
    _compare(bytes([socket.AF_INET])),
    _meta(_META_L4PROTO),
    _compare(bytes([socket.IPPROTO_TCP])),
    _payload(_BASE_TRANSPORT, 2, 2),
    _compare(struct.pack(">H", 80)),
    _immediate(1, socket.inet_aton("10.0.0.2")),
    _immediate(2, struct.pack(">H", 80)),
    genex(
        "nat",
        {
            "type": 1,  # NFT_NAT_DNAT
            "family": socket.AF_INET,
            "reg_addr_min": 1,
            "reg_proto_min": 2,
            "flags": {"NF_NAT_RANGE_PROTO_SPECIFIED"},
        },
    ),
)
#: ip saddr 10.0.0.0/24 oifname != "lo" masquerade
_MASQUERADE: Final = (
    _meta(_META_NFPROTO),
    _compare(bytes([socket.AF_INET])),
    _payload(_BASE_NETWORK, 12, 3),
    _compare(socket.inet_aton("10.0.0.0")[:3]),
    _meta(_META_OIFNAME),
    _compare(b"lo".ljust(16, b"\0"), _NOT_EQUAL),
    genex("masq", {}),
)
