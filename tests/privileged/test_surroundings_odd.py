"""Machines whose /etc is not as usual, imitated in a private mount namespace.

::

    left (10.0.0.1) --- (10.0.0.2) right
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, socket
from pytest_netns import Namespace, Topology, Veth, build

def state():
    return [
        (path, os.path.lexists(path), os.path.exists(path) and open(path).read())
        for path in ("/etc/hosts", "/etc/resolv.conf")
    ] + [sorted(os.listdir("/etc")), open("/proc/self/mountinfo").read()]

before = state()
with build(Topology(
    Namespace("left"),
    Namespace("right", nameservers="10.0.0.1"),
    Veth("left:eth0", "right:eth0", address="10.0.0.1/30", peer_address="10.0.0.2/30"),
)) as network:
    left, right = network["left"], network["right"]
    assert left.call(socket.gethostbyname, "right") == "10.0.0.2"
    assert "10.0.0.1 left" in right.run("cat /etc/hosts").stdout
    assert "nameserver 10.0.0.1" in right.run("cat /etc/resolv.conf").stdout
    assert "nameserver" not in left.run("cat /etc/resolv.conf").stdout
    assert left.run("cat /etc/passwd").stdout == open("/etc/passwd").read()
    network.add(Namespace("late"), Veth("late", "right", subnet="10.1.0.0/24"))
    assert "late" in left.run("cat /etc/hosts").stdout
    # a later thread of the namespace sees the same
    tasks = [left.spawn(socket.gethostbyname, "right") for _ in range(5)]
    assert {task.result(10) for task in tasks} == {"10.0.0.2"}
assert state() == before
print("all is well")
"""

#: Makes /etc a copy of its own, so that the machine's is out of reach.
OWN_ETC = """
set -e
mount -t tmpfs tmpfs /mnt
cp -a /etc/. /mnt/
mount --move /mnt /etc
test "$(stat -f -c %T /etc)" = tmpfs
"""


@pytest.mark.usefixtures("unconfined")  # files of all users are copied
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(":", id="as usual"),
        pytest.param("rm -f /etc/resolv.conf", id="no resolv.conf"),
        pytest.param("rm -f /etc/hosts /etc/resolv.conf", id="neither"),
        pytest.param(
            "ln -sf ../run/nowhere/stub-resolv.conf /etc/resolv.conf", id="dangling"
        ),
        pytest.param("ln -sf nowhere /etc/hosts", id="dangling hosts"),
        pytest.param(
            "mkdir -p /etc/managed; cp /etc/resolv.conf /etc/managed/; "
            "ln -sf managed/resolv.conf /etc/resolv.conf",
            id="symbolic link",
        ),
        pytest.param("mount -o remount,ro,bind /etc /etc", id="read-only"),
        pytest.param(
            "rm -f /etc/hosts /etc/resolv.conf; mount -o remount,ro /etc",
            id="read-only and neither",
        ),
        pytest.param("umount -l /sys/fs/cgroup || :", id="no control groups"),
    ],
)
def test_odd_machine(change: str) -> None:
    """Namespaces have their files, and the machine's stay as they are."""
    script = f'{OWN_ETC}\n{change}\nexec "$0" -c "$1"'
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "--propagation=private",
            "sh",
            "-c",
            script,
            sys.executable,
            PROGRAM,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "all is well\n", done.stderr
