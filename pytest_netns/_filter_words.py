"""The words of a filter in tcpdump's language, as far as they tell what is a name.

libpcap asks the machine's resolver for every word that it does not know, a mistyped
keyword included: ``tpc port 80`` is a question to a name server. No test may send
one, so names are found before libpcap sees the filter. Which words it knows depends
on its version: libpcap itself is asked that, in a place where it looks up nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: What libpcap's scanner takes as one (scanner.l): a backslash makes anything a
#: name; addresses have colons; a word may have dots and hyphens, but not at its end.
_TOKEN = re.compile(
    r"\\[^ !()\n\t]+"
    r"|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
    r"|[A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?"
    r"|[()]"
)
#: Keywords before names that are in files of the machine (services(5), protocols(5)),
#: in a table of libpcap, or of interfaces and the like.
_BEFORE_OTHER_NAMES = frozenset(
    (
        *("port", "portrange", "proto", "protochain", "llc", "ifname", "on", "rset"),
        *("ruleset", "reason", "action", "type", "subtype", "dir", "direction"),
    )
)


def name_to_resolve(text: str, is_name: Callable[[str], bool]) -> str | None:
    """Return the first name of a host or a network in a filter, None if it has none.

    A keyword holds for the names behind it, until there is another: in
    ``port http or https`` both are ports. What holds behind parentheses is one of
    that from before them and that from inside (grammar.y), so both are considered.

    Args:
        text: The filter.
        is_name: Tells whether a token begins with a word that libpcap does not know.
    """
    is_harmless = False
    outside: list[bool] = []
    for token in _TOKEN.findall(text):
        if token == "(":  # noqa: S105  # not that kind of token
            outside.append(is_harmless)
        elif token == ")":  # noqa: S105
            is_harmless = bool(outside) and outside.pop() and is_harmless
        elif token in {"and", "or", "not"}:
            continue
        elif token.startswith("\\") or is_name(token):
            if not is_harmless:
                return str(token)
        elif token[0].isalpha() and ":" not in token:
            is_harmless = token in _BEFORE_OTHER_NAMES
    return None
