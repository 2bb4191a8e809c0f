"""Where root may do less than root may elsewhere: what works, and what is said.

Each restriction is one that containers have, imitated in namespaces of its own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import restrictions
from .restrictions import mounted, rootless, without_calls, without_capability

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged", "unconfined")
#: A message is about this machine, not about what else could be tried on it.
NEVER = "--netns-rootless=never"

#: A bit of everything that a network is for.
EVERYTHING = """
    LAN = Topology(
        Namespace("left", nameservers=["10.0.0.2"]),
        Namespace("right"),
        Bridge("br0"),
        Veth("left:eth0", "br0", address=["10.0.0.1/24", "fd00::1/64"]),
        Veth("right:eth0", "br0", address=["10.0.0.2/24", "fd00::2/64"]),
    )
    ROUTER = Topology(
        Namespace("in", routes=[Route("default", via="10.0.1.1")]),
        Namespace("gw", forwarding=True, nat=[Masquerade(out_interface="eth1")]),
        Namespace("out"),
        Veth("in:eth0", "gw:eth0", address="10.0.1.2/24", peer_address="10.0.1.1/24"),
        Veth("out:eth0", "gw:eth1", address="10.0.2.2/24", peer_address="10.0.2.1/24"),
    )

    @pytest.mark.netns(LAN)
    def test_packets(netns):
        left = netns["left"]
        with left.capture("eth0") as capture:
            assert left.ping("right", timeout=20)
            assert left.ping("fd00::2", timeout=20)
            capture.wait(4, timeout=20)

    @pytest.mark.netns(LAN)
    def test_processes(netns):
        assert netns["left"].run("echo it works").stdout == "it works\\n"
        with netns["left"].popen("sleep 1000") as process:
            process.terminate()
            process.wait(timeout=20)

    @pytest.mark.netns(LAN)
    def test_two_threads(netns):
        left, arrived = netns["left"], threading.Event()
        task = left.spawn(arrived.wait, 20)
        try:
            assert left.call(os.getpid) == os.getpid()
        finally:
            arrived.set()
        assert task.result(timeout=20)
"""
#: What needs more of a machine than networks alone do.
MORE = """
    def look():
        files = [Path(name).read_text() for name in ("/etc/hosts", "/etc/resolv.conf")]
        return sorted(os.listdir("/sys/class/net")), socket.gethostname(), files

    @pytest.mark.netns(LAN)
    def test_surroundings(netns):
        interfaces, name, (hosts, servers) = netns["left"].call(look)
        assert interfaces == ["eth0", "lo"]
        assert name == "left"
        assert "right" in hosts
        assert "10.0.0.2" in servers

    @pytest.mark.netns(LAN)
    def test_sysctl(netns):
        key = "net.ipv4.ip_default_ttl"
        netns["left"].sysctl[key] = "42"
        assert netns["left"].sysctl[key] == "42"
        assert netns["right"].sysctl[key] != "42"
        netns["right"].run(["sh", "-c", "echo 43 >/proc/sys/net/ipv4/ip_default_ttl"])
        assert netns["right"].sysctl[key] == "43"
        assert netns["left"].sysctl[key] == "42"

    @pytest.mark.netns(ROUTER)
    def test_nat(netns):
        assert netns["in"].ping("10.0.2.2", timeout=20)
"""
ALL = {"passed": 6}


def run(inner: Inner, prefix: list[str], *arguments: str) -> pytest.RunResult:
    """Run the inner tests behind a restriction."""
    return inner.run_behind(prefix, NEVER, "-rs", *arguments)


# --- privileges ---


@pytest.mark.parametrize("name", ["sys_admin", "net_admin"])
def test_without_a_capability(inner: Inner, name: str) -> None:
    """The reason names the one that is missing, and not the other."""
    inner.write(EVERYTHING)
    result = run(inner, without_capability(name))
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        [f"*network namespaces need CAP_{name.upper()}, which root * does not have*"]
    )


def test_without_raw_sockets(inner: Inner) -> None:
    """What needs no packets of its own works; a capture says which capability lacks."""
    inner.write(EVERYTHING)
    result = run(inner, without_capability("net_raw"))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot capture on 'eth0' in namespace 'left': * (EPERM)",
            "*this process lacks CAP_NET_RAW (in Docker: --cap-add=NET_RAW, *",
        ]
    )


def test_without_entering_mounts(inner: Inner) -> None:
    """A second thread cannot join the first; the reason names the capability."""
    inner.write(EVERYTHING)
    result = run(inner, without_capability("sys_chroot"))
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot set up its mounts in namespace 'left': * (EPERM)",
            "*this process lacks CAP_SYS_CHROOT (in Docker: --cap-add=SYS_CHROOT, *",
        ]
    )


# --- system calls ---


@pytest.mark.parametrize("name", ["unshare", "setns"])
def test_without_making_or_entering_namespaces(inner: Inner, name: str) -> None:
    """The reason is the filter; and nobody is left in a namespace half-made."""
    inner.write(
        EVERYTHING
        + """
    @pytest.fixture(scope="session", autouse=True)
    def at_home():
        before = os.readlink("/proc/self/ns/net")
        yield
        Path("after").write_text(str(before == os.readlink("/proc/self/ns/net")))
