"""What a test leaves behind for people: its packets, as files."""

from __future__ import annotations

import os
import re
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from ._directories import make_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .capture import PacketCapture
    from .network import Network

_UNWANTED = re.compile(r"[^\w.=-]+", re.ASCII)
#: File systems take 255 bytes; a name of a test may be longer.
_LONGEST = 150


def directory_for(artifacts: str, test: str, attempt: int = 1) -> str:
    """Return the directory of a test, by its pytest node id; each has its own.

    Args:
        artifacts: The directory of all tests.
        test: The test's node id.
        attempt: How often the test has been begun; later attempts have theirs inside.
    """
    head, bracket, parameters = test.partition("[")
    parameters = parameters.removesuffix("]")
    name = _plain(head + bracket + parameters)
    # what is replaced in the head is what all names have there
    is_odd = "-" in head or _UNWANTED.search(parameters) or not name
    if is_odd or len(name) == _LONGEST:
        digest = blake2b(test.encode(errors="replace"), digest_size=4).hexdigest()
        name = f"{name}-{digest}".lstrip("-")
    directory = os.path.join(artifacts, name)
    return directory if attempt == 1 else os.path.join(directory, f"attempt-{attempt}")


def save_packets(
    networks: Iterable[Network], directory: str, since: int
) -> Iterator[str]:
    """Write the packets of networks, and of their captures, as pcapng files.

    Args:
        networks: The networks of a test.
        directory: Where to; made if there is something to write.
        since: When the test began, in nanoseconds since the epoch: a network may
            have been there before.

    Yields:
        A line for each file, also for those that could not be written.
    """
    for number, network in enumerate(networks, 1):
        infix = f"-{number}" if number > 1 else ""
        if (recording := network.recording) is not None:
            path = os.path.join(directory, f"network{infix}.pcapng")
            yield _saved(path, partial(recording.save, since=since))
        begun = [capture for capture in network.captures if capture.has_begun]
        for index, capture in enumerate(begun, 1):
            name = _plain(f"capture{infix}-{index}-{capture.place}")
            path = os.path.join(directory, f"{name}.pcapng")
            yield _saved(path, partial(_save, capture))


def _save(capture: PacketCapture, path: str) -> int:
    capture.save(path)
    return len(capture)


def _saved(path: str, save: Callable[[str], int]) -> str:
    try:
        make_directories(os.path.dirname(path))
        count = save(path)
    except Exception as error:  # the test's own failure is what counts
        why = error.strerror if isinstance(error, OSError) else repr(error)
        return f"{path}: cannot be written: {why}"
    return f"{path}: {count} packet{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """Return a text as any file system takes it in a name."""
    return _UNWANTED.sub("-", text).lstrip("-.")[:_LONGEST]
