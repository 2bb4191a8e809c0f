from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import InvalidName
from pytest_netns._names import (
    MAX_IFNAME,
    MAX_NAME,
    check_ifname,
    check_name,
    derive_port_name,
)


@pytest.mark.parametrize(
    "name",
    ["e", "eth0", "veth-red", "x" * 15, "eth0.100", "wlan_0", "a#b", "é" * 7, "lo"],
)
def test_an_interface_name_that_the_kernel_takes_is_kept(name: str) -> None:
    """Interface names are the user's own, exactly."""
    assert check_ifname(name) == name


@pytest.mark.parametrize(
    "name", ["h", "left", "x" * 64, "rack1.example", "50%", "é" * 32, "all", "default"]
)
def test_a_namespace_may_be_called_what_a_host_may(name: str) -> None:
    """Names of namespaces may be longer than those of interfaces."""
    assert check_name(name, "namespace") == name


def test_an_interface_name_of_16_characters_is_refused_with_length_and_limit() -> None:
    """The message has the name, its length and the kernel's limit."""
    name = "eth0123456789abc"

    with pytest.raises(InvalidName) as caught:
        check_ifname(name)

    assert str(caught.value) == (
        f"interface name {name!r} has 16 characters; "
        "the limit of an interface name is 15"
    )


def test_the_length_of_a_name_is_counted_in_bytes() -> None:
    """Eight letters of two bytes each do not fit into 15 bytes, and that is said."""
    with pytest.raises(InvalidName, match=r"has 16 bytes; the limit .* is 15"):
        check_ifname("é" * 8)


@pytest.mark.parametrize(
    ("name", "length"), [("x" * 65, "65 characters"), ("é" * 33, "66 bytes")]
)
def test_a_name_longer_than_a_host_name_is_refused(name: str, length: str) -> None:
    """A namespace's name is its host name, which has at most 64 bytes."""
    with pytest.raises(
        InvalidName, match=f"has {length}; the limit of a host name is 64"
    ):
        check_name(name, "namespace")


@pytest.mark.parametrize(
    "character", ["/", ":", " ", "\t", "\n", "\0", "\x7f", "\u00a0"]
)
def test_a_forbidden_character_is_shown_with_its_name(character: str) -> None:
    """Slash, colon, blanks and control characters are allowed in no name."""
    name = f"a{character}b"

    for check in (check_ifname, lambda name: check_name(name, "namespace")):
        with pytest.raises(InvalidName) as caught:
            check(name)

        assert repr(name) in str(caught.value)
        assert f"contains {character!r}" in str(caught.value)


def test_a_percent_sign_is_refused_in_an_interface_name_alone() -> None:
    """The kernel would take ``eth%d`` for a pattern."""
    with pytest.raises(InvalidName, match="contains '%'"):
        check_ifname("eth%d")

    assert check_name("eth%d", "namespace") == "eth%d"


def test_a_number_sign_is_refused_in_a_namespace_name_alone() -> None:
    """In a hosts file the number sign begins a comment."""
    with pytest.raises(InvalidName, match="contains '#'"):
        check_name("a#b", "namespace")

    assert check_ifname("a#b") == "a#b"


@pytest.mark.parametrize("name", ["all", "default"])
def test_names_that_sysctl_keeps_for_itself_are_no_interfaces(name: str) -> None:
    """net.ipv4.conf.all and .default are not interfaces."""
    with pytest.raises(InvalidName, match=f"'{name}' is reserved"):
        check_ifname(name)


@pytest.mark.parametrize("name", [".", ".."])
def test_names_of_directories_are_refused(name: str) -> None:
    """An interface has a directory in /sys/class/net."""
    with pytest.raises(InvalidName, match="is the name of a directory"):
        check_ifname(name)


def test_an_empty_name_is_refused() -> None:
    """An empty name is called empty."""
    with pytest.raises(InvalidName, match="bridge name is empty"):
        check_ifname("", "bridge")


@pytest.mark.parametrize("name", [None, 5, b"eth0", ["eth0"]])
def test_a_name_that_is_no_text_is_refused(name: object) -> None:
    """What is not a str is no name, and its type is said."""
    with pytest.raises(InvalidName, match=type(name).__name__):
        check_ifname(name)


@given(st.one_of(st.text(), st.text(alphabet="a/:%# é\ud800", max_size=20)))
def test_a_checked_name_keeps_the_rules_or_is_refused(name: str) -> None:
    """Whatever the text, a name is refused as InvalidName or keeps every rule."""
    with contextlib.suppress(InvalidName):
        assert check_ifname(name) == name
        assert 0 < len(name.encode()) <= MAX_IFNAME
        assert not set(name) & set("/:% \t\n\0")
    with contextlib.suppress(InvalidName):
        assert check_name(name, "namespace") == name
        assert 0 < len(name.encode()) <= MAX_NAME
        assert not set(name) & set("/:# \t\n\0")


def test_a_port_is_named_after_what_it_leads_to() -> None:
    """A name that fits is used as it is."""
    assert derive_port_name("left", "eth0", ()) == "left-eth0"
    assert derive_port_name("ten-bytes-", "eth0", ()) == "ten-bytes--eth0"


def test_a_port_name_that_does_not_fit_is_shortened_and_numbered() -> None:
    """Sixteen characters become fourteen at most and a number."""
    assert derive_port_name("eleven-byte", "eth0", ()) == "eleven-byte-e~1"


def test_shortened_port_names_of_one_bridge_differ() -> None:
    """Names that are alike in what is left of them are told apart by the number."""
    first = derive_port_name("long-namespace-1", "eth0", ())

    assert first == "long-namespac~1"
    assert derive_port_name("long-namespace-2", "eth0", {first}) == "long-namespac~2"


def test_a_port_name_that_is_taken_is_numbered() -> None:
    """The user may have given the derived name to another port."""
    assert derive_port_name("left", "eth0", {"left-eth0"}) == "left-eth0~1"


@given(
    namespace=st.text(alphabet="ab%.é-~", min_size=1, max_size=20),
    ifname=st.text(alphabet="ab.é-", min_size=1, max_size=7),
    others=st.sets(st.integers(0, 3)),
)
def test_a_derived_port_name_is_always_valid_and_free(
    namespace: str, ifname: str, others: set[int]
) -> None:
    """Whatever it is derived from, the kernel takes the name and nobody has it."""
    taken: set[str] = set()
    for _ in range(1 + len(others)):
        name = derive_port_name(namespace, ifname, taken)

        assert check_ifname(name) == name
        assert name not in taken
        taken.add(name)
