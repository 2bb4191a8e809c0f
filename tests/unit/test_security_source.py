"""What the package must never do, whoever changes it: looked for in its source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import pytest_netns

PACKAGE = Path(pytest_netns.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

#: Runs a shell, runs what a file says, or trusts a name that others can guess.
NEVER = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "shelve.open",
    "tempfile.mktemp",
    "os.tempnam",
    "os.tmpnam",
    "shutil.copy",
    "shutil.move",
    "shutil.rmtree",
}
#: Ways to write to the file system by a name, and who may: in a mount namespace of
#: our own, in /proc and /run, or with descriptors of the directories that it is in.
WRITERS = {
    "open": {
        "_files",  # /dev alone, and descriptors
        "_load_main",  # memory
        "_load_sockets",  # /proc
        "_mounts",  # in a mount namespace of its own
        "_furnishing",  # likewise
        "_trials",  # /proc
        "_userns",  # /proc
        "_procfs",  # /proc
        "rootless",  # /proc
    },
    "os.mkdir": {"_directories", "_furnishing"},
    "os.makedirs": {
        "_mounts",
        "_furnishing",
        "_ovs_place",
        "_plot_home",  # matplotlib's own place
    },
    "os.rename": set[str](),
    "os.replace": {"_files"},
    "os.link": {"_files"},
    "os.symlink": {"_furnishing"},
    "os.chown": {"_invoker"},  # a descriptor
    "os.fchown": set[str](),
    "os.lchown": set[str](),
    "os.chmod": set[str](),
    "os.truncate": set[str](),
}


@cache
def calls(module: str) -> tuple[tuple[str, ast.Call], ...]:
    """Return the calls in a module, with what is called."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return tuple((ast.unparse(node.func), node) for node in found)


def writes(call: ast.Call) -> bool:
    """Tell whether a call of `open` is to write, as far as can be seen."""
    modes = [
        *call.args[1:2],
        *(one.value for one in call.keywords if one.arg == "mode"),
    ]
    return any(
        not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+")
        for mode in modes
    )


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_done_that_must_never_be(module: str) -> None:
    """No shell, no code from files, no name that others can guess."""
    assert {name for name, _ in calls(module)} & NEVER == set()
    for name, call in calls(module):
        shells = [one for one in call.keywords if one.arg == "shell"]
        assert shells == [], f"{name} with a shell"


@pytest.mark.parametrize("module", MODULES)
def test_files_are_written_where_it_was_thought_through(module: str) -> None:
    """Everybody else asks `_files` and `_directories`."""
    for name, call in calls(module):
        if name in WRITERS and (name != "open" or writes(call)):
            assert module in WRITERS[name], f"{name} in {module}"
    methods = {name.rpartition(".")[2] for name, _ in calls(module)}
    assert methods & {"write_text", "write_bytes", "symlink_to", "hardlink_to"} == set()


def test_the_programs_of_our_own_run_isolated() -> None:
    """Neither the environment nor the current directory adds modules to them."""
    starts = [
        ast.unparse(node)
        for module in MODULES
        for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8")))
        if isinstance(node, ast.List) and "sys.executable" in ast.unparse(node)
    ]

    assert len(starts) >= 3
    for start in starts:
        assert start.startswith("[sys.executable, '-I', '-S', "), start


def test_what_is_looked_for_is_found() -> None:
    """The looks themselves see what they are for."""
    (call,) = (
        node
        for node in ast.walk(ast.parse("open(path, 'wb')"))
        if isinstance(node, ast.Call)
    )
    assert writes(call)
    assert "os.replace" in {name for name, _ in calls("_files")}
    assert "os.mkdir" in {name for name, _ in calls("_directories")}
