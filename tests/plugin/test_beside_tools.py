"""Beside plugins that measure coverage, make inputs, or run coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")


class TestCoverage:
    """pytest-cov: which lines have run."""

    CODE = """
        import sys

        def called():
            return "called"

        def spawned():
            return "spawned"

        def entered():
            return "entered"

        def traced():
            return sys.gettrace() is not None or sys.version_info >= (3, 12)

        def never():
            return "never"

        if __name__ == "__main__":
            print("in a child")
        """

    TESTS = """
        import code_under_test as code

        @pytest.mark.netns(CABLE)
        def test_all(netns):
            left, right = netns
            assert left.call(code.called) == "called"
            assert left.call(code.traced)
            assert right.spawn(code.spawned).result() == "spawned"
            with left, right.capture("eth0"):
                assert code.entered() == "entered"
            assert code.traced()
            child = [sys.executable, code.__file__]
            assert left.run(child).stdout == "in a child\\n"
        """

    @pytest.mark.parametrize("core", ["ctrace", "pytrace"])
    def test_lines(self, inner: Inner, plugin_args: tuple[str, ...], core: str) -> None:
        """Lines that run inside are covered, on every way in, also in children.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.pytester.makepyfile(code_under_test=self.CODE)
        inner.write(self.TESTS)
        (inner.path / ".coveragerc").write_text("[run]\npatch = subprocess\n")
        inner.monkeypatch.setenv("COVERAGE_CORE", core)
        result = inner.run(
            *("-p", "pytest_cov", "--cov=code_under_test"),
            *("--cov-report=term-missing", *plugin_args),
        )
        result.assert_outcomes(passed=1)
        text = (inner.path / "code_under_test.py").read_text().splitlines()
        missing = [number for number, line in enumerate(text, 1) if '"never"' in line]
        result.stdout.re_match_lines(
            rf"code_under_test\.py +\d+ +1 +\d+% +{missing[0]}$"
        )


class TestHypothesis:
    """hypothesis: one test, many examples."""

    WITH = ("-p", "hypothesispytest")
    PREAMBLE = """
        from hypothesis import HealthCheck, given, settings, strategies as st

        names = st.sampled_from(["left", "right"])
        quick = settings(
            max_examples=20, deadline=None, database=None, derandomize=True
        )
    """

    def test_network_of_an_example(self, inner: Inner) -> None:
        """Each example may build its own network; the smallest that fails is shown.

        ::

            machine1 (10.0.0.1) --- (10.0.0.2) machine2 --- ...
        """
        inner.write(
            self.PREAMBLE
            + """
        @quick
        @given(count=st.integers(1, 5))
        def test_good(netns_manager, count):
            assert netns_manager.networks == []
            machines = [Namespace(f"machine{number}") for number in range(count)]
            with netns_manager.build(Topology(*machines)) as network:
                assert len(network) == count
                for machine in network:
                    assert machine.run(["hostname"]).stdout.strip() == machine.name

        @quick
        @given(count=st.integers(1, 5))
        def test_bad(netns_manager, count):
            machines = [Namespace(f"machine{number}") for number in range(count)]
            with netns_manager.build(Topology(*machines)) as network:
                assert len(network) < 3
        """
        )
        result = inner.run(*self.WITH)
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines("E*assert 3 < 3")
        result.stdout.re_match_lines(r"E +count=3,?")

    def test_function_scope(self, inner: Inner) -> None:
        """All examples would share `netns`: hypothesis says so, unless it is meant.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            self.PREAMBLE
            + """
        @quick
        @given(name=names)
        def test_forgotten(netns, name):
            pass

        @pytest.mark.netns(CABLE)
        @settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(name=names)
        def test_meant(netns, name):
            other, = {"left", "right"} - {name}
            assert netns[name].ping(other)

        @pytest.mark.netns(CABLE)
        @settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(name=names)
        def test_marked(name):
            assert name in {"left", "right"}

        @pytest.mark.netns(CABLE)
        @settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(name=names)
        def test_broken(netns, name):
            assert netns[name].call(lambda: name) == "left"
        """
        )
        result = inner.run(*self.WITH)
        result.assert_outcomes(passed=2, failed=2)
        result.stdout.fnmatch_lines(
            ["*FailedHealthCheck: *unction-scoped fixture 'netns'*"]
        )
        result.stdout.re_match_lines(r"E +name='right',?")
        result.stdout.fnmatch_lines(["*10.0.0.1/24  ───  10.0.0.2/24*"])


#: Coroutines of any library that enter namespaces, wait in them, and go on outside.
COROUTINES = """
    HOME = os.stat("/proc/thread-self/ns/net").st_ino

    def here():
        return os.stat("/proc/thread-self/ns/net").st_ino

    def bound(namespace):
        server = namespace.socket()
        server.bind(("10.0.0.2", 80))
        server.listen()
        return server
