"""Names in filters: which of them may be looked up, and by whom."""

from __future__ import annotations

import pytest

from pytest_netns import InvalidFilter
from pytest_netns._filter_words import name_to_resolve
from pytest_netns._frame import ETHERNET
from pytest_netns._libpcap import OfflineFilter, compile_filter, is_available


def compiled(text: str) -> object:
    """Compile a filter."""
    return compile_filter(text, linktype=ETHERNET, snaplen=65535)


@pytest.mark.skipif(not is_available(), reason="there is no libpcap")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("host server.example", "server.example"),
        ("example", "example"),
        ("tpc port 80", "tpc"),
        ("TCP", "TCP"),
        ("net intranet", "intranet"),
        ("ether host printer", "printer"),
        ("gateway router", "router"),
        ("src \\tcp", "\\tcp"),
        ("host 10.0.0.1.5", "10.0.0.1.5"),
        ("host 10.0.0.1 or server", "server"),
        ("host fe80::1%eth0", "eth0"),
        ("host abcd:ef", "abcd:ef"),
        ("port http or host server", "server"),
        ("port http or src server", "server"),
        ("port 80 and tcp server", "server"),
        ("host 10.0.0.1 and (port 80) and server", "server"),
        ("port 80 and (host 10.0.0.1) and server", "server"),
        ("(port http) and server", "server"),
        ("not(server)", "server"),
        (")server", "server"),
    ],
)
def test_names_of_hosts_are_not_looked_up(text: str, name: str) -> None:
    """Nobody is asked for an address, not even for that of a mistyped word."""
    for attempt in (compiled, OfflineFilter):
        with pytest.raises(InvalidFilter, match="not looked up") as caught:
            attempt(text)
        assert repr(name) in caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "port http or https and not domain",
        "port (http or (https))",
        "src or dst port http",
        "tcp portrange ftp-http",
        "ip proto \\tcp or \\udp",
        "llc u",
        "ifname eth0",
        "host 10.0.0.1 or port http",
    ],
)
def test_names_in_files_may_be_looked_up(text: str) -> None:
    """Those of ports and protocols; others are libpcap's own."""
    unknown = {"http", "https", "domain", "ftp-http", "u", "eth0"}

    assert name_to_resolve(text, unknown.__contains__) is None
