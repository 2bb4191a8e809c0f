"""A process takes a user namespace, and is root there; nobody comes back from it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: Everything is imported as root: an ordinary user may be unable to read it.
PROGRAM = """
import contextlib, ctypes, getpass, os, platform, pwd, socket, struct, subprocess, sys
import encodings.ascii, encodings.idna, importlib, pkgutil, threading
import pytest_netns
for module in pkgutil.iter_modules(pytest_netns.__path__):
    if not module.name.startswith(("_load", "__main__")):
        importlib.import_module(f"pytest_netns.{module.name}")
from pytest_netns import privileges, rootless
from pytest_netns import Namespace, Topology, Veth, build
from pytest_netns.rootless import go_rootless

def become(user):
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    # as after exec(): otherwise /proc/self would be root's (proc(5))
    assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE

def read(path):
    with open(path) as file:
        return file.read()

def where():
    kinds = "user", "net", "mnt"
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}

def ifnames():
    return sorted(name for _, name in socket.if_nameindex())

# has seccomp answer some calls of unshare(2) with an error (seccomp(2))
def deny_unshare(number, flag=0):
    call = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    code = [
        (0x20, 0, 0, 0),              # the call's number
        (0x15, 0, 3, call),           # is it unshare? otherwise let it through
        (0x20, 0, 0, 16),             # its flags
        (0x45 if flag else 0x35, 0, 1, flag),
        (0x06, 0, 0, 0x00050000 | number),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),     # SECCOMP_RET_ALLOW
    ]
    packed = b"".join(struct.pack("HBBI", *one) for one in code)
    buffer = ctypes.create_string_buffer(packed)
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP
"""

#: Makes /run, and with it /run/netns, one that the machine does not see.
OWN_RUN = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/shared
touch /run/file
ln -s file /run/link
"""


@pytest.fixture(autouse=True)
def _all_users() -> None:
    """Skip in a user namespace that has one user: nobody could become another."""
    extents = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    size = sum(int(extent.split()[2]) for extent in extents)
    if size < 65536:
        pytest.skip("this user namespace has no other users")


def run(
    program: str, *, setup: str = OWN_RUN, env: dict[str, str] | None = None
) -> str:
    """Run a program in a mount namespace of its own; return what it writes."""
    completed = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", f'{setup}\nexec "$@"', "sh"),
            *(sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(program)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=None if env is None else {"PATH": os.environ["PATH"], **env},
    )
    assert completed.returncode == 0, completed.stdout
    return completed.stdout


