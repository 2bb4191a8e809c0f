from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_netns import OpenVSwitch, OVSBridge, Veth
from pytest_netns import _ovs_rows as rows
from pytest_netns._ovs_place import DIRECTORY
from pytest_netns._steps import AddOVSBridge, AddOVSPort, OVSStep

if TYPE_CHECKING:
    from pytest_netns._ovs_loan import Loan

ONE = OVSBridge("OVS-1")
TWO = OVSBridge("br.2")


def port(bridge: str, name: str) -> AddOVSPort:
    """Return the step that plugs `name` in."""
    return AddOVSPort(bridge, Veth("a", bridge), name)


def inserted(operations: list[rows.Operation], table: str) -> list[dict[str, Any]]:
    """List the rows that come into a table."""
    return [
        one["row"] for one in operations if one.get("table") == table and "row" in one
    ]


class TestRows:
    """Steps as operations on the database."""

    def test_a_bridge_with_ports(self) -> None:
        """All comes in one transaction: its device, its ports, itself."""
        steps: list[OVSStep] = [
            AddOVSBridge("OVS-1", ONE, ONE),
            port("OVS-1", "p"),
            port("OVS-1", "q"),
        ]
        operations = rows.additions(steps, {}, "netdev")
        assert inserted(operations, "Interface") == [
            {"name": "OVS-1", "type": "internal"},
            {"name": "p", "ofport_request": 1},
            {"name": "q", "ofport_request": 2},
        ]
        (bridge,) = inserted(operations, "Bridge")
        assert bridge["name"] == "OVS-1"
        assert bridge["datapath_type"] == "netdev"
        assert len(bridge["ports"][1]) == 3
        assert operations[-1]["table"] == "Open_vSwitch"
        named = {one["uuid-name"] for one in operations if "uuid-name" in one}
        assert {uuid for _, uuid in bridge["ports"][1]} < named

    def test_a_port_of_a_bridge_that_is_there(self) -> None:
        """It is added to the bridge, with the next number."""
        operations = rows.additions([port("OVS-1", "p")], {"OVS-1": 4}, "")
        (interface,) = inserted(operations, "Interface")
        assert interface == {"name": "p", "ofport_request": 5}
        assert inserted(operations, "Bridge") == []
        assert operations[-1]["where"] == [["name", "==", "OVS-1"]]
        assert operations[-1]["mutations"][0][:2] == ["ports", "insert"]

    def test_names_of_any_kind(self) -> None:
        """What stands for a row is an identifier, whatever the row is called."""
        steps: list[OVSStep] = [
            AddOVSBridge("br.2", TWO, TWO),
            port("br.2", "é-1"),
            port("br.2", "e1"),
        ]
        names = [
            one["uuid-name"]
            for one in rows.additions(steps, {}, "")
            if "uuid-name" in one
        ]
        assert len(set(names)) == len(names) == 7
        assert all(name.isidentifier() and name.isascii() for name in names)

    def test_what_came_of_them(self) -> None:
        """The results of inserts are the names of their rows."""
        steps: list[OVSStep] = [AddOVSBridge("OVS-1", ONE, ONE), port("OVS-1", "p")]
        operations = rows.additions(steps, {}, "")
        results = [{"uuid": ["uuid", f"u{n}"]} for n in range(len(operations))]
        assert rows.uuids(operations, results, "Bridge") == {"OVS-1": "u4"}
        assert rows.uuids(operations, results, "Port") == {"OVS-1": "u1", "p": "u3"}

    def test_what_was_not_made(self) -> None:
        """An interface has a number, or else a reason."""
        none: list[Any] = ["set", []]
        answer: list[dict[str, Any]] = [
            {"name": "p", "ofport": 1, "error": none},
            {"name": "OVS-1", "ofport": 65534, "error": none},
            {"name": "q", "ofport": -1, "error": "no such device"},
            {"name": "r", "ofport": none, "error": none},
        ]
        assert rows.reasons(answer) == {"q": "no such device", "r": "see its log"}

    def test_removals(self) -> None:
        """Ports go from bridges that stay, bridges from the list of bridges."""
        ports, bridges = rows.removals(["b1"], {"OVS-1": ["p1", "p2"]})
        assert ports["mutations"] == [
            ["ports", "delete", ["set", [["uuid", "p1"], ["uuid", "p2"]]]]
        ]
        assert bridges["mutations"] == [
            ["bridges", "delete", ["set", [["uuid", "b1"]]]]
        ]
        assert rows.removals([], {}) == []


