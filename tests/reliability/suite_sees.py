"""The inner suite that proves that looking sees: each deed makes a difference.

Run by `test_next_test`, never by itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_netns import (
    Bridge,
    Masquerade,
    Namespace,
    Neighbour,
    Network,
    Route,
    Topology,
    Veth,
)
from tests.reliability.deeds import EVERY, Deed
from tests.reliability.looking import look_at

_FIRST, _STEP = (int(word) for word in os.environ["NETNS_SUITE"].split())
#: Whatever a deed takes away is there.
NETWORK = Topology(
    Namespace(
        "a",
        routes=[Route("192.0.2.0/24", via="10.1.0.2")],
        neighbours=[Neighbour("10.1.0.99", "02:99:00:00:00:01", dev="eth0")],
        nat=[Masquerade()],
        forwarding=True,
    ),
    Namespace("b"),
    Bridge("br0"),
    Veth("a", "br0", address=["10.1.0.1/24", "fd00:1::1/64"]),
    Veth("b", "br0", address=["10.1.0.2/24", "fd00:1::2/64"]),
)


@pytest.mark.netns(NETWORK)
@pytest.mark.parametrize("deed", EVERY[_FIRST::_STEP], ids=repr)
def test_a_deed_makes_a_difference(netns: Network, deed: Deed) -> None:
    """What can be done here at all is seen."""
    before = look_at(netns)
    done = deed.do(netns)
    after = look_at(netns)
    result = {
        "deed": [deed.kind, deed.what],
        "done": done,
        "seen": sorted((after - before) + (before - after))[:9],
    }
    with Path(os.environ["NETNS_RESULTS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
