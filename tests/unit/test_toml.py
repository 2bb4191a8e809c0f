"""Topologies in files: what is written is read again, and errors name the place."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_netns
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
from pytest_netns._record import Record, default_of
from pytest_netns._toml import KINDS, NESTED, read, write
from pytest_netns.topology import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README = Path(__file__).parents[2] / "README.md"

# left (10.0.1.1) --- br0 --- (10.0.0.1) right
LAB = Topology(
    Namespace("left", routes=[Route("10.0.0.0/24", dev="left_inner")]),
    Namespace("right", routes=[Route("10.0.1.0/24", dev="right_inner")]),
    Bridge("br0"),
    Veth("left:left_inner", "br0:left_outer", address="10.0.1.1/24"),
    Veth("right:right_inner", "br0:right_outer", address="10.0.0.1/24"),
)
LAB_AS_TEXT = """\
[[namespace]]
name = "left"
routes = [
    { destination = "10.0.0.0/24", dev = "left_inner" },
]

[[namespace]]
name = "right"
routes = [
    { destination = "10.0.1.0/24", dev = "right_inner" },
]

[[bridge]]
name = "br0"

[[veth]]
a = "left:left_inner"
b = "br0:left_outer"
address = "10.0.1.1/24"

[[veth]]
a = "right:right_inner"
b = "br0:right_outer"
address = "10.0.0.1/24"
"""

RULESET = """\
table inet own {\t# "quoted", 'single', back\\slash \\n, \"\"\"three\"\"\"
    chain input {
        type filter hook input priority 0; policy accept;
    }
}

"""

#: Each field of each record is set in it, to what is not its default.
EVERYTHING = Topology(
    Bridge("br0", subnet=("10.0.0.0/24", "fd00::/64")),
    Bridge(
        "lan",
        namespace="gw",
        address=["192.0.2.1/24", "2001:db8::1/64"],
        subnet="192.0.2.0/24",
        stp=True,
        vlan_filtering=True,
        mtu=1400,
        lladdr="02:00:00:00:00:01",
    ),
    Namespace(
        "gw",
        routes=[
            Route("10.1.0.0/16", via="10.0.0.2", dev="wan", source="10.0.0.9"),
            Route("10.2.0.0/16", dev="wan", metric=5, table=100, scope="link"),
        ],
        neighbours=[
            Neighbour("10.0.0.7", "02:00:00:00:00:07", dev="wan"),
            Neighbour("10.0.0.8", "02:00:00:00:00:08", dev="wan"),
        ],
        nat=[
            Masquerade(source="192.0.2.0/24", out_interface="wan"),
            Masquerade(),
            SNAT("10.0.0.9", source=["192.0.2.0/24"], out_interface="wan"),
            DNAT("192.0.2.2:8080", port=80),
            DNAT(
                "192.0.2.2",
                port=53,
                protocol="udp",
                destination=["10.0.0.9", "10.3.0.0/16"],
                in_interface="wan",
            ),
        ],
        nftables=RULESET,
        forwarding=True,
        sysctls={"net.ipv4.tcp_syncookies": 0, "net/ipv4/conf/wan/rp_filter": "2"},
        hosts={"mirror.example": "192.0.2.80", "both": ["192.0.2.81", "2001:db8::81"]},
        nameservers=["192.0.2.53", "2001:db8::53"],
        hostname="gateway.example",
    ),
    Veth(
        "gw:wan",
        "outside:eth0",
        address=["10.0.0.9/24", "fd00::9/64"],
        peer_address="10.0.0.2/24",
        subnet="10.0.0.0/24",
        lladdr="02:00:00:00:00:02",
        peer_lladdr="02:00:00:00:00:03",
        mtu=1300,
        offload=False,
    ),
    Namespace("outside", nameservers="192.0.2.53"),
    Host(
        "machine",
        routes=[Route("10.0.0.0/24", via="192.0.2.1")],
        share_connection=True,
    ),
    Veth("machine:lab0", "lan", address="192.0.2.99/24"),
    OVSBridge(
        "OVS-1", namespace="gw", address="198.51.100.1/24", subnet="198.51.100.0/24"
    ),
    Veth("outside", "OVS-1"),
    names=True,
)


class Lab:
    """A directory with a file ``lab.toml``, which is the current directory."""

    path = Path("lab.toml")

    def load(self, text: str) -> Topology:
        """Write the file and read it."""
        self.path.write_bytes(textwrap.dedent(text).encode())
        return Topology.from_file("lab.toml")

    def error(self, text: str) -> TopologyError:
        """Write the file, and return what is wrong with it."""
        with pytest.raises(TopologyError) as caught:
            self.load(text)
        return caught.value


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Give a directory for a file."""
    monkeypatch.chdir(tmp_path)
    return Lab()


