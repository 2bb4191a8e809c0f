"""Conversations: which frames are one packet, who sent it to whom, what it says."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from pytest_netns._frame import RAW_IP, Frame
from pytest_netns.flow import Arrow, Flow

if TYPE_CHECKING:
    from scapy.packet import Packet

LEFT, NEAR, FAR, RIGHT = (f"02:00:00:00:00:0{number}" for number in range(1, 5))
BROADCAST = "ff:ff:ff:ff:ff:ff"
MICROSECOND = 1000

#: left:eth0 --- router:eth0, router:eth1 --- right:eth0
PEERS = {
    "left:eth0": "router:eth0",
    "router:eth0": "left:eth0",
    "router:eth1": "right:eth0",
    "right:eth0": "router:eth1",
}


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


def test_what_left_here_and_arrived_there_is_one_packet() -> None:
    """The arrow has both frames, and the time of the first."""
    out, arrived = seen(5, "left:eth0", "out"), seen(9, "right:eth0", "in")
    flow = flow_of(seen(1, "left:eth0", "out", b"y"), arrived, out)

    assert flow.arrows[1] == Arrow(
        time=4e-6,
        source="left:eth0",
        destinations=("right:eth0",),
        label="78",
        frames=(out, arrived),
    )
    assert flow.arrows[1].destination == "right:eth0"
    assert str(flow.arrows[1]) == "left:eth0 -> right:eth0: 78"
    assert len(flow) == len(list(flow)) == 2
    assert pickle.loads(pickle.dumps(flow.arrows)) == flow.arrows  # noqa: S301


def test_a_flooded_packet_is_one_arrow() -> None:
    """It goes to all who got it."""
    flow = flow_of(
        seen(0, "left:eth0", "out"),
        seen(1, "right:eth0", "in"),
        seen(2, "third:eth0", "in"),
    )

    assert ends(flow) == [("left:eth0", ("right:eth0", "third:eth0"))]


def test_a_packet_seen_at_one_end_has_an_open_arrow() -> None:
    """Nobody knows where it went, or where it came from."""
    flow = flow_of(seen(0, "left:eth0", "out"), seen(1, "left:eth0", "in", b"y"))

    assert ends(flow) == [("left:eth0", ()), (None, ("left:eth0",))]
    assert [str(arrow) for arrow in flow] == [
        "left:eth0 -> ?: 78",
        "? -> left:eth0: 79",
    ]
    assert flow.arrows[0].destination is None


def test_addresses_tell_whom_nobody_listened_to() -> None:
    """The other end of an open arrow is who has the link-layer address."""
    there = bytes(Ether(src=LEFT, dst=RIGHT, type=0x800))
    back = bytes(Ether(src=RIGHT, dst=LEFT, type=0x800))
    flow = flow_of(
        seen(0, "left:eth0", "out", there),
        seen(1, "left:eth0", "in", back),
        seen(2, "left:eth0", "out", bytes(Ether(src=LEFT, dst=FAR, type=0x800))),
        seen(3, "left:tun0", "in", back, linktype=RAW_IP),
        owners={RIGHT.upper(): "right", LEFT: "left"},
    )

    assert ends(flow) == [
        ("left:eth0", ("right",)),
        ("right", ("left:eth0",)),
        ("left:eth0", ()),
        (None, ("left:tun0",)),
    ]
    assert flow.lanes == ("left", "right")


def test_a_packet_that_did_not_arrive_is_lost() -> None:
    """If somebody listened where the cable ends, and only then."""
    frames = [seen(0, "left:eth0", "out"), seen(1, "router:eth1", "out", b"y")]

    flow = flow_of(*frames, peers=PEERS, captured=["left:eth0", "router:eth0"])

    assert [arrow.is_lost for arrow in flow] == [True, False]
    assert ends(flow) == [("left:eth0", ("router:eth0",)), ("router:eth1", ())]
    assert str(flow.arrows[0]) == "left:eth0 -> router:eth0 (lost): 78"
    assert "──x" in str(flow)
    assert not any(arrow.is_lost for arrow in flow_of(*frames, peers=PEERS))


def test_what_is_yet_to_be_cut_into_segments_is_not_called_lost() -> None:
    """It may have arrived in pieces."""
    whole = seen(0, "left:eth0", "out", is_unsegmented=True)

    flow = flow_of(whole, peers=PEERS, captured=list(PEERS))

    assert not flow.arrows[0].is_lost


def test_lanes_are_in_the_given_order() -> None:
    """Those without packets are left out, and others follow as they appear."""
    frames = [
        seen(0, "right:eth0", "out"),
        seen(1, "left:eth0", "in"),
        seen(2, "br0:port", "in"),
    ]

    assert flow_of(*frames).lanes == ("right", "left", "br0")
    assert flow_of(*frames, lanes=["left", "silent", "right"]).lanes == (
        "left",
        "right",
        "br0",
    )


def ping(source: str, destination: str, kind: int, ttl: int) -> Packet:
    """Return a ping from left to right, or back, on one of its hops."""
    there, back = ("10.0.1.1", "10.0.2.1"), ("10.0.2.1", "10.0.1.1")
    src, dst = there if kind == 8 else back
    packet: Packet = Ether(src=source, dst=destination, type=0x800)
    return packet / IP(src=src, dst=dst, ttl=ttl) / ICMP(type=kind, id=1)


THROUGH_A_ROUTER = """\
Through a router
   ms   left                              router                              right
          │ ARP who has 10.0.1.9? tell 10.0.1.1                                 │
