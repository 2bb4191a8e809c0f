from __future__ import annotations

import errno
import os
import pickle
import re
import subprocess
from typing import Any

import pytest

from pytest_netns import errors
from pytest_netns.errors import (
    SHOWN_OUTPUT,
    BenchmarkError,
    BenchmarkTimeout,
    CaptureError,
    ClosedError,
    CommandError,
    CommandTimeout,
    DuplicateName,
    InconclusiveError,
    InvalidAddress,
    InvalidFilter,
    InvalidName,
    KernelError,
    MissingFeature,
    MissingProgram,
    MissingTool,
    NamespaceRestoreError,
    NetnsError,
    NoTerminal,
    PrivilegeError,
    ProcessEnded,
    RulesetError,
    SwitchError,
    TeardownError,
    TopologyError,
    UnknownName,
    UnstableBenchmark,
    UnsupportedError,
    WaitTimeout,
)
from pytest_netns.records import Bridge, Veth

EVERY_ERROR = [
    NetnsError("base"),
    TopologyError("wrong"),
    InvalidName("name"),
    DuplicateName("twice"),
    UnknownName.among("lefd", ["left"], what="namespace", where="Veth('lefd', 'b')"),
    InvalidAddress("address"),
    UnsupportedError("cannot"),
    PrivilegeError("not root"),
    MissingFeature.of_kernel("sch_netem", needed_by=Bridge("br0"), remedy="load it"),
    MissingTool("no nft"),
    MissingProgram("no program 'ping'"),
    KernelError(errno.EEXIST, "create veth 'a:eth0'", "a", Veth("a", "b"), "said so"),
    NamespaceRestoreError(errno.EPERM, "bring the thread home"),
    ClosedError("closed"),
    TeardownError(["a thread", "a socket"]),
    CommandError(2, ["ls", "a b"], "out", "err", "left"),
    RulesetError(
        1,
        ["nft", "-f", "-"],
        "",
        "/dev/stdin:2:1-3: Error: syntax error",
        "left",
        ruleset="table ip x {\nfoo\n}",
        line=2,
    ),
    CommandTimeout(["sleep", "9"], 0.5, "out", "err", "left"),
    WaitTimeout("port 80", 5.0, "nobody"),
    ProcessEnded("server", "left", ["server", "-x"], "ended with exit code 1", "oops"),
    SwitchError("make bridge 'OVS-1'", "no such device", Bridge("OVS-1"), "log"),
    NoTerminal("no terminal"),
    InvalidFilter("udp and and", "syntax error"),
    CaptureError("no packet matches"),
    InconclusiveError("3 packets were dropped"),
    BenchmarkError("iperf3: the server is busy"),
    BenchmarkTimeout("latency in namespace 'left' was not done within 5 s"),
    UnstableBenchmark("the samples lie too far apart"),
]
every_error = pytest.mark.parametrize(
    "error", EVERY_ERROR, ids=lambda e: type(e).__name__
)


def all_classes(base: type[NetnsError] = NetnsError) -> list[type[NetnsError]]:
    """List the tree of errors, depth first, in order of definition."""
    return [
        base,
        *(one for child in base.__subclasses__() for one in all_classes(child)),
    ]


def state(error: NetnsError) -> dict[str, Any]:
    """Return all that a handler can look at."""
    names = ("args", "errno", "strerror", "returncode", "cmd", "stdout", "stderr")
    return {
        **vars(error),
        **{name: getattr(error, name) for name in names if hasattr(error, name)},
    }


def test_every_error_is_tried_here() -> None:
    """A new error comes with an example above."""
    assert {type(error) for error in EVERY_ERROR} == set(all_classes())


@every_error
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_the_way_to_another_process(
    error: NetnsError, protocol: int
) -> None:
    """Kind, message and every attribute are what they were, as xdist needs."""
    copied = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # our own

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert state(copied) == state(error)


def test_notes_travel_with_an_error() -> None:
    """What was added to an error on its way (PEP 678) is kept."""
    error = KernelError(errno.EPERM, "do it")
    error.__notes__ = ["in fixture 'lan'"]  # type: ignore[attr-defined]

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own

    assert copied.__notes__ == ["in fixture 'lan'"]


