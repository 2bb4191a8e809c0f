from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Inner

pytestmark = pytest.mark.usefixtures("privileged")

TESTS = """
    import asyncio

    import pytest_asyncio

    pytestmark = [pytest.mark.asyncio, pytest.mark.netns(CABLE)]

    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask(namespace, host, port, words=b"words\\n"):
        reader, writer = await namespace.open_connection(host, port)
        writer.write(words)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    @pytest_asyncio.fixture
    async def server(netns):
        async with await netns["right"].start_server(echo, "10.0.0.2", 80) as server:
            yield server

    @pytest.mark.parametrize("host", ["10.0.0.2", "right"])
    async def test_connection(netns, server, host):
        assert await ask(netns["left"], host, 80) == b"words\\n"
        # from many namespaces and to many at once, and not from the machine's own
        answers = await asyncio.gather(
            *(ask(netns["left"], host, 80, b"%d\\n" % number) for number in range(20))
        )
        assert answers == [b"%d\\n" % number for number in range(20)]
        with pytest.raises(OSError):
            await ask(netns["left"], "10.0.0.1", 80)

    async def test_same_port_in_both(netns):
        async with await netns["left"].start_server(echo, None, 80):
            async with await netns["right"].start_server(echo, "", 80):
                assert await ask(netns["left"], "right", 80) == b"words\\n"
                assert await ask(netns["right"], "left", 80) == b"words\\n"

    async def test_refused(netns):
        with pytest.raises(ConnectionRefusedError):
            await netns["left"].open_connection("right", 81)
        with pytest.raises(OSError):
            await netns["left"].start_server(echo, "10.0.0.2", 80)

    async def test_add_while_the_loop_runs(netns):
        netns.add(Namespace("third"), Veth("third", "left", subnet="10.0.1.0/24"))
        assert netns["third"].ping("left")
        async with await netns["third"].start_server(echo, "third", 80):
            assert await ask(netns["left"], "third", 80) == b"words\\n"

    async def test_run(netns):
        assert netns["left"].run("echo words").stdout == "words\\n"
        assert netns["left"].call(socket.gethostname) == "left"
        with netns["right"].popen(["sleep", "60"]) as process:
            assert process.poll() is None

    async def test_task(netns):
        assert await netns["left"].spawn(socket.gethostname) == "left"
        with pytest.raises(ZeroDivisionError):
            await netns["left"].spawn(lambda: 1 / 0)

    def here():
        return os.stat("/proc/thread-self/ns/net").st_ino

    async def test_callbacks_are_outside(netns):
        home = here()
        seen = []

        async def look(reader, writer):
            seen.append(here())
            await echo(reader, writer)

        async with await netns["right"].start_server(look, "right", 80):
            await ask(netns["left"], "right", 80)
        seen.append(await asyncio.to_thread(here))
        assert seen == [home, home]

    async def test_failure_has_its_picture(netns):
        assert not await ask(netns["left"], "right", 81)
"""


def test_coroutines(inner: Inner) -> None:
    """Tests and fixtures of pytest-asyncio build, connect and serve in their own loop.

    ::

        left (10.0.0.1) --- (10.0.0.2) right
    """
    inner.write(TESTS)
    result = inner.run(
        "-o", "asyncio_default_fixture_loop_scope=function", always=inner.STRICT
    )
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(
        ["E * ConnectionRefusedError: *", "left:eth0  10.0.0.1/24 *right:eth0"]
    )
