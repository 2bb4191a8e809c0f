"""nftables: rulesets loaded into the calling thread's namespace.

What we generate goes through the library in a quarter of a millisecond; a
ruleset of the user's own goes through the program, which takes four, knows
everything that users know of it, and cannot take this process with it.
"""

from __future__ import annotations

import errno
import re
import shutil
import socket
import struct
import subprocess

from . import _libnftables as libnftables
from ._netlink import attribute, kind_of
from ._programs import hint_of_sudo
from .errors import MissingFeature, MissingTool, PrivilegeError, RulesetError
from .privileges import NEEDED_CAPABILITIES, explain

#: How nft is told to read a ruleset from its standard input.
COMMAND = ("nft", "-f", "-")
# include/uapi/linux/netlink.h
NETLINK_NETFILTER = 12
# include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
_SUBSYSTEM = 10 << 8
_NEW_GENERATION, _NFTA_GEN_ID = _SUBSYSTEM | 15, 1
_NFTABLES_HEADER = 20  # struct nlmsghdr and struct nfgenmsg
_GET_GENERATION = struct.pack("=IHHIIBBH", 20, _SUBSYSTEM | 16, 1, 1, 0, 0, 0, 0)
_LINE = re.compile(r"^/dev/stdin:(\d+):", re.MULTILINE)


def load(ruleset: str, *, namespace: str, record: object) -> None:
    """Load a ruleset that was generated; equivalent to ``nft -f -``.

    Raises:
        MissingFeature: The kernel lacks nftables, or what NAT needs of it.
        MissingTool: Neither libnftables nor nft is installed.
        PrivilegeError: This process may not.
    """
    check_kernel(record)
    if libnftables.is_available():
        _, complaint = libnftables.run(ruleset)
    else:
        complaint = _run_program(ruleset, namespace, record).stderr
    if complaint:
        _explain(complaint, record)
        raise MissingFeature.of_kernel(
            "NAT of nftables (CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_INET, "
            f"CONFIG_NF_TABLES_INET)\n{complaint}\n",
            needed_by=record,
            remedy="use a kernel of a distribution, which has it",
        )


def load_own(ruleset: str, *, namespace: str, record: object) -> None:
    """Load a ruleset of the user's own; equivalent to ``nft -f -``.

    Raises:
        RulesetError: nft refuses it; shows what nft says.
        MissingFeature: The kernel lacks nftables.
        MissingTool: nft is not installed.
    """
    check_kernel(record)
    completed = _run_program(ruleset, namespace, record)
    check(completed, ruleset, namespace=namespace, record=record)


def check(
    completed: subprocess.CompletedProcess[str],
    ruleset: str,
    *,
    namespace: str,
    record: object = None,
) -> None:
    """Check how nft has ended.

    Raises:
        RulesetError: It refused `ruleset`.
    """
    if completed.returncode:
        match = _LINE.search(completed.stderr)
        raise RulesetError(
            completed.returncode,
            COMMAND,
            completed.stdout,
            completed.stderr,
            namespace,
            ruleset=ruleset,
            line=int(match[1]) if match else None,
            record=record,
        )


def is_there() -> bool:
    """Tell whether the kernel has nftables, and we a way to speak to it."""
    try:
        check_is_there(None)
    except (MissingFeature, MissingTool):
        return False
    return True


def check_is_there(record: object) -> None:
    """Check that the kernel has nftables, and we a way to speak to it.

    Raises:
        MissingFeature: The kernel lacks nftables.
        MissingTool: Neither libnftables nor nft is installed.
    """
    check_kernel(record)
    if not libnftables.is_available() and shutil.which("nft") is None:
        raise missing_nft(record)


def query(commands: str) -> str:
    """Run commands that were generated, and return their output.

    What does not exist is silently nothing: no output, and nothing to delete.
    """
    if libnftables.is_available():
        return libnftables.run(commands)[0]
    return _run_program(commands, "host", None).stdout


def generation() -> bytes:
    """Return the generation of the calling thread's namespace; b"" without nftables.

    Each transaction brings the next one (``NFT_MSG_GETGEN`` in
    include/uapi/linux/netfilter/nf_tables.h), whatever it changes.
    """
    try:
        speaker = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    except OSError:
        return b""
    with speaker:
        speaker.send(_GET_GENERATION)
        answer = speaker.recv(4096)
    if kind_of(answer) != _NEW_GENERATION:
        return b""
    return attribute(answer, _NFTA_GEN_ID, _NFTABLES_HEADER) or b""


def check_kernel(record: object) -> None:
    """Check that the kernel has nftables.

    Raises:
        MissingFeature: It has not.
    """
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER).close()
    except OSError as error:
        if error.errno != errno.EPROTONOSUPPORT:
            raise
        raise MissingFeature.of_kernel(
            "nftables (CONFIG_NF_TABLES)",
            needed_by=record,
            remedy="modprobe nf_tables, or use a kernel of a distribution",
        ) from error


def missing_nft(needed_by: object) -> MissingTool:
    """Return the error for a machine without nft."""
    return MissingTool(
        f"program 'nft' is not installed, needed by {needed_by!r}; "
        "it is in the package nftables of Debian, Ubuntu, Fedora and Alpine"
        f"{hint_of_sudo()}"
    )


def _run_program(
    ruleset: str, namespace: str, record: object
) -> subprocess.CompletedProcess[str]:
    """Run nft; a child of the calling thread is in its namespace."""
    try:
        return subprocess.run(
            COMMAND, input=ruleset, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise missing_nft(record or namespace) from error


def _explain(complaint: str, record: object) -> None:
    """Raise the error for a complaint that has nothing to do with the ruleset."""
    if "Operation not permitted" in complaint:
        raise PrivilegeError(
            f"cannot load NAT rules, declared by {record!r}: {complaint}\n"
            + explain(list(NEEDED_CAPABILITIES.values()))
        )