class TestOrdinaryUser:
    """Somebody without any privilege."""

    def test_is_root_inside(self) -> None:
        """In namespaces of his own, with every capability, and a loopback interface."""
        run("""
            become(1234)
            before = where()
            assert len(privileges.missing_capabilities()) == 2
            assert go_rootless("auto").entered
            assert privileges.missing_capabilities() == []
            assert privileges.is_in_user_namespace()
            assert (os.getuid(), os.getgid()) == (0, 0)
            after = where()
            assert all(after[kind] != before[kind] for kind in before)
            assert ifnames() == os.listdir("/sys/class/net") == ["lo"]
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        """)

    def test_files_keep_their_owner(self, tmp_path: Path) -> None:
        """What he writes is his own outside, and what is not his stays out of reach."""
        tmp_path.chmod(0o777)
        (tmp_path / "secret").write_text("root's")
        (tmp_path / "secret").chmod(0o600)
        run(f"""
            os.chdir({str(tmp_path)!r})
            become(1234)
            assert go_rootless("auto").entered
            open("written", "w").close()
            subprocess.run(["touch", "by a child"], check=True)
            os.mkdir("directory")
            with contextlib.suppress(PermissionError):
                read("secret")
                raise SystemExit("he has read it")
        """)
        for name in ("written", "by a child", "directory"):
            assert (tmp_path / name).stat().st_uid == 1234
            assert (tmp_path / name).stat().st_gid == 1234

    def test_networks(self) -> None:
        """Networks are built as for root, and are all that there is."""
        run("""
            become(1234)
            assert go_rootless("auto").entered
            with build(Topology(
                Namespace("left"),
                Namespace("right"),
                Veth("left", "right", subnet="10.0.0.0/24"),
            )) as network:
                assert network["left"].ping("right")
            with contextlib.suppress(OSError):
                socket.create_connection(("192.0.2.1", 9), timeout=5)
                raise SystemExit("there is a way out")
            assert ifnames() == ["lo"]
        """)

    @pytest.mark.parametrize("there", [True, False], ids=["there before", "new"])
    def test_names(self, there: bool) -> None:  # noqa: FBT001
        """``ip netns`` works, unseen from outside; what else is in /run stays."""
        setup = "\nmkdir /run/netns && touch /run/netns/somebody" if there else ""
        run(
            f"""
            server = socket.socket(socket.AF_UNIX)
            server.bind("/run/socket")
            server.listen()
            os.chmod("/run/socket", 0o777)
            outside = os.open("/run", os.O_RDONLY)
            there = {there}
            """
            """
            before = sorted(os.listdir("/run"))
            become(1234)
            assert go_rootless("auto").entered
            subprocess.run(["ip", "netns", "add", "mine"], check=True)
            assert os.listdir("/run/netns") == ["mine"]
            assert "lo" in subprocess.run(
                ["ip", "netns", "exec", "mine", "ip", "-br", "link"],
                check=True, text=True, stdout=subprocess.PIPE,
            ).stdout
            assert sorted({*os.listdir("/run"), "netns"}) == sorted({*before, "netns"})
            assert os.readlink("/run/link") == "file"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect("/run/socket")
            assert sorted(os.listdir(outside)) == before
            if there:
                found = os.open("netns", os.O_RDONLY, dir_fd=outside)
                assert os.listdir(found) == ["somebody"]
            server.close()
            """,
            setup=OWN_RUN + setup,
        )

    def test_his_name(self) -> None:
        """People and their directories are called as before, with any environment."""
        program = """
            os.environ.update(dict(word.split("=") for word in sys.argv[1:]))
            become(65534)
            name, directory = getpass.getuser(), os.path.expanduser("~")
            assert go_rootless("auto").entered
            print(getpass.getuser() == name, os.path.expanduser("~") == directory)
        """
        assert run(program, env={}) == "True True\n"
        assert run(program, env={"USER": "you", "HOME": "/tmp"}) == "True True\n"

    def test_somebody_without_a_name(self) -> None:
        """He has his number for a name."""
        said = run(
            """
            become(12345)
            assert go_rootless("auto").entered
            print(getpass.getuser(), os.path.expanduser("~"))
            """,
            env={},
        )
        assert said == "12345 /\n"

    def test_once(self) -> None:
        """Whoever is root there stays where he is."""
        run("""
            become(1234)
            assert go_rootless("auto").entered
            there = where()
            assert go_rootless("always").entered
            assert where() == there
        """)


class TestModes:
    """Who enters."""

    @pytest.mark.parametrize("user", [0, 1234])
    def test_never(self, user: int) -> None:
        """Nobody."""
        run(f"""
            become({user})
            before = where()
            assert go_rootless("never") == rootless.Rootless()
            assert where() == before
        """)

    def test_auto(self) -> None:
        """Who is privileged stays."""
        run("""
            before = where()
            assert go_rootless("auto") == rootless.Rootless()
            assert where() == before
        """)

    def test_always(self, tmp_path: Path) -> None:
        """Root takes all users along, and leaves the machine's network alone."""
        run(f"""
            os.chdir({str(tmp_path)!r})
            before = where()
            assert go_rootless("always").entered
            assert where()["user"] != before["user"]
            assert ifnames() == ["lo"]
            open("file", "w").close()
            os.chown("file", 1234, 5678)
            as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", "id", "-u"]
            assert subprocess.check_output(as_nobody, text=True) == "65534\\n"
        """)
        found = (tmp_path / "file").stat()
        assert (found.st_uid, found.st_gid) == (1234, 5678)