@every_error
def test_an_error_has_a_message(error: NetnsError) -> None:
    """No message is empty or shows a tuple."""
    assert str(error)
    assert not str(error).startswith("(")


@every_error
def test_an_error_can_leave_a_context_manager(error: NetnsError) -> None:
    """Context managers set the traceback of what passes through them."""
    with pytest.raises(type(error)) as caught:
        raise error.with_traceback(None)

    assert caught.value is error


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (TopologyError, (ValueError,)),
        (InvalidName, (TopologyError, ValueError)),
        (DuplicateName, (TopologyError,)),
        (UnknownName, (TopologyError,)),
        (InvalidAddress, (TopologyError,)),
        (PrivilegeError, (UnsupportedError,)),
        (MissingFeature, (UnsupportedError,)),
        (MissingTool, (UnsupportedError,)),
        (MissingProgram, (MissingTool, FileNotFoundError)),
        (KernelError, (OSError,)),
        (NamespaceRestoreError, (KernelError,)),
        (CommandError, (subprocess.CalledProcessError,)),
        (CommandTimeout, (TimeoutError,)),
        (WaitTimeout, (TimeoutError,)),
    ],
)
def test_an_error_is_caught_as_the_builtin_it_is(
    kind: type[NetnsError], bases: tuple[type[Exception], ...]
) -> None:
    """Code that knows nothing of this package catches what it knows."""
    assert issubclass(kind, (NetnsError,))
    assert all(issubclass(kind, base) for base in bases)


def test_a_wrong_declaration_is_no_lack_of_the_machine() -> None:
    """Only what the machine cannot do is skipped."""
    skipped = {kind for kind in all_classes() if issubclass(kind, UnsupportedError)}

    assert skipped == {
        UnsupportedError,
        PrivilegeError,
        MissingFeature,
        MissingTool,
        MissingProgram,
    }


def documented_tree() -> list[tuple[int, str, str | None]]:
    """Read (depth, name, builtin base) of each line of the docstring's tree."""
    rows = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(
            r"    ([│ ]*)((?:├── |└── )?)(\w+)(?: \((\w+)\))?(?: .*)?$", line
        )
        if match:
            depth = len(match[1]) // 4 + bool(match[2])
            rows.append((depth, match[3], match[4]))
    return rows


def real_tree(
    kind: type[NetnsError] = NetnsError, depth: int = 0
) -> list[tuple[int, str, str | None]]:
    """List the same of the classes."""
    foreign = [base for base in kind.__bases__ if not issubclass(base, NetnsError)]
    builtin = foreign[0].__name__ if depth and foreign else None
    rows = [(depth, kind.__name__, builtin)]
    for child in kind.__subclasses__():
        rows += real_tree(child, depth + 1)
    return rows


def test_the_documented_tree_is_the_real_one() -> None:
    """The docstring of errors.py shows every error, in order, with its builtin."""
    assert documented_tree() == real_tree()


def test_no_error_hides_a_builtin() -> None:
    """``except TimeoutError`` means the builtin one, whatever was imported."""
    import builtins

    assert not [kind for kind in all_classes() if hasattr(builtins, kind.__name__)]


def test_a_kernel_error_says_all_that_is_known() -> None:
    """Verb, object, namespace, errno name, the kernel's own words, and the record."""
    error = KernelError(
        errno.EEXIST, "create veth 'a:eth0'", "a", Veth("a:eth0", "b"), "name in use"
    )

    assert str(error) == (
        "cannot create veth 'a:eth0' in namespace 'a': File exists (EEXIST); "
        "the kernel says: name in use\n  declared by Veth('a:eth0', 'b')"
    )
    assert error.errno == errno.EEXIST
    assert error.strerror == os.strerror(errno.EEXIST)


def test_a_kernel_error_says_no_more_than_is_known() -> None:
    """Without namespace, record and detail there is no word of them."""
    assert str(KernelError(errno.EPERM, "do it")) == (
        "cannot do it: Operation not permitted (EPERM)"
    )


def test_a_kernel_error_with_an_unknown_number_shows_it() -> None:
    """Some errors of the kernel have no name here."""
    assert "(524)" in str(KernelError(524, "do it"))


def test_a_timeout_has_no_errno() -> None:
    """A command is not taken for the number of an error."""
    assert CommandTimeout(["sleep", "9"], 1.0).errno is None
    assert WaitTimeout("a port", 1.0).errno is None