def records_in(topology: Topology) -> Iterator[Record]:
    """Yield all records, and those that are nested in them."""
    for record in topology:
        yield record
        for one in fields(record):  # type: ignore[arg-type]  # records are dataclasses
            value = getattr(record, one.name)
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Record):
                    yield inner


# --- there and back ---


@pytest.mark.parametrize(
    "topology",
    [
        Topology(),
        Topology(names=True),
        Topology(Host()),
        LAB,
        LAB.with_records(Namespace("third"), Veth("third", "br0")),
        EVERYTHING,
    ],
    ids=["nothing", "names", "host", "lab", "ungrouped", "everything"],
)
def test_a_file_makes_an_equal_topology(lab: Lab, topology: Topology) -> None:
    """What to_toml() writes is what from_file() reads, in the same order."""
    again = lab.load(topology.to_toml())

    assert again == topology
    assert again.records == topology.records
    assert again.layout == topology.layout
    assert again.to_toml() == topology.to_toml()


def test_every_field_is_in_the_test_above() -> None:
    """A new record or field belongs into EVERYTHING, to be written and read."""
    there = list(records_in(EVERYTHING))
    missing = {
        f"{kind.__name__}.{one.name}"
        for kind in (*KINDS.values(), *nested_kinds())
        for one in fields(kind)  # type: ignore[arg-type]  # records are dataclasses
        if all(
            getattr(record, one.name) == default_of(one)
            for record in there
            if type(record) is kind
        )
    }

    assert missing == set()


def nested_kinds() -> set[type[Record]]:
    """Return the records that other records hold."""
    return {
        kind
        for of in NESTED.values()
        for kinds in of.values()
        for kind in kinds.values()
    }


def test_every_record_has_its_array_or_is_nested() -> None:
    """A public record can be written down."""
    public = {getattr(pytest_netns, name) for name in pytest_netns.__all__}
    records = {
        one for one in public if isinstance(one, type) and issubclass(one, Record)
    }

    assert {*KINDS.values(), *nested_kinds()} == records
    # from_file() looks one level deep
    assert {*KINDS.values()} & nested_kinds() == set()


def name_strategy(without: str) -> st.SearchStrategy[str]:
    """Return names that the kernel takes, in all letters and marks that there are."""
    letters = st.characters(exclude_categories=("C", "Z"), exclude_characters=without)
    return st.text(letters, min_size=1, max_size=3).filter(
        lambda name: name not in {".", "..", "lo", "all"}
    )


