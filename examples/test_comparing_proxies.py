"""Which proxy? haproxy, nginx and socat side by side, in the same rounds.

client 10.0.0.1 ───┐
proxy  10.0.0.2 ───┼─── br0      :8001 haproxy   :8002 nginx   :8003 socat
server 10.0.0.3 ───┘             :5201 where all of them forward to
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    Bench,
    Bridge,
    Namespace,
    Network,
    Process,
    Proxy,
    Topology,
    Veth,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns(
    Topology(
        Bridge("br0", subnet="10.0.0.0/24"),
        *(Namespace(name) for name in ("client", "proxy", "server")),
        *(Veth(name, "br0") for name in ("client", "proxy", "server")),
    ),
    requires=["haproxy", "nginx", "socat"],
)

HAPROXY = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 30s
    timeout server 30s
listen proxy
    bind :8001
    server server 10.0.0.3:5201
"""
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
stream { server { listen 8002; proxy_pass 10.0.0.3:5201; } }
"""
SOCAT = ["TCP-LISTEN:8003,fork,reuseaddr,backlog=1024", "TCP:10.0.0.3:5201"]


@pytest.fixture
def proxies(netns: Network, tmp_path: Path) -> dict[str, tuple[int, Process]]:
    """Give the port and the process of each proxy, listening."""
    (tmp_path / "haproxy.cfg").write_text(HAPROXY)
    (tmp_path / "nginx.conf").write_text(NGINX)
    machine = netns["proxy"]
    haproxy = ["haproxy", "-db", "-f", "haproxy.cfg"]
    nginx = ["nginx", "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
    started = {
        "haproxy": (8001, machine.popen(haproxy, cwd=tmp_path)),
        "nginx": (8002, machine.popen(nginx)),
        "socat": (8003, machine.popen(["socat", *SOCAT])),
    }
    for port, process in started.values():
        process.wait_listening(port)
    return started


def test_three_proxies(
    netns: Network, netns_bench: Bench, proxies: dict[str, tuple[int, Process]]
) -> None:
    """Each is compared with the direct way, which they share."""
    result = netns_bench.compare(
        {
            name: Proxy(
                netns["client"],
                netns["server"],
                through=("10.0.0.2", port),
                port=5201,
                process=process,
            )
            for name, (port, process) in proxies.items()
        },
        metrics=["throughput", "latency"],
        budget=3.0,
    )
    print(result.table())
    for name in proxies:
        assert result[name].throughput.ratio.low > 0.01
        assert result[name].latency.ratio.high > 1
