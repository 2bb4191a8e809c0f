"""To be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._agents import Agents


class Iperf3:
    """To be written."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
