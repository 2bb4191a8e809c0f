"""Latency of requests at a fixed rate, where waiting is not hidden.

Request *i* is due at start + i / rate, and its latency counts from then, whether it
could be sent then or not; no request waits for the answer to another. Somebody who
stalls for 100 ms is so seen in all the requests that fell due meanwhile. Who waits
for an answer before he asks again has one slow answer instead, and believes that all
others are fast ("coordinated omission": Gil Tene, "How NOT to Measure Latency").

To be woken by the kernel takes longer than a short answer. So the process looks again
and again from a little before a request is due, and for a little while after it was
sent; then it sleeps. Each time it lets others run first (sched_yield(2)): whoever is
to answer may have been put on the same processor. Where answers take longer than that
while, or others want the processors, it gives up looking for some requests.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import statistics
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ._load_main import Failure
from ._load_sockets import connect, hurry, name, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .throughput import Protocol

#: The number of a request, with which it begins.
_NUMBER = struct.Struct("=Q")
_BUFFER = 1 << 18
#: How long before a request is due the process is awake, in ns; and for how long
#: after it was sent. With half of the first it was woken too late.
_AWAKE_BEFORE = 50_000
_AWAKE_AFTER = 100_000
#: After it has looked in vain, for how many requests it sleeps at once.
_IN_VAIN = 20
#: How long requests go at the rate before they count, in seconds.
_WARM_UP = 0.02
#: After how long the first datagram is sent again, in ns.
_ASK_AGAIN = 100_000_000
#: A datagram is lost when it has been waited for as long, in ns, and for as many
#: times longer than any other.
_LOST_AFTER, _LOST_TIMES = 200_000_000, 3


def latency(
    say: Callable[..., None],
    *,
    address: str,
    port: int,
    rate: float,
    seconds: float,
    size: int,
    protocol: Protocol = "tcp",
    patience: float = 5.0,
) -> dict[str, Any]:
    """Ask at a fixed rate, and say how long after it was due each was answered.

    Args:
        say: Not needed.
        address: Whom to ask.
        port: Where.
        rate: How often, in requests per second.
        seconds: How long.
        size: The length of requests and answers, in bytes.
        protocol: ``"tcp"`` (all on one connection) or ``"udp"``.
        patience: How long the first and the last answer may take, in seconds.

    Returns:
        ``times`` of the answered ones, in ns; ``sent``, ``answered``; ``late``: how
        late half of them were sent, in ns.
    """
    del say
    hurry()
    deadline = time.perf_counter_ns() + round(patience * 1e9)
    uncounted = max(1, round(rate * _WARM_UP))
    counted = max(1, round(rate * seconds))
    with connect(address, port, protocol, patience) as connection:
        exchange = _Exchange(connection, size, rate, uncounted + counted)
        try:
            exchange.ask_first(deadline)
            exchange.ask_all()
            exchange.await_rest(patience)
        except OSError as error:
            where = f"{protocol} {shown(address, port)}"
            raise Failure(f"{where}: {name(error.errno)}") from error
    return exchange.report(uncounted)


class _Exchange:
    """Requests on one connection, and when each was answered.

    Request 0 is the first one, on its own; then come those at the rate.

    Args:
        connection: Connected, not blocking.
        size: The length of a request, in bytes.
        rate: In requests per second.
        count: How many there are at this rate.
    """

    def __init__(
        self, connection: socket.socket, size: int, rate: float, count: int
    ) -> None:
        self._connection = connection
        self._is_stream = connection.type == socket.SOCK_STREAM
        self._take = self._take_bytes if self._is_stream else self._take_datagram
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        self._poll = poll.poll
        self._request = bytearray(size)
        self._queue: deque[bytes] = deque()  # what the kernel does not take yet
        self._buffer = memoryview(bytearray(max(size, _BUFFER)))
        self._part = 0  # bytes of an answer that has come in part
        self._rate = rate
        self._count = count
        self._asked = -1  # the highest number so far
        self._newest = -1  # the highest number that was answered
        self._answered = 0
        self._looks_from = 0  # after requests before that one it sleeps
        #: By number, in ns; nobody has answered at 0.
        self._due = [0]
        self._sent = [0]
        self._arrived = [0] * (1 + count)

    def ask_first(self, deadline: int) -> None:
        """Ask until there is an answer: a proxy, say, connects only now.

        Raises:
            Failure: There is none before the deadline, in ns.
        """
        now = time.perf_counter_ns
        while not self._answered:
            if now() >= deadline:
                raise Failure("connected, but nothing comes back", "timeout")
            if self._asked < 0 or not self._is_stream:
                self._sent[0] = now()
                self._ask(0)
            self._listen(min(now() + _ASK_AGAIN, deadline), 1)

    def ask_all(self) -> None:
        """Ask when it is time, whatever is answered when."""
        now = time.perf_counter_ns
        start, gap = now() + 2 * _AWAKE_BEFORE, 1e9 / self._rate
        self._due += [start + round(turn * gap) for turn in range(self._count)]
        everything = 1 + self._count
        for number in range(1, everything):
            _NUMBER.pack_into(self._request, 0, number)
            self._listen(self._due[number], everything)
            self._sent.append(now())
            self._ask(number)

    def await_rest(self, patience: float) -> None:
        """Wait for what is not answered yet, until it must be lost."""
        limit = round(patience * 1e9)
        if not self._is_stream:
            there = zip(self._arrived, self._sent, strict=True)
            slowest = max(arrived - sent for arrived, sent in there)
            limit = min(limit, max(_LOST_AFTER, _LOST_TIMES * slowest))
        self._listen(time.perf_counter_ns() + limit, 1 + self._count)

    def report(self, uncounted: int) -> dict[str, Any]:
        """Return what `latency` returns, without the requests that do not count."""
        begin = 1 + uncounted
        due, sent, arrived = (
            times[begin:] for times in (self._due, self._sent, self._arrived)
        )
        times = [then - ought for then, ought in zip(arrived, due, strict=True) if then]
        late = [then - ought for then, ought in zip(sent, due, strict=True)]
        return {
            "times": times,
            "sent": len(sent),
            "answered": len(times),
            "late": round(statistics.median(late)),
        }

    def _ask(self, number: int) -> None:
        self._asked = number
        if self._queue:
            self._queue.append(bytes(self._request))
            self._flush()
            return
        try:
            sent = self._connection.send(self._request)
        except BlockingIOError:
            sent = 0
        if sent < len(self._request):
            self._queue.append(bytes(self._request[sent:]))

    def _flush(self) -> None:
        try:
            while self._queue:
                sent = self._connection.send(self._queue[0])
                rest = self._queue.popleft()[sent:]
                if rest:
                    self._queue.appendleft(rest)
        except BlockingIOError:
            return

    def _listen(self, until: int, everything: int) -> None:
        """Take answers until it is time, in ns, or until there is nothing to take."""
        now, ready = time.perf_counter_ns, self._poll
        while (left := until - now()) > 0:
            is_awaited = self._newest < self._asked
            if is_awaited and self._asked >= self._looks_from:
                if ready(0):
                    self._take()
                elif until - left < self._sent[-1] + _AWAKE_AFTER:
                    os.sched_yield()
                else:
                    self._looks_from = self._asked + _IN_VAIN
            elif left > _AWAKE_BEFORE:
                if self._answered == everything:
                    return
                self._sleep(left - _AWAKE_BEFORE)
            elif is_awaited and ready(0):
                self._take()

    def _sleep(self, most: int) -> None:
        """Sleep until there is something to do, for some ns at most."""
        ours = (self._connection,)
        readable, writable, _ = select.select(
            ours, ours if self._queue else (), (), most * 1e-9
        )
        if readable:
            self._take()
        if writable:
            self._flush()

    def _take_bytes(self) -> None:
        arrived = time.perf_counter_ns()  # what is there was there by now
        size = len(self._request)
        got = self._connection.recv_into(self._buffer)
        if not got:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        whole, self._part = divmod(self._part + got, size)
        for _ in range(whole):
            self._note(self._newest + 1, arrived)
        if not self._part and got >= size:
            (number,) = _NUMBER.unpack_from(self._buffer, got - size)
            if number != self._newest:
                raise Failure("what comes back is not what was sent")

    def _take_datagram(self) -> None:
        arrived = time.perf_counter_ns()
        try:
            got = self._connection.recv_into(self._buffer)
        except BlockingIOError:
            return  # its checksum was wrong (select(2), Bugs)
        if got == len(self._request):
            (number,) = _NUMBER.unpack_from(self._buffer)
            self._note(number, arrived)

    def _note(self, number: int, arrived: int) -> None:
        if number > self._asked:
            raise Failure("what comes back is not what was sent")
        if not self._arrived[number]:
            self._arrived[number] = arrived
            self._answered += 1
            self._newest = max(self._newest, number)
