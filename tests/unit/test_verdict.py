"""What is said about packets: which were meant, which were seen, what came near."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from pytest_netns._frame import Frame
from pytest_netns._matching import matcher
from pytest_netns._scapy import dissect
from pytest_netns._verdict import not_seen_message, seen_message, table_of

LEFT, RIGHT = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
IPV4, ARPED = 0x800, 0x806
SECOND = 1_000_000_000


def ether(kind: int) -> Any:
    """Return a header in which scapy has nothing to look up."""
    return Ether(src=LEFT, dst=RIGHT, type=kind)


def ipv4(**fields: Any) -> IP:
    """Return a header from 10.0.0.1 to 10.0.0.2."""
    return IP(**{"src": "10.0.0.1", "dst": "10.0.0.2"} | fields)


def frame_of(packet: Packet, time: int = 0, place: str = "left:eth0") -> Frame:
    """Return a packet as it is captured."""
    data = bytes(packet)
    namespace, _, interface = place.partition(":")
    return Frame(1000 * SECOND + time, namespace, interface, "in", data, len(data))


PACKETS: dict[str, Packet] = {
    "syn": ether(IPV4) / ipv4() / TCP(sport=1024, dport=80, flags="S"),
    "query": ether(IPV4)
    / ipv4()
    / UDP(sport=5353, dport=53)
    / DNS(qd=DNSQR(qname="example.org")),
    "arp": ether(ARPED)
    / ARP(hwsrc=LEFT, psrc="10.0.0.1", hwdst="00:00:00:00:00:00", pdst="10.0.0.2"),
    "refused": ether(IPV4)
    / ipv4()
    / ICMP(type=3, code=3)
    / IP(src="10.0.0.2", dst="192.0.2.9", proto=6)
    / TCP(dport=9),
    "data": ether(IPV4) / ipv4() / UDP(sport=9, dport=7) / b"GET",
}
FRAMES = {name: frame_of(packet) for name, packet in PACKETS.items()}


def is_small(packet: Packet) -> bool:
    """Serve as a predicate."""
    return len(packet) < 100


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (ARP, "ARP"),
        (IP(dst="10.0.0.1") / TCP(dport=80), "IP(dst=10.0.0.1) / TCP(dport=80)"),
        (TCP(dport=(1, 9), flags="SA"), "TCP(dport=1 to 9, flags=SA)"),
        (TCP(dport=(1, 9, 2)), "TCP(dport=1 to 9 in steps of 2)"),
        (IP(dst=["10.0.0.1", "10.0.0.0/24"]), "IP(dst=10.0.0.1 or 10.0.0.0/24)"),
        (IP(dst=("10.0.0.1", "10.0.0.9")), "IP(dst=10.0.0.1 to 10.0.0.9)"),
        (ICMP(type=8, chksum=77), "ICMP(type=echo-request, chksum=0x4d)"),
        (DNS(qd=DNSQR(qtype="AAAA")), "DNS(qd=[DNSQR(qtype=AAAA)])"),
        (Raw(b"x" * 90), f"Raw(load=b'{'x' * 57}…)"),
        (is_small, "is_small()"),
        (partial(isinstance, IP), "functools.partial(<built-in function isinstance>"),
    ],
)
def test_what_is_looked_for_is_described(what: Any, text: str) -> None:
    """The given fields, the class, or the source of the predicate."""
    assert matcher(what).describe().startswith(text)


def test_a_lambda_is_shown_as_it_was_written() -> None:
    """Wherever it stands, unless there are several in one place."""
    wanted = matcher(lambda p: p[TCP].dport == (80, 443)[0])
    broken = matcher(
        lambda packet: (
            packet[TCP].dport
            == 80
        ),
    )  # fmt: skip
    made: Any = eval("lambda packet: True")  # noqa: S307

    assert wanted.describe() == "lambda p: p[TCP].dport == (80, 443)[0]"
    assert broken.describe() == "lambda packet: ( packet[TCP].dport == 80 )"
    assert matcher(made).describe() == "a lambda"


@pytest.mark.parametrize(
    ("what", "name", "misses"),
    [
        (IP(dst="10.0.0.2") / TCP(dport=81), "syn", ["TCP.dport is 80, not 81"]),
        (TCP(dport=(1, 9)), "syn", ["TCP.dport is 80, not 1 to 9"]),
        (IP(src="192.0.2.1"), "arp", ["no IP layer: ARP"]),
        (IP(ttl=3) / TCP(dport=81), "arp", ["no IP and no TCP layer: ARP"]),
        (
            IP(dst="10.0.0.9") / TCP(),
            "query",
            [
                "no TCP layer: IP / UDP / DNS / DNSQR",
                "IP.dst is 10.0.0.2, not 10.0.0.9",
            ],
        ),
        (TCP() / IP(), "syn", ["no IP layer in this order: IP / TCP"]),
        (ICMP(id=0), "refused", ["ICMP.id is not there, let alone 0x0"]),
        (
            DNS(qd=DNSQR(qtype="AAAA")),
            "query",
            ["DNS.qd: DNSQR.qtype is A, not AAAA"],
        ),
        (Raw(b"GEM"), "data", ["Raw.load is b'GET', not b'GEM'"]),
        (TCP(dport=80), "syn", []),
    ],
)
def test_the_difference_is_told(what: Any, name: str, misses: list[str]) -> None:
    """Field by field, where the pattern fits best; nothing if it fits."""
    wanted, packet = matcher(what), dissect(FRAMES[name])

    assert wanted.misses(packet) == misses
    assert bool(wanted.distance(packet)) == bool(misses)


def test_long_payloads_are_told_apart() -> None:
    """If both look the same as far as they are shown, it says where they differ."""
    frame = frame_of(ether(IPV4) / ipv4() / UDP(sport=9, dport=9) / (b"x" * 90))

    wanted = matcher(Raw(b"x" * 80 + b"y" * 10))

    assert wanted.misses(dissect(frame)) == ["Raw.load differs from byte 80 on"]


def test_a_checksum_left_to_the_hardware_is_no_wrong_one() -> None:
    """The difference says that it is not there yet."""
    packet = dissect(FRAMES["syn"]._replace(has_partial_checksum=True))

    misses = matcher(TCP(chksum=0x1C46)).misses(packet)

    assert misses == ["TCP.chksum is left to the hardware, not 0x1c46"]


def test_a_missing_layer_is_farther_than_wrong_fields() -> None:
    """Who looks for a TCP packet wants to see TCP packets."""
    wanted = matcher(IP(dst="10.0.0.2") / TCP(sport=1, dport=2))
    tcp, udp = (wanted.distance(dissect(FRAMES[name])) for name in ("syn", "query"))

    assert tcp is not None
    assert udp is not None
    assert 0 < tcp < udp


@pytest.mark.parametrize("what", [ARP, lambda p: p[TCP], is_small])
def test_nearness_means_nothing_to_classes_and_predicates(what: Any) -> None:
    """They say yes or no."""
    assert matcher(what).misses(dissect(FRAMES["syn"])) is None
    assert matcher(what).distance(dissect(FRAMES["syn"])) is None


CAPTURED = [
    frame_of(PACKETS["arp"]),
    frame_of(PACKETS["syn"], 250_000),
    frame_of(PACKETS["query"], SECOND, "right:eth0"),
]
PARSED = list(map(dissect, CAPTURED))


def test_a_packet_that_was_not_seen() -> None:
    """The message says where, what was there instead, what came near, and the drops."""
    message = not_seen_message(
        matcher(IP(dst="10.0.0.2") / TCP(dport=443)),
        CAPTURED,
        PARSED,
        places=["left:eth0", "right:eth0"],
        dropped=0,
    )

    assert (
        message
        == """\
