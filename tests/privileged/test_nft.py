"""Rulesets of nftables: `ns.nft`, ``Namespace(nftables=...)``, and how NAT is loaded.

left (10.0.0.1, fd00::1) --- (10.0.0.2, fd00::2) right
"""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import pytest

from pytest_netns import (
    DNAT,
    SNAT,
    ClosedError,
    CommandError,
    Masquerade,
    MissingTool,
    Namespace,
    Network,
    NetworkManager,
    RulesetError,
    Topology,
    Veth,
)
from pytest_netns import _libnftables as libnftables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_ECHOES = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy accept;
        icmp type echo-request drop
        icmpv6 type echo-request drop
    }
}
"""
#: The fifth line is wrong.
BROKEN = """
table inet filter {
    chain input {
        type filter hook input priority filter;
        tcp dprot 80 drop
    }
}
"""


def pair(nftables: str = "") -> Topology:
    """Return two namespaces with a cable, and a ruleset for one."""
    return Topology(
        Namespace("left"),
        Namespace("right", nftables=nftables),
        Veth("left:eth0", "right:eth0", subnet=["10.0.0.0/24", "fd00::/64"]),
    )


@pytest.fixture
def manager() -> Iterator[NetworkManager]:
    """Give a manager of its own, so that nobody else holds descriptors."""
    with NetworkManager() as manager:
        yield manager


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide all programs."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide libnftables."""
    monkeypatch.setattr(libnftables, "is_available", lambda: False)


@pytest.mark.netns(pair())
class TestCall:
    """`ns.nft`."""

    def test_load_and_list(self, netns: Network) -> None:
        """What is loaded is listed, and nothing is there before."""
        right = netns["right"]
        assert right.nft("list ruleset") == ""
        assert right.nft(NO_ECHOES) == ""
        listed = textwrap.dedent(right.nft("list ruleset")).replace("\t", "    ")
        assert listed == NO_ECHOES.lstrip()
        assert netns["left"].nft("list ruleset") == ""

    @pytest.mark.parametrize("target", ["10.0.0.2", "fd00::2"])
    def test_effect(self, netns: Network, target: str) -> None:
        """Rules do what they say, from then on until they are deleted."""
        left, right = netns["left"], netns["right"]
        assert left.ping(target)
        right.nft(NO_ECHOES)
        assert not left.ping(target, timeout=0.1)
        right.nft("delete table inet filter")
        assert left.ping(target)

    def test_several_commands(self, netns: Network) -> None:
        """Several commands are one transaction; lists show what came of it."""
        output = netns["right"].nft(
            "add table ip one; add table ip two\nlist tables\nadd table ip three"
        )
        assert output == "table ip one\ntable ip two\ntable ip three\n"

    def test_nothing(self, netns: Network) -> None:
        """No command does nothing."""
        assert netns["right"].nft("") == netns["right"].nft("# a comment\n") == ""

    def test_comments_and_letters(self, netns: Network) -> None:
        """Any text may be in a comment of a rule."""
        rule = 'accept comment "für Ünïcode 🖧"'
        netns["right"].nft(f"table ip t {{\nchain c {{\n{rule}\n}}\n}}")
        assert rule in netns["right"].nft("list ruleset")

    def test_refused(self, netns: Network) -> None:
        """The error has what nft says, the line it points at, and the text."""
        with pytest.raises(RulesetError) as caught:
            netns["right"].nft(BROKEN)
        error = caught.value
        assert isinstance(error, CommandError)
        assert (error.line, error.ruleset, error.namespace) == (5, BROKEN, "right")
        assert error.returncode == 1
        assert error.record is None
        assert "syntax error" in error.stderr
        message = str(error)
        assert message.startswith("nft refused the ruleset of namespace 'right'")
        assert "at line 5: tcp dprot 80 drop\n" in message
        assert error.stderr.splitlines()[0] in message
        assert "^^^^^" in message

    def test_refused_by_the_kernel(self, netns: Network) -> None:
        """What nft understands and the kernel refuses is the same kind of error."""
        with pytest.raises(RulesetError, match="No such file or directory") as caught:
            netns["right"].nft("add table ip t\nadd rule ip t nowhere accept")
        assert caught.value.line == 2

    def test_one_transaction(self, netns: Network) -> None:
        """Of a ruleset that is refused nothing is loaded, and the old one stays."""
        right = netns["right"]
        right.nft(NO_ECHOES)
        before = right.nft("list ruleset")
        with pytest.raises(RulesetError):
            right.nft(f"flush ruleset\nadd table ip t\n{BROKEN}")
        with pytest.raises(RulesetError):
            right.nft("flush ruleset\nadd table ip t\nadd rule ip t nowhere accept")
        assert right.nft("list ruleset") == before

    def test_included_file(self, netns: Network, tmp_path: Path) -> None:
        """A ruleset may include files; the line of an error in one is not ours."""
        rules = tmp_path / "rules.nft"
        rules.write_text(NO_ECHOES)
        netns["right"].nft(f'include "{rules}"\n')
        assert "echo-request" in netns["right"].nft("list ruleset")
        rules.write_text(BROKEN)
        with pytest.raises(RulesetError, match=r"rules\.nft:5") as caught:
            netns["right"].nft(f'include "{rules}"\n')
        assert caught.value.line is None

    @pytest.mark.usefixtures("no_programs")
    def test_missing_program(self, netns: Network) -> None:
        """Without nft it says who needs it, and which package has it."""
        with pytest.raises(MissingTool, match=r"'nft' .*'right\.nft\(\)'.*nftables"):
            netns["right"].nft("list ruleset")

    def test_closed(self, netns: Network) -> None:
        """It is an error in a closed network."""
        right = netns["right"]
        netns.close()
        with pytest.raises(ClosedError):
            right.nft("list ruleset")


