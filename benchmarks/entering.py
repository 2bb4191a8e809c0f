"""Measure going into a namespace: by ``with``, by ``call`` and by ``run``."""

from __future__ import annotations

import os
import subprocess
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from contestants import PAIR
from measure import interleave, time_calls
from rawnetlink import open_current, setns
from report import Section, timed_row, with_ratio_goal, with_time_goal

import pytest_netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Progress

    from pytest_netns import NetworkNamespace

_RUN_GOAL: Final = 1.25
_WITH_GOAL: Final = 10e-6
_CALL_GOAL: Final = 60e-6
_NAME: Final = "benchmark"


def measure_run(progress: Progress, *, quick: bool) -> list[Section]:
    """Time the command ``true`` in a namespace, by all the usual ways."""
    subprocess.run(["ip", "netns", "add", _NAME], check=True)
    try:
        with pytest_netns.build(PAIR) as network:
            return [_measure_run(network["left"], progress, quick=quick)]
    finally:
        subprocess.run(["ip", "netns", "delete", _NAME], check=True)


def _measure_run(left: NetworkNamespace, progress: Progress, *, quick: bool) -> Section:
    def command(*words: str, captured: bool = False) -> Callable[[], float]:
        def run() -> object:
            return subprocess.run(
                words, check=True, capture_output=captured, text=captured
            )

        return lambda: time_calls(run, 5)

    plain = "subprocess.run"
    timers = {
        'ns.run(["true"])': lambda: time_calls(lambda: left.run(["true"]), 5),
        plain: command("true"),
        "subprocess.run, output captured": command("true", captured=True),
        "nsenter --net": command("nsenter", f"--net=/run/netns/{_NAME}", "true"),
        "ip netns exec": command("ip", "netns", "exec", _NAME, "true"),
    }
    series = interleave("run", timers, 20 if quick else 200, progress=progress)
    reference = plain, series[plain]
    rows = [
        timed_row(name, series[name], "ms", None if name == plain else reference)
        for name in timers
    ]
    rows[0] = with_ratio_goal(rows[0], _RUN_GOAL)
    return Section("Run a command in a namespace", rows)


def measure_entry(progress: Progress, *, quick: bool) -> list[Section]:
    """Time entering a namespace and calling a function there."""
    with pytest_netns.build(PAIR) as network:
        return [_measure_entry(network["left"], progress, quick=quick)]


def _measure_entry(
    left: NetworkNamespace, progress: Progress, *, quick: bool
) -> Section:
    home = open_current()
    with left:
        away = open_current()

    def enter() -> None:
        with left:
            pass

    def call() -> None:
        left.call(_nothing)

    def enter_bare() -> None:
        setns(away)
        setns(home)

    bare, handed = "two bare setns", "a function handed to a thread"
    errands = _Errands()
    timers = {
        "with ns: pass": lambda: time_calls(enter, 500),
        "ns.call(function)": lambda: time_calls(call, 200),
        bare: lambda: time_calls(enter_bare, 500),
        handed: lambda: time_calls(errands.run_one, 200),
    }
    # The thread that `call` uses is made by the first call.
    call()
    series = interleave(
        "with and call", timers, 20 if quick else 100, progress=progress
    )
    errands.stop()
    os.close(home)
    os.close(away)
    rows = []
    for name, floor, goal in (
        ("with ns: pass", bare, _WITH_GOAL),
        ("ns.call(function)", handed, _CALL_GOAL),
    ):
        row = timed_row(name, series[name], "us", (floor, series[floor]))
        rows.append(with_time_goal(row, series[name].median, goal, "us"))
    rows += [timed_row(name, series[name], "us") for name in (bare, handed)]
    return Section("Enter a namespace", rows)


class _Errands:
    """A thread that is told to go, and says when it has: the floor of ``call``."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[threading.Lock | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while (done := self._orders.get()) is not None:
            _nothing()
            done.release()

    def run_one(self) -> None:
        done = threading.Lock()
        done.acquire()
        self._orders.put(done)
        done.acquire()

    def stop(self) -> None:
        self._orders.put(None)
        self._thread.join()


def _nothing() -> None:
    """Be called."""