def test_an_unknown_name_is_shown_with_the_nearest() -> None:
    """Known names are sorted."""
    error = UnknownName.among("lefd", ["right", "left"], what="namespace", where="here")

    assert str(error) == (
        "unknown namespace 'lefd' in here; "
        "known: 'left', 'right' (did you mean 'left'?)"
    )


def test_a_missing_feature_names_the_record_and_the_remedy() -> None:
    """What, which record needs it, how to get it."""
    error = MissingFeature.of_kernel(
        "VLANs", needed_by=Bridge("br0"), remedy="load 8021q"
    )

    assert str(error) == "the kernel lacks VLANs, needed by Bridge('br0'); load 8021q"


def test_leftovers_are_all_listed() -> None:
    """Every one, not just the first."""
    assert str(TeardownError(["a thread", "a socket"])) == (
        "left behind by the test:\n  - a thread\n  - a socket"
    )


def test_a_failed_command_shows_both_outputs() -> None:
    """Indented below the command, as one types it, and its exit code."""
    error = CommandError(2, ["ls", "a b"], "one\ntwo\n", "no such file\n", "left")

    assert str(error) == (
        "command \"ls 'a b'\" failed with exit code 2 in namespace 'left'\n"
        "  standard output:\n    one\n    two\n"
        "  standard error:\n    no such file"
    )
    assert error.cmd == ["ls", "a b"]


def test_a_killed_command_names_its_signal() -> None:
    """Negative exit codes are signals, and no output is called none."""
    assert str(CommandError(-9, ["cat"], namespace="left")) == (
        "command 'cat' was killed by signal 9 in namespace 'left'\n"
        "  standard output: none\n  standard error: none"
    )


def test_a_command_timeout_shows_the_output_so_far() -> None:
    """How long it had, and what it said."""
    error = CommandTimeout(["sleep", "9"], 0.5, "begun\n", "", "left")

    assert str(error) == (
        "command 'sleep 9' in namespace 'left' "
        "did not end within 0.5 s and was killed\n"
        "  standard output so far:\n    begun\n  standard error so far: none"
    )


def test_a_wait_timeout_says_what_was_last_seen() -> None:
    """If anything was seen."""
    assert str(WaitTimeout("port 80", 5.0, "port 81")) == (
        "waited 5 s for port 80; last seen: port 81"
    )
    assert str(WaitTimeout("port 80", 0.25)) == "waited 0.25 s for port 80"


def test_a_process_that_ended_shows_how_and_its_output() -> None:
    """With the way to allow it."""
    error = ProcessEnded(
        "server", "left", ["srv", "-x"], "ended with exit code 1", "oops\n"
    )

    message = str(error)
    assert "'server' in namespace 'left' ended with exit code 1" in message
    assert "expect_exit=True" in message
    assert message.endswith("  command: srv -x\n  output:\n    oops")


def test_a_switch_error_shows_reason_record_and_log() -> None:
    """It says what failed, why, who asked for it, and what the daemons logged."""
    error = SwitchError(
        "make 'p' a port of bridge 'OVS-1'", "it is busy", Veth("a", "OVS-1"), "line\n"
    )

    assert str(error) == (
        "Open vSwitch cannot make 'p' a port of bridge 'OVS-1': it is busy\n"
        "  declared by Veth('a', 'OVS-1')\n"
        "  log of its daemons:\n    line"
    )
    assert str(SwitchError("start", "too late")) == (
        "Open vSwitch cannot start: too late\n  log of its daemons: none"
    )


def test_a_long_output_is_shown_from_its_end() -> None:
    """The message stays readable, and the attribute has all of it."""
    output = "first\n" + "x" * SHOWN_OUTPUT
    error = CommandError(1, ["cat"], output, "", "left")

    assert "... 6 characters left out ..." in str(error)
    assert "first" not in str(error)
    assert error.stdout == output


def test_an_argument_that_is_no_text_is_shown_nevertheless() -> None:
    """Paths are arguments, too."""
    from pathlib import Path

    assert "'cat /tmp/x'" in str(CommandError(1, ["cat", Path("/tmp/x")]))  # type: ignore[list-item]
