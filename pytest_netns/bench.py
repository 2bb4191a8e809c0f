"""To be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._agents import Agents
    from .measurement import Measurement


class Bench:
    """To be written."""

    def __init__(
        self,
        agents: Agents,
        *,
        note: Callable[[Measurement], None] = lambda _: None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._agents = agents
        self._note = note
        self._progress = progress
