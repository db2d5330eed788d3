"""graph.partition: what other devices take becomes functions that run there.

Before (a device that takes products):
    %1 = graph.matmul %x, %w : f32[n, 64]
    %2 = graph.relu %1 : f32[n, 64]
    %3 = graph.non_zero %2 : i64[2, k]
After:
    %1 = graph.call %x {function = @npu_0, types = [f32[n, 64]]} : f32[n, 64]
    %2 = graph.relu %1 : f32[n, 64]
    %3 = graph.non_zero %2 : i64[2, k]
    graph.device_func @npu_0(%x: f32[n, 256]) {device = "npu"} {...}

Devices are asked in order of preference.  Operations next to each other that one takes make a group as large as it can
be without waiting for something outside that waits for the group (a convex subgraph of the data flow).  A group stays
where its inputs are if the copies cost more than it has to compute, at nominal dims.  Constants, and what is made of
constants only, go with their users.

Needs: no clusters.  Leaves: a function for each group; where each operation runs, and why, in `context.placements`.
Refuses: operations whose dims are data and those that hold functions, which the host's program must see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import networkx as nx

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Operation, OpResult, Region, Value
from headrace.ir.dims import Dim, Facts
from headrace.ir.facts import Device, Placement
from headrace.ir.graph.families import DataDims, GraphOp, Movement, Reducing, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.device import Call, DeviceFunc
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.symbols import formulas


@dataclass(frozen=True)
class Partition(Pass):
    """No options."""

    summary = "make functions for other devices of what these take"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in list(module.functions(GraphFunc)):
            if function.stands_for_constant:
                continue
            partition = _Partition(module, function, rewriter)
            for device in context.devices:
                if function.private:
                    partition.keep(device, "it is part of a branch or a loop, which the host runs")
                else:
                    partition.offer(device)
            context.placements += partition.placements(context)


class _Partition:
    """The groups of one function."""

    def __init__(self, module: Module, function: GraphFunc, rewriter: Rewriter) -> None:
        self.module = module
        self.function = function
        self.rewriter = rewriter
        self.lazy = lazy_values(function.block)
        self.bound = {s for p in function.parameters for d in tensor(p).dims for s in d.symbols}
        self.devices: dict[Operation, tuple[str, str]] = {}  # of the operations of the function as it was, and why
        self.against: dict[Operation, list[tuple[str, str]]] = {o: [] for o in self._working(function.block)}
        self.shown = {o: (o.name, o.location.nodes) for o in self.against}

    def _working(self, block: Block) -> Iterator[Operation]:
        """Operations that are computed when the model runs."""
        return (o for o in block.body if not all(r in self.lazy for r in o.results))

    def placements(self, context: PassContext) -> list[Placement]:
        host = context.facts.preset if context.facts is not None else "host"
        rest = (host, "it runs what no other device takes" if context.devices else "there is no other device")
        return [
            Placement(*self.shown[o], *self.devices.get(o, rest), tuple(reasons)) for o, reasons in self.against.items()
        ]

    # ---- groups ------------------------------------------------------------------------------------------------

    def keep(self, device: Device, reason: str) -> None:
        """Offers nothing to the device."""
        for reasons in self.against.values():
            reasons.append((device.name, reason))

    def offer(self, device: Device) -> None:
        """Makes a function of each group that the device takes and that is worth it."""
        taken = set()
        for operation in self._working(self.function.block):
            if isinstance(operation, Call):
                continue
            reason = self._refusal(operation, device)
            if reason is None:
                taken.add(operation)
            else:
                self.against[operation].append((device.name, reason))
        for number, group in enumerate(self._groups(taken)):
            worth, reason = _judged(self._cut(group), group, device, self.function.known)
            if worth:
                self._outline(group, device, f"{_identifier(device.name)}_{number}")
                self.devices.update(dict.fromkeys(group, (device.name, f"it takes the operation; {reason}")))
            else:
                for operation in group:
                    self.against[operation].append((device.name, reason))

    def _refusal(self, operation: Operation, device: Device) -> str | None:
        if not isinstance(operation, GraphOp):
            return f"{operation.name} holds functions, which the host runs"
        if isinstance(operation, DataDims):
            return "the dims of its results are data, which the host reads"
        mentioned = {s for value in _held(operation) for d in formulas(value) for s in d.symbols}
        if mentioned - self.bound:
            return f"its dims depend on data ({', '.join(sorted(mentioned - self.bound))}), which the host reads"
        return device.refuses(operation)

    def _groups(self, taken: set[Operation]) -> list[list[Operation]]:
        """Maximal convex groups, in program order, and the operations of each likewise."""
        order = {o: n for n, o in enumerate(self.function.block.operations)}
        flow = nx.DiGraph()
        flow.add_nodes_from(order)
        for operation in order:
            flow.add_edges_from((o.operation, operation) for o in operation.operands if isinstance(o, OpResult))
        members = {o: [o] for o in sorted(taken, key=order.__getitem__)}
        home = {o: o for o in members}
        for user in list(members):
            for operand in user.operands:
                maker = operand.operation if isinstance(operand, OpResult) else None
                if maker is None or maker not in home or home[maker] is home[user]:
                    continue
                first, second = home[maker], home[user]
                if not _has_detour(flow, first, second):
                    nx.contracted_nodes(flow, first, second, self_loops=False, copy=False)
                    home.update(dict.fromkeys(members[second], first))
                    members[first] += members.pop(second)
        return [sorted(group, key=order.__getitem__) for group in members.values()]

    # ---- functions ---------------------------------------------------------------------------------------------

    def _cut(self, group: Sequence[Operation]) -> tuple[list[Value], list[Value]]:
        """What a group needs from outside, constants left out, and what others need of it."""
        inside = set(group)
        needed = [v for o in group for v in o.operands if v not in self.lazy and _maker(v) not in inside]
        results: list[Value] = [r for o in group for r in o.results if any(user not in inside for user in r.users)]
        return list(dict.fromkeys(needed)), results

    def _outline(self, group: Sequence[Operation], device: Device, name: str) -> None:
        group = [o for o in self.function.block.operations if o in set(group)]  # others may have moved some
        needed, results = self._cut(group)
        block = Block([v.type for v in needed], [v.hint for v in needed])
        builder = Builder(block)
        copies: dict[Value, Value] = dict(zip(needed, block.arguments, strict=True))
        for operation in group:
            for operand in operation.operands:
                self._bring(operand, copies, builder)
            builder.add(operation.clone(copies))
        builder.add(Return(tuple(copies[r] for r in results)))
        facts = (*self.function.facts, *self._known(group, needed))
        self.rewriter.end_of(self.module.block).add(DeviceFunc(SymbolRef(name), Region(block), device.name, facts))
        last = group[-1]
        call = self.rewriter.before(last).add(Call(tuple(needed), SymbolRef(name), tuple(tensor(r) for r in results)))
        call.location = Location.fused(o.location for o in group)
        self._order(call, group)
        for old, new in zip(results, call.results, strict=True):
            new.hint = old.hint
            self.rewriter.replace_uses(old, new)
        for operation in reversed(group):
            self.rewriter.erase(operation)

    def _bring(self, value: Value, copies: dict[Value, Value], builder: Builder) -> None:
        """A constant, or what is made of constants, for a group."""
        if value in copies or value not in self.lazy:
            return
        assert isinstance(value, OpResult)
        for operand in value.operation.operands:
            self._bring(operand, copies, builder)
        builder.add(value.operation.clone(copies))

    def _known(self, group: Sequence[Operation], needed: Sequence[Value]) -> list[str]:
        """Facts that name the symbols which its formulas mention and its parameters do not."""
        named = {s for v in needed for d in tensor(v).dims for s in d.symbols} | set(self.function.known.symbols)
        mentioned = {s for o in group for value in _held(o) for d in formulas(value) for s in d.symbols}
        return [f"{s} in [0, inf]" for s in sorted(mentioned - named)]

    def _order(self, call: Call, group: Sequence[Operation]) -> None:
        """Moves what needs the results behind the call; it stands where the group's last operation is."""
        block = self.function.block
        inside = set(group)
        late: set[Value] = {r for o in group for r in o.results}
        first = block.position(group[0])
        between = block.operations[first : block.position(call)]
        waiting = []
        for operation in between:
            if operation not in inside and late.intersection(operation.operands):
                late.update(operation.results)
                waiting.append(operation)
        for operation in waiting:
            self.rewriter.move_before(operation, group[-1])


