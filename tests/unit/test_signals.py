from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pytest_netns._signals import deferred_signals

if TYPE_CHECKING:
    from collections.abc import Iterator


class Alarm(Exception):
    """What the handler of a timeout raises."""


@pytest.fixture
def _alarm() -> Iterator[None]:
    """Have SIGALRM raise."""

    def ring(number: int, frame: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
def test_a_signal_waits() -> None:
    """A handler runs when the work is done, and not before."""
    done = []
    with deferred_signals() as deferred:
        signal.raise_signal(signal.SIGALRM)
        done.append(1)
    assert done == [1]
    with pytest.raises(Alarm):
        deferred.deliver()


@pytest.mark.usefixtures("_alarm")
def test_every_handler_comes_back() -> None:
    """They do even if one of them raises while the others are not back yet."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    raised = 0
    for delay in range(1, 300):
        try:
            with deferred_signals() as deferred:
                signal.setitimer(signal.ITIMER_REAL, delay * 1e-6)
            deferred.deliver()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Alarm:
            raised += 1
        assert before == {number: signal.getsignal(number) for number in before}
    assert raised > 10
