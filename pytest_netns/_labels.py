"""What is written on an arrow: a packet in a few words, as people say them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._packet_table import printable
from ._patterns import chain_of, is_of
from ._scapy import load, summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._scapy import Packet

#: The address of those who have none yet.
_NOBODY = {"0.0.0.0", "::"}  # noqa: S104  # nothing is bound to it


def label_of(packet: Packet) -> str:
    """Say who says what to whom: ``"ICMP echo-request 10.0.1.1 > 10.0.2.1 ttl=64"``.

    Of a tunnel it is what is inside. What is not known here is said in scapy's words.
    """
    try:
        # names in packets can hold anything, also what a terminal would obey
        return printable(" ".join(_words(list(chain_of(packet)))))
    except Exception:  # a header is malformed, or cut off
        return summary_of(packet)


def _words(chain: Sequence[Any]) -> Iterator[str]:
    """Say what is around the innermost network header, and what that is."""
    network = next((layer for layer in reversed(chain) if _kind(layer)), None)
    if network is None:
        yield summary_of(chain[0])
        return
    place = chain.index(network)
    for at in range(place):
        yield from _wrapping(chain[at], chain[at + 1])
    if _kind(network) == "ARP":
        yield _arp(network)
    else:
        yield from _internet(network, chain[place + 1 :])


def _kind(layer: Any) -> str:
    """Return the name of a header that says who talks to whom; "" for all others."""
    layers = load().layers
    kinds = (layers.inet.IP, layers.inet6.IPv6, layers.l2.ARP)
    return next((kind.__name__ for kind in kinds if _is(layer, kind)), "")


def _is(layer: Any, kind: Any) -> bool:
    return is_of(type(layer), kind)


def _wrapping(layer: Any, inner: Any) -> Iterator[str]:
    layers = load().layers
    if _is(layer, layers.l2.Dot1Q):
        yield f"VLAN {layer.vlan}"
    elif _is(layer, layers.vxlan.VXLAN):
        yield f"VXLAN {layer.vni}"
    elif _is(layer, layers.l2.GRE):
        yield "GRE"
    elif _kind(layer) and _kind(inner):
        yield "tunnelled"


def _arp(arp: Any) -> str:
    if arp.op == 2:
        return f"ARP {arp.psrc} is at {arp.hwsrc}"
    if arp.op != 1:
        return summary_of(arp)
    if arp.psrc in _NOBODY:
        return f"ARP is {arp.pdst} taken?"
    if arp.psrc == arp.pdst:
        return f"ARP {arp.psrc} announces itself"
    return f"ARP who has {arp.pdst}? tell {arp.psrc}"


def _internet(network: Any, upper: Sequence[Any]) -> Iterator[str]:
    """Say what an IPv4 or IPv6 packet is, and how far it may still go."""
    inet = load().layers.inet
    life = f"ttl={network.ttl}" if _kind(network) == "IP" else f"hlim={network.hlim}"
    for layer in upper:
        if _is(layer, inet.TCP):
            yield f"TCP {_ends(network, layer)} {layer.flags}"
            yield from _size(len(layer.payload.original))
        elif _is(layer, inet.UDP):
            yield from _udp(network, layer)
        elif _is(layer, inet.ICMP):
            yield f"ICMP {_icmp(layer)} {_ends(network)}"
        elif type(layer).__name__.startswith("ICMPv6"):
            yield f"ICMPv6 {_icmpv6(network, layer)}"
        else:
            continue  # an extension header of IPv6
        break
    else:
        yield _other(network)
    yield life


def _other(network: Any) -> str:
    if _kind(network) == "IPv6":
        return f"IPv6 {_ends(network)}"
    if network.frag:
        return f"IP {_ends(network)} fragment at {8 * network.frag}"
    protocol = str(network.sprintf("%proto%"))
    word = "protocol " * protocol.isdigit()
    return f"IP {_ends(network)} {word}{protocol}"


def _ends(network: Any, ports: Any = None) -> str:
    if ports is None:
        return f"{network.src} > {network.dst}"
    source, destination = network.src, network.dst
    if _kind(network) == "IPv6":
        source, destination = f"[{source}]", f"[{destination}]"
    return f"{source}:{ports.sport} > {destination}:{ports.dport}"


def _size(length: int) -> Iterator[str]:
    if length:
        yield f"{length} byte{'s' * (length != 1)}"


def _udp(network: Any, udp: Any) -> Iterator[str]:
    layers = load().layers
    inner = udp.payload
    if _is(inner, layers.dns.DNS):
        yield f"DNS {_dns(inner)} {_ends(network)}"
    elif _is(inner, layers.dhcp.BOOTP) and _is(inner.payload, layers.dhcp.DHCP):
        yield f"DHCP {_dhcp(inner)}"
    else:
        yield f"UDP {_ends(network, udp)}"
        yield from _size(len(inner.original))


def _dns(dns: Any) -> str:
    question = dns.qd[0] if dns.qd else None
    asked = question and f"{question.sprintf('%qtype%')} {_name(question.qname)}"
    if not dns.qr:
        return f"{asked}?"
    if dns.rcode:
        return f"{asked}: {dns.sprintf('%rcode%')}"
    answers = ", ".join(_name(record.rdata) for record in dns.an if record.rdata)
    return f"{asked} is {answers}" if answers else f"{asked}: no answer"


def _name(value: str | bytes) -> str:
    return value.decode().removesuffix(".") if isinstance(value, bytes) else value


def _dhcp(bootp: Any) -> str:
    types = load().layers.dhcp.DHCPTypes
    given: list[Any] = bootp.payload.options
    options: dict[Any, Any] = dict(one[:2] for one in given if isinstance(one, tuple))
    kind = types.get(options.get("message-type"), "message")
    address = options.get("requested_addr") if bootp.op == 1 else bootp.yiaddr
    of = f" {address}" if address not in (None, *_NOBODY) else ""
    client = bootp.chaddr[:6].hex(":")
    return f"{kind}{of} {'from' if bootp.op == 1 else 'to'} {client}"


def _icmp(icmp: Any) -> str:
    kind = str(icmp.sprintf("%type%"))
    return str(icmp.sprintf("%code%")) if kind == "dest-unreach" else kind


def _icmpv6(network: Any, message: Any) -> str:
    inet6 = load().layers.inet6
    ends = _ends(network)
    if _is(message, inet6.ICMPv6EchoReply):  # derived from the request
        return f"echo-reply {ends}"
    if _is(message, inet6.ICMPv6EchoRequest):
        return f"echo-request {ends}"
    if _is(message, inet6.ICMPv6ND_NS):
        if network.src in _NOBODY:
            return f"is {message.tgt} taken?"
        return f"who has {message.tgt}? tell {network.src}"
    option = message.payload
    if _is(message, inet6.ICMPv6ND_NA) and _is(option, inet6.ICMPv6NDOptDstLLAddr):
        return f"{message.tgt} is at {option.lladdr}"
    name = message.name.removeprefix("ICMPv6 ").removeprefix("Neighbor Discovery - ")
    return f"{name} {ends}"
