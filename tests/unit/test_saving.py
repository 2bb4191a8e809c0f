"""Captures in files: whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scapy.utils import RawPcapNgReader

from pytest_netns import KernelError
from pytest_netns._files import save
from pytest_netns._frame import Frame
from pytest_netns._pcapng import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

PING = Frame(1_700_000_000_000_000_001, "left", "eth0", "out", bytes(60), 60)


def count(path: Path) -> int:
    """Count the packets of a file."""
    with path.open("rb") as file:
        reader: Any = file
        return sum(1 for _ in RawPcapNgReader(reader))


def names(folder: Path) -> list[str]:
    """Return what is in a folder, hidden files as well."""
    return sorted(path.name for path in folder.iterdir())


def breaking(
    error: BaseException, seen: list[list[str]], folder: Path
) -> Iterator[Frame]:
    """Give enough packets that some are written, note what is there, and break."""
    yield from [PING] * 10_000
    seen.append(names(folder))
    raise error


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file have a name from the start, as where no other ones are known.

    What does not know the flag reads it as a wish to write a directory (open(2)).
    """
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_capture_is_saved(kind: type, tmp_path: Path) -> None:
    """The path may be text or a Path; who wrote the file is in it."""
    path = tmp_path / "capture.pcapng"
    save(kind(path), [PING] * 3, [Place("left", "eth0")], comment="hello", dropped=7)

    assert count(path) == 3
    assert names(tmp_path) == [path.name]
    data = path.read_bytes()
    assert f"pytest-netns {version('pytest-netns')}".encode() in data
    assert b"hello" in data
    assert b"packets dropped by the kernel: 7" in data


def test_a_file_name_without_folder_is_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with every program."""
    monkeypatch.chdir(tmp_path)
    save("capture.pcapng", [PING])

    assert names(tmp_path) == ["capture.pcapng"]


def test_others_may_read_the_file_as_far_as_the_umask_lets_them(tmp_path: Path) -> None:
    """The mode is that of any new file, and nobody may run it."""
    before = os.umask(0o027)
    try:
        save(tmp_path / "capture.pcapng", [PING])
    finally:
        os.umask(before)

    mode = (tmp_path / "capture.pcapng").stat().st_mode
    assert stat.S_IMODE(mode) == 0o640


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    """Until then it is as it was."""
    path = tmp_path / "capture.pcapng"
    path.write_bytes(b"old")
    met = []

    def frames() -> Iterator[Frame]:
        yield from [PING] * 10_000
        met.append(path.read_bytes())
        yield PING

    save(path, frames())
    assert met == [b"old"]
    assert count(path) == 10_001
    assert names(tmp_path) == [path.name]


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no frame")])
@pytest.mark.parametrize("old", [[], ["capture.pcapng"]])
def test_nothing_is_left_of_a_file_that_was_not_finished(
    error: BaseException, old: list[str], tmp_path: Path
) -> None:
    """What was there before is still there."""
    for name in old:
        (tmp_path / name).write_bytes(b"old")
    seen: list[list[str]] = []

    with pytest.raises(type(error)) as caught:
        save(tmp_path / "capture.pcapng", breaking(error, seen, tmp_path))
    assert caught.value is error
    assert len(seen[0]) == len(old) + 1, "it was begun"
    assert names(tmp_path) == old
    assert [(tmp_path / name).read_bytes() for name in old] == [b"old"] * len(old)


def test_a_file_has_no_name_before_it_is_whole(tmp_path: Path) -> None:
    """So nothing can be left of it, whoever kills this process while it writes."""
    path = tmp_path / "capture.pcapng"
    for before in ([], [path.name]):
        seen: list[list[str]] = []
        with pytest.raises(ValueError, match="no frame"):
            save(path, breaking(ValueError("no frame"), seen, tmp_path))
        assert seen == [before]
        save(path, [PING])
        assert names(tmp_path) == [path.name]
        assert count(path) == 1


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("old", [False, True])
def test_a_file_is_saved_where_all_have_names(tmp_path: Path, *, old: bool) -> None:
    """As on a network file system; the name that it has until then goes."""
    path = tmp_path / "capture.pcapng"
    if old:
        path.write_bytes(b"old")
    met = []

    def frames() -> Iterator[Frame]:
        yield from [PING] * 10_000
        met.extend(names(tmp_path))

    save(path, frames())
    assert len(met) == 1 + old
    assert count(path) == 10_000
    assert names(tmp_path) == [path.name]


def test_an_error_while_writing_names_the_file(tmp_path: Path) -> None:
    """The kernel says only that there is no space, not where."""
    error = OSError(errno.ENOSPC, "No space left on device")
    seen: list[list[str]] = []
    path = tmp_path / "capture.pcapng"

    with pytest.raises(
        OSError, match=r"No space left on device: .*capture\.pcapng"
    ) as (caught):
        save(path, breaking(error, seen, tmp_path))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        KernelError(errno.EIO, "read the ring", "left"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/other"),
        OSError("something else"),
    ],
)
def test_an_error_that_is_not_about_the_file_stays_as_it_is(
    error: OSError, tmp_path: Path
) -> None:
    """It names what it is about."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the very same
        save(tmp_path / "capture.pcapng", breaking(error, [], tmp_path))
    assert caught.value is error
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("missing/capture.pcapng", FileNotFoundError),
        ("", IsADirectoryError),
        ("folder", IsADirectoryError),
        ("to-folder", IsADirectoryError),
        ("file/capture.pcapng", NotADirectoryError),
        ("new/", FileNotFoundError),
        ("x" * 256, OSError),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    name: str, kind: type[OSError], tmp_path: Path
) -> None:
    """Before a single packet is asked for, and by its name; folders are not made."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "to-folder").symlink_to("folder")
    before = sorted(tmp_path.rglob("*"))
    path = os.path.join(tmp_path, name)  # noqa: PTH118  # keeps a slash at the end

    frames = iter([PING])
    with pytest.raises(kind) as caught:
        save(path, frames)
    assert list(frames) == [PING]
    assert caught.value.filename == path
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["old.pcapng", "missing"])
def test_a_link_is_replaced_and_not_what_it_points_to(
    target: str, tmp_path: Path
) -> None:
    """Nobody can lead a file elsewhere by a link."""
    (tmp_path / "old.pcapng").write_bytes(b"old")
    link = tmp_path / "capture.pcapng"
    link.symlink_to(target)

    save(link, [PING])
    assert not link.is_symlink()
    assert count(link) == 1
    assert names(tmp_path) == ["capture.pcapng", "old.pcapng"]
    assert (tmp_path / "old.pcapng").read_bytes() == b"old"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """It stays a pipe, and its reader gets the packets."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    save(pipe, [PING] * 3)
    reader.join()

    assert pipe.is_fifo()
    (tmp_path / "copy").write_bytes(read[0])
    assert count(tmp_path / "copy") == 3
    assert names(tmp_path) == ["copy", "pipe"]
