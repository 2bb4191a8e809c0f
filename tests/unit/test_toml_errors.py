"""Errors of files: each names the file, the table, and the key if one is to blame."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import (
    DNAT,
    SNAT,
    DuplicateName,
    InvalidAddress,
    InvalidName,
    Masquerade,
    Topology,
    TopologyError,
    UnknownName,
)
from pytest_netns._blame import required_by
from pytest_netns._toml import KINDS, NESTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns._record import Record

    ErrorOf = Callable[[str | bytes], TopologyError]

FILE = Path("lab.toml")


@pytest.fixture
def error_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ErrorOf:
    """Give a function that writes a file and returns what is wrong with it."""
    monkeypatch.chdir(tmp_path)

    def error_of(text: str | bytes) -> TopologyError:
        FILE.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(TopologyError) as caught:
            Topology.from_file("lab.toml")
        return caught.value

    return error_of


BASE = """
bridge = [{name = "br0"}]
namespace = [{name = "left"}, {name = "right"}]
"""


def in_namespace(text: str) -> str:
    """Return a file in which one namespace has more keys."""
    return f"""
    namespace = [{{name = "left"}}, {{name = "gw", {text}}}]
    veth = [{{a = "gw:eth0", b = "left:eth0", address = "10.0.0.1/24"}}]
    """


#: text, class of the error, place, part of the message
ERRORS: dict[str, tuple[str, type[TopologyError], str, str]] = {
    # keys and types
    "unknown array": (
        "namespaces = []",
        TopologyError,
        "key 'namespaces'",
        "'host', 'names', 'namespace', 'order', 'ovsbridge', 'veth' (did you mean 'n",
    ),
    "unknown key": (
        'veth = [{a = "a", b = "b", offlod = false}]',
        TopologyError,
        "veth 1 ('a' - 'b'), key 'offlod'",
        "known: 'a', 'address', 'b', ",
    ),
    "unknown key: nearest": (
        'veth = [{a = "a", b = "b", offlod = false}]',
        TopologyError,
        "veth 1 ('a' - 'b'), key 'offlod'",
        "(did you mean 'offload'?)",
    ),
    "unknown key in a route": (
        in_namespace('routes = [{destination = "default", gateway = "10.0.0.2"}]'),
        TopologyError,
        "namespace 2 ('gw'), routes 1 ('default'), key 'gateway'",
        "unknown key 'gateway'",
    ),
    "array below a header": (
        '[[namespace]]\nname = "a"\nveth = [{a = "a", b = "a"}]',
        TopologyError,
        "namespace 1 ('a'), key 'veth'",
        "at the top of the file it stands above the first [[table]]",
    ),
    "missing key": (
        'veth = [{a = "a"}]',
        TopologyError,
        "veth 1",
        "key 'b' is missing",
    ),
    "missing key in a neighbour": (
        in_namespace('neighbours = [{address = "10.0.0.2", dev = "eth0"}]'),
        TopologyError,
        "namespace 2 ('gw'), neighbours 1",
        "key 'lladdr' is missing",
    ),
    "no kind": (
        in_namespace('nat = [{to = "10.0.0.2"}]'),
        TopologyError,
        "namespace 2 ('gw'), nat 1",
        "key 'kind' is missing; it is one of 'masquerade', 'snat', 'dnat'",
    ),
    "unknown kind": (
        in_namespace('nat = [{kind = "dnta", to = "10.0.0.2"}]'),
        TopologyError,
        "namespace 2 ('gw'), nat 1, key 'kind'",
        "known: 'dnat', 'masquerade', 'snat' (did you mean 'dnat'?)",
    ),
    "no table": (
        'namespace = ["left"]',
        TopologyError,
        "key 'namespace'",
        "['left'] is neither a table nor an array of tables",
    ),
    "no table for a route": (
        in_namespace('routes = "default"'),
        TopologyError,
        "namespace 2 ('gw'), key 'routes'",
        "'default' is neither a table nor an array of tables",
    ),
    "list for a str": (
        'namespace = [{name = ["left"]}]',
        InvalidName,
        "namespace 1 (['left']), key 'name'",
        "is of type list, not str",
    ),
    "number for a str": (
        in_namespace("hostname = 3"),
        InvalidName,
        "namespace 2 ('gw'), key 'hostname'",
        "is of type int, not str",
    ),
    "number for a ruleset": (
        in_namespace("nftables = 3"),
        TopologyError,
        "namespace 2 ('gw'), key 'nftables'",
        "3 is not a str",
    ),
    "number for an endpoint": (
        'veth = [{a = "a", b = 5}]',
        InvalidName,
        "veth 1 ('a' - 5), key 'b'",
        "endpoint 5 is not a str",
    ),
    "number for an address": (
        'veth = [{a = "a", b = "b", address = 10}]',
        InvalidAddress,
        "veth 1 ('a' - 'b'), key 'address'",
        "10 is not an address",
    ),
    "date for an address": (
        'veth = [{a = "a", b = "b", address = 2001-12-01}]',
        InvalidAddress,
        "veth 1 ('a' - 'b'), key 'address'",
        "is not an address with a prefix",
    ),
    "table for an address": (
        'veth = [{a = "a", b = "b", address = {x = 1}}]',
        InvalidAddress,
        "veth 1 ('a' - 'b'), key 'address'",
        "is not a str or a sequence of them",
    ),
    "float for a number": (
        'bridge = [{name = "br0", mtu = 1400.0}]',
        TopologyError,
        "bridge 1 ('br0'), key 'mtu'",
        "1400.0 is not a number from 68 to 65535",
    ),
    "number for a flag": (
        'bridge = [{name = "br0", mtu = 1400, stp = 1}]',
        TopologyError,
        "bridge 1 ('br0'), key 'stp'",
        "stp=1 is neither True nor False",
    ),
    "str for a table": (
        in_namespace('sysctls = "net.x"'),
        TopologyError,
        "namespace 2 ('gw'), key 'sysctls'",
        "'net.x' is not a mapping",
    ),
    "list for a sysctl": (
        in_namespace("sysctls = {net.ipv4.ping_group_range = [0, 1]}"),
        TopologyError,
        "namespace 2 ('gw'), key 'sysctls'",
        "sysctls['net.ipv4.ping_group_range']: [0, 1] is neither text nor a number",
    ),
    "sysctl in two ways": (
        in_namespace('sysctls = {"net.x" = {y = 1}, net = {"x.y" = 2}}'),
        TopologyError,
        "namespace 2 ('gw'), key 'sysctls'",
        "'net.x.y' is there twice",
    ),
    "names": (
        "names = 1",
        TopologyError,
        "key 'names'",
        "1 is neither true nor false",
    ),
    # what a record knows by itself
    "empty name": (
        'namespace = [{name = ""}]',
        InvalidName,
        "namespace 1 (''), key 'name'",
        "namespace name is empty",
    ),
    "long name": (
        'bridge = [{name = "br0"}, {name = "a-much-too-long-name", mtu = 1400}]',
        InvalidName,
        "bridge 2 ('a-much-too-long-name'), key 'name'",
        "the limit of an interface name is 15",
    ),
    "interface": (
        'veth = [{b = "a:x:y", a = "b", mtu = 1400}]',
        InvalidName,
        "veth 1 ('b' - 'a:x:y'), key 'b'",
        "'x:y' contains ':'",
    ),
    "both ends": (
        'veth = [{b = "a b", a = "a b", mtu = 1400}]',
        InvalidName,
        "veth 1 ('a b' - 'a b')",
        "contains ' '",
    ),
    "host bits": (
        'veth = [{a = "a", b = "b", peer_address = ["10.0.0.1/24", "10.0.0.0/24"]}]',
        InvalidAddress,
        "veth 1 ('a' - 'b'), key 'peer_address'",
        "host bits are missing in '10.0.0.0/24'",
    ),
    "the first of two": (
        'veth = [{a = "a", b = "b", lladdr = "x", peer_lladdr = "y"}]',
        InvalidAddress,
        "veth 1 ('a' - 'b'), key 'lladdr'",
        "'x' is not a MAC address",
    ),
    "destination": (
        in_namespace('routes = [{dev = "eth0", destination = "10.0.0.1/24"}]'),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('10.0.0.1/24'), key 'destination'",
        "it has host bits set; the network is '10.0.0.0/24'",
    ),
    "metric": (
        in_namespace('routes = [{destination = "default", dev = "lo", metric = -1}]'),
        TopologyError,
        "namespace 2 ('gw'), routes 1 ('default'), key 'metric'",
        "-1 is not a 32-bit number",
    ),
    "neither gateway nor interface": (
        in_namespace('routes = [{destination = "default", metric = 1}]'),
        TopologyError,
        "namespace 2 ('gw'), routes 1 ('default')",
        "needs a gateway (via=) or an interface (dev=)",
    ),
    "two families": (
        in_namespace('routes = [{destination = "10.1.0.0/16", via = "fd00::1"}]'),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('10.1.0.0/16')",
        "mixes IPv4 and IPv6",
    ),
    "lladdr of a neighbour": (
        in_namespace(
            'neighbours = [{address = "10.0.0.2", lladdr = "10.0.0.2", dev = "eth0"}]'
        ),
        InvalidAddress,
        "namespace 2 ('gw'), neighbours 1 ('10.0.0.2' - '10.0.0.2'), key 'lladdr'",
        "is not a MAC address",
    ),
    "target": (
        in_namespace('nat = [{kind = "dnat", to = "10.0.0.2:99999", port = 80}]'),
        InvalidAddress,
        "namespace 2 ('gw'), nat 1 ('10.0.0.2:99999'), key 'to'",
        "'99999' is not a port",
    ),
    "port": (
        in_namespace(
            'nat = [{kind = "masquerade"}, {kind = "dnat", to = "10.0.0.2", port = 0}]'
        ),
        TopologyError,
        "namespace 2 ('gw'), nat 2 ('10.0.0.2'), key 'port'",
        "0 is not a number from 1 to 65535",
    ),
    "name of a host": (
        in_namespace('hosts = {"a b" = "10.0.0.2"}'),
        InvalidName,
        "namespace 2 ('gw'), key 'hosts'",
        "'a b' contains ' '",
    ),
    "address without a namespace": (
        'bridge = [{name = "br0", mtu = 1400, address = "10.0.0.1/24"}]',
        TopologyError,
        "bridge 1 ('br0'), key 'address'",
        "has an address but no namespace",
    ),
    "name of the host": (
        'host = [{name = "a b"}]',
        InvalidName,
        "host 1 ('a b'), key 'name'",
        "contains ' '",
    ),
    # what is wrong in the whole
    "unknown end": (
        BASE + 'veth = [{a = "left", b = "br0"}, {a = "left:eth0", b = "br1"}]',
        UnknownName,
        "veth 2 ('left:eth0' - 'br1'), key 'b'",
        "Veth('left:eth0', 'br1'); known: 'br0', 'left', 'right' (did you mean 'br0'?)",
    ),
    "unknown end with a name": (
        BASE + 'veth = [{a = "br1:left", b = "left:br1", mtu = 1400}]',
        UnknownName,
        "veth 1 ('br1:left' - 'left:br1'), key 'a'",
        "unknown namespace or bridge 'br1'",
    ),
    "unknown ends": (
        BASE + 'veth = [{a = "x", b = "x"}]',
        UnknownName,
        "veth 1 ('x' - 'x')",
        "unknown namespace or bridge 'x'",
    ),
    "unknown namespace": (
        'bridge = [{name = "br0", namespace = "gw", subnet = "10.0.0.0/24"}]',
        UnknownName,
        "bridge 1 ('br0'), key 'namespace'",
        "unknown namespace or bridge 'gw'",
    ),
    "unknown interface": (
        in_namespace('routes = [{destination = "10.1.0.0/16", dev = "eth7"}]'),
        UnknownName,
        "namespace 2 ('gw'), routes 1 ('10.1.0.0/16'), key 'dev'",
        (
            "unknown interface 'eth7' in Route('10.1.0.0/16', dev='eth7') of namespace "
            "'gw'; known: 'eth0'"
        ),
    ),
    "unknown interface of a rule": (
        in_namespace('nat = [{kind = "masquerade", out_interface = "eth7"}]'),
        UnknownName,
        "namespace 2 ('gw'), nat 1, key 'out_interface'",
        "unknown interface 'eth7'",
    ),
    "unknown interface of a neighbour": (
        in_namespace(
            'neighbours = {address = "10.0.0.2", lladdr = "02:00:00:00:00:01", '
            'dev = "eth7"}'
        ),
        UnknownName,
        (
            "namespace 2 ('gw'), neighbours 1 ('10.0.0.2' - '02:00:00:00:00:01'), "
            "key 'dev'"
        ),
        "unknown interface 'eth7'",
    ),
    "one name, two namespaces": (
        'namespace = [{name = "a"}, {name = "b"}, {name = "a", forwarding = true}]',
        DuplicateName,
        "namespace 1 ('a'), key 'name' and namespace 3 ('a'), key 'name'",
        "two records are named 'a'",
    ),
    "one name, two kinds": (
        'namespace = [{name = "a"}]\novsbridge = [{name = "a"}]',
        DuplicateName,
        "namespace 1 ('a'), key 'name' and ovsbridge 1 ('a'), key 'name'",
        "two records are named 'a'",
    ),
    "two hosts": (
        'host = [{}, {name = "b"}]',
        DuplicateName,
        "host 1 and host 2 ('b')",
        "two records are for the one namespace that the test runs in",
    ),
    "one interface": (
        BASE + 'veth = [{a = "left:x", b = "br0"}, {a = "right", b = "left:x"}]',
        DuplicateName,
        "veth 1 ('left:x' - 'br0'), key 'a' and veth 2 ('right' - 'left:x'), key 'b'",
        "two links claim interface 'x' of 'left'",
    ),
    "one route": (
        in_namespace(
            'routes = [{destination = "10.1.0.0/16", dev = "eth0"}, '
            '{destination = "10.1.0.0/16", dev = "lo"}]'
        ),
        DuplicateName,
        (
            "namespace 2 ('gw'), routes 1 ('10.1.0.0/16') and namespace 2 ('gw'), "
            "routes 2 ('10.1.0.0/16')"
        ),
        "two records for one thing",
    ),
    "gateway": (
        in_namespace('routes = [{destination = "default", via = "10.9.0.1"}]'),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('default'), key 'via'",
        "gateway 10.9.0.1 is off every connected network; connected: 10.0.0.0/24",
    ),
    "gateway and interface": (
        in_namespace(
            'routes = [{destination = "default", dev = "eth0", via = "10.9.0.1", '
            "metric = 3}]"
        ),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('default'), key 'via'",
        "gateway 10.9.0.1 is off every connected network of 'eth0'",
    ),
    "gateway of the host": (
        'host = [{routes = [{destination = "10.1.0.0/16", via = "10.9.0.1"}]}]',
        InvalidAddress,
        "host 1, routes 1 ('10.1.0.0/16'), key 'via'",
        "gateway 10.9.0.1 is off every connected network",
    ),
    "itself": (
        in_namespace(
            'routes = [{destination = "default", dev = "eth0", via = "10.0.0.1"}]'
        ),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('default'), key 'via'",
        "the gateway is the namespace itself",
    ),
    "source": (
        in_namespace(
            'routes = [{destination = "default", dev = "eth0", source = "10.0.0.3"}]'
        ),
        InvalidAddress,
        "namespace 2 ('gw'), routes 1 ('default'), key 'source'",
        "the source is not an address of the namespace",
    ),
    "address twice": (
        BASE + 'veth = [{a = "left", b = "br0", address = "10.0.0.1/24"}, '
        '{a = "br0", b = "right", peer_address = ["fd00::1/64", "10.0.0.1/16"]}]',
        InvalidAddress,
        (
            "veth 1 ('left' - 'br0'), key 'address' and veth 2 ('br0' - 'right'), "
            "key 'peer_address'"
        ),
        "address 10.0.0.1 is twice on one segment",
    ),
    "address of a port": (
        BASE + 'veth = [{a = "left", b = "br0", peer_address = "10.0.0.1/24"}]',
        InvalidAddress,
        "veth 1 ('left' - 'br0'), key 'peer_address'",
        "gives an address to a port of bridge 'br0'",
    ),
    "address of a port, and more": (
        BASE + 'veth = [{a = "left", b = "br0", peer_address = "10.0.0.1/24"}, '
        '{a = "x", b = "br0"}]',
        InvalidAddress,
        "veth 1 ('left' - 'br0')",
        "gives an address to a port of bridge 'br0'",
    ),
    "subnet of ports": (
        (
            'bridge = [{name = "x"}, {name = "y"}]\n'
            'veth = [{a = "x", b = "y", mtu = 1400, subnet = "10.0.0.0/24"}]'
        ),
        InvalidAddress,
        "veth 1 ('x' - 'y'), key 'subnet'",
        "no end that takes an address",
    ),
    "own subnet used up": (
        BASE + 'veth = [{a = "left", b = "right", subnet = "10.0.0.0/32", mtu = 1400}]',
        InvalidAddress,
        "veth 1 ('left' - 'right'), key 'subnet'",
        "subnet 10.0.0.0/32 has no host address left",
    ),
    "subnet of the switch used up": (
        (
            'bridge = [{name = "br0", subnet = "10.0.0.0/32"}]\n'
            'namespace = [{name = "a"}, {name = "b"}]\n'
            'veth = [{a = "a", b = "br0"}, {a = "b", b = "br0", mtu = 1400}]'
        ),
        InvalidAddress,
        "veth 2 ('b' - 'br0')",
        "subnet 10.0.0.0/32 has no host address left",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_file_table_and_key(error_of: ErrorOf, case: str) -> None:
    """Where one key alone is to blame it is named, otherwise the table."""
    text, kind, place, message = ERRORS[case]

    error = error_of(text)

    assert str(error).startswith(f"lab.toml: {place}: ")
    assert message in str(error)
    assert type(error) is kind


def test_an_error_is_chained_from_that_of_the_record(error_of: ErrorOf) -> None:
    """The record's own traceback is there for whoever wants it."""
    error = error_of('bridge = [{name = "br0", mtu = 1}]')

    cause = error.__cause__
    assert isinstance(cause, TopologyError)
    assert str(error).endswith(str(cause))
    assert str(cause).startswith("Bridge('br0') mtu: 1 ")
    # an error of the file itself has none
    assert error_of("names = 1").__cause__ is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nb = \n", "(at line 2, column 5)"),
        ("[[namespace]]\nname = 'a'\nname = 'b'\n", "(at line 3, column 11)"),
        ('namespace = [\n    {name = "a"},', "(at line 2, column 18)"),
        ("[[namespace]]\nname = 'a", "(at line 2, column 10)"),
    ],
)
def test_a_syntax_error_has_line_and_column(
    error_of: ErrorOf, text: str, where: str
) -> None:
    """An end that comes too early has its line and column, too."""
    error = error_of(text)

    assert str(error).startswith("lab.toml: not TOML: ")
    assert str(error).endswith(where)
    assert type(error) is TopologyError
    assert isinstance(error.__cause__, ValueError)


