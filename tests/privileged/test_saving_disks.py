"""Captures on disks that are full, and in devices, in their own mount namespace."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PREAMBLE = """
import errno, os, subprocess, sys
from pathlib import Path
from pytest_netns._files import save
from pytest_netns._frame import Frame

folder = Path(sys.argv[1])
ping = Frame(1, "left", "eth0", "out", bytes(60), 60)

def names():
    return sorted(path.name for path in folder.iterdir())

def expect_no_space(path, packets):
    try:
        save(path, [ping] * packets)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        assert error.filename == str(path), error
    else:
        raise AssertionError("there was space")
"""


class OnSmallDisk:
    """A directory that is a disk of 64 KiB, but only in a mount namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, program: str, *, at: str = "") -> None:
        """Run a program, with the disk in the test's folder or elsewhere."""
        folder = at or str(self._folder)
        script = PREAMBLE + textwrap.dedent(program)
        result = subprocess.run(
            [
                *("unshare", "--mount", "--propagation=private", "sh", "-euc"),
                'mount -t tmpfs -o size=64k tmpfs "$1"; shift; exec "$@"',
                *("sh", folder, sys.executable, "-W", "error", "-c", script, folder),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture
def on_small_disk(tmp_path: Path) -> OnSmallDisk:
    """Give programs a small disk, and nobody else."""
    return OnSmallDisk(tmp_path)


@pytest.mark.parametrize("packets", [1_000, 100_000])
def test_a_disk_that_is_full_is_left_as_it_was(
    packets: int, on_small_disk: OnSmallDisk
) -> None:
    """Whether it is full in the middle or when the last bytes are written."""
    on_small_disk.run(f"""
        path = folder / "capture.pcapng"
        path.write_bytes(b"old")
        expect_no_space(path, {packets})
        assert names() == ["capture.pcapng"], names()
        assert path.read_bytes() == b"old"
        save(path, [ping])
        assert len(path.read_bytes()) > 60
    """)


@pytest.mark.usefixtures("unconfined")
def test_a_disk_that_is_read_only_is_told_of(on_small_disk: OnSmallDisk) -> None:
    """By the name of the file that was asked for."""
    on_small_disk.run("""
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        try:
            save(folder / "capture.pcapng", [ping])
        except OSError as error:
            assert error.errno == errno.EROFS, error
            assert error.filename == str(folder / "capture.pcapng"), error
        else:
            raise AssertionError("it was written")
    """)


@pytest.mark.usefixtures("unconfined")
@pytest.mark.parametrize("packets", [1, 10_000])
def test_a_device_stays_a_device(packets: int, on_small_disk: OnSmallDisk) -> None:
    """It takes what it takes, however little."""
    on_small_disk.run(f"""
        os.mknod(folder / "null", 0o20666, os.makedev(1, 3))
        os.mknod(folder / "full", 0o20666, os.makedev(1, 7))
        save(folder / "null", [ping] * {packets})
        expect_no_space(folder / "full", {packets})
        assert (folder / "null").is_char_device()
        assert (folder / "full").is_char_device()
        assert names() == ["full", "null"], names()
    """)


def test_what_is_in_dev_is_never_replaced(
    on_small_disk: OnSmallDisk, tmp_path: Path
) -> None:
    """Even /dev/stdout, which may be a link to a file."""
    (tmp_path / "output").touch()
    on_small_disk.run(
        f"""
        (folder / "stdout").symlink_to("{tmp_path}/output")
        save("/dev/stdout", [ping])
        assert (folder / "stdout").is_symlink()
        assert names() == ["stdout"], names()
        """,
        at="/dev",
    )

    assert (tmp_path / "output").stat().st_size > 60
