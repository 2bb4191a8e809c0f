from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_netns import Namespace, TopologyError
from pytest_netns._sysctl import path_of


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.mtu", "net/ipv4/conf/eth0.1/mtu"),
        ("net/ipv4/conf/eth0.1/mtu", "net/ipv4/conf/eth0.1/mtu"),
        ("kernel", "kernel"),
    ],
)
def test_the_first_separator_of_a_sysctl_decides(key: str, path: str) -> None:
    """The other one stands for a dot in an interface's name, as in sysctl(8)."""
    assert path_of(key) == f"/proc/sys/{path}"


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"net[./][net./a-z]*", fullmatch=True),
        st.lists(st.sampled_from(["net", "..", ".", "/", "//", "kernel", "a"])).map(
            "".join
        ),
    )
)
def test_a_declared_sysctl_is_one_of_the_network(key: str) -> None:
    """Whatever its separators, a key that a record takes stays below /proc/sys/net."""
    try:
        Namespace("a", sysctls={key: 1})
    except TopologyError:
        return
    path = path_of(key)
    assert os.path.normpath(path).startswith("/proc/sys/net/")
    path.encode()
    assert "\0" not in path
