"""Which frames are one packet, in conversations."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_netns._frame import Frame
from pytest_netns.flow import Flow

MICROSECOND = 1000


def seen(
    time: int, place: str, direction: str, data: bytes = b"x", **fields: Any
) -> Frame:
    """Return a frame that was captured some microseconds after the epoch."""
    namespace, _, interface = place.partition(":")
    return Frame(
        time * MICROSECOND,
        namespace,
        interface,
        direction,
        data,
        fields.pop("length", len(data)),
        **fields,
    )


def ends(flow: Flow) -> list[tuple[str | None, tuple[str, ...]]]:
    """Return who sent each packet, and who got it."""
    return [(arrow.source, arrow.destinations) for arrow in flow.arrows]


def flow_of(*frames: Frame, **options: Any) -> Flow:
    """Return the flow of these, with labels of no interest."""
    return Flow(frames, label=lambda frame: frame.data.hex(), **options)


@pytest.mark.parametrize(
    ("outs", "ins", "pairs"),
    [
        pytest.param([0, 10], [1, 11], [(0, 1), (10, 11)], id="one after the other"),
        pytest.param([0, 10], [20, 30], [(0, 20), (10, 30)], id="both on their way"),
        pytest.param([0, 10], [11], [(0, None), (10, 11)], id="lost and sent again"),
        pytest.param([0, 10], [1], [(0, 1), (10, None)], id="the second lost"),
        pytest.param([0], [5, 9], [(0, 5), (None, 9)], id="one more than was sent"),
        pytest.param(
            [0, 10], [5, 20, 21], [(0, 5), (10, 20), (None, 21)], id="one too many"
        ),
        pytest.param([10], [5], [(None, 5), (10, None)], id="not back in time"),
        pytest.param([5], [5], [(5, 5)], id="at the same time"),
    ],
)
def test_packets_with_the_same_bytes_stay_in_order(
    outs: list[int], ins: list[int], pairs: list[tuple[int | None, int | None]]
) -> None:
    """Each arrival belongs to one departure, and to none that is later."""
    flow = flow_of(
        *(seen(time, "left:eth0", "out") for time in outs),
        *(seen(time, "right:eth0", "in") for time in ins),
    )

    times = [
        {frame.direction: frame.time // MICROSECOND for frame in arrow.frames}
        for arrow in flow.arrows
    ]
    assert [(pair.get("out"), pair.get("in")) for pair in times] == pairs


def test_a_switch_between_is_a_lane_of_its_own() -> None:
    """If it was captured as well: into it, and out of it."""
    flow = flow_of(
        seen(0, "left:eth0", "out"),
        seen(1, "br0:port1", "in"),
        seen(2, "br0:port2", "out"),
        seen(3, "right:eth0", "in"),
    )

    assert ends(flow) == [
        ("left:eth0", ("br0:port1",)),
        ("br0:port2", ("right:eth0",)),
    ]


def test_what_arrives_at_a_cable_comes_through_it() -> None:
    """Even if the same bytes left elsewhere in the meantime."""
    flooded = [
        seen(0, "br0:port2", "out"),
        seen(1, "br0:port3", "out"),
        seen(2, "right:eth0", "in"),
        seen(3, "third:eth0", "in"),
    ]
    cables = {"right:eth0": "br0:port2", "third:eth0": "br0:port3"}

    flow = flow_of(*flooded, peers=cables | {b: a for a, b in cables.items()})

    assert ends(flow) == [
        ("br0:port2", ("right:eth0",)),
        ("br0:port3", ("third:eth0",)),
    ]


def test_an_interface_that_nobody_listened_to_has_no_say() -> None:
    """A cable into a switch out of sight tells nothing of where a packet came from."""
    flow = flow_of(
        seen(0, "left:eth0", "out"),
        seen(1, "right:eth0", "in"),
        peers={"left:eth0": "br0:p1", "right:eth0": "br0:p2"},
        captured=["left:eth0", "right:eth0"],
    )

    assert ends(flow) == [("left:eth0", ("right:eth0",))]


def test_the_loopback_interface_is_its_own_peer() -> None:
    """There every packet is seen twice."""
    flow = flow_of(
        seen(0, "left:lo", "out"),
        seen(1, "left:lo", "in"),
        seen(2, "right:lo", "out"),
        seen(3, "right:lo", "in"),
    )

    assert ends(flow) == [("left:lo", ("left:lo",)), ("right:lo", ("right:lo",))]
    assert "╮" in str(flow)


def test_a_packet_that_came_back_is_drawn_as_a_loop_too() -> None:
    """A switch that sends it back to where it came from is a fault worth seeing."""
    flow = flow_of(
        seen(0, "left:eth0", "out"),
        seen(1, "right:eth0", "in"),
        seen(2, "left:eth0", "out", b"y"),
        seen(3, "left:eth0", "in", b"y"),
    )

    assert ends(flow)[1] == ("left:eth0", ("left:eth0",))
    assert str(flow).count("╮") == 1


def test_other_bytes_are_another_packet() -> None:
    """Such as with and without a VLAN tag; so is what was cut off elsewhere."""
    flow = flow_of(
        seen(0, "left:eth0", "out", b"abc"),
        seen(1, "right:eth0", "in", b"ab"),
        seen(2, "right:eth0", "in", b"abc", length=4),
    )

    assert ends(flow) == [
        ("left:eth0", ()),
        (None, ("right:eth0",)),
        (None, ("right:eth0",)),
    ]
