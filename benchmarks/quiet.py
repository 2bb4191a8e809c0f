"""Wait until the kernel has finished taking namespaces down."""

from __future__ import annotations

import struct
from typing import Final

from rawnetlink import RTM_DELLINK, RTMGRP_LINK, RawNamespace, open_current, veth

_TIMEOUT: Final = 60.0


class QuietKernel:
    """Tells when no network namespace is being taken down any more.

    The kernel takes closed namespaces down later, batch by batch on one worker, and
    holds the lock of all network configuration meanwhile. A measurement that begins
    too early pays for what the one before has left. So a namespace with a cable to
    here is closed: when the cable's end has gone, so has every namespace closed
    before it.
    """

    def __init__(self) -> None:
        """Make the namespace that sees the cables disappear."""
        self._home = open_current()
        self._watch = RawNamespace(self._home, groups=RTMGRP_LINK)
        self._watch.netlink.settimeout(_TIMEOUT)
        self._index = 10

    def wait(self) -> None:
        """Return when every namespace closed before this call is gone.

        Raises:
            TimeoutError: The kernel takes longer than a minute.
        """
        # The first cable may go in the middle of a batch; when the second goes, in
        # a later batch, that one has ended.
        for _ in range(2):
            self._index += 1
            last = RawNamespace(self._home)
            cable = veth(self._index, f"q{self._index}", "eth0", last.descriptor)
            self._watch.carry_out(cable)
            last.close()
            while not self._saw_end_of(self._index):
                pass

    def _saw_end_of(self, index: int) -> bool:
        event = self._watch.netlink.recv(65536)
        (kind,) = struct.unpack_from("=H", event, 4)
        (subject,) = struct.unpack_from("=i", event, 20)
        return bool(kind == RTM_DELLINK and subject == index)

    def close(self) -> None:
        """Let go of the watching namespace."""
        self._watch.close()
