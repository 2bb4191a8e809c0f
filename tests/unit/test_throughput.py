"""What is asked of iperf3, and its reports, which differ from release to release."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns.throughput import (
    Load,
    ThroughputInterval,
    ThroughputResult,
    parse_rate,
    read_reports,
)


def _sum(start: float, end: float, amount: int, **more: Any) -> dict[str, Any]:
    seconds = end - start
    return {
        "start": start,
        "end": end,
        "seconds": seconds,
        "bytes": amount,
        "bits_per_second": amount * 8 / seconds,
        **more,
    }


def _report(
    *intervals: dict[str, Any], protocol: str = "TCP", reverse: int = 0, **end: Any
) -> dict[str, Any]:
    return {
        "start": {
            "version": "iperf 3.12",
            "test_start": {"protocol": protocol, "reverse": reverse},
        },
        "intervals": [{"streams": [], "sum": one} for one in intervals],
        "end": {
            "cpu_utilization_percent": {"host_total": 40.5, "remote_total": 39.5},
            **end,
        },
    }


#: Two seconds of TCP by 3.12: what the client sends, what the server receives.
TCP_CLIENT = _report(
    _sum(0, 1, 1000, retransmits=3, omitted=False, sender=True),
    _sum(1, 2, 2000, retransmits=4, omitted=False, sender=True),
    sum_sent=_sum(0, 2, 3000, retransmits=7, sender=True),
    sum_received=_sum(0, 2.01, 2900, sender=True),
)
TCP_SERVER = _report(
    _sum(0, 1, 950, omitted=False, sender=False),
    _sum(1, 2, 1900, omitted=False, sender=False),
    _sum(2, 2.01, 50, omitted=False, sender=False),
    sum_sent=_sum(0, 2.01, 0, sender=False),
    sum_received=_sum(0, 2.01, 2900, sender=False),
)
_LOSS = {"jitter_ms": 0.25, "lost_packets": 1, "packets": 10, "lost_percent": 10.0}
UDP_CLIENT = _report(
    _sum(0, 1, 1000, packets=10, omitted=False, sender=True),
    protocol="UDP",
    sum=_sum(0, 1, 1000, **_LOSS, sender=True),
    sum_sent=_sum(0, 1, 1000, **_LOSS | {"jitter_ms": 0, "lost_percent": 0}),
    sum_received=_sum(0, 1, 900, **_LOSS),
)
UDP_SERVER = _report(
    _sum(0, 1, 900, **_LOSS, omitted=False, sender=False),
    protocol="UDP",
    sum=_sum(0, 1, 0, **_LOSS, sender=False),
    sum_received=_sum(0, 1, 900, **_LOSS),
)


class TestReports:
    """Results are read from the reports of both sides."""

    def test_tcp(self) -> None:
        """What has arrived counts, and what was sent again."""
        result = read_reports(TCP_CLIENT, TCP_SERVER)
        assert (result.bytes, result.seconds) == (2900, 2.01)
        assert result.bits_per_second == pytest.approx(2900 * 8 / 2.01)
        assert result.retransmits == 7
        assert (result.cpu_client_percent, result.cpu_server_percent) == (40.5, 39.5)
        assert result.jitter_ms is result.lost_percent is None

    def test_intervals_are_those_of_the_receiver(self) -> None:
        """They hold what has arrived; a shred at the end belongs to the last one."""
        first, last = read_reports(TCP_CLIENT, TCP_SERVER).intervals
        assert (first.bytes, first.retransmits) == (950, 3)
        assert (last.start, last.end, last.bytes) == (1, 2.01, 1950)
        assert last.bits_per_second == pytest.approx(1950 * 8 / 1.01)
        assert last.retransmits == 4

    def test_without_the_report_of_the_server(self) -> None:
        """The client's own says how much has arrived, but not when."""
        result = read_reports(TCP_CLIENT, None)
        assert result.bytes == 2900
        assert [one.bytes for one in result.intervals] == [1000, 2000]
        assert "server_output_json" not in result.raw

    def test_raw(self) -> None:
        """Both reports are there as they were."""
        result = read_reports(TCP_CLIENT, TCP_SERVER)
        assert result.raw == TCP_CLIENT | {"server_output_json": TCP_SERVER}

    def test_reverse(self) -> None:
        """The client receives: the server knows what was sent again."""
        client = _report(
            _sum(0, 1, 900, omitted=False, sender=False),
            reverse=1,
            sum_sent=_sum(0, 1, 1000, retransmits=5),
            sum_received=_sum(0, 1, 900),
        )
        server = _report(
            _sum(0, 1, 1000, retransmits=5, omitted=False, sender=True),
            reverse=1,
            sum_sent=_sum(0, 1, 1000, retransmits=5),
            sum_received=_sum(0, 1, 0),
        )
        result = read_reports(client, server)
        assert (result.bytes, result.retransmits) == (900, 5)
        (interval,) = result.intervals
        assert (interval.bytes, interval.retransmits) == (900, 5)

    def test_udp(self) -> None:
        """Datagrams get lost, and come with a jitter."""
        result = read_reports(UDP_CLIENT, UDP_SERVER)
        assert result.bytes == 900
        assert (result.jitter_ms, result.lost_percent) == (0.25, 10.0)
        assert result.retransmits is None
        (interval,) = result.intervals
        assert (interval.bytes, interval.lost_percent) == (900, 10.0)

    def test_udp_of_old_releases(self) -> None:
        """Their reports of UDP have one sum: what was sent, and which part was lost."""
        client = _report(protocol="UDP", sum=_sum(0, 1, 1000, **_LOSS))
        result = read_reports(client, None)
        assert (result.bytes, result.bits_per_second) == (900, 7200)
        assert result.lost_percent == 10.0

    def test_retransmits_that_nobody_counts(self) -> None:
        """A system that does not count them leaves them out, or says -1."""
        for sent in (_sum(0, 1, 1), _sum(0, 1, 1, retransmits=-1)):
            client = _report(sum_sent=sent, sum_received=_sum(0, 1, 1))
            assert read_reports(client, None).retransmits is None

    def test_new_fields(self) -> None:
        """What newer releases add is in the raw report, and disturbs nothing."""
        client = TCP_CLIENT | {
            "start": TCP_CLIENT["start"]
            | {"version": "iperf 3.20", "timestamp": {"timemillisecs": 1_795_387_406}},
            "intervals": [
                *TCP_CLIENT["intervals"],
                {"sum": None, "sum_bidir_reverse": {}},
                {"streams": [{"reorder_seen": 1}]},
                None,
            ],
        }
        result = read_reports(client, None)
        assert result == read_reports(TCP_CLIENT, None)
        assert result.raw["start"]["timestamp"] == {"timemillisecs": 1_795_387_406}

    def test_omitted_intervals(self) -> None:
        """What was omitted is none of the intervals, nor what was caught in between."""
        server = _report(
            _sum(0, 0.5, 500, omitted=True),
            _sum(0.499, 0.501, 500, omitted=False),
            _sum(0.001, 0.5, 600, omitted=False),
            _sum(0.5, 1, 700, omitted=False),
            sum_received=_sum(0, 1, 1300),
        )
        client = _report(sum_sent=_sum(0, 1, 1300), sum_received=_sum(0, 1, 1300))
        intervals = read_reports(client, server).intervals
        assert [one.bytes for one in intervals] == [600, 700]

    @pytest.mark.parametrize(
        "client",
        [
            {},
            {"start": [], "intervals": {}, "end": None},
            {"start": {"test_start": None}, "end": {"sum_sent": [], "sum": "x"}},
            _report(sum_received={"bytes": None, "seconds": True}),
            _report({"start": 0, "end": 0}, sum_received={"bytes": float("nan")}),
        ],
    )
    def test_whatever_is_missing(self, client: dict[str, Any]) -> None:
        """A report that lacks everything is a result of nothing."""
        result = read_reports(client, None)
        assert (result.bytes, result.bits_per_second, result.seconds) == (0, 0, 0)
        assert result.retransmits is result.jitter_ms is None

    def test_a_rate_that_is_missing(self) -> None:
        """It follows from bytes and seconds."""
        client = _report(sum_received={"bytes": 1000, "seconds": 2})
        assert read_reports(client, None).bits_per_second == 4000


