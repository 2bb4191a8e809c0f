"""What was looked for on a machine, and what was found: plain data and its text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKS = {True: "ok", False: "no", None: "? "}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of looking for one thing.

    Attributes:
        what: What it is.
        present: Whether it is there; None if that cannot be told.
        detail: Which one, or why not.
        needed_for: Which part of pytest-netns needs it.
        remedy: How to get it; "" if it is there.
        required: Whether nothing can be built without it.
    """

    what: str
    present: bool | None
    detail: str
    needed_for: str
    remedy: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to look for; the attributes are those of its `Finding`."""

    what: str
    needed_for: str
    remedy: str = ""
    required: bool = False

    def found(self, detail: str = "") -> Finding:
        """Return the finding that it is there."""
        return Finding(
            self.what,
            present=True,
            detail=detail,
            needed_for=self.needed_for,
            required=self.required,
        )

    def lacking(self, reason: str, remedy: str | None = None) -> Finding:
        """Return the finding that it is not there."""
        return Finding(
            self.what,
            present=False,
            detail=reason,
            needed_for=self.needed_for,
            remedy=self.remedy if remedy is None else remedy,
            required=self.required,
        )

    def unknown(self, reason: str) -> Finding:
        """Return the finding that it cannot be told."""
        return Finding(
            self.what,
            present=None,
            detail=reason,
            needed_for=self.needed_for,
            required=self.required,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and what follows from them.

    Attributes:
        findings: What was looked for, in order.
        privileged: Whether this process has the privileges to build networks.
        rootless: Whether it can get them in a user namespace.
    """

    findings: tuple[Finding, ...]
    privileged: bool
    rootless: bool

    @property
    def lacking(self) -> list[str]:
        """What is missing that nothing can be built without."""
        if not self.privileged and not self.rootless:
            return ["privileges", "user namespaces"]
        return [one.what for one in self.findings if one.required and not one.present]

    @property
    def can_build(self) -> bool:
        """Whether networks can be built, be it in a user namespace."""
        return not self.lacking

    @property
    def conclusion(self) -> str:
        """What follows, in a sentence."""
        if self.lacking:
            return f"Networks cannot be built here: no {', no '.join(self.lacking)}."
        if self.privileged:
            return "Networks can be built here."
        return (
            "Networks can be built here in a user namespace, which pytest and "
            "pytest-netns enter by themselves."
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "can_build": self.can_build,
            "conclusion": self.conclusion,
            "findings": [asdict(one) for one in self.findings],
        }

    def as_text(self) -> str:
        """Return a table to read."""
        width = max((len(one.what) for one in self.findings), default=0)
        lines = [line for one in self.findings for line in _lines(one, width)]
        return "\n".join([*lines, "", self.conclusion, ""])


def _lines(finding: Finding, width: int) -> Iterator[str]:
    """Yield what is to be read about a finding; more of what is not there."""
    mark = _MARKS[finding.present]
    yield f"{mark}  {finding.what:{width}}  {finding.detail}".rstrip()
    if finding.present is False:
        yield f"      needed for  {finding.needed_for}"
        if finding.remedy:
            yield f"      to get it   {finding.remedy}"
