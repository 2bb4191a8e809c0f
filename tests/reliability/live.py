"""What a test may do to its network through the objects of the package."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_netns import Bridge, Namespace, Veth

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_netns import Network, NetworkNamespace


def ports_of(network: Network, bridge: str) -> list[str]:
    """Return the names of the ports of a hidden bridge."""
    return list(network.topology.layout.interfaces.get(bridge, ()))


def _keep_socket(network: Network, namespace: NetworkNamespace) -> None:
    _KEPT.append(namespace.socket(socket.AF_INET, socket.SOCK_DGRAM))
    _KEPT[-1].bind(("0.0.0.0", 4000))


def _keep_listener(network: Network, namespace: NetworkNamespace) -> None:
    _KEPT.append(namespace.socket(socket.AF_INET6))
    _KEPT[-1].bind(("::", 4001))
    _KEPT[-1].listen()


def _keep_connection(network: Network, namespace: NetworkNamespace) -> None:
    _keep_listener(network, namespace)
    namespace.run("ip link set lo up", check=False)
    _KEPT.append(namespace.socket(socket.AF_INET6))
    _KEPT[-1].connect(("::1", 4001))
    _KEPT[-1].send(b"unread")


def _start_thread(network: Network, namespace: NetworkNamespace) -> None:
    with namespace:
        mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        mine.bind(("127.0.0.1", 0))

        def listen() -> None:
            with contextlib.suppress(OSError):
                mine.recv(1)

        threading.Thread(target=listen, daemon=True).start()
    _KEPT.append(mine)


def _start_server(network: Network, namespace: NetworkNamespace) -> None:
    namespace.popen(["sh", "-c", "trap '' TERM HUP; sleep 600 & sleep 600"])


def _fail_in_task(network: Network, namespace: NetworkNamespace) -> None:
    namespace.spawn(int, "no number")


def _go_elsewhere(network: Network, namespace: NetworkNamespace) -> None:
    namespace.call(os.chdir, "/")
    namespace.call(os.umask, 0o777)
    namespace.call(socket.sethostname, "changed")


def _set_link_down(network: Network, namespace: NetworkNamespace) -> None:
    bridge = next(iter(network._fabric.switches))
    network.link(f"{bridge}:{bridge}").set_down()
    network.link(f"{bridge}:{ports_of(network, bridge)[0]}").set_down()


def _add(network: Network, namespace: NetworkNamespace) -> None:
    network.add(
        Namespace("later"),
        Bridge("later0", stp=True),
        Veth("later", "later0", address="10.5.0.1/24", lladdr="02:55:00:00:00:01"),
        Veth(namespace.name, "later0", address="10.5.0.2/24"),
    )
    network["later"].ping("10.5.0.2")


def _capture_bridge(network: Network, namespace: NetworkNamespace) -> None:
    bridge = next(iter(network._fabric.switches))
    _KEPT.append(network.capture(f"{bridge}:{ports_of(network, bridge)[0]}"))
    _KEPT[-1].__enter__()


def _capture(network: Network, namespace: NetworkNamespace) -> None:
    _KEPT.append(namespace.capture())
    _KEPT[-1].__enter__()


def _stay_inside(network: Network, namespace: NetworkNamespace) -> None:
    namespace.__enter__()


def _clear_files(network: Network, namespace: NetworkNamespace) -> None:
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        namespace.call(Path(path).write_bytes, b"")


#: What nobody closes, as in a test that forgets it.
_KEPT: list[Any] = []
LIVE: dict[str, Callable[[Network, NetworkNamespace], None]] = {
    "socket": _keep_socket,
    "listener": _keep_listener,
    "connection": _keep_connection,
    "thread": _start_thread,
    "process": lambda _, namespace: _ignore(namespace.popen(["sleep", "600"])),
    "server": _start_server,
    "capture": _capture,
    "bridge capture": _capture_bridge,
    "failing task": _fail_in_task,
    "directory": _go_elsewhere,
    "ping": lambda _, namespace: _ignore(namespace.ping("10.1.0.1")),
    "link down": _set_link_down,
    "add": _add,
    "names": lambda _, namespace: _ignore(namespace.run("hostname another")),
    "visit": _stay_inside,
    "clear files": _clear_files,
}


def _ignore(_: object) -> None:
    """Keep nothing."""