"""


class TestCoroutines:
    """pytest-asyncio in its other mode, and anyio with both of its loops."""

    def test_asyncio_auto(self, inner: Inner) -> None:
        """Where every coroutine is a test, networks are as ever.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            COROUTINES
            + """
    import asyncio

    pytestmark = pytest.mark.netns(CABLE)

    @pytest.fixture
    async def left(netns):
        yield netns["left"]

    async def test_task(netns, left):
        assert await left.spawn(here) == left.inode
        with left:
            assert here() == left.inode
        assert here() == HOME

    async def test_many(netns):
        async def look(namespace):
            return await namespace.spawn(here)

        found = await asyncio.gather(*(look(one) for one in [*netns] * 10))
        assert found == [one.inode for one in netns] * 10

    async def test_capture(netns, left):
        with left.capture("eth0") as capture:
            assert await left.spawn(left.ping, "right")
            assert len(capture.wait(2)) >= 2

    async def test_unobserved(left):
        left.spawn(lambda: 1 / 0)
        await asyncio.sleep(0.05)

    def test_not_a_coroutine(netns):
        assert netns["left"].ping("right")
    """
        )
        result = inner.run(
            *("-p", "asyncio", "-o", "asyncio_mode=auto"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
        )
        result.assert_outcomes(passed=4, failed=1)
        result.stdout.fnmatch_lines("FAILED *test_unobserved - ZeroDivision*")

    def test_anyio(self, inner: Inner) -> None:
        """On the loops of asyncio and trio sockets of a namespace can be used.

        ::

            left (10.0.0.1) --- (10.0.0.2) right
        """
        inner.write(
            COROUTINES
            + """
    import anyio
    from anyio import to_thread

    pytestmark = [pytest.mark.anyio, pytest.mark.netns(CABLE)]

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param

    async def test_sockets(netns, anyio_backend):
        left, right = netns
        with bound(right) as server, left.socket() as client:
            for one in (server, client):
                one.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.connect(("10.0.0.2", 80))
            await anyio.wait_readable(server)
            connection, _ = server.accept()
            with connection:
                connection.send(b"words")
                await anyio.wait_readable(client)
                assert client.recv(9) == b"words"

    async def test_threads(netns):
        left, right = netns
        assert await to_thread.run_sync(left.call, here) == left.inode
        assert await to_thread.run_sync(here) == HOME
        with right:
            inside = await to_thread.run_sync(lambda: left.ping("right"))
        assert inside and here() == HOME

    async def test_entered(netns):
        inodes = []

        async def look(namespace):
            with namespace:
                inodes.append(here() == namespace.inode)
            await anyio.lowlevel.checkpoint()
            inodes.append(here() == HOME)

        async with anyio.create_task_group() as tasks:
            for namespace in [*netns] * 5:
                tasks.start_soon(look, namespace)
        assert inodes == [True] * 20
    """
        )
        inner.run("-p", "anyio").assert_outcomes(passed=6)
