"""Files that are written as root where others may have set traps."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_netns._artifacts import save_packets
from pytest_netns._bench_store import Store
from pytest_netns._directories import directory, make_directories
from pytest_netns._files import save, save_text
from pytest_netns._frame import Frame
from pytest_netns._invoker import give, invoker, own_home
from pytest_netns.privileges import is_in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Fake

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or is_in_user_namespace(),
    reason="only root can be led astray by others",
)

PING = Frame(1_700_000_000_000_000_001, "left", "eth0", "out", bytes(60), 60)
STRANGER, USER = 1234, 4321


@pytest.fixture(autouse=True)
def without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody be behind sudo, whoever runs the tests."""
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a user be behind sudo."""
    monkeypatch.setenv("SUDO_UID", str(USER))
    monkeypatch.setenv("SUDO_GID", str(USER))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Make a directory as /tmp is one."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def link(path: Path, target: Path, owner: int) -> Path:
    """Make a link that belongs to somebody."""
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def owner_of(path: Path) -> tuple[int, int]:
    """Return the user and the group that something belongs to."""
    status = path.lstat()
    return status.st_uid, status.st_gid


class TestFollowing:
    """Links on the way to a file: whose, and where."""

    def test_a_link_of_a_stranger_where_all_may_write_is_not_followed(
        self, shared: Path, tmp_path: Path
    ) -> None:
        """Neither to write below it nor to make directories; it is named."""
        (tmp_path / "etc").mkdir()
        way = link(shared / "artifacts", tmp_path / "etc", STRANGER)

        trap = r"'artifacts' is a link of user 1234"
        with pytest.raises(PermissionError, match=trap):
            save_text(way / "new", "text")
        with pytest.raises(PermissionError, match=trap):
            make(way / "new")
        assert list((tmp_path / "etc").iterdir()) == []

    @pytest.mark.parametrize("owner", [0, USER])
    @pytest.mark.usefixtures("sudo")
    def test_a_link_of_root_or_of_the_user_behind_sudo_is_followed(
        self, owner: int, shared: Path, tmp_path: Path
    ) -> None:
        """Wherever it is: they may write everywhere anyway."""
        (tmp_path / "disk").mkdir()
        way = link(shared / "artifacts", tmp_path / "disk", owner)

        save_text(way / "new", "text")
        assert (tmp_path / "disk" / "new").read_text() == "text"

    def test_a_user_who_is_not_behind_sudo_is_a_stranger(
        self, shared: Path, tmp_path: Path
    ) -> None:
        """The same link, without sudo."""
        way = link(shared / "artifacts", tmp_path, USER)

        with pytest.raises(PermissionError, match="link of user 4321"):
            save_text(way / "new", "text")

    def test_a_directory_of_somebody_may_have_links_of_its_owner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As root in a container has it with what is mounted; not so under sudo."""
        folder, disk = tmp_path / "workspace", tmp_path / "disk"
        folder.mkdir()
        disk.mkdir()
        os.chown(folder, STRANGER, STRANGER)
        way = link(folder / "artifacts", disk, STRANGER)
        save_text(way / "new", "text")
        assert (disk / "new").read_text() == "text"

        monkeypatch.setenv("SUDO_UID", str(USER))
        monkeypatch.setenv("SUDO_GID", str(USER))
        with pytest.raises(PermissionError, match="link of user 1234"):
            save_text(way / "other", "text")

    def test_a_directory_for_all_to_write_to_may_have_none_of_its_owner(
        self, shared: Path, tmp_path: Path
    ) -> None:
        """Its owner is as much a stranger there as all the others."""
        os.chown(shared, STRANGER, STRANGER)
        way = link(shared / "artifacts", tmp_path, STRANGER)

        with pytest.raises(PermissionError, match="link of user 1234"):
            save_text(way / "new", "text")

    def test_a_chain_of_links_is_followed_to_its_end(self, tmp_path: Path) -> None:
        """Relative ones and absolute ones, upwards too; but a circle ends."""
        (tmp_path / "a" / "b").mkdir(parents=True)
        link(tmp_path / "a" / "up", Path(".."), 0)
        link(tmp_path / "one", tmp_path / "a" / "up" / "two", 0)
        link(tmp_path / "two", Path("a/./b//"), 0)
        save_text(tmp_path / "one" / "new", "text")
        assert (tmp_path / "a" / "b" / "new").read_text() == "text"

        link(tmp_path / "circle", tmp_path / "circle", 0)
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            save_text(tmp_path / "circle" / "new", "text")

    def test_a_trap_at_the_end_is_replaced(self, shared: Path) -> None:
        """A link to a device, a pipe that nobody reads; root's own is written to."""
        trap = link(shared / "trap.pcapng", Path("/dev/full"), STRANGER)
        save(trap, [PING])
        assert stat.S_ISREG(trap.lstat().st_mode)

        pipe = shared / "pipe.pcapng"
        os.mkfifo(pipe)
        os.chown(pipe, STRANGER, STRANGER)
        save(pipe, [PING])
        assert stat.S_ISREG(pipe.lstat().st_mode)

        own = link(shared / "own.pcapng", Path("/dev/full"), 0)
        with pytest.raises(OSError, match="No space left on device"):
            save(own, [PING])


