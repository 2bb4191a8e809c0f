"""Rounds: who is measured when, how often, and for how long; with a clock of paper."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_netns import BenchmarkError, BenchmarkTimeout
from pytest_netns._rounds import FEWEST_ROUNDS, Load, Rounds
from pytest_netns.estimates import FEWEST_SAMPLES, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATHS = ("direct", "proxied")


class Lab:
    """Measures nothing, which takes time on its own clock.

    Args:
        spread: How far samples lie apart.
        overhead: What a sample takes besides its own seconds.
        drift: How much faster everything gets a second.
    """

    def __init__(
        self, spread: float = 0.0, overhead: float = 0.01, drift: float = 0.0
    ) -> None:
        self.now = 1000.0
        self.log: list[tuple[str, str, float]] = []
        self.lines: list[str] = []
        self.served: list[str] = []
        self._spread = spread
        self._overhead = overhead
        self._drift = drift
        self._chance = random.Random(1)

    def load(
        self, key: str, seconds: float = 0.2, shortest: float = 0.0
    ) -> Load[float]:
        """Return a load of twice as much on the direct path as on others."""

        def measure(path: str, length: float) -> float:
            self.log.append((key, path, length))
            self.now += length + self._overhead
            speed = 1.0 + self._drift * (self.now - 1000.0)
            size = 2.0 if path == "direct" else 1.0
            return size * speed * self._chance.lognormvariate(0, self._spread)

        @contextlib.contextmanager
        def serving() -> Iterator[None]:
            self.served.append(f"{key} begins")
            yield
            self.served.append(f"{key} ends")

        return Load(key, key, seconds, measure, float, shortest, serving)

    def run(
        self,
        *loads: Load[float],
        paths: Sequence[str] = PATHS,
        budget: float = 10.0,
        precision: float = 0.05,
    ) -> Rounds[float]:
        """Run the rounds to their end."""
        rounds: Rounds[float] = Rounds(
            loads,
            paths,
            budget=budget,
            precision=precision,
            progress=self.lines.append,
            clock=lambda: self.now,
        )
        rounds.run()
        return rounds


def values(rounds: Rounds[float], key: str, path: str) -> list[float]:
    """Return the samples of a load on a path."""
    return [one[path].sample for one in rounds.taken[key]]


def test_a_round_is_a_sample_on_each_path() -> None:
    """The warm-up, whose samples are shorter, does not count."""
    lab = Lab()
    rounds = lab.run(lab.load("x"))

    assert len(rounds.taken["x"]) == FEWEST_ROUNDS
    assert all(list(one) == ["direct", "proxied"] for one in rounds.taken["x"])
    assert len(lab.log) == 2 * (FEWEST_ROUNDS + 1)
    warm_up, *counted = [length for _, _, length in lab.log]
    assert warm_up < min(counted[1:])


def test_precise_loads_end_before_the_budget() -> None:
    """Nobody waits for what is known."""
    lab = Lab(spread=0.001)
    rounds = lab.run(lab.load("x"), budget=60.0)

    assert len(rounds.taken["x"]) == FEWEST_ROUNDS
    assert rounds.elapsed < 5.0


def test_imprecise_loads_use_the_budget_and_no_more() -> None:
    """The last round begins only if it can end in time."""
    lab = Lab(spread=0.5)
    rounds = lab.run(lab.load("x"))

    assert 9.0 < rounds.elapsed <= 10.0
    assert len(rounds.taken["x"]) > 3 * FEWEST_ROUNDS


def test_the_time_goes_to_what_is_not_precise_yet() -> None:
    """A load that is known has its least rounds only."""
    noisy, quiet = Lab(spread=0.5), Lab()
    noisy_load, quiet_load = noisy.load("noisy"), quiet.load("quiet")

    def measure(path: str, length: float) -> float:
        noisy.now += length
        return quiet_load.measure(path, length)

    rounds = noisy.run(noisy_load, Load("quiet", "quiet", 0.2, measure, float))

    assert len(rounds.taken["quiet"]) == FEWEST_ROUNDS
    assert len(rounds.taken["noisy"]) > 3 * FEWEST_ROUNDS


def test_loads_share_the_time_and_alternate() -> None:
    """The one that has had the least time is next."""
    lab = Lab(spread=0.5)
    rounds = lab.run(lab.load("long", 0.3), lab.load("short", 0.1))

    time = dict.fromkeys(("long", "short"), 0.0)
    for key, _, length in lab.log:
        time[key] += length
    assert time["long"] == pytest.approx(time["short"], rel=0.2)
    first = [key for key, path, _ in lab.log if path == "direct"][2:8]
    assert Counter(first) == {"long": 3, "short": 3}
    assert len(rounds.taken["short"]) > len(rounds.taken["long"])


def test_nobody_is_always_first() -> None:
    """Each order of the paths is followed by the same backwards."""
    lab = Lab(spread=0.5)
    paths = ("direct", "a", "b")
    lab.run(lab.load("x", 0.1), paths=paths)

    counted = [path for _, path, _ in lab.log][3:]
    orders = [tuple(counted[at : at + 3]) for at in range(0, len(counted), 3)]
    assert len(orders) > 10
    for order, other in zip(orders[::2], orders[1::2], strict=False):
        assert order == other[::-1]
    assert len(set(orders)) > 2


def test_drift_does_not_favour_a_path() -> None:
    """On a machine that doubles its speed meanwhile, the ratio is what it is."""
    lab = Lab(spread=0.01, drift=0.1)
    rounds = lab.run(lab.load("x"), precision=0.001)

    found = ratio(values(rounds, "x", "proxied"), values(rounds, "x", "direct"))
    direct = values(rounds, "x", "direct")
    assert max(direct) > 1.7 * min(direct)
    assert found.low <= 0.5 <= found.high
    assert found.interval.half_width < 0.03


def test_samples_get_shorter_if_the_budget_is_small() -> None:
    """So that there are enough of them."""
    lab = Lab(overhead=0.0)
    lab.run(*(lab.load(key) for key in "abc"), budget=4.0)

    lengths = [length for _, _, length in lab.log][6:]
    assert max(lengths) < 0.12
    lab = Lab(overhead=0.0)
    lab.run(lab.load("a"), budget=4.0)
    assert [length for _, _, length in lab.log][2:] == [0.2] * 2 * FEWEST_ROUNDS


def test_no_sample_is_shorter_than_it_must_be() -> None:
    """On a slow path there is none that tells nothing."""
    lab = Lab()
    lab.run(lab.load("x", shortest=0.2), budget=0.5)

    assert {length for _, _, length in lab.log[2:]} == {0.2}


def test_a_small_budget_gives_the_fewest_samples() -> None:
    """It may take longer for that, but not for more."""
    lab = Lab(spread=0.5)
    rounds = lab.run(lab.load("x", shortest=0.2), budget=1.0)

    assert len(rounds.taken["x"]) == FEWEST_SAMPLES
    assert rounds.elapsed < 2.5


def test_what_is_too_slow_ends_all_the_same() -> None:
    """A round that takes longer than all the budget is not repeated for ever."""
    lab = Lab(overhead=3.0)
    rounds = lab.run(lab.load("x"), lab.load("y"), budget=2.0)

    assert rounds.elapsed < 40.0
    assert all(len(taken) < FEWEST_SAMPLES for taken in rounds.taken.values())


def test_a_slow_load_does_not_cost_the_others_theirs() -> None:
    """It comes last, and what is left of the time is its own."""
    quick, slow = Lab(spread=0.5, overhead=0.0), Lab()
    slow_load = slow.load("slow")

    def measure(path: str, length: float) -> float:
        quick.now += 2.0
        return slow_load.measure(path, length)

    loads = [Load("slow", "slow", 0.2, measure, float), quick.load("quick", 0.1)]
    rounds = quick.run(*loads)

    assert len(rounds.taken["quick"]) >= FEWEST_ROUNDS
    assert 1 <= len(rounds.taken["slow"]) < FEWEST_ROUNDS
    assert rounds.elapsed < 14.0


def test_one_path_is_measured_for_itself() -> None:
    """Its own interval is what must become narrow."""
    lab = Lab(spread=0.2)
    rounds = lab.run(lab.load("x", 0.1), paths=[""], budget=30.0)

    assert FEWEST_ROUNDS < len(rounds.taken["x"]) < 100
    assert rounds.elapsed < 20.0


def test_the_server_listens_during_a_round() -> None:
    """And not between them: the next load has another one."""
    lab = Lab()
    lab.run(lab.load("x"), lab.load("y"))

    begins, ends = lab.served[::2], lab.served[1::2]
    assert [line.replace("begins", "ends") for line in begins] == ends
    assert len(begins) == 2 * (FEWEST_ROUNDS + 1)


def test_samples_know_when_they_were_taken() -> None:
    """In seconds since the rounds began."""
    lab = Lab()
    rounds = lab.run(lab.load("x"))

    times = [one[path].at for one in rounds.taken["x"] for path in PATHS]
    assert 0.0 < min(times) < max(times) < rounds.elapsed


def test_people_see_what_goes_on() -> None:
    """One line for each sample: what, where, and how far it is."""
    lab = Lab()
    lab.run(lab.load("speed"))

    assert len(lab.lines) == len(lab.log)
    assert lab.lines[0] == "speed direct, warm-up, 0.0 s of 10 s"
    assert lab.lines[-1].startswith("speed ")
    assert f", round {FEWEST_ROUNDS}, " in lab.lines[-1]


@pytest.mark.parametrize("kind", [BenchmarkError, BenchmarkTimeout])
def test_an_error_says_what_was_measured_where(kind: type[BenchmarkError]) -> None:
    """And is of the kind that it was."""

    def refuse(path: str, _seconds: float) -> float:
        if path == "proxied":
            raise kind("it hangs")
        return 1.0

    rounds = Rounds(
        [Load("x", "latency", 0.1, refuse, float)], PATHS, budget=1.0, precision=0.05
    )
    with pytest.raises(
        kind, match="cannot measure latency on path 'proxied': it hangs"
    ):
        rounds.run()


def test_another_error_is_not_disguised() -> None:
    """It is a bug, and nobody's measurement."""

    def fail(_path: str, _seconds: float) -> float:
        raise ZeroDivisionError

    load = Load("x", "x", 0.1, fail, float)
    with pytest.raises(ZeroDivisionError):
        Rounds([load], PATHS, budget=1.0, precision=0.05).run()


def test_intervals_hold_what_they_promise_when_rounds_end_as_soon_as_precise() -> None:
    """To stop when it looks good costs little of the confidence."""
    hits = 0
    for seed in range(60):
        lab = Lab(spread=0.05)
        lab._chance = random.Random(seed)
        rounds = lab.run(lab.load("x"), budget=4.0)
        found = ratio(values(rounds, "x", "proxied"), values(rounds, "x", "direct"))
        hits += found.low <= 0.5 <= found.high

    assert hits / 60 >= 0.85