class TestObstacles:
    """Where it is impossible, the reason is named, and nothing is half-done."""

    def refused(self, arrange: str) -> str:
        """Return the reason, after something was arranged for it not to work."""
        return run(f"""
            become(1234)
            {arrange}
            before = (where(), os.getuid(), privileges.missing_capabilities())
            outcome = go_rootless("auto")
            assert not outcome.entered
            after = (where(), os.getuid(), privileges.missing_capabilities())
            assert after == before
            print(outcome.obstacle)
        """)

    def test_nothing(self) -> None:
        """The filter of these tests can let it through."""
        run("""
            become(1234)
            deny_unshare(1, flag=0x80000000)
            assert privileges.is_filtered()
            assert go_rootless("auto").entered
        """)

    def test_seccomp(self) -> None:
        """A filter, as Docker's is."""
        assert "seccomp" in self.refused("deny_unshare(1)")

    def test_kernel_without(self) -> None:
        """A kernel that knows no such thing."""
        assert "CONFIG_USER_NS" in self.refused("deny_unshare(22)")

    def test_namespaces_without_privileges(self) -> None:
        """As with AppArmor in Ubuntu: there are some, but they do not help."""
        reason = self.refused("deny_unshare(1, flag=0x44000000)")
        assert "give no privileges here (Operation not permitted)" in reason
        assert "AppArmor" in reason

    def test_limit(self) -> None:
        """None are allowed, which the limit says."""
        reason = run("""
            assert go_rootless("always").entered
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")
            rootless._outcome = rootless.Rootless()
            outcome = go_rootless("always")
            assert not outcome.entered
            print(outcome.obstacle)
        """)
        assert reason.startswith("/proc/sys/user/max_user_namespaces is 0 (as root: ")

    def test_as_many_as_allowed(self) -> None:
        """Others have taken all."""
        reason = run("""
            assert go_rootless("always").entered
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("2")
            while rootless._outcome.entered:  # one in another
                rootless._outcome = rootless.Rootless()
                go_rootless("always")
            print(rootless._outcome.obstacle)
        """)
        assert "as many user namespaces as he may" in reason

    def test_chroot(self, tmp_path: Path) -> None:
        """The kernel gives none to whoever does not see its root directory."""
        reason = run(f"""
            os.chmod({str(tmp_path)!r}, 0o755)
            os.mkdir({str(tmp_path / "proc")!r})
            subprocess.run(["mount", "-t", "proc", "proc", {str(tmp_path / "proc")!r}],
                           check=True)
            os.chroot({str(tmp_path)!r})
            become(1234)
            print(go_rootless("auto").obstacle)
        """)
        assert "chroot" in reason

    def test_threads(self) -> None:
        """Other threads would stay outside, so the kernel does not let any enter."""
        reason = self.refused(
            "threading.Thread(target=threading.Event().wait, daemon=True).start()"
        )
        assert reason.startswith("2 threads run already")
        assert "-p pytest_netns.plugin" in reason

    def test_threads_of_a_library(self) -> None:
        """Those of numpy end before a fork, and come again when there is work."""
        run("""
            import numpy

            def count():
                return len(os.listdir("/proc/self/task"))

            number = count()
            assert number > 1 or os.cpu_count() == 1
            become(1234)
            assert go_rootless("auto").entered
            assert count() == 1
            square = numpy.ones((500, 500))
            assert (square @ square == 500).all()
            assert count() == number
        """)

    def test_root_who_may_not_map_himself(self) -> None:
        """Root of a container without CAP_SETFCAP (since Linux 5.12)."""
        reason = run("""
            os.execvp("setpriv", [
                "setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable,
                "-c", "from pytest_netns.rootless import go_rootless;"
                "print(go_rootless('auto').obstacle)",
            ])
        """)
        assert "uid_map cannot be written (Operation not permitted)" in reason
