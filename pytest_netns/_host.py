"""The test process's own namespace, as a place of a network."""

from __future__ import annotations


class HostSide:
    """What a network adds to the test process's own namespace.

    Attributes:
        name: What the topology calls it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
