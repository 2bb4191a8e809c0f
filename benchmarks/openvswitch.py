"""Measure networks on a bridge of Open vSwitch, beside the same on a Linux bridge."""

from __future__ import annotations

import shutil
import statistics
import time
from typing import TYPE_CHECKING, Final

from contestants import Ours
from measure import Series, interleave
from quiet import QuietKernel
from report import Row, Section, timed_row

import pytest_netns
from pytest_netns import Bridge, Namespace, OVSBridge, Topology, Veth

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress

_GOAL: Final = 60e-3
_PROGRAM: Final = "ovs-vswitchd"
#: What a test that has a network may take; daemons clear up meanwhile.
_PAUSE: Final = 0.1
_BLOCK: Final = 10

_FIRST: Final = "first network, daemons started"
_OVS: Final = "Open vSwitch"
_LINUX: Final = "Linux bridge"
_SUSTAINED: Final = ", right after another"


def pair(bridge: Bridge | OVSBridge) -> Topology:
    """Return two namespaces on ``bridge``."""
    return Topology(
        Namespace("left"),
        Namespace("right"),
        bridge,
        Veth("left:eth0", bridge.name, address="10.0.0.1/24"),
        Veth("right:eth0", bridge.name, address="10.0.0.2/24"),
    )


def measure(progress: Progress, *, quick: bool) -> list[Section]:
    """Time the first network of a run, later ones, and rows of them."""
    title = "Two namespaces on a bridge of Open vSwitch"
    if shutil.which(_PROGRAM) is None:
        return [Section(title, [Row(_OVS, f"not installed: {_PROGRAM}")])]
    quiet = QuietKernel()
    ovs, linux = Ours(pair(OVSBridge("br0"))), Ours(pair(Bridge("br0")))
    timers = {
        _FIRST: _time_first(quiet),
        _OVS: _time_build(ovs, quiet),
        _LINUX: _time_build(linux, quiet),
        _OVS + _SUSTAINED: _time_row(ovs),
        _LINUX + _SUSTAINED: _time_row(linux),
    }
    series = interleave(_OVS, timers, 5 if quick else 30, progress=progress)
    for contestant in (ovs, linux):
        contestant.stop()
    quiet.close()
    return [Section(f"{title}, switched in {_where()}", _rows(series))]


def _where() -> str:
    with pytest_netns.build(pair(OVSBridge("br0"))) as network:
        datapath = network.switch("br0").vsctl("get bridge br0 datapath_type")
    return "user space" if "netdev" in datapath else "the kernel"


def _rows(series: dict[str, Series]) -> list[Row]:
    rows = [timed_row(_FIRST, series[_FIRST], "ms")]
    for more in ("", _SUSTAINED):
        ovs, linux = series[_OVS + more], series[_LINUX + more]
        added = ovs.difference_to(linux)
        rows += [
            timed_row(_OVS + more, ovs, "ms", (_LINUX + more, linux)),
            timed_row(_LINUX + more, linux, "ms"),
            Row(
                f"added by Open vSwitch{more}",
                f"{added * 1e3:.2f} ms",
                compared_with=_LINUX + more,
                goal=f"<= {_GOAL * 1e3:g} ms",
                met=added <= _GOAL,
            ),
        ]
    return rows


def _time_first(quiet: QuietKernel) -> Callable[[], float]:
    """Return a timer of a network whose manager has no daemons yet."""

    def build_once() -> float:
        new = Ours(pair(OVSBridge("br0")))
        start = time.perf_counter()
        new.build()
        seconds = time.perf_counter() - start
        new.close()
        new.stop()
        quiet.wait()
        return seconds

    return build_once


def _time_build(contestant: Ours, quiet: QuietKernel) -> Callable[[], float]:
    """Return a timer of a network after a pause."""

    def build_once() -> float:
        quiet.wait()
        time.sleep(_PAUSE)
        start = time.perf_counter()
        contestant.build()
        seconds = time.perf_counter() - start
        contestant.close()
        return seconds

    return build_once


def _time_row(contestant: Ours) -> Callable[[], float]:
    """Return a timer of a network that is built when another was just closed."""

    def build_some() -> float:
        builds = []
        for _ in range(_BLOCK):
            start = time.perf_counter()
            contestant.build()
            builds.append(time.perf_counter() - start)
            contestant.close()
        return statistics.median(builds[1:])

    return build_some
