"""Tries bytes that lead to code which others have not: ``fuzz.py TARGET [OPTION...]``.

It needs atheris, which is made for fewer versions of Python than this package, so it
is no test. Options are those of libFuzzer, such as ``-max_total_time=600``. What it has
found stands in a file ``crash-...``, and becomes a test in ``tests/unit``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["pytest_netns"]):
    from tests.inputs import any_files, hostile_capture, hostile_netlink, hostile_texts

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "block": (hostile_capture.check_block, hostile_capture.BLOCKS),
    "store": (lambda data: hostile_capture.check_store([data, data]), []),
    "pcap": (hostile_capture.check_file, hostile_capture.FILES),
    "packet": (
        lambda data: hostile_capture.check_packets([data]),
        hostile_capture.PACKETS,
    ),
    "netlink": (hostile_netlink.check_message, hostile_netlink.MESSAGES),
    "answers": (
        lambda data: hostile_netlink.check_answers([data]),
        hostile_netlink.MESSAGES,
    ),
    "database": (hostile_texts.check_stream, hostile_texts.SAID_BY_A_DATABASE),
    "toml": (
        lambda data: any_files.Files(Path(tempfile.gettempdir())).check_bytes(data),
        [b'names = true\n[[namespace]]\nname = "a"\nnat = [{kind = "masquerade"}]\n'],
    ),
}


def main() -> None:
    """Try bytes until some are taken badly, or as long as the options say."""
    check, corpus = TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus):
            (Path(folder) / str(number)).write_bytes(data)
        atheris.Setup([sys.argv[0], folder, *sys.argv[2:]], check)
        atheris.Fuzz()


main()
