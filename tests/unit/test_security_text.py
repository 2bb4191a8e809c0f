"""Texts that others have a say in: packets, outputs of programs, names."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pytest_netns import errors
from pytest_netns._frame import Frame
from pytest_netns._labels import label_of
from pytest_netns._matching import matcher
from pytest_netns._outputs import last_of, readable
from pytest_netns._scapy import dissect
from pytest_netns._verdict import not_seen_message, seen_message
from pytest_netns.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

#: Clears the screen, sets the title, goes up a line, hides, and reads backwards.
EVIL = "\x1b[2J\x1b]0;title\x07\x1b[1A\x9b8m\b\r\x7f\u202e\x00<script>&"
#: What a terminal obeys, and what turns text around.
OBEYED = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def dns(name: bytes) -> Frame:
    """Return a question and its answer, with such a name."""
    packet = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src="10.0.0.1", dst="10.0.0.2")
        / UDP(sport=53, dport=53)
        / DNS(qr=1, qd=DNSQR(qname=name), an=DNSRR(type="CNAME", rdata=name))
    )
    data = bytes(packet)
    return Frame(1, "left", "eth0", "in", data, len(data))


class TestOutputs:
    """What programs write."""

    def test_nothing_in_it_is_obeyed(self) -> None:
        """What is no text becomes visible, and what is one stays as it is."""
        text = readable(f"before {EVIL} after")
        assert not OBEYED.search(text)
        assert text.startswith(r"before \x1b[2J\x1b]0;title\x07\x1b[1A\x9b8m\x08\r\x7f")
        assert text.endswith(r"\u202e\x00<script>& after")
        assert readable("ends\r\nof lines,\ttabs, größe, 漢字 \N{GRINNING FACE}\n") == (
            "ends\nof lines,\ttabs, größe, 漢字 \N{GRINNING FACE}\n"
        )

    def test_colours_are_left_out(self) -> None:
        """Logs are full of them, and mean no harm."""
        assert (
            readable("\x1b[1;31merror\x1b[0m: \x1b[38:2::1:2:3mno\x1b[m") == "error: no"
        )

    @given(st.text())
    def test_nothing_in_any_text_is_obeyed(self, text: str) -> None:
        """And no text is so odd that it cannot be shown."""
        assert not OBEYED.search(readable(text))

    def test_the_end_of_a_long_one_is_shown(self) -> None:
        """With how much is left out."""
        assert last_of("abcdef", 6) == "abcdef"
        assert last_of("abcdef", 2) == "... 4 characters left out ...\nef"
        assert last_of("\x1b" * 10, 1) == "... 9 characters left out ...\n\\x1b"

    @pytest.mark.parametrize(
        "error",
        [
            errors.CommandError(1, ["true"], EVIL, EVIL, "left"),
            errors.CommandTimeout(["true"], 1.0, EVIL, EVIL, "left"),
            errors.WaitTimeout("output", 1.0, EVIL),
            errors.ProcessEnded("daemon", "left", ["true"], "ended", EVIL),
            errors.SwitchError("start", "no answer", log=EVIL),
            errors.RulesetError(1, ["nft"], "", EVIL, "left", ruleset="", line=None),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_error_shows_outputs_that_do_nothing(self, error: Exception) -> None:
        """Its attributes have them as they were."""
        assert r"\x1b[2J\x1b]0;title" in str(error)
        assert not OBEYED.search(str(error))
        assert EVIL in vars(error).values()

    def test_no_error_is_longer_than_anybody_reads(self) -> None:
        """A daemon may have written gigabytes."""
        for error in (
            errors.WaitTimeout("output", 1.0, "x" * 1_000_000),
            errors.ProcessEnded("daemon", "left", ["true"], "ended", "x" * 1_000_000),
        ):
            assert "characters left out" in str(error)
            assert len(str(error)) < 2 * errors.SHOWN_OUTPUT

    def test_an_error_of_the_kernel_is_one_line_that_does_nothing(self) -> None:
        """Names of records are checked, or shown as Python writes them."""
        error = errors.KernelError(errno.EPERM, f"run {EVIL!r}", "left")
        assert not OBEYED.search(str(error))


class TestPackets:
    """What a packet says of itself."""

    @pytest.mark.parametrize(
        "show",
        [
            lambda frame: label_of(dissect(frame)),
            lambda frame: str(Flow([frame])),
            lambda frame: str(Flow([frame]).arrows[0]),
            lambda frame: not_seen_message(
                matcher(DNS(qd=DNSQR(qname="example.org"))),
                [frame],
                [dissect(frame)],
                places=["left:eth0"],
                dropped=0,
            ),
            lambda frame: seen_message(
                matcher(DNS), [frame], [dissect(frame)], [0], places=["left:eth0"]
            ),
        ],
        ids=["label", "flow", "arrow", "not seen", "seen"],
    )
    @given(name=st.binary(min_size=1, max_size=60) | st.just(EVIL.encode()))
    def test_its_names_do_nothing(
        self, show: Callable[[Frame], str], name: bytes
    ) -> None:
        """Whatever bytes they are made of."""
        text = show(dns(name))
        assert "DNS" in text or "10.0.0.1" in text
        assert not OBEYED.search(text)

    @given(name=st.binary(min_size=1, max_size=60) | st.just(EVIL.encode()))
    def test_its_names_are_text_in_pictures(self, name: bytes) -> None:
        """The drawing is whole, and has no elements but those of a drawing."""
        root = ET.fromstring(Flow([dns(name)]).to_svg())  # noqa: S314  # our own
        kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "text" in kinds
        assert "script" not in kinds
