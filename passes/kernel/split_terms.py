"""kernel.split-terms: let workgroups of their own sum up parts of long sums, where few results leave a device idle.

Before:
    program.launch buffers(%x, %w, %b, %y) {kernel = @f, scalars = []}
    kernel.func @f(...) {
      kernel.reduce (i: parallel 4, j: parallel 100, k: reduction 2048)
          reads(%x[i, k], %w[k, j]) late(%b[j]) writes(%y[i, j]) ...
    }
After, on a device that wants 32 workgroups:
    %parts = program.alloc {type = buffer<f32[16, 4, 100], arena>}
    program.launch buffers(%x, %w, %parts) {kernel = @f_parts, scalars = []}
    program.launch buffers(%parts, %b, %y) {kernel = @f_sums, scalars = []}
    kernel.func @f_parts(...) {
      kernel.reduce (p: parallel 16, i: parallel 4, j: parallel 100, k: reduction 128)
          reads(%x[i, k + p*128], %w[k + p*128, j]) writes(%parts[p, i, j]) ...
    }
    kernel.func @f_sums(...) {
      kernel.reduce (i: parallel 4, j: parallel 100, p: reduction 16)
          reads(%parts[p, i, j]) late(%b[j]) writes(%y[i, j]) ...                  // as `combine` has it
    }

The parts are joined in their order, so that each run gives the same bits.  Needs: launches before memory is planned.
Applies to sums of products whose extents are constants, on devices that say how many workgroups they want.  Refuses
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, Region, Value, contains, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Alloc, Launch
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import rewrite_formulas
from headrace.passes.lowering.names import Names

OF_A_THREAD = 64  # results; those of a workgroup are so many times its threads
SHORTEST = 128  # terms of a part
MULTIPLE = 16  # so many terms, or a multiple, are a part of the last axis


@dataclass(frozen=True)
class SplitTerms(Pass):
    """`parts`: of each sum; 0 for as many as keep the target busy."""

    parts: int = 0

    summary = "let workgroups of their own sum up parts of long sums"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if not self.parts and context.facts is None:
            raise PassError("kernel.split-terms: no target given; it decides how many workgroups there should be")
        taken = {f.function_name for f in module.functions(KernelFunc)}
        for function in module.functions(KernelFunc):
            parts = self._parts(function, context.facts)
            names = [f"{function.function_name}_{end}" for end in ("parts", "sums")]
            if parts > 1 and not taken & set(names):
                taken |= set(names)
                _Split(function, parts, rewriter).write(module, *names)

    def _parts(self, function: KernelFunc, facts: TargetFacts | None) -> int:
        """How many parts the sums should have."""
        body = function.block.operations
        op = body[0] if len(body) == 1 else None
        if not isinstance(op, Reduce) or not _is_fixed(op):
            return 1
        if self.parts or facts is None:
            return self.parts if op.axes[-1].extent.value % self.parts == 0 else 1
        return _wanted(op, facts)


def _is_fixed(op: Reduce) -> bool:
    """Whether it is one sum of products for each result, of a number of terms that is known."""
    known = all(a.extent.is_constant and a.kind in ("parallel", "reduction") for a in op.axes)
    return known and not op.where and len(op.accumulators) == 1 and contains(op, MulAdd)


def _wanted(op: Reduce, facts: TargetFacts) -> int:
    """As many parts as keep the device busy, each of them still a long sum."""
    if not facts.group_threads or op.axes[-1].kind != "reduction":
        return 1
    results, terms = (prod(a.extent.value for a in op.axes if a.kind == k) for k in ("parallel", "reduction"))
    groups = -(-results // (facts.group_threads * OF_A_THREAD))
    last, parts = op.axes[-1].extent.value, 1
    while (
        2 * parts * groups <= facts.busy_groups
        and last % (2 * parts * MULTIPLE) == 0
        and terms >= 2 * parts * SHORTEST
    ):  # fmt: skip
        parts *= 2
    return parts


class _Split:
    """What becomes of one kernel."""

    def __init__(self, function: KernelFunc, parts: int, rewriter: Rewriter) -> None:
        self.function, self.rewriter = function, rewriter
        (op,) = function.block.operations
        assert isinstance(op, Reduce)
        self.op, self.results = op, tuple(a for a in op.axes if a.kind == "parallel")
        self.part = Axis(Names(function).fresh("p"), "parallel", Dim.constant(parts))
        dims = (self.part.extent, *(a.extent for a in self.results))
        (element,) = op.accumulators
        self.buffer = BufferType(element.dtype, dims, "global")
        self.index = AccessMap(tuple(Dim.symbol(a.name) for a in (self.part, *self.results)))

    def write(self, module: Module, parts: str, sums: str) -> None:
        read = [v for v in self.function.inputs if any(a.value is v for a in self.op.reads)]
        late = [v for v in self.function.inputs if any(a.value is v for a in self.op.late)]
        before = self.rewriter.before(self.function)
        before.add(self._parts(parts, read))
        before.add(self._sums(sums, late))
        places = {v: n for n, v in enumerate(self.function.parameters)}
        for launch in [o for o in walk(module, Launch) if o.kernel.name == self.function.function_name]:
            at = self.rewriter.before(launch)
            buffer = at.add(Alloc(replace(self.buffer, space="arena"), None, launch.when), "parts").result
            inputs, others, results = (
                [launch.buffers[places[v]] for v in group] for group in (read, late, self.function.written)
            )
            for name, given in ((parts, (*inputs, buffer)), (sums, (buffer, *others, *results))):
                at.add(Launch(given, SymbolRef(name), launch.scalars, launch.when))
            self.rewriter.erase(launch)
        self.rewriter.erase(self.function)

    def _parts(self, name: str, read: Sequence[Value]) -> KernelFunc:
        op, last = self.op, self.op.axes[-1]
        block = Block([*(v.type for v in read), self.buffer], [*(v.hint for v in read), "parts"])
        values = dict(zip(read, block.arguments, strict=False))
        size = last.extent // self.part.extent
        axes = (self.part, *op.axes[:-1], replace(last, extent=size))
        reads = tuple(Access(values[a.value], a.map) for a in op.reads)
        writes = (Access(block.arguments[-1], self.index),)
        init, step, combine = (r.clone({}) for r in (op.init, op.step, op.combine))
        added = Builder(block, None, op.location).add(
            Reduce(axes, reads, (), writes, init, step, combine, _as_it_is(op))
        )
        term = Dim.symbol(self.part.name) * size + Dim.symbol(last.name)
        rewrite_formulas(added, self.rewriter, {last.name: term})
        return self._function(name, block, 1)

    def _sums(self, name: str, late: Sequence[Value]) -> KernelFunc:
        op, function = self.op, self.function
        given = [*late, *function.written]
        block = Block([self.buffer, *(v.type for v in given)], ["parts", *(v.hint for v in given)])
        values = dict(zip(given, block.arguments[1:], strict=True))
        axes = (*self.results, replace(self.part, kind="reduction"))
        reads = (Access(block.arguments[0], self.index),)
        lates, writes = (tuple(Access(values[a.value], a.map) for a in group) for group in (op.late, op.writes))
        init, step, combine, finish = (r.clone({}) for r in (op.init, op.combine, op.combine, op.finish))
        Builder(block, None, op.location).add(Reduce(axes, reads, lates, writes, init, step, combine, finish))
        added = self._function(name, block, function.outputs)
        pairs = zip(function.in_place[::2], function.in_place[1::2], strict=True)
        kept = [(function.parameters[a], function.parameters[b]) for a, b in pairs]
        added.attributes["in_place"] = tuple(given.index(v) + 1 for pair in kept if pair[0] in late for v in pair)
        return added

    def _function(self, name: str, block: Block, outputs: int) -> KernelFunc:
        function = KernelFunc(SymbolRef(name), Region(block), outputs)
        function.location = self.function.location
        for kept in ("facts", "scalars", "requires"):
            function.attributes[kept] = self.function.attributes[kept]
        return function


def _as_it_is(op: Reduce) -> Region:
    block = Block(op.accumulators)
    Builder(block, None, op.location).add(Yield(tuple(block.arguments)))
    return Region(block)
