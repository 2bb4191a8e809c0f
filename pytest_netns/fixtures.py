"""The fixtures, each a few lines over the session and the manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .markers import check_required, required_programs, topology_of
from .session import SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .manager import NetworkManager
    from .network import Network
    from .topology import Topology


@pytest.fixture(scope="session")
def netns_manager(request: pytest.FixtureRequest) -> Iterator[NetworkManager]:
    """Build networks of any scope: ``netns_manager.build(topology)`` in a with."""
    from .errors import UnsupportedError
    from .termination import listen

    session = request.config.stash[SESSION]
    try:
        manager = session.start()
    except UnsupportedError as error:
        session.give_up(error)
    listen(request.config)
    yield manager
    session.stop()


@pytest.fixture
def netns_topology(request: pytest.FixtureRequest) -> Topology:
    """Give the topology about to be built; override it to derive another."""
    return topology_of(request.node)


@pytest.fixture
def netns(
    request: pytest.FixtureRequest,
    netns_manager: NetworkManager,
    netns_topology: Topology,
) -> Iterator[Network]:
    """Give the test's live network: what its marker declares, or an empty one."""
    from .errors import TeardownError, UnsupportedError

    session = request.config.stash[SESSION]
    session.builds_for_test = True
    try:
        check_required(required_programs(request.node))
        network = netns_manager.build(netns_topology)
    except UnsupportedError as error:
        session.give_up(error)
    finally:
        session.builds_for_test = False
    network.raises_failures = False  # the plugin raises them while the test runs
    leftovers = ""
    try:
        with network:
            yield network
    except TeardownError as error:
        leftovers = str(error)
    if leftovers:
        pytest.fail(leftovers, pytrace=False)  # no line of the test is to blame
