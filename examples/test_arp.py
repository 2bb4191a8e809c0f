"""An ARP exchange, field by field: who asks, who answers, and what both remember.

ann eth0 10.0.0.1 ─── 10.0.0.2 eth0 bob
"""

from __future__ import annotations

import pytest
from scapy.layers.l2 import ARP, Ether

from pytest_netns import CaptureError, Namespace, Network, Topology, Veth

pytestmark = pytest.mark.netns(
    Topology(
        Namespace("ann"),
        Namespace("bob"),
        Veth("ann:eth0", "bob:eth0", subnet="10.0.0.0/24"),
    )
)
EVERYBODY = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"


def test_the_exchange(netns: Network) -> None:
    """The question goes to everybody, the answer to whoever asked."""
    ann, bob = netns["ann"], netns["bob"]
    ann_mac, bob_mac = (ns.interface("eth0").lladdr for ns in (ann, bob))

    with netns.capture("ann:eth0", "bob:eth0", bpf_filter="arp") as capture:
        assert ann.ping("bob")

    at_ann = [packet for packet in capture.packets if packet.sniffed_on == "ann:eth0"]
    question, answer = at_ann
    assert (question[Ether].src, question[Ether].dst) == (ann_mac, EVERYBODY)
    assert (question[ARP].op, question[ARP].hwsrc, question[ARP].psrc) == (
        *(1, ann_mac, "10.0.0.1"),
    )
    assert (question[ARP].hwdst, question[ARP].pdst) == (NOBODY, "10.0.0.2")
    assert (answer[Ether].src, answer[Ether].dst) == (bob_mac, ann_mac)
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (
        *(2, bob_mac, "10.0.0.2"),
    )
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (ann_mac, "10.0.0.1")
    assert answer.time > question.time
    assert [(one.address, one.lladdr) for one in ann.neighbours()] == [
        ("10.0.0.2", bob_mac)
    ]


def test_asked_by_hand(netns: Network) -> None:
    """A packet made with scapy is answered as the kernel's own are."""
    ann, bob = netns["ann"], netns["bob"]
    answer = ann.srp1(Ether(dst=EVERYBODY) / ARP(pdst="10.0.0.2"), dev="eth0")
    assert answer is not None
    assert answer[ARP].hwsrc == bob.interface("eth0").lladdr
    assert ann.srp1(
        Ether(dst=EVERYBODY) / ARP(pdst="10.0.0.3"), dev="eth0", timeout=0.1
    ) is None  # fmt: skip


def test_who_knows_need_not_ask(netns: Network) -> None:
    """The second time nobody asks; and that is no accident of the capture."""
    assert netns["ann"].ping("bob")
    with netns["ann"].capture("eth0", positive_control=True) as capture:
        assert netns["ann"].ping("bob")
    capture.assert_not_seen(ARP(op="who-has", psrc="10.0.0.1"))
    with pytest.raises(CaptureError, match="no packet matches ARP"):
        capture.assert_seen(ARP)
