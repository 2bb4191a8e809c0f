"""Runs beside one another, and beside others who use the same names."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Box

#: What only runs have left that are dead, whatever has their numbers now.
LEFT = (
    r"file /run/netns/pytest-\d+-{}",
    r"mount of net:\[\d+\] at /run/netns/pytest-\d+-{}",
    "interface {}",
)
TABLE = r"nft list ruleset: table inet pytest-netns-\d+-\d+-\d+ \{"
#: What goes with an interface.
SETTING = r"/proc/sys/net/ipv./conf/(dead|reused)1?/forwarding: 0|interface \w+1"


def test_nobody_touches_what_is_not_theirs(
    box: Callable[..., Box], *, soaks: bool
) -> None:
    """Three runs at once, one of which is killed, meet neither one another nor others.

    There are namespaces, names, processes and interfaces of others, also of runs that
    are alive, be it in another PID namespace. Only what dead runs have left goes: those
    whose process is not there, or is another one, with another time at which it began.
    """
    (outcome,) = box("--beside", "200" if soaks else "30").outcomes()
    assert outcome["statuses"] == [-signal.SIGKILL, 0, 0], outcome["outputs"]
    assert outcome["came"] == []
    went = outcome["went"]
    for kind in LEFT:
        for name in ("dead", "reused"):
            matching = [one for one in went if re.fullmatch(kind.format(name), one)]
            assert len(matching) == 1, went
            went.remove(matching[0])
    tables = [one for one in went if re.fullmatch(TABLE, one)]
    assert len(tables) == 2, went
    rest = [one for one in went if one not in tables and not re.fullmatch(SETTING, one)]
    assert rest == []