"""
    )
    result = run(inner, without_calls(name))
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        [
            "*cannot create it in namespace 'left': * (EPERM)",
            "*has the capabilities for it, so a seccomp filter forbids it (in Docker*",
        ]
    )
    assert (inner.path / "after").read_text() == "True"


def test_without_mounting(inner: Inner) -> None:
    """Networks can be built; what needs mounts of its own is skipped, and says why."""
    inner.write(EVERYTHING)
    result = run(inner, without_calls("mount"))
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*cannot set up / in namespace 'left': * (EPERM)",
            "*has the capabilities for it, so a seccomp filter forbids it (in Docker*",
        ]
    )


def test_without_a_host_name(inner: Inner) -> None:
    """A failed test is told why its host name is not what it should be."""
    inner.write(EVERYTHING + MORE)
    result = run(inner, without_calls("sethostname", "bpf", "pidfd_open"))
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*what processes lack on this machine*",
            "the host name is the machine's (Operation not permitted); in Docker: *",
        ]
    )


# --- /proc and /sys ---


@pytest.mark.parametrize(
    "script",
    [
        f"""
        {restrictions.READ_ONLY_SETTINGS}
        {restrictions.COVERED_PATHS}
        {restrictions.READ_ONLY_SYS}
        """,
        """
        umount --lazy /sys
        for directory in /run /dev/shm /dev/net; do
            if [ -d $directory ]; then mount -t tmpfs -o ro none $directory; fi
        done
        mount --bind "$PWD" "$PWD"
        mount -o remount,bind,ro /
        cd "$PWD"
        export TMPDIR="$PWD"
        """,
    ],
    ids=["as in Docker", "without sys, where little can be written"],
)
def test_everything_works(inner: Inner, script: str) -> None:
    """What a container has covered or made read-only keeps nobody from anything."""
    inner.write(EVERYTHING + MORE)
    run(inner, mounted(script)).assert_outcomes(**ALL)


def test_in_a_pid_namespace(inner: Inner) -> None:
    """A /proc that hides the processes of others shows enough."""
    inner.write(EVERYTHING + MORE)
    script = 'mount -t proc -o hidepid=2 none /proc; exec "$@"'
    prefix = ["unshare", "--mount", "--pid", "--fork", "sh", "-euc", script, "sh"]
    run(inner, prefix).assert_outcomes(**ALL)


def test_without_proc(inner: Inner) -> None:
    """Without it nothing can be built, and the reason is not want of privileges."""
    inner.write(EVERYTHING)
    for option in (NEVER, "--netns-rootless=auto"):
        result = run(inner, mounted("umount --lazy /proc"), option)
        result.assert_outcomes(skipped=3)
        result.stdout.fnmatch_lines(["*/proc is not mounted*mount -t proc proc /proc"])
        result.stdout.no_fnmatch_line("*CAP_*")


# --- in a user namespace, in a container ---


def test_rootless_with_read_only_sysctls(inner: Inner) -> None:
    """What sets none works; the others say what they could not set, and what helps."""
    inner.write(EVERYTHING + MORE)
    settings = mounted(restrictions.READ_ONLY_SETTINGS + restrictions.COVERED_PATHS)
    result = run(inner, [*settings, *rootless()], "-k", "not surroundings")
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot set sysctl 'net.ipv4.ip_forward' to * in namespace 'gw': *EROFS*",
            "*/proc/sys is mounted read-only*(Operation not permitted); in Docker: *",
        ]
    )
    result.stdout.fnmatch_lines(["*cannot set sysctl 'net.ipv4.ip_default_ttl' to *"])


def test_rootless_with_read_only_sys(inner: Inner) -> None:
    """A /sys that is read-only is replaced by one that is read-only."""
    inner.write(EVERYTHING + MORE)
    prefix = [*mounted(restrictions.READ_ONLY_SYS), *rootless()]
    run(inner, prefix).assert_outcomes(**ALL)


def test_rootless_with_a_covered_sys(inner: Inner) -> None:
    """Where no /sys can be mounted, a failed test is told; none sees the machine's."""
    inner.write(EVERYTHING + MORE)
    prefix = [*mounted(restrictions.COVERED_PATHS), *rootless()]
    result = run(inner, prefix)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*what processes lack on this machine*",
            "/sys shows no interfaces (Operation not permitted); in Docker: --sec*",
        ]
    )
    result.stdout.fnmatch_lines(["*assert [[][]] == [[]'eth0', 'lo'[]]*"])