0.000     ├────────────────────────── eth0 ─▶│                                  │
          │ ICMP echo-request 10.0.1.1 > 10.0.2.1 ttl=64                        │
0.100     ├────────────────────────── eth0 ─▶│                                  │
          │                             ICMP echo-request 10.0.1.1 > 10.0.2.1 ttl=63
0.200     │                                  ├─ eth1 ──────────────────────────▶│
          │                               ICMP echo-reply 10.0.2.1 > 10.0.1.1 ttl=64
0.300     │                                  │◀─ eth1 ──────────────────────────┤
          │ ICMP echo-reply 10.0.2.1 > 10.0.1.1 ttl=63                          │
0.400     │◀────────────────────────── eth0 ─┤                                  │"""


def test_a_ping_through_a_router() -> None:
    """Each hop is an arrow, and the TTL is counted down."""
    asked: Packet = Ether(src=LEFT, dst=BROADCAST, type=0x806)
    asked /= ARP(
        hwsrc=LEFT, psrc="10.0.1.1", hwdst="00:00:00:00:00:00", pdst="10.0.1.9"
    )
    steps: list[tuple[str, str, Packet]] = [
        ("left:eth0", "router:eth0", asked),
        ("left:eth0", "router:eth0", ping(LEFT, NEAR, 8, 64)),
        ("router:eth1", "right:eth0", ping(FAR, RIGHT, 8, 63)),
        ("right:eth0", "router:eth1", ping(RIGHT, FAR, 0, 64)),
        ("router:eth0", "left:eth0", ping(NEAR, LEFT, 0, 63)),
    ]
    frames = [
        seen(100 * step + 10 * at, place, ("out", "in")[at], bytes(packet))
        for step, (*places, packet) in enumerate(steps)
        for at, place in enumerate(places)
    ]

    flow = Flow(frames, ["left", "router", "right"], title="Through a router")

    assert flow.to_text(84) == THROUGH_A_ROUTER
    assert repr(flow) == "<Flow of 5 arrows between left, router, right>"


def test_of_a_long_conversation_the_ends_are_shown() -> None:
    """And only what is shown is parsed."""
    labelled: list[Frame] = []

    def label(frame: Frame) -> str:
        labelled.append(frame)
        return "IP"

    frames = [seen(at, "left:eth0", "out", b"%d" % at) for at in range(1434)]
    flow = Flow(frames, label=label)

    assert "... 1,234 more ..." in str(flow)
    assert len(labelled) == 200
    assert "... 1,234 more ..." in flow.to_svg()


def test_nothing_was_captured() -> None:
    """There is nothing to draw, and no reason to fail."""
    flow = Flow([])

    assert flow.arrows == ()
    assert flow.lanes == ()
    assert str(flow) == "no packets"
    assert flow.to_svg().startswith("<svg ")
    assert repr(flow) == "<Flow of 0 arrows between none>"


def test_notebooks_show_the_picture() -> None:
    """They ask for it by this name."""
    flow = flow_of(seen(0, "left:eth0", "out"), seen(1, "right:eth0", "in"))

    assert flow._repr_svg_() == flow.to_svg()


def test_a_packet_that_nobody_can_parse_is_drawn() -> None:
    """Whatever it is."""
    flow = Flow([seen(0, "left:eth0", "out", b"\xff\x00\x01")])

    assert "Raw" in str(flow)


places = st.sampled_from(
    ["left:eth0", "right:eth0", "router:eth0", "router:eth1", "a:lo"]
)
frames_of_any_kind = st.builds(
    seen,
    st.integers(0, 20),
    places,
    st.sampled_from(["in", "out"]),
    st.sampled_from([b"x", b"y", bytes(ping(LEFT, NEAR, 8, 64))])
    | st.binary(min_size=1),
    is_unsegmented=st.booleans(),
)


@given(
    st.lists(frames_of_any_kind, max_size=12),
    st.lists(places, unique=True),
    st.sampled_from([{}, PEERS]),
    st.dictionaries(
        st.sampled_from([LEFT, NEAR, BROADCAST]), st.sampled_from(["left", "new"])
    ),
)
def test_every_conversation_can_be_drawn(
    frames: list[Frame],
    captured: list[str],
    peers: dict[str, str],
    owners: dict[str, str],
) -> None:
    """Each frame is in one arrow, and the picture is the same each time."""
    flow, again = (
        Flow(
            frames,
            ["router"],
            peers=peers,
            captured=captured,
            owners=owners,
        )
        for _ in range(2)
    )

    in_arrows = [frame for arrow in flow.arrows for frame in arrow.frames]
    assert Counter(in_arrows) == Counter(frames)
    assert all(arrow.time >= 0 for arrow in flow.arrows)
    assert str(flow) == str(again)
    assert flow.to_svg() == again.to_svg()