NAMES = name_strategy("/:#%")
PLAIN_NAMES = name_strategy('/:#%"')
LLADDRS = st.sampled_from(["02:00:00:00:00:01", "fe:00:00:00:00:ff"])
FLAGS = st.booleans()
MTUS = st.none() | st.integers(68, 65535)
NUMBERS = st.none() | st.integers(0, 2**32 - 1)
HOSTS = ["10.0.0.1", "192.0.2.7", "fd00::1", "2001:db8::7"]
SEVERAL_HOSTS = st.lists(st.sampled_from(HOSTS), max_size=3)
ADDRESSES = st.lists(st.sampled_from([f"{host}/32" for host in HOSTS]), max_size=3)
SUBNETS = st.sampled_from([None, "10.0.0.0/8", "fd00::/8", ("10.0.0.0/8", "fd00::/8")])
IPV4 = st.sampled_from([None, "10.0.0.0/8", ["10.0.0.0/8", "192.0.2.0/24"]])
#: What a writer of TOML may get wrong; null bytes are in no record.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.lists(
    st.sampled_from(
        [*"\"'\\#= \t\r\n\x1f\x7f\x85é\u2028\ufeff", "\r\n", '"""', "u0041"]
    )
).map("".join)
ROUTES = st.builds(
    Route,
    st.sampled_from(["default", "10.0.0.0/8", "192.0.2.7/32"]),
    via=st.sampled_from([None, "10.0.0.9"]),
    dev=NAMES.filter(lambda name: name != "default"),
    source=st.sampled_from([None, "10.0.0.1"]),
    metric=NUMBERS,
    table=NUMBERS,
    scope=st.sampled_from([None, "global", "link"]),
)
NAT = st.one_of(
    st.builds(Masquerade, source=SUBNETS, out_interface=st.none() | PLAIN_NAMES),
    st.builds(
        SNAT,
        st.sampled_from(["10.0.0.1", "10.0.0.1:80"]),
        source=IPV4,
        out_interface=st.none() | PLAIN_NAMES,
    ),
    st.builds(
        DNAT,
        st.sampled_from(["10.0.0.1", "10.0.0.1:80"]),
        port=st.integers(1, 65535),
        protocol=st.sampled_from(["tcp", "udp"]),
        destination=IPV4,
        in_interface=st.none() | PLAIN_NAMES,
    ),
)
NAMESPACES = st.builds(
    Namespace,
    NAMES,
    routes=st.lists(ROUTES, max_size=2),
    neighbours=st.lists(
        st.builds(Neighbour, st.sampled_from(HOSTS), LLADDRS, dev=NAMES), max_size=2
    ),
    nat=st.lists(NAT, max_size=3),
    nftables=TEXTS,
    forwarding=FLAGS,
    sysctls=st.dictionaries(
        name_strategy("/:#%.").map("net.ipv4.{}".format),
        TEXTS | st.integers(-(2**63), 2**64 - 1) | FLAGS,
        max_size=2,
    ),
    hosts=st.dictionaries(NAMES, SEVERAL_HOSTS, max_size=2),
    nameservers=SEVERAL_HOSTS,
    hostname=st.none() | NAMES,
)
BRIDGES = st.builds(
    Bridge,
    NAMES,
    namespace=NAMES,
    address=ADDRESSES,
    subnet=SUBNETS,
    stp=FLAGS,
    vlan_filtering=FLAGS,
    mtu=MTUS,
    lladdr=st.none() | LLADDRS,
)
OVS_BRIDGES = st.builds(
    OVSBridge, NAMES, namespace=NAMES, address=ADDRESSES, subnet=SUBNETS
)
ENDPOINTS = NAMES | st.builds("{}:{}".format, NAMES, NAMES)
VETHS = st.builds(
    Veth,
    ENDPOINTS,
    ENDPOINTS,
    address=ADDRESSES,
    peer_address=ADDRESSES,
    subnet=SUBNETS,
    lladdr=st.none() | LLADDRS,
    peer_lladdr=st.none() | LLADDRS,
    mtu=MTUS,
    offload=FLAGS,
)
MACHINES = st.builds(
    Host, NAMES, routes=st.lists(ROUTES, max_size=2), share_connection=FLAGS
)
RECORDS = st.lists(
    st.one_of(NAMESPACES, BRIDGES, OVS_BRIDGES, VETHS, MACHINES), max_size=6
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a file that is written over and over."""
    return tmp_path_factory.mktemp("toml") / "any.toml"


@given(records=RECORDS, names=FLAGS)
def test_any_records_come_back(
    file: Path, records: list[Record], *, names: bool
) -> None:
    """Whatever is in a record is the same after a trip through a file."""

    def make(*records: Record, names: bool) -> tuple[list[Record], bool]:
        return list(records), names

    file.write_bytes(write(records, names=names).encode())

    assert read(file, make) == (records, names)


@pytest.mark.parametrize(
    "text",
    [
        RULESET,
        RULESET.rstrip(),
        "one\r\ntwo\r\n",
        "one\ntwo\r\n",
        "\n\nafter empty lines",
        "\r",
        'ends with """',
        "ends with \\",
        "line ends with \\\nand goes on",
        "\tindented\n\tby tabs ",
        "[[namespace]]\n[[host]]\n",
    ],
)
def test_a_ruleset_is_kept_to_the_byte(lab: Lab, text: str) -> None:
    """Quotes, backslashes, tabs, ends of lines, and no end of the last line."""
    (namespace,) = lab.load(Topology(Namespace("a", nftables=text)).to_toml())

    assert isinstance(namespace, Namespace)
    assert namespace.nftables == text


