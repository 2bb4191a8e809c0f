"""What a reader of a benchmark must know of the machine that it ran on."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The parts of all processors' time that are noted: what a hypervisor took during a
#: benchmark, and what others used just before it.
_NOTED_STEAL, _NOTED_USE = 0.02, 0.25
#: For how long is looked what others use, in seconds; times are in steps of 10 ms.
_LOOK = 0.05

_GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


def describe() -> dict[str, str | int | float]:
    """Return names and values, in the order in which they are shown."""
    machine: dict[str, str | int | float] = {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load average": round(os.getloadavg()[0], 2),
    }
    if (limit := cpu_limit()) is not None:
        machine["processors of the control group"] = limit
    if governor := _read(_GOVERNOR).strip():
        machine["governor"] = governor
    return machine


def look() -> float:
    """Watch the processors for a moment: return which part of their time is used."""
    before = CpuTimes()
    time.sleep(_LOOK)
    return CpuTimes().used_since(before)


def warnings(
    machine: Mapping[str, str | int | float],
    used: float,
    before: CpuTimes,
    after: CpuTimes,
) -> Iterator[str]:
    """Yield what makes figures of this machine doubtful.

    Args:
        machine: What `describe` has returned.
        used: What `look` has returned before the benchmark.
        before: The processors' times when the benchmark began.
        after: Those when it had ended.
    """
    if used > _NOTED_USE:
        yield f"others used {used:.0%} of the processors' time just before"
    stolen = after.stolen_since(before)
    if stolen > _NOTED_STEAL:
        yield f"others took {stolen:.0%} of the processors' time (steal)"
    if machine.get("governor") == "powersave":
        yield "the processors' frequency is governed by 'powersave'"


class CpuTimes:
    """The times of all processors up to now, from ``/proc/stat``."""

    def __init__(self, text: str | None = None) -> None:
        text = _read("/proc/stat") if text is None else text
        fields = [int(word) for word in text.partition("\n")[0].split()[1:9]]
        # user nice system idle iowait irq softirq steal; see proc(5)
        self.total = sum(fields)
        self.idle = sum(fields[3:5])
        self.stolen = fields[7] if len(fields) > 7 else 0

    def used_since(self, before: CpuTimes) -> float:
        """Return the part of the time since then that somebody used."""
        passed = self.total - before.total
        return 1 - (self.idle - before.idle) / passed if passed > 0 else 0.0

    def stolen_since(self, before: CpuTimes) -> float:
        """Return the part of the time since then that a hypervisor took."""
        passed = self.total - before.total
        return (self.stolen - before.stolen) / passed if passed > 0 else 0.0


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "cpu model"}:
            return value.strip()
    return platform.machine()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def cpu_limit(read: Callable[[str], str] = _read) -> float | None:
    """Return how many processors' time the control group may use; None is all.

    Args:
        read: Returns the text of a file, "" if there is none.
    """
    limits = []
    for line in read("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":  # version 2; each group above may have a limit, too
            while path:
                path = path.rstrip("/")
                limits.append(read(f"/sys/fs/cgroup{path}/cpu.max").split())
                path = path.rpartition("/")[0] + "/" if path else ""
        elif "cpu" in controllers.split(","):
            folder = f"/sys/fs/cgroup/{controllers}{path.rstrip('/')}"
            quota = read(f"{folder}/cpu.cfs_quota_us")
            limits.append([quota.strip(), read(f"{folder}/cpu.cfs_period_us").strip()])
    rates = [
        int(limit[0]) / int(limit[1])
        for limit in limits
        if all(word.isdecimal() for word in limit) and len(limit) == 2
    ]
    return round(min(rates), 2) if rates else None
