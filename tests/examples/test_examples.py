"""Every example runs, is short, and shows its network above the tests."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("test_*.py"))
MAX_LINES = 120
#: Failing on what would be a skip: an example that did not run proves nothing.
STRICT = ("-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio")
#: How examples are run that add something to the machine: on one that is nobody's.
ELSEWHERE = ("unshare", "--net", sys.executable, "-m", "pytest")


def test_there_are_examples() -> None:
    """The folder is where this file thinks it is."""
    assert len(EXAMPLES) >= 6  # at least one for each tutorial


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path: Path, pytester: pytest.Pytester, privileged: None) -> None:
    """It passes as it stands, with warnings as errors."""
    pytester.makepyfile(**{path.stem: path.read_text()})
    if "Host(" in path.read_text():
        result = pytester.run(*ELSEWHERE, "--netns-require", *STRICT)
    else:
        result = pytester.runpytest_subprocess("--netns-require", *STRICT)
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}, outcomes


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_form_of_an_example(path: Path) -> None:
    """It is short, and its docstring has a picture of the network."""
    text = path.read_text()
    assert len(text.splitlines()) < MAX_LINES
    docstring = text.split('"""')[1]
    assert re.search(r"───|├──|---", docstring)


def test_the_list() -> None:
    """The list of examples has all of them, and no others."""
    text = (ROOT / "examples" / "README.md").read_text()
    listed = set(re.findall(r"\]\((\w+\.\w+)\)", text))
    files = {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert listed == files - {"README.md"}


def test_the_readme(pytester: pytest.Pytester, privileged: None) -> None:
    """The tests that the README shows pass, and the first one is short."""
    readme = (ROOT / "README.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len([line for line in first.splitlines() if line]) <= 14
    shown = [first, *(block for block in others if "def test_" in block)]
    # one of them makes the machine a part of its network
    alone = [block for block in shown if "Host(" in block]
    assert len(shown) == 4
    assert len(alone) == 1
    imports = "from pytest_netns import Host\n"
    pytester.makepyfile(
        test_readme="".join(block for block in shown if block not in alone),
        test_host=imports + first.replace("def test_", "def _") + alone[0],
    )
    result = pytester.run(*ELSEWHERE, "--netns-require", *STRICT)
    result.assert_outcomes(passed=4)
