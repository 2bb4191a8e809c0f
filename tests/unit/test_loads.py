from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_netns import _loads
from pytest_netns._loads import ConcurrentSample, ConnectionsSample, LatencySample

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns._agent import Agent

TARGET = ("10.0.0.2", 5000)


class Recorder:
    """An agent that does nothing but remember the orders it was given."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.orders: list[tuple[str, dict[str, Any]]] = []

    def carry_out(self, order: str, /, timeout: float, **arguments: Any) -> Any:
        """Answer at once."""
        self.orders.append((order, {**arguments, "within": timeout}))
        return self.answer

    def begin(self, order: str, **arguments: Any) -> None:
        """Remember, and fail."""
        self.orders.append((order, arguments))
        raise AssertionError(order)


def sample(*times: float, lost: int = 0) -> LatencySample:
    """Return a sample with these latencies, and some requests without an answer."""
    return LatencySample(times, len(times) + lost, len(times), 0.0)


@pytest.mark.parametrize(
    ("part", "expected"),
    [(0, 1.0), (0.1, 1.0), (0.5, 5.0), (0.51, 6.0), (0.9, 9.0), (0.99, 10.0), (1, 10)],
)
def test_quantile(part: float, expected: float) -> None:
    """A quantile is the time within which that part of the requests was answered."""
    ten = sample(*map(float, (3, 1, 2, 10, 9, 8, 7, 6, 5, 4)))
    assert ten.quantile(part) == expected


def test_quantile_of_lost_requests() -> None:
    """A request without an answer is slower than all others."""
    half = sample(2.0, 1.0, lost=2)
    assert [half.quantile(part) for part in (0.25, 0.5, 0.75)] == [1.0, 2.0, math.inf]
    assert sample(lost=3).quantile(0.5) == math.inf


@pytest.mark.parametrize("part", [-0.1, 1.1, 50, math.nan])
def test_no_quantile(part: float) -> None:
    """A part is from 0 to 1, and not in percent."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        sample(1.0).quantile(part)


def test_rates() -> None:
    """What was counted is divided by the time that it took."""
    assert ConnectionsSample(300, 0.1, 0, None).per_second == pytest.approx(3000)
    some = ConcurrentSample(300, 0.1, 500, 0, None, 0.2)
    assert some.requests_per_second == pytest.approx(3000)


def test_latency_in_seconds() -> None:
    """Nanoseconds come as seconds."""
    agent = Recorder({"times": [1000, 2500], "sent": 3, "answered": 2, "late": 300})
    found = _loads.latency(cast("Agent", agent), TARGET)
    assert found.times == pytest.approx((1e-6, 2.5e-6))
    assert (found.sent, found.answered) == (3, 2)
    assert found.late == pytest.approx(3e-7)


def test_limit() -> None:
    """An agent has longer than its work may take, so that it can say what failed."""
    agent = Recorder({"times": [], "sent": 1, "answered": 0, "late": 0})
    _loads.latency(cast("Agent", agent), TARGET, seconds=2.0, timeout=3.0)
    ((order, arguments),) = agent.orders
    assert order == "latency"
    assert arguments["patience"] == 3.0
    assert arguments["within"] > 2.0 + 2 * 3.0


def serve(agent: Agent, **arguments: Any) -> None:
    """Begin to serve."""
    with _loads.serving(agent, **arguments):
        pass


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (_loads.latency, {"rate": 0}, "rate is more than 0, not 0"),
        (_loads.latency, {"rate": -5.0}, "rate"),
        (_loads.latency, {"rate": math.nan}, "rate"),
        (_loads.latency, {"rate": math.inf}, "rate"),
        (_loads.latency, {"seconds": 0}, "seconds"),
        (_loads.latency, {"timeout": 0}, "timeout"),
        (_loads.latency, {"size": 7}, "size is 8 to 65507 bytes, not 7"),
        (_loads.latency, {"size": 65_508}, "size"),
        (_loads.latency, {"size": 8.5}, "size"),
        (_loads.latency, {"protocol": "sctp"}, "'tcp' or 'udp', not 'sctp'"),
        (_loads.latency, {"rate": 1e6, "seconds": 60}, "1,000,000 requests"),
        (_loads.latency, {"target": ("10.0.0.2", 0)}, "1 to 65535, not 0"),
        (_loads.connections, {"seconds": -1}, "seconds"),
        (_loads.connections, {"in_flight": 0}, "in_flight is a whole number from 1"),
        (_loads.connections, {"in_flight": 1.5}, "in_flight"),
        (_loads.connections, {"timeout": -1}, "timeout"),
        (_loads.connections, {"target": ("10.0.0.2", 65_536)}, "65536"),
        (_loads.concurrent, {"held": 0}, "held is a whole number from 1, not 0"),
        (_loads.concurrent, {"seconds": math.inf}, "seconds"),
        (_loads.concurrent, {"target": ("10.0.0.2", -1)}, "-1"),
        (serve, {"port": 0}, "1 to 65535"),
        (serve, {"port": 80, "protocol": "icmp"}, "'icmp'"),
    ],
)
def test_wrong_arguments(
    function: Callable[..., object], arguments: dict[str, Any], message: str
) -> None:
    """A wrong argument is said before anything is begun."""
    agent = Recorder({})
    if function is not serve:
        arguments = {"target": TARGET, **arguments}
    with pytest.raises(ValueError, match=message):
        function(agent, **arguments)
    assert not agent.orders