# --- what a file looks like ---


def test_the_text_is_for_people() -> None:
    """A table a record, without defaults, and one address as a string."""
    assert LAB.to_toml() == LAB_AS_TEXT


def test_the_lines_of_a_ruleset_are_lines() -> None:
    """A ruleset is not squeezed into one line."""
    text = Topology(
        Namespace("a", nftables="table ip t {\n\tchain c { }\n}\n")
    ).to_toml()

    assert text == textwrap.dedent(
        '''\
        [[namespace]]
        name = "a"
        nftables = """
        table ip t {
        \tchain c { }
        }
        """
        '''
    )


def test_rules_of_nat_say_their_kind() -> None:
    """One array holds rules of all kinds, in their order."""
    rules: list[Masquerade | DNAT] = [
        Masquerade(out_interface="lo"),
        DNAT("10.0.0.2:8080", port=80),
    ]

    assert Topology(Namespace("gw", nat=rules)).to_toml() == textwrap.dedent(
        """\
        [[namespace]]
        name = "gw"
        nat = [
            { kind = "masquerade", out_interface = "lo" },
            { kind = "dnat", to = "10.0.0.2:8080", port = 80 },
        ]
        """
    )


def test_the_example_of_the_readme_is_the_lab(lab: Lab) -> None:
    """A network of two machines and a switch takes ten lines at most."""
    (example,) = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)

    assert lab.load(example) == LAB
    assert len(example.splitlines()) <= 10


@pytest.mark.parametrize(
    "text",
    [
        'namespace = [{name = "a", forwarding = true, sysctls = {"net.x.y" = 1}}]',
        '[[namespace]]\nname = "a"\nforwarding = true\nsysctls."net.x.y" = "1"',
        '[[namespace]]\nname = "a"\nforwarding = true\nsysctls.net.x.y = 1',
        '[namespace]\nname = "a"\nforwarding = true\n[namespace.sysctls]\nnet.x.y = 1',
        'namespace = {name = "a", forwarding = true, sysctls.net = {x.y = true}}',
    ],
)
def test_one_record_in_many_ways(lab: Lab, text: str) -> None:
    """All that TOML has for a table will do, and dots need no quotes."""
    assert lab.load(text) == Topology(
        Namespace("a", forwarding=True, sysctls={"net.x.y": 1})
    )


def test_one_nested_record_needs_no_array(lab: Lab) -> None:
    """As one address needs none."""
    text = 'namespace = {name = "a", routes = {destination = "default", dev = "lo"}}'

    assert lab.load(text) == Topology(
        Namespace("a", routes=[Route("default", dev="lo")])
    )


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path_is_a_str_or_a_path(
    lab: Lab, as_path: Callable[[object], str | Path]
) -> None:
    """Either will do, absolute or relative to the current directory."""
    lab.load(LAB_AS_TEXT)

    assert Topology.from_file(as_path("lab.toml")) == LAB
    assert Topology.from_file(as_path(lab.path.absolute())) == LAB


# --- order ---


def test_arrays_come_in_the_order_of_the_file(lab: Lab) -> None:
    """The order of records gives out names and addresses, so it is the reader's."""
    topology = lab.load(
        """
        veth = [{a = "a", b = "b"}]
        namespace = [{name = "b"}, {name = "a"}]
        """
    )

    assert topology == Topology(Veth("a", "b"), Namespace("b"), Namespace("a"))
    assert "order" not in topology.to_toml()