def test_in_a_user_namespace_without_a_network_of_its_own(inner: Inner) -> None:
    """Whoever could not come back does not go; the reason says what to take, too."""
    inner.write(EVERYTHING)
    result = run(inner, ["unshare", "--user", "--map-root-user", "--mount"])
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*its network namespace is none of that*unshare -U*"])


# --- another root ---


def test_in_a_chroot(inner: Inner, tmp_path: Path) -> None:
    """Every thread sees the chroot, and nothing of it remains to be seen outside."""
    place = tmp_path / "place"
    place.mkdir()
    inner.write(
        EVERYTHING
        + MORE
        + """
    @pytest.mark.netns(LAN)
    def test_root(netns):
        left, go = netns["left"], threading.Event()
        task = left.spawn(lambda: [go.wait(20), os.path.exists("/a-chroot")])
        assert left.call(os.path.exists, "/a-chroot")
        go.set()
        assert task.result(timeout=20) == [True, True]
        left.run("test -e /a-chroot")
"""
    )
    before = _mounts()
    result = run(inner, restrictions.changed_root(place, inner.path))
    result.assert_outcomes(passed=7)
    assert _mounts() == before


def _mounts() -> list[str]:
    """Return what is mounted, but for the names that other runs give their networks."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("nsfs ")]


def test_user_namespaces_inside(inner: Inner) -> None:
    """A process of any thread may take a user namespace, which no chroot may."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_it(netns):
            left, go = netns["left"], threading.Event()
            take = ["unshare", "--user", "true"]
            task = left.spawn(lambda: [go.wait(20), subprocess.run(take).returncode])
            assert left.call(subprocess.run, take).returncode == 0
            go.set()
            assert task.result(timeout=20) == [True, 0]
        """
    )
    probe = subprocess.run(
        ["unshare", "--user", "true"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip("the kernel has no user namespaces")
    inner.run().assert_outcomes(passed=1)


# --- limits ---


def test_too_many_namespaces(inner: Inner) -> None:
    """The message names the limit and how to raise it; smaller networks work."""
    inner.write(
        """
        def test_one(netns):
            netns.add(Namespace("one"))

        @pytest.mark.netns(*[Namespace(f"n{number}") for number in range(9)])
        def test_many():
            pass
        """
    )
    result = run(inner, rootless("echo 4 >/proc/sys/user/max_net_namespaces"))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot create it in namespace 'n*': No space left on device (ENOSPC)",
            "*max_net_namespaces is 4*sysctl -w user.max_net_namespaces=10000",
        ]
    )


@pytest.mark.parametrize("kind", ["mnt", "uts"])
def test_too_many_surroundings(inner: Inner, kind: str) -> None:
    """So does that of the mount and UTS namespaces, which come with processes."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_network(netns):
            with netns["left"].socket():
                pass

        @pytest.mark.netns(CABLE)
        def test_process(netns):
            netns["left"].run("true")
            netns["right"].run("true")
        """
    )
    result = run(inner, rootless(f"echo 1 >/proc/sys/user/max_{kind}_namespaces"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot set up its mounts in namespace '*': * (ENOSPC)",
            f"*max_{kind}_namespaces is 1*sysctl -w user.max_{kind}_namespaces=10000",
        ]
    )


def test_too_many_files(inner: Inner) -> None:
    """The message names how many files may be open; smaller networks work."""
    inner.write(
        """
        def test_one(netns):
            netns.add(Namespace("one"))

        @pytest.mark.netns(*[Namespace(f"n{number}") for number in range(60)])
        def test_many():
            pass
        """
    )
    prefix = ["sh", "-c", 'ulimit -S -n 60; ulimit -H -n 1000; exec "$@"', "sh"]
    result = run(inner, prefix)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*cannot * in namespace 'n*': Too many open files (EMFILE)",
            "*may have 60 files open, and has them; before pytest: ulimit -n 1000",
        ]
    )