def test_a_file_is_utf_8(error_of: ErrorOf) -> None:
    """What is not has its line and column."""
    error = error_of('# fine\nx = "é"'.encode("latin-1"))

    assert str(error).startswith("lab.toml: not UTF-8: ")
    assert str(error).endswith("(at line 2, column 6)")


def test_too_deep_is_no_crash(error_of: ErrorOf) -> None:
    """Python's limit of recursion is an error of the file."""
    error = error_of(f"x = {'[' * 100_000}")

    assert str(error).startswith("lab.toml: not TOML: ")


LEAVES = st.one_of(
    st.booleans(),
    st.integers(-1, 70000),
    st.floats(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.text(max_size=3),
    st.sampled_from(["a", "b", "br0", "a:eth0", "10.0.0.1/24", "10.0.0.0/24", "dnat"]),
)
#: All that a file may hold, with keys that mean something.
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["net.a", "to", "kind", "x"]), inner),
    ),
    max_leaves=3,
)


def tables_of(kind: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables of such records, with anything for a value."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # dataclasses
    nested: dict[str, st.SearchStrategy[Any]] = {
        name: st.one_of(
            [st.lists(tables_of(one), max_size=2) for one in kinds.values()]
        )
        for name, kinds in NESTED.get(kind, {}).items()
    }
    if kind in {Masquerade, SNAT, DNAT}:
        nested["kind"] = st.just(kind.__name__.lower())
    values = {name: nested.get(name, LEAVES) | VALUES for name in {*names, *nested}}
    # what must be there mostly is
    likely = {name: st.sampled_from(["a", "b", "br0"]) for name in required_by(kind)}
    return st.fixed_dictionaries({}, optional=values) | st.fixed_dictionaries(
        likely, optional={name: values[name] for name in {*values} - {*likely}}
    )


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "names": LEAVES,
        "order": st.lists(st.sampled_from([*KINDS, 1]), max_size=3) | LEAVES,
        **{
            name: st.lists(tables_of(kind), max_size=2) | VALUES
            for name, kind in KINDS.items()
        },
    },
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a file that is written over and over."""
    return tmp_path_factory.mktemp("toml") / "any.toml"


@given(document=DOCUMENTS)
def test_any_document_is_a_topology_or_an_error_of_the_file(
    file: Path, document: dict[str, Any]
) -> None:
    """Whatever stands in a file, it is the file that is said to be wrong."""
    file.write_text(tomli_w.dumps(document), encoding="utf-8")
    try:
        topology = Topology.from_file(file)
    except TopologyError as error:
        assert str(error).startswith(f"{file}: ")  # noqa: PT017  # it need not be one
        return

    file.write_text(topology.to_toml(), encoding="utf-8")
    assert Topology.from_file(file) == topology


@pytest.mark.parametrize(
    ("path", "why", "cause"),
    [
        ("no/lab.toml", "No such file or directory (ENOENT)", FileNotFoundError),
        (Path("no.toml"), "No such file or directory (ENOENT)", FileNotFoundError),
        (".", "Is a directory (EISDIR)", IsADirectoryError),
        ("a\0b", "embedded null byte", ValueError),
    ],
)
def test_a_file_that_cannot_be_read(
    path: str | Path, why: str, cause: type[Exception]
) -> None:
    """It is named, with the system's reason."""
    with pytest.raises(TopologyError) as caught:
        Topology.from_file(path)

    assert str(caught.value) == f"{path}: cannot read it: {why}"
    assert type(caught.value) is TopologyError
    assert isinstance(caught.value.__cause__, cause)