class Recorder:
    """A loan that notes what is to be run."""

    closed = False

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.harmless: list[bool] = []

    def run(self, words: list[str], *, is_harmless: bool = True) -> str:
        """Note it."""
        self.commands.append(words)
        self.harmless.append(is_harmless)
        return ""


@pytest.fixture
def recorder() -> Recorder:
    """Give what stands for the daemons."""
    return Recorder()


@pytest.fixture
def switch(recorder: Recorder) -> OpenVSwitch:
    """Give a switch that runs nothing."""
    return OpenVSwitch("OVS-1", cast("Loan", recorder))


BRIDGE = f"unix:{DIRECTORY}/OVS-1.mgmt"


class TestWords:
    """Commands of the tools."""

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("dump-flows",), ["dump-flows", BRIDGE]),
            (("dump-flows table=0",), ["dump-flows", BRIDGE, "table=0"]),
            (
                ("add-flow", "in_port=1, actions=drop"),
                ["add-flow", BRIDGE, "in_port=1, actions=drop"],
            ),
            (
                ("add-flow 'in_port=1, actions=drop'",),
                ["add-flow", BRIDGE, "in_port=1, actions=drop"],
            ),
            (
                ("-O OpenFlow13 dump-flows",),
                ["-O", "OpenFlow13", "dump-flows", BRIDGE],
            ),
            (
                ("-OOpenFlow13", "--names", "dump-flows"),
                ["-OOpenFlow13", "--names", "dump-flows", BRIDGE],
            ),
            (
                ("--protocols", "OpenFlow13", "show"),
                ["--protocols", "OpenFlow13", "show", BRIDGE],
            ),
            (
                ("--protocols=OpenFlow13", "show"),
                ["--protocols=OpenFlow13", "show", BRIDGE],
            ),
        ],
    )
    def test_ofctl(
        self,
        switch: OpenVSwitch,
        recorder: Recorder,
        args: tuple[str, ...],
        words: list[str],
    ) -> None:
        """The bridge stands behind the command, options before it."""
        switch.ofctl(*args)
        assert recorder.commands == [["ovs-ofctl", *words]]

    def test_vsctl(self, switch: OpenVSwitch, recorder: Recorder) -> None:
        """Words stay as they are, a string is split."""
        switch.vsctl("list-ports OVS-1")
        switch.vsctl("set", "bridge", "OVS-1", "external_ids:a=b c")
        assert recorder.commands == [
            ["ovs-vsctl", "list-ports", "OVS-1"],
            ["ovs-vsctl", "set", "bridge", "OVS-1", "external_ids:a=b c"],
        ]

    @pytest.mark.parametrize("args", [(), ("",)])
    def test_nothing(self, switch: OpenVSwitch, args: tuple[str, ...]) -> None:
        """An empty command is an error."""
        with pytest.raises(ValueError, match="empty command"):
            switch.vsctl(*args)

    @pytest.mark.parametrize(
        ("request_", "is_harmless"),
        [
            ("fdb/show OVS-1", True),
            ("fdb/flush OVS-1", True),
            ("ofproto/trace OVS-1 in_port=1", True),
            ("dpctl/dump-flows -m", True),
            ("dpif/show", True),
            ("list-commands", True),
            ("version", True),
            ("-t ovsdb-server ovsdb-server/list-dbs", True),
            ("coverage/show", True),
            ("vlog/set dbg", False),
            ("-t ovs-vswitchd vlog/set list", False),
            ("dpctl/flush-conntrack", False),
            ("exit", False),
            ("upcall/disable-megaflows", False),
            ("ovs/route/add 10.0.0.0/8 OVS-1", False),
        ],
    )
    def test_appctl(
        self,
        switch: OpenVSwitch,
        recorder: Recorder,
        request_: str,
        is_harmless: bool,  # noqa: FBT001
    ) -> None:
        """Only who looks leaves daemons behind that may serve another network."""
        switch.appctl(request_)
        assert recorder.harmless == [is_harmless]
