"""A machine of its own, in which runs of `busy` are killed.

Usage: ``box.py [--counted] JOB...``, in namespaces of its own (see `conftest`), where a
job is ``HOW:MOMENT:SEED``. Prints one line of JSON for each. As the first process of
its PID namespace it inherits, and sees, whatever a run leaves running.
``box.py --prove`` leaves a thing of each kind behind, and prints what is seen of it.
``box.py --beside NUMBER`` does three runs at once, one of which is killed, beside that
many namespaces of others, and prints what is different then.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability import crowd, footprint
from tests.reliability.runs import Job, Run, reap

WORK = Path("/tmp/suite")
#: Where tests of endurance have what they need, wherever that is.
_NEEDED = [*sys.path, sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])]
#: How long what is left over is given, to tell what is late from what stays.
_LAST_CHANCE = 15.0


def make_machine() -> None:
    """Give this namespace an uplink, and folders for temporary files of its own."""
    for top in map(str, footprint.TEMPORARY):
        paths = {os.path.realpath(path) for path in _NEEDED}
        kept = {
            path: os.open(path, os.O_PATH)
            for path in sorted(map(Path, paths))
            if path.is_relative_to(top) and path.exists()
        }
        command(f"mount -t tmpfs -o mode=1777 tmpfs {top}")
        for path, fd in kept.items():
            if not path.exists():
                path.mkdir(parents=True)
                command(
                    f"mount --no-canonicalize --rbind /proc/self/fd/{fd} {path}",
                    keep=fd,
                )
            os.close(fd)
    for line in (
        "sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
        "ip link set lo up",
        "ip link add up0 type veth peer name far",
        "ip link set far up",
        "ip address add 203.0.113.1/24 dev up0",
        "ip link set up0 up",
        "ip route add default via 203.0.113.254",
        # modules that the kernel loads for a feature stay
        "nft add table inet first",
        "nft delete table inet first",
        # and so does the folder for names
        "ip netns add first",
        "ip netns delete first",
    ):
        command(line)
    WORK.mkdir()


def command(line: str, keep: int | None = None) -> None:
    """Run a command, which has the descriptor `keep`."""
    kept = () if keep is None else (keep,)
    subprocess.run(shlex.split(line), check=True, pass_fds=kept)


def pause_of_the_machine() -> float:
    """Return how long it takes to start a small program, as the watcher is one."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return time.monotonic() - began


def follow(job: Job, *, counted: bool) -> dict[str, object]:
    """Carry out a job; return what became of it."""
    kinds = ("net", "mnt", "uts") if counted else ()
    counts = [footprint.NamespaceCount(kind) for kind in kinds]
    last_chance = 1.0 if job.how == "unwatched" else _LAST_CHANCE
    before = footprint.take([WORK])
    run = Run(job, WORK / "0")
    try:
        status = run.end()
        ended = time.monotonic()
        while True:
            reap()
            now = footprint.take([WORK])
            seconds = time.monotonic() - ended
            left = sorted(now ^ before)
            if not left:
                left = uncounted(counts)
            if not left or seconds > last_chance:
                break
        return {
            "job": str(job),
            "status": status,
            "seconds": round(seconds, 3),
            "pause": round(pause_of_the_machine(), 4),
            "left": left,
            "farewells": len([*run.folder.glob("farewell-*")]),
            "output": run.output,
        }
    finally:
        end_all()
        shutil.rmtree(run.folder)


def beside(seed: int) -> dict[str, object]:
    """Do three runs at once; return how they ended, and what came and went."""
    before = footprint.take([WORK])
    jobs = [Job("finish", 0, seed), Job("finish", 0, seed + 1), Job("KILL", 1, seed)]
    outputs: list[str] = []
    runs = [Run(job, WORK / str(number)) for number, job in enumerate(jobs)]
    try:
        statuses = []
        while runs:
            run = runs.pop()
            statuses.append(run.end(beside=[one.pid for one in runs]))
            outputs.append(run.output)
        deadline = time.monotonic() + _LAST_CHANCE
        while (now := footprint.take([WORK])) - before and time.monotonic() < deadline:
            reap()
        return {
            "statuses": statuses,
            "came": sorted(now - before),
            "went": sorted(before - now),
            "outputs": outputs,
        }
    finally:
        end_all()


def uncounted(counts: list[footprint.NamespaceCount]) -> list[str]:
    """Return of which kinds there are more namespaces than the machine's own."""
    return [f"{one.kind} namespaces" for one in counts if one.exceeds(1)]


#: A thing of each kind that could be left: how it comes, and how it goes.
LEAVINGS = {
    # until it is that program, it is one without a command
    "process": (
        "sh -c 'sleep 600 & until pgrep -x sleep >/dev/null; do :; done'",
        "pkill sleep",
    ),
    "interface": ("ip link add left0 type veth peer name left1", "ip link del left0"),
    "address": (
        "ip address add 203.0.113.9/24 dev up0",
        "ip address delete 203.0.113.9/24 dev up0",
    ),
    "route": (
        "ip route add 198.51.100.0/24 dev up0",
        "ip route delete 198.51.100.0/24",
    ),
    "table": ("nft add table inet left", "nft delete table inet left"),
    "sysctl": (
        "sysctl -qw net.ipv4.conf.up0.forwarding=1",
        "sysctl -qw net.ipv4.conf.up0.forwarding=0",
    ),
    "name": ("ip netns add left", "ip netns delete left"),
    "file": ("touch /tmp/left", "rm /tmp/left"),
    "file in shared memory": ("touch /dev/shm/left", "rm /dev/shm/left"),
    "folder": ("mkdir -p /run/left/below", "rm -r /run/left"),
    "hidden file": ("touch /tmp/suite/.left", "rm /tmp/suite/.left"),
    "mount": ("mount --bind /tmp/suite /mnt", "umount /mnt"),
}


def prove(*, counted: bool) -> dict[str, dict[str, list[str]]]:
    """Leave a thing of each kind; return what is seen of it, and after its end."""
    kinds = ("net", "mnt", "uts") if counted else ()
    counts = [footprint.NamespaceCount(kind) for kind in kinds]
    before = footprint.take([WORK])
    seen = {}

    def look() -> list[str]:
        reap()
        return [*sorted(footprint.take([WORK]) ^ before), *uncounted(counts)]

    for kind, (come, go) in LEAVINGS.items():
        command(come)
        seen[kind] = {"left": look()}
        command(go)
        deadline = time.monotonic() + _LAST_CHANCE
        while (still := look()) and time.monotonic() < deadline:
            pass
        seen[kind]["still"] = still
    return seen


def end_all() -> None:
    """End whatever is left of a run, so that it does not spoil the next one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def main(words: list[str]) -> None:
    """Carry out jobs."""
    make_machine()
    counted = "--counted" in words
    if "--beside" in words:
        crowd.gather(int(words[-1]))
        tell(beside(random.randrange(1 << 16)))
        return
    if "--prove" in words:
        tell(prove(counted=counted))
    for word in words:
        if not word.startswith("-"):
            tell(follow(Job.parse(word), counted=counted))


def tell(outcome: object) -> None:
    """Print something for who has started this."""
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
