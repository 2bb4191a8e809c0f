"""Runs under sudo: what they leave is the user's, not root's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from pytest_netns.privileges import is_in_user_namespace

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Inner

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or is_in_user_namespace(), reason="only root can act for others"
)

USER = 4321
#: Warnings are errors; the cache and Hypothesis are there.
WITH_CACHE = ("-W", "error", "--strict-markers", "-p", "no:asyncio")


@pytest.fixture
def sudo(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Give a user's directory of tests, and root that was called by that user."""
    monkeypatch.setenv("SUDO_UID", str(USER))
    monkeypatch.setenv("SUDO_GID", str(USER))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    # a child's is not that of the run
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    (inner.path / "sub").mkdir()
    (inner.path / "sub" / "test_below.py").write_text(
        "import below\n\ndef test_below():\n    assert not below.nothing\n"
    )
    (inner.path / "sub" / "below.py").write_text("nothing = 0\n")
    inner.write("def test_fails():\n    assert 0\n", "test_here")
    give(inner.path)
    return inner


def give(folder: Path, user: int = USER) -> None:
    """Make all of a directory a user's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def of_root(folder: Path) -> set[str]:
    """Return what of a directory is root's, but for links, whose owner is nothing.

    The outputs of the run are this process's.
    """
    found = {path for path in folder.rglob("*") if not path.is_symlink()}
    names = {str(path.relative_to(folder)) for path in found if path.stat().st_uid == 0}
    return names - {"stdout", "stderr"}


def test_caches_are_the_users(sudo: Inner, plugin_args: tuple[str, ...]) -> None:
    """Compiled tests and modules, pytest's cache, the report and the temporary files.

    Under xdist the workers compile, and the controller keeps the cache.
    """
    report = "--junit-xml=reports/new/junit.xml"
    result = sudo.run(*plugin_args, report, always=WITH_CACHE)
    result.assert_outcomes(passed=1, failed=1)

    compiled = {path.name.partition(".")[0] for path in sudo.path.rglob("*.pyc")}
    assert compiled >= {"test_here", "test_below", "below"}
    for made in (".pytest_cache/v/cache/lastfailed", "reports/new/junit.xml"):
        assert (sudo.path / made).stat().st_uid == USER
    assert list(sudo.path.glob("runpytest-*")) != []
    assert of_root(sudo.path) == set()


def test_a_directory_that_is_not_the_users_is_left_alone(sudo: Inner) -> None:
    """What root writes in it stays root's, also in what is the user's below it."""
    give(sudo.path, 0)
    os.chown(sudo.path / "sub", USER, USER)
    before = of_root(sudo.path)
    sudo.run(always=WITH_CACHE).assert_outcomes(passed=1, failed=1)

    written = of_root(sudo.path) - before
    assert {".pytest_cache/v/cache/lastfailed", "sub/__pycache__"} <= written
    users = [path for path in sudo.path.rglob("*") if path.lstat().st_uid != 0]
    assert users == [sudo.path / "sub"]


def test_what_was_roots_before_stays_roots(sudo: Inner) -> None:
    """An old file, one that has another name as well, one behind a link."""
    cache = sudo.path / ".pytest_cache"
    compiled = sudo.path / "__pycache__"
    elsewhere = sudo.path.parent / f"{sudo.path.name}-elsewhere"
    for folder in (cache, compiled, elsewhere):
        folder.mkdir()
        os.chown(folder, USER, USER)
    old = cache / "old"
    old.touch()
    os.utime(old, (1_600_000_000, 1_600_000_000))
    for name in ("one", "behind"):
        (elsewhere / name).touch()
    (cache / "two").hardlink_to(elsewhere / "one")
    (compiled / "linked").symlink_to(elsewhere / "behind")
    (cache / "folder").symlink_to(elsewhere)
    new = cache / "new"
    new.touch()

    sudo.run(always=WITH_CACHE).assert_outcomes(passed=1, failed=1)
    assert new.stat().st_uid == USER, "the others could have been given away"
    for path in (old, elsewhere / "one", elsewhere / "behind"):
        assert path.lstat().st_uid == 0


def test_a_folder_that_is_a_link_is_not_entered(sudo: Inner) -> None:
    """Nobody leads root out of the directory."""
    elsewhere = sudo.path.parent / f"{sudo.path.name}-elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, USER, USER)
    (elsewhere / "new").touch()
    (sudo.path / ".hypothesis").symlink_to(elsewhere)
    (sudo.path / ".benchmarks").mkdir()
    os.chown(sudo.path / ".benchmarks", USER, USER)
    (sudo.path / ".benchmarks" / "new").touch()

    sudo.run(always=WITH_CACHE).assert_outcomes(passed=1, failed=1)
    assert (sudo.path / ".benchmarks" / "new").stat().st_uid == USER
    assert (elsewhere / "new").stat().st_uid == 0


@pytest.mark.usefixtures("privileged")
def test_artifacts_are_the_users(sudo: Inner, plugin_args: tuple[str, ...]) -> None:
    """The directory, those of the tests, and captures, in root's directory too."""
    sudo.write(
        """
        @pytest.mark.netns(CABLE)
        def test_fails(netns):
            assert netns["left"].ping("10.0.0.2")
            with netns["left"].capture("eth0") as capture:
                capture.save("own.pcapng")
            assert 0
        """
    )
    place = sudo.path.parent / f"{sudo.path.name}-of-root"
    place.mkdir()
    options = (f"--netns-artifacts={place}/new/artifacts", "--netns-capture=failed")
    result = sudo.run(*plugin_args, *options, "test_inner.py")
    result.assert_outcomes(failed=1)

    found = [*place.rglob("*"), sudo.path / "own.pcapng"]
    assert [path.suffix for path in found].count(".pcapng") >= 2
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {
        (USER, USER)
    }
    assert place.stat().st_uid == 0
    assert not any(path.stat().st_mode & stat.S_IWOTH for path in found)


@pytest.mark.usefixtures("privileged")
def test_a_program_that_sudo_hides_is_told_of(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what keeps the PATH; without sudo that would be no help."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_run(netns):
            netns["left"].run("no-such-program")
        """
    )
    hint = '*secure_path*sudo -E env PATH="$PATH"*'
    monkeypatch.delenv("SUDO_UID", raising=False)
    result = inner.run("-rs")
    result.stdout.fnmatch_lines(["*no such program*"])
    result.stdout.no_fnmatch_line(hint)
    monkeypatch.setenv("SUDO_UID", str(USER))
    inner.run("-rs").stdout.fnmatch_lines([hint])
