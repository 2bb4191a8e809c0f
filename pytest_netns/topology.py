"""The topology: a validated tuple of records, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._checks import check_layout
from ._plan import plan
from ._record import Record
from ._resolution import resolve
from ._shown import shown
from .errors import TopologyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._layout import Layout
    from ._steps import Step
    from ._toml import FilePath


class Topology:
    """Records that make a network together; immutable, compared by value.

    Args:
        records: Namespaces, bridges and cables, in any order; names such as
            ``ethN`` and addresses of a ``subnet=`` are given out in this order.
        names: Whether its namespaces have a name under ``/run/netns`` while the
            network is there.

    Raises:
        TopologyError: The records do not make a network. Its subclasses
            `InvalidName`, `DuplicateName`, `UnknownName` and `InvalidAddress`
            say how.
    """

    __slots__ = ("_layout", "_steps", "names", "records")

    records: tuple[Record, ...]
    names: bool
    _layout: Layout
    _steps: tuple[Step, ...] | None

    def __init__(self, *records: Record, names: bool = False) -> None:
        if not isinstance(names, bool):
            raise TopologyError(
                f"Topology names={shown(names)} is neither True nor False"
            )
        layout = resolve(records)
        check_layout(layout)
        object.__setattr__(self, "records", records)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_steps", None)

    @classmethod
    def from_file(cls, path: str | FilePath) -> Topology:
        """Return the topology that a TOML file describes.

        Raises:
            TopologyError: The file cannot be read, or is wrong; says which table
                and key. Its subclasses are those of the constructor.
        """
        from ._toml import read  # only who has files pays for it

        return read(path, cls)

    def to_toml(self) -> str:
        """Return the text of a TOML file from which `from_file` makes an equal one."""
        from ._toml import write

        return write(self.records, names=self.names)

    def with_records(self, *records: Record) -> Topology:
        """Return a new topology that has `records` as well.

        Raises:
            TopologyError: The records do not fit to those that are there.
        """
        return Topology(*self.records, *records, names=self.names)

    def diagram(self) -> str:
        """Return the picture of the network as text.

        ::

            br0
            ├── left:eth0  10.0.1.1/24
            └── right:eth0 10.0.0.1/24
        """
        from .diagram import as_text  # only people ask for it

        return as_text(self._layout)

    def to_mermaid(self) -> str:
        """Return the picture of the network as a flowchart of Mermaid.

        Inside a block ```` ```mermaid ```` it is drawn by GitHub, GitLab and others.
        """
        from ._graphs import as_mermaid

        return as_mermaid(self._layout)

    def to_dot(self) -> str:
        """Return the picture of the network in DOT, for Graphviz: ``dot -Tsvg``."""
        from ._graphs import as_dot

        return as_dot(self._layout)

    @property
    def layout(self) -> Layout:
        """The records resolved against one another; for the layers above."""
        return self._layout

    @property
    def steps(self) -> tuple[Step, ...]:
        """The plan that builds it from nothing; made once."""
        steps = self._steps
        if steps is None:
            steps = plan(self._layout)
            object.__setattr__(self, "_steps", steps)
        return steps

    def __add__(self, other: object) -> Topology:
        """Return a new topology with the records of both; one may ask for names."""
        if not isinstance(other, Topology):
            return NotImplemented
        return join((self, other))

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        if not isinstance(other, Topology):
            return NotImplemented
        return (self.records, self.names) == (other.records, other.names)

    def __hash__(self) -> int:
        """Hash by value."""
        return hash((self.records, self.names))

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records."""
        return iter(self.records)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.records)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a topology does not change."""
        raise AttributeError(f"cannot set {name!r}: a Topology does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made of alone."""
        return _restore, (self.records, self.names)

    def __repr__(self) -> str:
        """Show the constructor's call."""
        names = ["names=True"] if self.names else []
        return f"Topology({', '.join([*map(repr, self.records), *names])})"


def _restore(records: tuple[Record, ...], names: bool) -> Topology:  # noqa: FBT001  # pickle knows no keywords
    return Topology(*records, names=names)


def join(parts: tuple[Topology | Record, ...]) -> Topology:
    """Return one topology of topologies and single records.

    It has names if one of them asks for them.

    Raises:
        TopologyError: A part is neither, or the parts do not fit together.
    """
    if len(parts) == 1 and isinstance(parts[0], Topology):
        return parts[0]  # the plan of a topology that many tests share is made once
    records: list[Record] = []
    names = False
    for part in parts:
        if isinstance(part, Topology):
            records.extend(part.records)
            names = names or part.names
        elif isinstance(part, Record):
            records.append(part)
        else:
            raise TopologyError(f"{shown(part)} is neither a Topology nor a record")
    return Topology(*records, names=names)