_NAMES = [
    *("start", "test_start", "protocol", "reverse", "intervals", "sum", "omitted"),
    *("end", "sum_sent", "sum_received", "seconds", "bytes", "bits_per_second"),
    *("retransmits", "jitter_ms", "lost_percent", "cpu_utilization_percent"),
]
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just("UDP"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6)
    ),
    max_leaves=30,
)
_REPORTS = st.dictionaries(st.sampled_from(_NAMES), _ANYTHING)


@given(_REPORTS, st.none() | _REPORTS)
def test_whatever_a_report_holds(
    client: dict[str, Any], server: dict[str, Any] | None
) -> None:
    """A report that nobody has thought of is never an error."""
    repr(read_reports(client, server))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(0, 10**9))))
def test_whatever_the_intervals_are(times: list[tuple[float, float, int]]) -> None:
    """Times that make no sense are never an error."""
    sums = [
        {"start": start, "end": end, "bytes": amount} for start, end, amount in times
    ]
    intervals = read_reports(_report(*sums), None).intervals
    assert len(intervals) <= len(sums)


class TestResult:
    """A result is a record."""

    def test_repr(self) -> None:
        """It says what one wants to know, of TCP and of UDP."""
        assert repr(read_reports(TCP_CLIENT, TCP_SERVER)) == (
            "<ThroughputResult 11.5 kbit/s, 2,900 bytes in 2.01 s, 7 retransmits>"
        )
        assert repr(read_reports(UDP_CLIENT, UDP_SERVER)) == (
            "<ThroughputResult 7.20 kbit/s, 900 bytes in 1 s, 10 % lost, "
            "jitter 0.25 ms>"
        )

    def test_it_is_frozen(self) -> None:
        """Nobody changes it, and it can go to another process."""
        result = read_reports(TCP_CLIENT, TCP_SERVER)
        with pytest.raises(AttributeError):
            result.bytes = 1  # type: ignore[misc]  # that is the test
        assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301  # our own

    def test_the_raw_report_does_not_tell_two_apart(self) -> None:
        """Two that say the same are equal."""
        interval = ThroughputInterval(0, 1, 10, 80.0)
        one, other = (
            ThroughputResult(80.0, 10, 1.0, intervals=(interval,), raw={"at": at})
            for at in (1, 2)
        )
        assert one == other


