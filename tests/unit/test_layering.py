"""The layers of CONTRIBUTING.md: what may import what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pytest_netns

PACKAGE = Path(pytest_netns.__file__).parent

LAYERS = (
    {"errors", "_names", "_addresses", "_frozen", "_outputs", "_shown"},
    {
        "_record",
        "entries",
        "nat",
        "records",
        "_layout",
        "_segments",
        "_resolution",
        "_checks",
        "_ruleset",
        "_steps",
        "_ovs_rows",
        "_plan",
        "_blame",
        "_toml",
        "topology",
        "diagram",
        "_graphs",
        "_findings",
        "_hosts",
        "_frame",
        "_tpacket",
        "_seam",
        "_bpf",
        "_filter_words",
        "_pcap",
        "_pcapng",
        "_pairing",
        "_ladder",
        "_ladder_svg",
        "_packet_table",
        "estimates",
        "measurement",
        "throughput",
        "_bench_table",
        "_bench_json",
        "_bench_schema",
        "_bench_paths",
        "_settings",
        "_bench_words",
        "_regression",
        "_regression_table",
    },
    {
        "_syscalls",
        "_nsfile",
        "_obstacles",
        "_procfs",
        "_places",
        "_openings",
        "_codec",
        "_codec_tables",
        "_templates",
        "_netlink",
        "_sysctl",
        "_offload",
        "_libnftables",
        "_nftables",
        "_genetlink",
        "privileges",
        "_userns",
        "_processes",
        "_programs",
        "_locks",
        "_invoker",
        "_directories",
        "_caches",
        "_libpcap",
        "_socket_filter",
        "_ring",
        "_queue",
        "_recvmmsg",
    },
    {
        "_declared",
        "_host",
        "_ledger",
        "_namefiles",
        "_sharing",
        "_switches",
        "_snapshot",
        "_threads",
        "_signals",
        "_mounts",
        "_furnishing",
        "rootless",
        "_leftovers",
        "_watcher",
        "_watcher_main",
        "interface",
        "tables",
        "_jsonrpc",
        "_ovsdb",
        "_ovs_place",
        "_ovs_daemons",
        "_ovs_loan",
        "_ovs_pool",
        "openvswitch",
        "_fabric",
        "waiting",
        "command",
        "process",
        "ping",
        "task",
        "shell",
        "_trials",
        "_allowances",
        "_scapy",
        "_packet_socket",
        "_neighbours",
        "_nexthop",
        "_departures",
        "_sending",
        "replay",
        "_pattern_fields",
        "_patterns",
        "_matching",
        "_verdict",
        "_labels",
        "flow",
        "_links",
        "_lens",
        "_listening",
        "_seen",
        "_scene",
        "_spot",
        "_tap",
        "_taps",
        "_blocks",
        "_files",
        "_control",
        "capture",
        "_agent",
        "_agents",
        "_load_main",
        "_load_iperf3",
        "_load_sockets",
        "_load_server",
        "_load_latency",
        "_load_connections",
        "_iperf3",
        "_loads",
        "_rounds",
        "_experiment",
        "_summary",
        "_costs",
        "_pinning",
        "_machine",
        "comparisons",
        "_bench_figures",
        "_bench_page",
        "_bench_store",
        "_page_style",
        "_plot_home",
        "_plot_svg",
        "_plots",
    },
    {
        "builder",
        "_inside",
        "_commands",
        "_sockets",
        "_views",
        "_packets",
        "_captures",
        "_watched",
        "_recording",
        "_artifacts",
        "namespace",
        "_teardown",
        "network",
        "manager",
        "doctor",
        "iperf3_flows",
        "_benchmark",
        "_network_bench",
        "bench",
    },
    {
        "tracebacks",
        "markers",
        "session",
        "termination",
        "fixtures",
        "benchmarking",
        "_bench_notes",
        "_bench_options",
        "_bench_progress",
        "_bench_results",
        "_bench_session",
        "_rootless_options",
        "_sudo",
        "plugin",
        "_foreground",
        "cli",
        "__main__",
    },
)
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}

#: Who imports what is not for everybody.
OWNERS = {
    "pyroute2": {"_codec", "_codec_tables"},
    "ctypes": {
        "_libnftables",
        "_libpcap",
        "_load_iperf3",
        "_recvmmsg",
        "_syscalls",
        "_watcher_main",
    },
    "pytest": {
        "_bench_notes",
        "_bench_options",
        "_bench_progress",
        "_bench_results",
        "_bench_session",
        "_rootless_options",
        "_sudo",
        "benchmarking",
        "fixtures",
        "markers",
        "plugin",
        "session",
        "termination",
        "tracebacks",
    },
    "_pytest": set(),
    "iperf3": {"_load_iperf3"},
    "matplotlib": {"_plots"},
    "scapy": {"_scapy"},
    "tomli": {"_toml"},
    "tomli_w": {"_toml"},
    "tomllib": {"_toml"},
}

#: All that the layers without I/O need of the standard library.
PURE = {
    "__future__",
    "collections",
    "dataclasses",
    "difflib",
    "errno",
    "ipaddress",
    "json",
    "math",
    "random",
    "re",
    "shlex",
    "statistics",
    "struct",
    "textwrap",
    "typing",
}
#: What the module for files has beyond that; `sys` tells which of the two readers.
OF_FILES = {"sys", "tomli", "tomli_w", "tomllib"}
#: What the errors take of modules that could do more.
TAKEN_BY_ERRORS = {"os": {"strerror"}, "subprocess": {"CalledProcessError"}}

every_module = pytest.mark.parametrize("module", sorted(LAYER_OF))


@cache
def tree(module: str) -> ast.Module:
    """Parse a module of the package."""
    return ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))


@cache
def imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return (own, foreign) modules that `module` imports, wherever it does so.

    Imports inside functions and for type checkers count like all others.
    """
    own: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"{module}: the package has no folders"
            own |= (
                {node.module} if node.module else {alias.name for alias in node.names}
            )
        elif isinstance(node, ast.ImportFrom):
            foreign.add(str(node.module).partition(".")[0])
    assert "pytest_netns" not in foreign, (
        f"{module}: imports of the package are relative"
    )
    return frozenset(own), frozenset(foreign)


