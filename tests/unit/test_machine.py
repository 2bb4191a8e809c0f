"""What a benchmark says of the machine that it ran on."""

from __future__ import annotations

import os
import platform

import pytest

from pytest_netns._machine import CpuTimes, cpu_limit, describe, look, warnings


def times(total: int, stolen: int) -> CpuTimes:
    """Return processors' times of which some were stolen."""
    return CpuTimes(f"cpu  {total - stolen} 0 0 0 0 0 0 {stolen} 0 0\ncpu0 1 2 3\n")


def test_the_machine_is_described() -> None:
    """By what makes figures comparable, or not."""
    machine = describe()

    assert machine["processors"] == len(os.sched_getaffinity(0))
    assert machine["kernel"] == platform.release()
    assert machine["python"] == platform.python_version()
    assert float(machine["load average"]) >= 0
    assert machine["processor"]
    assert all(isinstance(value, str | int | float) for value in machine.values())


def test_a_quiet_machine_is_not_warned_of() -> None:
    """No note means that there is nothing to note."""
    machine = {"processors": 2}

    assert list(warnings(machine, 0.1, times(1000, 5), times(2000, 6))) == []


def test_a_busy_machine_is_warned_of() -> None:
    """Others used it just before, or a hypervisor did meanwhile."""
    machine: dict[str, str | int | float] = {"processors": 2, "governor": "powersave"}
    busy, stolen, slow = warnings(machine, 0.6, times(1000, 0), times(2000, 100))

    assert busy == "others used 60% of the processors' time just before"
    assert stolen == "others took 10% of the processors' time (steal)"
    assert "powersave" in slow


def test_looking_at_the_processors() -> None:
    """What is neither idle nor waits for a disk is used."""
    before = CpuTimes("cpu  100 0 0 800 100 0 0 0 0 0\n")
    after = CpuTimes("cpu  130 0 10 840 120 0 0 0 0 0\n")

    assert after.used_since(before) == 0.4
    assert after.used_since(after) == 0.0
    assert 0.0 <= look() <= 1.0


def test_the_times_of_this_machine_are_read() -> None:
    """They go on, and what was stolen is a part of them."""
    before = CpuTimes()
    while CpuTimes().total == before.total:
        pass

    assert 0.0 <= CpuTimes().stolen_since(before) <= 1.0
    assert before.stolen_since(before) == 0.0


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"/proc/self/cgroup": "0::/a/b\n"}, None),
        (
            {
                "/proc/self/cgroup": "0::/a/b\n",
                "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            },
            1.5,
        ),
        (
            {
                "/proc/self/cgroup": "0::/\n",
                "/sys/fs/cgroup/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        (
            {
                "/proc/self/cgroup": "4:cpu,cpuacct:/a\n3:memory:/\n",
                "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            {
                "/proc/self/cgroup": "4:cpu:/\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_limit_of_a_control_group_is_the_least_of_all_above(
    files: dict[str, str], limit: float | None
) -> None:
    """Of both versions of control groups."""
    assert cpu_limit(lambda path: files.get(path, "")) == limit
