"""kernel.jam: write unrolled iterations side by side, so that the machine need not look far for work.

Before:
    kernel.for (u: unroll 4) {
      %a = kernel.load %x[k*32 + u*8] {lanes = 8}
      ... thirty operations, each of which waits for the one before it
      kernel.store %y, %out[k*32 + u*8]
    }
After, with 16 registers:
    kernel.for (u: unroll 2) {
      %a = kernel.load %x[k*32 + u*16] {lanes = 8}
      %b = kernel.load %x[k*32 + u*16 + 8] {lanes = 8}
      ... sixty operations, a's and b's in turn
    }

A core sees some dozens of waiting operations, which are those of one or two iterations if these stand one behind the
other.  Needs: loops, functions written out (`kernel.expand-math`).  Applies to bodies without control flow, with at
least LONG arithmetic operations, whose iterations do not meet in memory: what is stored is not loaded, but for a
register buffer that each iteration accesses at an element of its own.  Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Access, Axis
from headrace.ir.core import Operation, Region, Value, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import For
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Load, Store
from headrace.ir.kernel.ops.scalar import Pointwise
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import substitute_all

LONG = 12  # arithmetic operations; shorter bodies fit several times into what a core sees
TOGETHER = {16: 2, 32: 4}  # iterations side by side, by number of vector registers


@dataclass(frozen=True)
class Jam(Pass):
    """`by`: iterations side by side; 0 for what the target's registers hold."""

    by: int = 0

    summary = "write unrolled iterations side by side"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        by = self.by
        if by == 0:
            if context.facts is None:
                raise PassError("kernel.jam: no target given; its registers decide how many iterations stand together")
            by = TOGETHER[32 if context.facts.vector_registers >= 32 else 16]
        for function in module.functions(KernelFunc):
            for loop in list(walk(function, For)):
                extent = loop.axis.extent
                if loop.axis.kind != "unroll":
                    continue
                together = max(n for n in range(1, by + 1) if extent.value % n == 0)
                if together > 1 and _may_jam(loop):
                    _jam(loop, together, rewriter)


def _may_jam(loop: For) -> bool:
    body = loop.body.block.operations
    if any(o.regions or not (o.is_pure or isinstance(o, Load | Store)) for o in body):
        return False
    if sum(isinstance(o, Pointwise) for o in body) < LONG:
        return False
    stores = [o for o in body if isinstance(o, Store)]
    targets = [o.target.value for o in stores]
    return len(set(targets)) == len(targets) and all(_is_apart(s.target, body, loop.axis.name) for s in stores)


def _is_apart(target: Access, body: list[Operation], axis: str) -> bool:
    """Whether no iteration touches what another one stores there."""
    loads = [o.source for o in body if isinstance(o, Load) and o.source.value is target.value]
    kind = target.value.type
    assert isinstance(kind, BufferType)
    own = kind.space == "register" and Dim.symbol(axis) in target.map.indices
    return not loads or (own and all(load.map == target.map for load in loads))


def _jam(loop: For, by: int, rewriter: Rewriter) -> None:
    """Operation by operation, `by` copies each."""
    axis = loop.axis
    body = Region()
    builder = Builder(body.block, None, loop.location)
    copies: list[dict[Value, Value]] = [{} for _ in range(by)]
    for operation in loop.body.block.operations:
        for number, values in enumerate(copies):
            copy = operation.clone(values)
            copy.attributes = substitute_all(copy.attributes, {axis.name: Dim.symbol(axis.name) * by + number})
            builder.add(copy)
    rewriter.before(loop).add(For((Axis(axis.name, "unroll", axis.extent // by),), body))
    rewriter.erase(loop)