class TestDeclared:
    """``Namespace(nftables=...)``."""

    @pytest.mark.netns(pair(NO_ECHOES))
    @pytest.mark.parametrize("target", ["10.0.0.2", "fd00::2"])
    def test_effect(self, netns: Network, target: str) -> None:
        """The rules are there when the network is, in that namespace alone."""
        assert not netns["left"].ping(target, timeout=0.1)
        assert netns["left"].nft("list ruleset") == ""
        netns["right"].nft("flush ruleset")
        assert netns["left"].ping(target)

    @pytest.mark.netns(
        pair(
            """
            table netdev early {
                chain ingress {
                    type filter hook ingress device eth0 priority 0;
                    ip protocol icmp drop
                }
            }"""
        )
    )
    def test_interfaces_are_there(self, netns: Network) -> None:
        """A ruleset may name interfaces that must exist when it is loaded."""
        assert not netns["left"].ping("10.0.0.2", timeout=0.1)
        assert netns["left"].ping("fd00::2")

    @pytest.mark.netns(
        pair(
            """table inet shut {
                chain in { type filter hook input priority 0; policy drop; }
                chain out { type filter hook output priority 0; policy drop; }
            }"""
        )
    )
    def test_shut_namespaces_are_built(self, netns: Network) -> None:
        """A ruleset that drops everything does not hinder the build."""
        assert not netns["left"].ping("10.0.0.2", timeout=0.1)
        netns.add(
            Namespace("more"), Veth("right:eth1", "more:eth0", subnet="10.9.0.0/24")
        )
        assert not netns["more"].ping("10.9.0.1", timeout=0.1)
        netns["right"].nft("delete table inet shut")
        assert netns["more"].ping("10.9.0.1")
        assert netns["left"].ping("10.0.0.2")

    def test_refused(self, manager: NetworkManager) -> None:
        """A build whose ruleset is refused names the record, and leaves nothing."""
        manager.build(pair()).close()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(RulesetError) as caught:
            manager.build(pair(BROKEN))
        assert caught.value.line == 5
        assert caught.value.record is not None
        assert caught.value.record.startswith("Namespace('right', nftables=")
        assert str(caught.value).endswith(f"declared by {caught.value.record}")
        assert manager.networks == []
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    @pytest.mark.netns(pair())
    def test_refused_later(self, netns: Network) -> None:
        """An addition whose ruleset is refused is taken back from the network."""
        cable = Veth("left:eth1", "third:eth0", subnet="10.1.0.0/24")
        before = netns.topology
        with pytest.raises(RulesetError):
            netns.add(Namespace("third", nftables=BROKEN), cable)
        assert netns.topology is before
        assert [one.name for one in netns["left"].interfaces] == ["lo", "eth0"]
        assert netns["left"].ping("right")
        netns.add(Namespace("third", nftables=NO_ECHOES), cable)
        assert netns["third"].ping("left")
        assert not netns["left"].ping("third", timeout=0.1)

    @pytest.mark.usefixtures("no_programs")
    def test_missing_program(self, manager: NetworkManager) -> None:
        """Without nft the build says which record needs it, and leaves nothing."""
        with pytest.raises(MissingTool, match=r"'nft' .*Namespace\('right'.*nftables"):
            manager.build(pair(NO_ECHOES))
        assert manager.networks == []


NAT = Namespace(
    "gw",
    nat=[
        Masquerade(source=["10.0.0.0/24", "fd00::/64"], out_interface="eth0"),
        SNAT("10.0.0.1:4000"),
        SNAT("fd00::1", source="fd00::2"),
        DNAT("10.0.0.2:80", port=80),
        DNAT("[fd00::2]:80", port=80, protocol="udp", in_interface="eth0"),
        DNAT("10.0.0.2", port=53, destination="0.0.0.0/0"),
    ],
)
GATEWAY = Topology(
    NAT, Namespace("left"), Veth("gw:eth0", "left", subnet=["10.0.0.0/24", "fd00::/64"])
)


class TestNat:
    """How NAT rules get into the kernel."""

    def test_program_instead_of_library(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without libnftables the program nft loads the very same rules."""
        if not libnftables.is_available():
            pytest.skip("libnftables is not installed")
        with manager.build(GATEWAY) as network:
            by_library = network["gw"].nft("list ruleset")
        monkeypatch.setattr(libnftables, "is_available", lambda: False)
        with manager.build(GATEWAY) as network:
            by_program = network["gw"].nft("list ruleset")
        assert by_program == by_library
        assert by_library.count("nat") >= 6

    def test_library_alone(
        self, manager: NetworkManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """With libnftables no program is needed."""
        if not libnftables.is_available():
            pytest.skip("libnftables is not installed")
        with monkeypatch.context() as without_programs:
            without_programs.setenv("PATH", str(tmp_path))
            network = manager.build(GATEWAY)
        with network:
            assert "masquerade" in network["gw"].nft("list ruleset")

    @pytest.mark.usefixtures("no_programs", "no_library")
    def test_neither(self, manager: NetworkManager) -> None:
        """With neither, the build says which record needs nft, and leaves nothing."""
        with pytest.raises(MissingTool, match=r"'nft' .*Namespace\('gw', nat="):
            manager.build(GATEWAY)
        assert manager.networks == []
