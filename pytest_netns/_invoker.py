"""The user behind sudo, to whom belongs what a run as root writes."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What tells where a user's files are (XDG Base Directory Specification).
_HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_NUMBER = re.compile(r"[0-9]{1,10}")


def invoker() -> tuple[int, int] | None:
    """Return the user and group that sudo was called by (sudo(8)), None if it was not.

    Only for root who may give files away to them: in a user namespace root is
    somebody else outside, and does not know them.
    """
    texts = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
    if os.geteuid() != 0 or not all(_NUMBER.fullmatch(text) for text in texts):
        return None
    user, group = map(int, texts)
    if user == 0 or not (_is_known("uid_map", user) and _is_known("gid_map", group)):
        return None
    return user, group


def trusted_users() -> set[int]:
    """Return who may do with this run's files what they like."""
    behind = invoker()
    return {0, os.geteuid()} | ({behind[0]} if behind else set())


def give(descriptor: int) -> None:
    """Give what this process has made to the user behind sudo, if there is one.

    Args:
        descriptor: A descriptor of it, not a name: that could be another's by now.
    """
    owner = invoker()
    if owner is not None and os.fstat(descriptor).st_uid == os.geteuid():
        with contextlib.suppress(OSError):  # some file systems know no owners
            os.chown(f"/proc/self/fd/{descriptor}", *owner)  # it may be an O_PATH


def _is_known(table: str, number: int) -> bool:
    """Tell whether this process's user namespace has a user, or group, of a number."""
    try:
        with open(f"/proc/self/{table}", encoding="ascii") as file:
            rows = [[int(word) for word in line.split()] for line in file]
    except FileNotFoundError:
        return True  # a kernel without user namespaces
    return any(first <= number < first + count for first, _, count in rows)


@contextlib.contextmanager
def own_home() -> Iterator[None]:
    """Let libraries that are imported in the block keep their caches at home.

    ``sudo -E`` leaves root in the home of whoever has called it. There what root
    writes would be in that user's way, and what it reads could be anything: scapy
    unpickles what it finds in its cache.
    """
    if invoker() is None or _is_ours(os.path.expanduser("~")):
        yield
        return
    import pwd

    home = pwd.getpwuid(os.geteuid()).pw_dir
    if not _is_ours(home):
        yield
        return
    before = {name: os.environ.pop(name, None) for name in _HOMES}
    os.environ["HOME"] = home
    try:
        yield
    finally:
        del os.environ["HOME"]
        found = {name: value for name, value in before.items() if value is not None}
        os.environ.update(found)


def _is_ours(folder: str) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(folder).st_uid == os.geteuid()
    return False
