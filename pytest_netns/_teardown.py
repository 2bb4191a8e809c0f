"""Ending what a test has running in namespaces that are to be closed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from ._leftovers import release_descriptors, threads_in
from ._processes import end_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from .namespace import NetworkNamespace

#: How long tasks get to notice that their sockets were shut down, in seconds.
_SOCKET_GRACE = 0.1
#: How long threads get to end, in seconds.
_THREAD_GRACE = 1.0
_ENDLESS = "no thread can be ended from outside"


def end_processes_of(namespaces: list[NetworkNamespace]) -> list[str]:
    """End all processes in these namespaces; return a sentence for each that stays."""
    processes = [one for namespace in namespaces for one in namespace.processes]
    inodes = {inode for namespace in namespaces for inode in namespace.inodes()}
    running = [process.pid for process in processes if process.poll() is None]
    remaining = end_processes(inodes, running)
    for process in processes:
        process.close()
    return [f"process {pid}, which cannot be killed" for pid in remaining]


def end_threads_of(
    namespaces: list[NetworkNamespace],
    keep: Collection[int],
    looking: Callable[[], AbstractContextManager[None]],
) -> list[str]:
    """End all threads in these namespaces; return a sentence for each that stays.

    Args:
        namespaces: The namespaces.
        keep: The descriptors of theirs that are still needed.
        looking: Entered while the namespaces of all sockets are opened.
    """
    inodes = {one for namespace in namespaces for one in namespace.own_inodes()}
    tasks = [task for namespace in namespaces for task in namespace.tasks]
    for namespace in namespaces:
        namespace.end_threads()
    with looking():
        release_descriptors(inodes, keep)  # ends system calls that wait on sockets
    at_home = [one for one in namespaces if not any(one.own_inodes())]
    _shut_down_sockets_of(at_home)
    deadline = time.monotonic() + _SOCKET_GRACE
    while any(not task.done() for task in tasks) and time.monotonic() < deadline:
        time.sleep(0.001)
    for task in tasks:
        if not task.done():
            task.cancel()
    deadline = time.monotonic() + _THREAD_GRACE
    return [*_threads_left(inodes, deadline), *_tasks_left(at_home, deadline)]


def _shut_down_sockets_of(namespaces: list[NetworkNamespace]) -> None:
    """Shut down what `socket` gave out, where others have sockets as well."""
    for namespace in namespaces:
        for one in namespace.open_sockets():
            with contextlib.suppress(OSError):  # never connected, or closed
                one.shutdown(socket.SHUT_RDWR)


def _threads_left(inodes: set[int], deadline: float) -> Iterator[str]:
    """Wait for the threads that are still inside, and name those that stay."""
    main = threading.main_thread()  # brought home by whoever closes the network
    for thread in threads_in(inodes):
        if isinstance(thread, threading.Thread) and thread is not main:
            thread.join(max(0.0, deadline - time.monotonic()))
    # Python forgets a thread a moment before the kernel does
    while inside := [thread for thread in threads_in(inodes) if thread is not main]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.0002)
    for thread in inside:
        yield f"{thread!r}, still inside: {_ENDLESS}"


def _tasks_left(namespaces: list[NetworkNamespace], deadline: float) -> Iterator[str]:
    """Wait for tasks by themselves, where others have threads as well."""
    for task in (task for namespace in namespaces for task in namespace.tasks):
        while not task.done() and time.monotonic() < deadline:
            time.sleep(0.0002)
        if not task.done():
            yield f"{task!r}: {_ENDLESS}"