class TestRacing:
    """Names that come to mean something else meanwhile."""

    def test_a_file_goes_where_it_was_begun(self, tmp_path: Path) -> None:
        """Whatever has the name of its directory when it is whole."""
        folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
        folder.mkdir()
        elsewhere.mkdir()

        def frames() -> Iterator[Frame]:
            folder.rename(tmp_path / "moved")
            folder.symlink_to(elsewhere)
            yield PING

        save(folder / "capture.pcapng", frames())
        assert list(elsewhere.iterdir()) == []
        assert [one.name for one in (tmp_path / "moved").iterdir()] == [
            "capture.pcapng"
        ]

    def test_a_device_is_the_one_that_was_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that comes in its place meanwhile is not written to."""
        path, other = tmp_path / "pipe", tmp_path / "other"
        other.write_text("precious")
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        look = os.fstat

        def look_and_swap(fd: int) -> os.stat_result:
            status = look(fd)
            if stat.S_ISFIFO(status.st_mode):
                path.unlink(missing_ok=True)
                path.hardlink_to(other)
            return status

        monkeypatch.setattr(os, "fstat", look_and_swap)
        try:
            save(path, [PING])
            assert len(os.read(reading, 4096)) > 60
        finally:
            os.close(reading)
        assert other.read_text() == "precious"

    def test_a_directory_stays_the_one_that_was_opened(self, tmp_path: Path) -> None:
        """Its descriptor leads there, and no path is looked up again."""
        with directory(str(tmp_path / "a" / "b"), make=True) as folder:
            (tmp_path / "a").rename(tmp_path / "c")
            os.mkdir("d", dir_fd=folder)
        assert (tmp_path / "c" / "b" / "d").is_dir()


class TestOwners:
    """Under sudo, what is written belongs to who has called that."""

    @pytest.mark.usefixtures("sudo")
    def test_new_directories_and_files(self, tmp_path: Path) -> None:
        """All that are new; what was there before stays whose it was."""
        (tmp_path / "old").mkdir()
        path = tmp_path / "old" / "new" / "newer" / "file"
        make(path.parent)
        save_text(path, "text")

        for one in (path, path.parent, path.parent.parent):
            assert owner_of(one) == (USER, USER)
        assert owner_of(tmp_path / "old") == (0, 0)

    @pytest.mark.usefixtures("sudo")
    def test_a_file_that_takes_the_place_of_another(self, tmp_path: Path) -> None:
        """It is a new one."""
        path = tmp_path / "capture.pcapng"
        path.touch()
        save(path, [PING])
        assert owner_of(path) == (USER, USER)

    @pytest.mark.usefixtures("sudo")
    def test_saved_benchmarks(self, tmp_path: Path, fake: Fake) -> None:
        """And the directory that they are in."""
        store = Store(str(tmp_path / "runs"))
        path = Path(store.save("main", [fake()]))
        assert [owner_of(path), owner_of(path.parent)] == [(USER, USER)] * 2

    @pytest.mark.usefixtures("sudo")
    def test_a_device_belongs_to_whom_it_has_belonged(self) -> None:
        """It was not made here."""
        before = owner_of(Path("/dev/null"))
        save_text("/dev/null", "text")
        assert owner_of(Path("/dev/null")) == before

    def test_without_sudo_all_belongs_to_root(self, tmp_path: Path) -> None:
        """As with every program."""
        make(tmp_path / "new")
        save_text(tmp_path / "new" / "file", "text")
        assert owner_of(tmp_path / "new" / "file") == (0, 0)

    @pytest.mark.usefixtures("sudo")
    def test_what_is_somebody_elses_is_not_given_away(self, tmp_path: Path) -> None:
        """Even if this process has it open."""
        path = tmp_path / "file"
        path.touch()
        os.chown(path, STRANGER, STRANGER)
        with path.open() as file:
            give(file.fileno())
        assert owner_of(path) == (STRANGER, STRANGER)

    def test_a_directory_is_not_for_all_to_write_to(self, tmp_path: Path) -> None:
        """Whatever the umask is."""
        before = os.umask(0)
        try:
            make(tmp_path / "new")
            save_text(tmp_path / "new" / "file", "text")
        finally:
            os.umask(before)
        for path in (tmp_path / "new", tmp_path / "new" / "file"):
            assert not path.stat().st_mode & stat.S_IWOTH

    @pytest.mark.usefixtures("sudo")
    def test_no_packets_no_directory(self, tmp_path: Path) -> None:
        """Nothing is made for nothing."""
        assert list(save_packets([], str(tmp_path / "new"), 0)) == []
        assert not (tmp_path / "new").exists()


class TestInvoker:
    """Who is behind sudo."""

    @pytest.mark.parametrize(
        ("user", "group"),
        [("x", "1"), ("1", ""), ("-1", "1"), ("1_0", "1"), ("٣", "1"), ("0", "0")],
    )
    def test_what_is_no_user_is_nobody(
        self, user: str, group: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Root itself is not somebody else."""
        monkeypatch.setenv("SUDO_UID", user)
        monkeypatch.setenv("SUDO_GID", group)
        assert invoker() is None

    def test_a_number_that_nobody_can_have_is_nobodys(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last one stands for none (chown(2)); the one before is known."""
        for number, owner in ((2**32 - 1, None), (2**32 - 2, (2**32 - 2, 7))):
            monkeypatch.setenv("SUDO_UID", str(number))
            monkeypatch.setenv("SUDO_GID", "7")
            assert invoker() == owner

    @pytest.mark.usefixtures("sudo")
    def test_libraries_have_their_caches_in_roots_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``sudo -E`` would have them read, as root, what the user has put there."""
        home = Path.home()
        assert owner_of(home)[0] == 0, "root's own"
        os.chown(tmp_path, USER, USER)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        with own_home():
            assert Path.home() == home
            assert "XDG_CACHE_HOME" not in os.environ
        assert Path.home() == tmp_path
        assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "cache")

        os.chown(tmp_path, 0, 0)
        with own_home():
            assert Path.home() == tmp_path

    @pytest.mark.usefixtures("sudo")
    def test_scapy_reads_and_writes_nothing_of_the_users(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It unpickles its caches: what is there could be anything."""
        (tmp_path / "home").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        program = "from pytest_netns._scapy import load; load()"
        before = os.environ["HOME"]
        for owner, is_used in ((USER, False), (0, True)):
            os.chown(before, owner, owner)
            subprocess.run([sys.executable, "-c", program], check=True)
            assert any(Path(before).iterdir()) is is_used


def make(path: Path) -> None:
    """Make a directory and those above it."""
    make_directories(str(path))
