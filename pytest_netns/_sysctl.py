"""Sysctls of the calling thread's namespace: /proc/sys/net follows the thread."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ._obstacles import advice, read_only_settings
from ._procfs import own_settings
from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable


#: The kernel writes no more into one file (proc(5)).
_LONGEST_VALUE = 4096


def path_of(key: str) -> str:
    """Return the file of a sysctl, with the rule of sysctl(8) for separators.

    The first separator decides: in ``net.ipv4.conf.eth0/1.mtu`` the slash
    stands for a dot of the interface's name, in ``net/ipv4/...`` dots do.
    """
    dot, slash = key.find("."), key.find("/")
    if slash == -1 or -1 < dot < slash:
        key = key.translate({ord("."): "/", ord("/"): "."})
    return f"/proc/sys/{key}"


def key_of(path: str) -> str:
    """Return the key of a sysctl's file: ``net.ipv4.conf.eth0/1.mtu``."""
    exchanged = {ord("."): "/", ord("/"): "."}
    return path.removeprefix("/proc/sys/").translate(exchanged)


def write(key: str, value: str, *, namespace: str, record: object = None) -> None:
    """Write one sysctl; equivalent to ``sysctl -w KEY=VALUE``.

    Raises:
        KernelError: There is no such sysctl here, or the value is refused.
    """
    path = path_of(key)
    remedy = ""
    try:
        try:
            _write(path, value)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            remedy = _write_in_own_proc(path, value)
            if remedy:
                raise
    except OSError as error:
        if error.errno == errno.EMFILE:
            remedy = advice(errno.EMFILE)
        raise KernelError(
            error.errno or 0,
            f"set sysctl {key!r} to {value!r}",
            namespace,
            record,
            advice=remedy,
        ) from error


def _write(path: str, value: str, *, directory: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _write_in_own_proc(path: str, value: str) -> str:
    """Write where /proc/sys is read-only; return what to do if that is impossible."""
    try:
        directory = own_settings()
    except OSError as error:
        return read_only_settings(error)
    _write(path.removeprefix("/proc/sys/"), value, directory=directory)
    return ""


def write_present(settings: Iterable[tuple[str, str]]) -> None:
    """Write those of `settings` that this kernel has, and lets us write.

    They are a courtesy: what has its default where /proc/sys is read-only for good
    does not keep a network from working.
    """
    for key, value in settings:
        path = path_of(key)
        if os.path.exists(path):
            try:
                write(key, value, namespace="")
            except KernelError as error:
                if error.errno != errno.EROFS:
                    raise


def read(key: str, *, namespace: str) -> str:
    """Return the value of a sysctl; equivalent to ``sysctl -n KEY``.

    Raises:
        KernelError: There is no such sysctl here, or it cannot be read.
    """
    try:
        with open(path_of(key), encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise KernelError(
            error.errno or 0, f"read sysctl {key!r}", namespace
        ) from error


def read_present(keys: Iterable[str]) -> list[bytes | None]:
    """Return the values as the kernel writes them; None for what it does not have."""
    return [_read_raw(path_of(key)) for key in keys]


def _read_raw(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, _LONGEST_VALUE)
    finally:
        os.close(fd)


def open_ping(*, namespace: str) -> None:
    """Let every user send echoes, unless the namespace's records say otherwise.

    The kernel's own range of groups is empty (icmp(7), ping_group_range).
    """
    key = "net.ipv4.ping_group_range"
    if read(key, namespace=namespace).split() != ["1", "0"]:
        return
    try:
        write(key, "0 2147483647", namespace=namespace)
    except KernelError as error:
        if error.errno == errno.EROFS:
            return  # whoever is root can send echoes all the same
        if error.errno != errno.EINVAL:
            raise
        # a user namespace knows no groups but those that are mapped, root's first
        write(key, "0 0", namespace=namespace)
