"""Why a machine refuses something, in words: from what /proc says, and from limits."""

from __future__ import annotations

import errno
import os
import resource
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import KernelError, MissingFeature, _obstacles, _sysctl, privileges
from pytest_netns._threads import Threads

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for /proc and /sys: what the module opens is looked for here."""

    def open_here(path: str, **options: Any) -> Any:
        return (tmp_path / path.lstrip("/")).open(**options)

    monkeypatch.setattr(_obstacles, "open", open_here, raising=False)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    """Write a file that stands for one of the kernel's."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# --- what is forbidden ---


@pytest.mark.parametrize(
    ("label", "profile"),
    [
        ("docker-default (enforce)\n", "docker-default"),
        ("a profile with blanks (enforce)", "a profile with blanks"),
        ("docker-default (complain)\n", None),
        ("unconfined\n", None),
        ("", None),
        (None, None),
    ],
)
def test_profiles_of_apparmor(
    proc: Path, label: str | None, profile: str | None
) -> None:
    """One that is enforced is named; one that only complains forbids nothing."""
    if label is not None:
        write(proc, "proc/thread-self/attr/apparmor/current", label)
    assert _obstacles._apparmor_profile() == profile


def test_profiles_where_others_are_asked(proc: Path) -> None:
    """Before Linux 5.8 they are where every security module's are."""
    write(proc, "proc/thread-self/attr/current", "docker-default (enforce)\n")
    assert _obstacles._apparmor_profile() == "docker-default"


def test_what_is_forbidden_to_the_privileged(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is what is in force, and each comes with what helps."""
    monkeypatch.setattr(_obstacles, "_home_belongs_to_others", lambda: False)
    monkeypatch.setattr(_obstacles, "lacking_capabilities", list)
    monkeypatch.setattr(_obstacles, "is_filtered", lambda: False)
    text = "this process has the capabilities for it, so a security module forbids it"
    assert _obstacles.forbidden() == text

    write(proc, "proc/thread-self/attr/current", "docker-default (enforce)\n")
    assert "AppArmor's profile 'docker-default'" in _obstacles.forbidden()
    assert "--security-opt apparmor=unconfined" in _obstacles.forbidden()
    monkeypatch.setattr(_obstacles, "is_filtered", lambda: True)
    assert "seccomp=unconfined, or a profile with" in _obstacles.forbidden()
    assert " or AppArmor's profile" in _obstacles.forbidden()


def test_capabilities_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named, with the options that give them."""
    monkeypatch.setattr(_obstacles, "_home_belongs_to_others", lambda: False)
    mask = f"{1 << 12 | 1 << 21:016x}"
    monkeypatch.setattr(privileges, "status_of", lambda *_: [mask])
    assert _obstacles.advice(errno.EPERM) == (
        "this process lacks CAP_NET_RAW and CAP_SYS_CHROOT "
        "(in Docker: --cap-add=NET_RAW --cap-add=SYS_CHROOT, or --privileged)"
    )


# --- limits ---


def test_the_limit_of_namespaces(proc: Path) -> None:
    """The smallest is named; a kernel that has none says nothing."""
    assert _obstacles.advice(errno.ENOSPC) == ""
    write(proc, "proc/sys/user/max_net_namespaces", "5000\n")
    write(proc, "proc/sys/user/max_mnt_namespaces", "3\n")
    text = _obstacles.advice(errno.ENOSPC)
    assert text.startswith("/proc/sys/user/max_mnt_namespaces is 3, and that is how")
    assert text.endswith("as root: sysctl -w user.max_mnt_namespaces=10000")
    text = _obstacles.advice(errno.ENOSPC, namespaces=["net"])
    assert text.endswith("as root: sysctl -w user.max_net_namespaces=50000")


@pytest.mark.parametrize(
    ("limits", "remedy"),
    [
        ((60, 1000), "before pytest: ulimit -n 1000"),
        ((60, resource.RLIM_INFINITY), "before pytest: ulimit -n unlimited"),
        ((60, 60), "as root, before pytest: ulimit -n 4096 (in Docker: --ulimit *"),
    ],
)
def test_the_limit_of_files(
    limits: tuple[int, int], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may raise it is told how far; who may not, whom to ask."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    text = _obstacles.advice(errno.EMFILE)
    assert text.startswith("this process may have 60 files open, and has them; ")
    assert text.partition("; ")[2].startswith(remedy.rstrip("*"))


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/docker/1f3\n", "sys/fs/cgroup/docker/1f3/pids.max"),
        ("0::/\n", "sys/fs/cgroup/pids.max"),
        ("0::/docker/1f3\n", "sys/fs/cgroup/pids.max"),
        ("4:pids:/docker/1f3\n1:name=systemd:/\n", "sys/fs/cgroup/pids/pids.max"),
    ],
)
def test_the_limit_of_processes(proc: Path, groups: str, file: str) -> None:
    """That of our control group is found, in a container and outside."""
    assert _obstacles.process_limit() is None
    write(proc, "proc/self/cgroup", groups)
    write(proc, file, "max\n")
    assert _obstacles.process_limit() is None
    write(proc, file, "100\n")
    assert _obstacles.process_limit() == 100
    assert "(in Docker: --pids-limit=-1)" in _obstacles.advice(errno.EAGAIN)


