"""The table of captured packets in the message of a failed test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._frame import Frame
from pytest_netns._packet_table import Row, cut, row_of, table

MILLISECOND = 1_000_000
PARTIAL = "checksum left to the hardware"


def rows(*summaries: str, remarks: tuple[str, ...] = ()) -> list[Row]:
    """Return rows, a millisecond apart."""
    return [
        Row(number, number * MILLISECOND, "left:eth0", "out", summary, remarks)
        for number, summary in enumerate(summaries)
    ]


def drawn(shown: list[Row], **options: int) -> str:
    """Return the table of these rows."""
    return table(len(shown), shown.__getitem__, **options)


def test_columns_are_as_wide_as_what_they_hold() -> None:
    """Numbers stand at the right, words at the left, and nothing at a line's end."""
    shown = [
        Row(9, 0, "left:eth0", "out", "ARP who has 10.0.0.2"),
        Row(10, 61_000_000_123, "a:b", "in", "ARP is at"),
    ]

    assert (
        drawn(shown)
        == """\
 #    seconds  place           summary
 9   0.000000  left:eth0  out  ARP who has 10.0.0.2
10  61.000000  a:b        in   ARP is at"""
    )


def test_of_many_the_first_and_the_last_are_shown() -> None:
    """And how many are between them; the others are not even asked for."""
    asked: list[int] = []

    def row(number: int) -> Row:
        asked.append(number)
        return Row(number, 0, "left:eth0", "in", "IP")

    lines = table(1240, row, limit=5).splitlines()

    assert asked == [0, 1, 2, 1238, 1239]
    assert lines[4] == "... 1,235 more ..."
    assert [line.split()[0] for line in lines] == [*"#012", "...", "1238", "1239"]


def test_what_fits_is_not_capped() -> None:
    """Nothing is left out of as many packets as may be shown."""
    assert "more" not in drawn(rows("IP", "IP", "IP"), limit=3)
    assert "... 1 more ..." in drawn(rows("IP", "IP", "IP"), limit=2)


def test_a_long_summary_is_cut() -> None:
    """So that the table is no wider than it may be."""
    lines = drawn(rows("x" * 300, "short"), columns=80).splitlines()

    assert len(lines[1]) == 80
    assert lines[1].endswith("x…")
    assert lines[2].endswith("  short")


def test_a_remark_stands_behind_its_packet() -> None:
    """It stays whole, whatever is cut."""
    line = drawn(rows("x" * 300, remarks=("odd", "cut to 1 of 2 bytes")))

    assert line.endswith("… [odd, cut to 1 of 2 bytes]")


def test_a_remark_that_many_have_in_common_stands_below() -> None:
    """A sign tells whose it is."""
    shown = rows("IP", "UDP", remarks=(PARTIAL,))
    shown += [Row(2, 0, "left:eth0", "in", "ARP", ("odd",))]

    lines = drawn(shown).splitlines()

    assert lines[1].endswith("  IP *")
    assert lines[2].endswith("  UDP *")
    assert lines[3].endswith("  ARP [odd]")
    assert lines[4] == f"* {PARTIAL}"


def test_a_summary_is_one_line() -> None:
    """What would end the line, or colour a terminal, is shown as unprintable."""
    shown = rows("one\ntwo\x1b[31m")

    row = drawn(shown).splitlines()[1]

    assert row.endswith("  one�two�[31m")


def test_a_row_says_what_is_odd_about_a_packet() -> None:
    """What is left to the hardware, and what was cut off."""
    frame = Frame(1_000_000_500, "left", "eth0", "out", b"x" * 96, 23168, 1, True, True)  # noqa: FBT003

    assert row_of(3, frame, 1_000_000_000, "IP") == Row(
        number=3,
        time=500,
        place="left:eth0",
        direction="out",
        summary="IP",
        remarks=(
            PARTIAL,
            "23168 bytes to be cut into segments",
            "cut to 96 of 23168 bytes",
        ),
    )


def test_an_ordinary_packet_has_no_remarks() -> None:
    """There is nothing to say."""
    frame = Frame(0, "left", "eth0", "out", b"x" * 96, 96)

    assert row_of(0, frame, 0, "IP").remarks == ()


def test_no_packet_is_a_table_too() -> None:
    """It has its header alone."""
    assert drawn([]) == "#  seconds  place    summary"


@given(
    st.lists(
        st.builds(
            Row,
            st.integers(0, 10**7),
            st.integers(0, 10**12),
            st.sampled_from(["left:eth0", "a-very-long-name-of-a-machine:enp0s31f6"]),
            st.sampled_from(["in", "out"]),
            st.text(max_size=200),
            st.lists(st.sampled_from(["odd", "cut", PARTIAL]), max_size=2).map(tuple),
        ),
        max_size=12,
    ),
    st.integers(1, 12),
)
def test_every_table_is_tidy(shown: list[Row], limit: int) -> None:
    """One line for a row, none too wide, and the same each time."""
    text = drawn(shown, limit=limit)
    marks = [line for line in text.split("\n") if line[:1] in {"*", "†", "‡"}]
    lines = text.split("\n")

    assert len(lines) == 1 + min(len(shown), limit) + (len(shown) > limit) + len(marks)
    assert all(len(line) <= 140 for line in lines)
    assert text == drawn(shown, limit=limit)


def test_a_text_is_cut_to_its_width() -> None:
    """The sign that it was cut is part of it."""
    assert [cut("abc", width) for width in (4, 3, 2, 1)] == ["abc", "abc", "a…", "…"]
