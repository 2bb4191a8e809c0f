"""Records of every kind, right and wrong, and what holds for all of them."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    SNAT,
    Bridge,
    Host,
    Masquerade,
    Namespace,
    Neighbour,
    OVSBridge,
    Route,
    Topology,
    TopologyError,
    Veth,
)
from pytest_netns._shown import shown
from tests.inputs.any_values import anything

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_netns._record import Record

LLADDR = "02:00:00:00:00:01"
#: The records, each with what is right in all of its fields.
FIELDS: dict[type[Record], dict[str, Any]] = {
    Namespace: {
        "name": "a",
        "routes": [Route("default", dev="eth0")],
        "neighbours": [Neighbour("10.0.0.9", LLADDR, dev="eth0")],
        "nat": [Masquerade()],
        "nftables": "table inet a {}",
        "forwarding": True,
        "sysctls": {"net.ipv4.tcp_syncookies": 0},
        "hosts": {"b": "10.0.0.2"},
        "nameservers": "10.0.0.3",
        "hostname": "c",
    },
    Host: {"name": "h", "routes": [], "share_connection": True},
    Bridge: {
        "name": "br0",
        "namespace": "a",
        "address": "10.1.0.1/24",
        "subnet": "10.1.0.0/24",
        "stp": True,
        "vlan_filtering": True,
        "mtu": 1400,
        "lladdr": LLADDR,
    },
    OVSBridge: {
        "name": "br0",
        "namespace": "a",
        "address": "10.1.0.1/24",
        "subnet": "10.1.0.0/24",
    },
    Veth: {
        "a": "a:eth0",
        "b": "b:eth0",
        "address": "10.0.0.1/24",
        "peer_address": ["10.0.0.2/24", "fd00::2/64"],
        "subnet": ("10.0.0.0/24", "fd00::/64"),
        "lladdr": LLADDR,
        "peer_lladdr": "02:00:00:00:00:02",
        "mtu": 1400,
        "offload": False,
    },
    Route: {
        "destination": "10.9.0.0/24",
        "via": "10.0.0.2",
        "dev": "eth0",
        "source": "10.0.0.1",
        "metric": 5,
        "table": 100,
        "scope": "global",
    },
    Neighbour: {"address": "10.0.0.9", "lladdr": LLADDR, "dev": "eth0"},
    Masquerade: {"source": "10.0.0.0/24", "out_interface": "eth0"},
    SNAT: {"to": "10.0.0.1:80", "source": "10.0.0.0/24", "out_interface": "eth0"},
    DNAT: {
        "to": "10.0.0.2:80",
        "port": 80,
        "protocol": "udp",
        "destination": "10.0.0.1",
        "in_interface": "eth0",
    },
}


def called(kind: type[Record]) -> list[str]:
    """Return what messages call such a record, in lower case."""
    others = {OVSBridge: ["bridge"], Veth: ["endpoint"]}
    return [kind.__name__.lower(), *others.get(kind, [])]


@st.composite
def _one_wrong(draw: st.DrawFn) -> tuple[type[Record], str, dict[str, Any]]:
    kind = draw(st.sampled_from([*FIELDS]))
    right = FIELDS[kind]
    field = draw(st.sampled_from([*right]))
    return kind, field, {**right, field: draw(anything)}


@st.composite
def _all_wrong(draw: st.DrawFn) -> tuple[type[Record], dict[str, Any]]:
    kind = draw(st.sampled_from([*FIELDS]))
    drawn = {
        field: draw(st.one_of(st.just(right), st.just(right), anything))
        for field, right in FIELDS[kind].items()
    }
    return kind, drawn


#: A record's class, the name of a field, and what it is to be made of: what is right,
#: but for this field, which may hold anything.
one_wrong: SearchStrategy[tuple[type[Record], str, dict[str, Any]]] = _one_wrong()
#: A record's class, and what it is to be made of.
all_wrong: SearchStrategy[tuple[type[Record], dict[str, Any]]] = _all_wrong()


def check_one_wrong(given: tuple[type[Record], str, dict[str, Any]]) -> None:
    """Check that it is a record, or an error that names record and field."""
    kind, field, values = given
    try:
        made: object = kind(**values)
    except TopologyError as error:
        made = error
    if isinstance(made, TopologyError):
        message = str(made).lower()
        assert any(name in message for name in called(kind)), made
        assert field in message or _shows(values[field], str(made)), f"{field}: {made}"
        assert pickle.loads(pickle.dumps(made)).args == made.args  # noqa: S301
    else:
        check_record(made)


def check_all_wrong(given: tuple[type[Record], dict[str, Any]]) -> None:
    """Check that it is a record, or that the declaration is said to be wrong."""
    kind, values = given
    try:
        record = kind(**values)
    except TopologyError:
        return
    check_record(record)


def _shows(value: object, message: str) -> bool:
    """Tell whether a message shows a value, as it is or as it was normalised."""
    return shown(value)[1:-1].strip().lower() in message.lower()


def check_record(record: Any) -> None:
    """Check that a record is a value: it can be shown, sent, written and read."""
    copies = [
        eval(repr(record)),  # noqa: S307  # our own repr
        pickle.loads(pickle.dumps(record)),  # noqa: S301  # our own
        type(record)(**{one: getattr(record, one) for one in FIELDS[type(record)]}),
    ]
    for copied in copies:
        assert copied == record
        assert hash(copied) == hash(record)
        assert repr(copied) == repr(record)


def topology_of(records: list[Record]) -> Topology | None:
    """Return the topology that `records` make, or None."""
    try:
        return Topology(*records)
    except TopologyError:
        return None


def every_field() -> list[tuple[type[Record], str]]:
    """List the fields of all records."""
    return [(kind, field) for kind, fields in FIELDS.items() for field in fields]
