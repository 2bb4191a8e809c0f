"""The program pytest-netns: networks from files, without a test."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .namespace import NetworkNamespace
    from .network import Network
    from .topology import Topology

_EXAMPLES = """\
examples:
  pytest-netns up lab.toml                  build a network; Ctrl-C takes it down
  pytest-netns exec lab.toml left -- ping -c1 right
  pytest-netns shell lab.toml left
  pytest-netns draw lab.toml --format svg > lab.svg
  pytest-netns doctor

A file has tables [[namespace]], [[bridge]], [[veth]] and so on, one for each record,
whose keys are the record's fields. The exit code is 2 for a mistake in the command
line or the file, 1 if this machine cannot do it, otherwise the command's own.
"""
#: What shells return for programs that they cannot run, and that are not there.
_CANNOT_RUN, _NOT_FOUND = 126, 127
_NAMES = "/run/netns"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    for stream in (sys.stdout, sys.stderr):
        # for want of a character no picture is to fail
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        return _run(options)
    except KeyboardInterrupt:
        return _exit_code(-signal.SIGINT)
    except BrokenPipeError:
        # our reader has seen enough; what Python has kept for it is not to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _exit_code(-signal.SIGPIPE)


def _run(options: argparse.Namespace) -> int:
    from ._foreground import Ended
    from .errors import NetnsError, TopologyError

    try:
        code: int = options.function(options)
        sys.stdout.flush()
    except TopologyError as error:
        return _complain(error, 2)
    except NetnsError as error:
        return _complain(error, 1)
    except Ended as ended:
        return _exit_code(-ended.number)
    return code


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(error: object, code: int) -> int:
    sys.stderr.write(f"pytest-netns: {error}\n")
    return code


def _exit_code(code: int) -> int:
    """Return a process's exit code as shells do: 128 more than the signal."""
    return code if code >= 0 else 128 - code


# --- the command line ---


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _parser()
    # what follows is the command's own; argparse would look for options there
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.words = words[end + 1 :]
    if options.function is _exec and not options.words:
        parser.error("exec: which command? It stands behind --")
    if options.function is not _exec and options.words:
        parser.error(f"unrecognized arguments: {' '.join(options.words)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-netns",
        description="Networks of network namespaces, described in TOML files.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        function: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            function.__name__.removeprefix("_"),
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            allow_abbrev=False,
        )
        command.set_defaults(function=function)
        return command

    up = add(_up, "build a network and keep it, until Ctrl-C")
    up.add_argument(
        "--no-names", action="store_true", help=f"make no names in {_NAMES}"
    )
    execute = add(_exec, "build a network and run a command in one of its machines")
    execute.usage = "pytest-netns exec [-h] FILE NAMESPACE -- COMMAND..."
    shell = add(_shell, "build a network and open a shell in one of its machines")
    draw = add(_draw, "draw the picture of a network; nothing is built")
    draw.add_argument(
        "--format",
        choices=("text", "mermaid", "dot", "svg"),
        default="text",
        help="%(default)s if not given; svg is drawn by Graphviz",
    )
    for command in (up, execute, shell, draw):
        command.add_argument("file", metavar="FILE", help="the network, in TOML")
    for command in (execute, shell):
        command.add_argument("namespace", metavar="NAMESPACE", help="the machine")
    doctor = add(_doctor, "say what this machine can do, and how to get the rest")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    return parser