def test_no_more_threads(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that cannot be started is a kernel's error, and is not waited for."""
    write(proc, "proc/self/cgroup", "0::/\n")
    write(proc, "sys/fs/cgroup/pids.max", "7\n")
    threads = Threads("namespace 'left'", lambda: None)
    with monkeypatch.context() as context:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        context.setattr(threading.Thread, "start", refuse)
        with pytest.raises(
            KernelError, match=r"start a thread of namespace 'left'"
        ) as error:
            threads.call(os.getpid)
    assert error.value.errno == errno.EAGAIN
    assert "may have 7 processes and threads" in str(error.value)
    assert threads.call(os.getpid) == os.getpid()
    threads.close(grace=5.0)


def test_nothing_is_known_of_other_errors() -> None:
    """Advice is given only where it is likely to be right."""
    assert _obstacles.advice(errno.EINVAL) == ""
    assert str(_obstacles.refusal(OSError(errno.EINVAL, "no"), "do it")) == (
        "cannot do it: Invalid argument (EINVAL)"
    )


# --- /proc ---


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that which is said, and not that privileges are missing."""
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    with pytest.raises(MissingFeature, match="as root: mount -t proc proc /proc"):
        privileges.check_privileges()


def test_a_kernel_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A /proc without them is no reason to mount one."""
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/proc/self")
    with pytest.raises(MissingFeature, match="CONFIG_NET_NS"):
        privileges.check_privileges()


def test_advice_has_a_line_of_its_own() -> None:
    """It stands between what was refused and the record that asked for it."""
    error = KernelError(errno.EPERM, "do it", "left", "RECORD", advice="ask root")
    assert str(error) == (
        "cannot do it in namespace 'left': Operation not permitted (EPERM)\n"
        "  ask root\n"
        "  declared by 'RECORD'"
    )


def test_settings_that_nobody_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default that could not be set is done without; what is asked for is not."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def forbid() -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(_sysctl, "_write", refuse)
    monkeypatch.setattr(_sysctl, "own_settings", forbid)
    with pytest.raises(KernelError, match=r"EROFS\)\n  /proc/sys is mounted read-only"):
        _sysctl.write("net.ipv4.ip_forward", "1", namespace="left")
    _sysctl.write_present([("net.ipv4.ip_forward", "1")])


def test_this_machine() -> None:
    """What is read of a real machine has the forms that are expected."""
    limit = _obstacles.namespace_limit("net")
    assert limit is None or limit >= 0
    pids = _obstacles.process_limit()
    assert pids is None or pids > 0
