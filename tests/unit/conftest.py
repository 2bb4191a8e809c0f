"""What unit tests share: everything is data, so that properties are quick."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import strategies as st

from pytest_netns.estimates import Estimate, Interval, Unit
from pytest_netns.measurement import Measurement, Metric, Series

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


@pytest.fixture(scope="session")
def measurements() -> SearchStrategy[Measurement]:
    """Make any measurements, also those that no benchmark would make."""
    numbers = st.floats(-1e30, 1e30) | st.just(math.nan)
    texts = st.text(max_size=30)
    paths = st.sampled_from(["", "direct", "proxied", "<b>"]) | texts
    units = st.sampled_from(get_args(Unit))
    estimates = st.builds(
        Estimate,
        st.lists(numbers, max_size=4).map(tuple),
        units,
        st.builds(Interval, numbers, numbers, numbers),
        st.none() | texts,
    )
    keys = st.sampled_from(["throughput", "latency", "latency.p99", "cost.cpu"]) | texts
    metrics = st.builds(
        Metric,
        keys,
        texts,
        units,
        st.sampled_from(["higher", "lower"]),
        st.dictionaries(paths, estimates, max_size=4),
        st.dictionaries(paths, estimates, max_size=3),
    )
    series = st.builds(
        Series,
        keys,
        paths,
        st.lists(st.tuples(numbers, numbers), max_size=4).map(tuple),
    )
    return st.builds(
        Measurement,
        kind=st.sampled_from(["proxy", "compare", "throughput", "latency"]),
        title=texts,
        metrics=st.lists(metrics, max_size=4).map(tuple),
        machine=st.dictionaries(texts, texts | st.integers() | numbers, max_size=3),
        topology=texts,
        began=st.floats(0, 4e9),
        seconds=st.floats(0, 1e6),
        rounds=st.dictionaries(keys, st.integers(0, 99), max_size=3),
        notes=st.lists(texts, max_size=2).map(tuple),
        series=st.lists(series, max_size=3).map(tuple),
        requests=st.dictionaries(
            paths, st.lists(st.floats(0, 10), max_size=9).map(tuple), max_size=2
        ),
        held=st.dictionaries(paths, st.integers(0, 999), max_size=2),
        test=texts,
        name=texts,
    )
