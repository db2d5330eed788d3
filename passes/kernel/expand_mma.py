"""kernel.expand-mma: write the products of a matrix unit out as maps, for machines that have no such unit.

Before:
    kernel.mma (i: parallel 16, j: parallel 64, k: reduction 16) %x[i, k], %w[k, j], %acc[i, j] {where = [n - 1 - k]}
After, for products of f16, whose sums are in memory:
    kernel.map (k: sequential 16, i: parallel 16, j: parallel 64) reads(%x[i, k], %w[k, j], %acc[i, j])
        writes(%acc[i, j]) {where = [n - 1 - k]} {
    ^(%0: f16, %1: f16, %2: f32):
      %3 = kernel.cast %0 {dtype = f32} : f32
      %4 = kernel.cast %1 {dtype = f32} : f32
      %5 = kernel.muladd %3, %4, %2 : f32
      kernel.yield %5
    }

An axis that moves along a register buffer is written out (`unroll`, `sequential_unroll`), since only constants find an
element there.  Leaves: no `kernel.mma`.  Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import Axis
from headrace.ir.core import Block, Region, walk
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.structured import Map, elements
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType, element_dtype


@dataclass(frozen=True)
class ExpandMma(Pass):
    """No options."""

    summary = "write the products of a matrix unit out as maps"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(KernelFunc):
            for product in list(walk(function, Mma)):
                rewriter.replace_with(product, _as_map(product))


def _as_map(product: Mma) -> Map:
    reads = (product.lhs, product.rhs, product.into)
    block = Block(elements(reads))
    *factors, total = block.arguments
    b = ScalarBuilder(Builder(block, None, product.location))
    lhs, rhs = (b.cast(factor, element_dtype(total.type)) for factor in factors)
    b.builder.add(Yield((b.muladd(lhs, rhs, total),)))
    return Map(_axes(product), reads, (product.into,), Region(block), product.where)


def _axes(product: Mma) -> tuple[Axis, ...]:
    """In the order of loops: what is written out stands inside the others."""
    in_registers = {
        axis.name
        for access, sides in product.tiles
        for axis in sides
        if isinstance(access.value.type, BufferType) and access.value.type.space == "register"
    }
    rows, columns, depth = product.axes
    axes = [replace(depth, kind="sequential_unroll" if depth.name in in_registers else "sequential")]
    axes += [replace(a, kind="unroll") if a.name in in_registers else a for a in (rows, columns)]
    return tuple(sorted(axes, key=lambda a: a.kind == "unroll"))
