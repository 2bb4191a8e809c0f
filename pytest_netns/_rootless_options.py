"""``--netns-rootless``: when to enter, and what people are told of it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from .tracebacks import chain_of

if TYPE_CHECKING:
    from .rootless import Rootless

#: Where a pytest configuration has what came of it.
_OUTCOME: pytest.StashKey[Rootless | None] = pytest.StashKey()
#: What the controller of xdist calls its obstacle when it tells its workers.
_OF_CONTROLLER = "netns_rootless_obstacle"
#: Who may build networks: whoever can, always a user namespace's root, or only who is
#: privileged already.
_MODES = ("auto", "always", "never")
#: How it shows that there is no way to somewhere.
_UNREACHABLE = {
    errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}
_HEADER = (
    "netns: rootless, in a user and network namespace: tests have no way to this "
    "machine's own network (unless --netns-rootless=never)"
)
_HINT = (
    "This run is in a user and network namespace of its own, because it is not "
    "privileged: there is no\nway to the machine's network, nor to what listens on its "
    "loopback interface. With\n--netns-rootless=never (ini: netns_rootless) tests like "
    "this one have it, and those of networks need root."
)


def add_rootless_option(group: pytest.OptionGroup, parser: pytest.Parser) -> None:
    """Add the option, also an ini value."""
    group.addoption(
        "--netns-rootless",
        choices=_MODES,
        help="run everything in a user namespace, where networks need no root, and "
        "which has no way to the machine's own: auto (if not given) where privileges "
        "are missing, always, or never",
    )
    parser.addini("netns_rootless", "the same as --netns-rootless", default="auto")


def enter_if_wanted(config: pytest.Config) -> None:
    """Enter a user namespace if that is wanted: once, before there are threads.

    Raises:
        pytest.UsageError: The ini-file wants something else.
    """
    if _OUTCOME in config.stash:
        return
    outcome, mode = None, _mode(config)
    if mode == "always" or (mode == "auto" and _lacks_privileges()):
        from .rootless import go_rootless

        outcome = go_rootless("always")  # that it is wanted is known by now
    config.stash[_OUTCOME] = outcome


def _lacks_privileges() -> bool:
    from .privileges import missing_capabilities  # who says "never" has no need of it

    return bool(missing_capabilities())


def _mode(config: pytest.Config) -> str:
    # while initial conftests are loaded, this is all that there is
    given = getattr(config.known_args_namespace, "netns_rootless", None)
    mode = str(given or config.getini("netns_rootless"))
    if mode not in _MODES:
        choices = ", ".join(_MODES)
        raise pytest.UsageError(f"netns_rootless is {mode!r}, and not one of {choices}")
    return mode


def outlook(config: pytest.Config) -> str | None:
    """Return what messages say of user namespaces, where privileges are missing."""
    if _mode(config) == "never":
        return "in a user namespace: with --netns-rootless=auto"
    outcome = config.stash.get(_OUTCOME, None)
    obstacle = _told(config) or (outcome and outcome.obstacle)
    if not obstacle:
        return None
    from .privileges import does_not_work

    return does_not_work(obstacle)


def tell_worker(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Have a worker of xdist know what has kept its controller from entering."""
    outcome = config.stash.get(_OUTCOME, None)
    workerinput[_OF_CONTROLLER] = outcome.obstacle if outcome else None


def _told(config: pytest.Config) -> str | None:
    """Return what the controller has told this worker, if it is one.

    The worker itself has threads already, and knows no other reason.
    """
    workerinput = getattr(config, "workerinput", {})
    obstacle: str | None = workerinput.get(_OF_CONTROLLER)
    return obstacle


def header_of(config: pytest.Config) -> list[str]:
    """Return the lines that the report's header has of it."""
    return [_HEADER] if _has_entered(config) else []


def hint_for(item: pytest.Item, error: BaseException | None) -> str | None:
    """Return a hint, if a test of something else may have missed the network."""
    if not _has_entered(item.config) or "netns_manager" in _fixtures_of(item):
        return None
    return _HINT if any(map(_is_unreachable, chain_of(error))) else None


def _has_entered(config: pytest.Config) -> bool:
    outcome = config.stash.get(_OUTCOME, None)
    return outcome is not None and outcome.entered


def _fixtures_of(item: pytest.Item) -> list[str]:
    names: list[str] = getattr(item, "fixturenames", [])
    return names


def _is_unreachable(error: BaseException) -> bool:
    from socket import gaierror  # looking a name up needs the network, too

    return isinstance(error, gaierror) or (
        isinstance(error, OSError) and error.errno in _UNREACHABLE
    )