class _Version(argparse.Action):
    """Shows the version; to look it up takes longer than all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        _write(f"pytest-netns {version('pytest-netns')}\n")
        parser.exit()


# --- the commands ---


def _up(options: argparse.Namespace) -> int:
    from ._foreground import Ended, ended_by_signals, wait_for_end
    from .manager import build
    from .topology import Topology

    topology = Topology.from_file(options.file)
    _become_able("up")
    names = not options.no_names and (topology.names or _can_name())
    topology = Topology(*topology.records, names=names)
    with (
        ended_by_signals(),
        build(topology) as network,
        contextlib.suppress(Ended),  # after it the network is taken down
    ):
        _write(f"{topology.diagram()}\n\n{_entrances(network)}\n")
        wait_for_end()
    return 0


def _exec(options: argparse.Namespace) -> int:
    from ._foreground import run

    with _machine(options, "exec") as namespace:
        try:
            return _exit_code(run(namespace, options.words))
        except FileNotFoundError:
            return _complain(f"no such program: {options.words[0]}", _NOT_FOUND)
        except OSError as error:
            text = f"cannot run {options.words[0]}: {error.strerror}"
            return _complain(text, _CANNOT_RUN)


def _shell(options: argparse.Namespace) -> int:
    os.environ.pop("PYTEST_XDIST_WORKER", None)  # a worker's child is none
    with _machine(options, "shell") as namespace:
        return _exit_code(namespace.shell())


def _draw(options: argparse.Namespace) -> int:
    from .topology import Topology

    topology = Topology.from_file(options.file)
    if options.format == "text":
        _write(f"{topology.diagram()}\n")
    elif options.format == "mermaid":
        _write(topology.to_mermaid())
    elif options.format == "dot":
        _write(topology.to_dot())
    else:
        _write(_svg(topology))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    report = examine()
    if options.json:
        import json

        _write(f"{json.dumps(report.as_data(), indent=2)}\n")
    else:
        _write(report.as_text())
    return 0 if report.can_build else 1


# --- what they share ---


@contextlib.contextmanager
def _machine(options: argparse.Namespace, command: str) -> Iterator[NetworkNamespace]:
    """Build a network, and give the machine that was asked for."""
    from ._foreground import ended_by_signals
    from .errors import UnknownName
    from .manager import build
    from .topology import Topology

    topology = Topology.from_file(options.file)
    machines = topology.layout.machines
    if options.namespace not in machines:
        raise UnknownName.among(
            options.namespace, machines, what="namespace", where=options.file
        )
    _become_able(command)
    with ended_by_signals(), build(topology) as network:
        yield network[options.namespace]


def _become_able(command: str) -> None:
    """See to it that this process may build networks, as root or in a user namespace.

    Raises:
        PrivilegeError: It may not.
    """
    from .privileges import check_privileges, does_not_work
    from .rootless import go_rootless

    obstacle = go_rootless("auto").obstacle
    check_privileges(
        program=f"pytest-netns {command} FILE",
        rootless=does_not_work(obstacle) if obstacle else None,
    )


def _can_name() -> bool:
    """Tell whether others would see names; not those made in a user namespace."""
    from .privileges import is_in_user_namespace

    if is_in_user_namespace():
        return False
    parent = os.path.dirname(_NAMES)
    return os.access(_NAMES if os.path.isdir(_NAMES) else parent, os.W_OK)


def _entrances(network: Network) -> str:
    """Say how to get into each machine, in lines to copy."""
    width = max((len(namespace.name) for namespace in network), default=0)
    sudo = "sudo " if "SUDO_UID" in os.environ else ""
    lines = [
        f"  {namespace.name:{width}}  {sudo}{_entrance(namespace)}"
        for namespace in network
    ]
    return "\n".join(["From another terminal:", *lines, "Ctrl-C takes it down."])


def _entrance(namespace: NetworkNamespace) -> str:
    """Return a command that opens a shell inside."""
    import shlex

    with contextlib.suppress(OSError):
        for entry in os.scandir(_NAMES):
            if os.path.samefile(entry, namespace.path):
                return f"ip netns exec {shlex.quote(entry.name)} bash"
    return f"{shlex.join(namespace.nsenter())} bash"


def _svg(topology: Topology) -> str:
    """Have Graphviz draw a topology.

    Raises:
        MissingTool: It is not installed.
    """
    import subprocess

    from .errors import MissingTool

    try:
        completed = subprocess.run(
            ["dot", "-Tsvg"],
            input=topology.to_dot(),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
    except FileNotFoundError as error:
        raise MissingTool(
            "program 'dot' is not installed, needed by --format svg; it is in the "
            "package graphviz of Debian, Ubuntu, Fedora and Alpine"
        ) from error
    return completed.stdout