class TestRate:
    """Rates are numbers of bits a second, or words of tc."""

    @pytest.mark.parametrize(
        ("rate", "bits"),
        [
            (1, 1),
            (1.5e6, 1_500_000),
            ("10mbit", 10_000_000),
            ("10Mbit", 10_000_000),
            ("1.5gbit", 1_500_000_000),
            ("64kbit", 64_000),
            ("1tbit", 10**12),
            ("9600", 9600),
            ("9600bit", 9600),
            (" 10 mbit ", 10_000_000),
            ("1kibit", 1024),
            ("1Mibit", 1024**2),
            ("100kbps", 800_000),
            ("1kibps", 8192),
        ],
    )
    def test_rates(self, rate: float | str, bits: int) -> None:
        """Units are those of tc(8)."""
        assert parse_rate(rate) == bits
        assert Load(rate=rate).bits_per_second == bits

    @pytest.mark.parametrize(
        "rate",
        ["", "mbit", "10 mbits", "-1mbit", "1e6", "1ibit", 0, -5, "0", 0.4, 1e30],
    )
    def test_no_rates(self, rate: float | str) -> None:
        """Anything else is an error that shows it."""
        with pytest.raises(ValueError, match="rate") as caught:
            parse_rate(rate)
        assert repr(rate) in str(caught.value)

    @pytest.mark.parametrize("rate", [float("nan"), float("inf")])
    def test_numbers_that_are_none(self, rate: float) -> None:
        """Neither infinity nor nothing is a rate."""
        with pytest.raises(ValueError, match="rate must be above 0 bit/s"):
            parse_rate(rate)

    def test_no_rate(self) -> None:
        """Without a rate there is no limit."""
        assert Load().bits_per_second == 0


def test_a_load_that_cannot_be() -> None:
    """A load checks itself; the message shows the bounds and the value."""
    with pytest.raises(ValueError, match=r"duration must be 0\.01 to 86400, not 0"):
        Load(duration=0)
    with pytest.raises(TypeError, match=r"parallel must be a whole number, not 2\.0"):
        Load(parallel=2.0)  # type: ignore[arg-type]  # that is the test
