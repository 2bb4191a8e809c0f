"""What continuous integration runs: what the project says that it supports."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is among the extras for tests")

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
#: A commit, which nobody can move, and the version that it is.
PINNED = re.compile(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    """Give the jobs of the workflow, by name."""
    read: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    jobs: dict[str, dict[str, Any]] = read["jobs"]
    return jobs


def commands(jobs: dict[str, dict[str, Any]]) -> list[str]:
    """Return all that is run."""
    return [
        step["run"] for job in jobs.values() for step in job["steps"] if "run" in step
    ]


def supported() -> list[str]:
    """Return the Pythons that the package says it supports."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def test_each_python_is_tested(jobs: dict[str, dict[str, Any]]) -> None:
    """The package, tox, and both kinds of tests here name the same Pythons."""
    pythons = supported()
    assert len(pythons) >= 5

    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^env_list = py\{([\d,]+)\}", tox, re.MULTILINE)
    assert listed.split(",") == [python.replace(".", "") for python in pythons]
    for job in ("root", "user"):
        assert jobs[job]["strategy"]["matrix"]["python"] == pythons


def test_the_lowest_python_has_the_lowest_versions(
    jobs: dict[str, dict[str, Any]],
) -> None:
    """Tox asks for the Python that this workflow sets up."""
    steps = jobs["lowest"]["steps"]
    (version,) = [
        step["with"]["python-version"]
        for step in steps
        if "setup-python" in step.get("uses", "")
    ]
    assert version == supported()[0]
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert f"base_python = py{version.replace('.', '')}" in tox


def test_scripts_exist(jobs: dict[str, dict[str, Any]]) -> None:
    """Every script that is run is there, and can be run or read."""
    named = {
        name for text in commands(jobs) for name in re.findall(r"scripts/\S+", text)
    }
    assert {"scripts/test", "scripts/soak", "scripts/lib.sh;"} <= named
    for name in named:
        script = ROOT / name.rstrip(";")
        assert script.is_file()
        assert os.access(script, os.X_OK) or script.suffix == ".sh"


def test_environments_of_tox_exist(jobs: dict[str, dict[str, Any]]) -> None:
    """Every environment of tox that is run is one that there is."""
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    text = "\n".join(commands(jobs))
    named = re.findall(r"(?:TOXENV=|run -e )(\S+)", text)
    environments = {name for names in named for name in names.split(",")}
    assert environments == {"lint", "typing", "lower-bounds"}
    assert all(f"[testenv:{name}]" in tox for name in environments)


def test_actions_are_pinned() -> None:
    """What others have written runs at a commit that was looked at."""
    lines = WORKFLOW.read_text(encoding="utf-8").splitlines()
    used = [line for line in lines if "uses:" in line]
    assert used
    assert [line for line in used if not PINNED.search(line)] == []


def test_soak_is_not_for_every_push(jobs: dict[str, dict[str, Any]]) -> None:
    """The tests of endurance run by the clock, and when somebody asks."""
    assert "schedule" in jobs["soak"]["if"]
    others = {name: job.get("if") for name, job in jobs.items() if name != "soak"}
    assert set(others.values()) == {None}