def _has_detour(flow: nx.DiGraph, first: Operation, second: Operation) -> bool:
    """Whether the second waits for the first by way of others too."""
    between = [n for n in flow.successors(first) if n is not second]
    return any(nx.has_path(flow, n, second) for n in between)


def _maker(value: Value) -> Operation | None:
    return value.operation if isinstance(value, OpResult) else None


def _held(operation: Operation) -> list[object]:
    """What may mention symbols."""
    return [*operation.attributes.values(), *(r.type for r in operation.results)]


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


# ---- whether a group is worth it -----------------------------------------------------------------------------------


def _judged(
    cut: tuple[list[Value], list[Value]], group: Sequence[Operation], device: Device, facts: Facts
) -> tuple[bool, str]:
    """Whether the device is to have the group, and why."""
    if all(isinstance(o, Movement) for o in group):
        return False, "it moves elements only"
    copied = sum(_number(tensor(v).dims, facts) * tensor(v).dtype.bytes for values in cut for v in values)
    computed = sum(_work(o, facts) for o in group)
    worth = computed >= device.facts.copy_worth * copied
    judgement = "worth" if worth else "too few for"
    return worth, f"its group's {computed:,} operations are {judgement} {copied:,} bytes copied"


def _work(operation: Operation, facts: Facts) -> int:
    """Arithmetic operations, about: one for each element, or for each step of a reduction."""
    extents = [e for _, e in operation.reduction_axes()] if isinstance(operation, Reducing) else []
    return max(_number([*tensor(r).dims, *extents], facts) for r in operation.results)


def _number(dims: Iterable[Dim], facts: Facts) -> int:
    return prod(facts.nominal(d) for d in dims)
