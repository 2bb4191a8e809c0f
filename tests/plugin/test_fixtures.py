from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")


def test_without_marker(inner: Inner) -> None:
    """Without a marker the network is empty, and takes any records.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.write(
        """
        def test_empty(netns):
            assert len(netns) == 0
            assert netns.topology == Topology()

        def test_add(netns):
            netns.add(*CABLE)
            assert netns["left"].ping("right")
        """
    )
    inner.run().assert_outcomes(passed=2)


def test_topology_is_overridden(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """A fixture netns_topology derives a topology from the marker's, for its scope.

    ::

        left (10.0.0.1) --- (10.0.0.2) right (10.0.1.1) --- (10.0.1.2) third
    """
    inner.write(
        """
        pytestmark = pytest.mark.netns(CABLE)

        class TestDerived:
            @pytest.fixture(params=["10.0.1", "10.0.2"])
            def netns_topology(self, netns_topology, request):
                assert netns_topology == CABLE
                return netns_topology.with_records(
                    Namespace("third"),
                    Veth("right", "third", subnet=f"{request.param}.0/24"),
                )

            def test_derived(self, netns, netns_topology):
                assert netns.topology == netns_topology
                assert netns["right"].ping("third")

        def test_others(netns):
            assert "third" not in netns
        """
    )
    inner.run(*plugin_args).assert_outcomes(passed=3)


def test_wider_scopes(inner: Inner, plugin_args: tuple[str, ...]) -> None:
    """Networks of modules and sessions live as long as their fixtures do.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.pytester.makeconftest(
        """
        import leftovers, pytest
        from pytest_netns import Namespace, Topology, Veth

        @pytest.fixture(scope="session")
        def wide(netns_manager):
            with netns_manager.build(Topology(Namespace("left"))) as network:
                yield network
            assert network.closed

        @pytest.fixture(scope="module")
        def narrow(netns_manager):
            cable = Topology(
                Namespace("left"),
                Namespace("right"),
                Veth("left", "right", subnet="10.0.0.0/24"),
            )
            with netns_manager.build(cable) as network:
                yield network
            assert network.closed
        """
    )
    for name in ("first", "second"):
        inner.write(
            """
            seen = {}

            @pytest.mark.parametrize("number", [1, 2])
            def test_same(number, wide, narrow):
                assert wide["left"].inode != narrow["left"].inode
                assert narrow["left"].ping("right")
                for network in (wide, narrow):
                    assert seen.setdefault(network, network["left"].inode) == (
                        network["left"].inode
                    )
                assert len(seen) == 2

            @pytest.mark.netns(CABLE)
            def test_beside(netns, narrow):
                assert netns["left"].inode != narrow["left"].inode
                assert netns["left"].ping("right")
            """,
            name=f"test_{name}",
        )
    inner.run(
        *plugin_args, *(["--dist", "loadfile"] if plugin_args else [])
    ).assert_outcomes(passed=6)


def test_marker_is_enough(inner: Inner) -> None:
    """A marked test gets its network though it does not ask, even one of unittest."""
    inner.write(
        """
        import unittest

        @pytest.mark.netns(CABLE)
        def test_not_asked(netns_manager):
            (network,) = netns_manager.networks
            assert network.topology == CABLE

        @pytest.mark.netns(CABLE)
        @pytest.mark.parametrize("number", [1, 2])
        def test_parametrised(number, request):
            assert request.getfixturevalue("netns_manager").networks

        @pytest.mark.netns(CABLE)
        class TestCase(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def keep_manager(self, netns_manager):
                self.manager = netns_manager

            def test_method(self):
                self.assertEqual(self.manager.networks[0].topology, CABLE)

        def test_unmarked(netns_manager):
            assert netns_manager.networks == []
        """
    )
    inner.run().assert_outcomes(passed=5)


def test_closed_by_the_test(inner: Inner) -> None:
    """A test may close its network itself; what is used after that says so."""
    inner.write(
        """
        import leftovers

        @pytest.mark.netns(CABLE)
        def test_closes(netns):
            left = netns["left"]
            left.popen("sleep 60")
            task = left.spawn(time.sleep, 0)
            listener = left.socket()
            listener.bind(("", 0))
            netns.close()
            leftovers.assert_nothing_left()
            for use in (
                left.__enter__,
                lambda: left.run("true"),
                lambda: left.call(int),
                lambda: netns.add(Namespace("more")),
                lambda: netns.link("left:eth0"),
            ):
                with pytest.raises(ClosedError, match="closed"):
                    use()
            netns.close()

        @pytest.mark.netns(CABLE)
        def test_next(netns):
            assert netns["left"].ping("right")
        """
    )
    inner.run().assert_outcomes(passed=2)


def test_main_thread_is_brought_home(inner: Inner) -> None:
    """A test that leaves the main thread inside does so for itself alone."""
    inner.write(
        """
        import ctypes
        from pytest_netns import _syscalls

        def here():
            return os.stat("/proc/thread-self/ns/net").st_ino

        HOME = here()

        @pytest.fixture
        def sees_home_at_teardown(netns):
            yield
            assert here() == HOME

        @pytest.mark.netns(CABLE)
        @pytest.mark.parametrize("fails", [False, True])
        def test_stays(netns, sees_home_at_teardown, fails):
            with open(netns["left"].path) as namespace:
                _syscalls.setns(namespace.fileno(), _syscalls.CLONE_NEWNET)
            assert here() == netns["left"].inode
            assert not fails

        @pytest.mark.netns(CABLE)
        def test_block_is_never_left(netns):
            netns["left"].__enter__()

        def test_next():
            assert here() == HOME

        @pytest.fixture
        def inside(netns):
            with netns["left"]:
                yield

        @pytest.mark.netns(CABLE)
        def test_fixture_is_inside(inside, netns):
            assert here() == netns["left"].inode

        @pytest.fixture(scope="class")
        def all_inside(netns_manager):
            with netns_manager.build(CABLE) as network, network["left"]:
                yield network

        class TestAllInside:
            @pytest.mark.parametrize("number", [1, 2])
            def test_each(self, number, all_inside):
                assert here() == all_inside["left"].inode

        def test_after_class():
            assert here() == HOME

        @pytest.fixture
        def stays_at_teardown(netns):
            yield
            netns["left"].__enter__()

        @pytest.mark.netns(CABLE)
        def test_fixture_stays_at_teardown(stays_at_teardown):
            pass

        @pytest.fixture
        def fails_inside(netns):
            netns["left"].__enter__()
            assert 0

        def test_after_teardown():
            assert here() == HOME

        @pytest.mark.netns(CABLE)
        def test_fixture_fails(fails_inside):
            pass

        def test_last(netns):
            assert here() == HOME
        """
    )
    result = inner.run()
    result.assert_outcomes(passed=10, failed=1, errors=1)
