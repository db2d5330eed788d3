"""A model on several machines at once: `npu+x86-64-v3`.

In: a module, a target as users type it.  Out: what each device runs as a module of its own, to go through that
device's pipeline; the host's module calls them.  The last of the names is the host, those before it are devices, the
most preferred first.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Operation, Region, walk
from headrace.ir.errors import OptionError, PlacementError, nearest
from headrace.ir.facts import Device, Placement
from headrace.ir.graph.families import GraphOp
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.device import DeviceFunc
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.pass_manager import Hooks, PassManager, Timing
from headrace.ir.pipeline import Pipeline
from headrace.ir.program.ops.program import Launch
from headrace.targets import Target, find_target

NOWHERE = "no device"
# What a model goes through before it is divided: the host's pipeline sees it again afterwards.
DIVIDING = (
    "graph.propagate-shapes, graph.fold-constants, graph.canonicalize, graph.cse, graph.dce, graph.partition, graph.dce"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One target of a compilation: a preset that runs the host's program, and those beside it."""

    preset: str
    target: Target
    devices: tuple[tuple[str, Target], ...] = ()

    @property
    def name(self) -> str:
        """As users type it, `host` resolved."""
        return "+".join([*(preset for preset, _ in self.devices), self.preset])


def machines(target: str | Sequence[str]) -> list[Machine]:
    """The machines of `npu+x86-64-v3,x86-64-v3`, each once.  Raises TargetError and OptionError."""
    names = target.split(",") if isinstance(target, str) else list(target)
    found: dict[str, Machine] = {}
    for name in names:
        *devices, host = [find_target(part.strip()) for part in name.split("+")]
        if len({preset for preset, _ in (*devices, host)}) <= len(devices):
            raise OptionError(f"target {name.strip()!r} names a machine twice")
        machine = Machine(*host, tuple(devices))
        found.setdefault(machine.name, machine)
    if not found:
        raise OptionError("no target given; name one, or host")
    return list(found.values())


def divide(module: Module, machine: Machine, hooks: Hooks | None) -> tuple[list[Timing], list[Placement]]:
    """Makes functions for the devices, in place.  What was placed where is told also where there are no devices.

    Nodes that none of the operations left comes from are placed NOWHERE.
    """
    context = context_of(machine)
    nodes = dict.fromkeys(n for operation in walk(module, Operation) for n in operation.location.nodes)
    timings = PassManager(Pipeline.parse(DIVIDING, "graph.partition"), context, hooks).run(module)
    placed = {n for placement in context.placements for n in placement.nodes}
    gone = tuple(n for n in nodes if n not in placed)
    if gone:
        context.placements.append(Placement("", gone, NOWHERE, "known while compiling, or part of another node", ()))
    return timings, context.placements


def context_of(machine: Machine) -> PassContext:
    """What passes may ask of a machine and the devices beside it."""
    devices = tuple(_device(preset, target) for preset, target in machine.devices)
    return PassContext(machine.target.presets[machine.preset], machine.target.schedule, devices=devices)


def _device(preset: str, target: Target) -> Device:
    return Device(target.presets[preset], lambda operation: target.refuses(operation, preset))


def modules_of(module: Module, preset: str) -> Iterator[tuple[str, Module]]:
    """(name, module with a graph.func of that name) of each function for a device."""
    for function in module.functions(DeviceFunc):
        if function.device == preset:
            yield function.function_name, _as_model(module, function)


def _as_model(module: Module, function: DeviceFunc) -> Module:
    region = function.body.clone({})
    inputs = tuple(f"x{i}" for i in range(len(function.parameters)))
    outputs = tuple(f"y{i}" for i in range(len(function.result_types)))
    own = GraphFunc(function.symbol, region, function.facts, inputs, outputs)
    block = Block()
    block.insert(0, own)
    made = Module(Region(block), module.source, module.options)
    made.constants = module.constants
    return made


def rename_kernels(module: Module, prefix: str) -> None:
    """Kernels of several modules come to lie in one image: `matmul` becomes `npu_0_matmul`."""
    for kernel in module.functions(KernelFunc):
        kernel.attributes["symbol"] = SymbolRef(f"{prefix}_{kernel.function_name}")
    for launch in walk(module, Launch):
        launch.attributes["kernel"] = SymbolRef(f"{prefix}_{launch.kernel.name}")


def refusal(module: Module, machine: Machine) -> str | None:
    """The first operation that the host of a machine does not take, and why; None where it takes all.

    For a module as imported, which is divided here.
    """
    divide(module, machine, None)
    for function in module.functions(GraphFunc):
        lazy = lazy_values(function.block)
        for operation in [] if function.stands_for_constant else function.block.body:
            if not isinstance(operation, GraphOp) or all(r in lazy for r in operation.results):
                continue
            reason = machine.target.refuses(operation, machine.preset)
            if reason is not None:
                what = f"node {operation.location}: {operation.name} does not run on {machine.preset}: {reason}"
                return f"{what}; {machine.name}+host runs it on the CPU"
    return None


# ---- what users ask ------------------------------------------------------------------------------------------------


def explained(placements: Sequence[Placement]) -> Iterator[str]:
    """A line for each operation: nodes, operation, device, why; then one for each preferred device, and why not."""
    for placement in placements:
        what = f"{placement.operation} on {placement.device}".strip()
        yield f"{', '.join(placement.nodes) or '(no node)'}: {what}: {placement.why}"
        for device, reason in placement.against:
            yield f"    not on {device}: {reason}"


def wish(text: str) -> tuple[str, str]:
    """`npu:conv*` as (device, pattern of node names).  Raises OptionError."""
    device, colon, pattern = text.partition(":")
    if not (device and colon and pattern):
        raise OptionError(f"--require-device {text!r}: expected DEVICE:PATTERN")
    return device, pattern


def require(placements: Sequence[Placement], wishes: Sequence[tuple[str, str]], machine: Machine) -> None:
    """`wishes` are (device, pattern of node names).  Raises PlacementError for the first node that breaks one."""
    for device, pattern in wishes:
        known = [*(preset for preset, _ in machine.devices), machine.preset]
        if device not in known:
            raise OptionError(
                f"--require-device: no device {device!r} in {machine.name}{nearest(device, known)}; there is "
                + ", ".join(known)
            )
        meant = [(p, n) for p in placements for n in p.nodes if fnmatch.fnmatchcase(n, pattern)]
        if not meant:
            names = [n for p in placements for n in p.nodes]
            raise OptionError(f"--require-device: no node is named {pattern!r}{nearest(pattern, names)}")
        for placement, node in meant:
            if placement.device not in (device, NOWHERE):
                reason = dict(placement.against).get(device, f"{placement.device} takes it and is preferred")
                raise PlacementError(f"node {node!r}: {placement.operation} does not run on {device}: {reason}")