def test_every_module_has_its_layer() -> None:
    """A new module is put into the table, and into one row only."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}

    assert set(LAYER_OF) == modules
    assert sum(map(len, LAYERS)) == len(LAYER_OF)


def test_the_documented_layers_are_the_real_ones() -> None:
    """The table in CONTRIBUTING.md says where each module is."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) \w+ \| (`[^|]+`) \|", text, re.MULTILINE)

    documented = {int(number): set(re.findall(r"`(\w+)`", row)) for number, row in rows}
    assert documented == dict(enumerate(LAYERS))


@every_module
def test_imports_point_to_the_same_layer_or_down(module: str) -> None:
    """No module knows of those above it."""
    own, _ = imports(module)
    upward = {one for one in own & set(LAYER_OF) if LAYER_OF[one] > LAYER_OF[module]}

    assert upward == set()


def test_imports_go_in_no_circle() -> None:
    """Within a layer, too, there is an order; CycleError would show the circle."""
    order = list(
        TopologicalSorter(
            {module: imports(module)[0] for module in LAYER_OF}
        ).static_order()
    )

    assert set(order) >= set(LAYER_OF)


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_a_package_is_imported_by_its_owners_alone(package: str) -> None:
    """And each owner does import it, so that the table stays true."""
    importers = {module for module in LAYER_OF if package in imports(module)[1]}

    assert importers == OWNERS[package]


def test_nothing_else_comes_from_outside() -> None:
    """Apart from the owned packages there is the standard library, and types."""
    foreign = {package for module in LAYER_OF for package in imports(module)[1]}
    for_types = {
        package
        for module in LAYER_OF
        for block in ast.walk(tree(module))
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        if (package := node.module) == "typing_extensions"
    }

    assert foreign - set(OWNERS) - for_types <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", sorted(LAYERS[0] | LAYERS[1]))
def test_the_lower_layers_import_nothing_that_does_io(module: str) -> None:
    """Declarations are data: neither files, nor sockets, nor processes, nor time."""
    _, foreign = imports(module)
    more = {"errors": set(TAKEN_BY_ERRORS), "_toml": OF_FILES}
    allowed = PURE | more.get(module, set())

    assert foreign - allowed == set()


@pytest.mark.parametrize("module", sorted(LAYERS[0] | LAYERS[1]))
def test_the_lower_layers_call_nothing_that_does_io(module: str) -> None:
    """Builtins can do I/O as well; the module for files opens them, to read."""
    nodes = list(ast.walk(tree(module)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    used = names & {"open", "print", "input", "exec", "eval", "__import__"}
    opened = [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open"
    ]

    assert used == ({"open"} if module == "_toml" else set())
    assert opened == (["open(path, 'rb')"] if module == "_toml" else [])


def test_the_module_for_files_takes_the_version_of_python_alone() -> None:
    """Sys could do more than tell which reader of TOML there is."""
    taken = {
        ast.unparse(node)
        for node in ast.walk(tree("_toml"))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sys"
    }

    assert taken == {"sys.version_info"}


def test_the_errors_take_names_of_errors_alone() -> None:
    """Os and subprocess serve for texts and base classes there."""
    taken: dict[str, set[str]] = {package: set() for package in TAKEN_BY_ERRORS}
    for node in ast.walk(tree("errors")):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in taken:
                taken[node.value.id].add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in TAKEN_BY_ERRORS

    assert taken == TAKEN_BY_ERRORS


def test_the_watchers_program_stands_alone() -> None:
    """It outlives pytest, and starts without the package."""
    own, foreign = imports("_watcher_main")

    assert own == set()
    assert foreign <= set(sys.stdlib_module_names)


def test_the_package_itself_names_homes_only() -> None:
    """__init__.py runs no import of the package."""
    body = tree("__init__").body

    imported = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {ast.unparse(node) for node in imported} == {
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
    }


def test_pytest_starts_without_the_layers_that_build_networks() -> None:
    """What pytest imports at start-up is the files of its own layer."""
    program = """
import sys
import pytest
before = set(sys.modules)
import pytest_netns.plugin
print(*sorted(set(sys.modules) - before))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    assert loaded >= {"pytest_netns", "pytest_netns.plugin"}
    assert {name for name in loaded if name.startswith("pytest_netns.")} <= {
        f"pytest_netns.{module}" for module in LAYERS[5]
    }
    heavy = {
        "asyncio",
        "ctypes",
        "ipaddress",
        "iperf3",
        "matplotlib",
        "pyroute2",
        "scapy",
        "subprocess",
        "tomli_w",
    }
    assert loaded & heavy == set()