no packet matches IP(dst=10.0.0.2) / TCP(dport=443) on left:eth0, right:eth0; \
3 packets were seen, 0 dropped by the kernel:
#   seconds  place           summary
0  0.000000  left:eth0   in  ARP who has 10.0.0.2 says 10.0.0.1
1  0.000250  left:eth0   in  IP / TCP 10.0.0.1:1024 > 10.0.0.2:http S
2  1.000000  right:eth0  in  IP / UDP / DNS Qry b'example.org.'
nearest miss: #1: TCP.dport is 80, not 443"""
    )


def test_of_several_near_packets_the_latest_is_shown() -> None:
    """It is the one that a test waited for."""
    message = not_seen_message(
        matcher(TCP(dport=443)),
        CAPTURED[1:2] * 3,
        PARSED[1:2] * 3,
        places=["l:e"],
        dropped=7,
    )

    assert "3 packets were seen, 7 dropped by the kernel" in message
    assert message.endswith("nearest miss: #2: TCP.dport is 80, not 443")


def test_too_few_packets() -> None:
    """The message says how many there are, and the miss is none of these."""
    message = not_seen_message(
        matcher(IP()),
        CAPTURED,
        PARSED,
        places=["left:eth0"],
        dropped=0,
        found=2,
        count=3,
    )

    assert message.startswith("only 2 of 3 packets match IP on left:eth0; 3 packets")
    assert message.endswith("nearest miss: #0: no IP layer: ARP")


