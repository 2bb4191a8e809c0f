"""Carries out a plan, step by step, and takes all of it back if one step fails."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING, cast

from . import _codec as codec
from . import _codec_tables as codec_tables
from . import _nftables as nftables
from . import _sysctl as sysctl
from ._ledger import identity
from ._netlink import Refusal
from ._obstacles import forbidden
from ._offload import disable_checksums, disable_offload
from ._plan import DEFAULT_SYSCTLS
from ._steps import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddOVSBridge,
    AddOVSPort,
    AddRoute,
    AddVeth,
    AwaitAddress,
    CreateNamespace,
    DisableChecksums,
    DisableOffload,
    JoinHost,
    LendOVS,
    LendSwitch,
    LinkStep,
    LoadNat,
    LoadNftables,
    OVSStep,
    SetMaster,
    SetMTU,
    Settle,
    SetUp,
    ShareConnection,
    Sign,
    Step,
    WriteSysctl,
)
from ._switches import (
    NO_BRIDGE_NETFILTER,
    Switches,
    check_vlan_filtering,
    no_vlan_filtering,
)
from .errors import KernelError, MissingFeature, NetnsError, PrivilegeError
from .interface import await_addresses, settle
from .privileges import explain, missing_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._fabric import Fabric
    from .records import Bridge


class Builder:
    """Brings a fabric to what a plan says.

    Args:
        fabric: What is there, and is added to.
        switches: Where hidden bridges are borrowed.
    """

    def __init__(self, fabric: Fabric, switches: Switches) -> None:
        self._fabric = fabric
        self._switches = switches

    def build(self, steps: Iterable[Step]) -> None:
        """Carry out `steps`; after an error nothing of them is left.

        Raises:
            KernelError: The kernel refuses.
            PrivilegeError: It refuses for want of privilege.
            MissingFeature: It does not know what it is asked for.
        """
        with self._fabric.all_or_nothing():
            for (_, place), batch in itertools.groupby(steps, key=_batch_of):
                self._carry_out(place, list(batch))
            self._fabric.give_names()

    def _carry_out(self, place: str, batch: list[Step]) -> None:
        step = batch[0]
        match step:
            case CreateNamespace():
                self._create_namespace(step)
            case LendSwitch():
                self._lend_switch(step)
            case JoinHost() | ShareConnection():
                self._bring_in_host(step)
            case LendOVS() | AddOVSBridge() | AddOVSPort():
                self._switch_by_ovs(batch)
            case Settle():
                self._settle(place, cast("list[Settle]", batch))
            case AwaitAddress():
                self._await_addresses(place, cast("list[AwaitAddress]", batch))
            case AddBridge() | SetMTU() | AddVeth() | SetUp() | Sign() | SetMaster():
                self._request(place, cast("list[LinkStep]", batch))
            case AddAddress() | AddRoute() | AddNeighbour():
                self._request(place, cast("list[LinkStep]", batch))
            case _:
                self._adjust(place, batch)

    def _create_namespace(self, step: CreateNamespace) -> None:
        def prepare() -> None:
            for key, value in step.sysctls:
                _write_sysctl(key, value, step)

        try:
            self._fabric.add_namespace(step.place, prepare)
        except KernelError as error:
            raise _explained(error, step) from error

    def _lend_switch(self, step: LendSwitch) -> None:
        try:
            self._fabric.switches[step.place] = self._switches.borrow(step.bridge)
        except KernelError as error:
            raise _explained(error, step) from error

    def _request(self, place: str, steps: list[LinkStep]) -> None:
        """Send one batch of requests to the kernel."""
        requests = [self._encode(step) for step in steps]
        with self._fabric.route_socket(place) as route:
            try:
                route.apply(requests)
            except Refusal as refusal:
                step = steps[refusal.position]
                error = KernelError(
                    refusal.number, _action(step), place, step.record, refusal.detail
                )
                raise _explained(error, step) from refusal
            for step in steps:
                if isinstance(step, AddBridge):
                    index = self._fabric.indexes[place, step.ifname]
                    check_vlan_filtering(route, index, step.bridge)

    def _encode(self, step: LinkStep) -> bytearray:
        fabric, place = self._fabric, step.place
        match step:
            case AddBridge():
                if not fabric.is_host(place):  # those of the machine are its own
                    with fabric.files[place].entered():
                        sysctl.write_present(NO_BRIDGE_NETFILTER)
                return codec.add_bridge(
                    fabric.new_index(place, step.ifname), step.bridge
                )
            case AddVeth():
                return self._encode_veth(step)
            case SetUp() | SetMTU():
                index = fabric.indexes[place, step.ifname]
                mtu = step.mtu if isinstance(step, SetMTU) else None
                return codec.set_link(index, up=True, mtu=mtu)
            case Sign():
                index = fabric.indexes[place, step.ifname]
                return codec.set_link(index, alias=identity())
            case SetMaster():
                master = fabric.master_index(place, step.master)
                return codec.set_link(fabric.indexes[place, step.ifname], master=master)
            case AddAddress():
                return codec_tables.add_address(
                    fabric.indexes[place, step.ifname], step.address
                )
            case AddRoute():
                dev = step.route.dev
                device = None if dev is None else fabric.indexes[place, dev]
                return codec_tables.add_route(step.route, step.family, device)
            case AddNeighbour():
                device = fabric.indexes[place, step.neighbour.dev]
                return codec_tables.add_neighbour(step.neighbour, device, replace=True)

    def _encode_veth(self, step: AddVeth) -> bytearray:
        fabric = self._fabric
        return codec.add_veth(
            step.ifname,
            fabric.new_index(step.place, step.ifname),
            step.peer_ifname,
            fabric.new_index(step.peer_place, step.peer_ifname),
            fabric.file_of(step.peer_place).fd,
            lladdr=step.lladdr,
            peer_lladdr=step.peer_lladdr,
            mtu=step.mtu,
        )

    def _settle(self, place: str, steps: list[Settle]) -> None:
        with self._fabric.route_socket(place) as route:
            settle(route, [self._fabric.indexes[place, step.ifname] for step in steps])

    def _await_addresses(self, place: str, steps: list[AwaitAddress]) -> None:
        with self._fabric.route_socket(place) as route:
            await_addresses(route, [step.address for step in steps])

    def _bring_in_host(self, step: JoinHost | ShareConnection) -> None:
        try:
            if isinstance(step, JoinHost):
                self._fabric.join_host(step)
            else:
                self._fabric.share_connection(step)
        except KernelError as error:
            raise _explained(error, step) from error

    def _switch_by_ovs(self, batch: list[Step]) -> None:
        if isinstance(batch[0], LendOVS):
            self._fabric.lend_ovs(cast("list[LendOVS]", batch))
        else:
            self._fabric.plug_into_ovs(cast("list[OVSStep]", batch))

    def _adjust(self, place: str, steps: list[Step]) -> None:
        """Do what is done from inside, not by rtnetlink."""
        with self._fabric.file_of(place).entered():
            for step in steps:
                self._adjust_inside(step)

    def _adjust_inside(self, step: Step) -> None:
        place, record = step.place, step.record
        match step:
            case DisableOffload():
                disable_offload(step.ifname, namespace=place, record=record)
            case DisableChecksums():
                if self._fabric.ovs_is_in_user_space:
                    disable_checksums(step.ifname, namespace=place, record=record)
            case WriteSysctl():
                _write_sysctl(step.key, step.value, step)
            case LoadNat():
                nftables.load(step.ruleset, namespace=place, record=record)
            case LoadNftables():
                nftables.load_own(step.ruleset, namespace=place, record=record)
            case _:
                raise AssertionError(f"nobody carries out {step!r}")


def _batch_of(step: Step) -> tuple[object, str]:
    """Tell what is carried out together: requests of any kind, of one place.

    All bridges of Open vSwitch are in one place, whatever they are called.
    """
    if isinstance(step, LinkStep):
        return LinkStep, step.place
    if isinstance(step, OVSStep | LendOVS):
        return (OVSStep if isinstance(step, OVSStep) else LendOVS), ""
    return type(step), step.place


def _write_sysctl(key: str, value: str, step: Step) -> None:
    try:
        sysctl.write(key, value, namespace=step.place, record=step.record)
    except KernelError as error:
        # our own defaults are a courtesy: a kernel without IPv6 lacks some, and
        # some containers let nobody write any
        is_wanted = key in getattr(step.record, "sysctls", {})
        is_default = (key, value) in DEFAULT_SYSCTLS
        if is_wanted or not (
            error.errno == errno.ENOENT or (error.errno == errno.EROFS and is_default)
        ):
            raise


def _action(step: LinkStep) -> str:
    match step:
        case AddBridge():
            return f"create bridge {step.ifname!r}"
        case SetMTU():
            return f"set the MTU of {step.ifname!r} to {step.mtu}"
        case AddVeth():
            peer = f"{step.peer_place}:{step.peer_ifname}"
            return f"create veth {step.ifname!r} with peer {peer!r}"
        case SetUp():
            return f"set {step.ifname!r} up"
        case Sign():
            return f"sign {step.ifname!r}"
        case SetMaster():
            return f"make {step.ifname!r} a port of {step.master!r}"
        case AddAddress():
            return f"add address {step.address} to {step.ifname!r}"
        case AddRoute():
            return f"add {step.route!r}"
        case AddNeighbour():
            return f"add {step.neighbour!r}"


def _refused(error: KernelError) -> PrivilegeError:
    """Say what is missing, or what forbids it to those who have it all."""
    if missing := missing_capabilities():
        error.advice = explain(missing)
    elif not error.advice:
        error.advice = forbidden()
    return PrivilegeError(str(error))


def _explained(error: KernelError, step: Step) -> NetnsError:
    """Say it in the words of the cause, where the errno has only one."""
    if error.errno == errno.EPERM:
        return _refused(error)
    if error.detail.startswith("Unknown device type"):
        kind = "veth" if isinstance(step, AddVeth) else "bridge"
        return MissingFeature.of_kernel(
            f"{kind} interfaces (CONFIG_{kind.upper()})",
            needed_by=step.record,
            remedy=f"modprobe {kind}, or use a kernel of a distribution",
        )
    if error.errno == errno.EOPNOTSUPP and getattr(
        step.record, "vlan_filtering", False
    ):
        return no_vlan_filtering(cast("Bridge", step.record))
    if error.record is None:
        error.record = repr(step.record)
    return error
