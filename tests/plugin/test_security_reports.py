"""Reports of failed tests, in whose processes somebody else has had a say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")


def test_outputs_do_nothing_to_a_terminal(
    inner: Inner, plugin_args: tuple[str, ...]
) -> None:
    """Those of daemons in their section, and those of commands in their error."""
    inner.write(
        r"""
        EVIL = r"\033]0;title\007\033[2J\033[31mred\033[0m\302\233A\n"

        @pytest.mark.netns(CABLE)
        def test_daemon(netns):
            daemon = netns["left"].popen(["printf", EVIL + "%100000d", "1"],
                                         expect_exit=True)
            daemon.wait(20)
            assert "\x1b[2J" in daemon.output, "as it was written"
            assert 0

        @pytest.mark.netns(CABLE)
        def test_command(netns):
            netns["left"].run(["sh", "-c", f"printf '{EVIL}'; exit 1"])
        """
    )
    result = inner.run(*plugin_args, "--color=no")
    result.assert_outcomes(failed=2)

    text = result.stdout.str()
    assert text.count(r"\x1b]0;title\x07\x1b[2Jred\x9bA") >= 2
    assert not {"\x1b", "\x07", "\x9b"} & {*text}


def test_a_log_that_nobody_reads_is_not_shown(inner: Inner) -> None:
    """Of a flood the end is, and how much it was."""
    inner.write(
        """
        @pytest.mark.netns(CABLE)
        def test_flood(netns):
            daemon = netns["left"].popen(["printf", "%1000000d the end", "1"],
                                         expect_exit=True)
            daemon.wait(20)
            assert 0
        """
    )
    result = inner.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["... * characters left out ...", "*the end*"])
    assert len(result.stdout.str()) < 300_000