def test_nothing_at_all_was_seen() -> None:
    """Then there is no table."""
    message = not_seen_message(matcher(ARP), [], [], places=["a:b"], dropped=1)

    assert message == (
        "no packet matches ARP on a:b; no packet was seen, 1 dropped by the kernel"
    )


def test_one_packet_and_many_places() -> None:
    """Counts agree with their nouns, and a list of places ends."""
    message = not_seen_message(
        matcher(ARP),
        CAPTURED[1:2],
        PARSED[1:2],
        places=[f"n{number}:eth0" for number in range(9)],
        dropped=0,
    )

    assert "n5:eth0 and 3 more; 1 packet was seen" in message
    assert "nearest" not in message


def test_only_the_last_packets_are_compared() -> None:
    """A search for the nearest miss must not take minutes; it says so."""
    asked: list[int] = []

    class Counted(list[Packet]):
        def __len__(self) -> int:
            return 30_000

        def __getitem__(self, number: Any) -> Any:
            asked.append(number)
            return PARSED[1]

    frames = [CAPTURED[1]] * 30_000

    message = not_seen_message(
        matcher(TCP(dport=443)), frames, Counted(), places=["a:b"], dropped=0
    )

    assert "nearest miss among the last 10,000 packets: #29999: " in message
    assert len(set(asked)) == 10_000 + 10


def test_a_packet_that_was_seen() -> None:
    """The message shows those that match, with their numbers among all."""
    message = seen_message(
        matcher(UDP), CAPTURED, PARSED, [2], places=["left:eth0", "right:eth0"]
    )

    assert (
        message
        == """\
UDP was seen on left:eth0, right:eth0: 1 of 3 packets:
#   seconds  place           summary
2  1.000000  right:eth0  in  IP / UDP / DNS Qry b'example.org.'"""
    )


def test_packets_that_are_not_shown_are_not_parsed() -> None:
    """A table of a million packets is made at once."""
    asked: list[int] = []

    class Counted(list[Packet]):
        def __getitem__(self, number: Any) -> Any:
            asked.append(number)
            return PARSED[0]

    text = table_of(CAPTURED[:1] * 1000, Counted(), limit=4)

    assert asked == [0, 1, 998, 999]
    assert "\n... 996 more ...\n" in text


def test_a_summary_that_fails_is_the_name_of_the_class() -> None:
    """A user's own layer may have its faults."""

    class Faulty(Packet):
        def mysummary(self) -> str:
            raise ValueError

    assert table_of(CAPTURED[:1], [Faulty()]).endswith("  in  Faulty")
