"""Bridges and ports as operations on Open vSwitch's database: plain data.

The operations are those of RFC 7047, chapter 5.2; the tables and columns those
of ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._steps import AddOVSBridge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._steps import OVSStep

Operation = dict[str, Any]


def name_of(step: OVSStep) -> str:
    """Return the name of the interface that a step makes a port."""
    return step.place if isinstance(step, AddOVSBridge) else step.ifname


def additions(
    steps: Iterable[OVSStep], numbers: Mapping[str, int], datapath: str
) -> list[Operation]:
    """Return the operations that make bridges and ports.

    Equivalent to ``ovs-vsctl add-br BRIDGE -- add-port BRIDGE PORT ...``.

    Args:
        steps: What to make, bridges before their ports.
        numbers: How many ports of each bridge are numbered already.
        datapath: The type of the bridges' datapath; "" is that of the kernel.

    Returns:
        The operations; ports are numbered from 1, in order.
    """
    operations: list[Operation] = []
    ports: dict[str, list[list[str]]] = {}
    bridges = []
    given = dict(numbers)
    for step in steps:
        interface: dict[str, Any] = {"name": name_of(step)}
        if isinstance(step, AddOVSBridge):
            bridges.append(step.place)
            interface["type"] = "internal"
        else:
            given[step.place] = given.get(step.place, 0) + 1
            interface["ofport_request"] = given[step.place]
        operations += _port(interface)
        ports.setdefault(step.place, []).append(_named("port", interface["name"]))
    for bridge in bridges:
        operations.append(_bridge(bridge, ports.pop(bridge), datapath))
    for bridge, more in ports.items():
        operations.append(_mutate_ports(bridge, "insert", more))
    if bridges:
        named = [_named("bridge", bridge) for bridge in bridges]
        operations.append(_mutate_bridges("insert", named))
    return operations


def uuids(
    operations: Iterable[Operation], results: Iterable[Mapping[str, Any]], table: str
) -> dict[str, str]:
    """Return what the rows of a table were called that were inserted, by name."""
    return {
        operation["row"]["name"]: result["uuid"][1]
        for operation, result in zip(operations, results)  # noqa: B905  # more results
        if operation["op"] == "insert" and operation["table"] == table
    }


def removals(
    bridges: Iterable[str], ports: Mapping[str, Iterable[str]]
) -> list[Operation]:
    """Return the operations that take bridges, and ports of others, away.

    Args:
        bridges: The uuids of bridges.
        ports: The uuids of ports, by bridges that stay.
    """
    operations = [
        _mutate_ports(bridge, "delete", [["uuid", port] for port in gone])
        for bridge, gone in ports.items()
    ]
    gone = [["uuid", bridge] for bridge in bridges]
    return [*operations, _mutate_bridges("delete", gone)] if gone else operations


def removal_of_all() -> list[Operation]:
    """Return the operations that take all bridges away.

    What nobody refers to goes with them: ports, mirrors, controllers.
    """
    row = {"bridges": ["set", []]}
    return [{"op": "update", "table": "Open_vSwitch", "where": [], "row": row}]


def queries(tables: Iterable[str]) -> list[Operation]:
    """Return the operations that tell which rows some tables have."""
    return [
        {"op": "select", "table": table, "where": [], "columns": ["_uuid"]}
        for table in tables
    ]


#: Tells what has become of the interfaces.
QUERY_OF_INTERFACES: Operation = {
    "op": "select",
    "table": "Interface",
    "where": [],
    "columns": ["name", "ofport", "error"],
}


def reasons(interfaces: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return why interfaces were not made, by name, from the answer to that query.

    A number of a port belongs to everything that was: -1 marks an interface that
    was not, and no number one whose bridge was not.
    """
    return {
        row["name"]: row["error"] if isinstance(row["error"], str) else "see its log"
        for row in interfaces
        if not isinstance(row["ofport"], int) or row["ofport"] < 0
    }


def _port(interface: Mapping[str, Any]) -> list[Operation]:
    name = interface["name"]
    inside = f"interface_{_id(name)}"
    port = {"name": name, "interfaces": ["named-uuid", inside]}
    return [
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": inside},
        {
            "op": "insert",
            "table": "Port",
            "row": port,
            "uuid-name": f"port_{_id(name)}",
        },
    ]


def _bridge(name: str, ports: list[list[str]], datapath: str) -> Operation:
    row = {"name": name, "datapath_type": datapath, "ports": ["set", ports]}
    uuid_name = f"bridge_{_id(name)}"
    return {"op": "insert", "table": "Bridge", "row": row, "uuid-name": uuid_name}


def _mutate_ports(bridge: str, verb: str, ports: list[list[str]]) -> Operation:
    return {
        "op": "mutate",
        "table": "Bridge",
        "where": [["name", "==", bridge]],
        "mutations": [["ports", verb, ["set", ports]]],
    }


def _mutate_bridges(verb: str, bridges: list[list[str]]) -> Operation:
    return {
        "op": "mutate",
        "table": "Open_vSwitch",
        "where": [],
        "mutations": [["bridges", verb, ["set", bridges]]],
    }


def _named(kind: str, name: str) -> list[str]:
    return ["named-uuid", f"{kind}_{_id(name)}"]


def _id(name: str) -> str:
    """Return an <id> of RFC 7047 for any name: letters, digits and underscores."""
    return name.encode().hex()
