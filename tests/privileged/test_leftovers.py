"""What a test leaves open is taken from it, and nothing comes instead."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from pytest_netns import Namespace, NetworkManager, Topology

_ROUNDS = 60
ALONE = Topology(Namespace("a"))


def leading_nowhere() -> int:
    """Count the descriptors of this process that lead to the null device."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(entry.readlink()))
    return links.count(os.devnull)


def test_who_wakes_up_and_closes_its_socket() -> None:
    """A thread that ends as its socket does leaves no descriptor behind."""
    before = leading_nowhere()
    with NetworkManager() as manager:
        for _ in range(_ROUNDS):
            with manager.build(ALONE) as network:
                listening = threading.Event()

                def listen(listening: threading.Event = listening) -> None:
                    with (
                        network["a"].socket() as listener,
                        contextlib.suppress(OSError),
                    ):
                        listener.listen()
                        listening.set()
                        listener.accept()

                thread = threading.Thread(target=listen)
                thread.start()
                assert listening.wait(10)
            thread.join(10)
            assert not thread.is_alive()
    assert leading_nowhere() == before


def test_a_socket_that_is_kept_can_still_be_closed() -> None:
    """Its number stays taken, by nothing, until then."""
    before = leading_nowhere()
    with NetworkManager() as manager, manager.build(ALONE) as network:
        kept = network["a"].socket(type=socket.SOCK_DGRAM)
        with network["a"]:
            mine = socket.socket()
    assert leading_nowhere() > before
    kept.close()
    mine.close()
    assert leading_nowhere() == before
