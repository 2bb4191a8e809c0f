"""The agents that measurements share: one that is idle is used again."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ._agent import Agent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ._agent import Place

#: The namespace (two networks may use one name) and the processors.
_Key = tuple[int, "frozenset[int] | None"]


class Agents:
    """Lends agents; several threads may borrow at the same time."""

    def __init__(self) -> None:
        self._idle: dict[_Key, list[Agent]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def borrow(
        self, place: Place, cpus: Collection[int] | None = None
    ) -> Iterator[Agent]:
        """Lend an agent of a namespace that nobody else has; start one if need be.

        One that failed is not lent again.

        Args:
            place: The namespace.
            cpus: The processors that it may use; None is all that we may.
        """
        key = (id(place), None if cpus is None else frozenset(cpus))
        with self._lock:
            idle = self._idle.setdefault(key, [])
            agent = idle.pop() if idle else None
        agent = agent or Agent(place, cpus)
        try:
            yield agent
        except BaseException:
            agent.close()
            raise
        with self._lock:
            idle.append(agent)

    def close(self) -> None:
        """End all agents."""
        with self._lock:
            agents = [agent for idle in self._idle.values() for agent in idle]
            self._idle.clear()
        for agent in agents:
            agent.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