def test_order_says_which_array_is_next(lab: Lab) -> None:
    """It is written where records of a kind do not stand together."""
    topology = Topology(
        Namespace("a"), Namespace("b"), Veth("a", "b"), Namespace("c"), Veth("c", "a")
    )
    order = 'order = ["namespace", "namespace", "veth", "namespace", "veth"]\n\n'

    assert topology.to_toml().startswith(order)
    assert lab.load(topology.to_toml()) == topology
    assert lab.load(
        f"""
        {order}
        veth = [{{a = "a", b = "b"}}, {{a = "c", b = "a"}}]
        namespace = [{{name = "a"}}, {{name = "b"}}, {{name = "c"}}]
        """
    ) == (topology)


TWO_OF_TWO = """
namespace = [{name = "a"}, {name = "b"}]
veth = [{a = "a", b = "b"}, {a = "b", b = "a"}]
"""


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ('["namespace", "namespace", "veth"]', ": veth 2 ('b' - 'a') is left out"),
        ("[]", ": namespace 1 ('a') is left out"),
        (
            '["veth", "veth", "veth", "namespace", "namespace"]',
            ", entry 3: 'veth' has no more than 2",
        ),
        (
            '["namespace", "veht"]',
            ", entry 2: unknown array 'veht' in the file; known: 'namespace', 'veth' (",
        ),
        ('["bridge"]', ", entry 1: unknown array 'bridge' in the file; known: "),
        ("[1]", ", entry 1: unknown array '1' in the file; known: "),
        ("[[]]", ", entry 1: unknown array '[]' in the file; known: "),
        ('"veth"', ": 'veth' is not an array of names of arrays"),
    ],
)
def test_order_names_each_record_once(lab: Lab, order: str, message: str) -> None:
    """Neither too few nor too many, and nothing that is not there."""
    error = lab.error(f"order = {order}{TWO_OF_TWO}")

    assert str(error).startswith(f"lab.toml: key 'order'{message}")


# --- names ---


def test_names_are_part_of_the_value(lab: Lab) -> None:
    """Equality, hash, repr, copies and files tell whether there are names."""
    plain, named = Topology(Namespace("a")), Topology(Namespace("a"), names=True)

    assert (plain.names, named.names) == (False, True)
    assert plain != named
    assert hash(plain) != hash(named)
    assert repr(plain) == "Topology(Namespace('a'))"
    assert repr(named) == "Topology(Namespace('a'), names=True)"
    assert repr(Topology(names=True)) == "Topology(names=True)"
    assert named.to_toml() == 'names = true\n\n[[namespace]]\nname = "a"\n'
    for one in (plain, named):
        assert eval(repr(one)) == one  # noqa: S307  # our own repr
        assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301  # our own
        assert copy.copy(one) == copy.deepcopy(one) == one
        assert lab.load(one.to_toml()) == one
    assert lab.load("names = false") == Topology()


def test_names_stay_when_topologies_grow() -> None:
    """A part that asks for names is enough."""
    plain, named = Topology(Namespace("a")), Topology(Namespace("b"), names=True)

    assert named.with_records(Namespace("c")).names
    assert not plain.with_records(Namespace("c")).names
    assert (plain + named).names
    assert (named + plain).names
    assert not (plain + Topology()).names
    assert join((plain, Veth("a", "b"), named)).names
    assert join((named,)).names
    assert not join((plain, Namespace("c"))).names
    with pytest.raises(AttributeError, match="a Topology does not change"):
        plain.names = True


@pytest.mark.parametrize("names", [1, "yes", None])
def test_names_are_there_or_not(names: Any) -> None:
    """A word such as "no" is not taken for true."""
    with pytest.raises(TopologyError, match=f"names={names!r} is neither True nor"):
        Topology(names=names)


# --- imports ---


def test_the_writer_is_imported_by_who_writes() -> None:
    """Neither topologies nor their reader pay for it."""
    program = """
import os, sys
from pytest_netns import Topology
print("pytest_netns._toml" in sys.modules)
Topology.from_file(os.devnull)
print("tomli_w" in sys.modules)
Topology().to_toml()
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == ["False", "False"]
    assert Topology.from_file(os.devnull) == Topology()
