from __future__ import annotations

import errno
import json
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from pytest_netns import MissingFeature, _programs, doctor
from pytest_netns._findings import Finding, Report, Subject
from pytest_netns._netlink import Refusal
from pytest_netns._trials import _reason

if TYPE_CHECKING:
    from pathlib import Path

VETH = Subject("veth", "Veth", "modprobe veth", required=True)
NETEM = Subject("netem", "impairments", "modprobe sch_netem")


# --- findings ---


def test_a_subject_is_found_or_not() -> None:
    """A remedy is shown only where there is something to get."""
    assert VETH.found("1.0") == Finding(
        "veth", present=True, detail="1.0", needed_for="Veth", required=True
    )
    assert NETEM.lacking("unknown") == Finding(
        "netem",
        present=False,
        detail="unknown",
        needed_for="impairments",
        remedy="modprobe sch_netem",
    )
    assert NETEM.lacking("elsewhere", "PATH=...").remedy == "PATH=..."
    assert NETEM.unknown("not tried").present is None


@pytest.mark.parametrize(
    ("findings", "privileged", "rootless", "can_build", "conclusion"),
    [
        ([VETH.found()], True, False, True, "Networks can be built here."),
        (
            [VETH.found(), NETEM.lacking("no")],
            False,
            True,
            True,
            (
                "Networks can be built here in a user namespace, which pytest and "
                "pytest-netns enter by themselves."
            ),
        ),
        (
            [VETH.lacking("no")],
            True,
            True,
            False,
            "Networks cannot be built here: no veth.",
        ),
        (
            [VETH.unknown("not tried")],
            False,
            False,
            False,
            "Networks cannot be built here: no privileges, no user namespaces.",
        ),
    ],
    ids=["privileged", "rootless", "no veth", "neither"],
)
def test_what_follows(
    findings: list[Finding],
    conclusion: str,
    *,
    privileged: bool,
    rootless: bool,
    can_build: bool,
) -> None:
    """What is required decides; the rest is for those who need it."""
    report = Report(tuple(findings), privileged=privileged, rootless=rootless)

    assert report.can_build is can_build
    assert report.conclusion == conclusion


def test_the_table() -> None:
    """Columns are aligned, and what is missing says what for and how to get it."""
    report = Report(
        (
            VETH.found(),
            NETEM.lacking("the kernel has none"),
            Subject("Open vSwitch", "OVSBridge").unknown("cannot be tried"),
            Subject("nft", "ns.nft()").found("1.0.6"),
        ),
        privileged=True,
        rootless=True,
    )

    assert (
        report.as_text()
        == dedent("""
        ok  veth
        no  netem         the kernel has none
              needed for  impairments
              to get it   modprobe sch_netem
        ?   Open vSwitch  cannot be tried
        ok  nft           1.0.6

        Networks can be built here.
        """).lstrip()
    )


def test_data_for_programs() -> None:
    """All of it goes into JSON and comes back."""
    report = Report((VETH.lacking("no"),), privileged=True, rootless=False)

    assert json.loads(json.dumps(report.as_data())) == {
        "can_build": False,
        "conclusion": "Networks cannot be built here: no veth.",
        "findings": [
            {
                "what": "veth",
                "present": False,
                "detail": "no",
                "needed_for": "Veth",
                "remedy": "modprobe veth",
                "required": True,
            }
        ],
    }


# --- programs ---


def make_program(path: Path, text: str) -> None:
    """Make a program that says `text`."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


PROGRAM = doctor._Software(
    Subject("Switch", "OVSBridge", "apt install switch"),
    ("switch-ctl", "switchd"),
    ("--version",),
)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("echo switch-ctl, version 3.1.0-rc1", "3.1.0"),
        ("echo 'dot - graphviz version 2.43.0 (0)' >&2", "2.43.0"),
        ("echo no number", None),
        ("exit 1", None),
    ],
    ids=["output", "errors", "no version", "fails"],
)
def test_a_program_is_found_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, detail: str | None
) -> None:
    """Wherever it writes that; otherwise its path is shown."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in PROGRAM.names:
        make_program(tmp_path / name, text)

    finding = doctor._program(PROGRAM)
    assert finding.present
    assert finding.detail == (detail or str(tmp_path / "switch-ctl"))


def test_a_program_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which of several."""
    monkeypatch.setenv("PATH", str(tmp_path))
    make_program(tmp_path / "switch-ctl", "echo 1.0")

    finding = doctor._program(PROGRAM)
    assert finding.present is False
    assert finding.detail == "not installed: switchd"
    assert finding.remedy == "apt install switch"


def test_a_program_is_off_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordinary users of Debian do not have the folders of administrators there."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(_programs, "_SBIN", ("/nonexistent", str(tmp_path)))
    for name in PROGRAM.names:
        make_program(tmp_path / name, "echo 1.0")

    finding = doctor._program(PROGRAM)
    assert finding.present is False
    assert finding.detail == f"not in PATH: switch-ctl, switchd in {tmp_path}"
    assert finding.remedy == f'PATH="$PATH:{tmp_path}"'


def test_a_library() -> None:
    """One of its names is enough."""
    subject = Subject("C", "everything", "apt install libc6")

    library = doctor._Software(subject, ("libnone.so.7", "libc.so.6"))
    assert doctor._library(library) == subject.found("libc.so.6")
    missing = doctor._library(doctor._Software(subject, ("libnone.so.7",)))
    assert missing == subject.lacking("libnone.so.7 is not installed")


# --- reasons ---


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refusal(errno.EPERM, 0, ""), "Operation not permitted (EPERM)"),
        (Refusal(errno.ENOENT, 0, "kind unknown"), "kind unknown (ENOENT)"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            MissingFeature.of_kernel("NAT\nmore", needed_by=1, remedy="x"),
            "the kernel lacks NAT",
        ),
        (ValueError(), "ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reason_is_one_line(error: BaseException, reason: str) -> None:
    """The kernel's own words, if it has some."""
    assert _reason(error) == reason
