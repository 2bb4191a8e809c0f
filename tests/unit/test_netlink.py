from __future__ import annotations

import contextlib
import errno
import struct
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns._netlink import (
    Refusal,
    RouteSocket,
    _extended_message,
    attributes,
    split_messages,
    strerror,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK = 0x1, 0x2, 0x4
NLM_F_DUMP_INTR, NLM_F_CAPPED, NLM_F_ACK_TLVS, NLM_F_DUMP = 0x10, 0x100, 0x200, 0x300


def message(kind: int, flags: int = 0, sequence: int = 1, body: bytes = b"") -> bytes:
    """Encode one netlink message, unpadded."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def acknowledgement(sequence: int, code: int = 0, text: str = "") -> bytes:
    """Encode an acknowledgement, or a refusal with the kernel's words."""
    body = struct.pack("=i", -code) + message(16, sequence=sequence)
    flags = NLM_F_CAPPED
    if text:
        words = text.encode() + b"\0"
        other = struct.pack("=HHI", 8, 2, 24)  # NLMSGERR_ATTR_OFFS comes first
        body += other + struct.pack("=HH", 4 + len(words), 1) + words
        flags |= NLM_F_ACK_TLVS
    encoded = message(NLMSG_ERROR, flags, sequence, body)
    return encoded.ljust((len(encoded) + 3) & ~3, b"\0")


# --- splitting ---


def test_whole_messages_are_split_at_their_padding() -> None:
    """Each comes with its type, flags and sequence number, without padding."""
    one, other = message(16, 2, 7, b"abcde"), message(17, 0, 8)

    assert list(split_messages(one + b"\0" * 3 + other)) == [
        (16, 2, 7, one),
        (17, 0, 8, other),
    ]
    assert list(split_messages(b"")) == []


@pytest.mark.parametrize("length", [0, 1, 15, 17, 2**31, 2**32 - 1])
def test_a_length_that_cannot_be_is_an_error(length: int) -> None:
    """Neither too short for a header nor longer than the data; no endless loop."""
    data = struct.pack("=IHHII", length, 16, 0, 1, 0)

    with pytest.raises(OSError, match=f"a message of {length} bytes does not fit"):
        list(split_messages(data))


@pytest.mark.parametrize("stray", [1, 15])
def test_stray_bytes_are_an_error_after_what_was_whole(stray: int) -> None:
    """What came before is not lost."""
    whole = message(16)
    split = split_messages(whole + b"x" * stray)

    assert next(split)[3] == whole
    with pytest.raises(OSError, match=f"{stray} stray bytes"):
        next(split)


@given(st.binary(max_size=200))
def test_hostile_data_is_an_oserror_or_a_clean_stop(data: bytes) -> None:
    """Whatever comes, splitting ends, and what it yields was in the data."""
    messages: list[tuple[int, int, int, bytes]] = []
    with contextlib.suppress(OSError):
        messages.extend(split_messages(data))

    assert sum(len(one) for *_, one in messages) <= len(data)
    for *_, one in messages:
        assert len(one) >= 16
        assert bytes(one) in data


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=9)
        ),
        max_size=5,
    ),
    st.data(),
)
def test_truncated_messages_are_never_taken_for_whole_ones(
    parts: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    """Cut anywhere, the messages before the cut are there, then it ends or fails."""
    encoded = [
        message(kind, flags, n, body) for n, (kind, flags, body) in enumerate(parts)
    ]
    padded = [one.ljust((len(one) + 3) & ~3, b"\0") for one in encoded]
    whole = b"".join(padded)
    assert [one for *_, one in split_messages(whole)] == encoded

    cut = data.draw(st.integers(0, len(whole)))
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        found.extend(one for *_, one in split_messages(whole[:cut]))

    assert found == encoded[: len(found)]


def test_attributes_are_split_at_their_padding() -> None:
    """The bits for nesting and byte order are no part of the type."""
    data = struct.pack("=HH3sx", 7, 3 | 0x8000, b"abc") + struct.pack("=HHI", 8, 4, 9)

    assert list(attributes(data)) == [(3, b"abc"), (4, struct.pack("=I", 9))]
    assert list(attributes(b"head" + data, 4)) == list(attributes(data))


@given(st.binary(max_size=100), st.integers(0, 120))
def test_hostile_attributes_are_a_clean_stop(data: bytes, offset: int) -> None:
    """Whatever comes, reading attributes ends without an error."""
    for kind, payload in attributes(data, offset):
        assert 0 <= kind <= 0x3FFF
        assert payload in data


@given(st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_hostile_error_texts_are_a_clean_stop(data: bytes, flags: int) -> None:
    """Whatever comes, the kernel's words are text."""
    assert isinstance(_extended_message(data, flags), str)


def test_the_kernels_own_words_are_found() -> None:
    """Behind other attributes, and only where the flag says that there are some."""
    ((_, flags, _, refused),) = split_messages(
        acknowledgement(1, errno.EINVAL, "bad MTU")
    )

    assert _extended_message(refused, flags) == "bad MTU"
    assert _extended_message(refused, flags & ~NLM_F_ACK_TLVS) == ""


# --- batches, over a kernel that is scripted ---


class ScriptedKernel:
    """Takes the place of the socket: remembers what is sent, answers in turn."""

    def __init__(self, *answers: bytes) -> None:
        self.sent: list[bytes] = []
        self._answers = deque(answers)

    def send(self, data: bytes) -> None:
        """Remember a request."""
        self.sent.append(bytes(data))

    def recv(self, size: int) -> bytes:
        """Answer; the test fails if more is asked than there is to say."""
        answer = self._answers.popleft()
        assert len(answer) <= size
        return answer

    @property
    def unread(self) -> int:
        """Count the answers that nobody has read."""
        return len(self._answers)


@contextlib.contextmanager
def route_socket(*answers: bytes) -> Iterator[tuple[RouteSocket, ScriptedKernel]]:
    """Give a socket whose kernel gives `answers`."""
    kernel = ScriptedKernel(*answers)
    with RouteSocket() as route:
        real, route._socket = route._socket, kernel  # type: ignore[assignment]
        try:
            yield route, kernel
        finally:
            route._socket = real


def requests(count: int, size: int = 16) -> list[bytearray]:
    """Encode requests of `size` bytes."""
    body = b"\0" * (size - 16)
    return [bytearray(message(16, NLM_F_REQUEST, 0, body)) for _ in range(count)]


def test_a_batch_is_one_system_call_with_one_acknowledgement() -> None:
    """Only the last request asks for an answer."""
    with route_socket(acknowledgement(3)) as (route, kernel):
        route.apply(requests(3))

    (sent,) = kernel.sent
    assert [(flags, sequence) for _, flags, sequence, _ in split_messages(sent)] == [
        (NLM_F_REQUEST, 1),
        (NLM_F_REQUEST, 2),
        (NLM_F_REQUEST | NLM_F_ACK, 3),
    ]
    assert kernel.unread == 0


def test_an_empty_batch_asks_nothing() -> None:
    """There is no answer to wait for."""
    with route_socket() as (route, kernel):
        route.apply([])

    assert kernel.sent == []


def test_a_large_batch_goes_in_chunks_in_order() -> None:
    """No chunk exceeds the send buffer, and each is acknowledged before the next."""
    with route_socket(acknowledgement(8), acknowledgement(10)) as (route, kernel):
        route.apply(requests(10, 4096))

    assert [len(chunk) for chunk in kernel.sent] == [8 * 4096, 2 * 4096]
    assert kernel.unread == 0


def test_the_first_refusal_of_a_batch_is_raised_once_all_is_read() -> None:
    """It has the position, the errno, and the kernel's words."""
    answers = (
        acknowledgement(2, errno.EEXIST, "name in use"),
        acknowledgement(3, errno.ENODEV) + acknowledgement(4),
    )

    with route_socket(*answers) as (route, kernel), pytest.raises(Refusal) as caught:
        route.apply(requests(4))

    refusal = caught.value
    assert (refusal.number, refusal.position, refusal.detail) == (
        errno.EEXIST,
        1,
        "name in use",
    )
    assert kernel.unread == 0


def test_the_position_of_a_refusal_counts_over_all_chunks() -> None:
    """A second batch counts from 0 again."""
    with route_socket(
        acknowledgement(8),
        acknowledgement(10, errno.EPERM),
        acknowledgement(11, errno.EPERM),
    ) as (route, _):
        with pytest.raises(Refusal) as caught:
            route.apply(requests(10, 4096))
        assert caught.value.position == 9

        with pytest.raises(Refusal) as caught:
            route.apply(requests(1))
        assert caught.value.position == 0


def test_a_refusal_in_words_is_the_kernels_own_or_that_of_errno() -> None:
    """There is always something to say."""
    assert strerror(Refusal(errno.EPERM, 0, "")) == "Operation not permitted"
    assert strerror(Refusal(errno.EPERM, 0, "not yours")) == "not yours"


def test_a_query_gives_each_answer_in_order() -> None:
    """Answers may come one by one or together."""
    answers = [message(16, 0, number) for number in (1, 2, 3)]

    with route_socket(answers[0], answers[1] + answers[2]) as (route, kernel):
        assert list(route.query(requests(3))) == answers

    assert len(kernel.sent) == 1


def test_a_query_that_is_refused_says_which_object() -> None:
    """The position is that of the request."""
    answers = (message(16, 0, 1), acknowledgement(2, errno.ENODEV))

    with route_socket(*answers) as (route, _), pytest.raises(Refusal) as caught:
        list(route.query(requests(2)))

    assert (caught.value.number, caught.value.position) == (errno.ENODEV, 1)


def test_a_dump_ends_with_its_last_message() -> None:
    """All objects are there, and the end itself is none."""
    objects = [message(16, NLM_F_MULTI, 1, bytes([n]) * 4) for n in range(3)]
    done = message(NLMSG_DONE, NLM_F_MULTI, 1, b"\0" * 4)

    with route_socket(objects[0] + objects[1], objects[2] + done) as (route, kernel):
        assert route.dump(bytearray(message(18))) == objects

    ((_, flags, _, _),) = split_messages(kernel.sent[0])
    assert flags == NLM_F_REQUEST | NLM_F_DUMP


def test_an_interrupted_dump_is_asked_for_again() -> None:
    """What was seen of the first is not kept."""
    first = message(16, NLM_F_MULTI, 1, b"old_") + message(
        NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 1, b"\0" * 4
    )
    again = message(16, NLM_F_MULTI, 2, b"new_")

    with route_socket(first, again + message(NLMSG_DONE, NLM_F_MULTI, 2)) as (
        route,
        kernel,
    ):
        assert route.dump(bytearray(message(18))) == [again]

    assert len(kernel.sent) == 2


def test_a_dump_that_is_refused_raises() -> None:
    """The kernel's words are kept."""
    refused = acknowledgement(1, errno.EOPNOTSUPP, "no such thing")

    with route_socket(refused) as (route, _), pytest.raises(Refusal) as caught:
        route.dump(bytearray(message(18)))

    assert (caught.value.number, caught.value.detail) == (
        errno.EOPNOTSUPP,
        "no such thing",
    )


@contextlib.contextmanager
def _passing_through() -> Iterator[None]:
    yield


def test_a_refusal_passes_through_context_managers() -> None:
    """They set its traceback, as those of contextlib do."""
    refusal = Refusal(errno.EPERM, 3, "no")

    with pytest.raises(Refusal) as caught, _passing_through():
        raise refusal

    assert caught.value is refusal
