"""kernel.pad-reduction: let terms that do not exist be products of zeros, so that every tile of a sum is whole.

Before (as `kernel.accumulate` leaves it):
    kernel.map (k_i: sequential 16, i: unroll 4, j: vector 4)
        reads(%x[ty*4 + i, k_o*16 + k_i], %w[k_o*16 + k_i, tx*4 + j], %acc[i, j]) writes(%acc[i, j])
        {where = [k - 1 - k_o*16 - k_i]} {...multiply, add...}
After `kernel.pad-reduction{func=f axis=k_i}`:
    kernel.map (k_i: sequential 16, i: unroll 4, j: vector 4)
        reads(%x[ty*4 + i, k_o*16 + k_i] else 0.0, %w[k_o*16 + k_i, tx*4 + j] else 0.0, %acc[i, j]) writes(%acc[i, j])
        {...multiply, add...}

What stages the operands copies the zeros, and a matrix unit that takes whole tiles may sum them up
(`kernel.tensorize`).  A sum that was -0.0 becomes 0.0.  Refuses: a map that does something else than to add products of
what it reads; and conditions that may fail where one of the factors still lies inside of its buffer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from headrace.ir.access import Access
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import kernel_named, with_axis, zero_of
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.guards import inside
from headrace.passes.lowering.products import factor_of, product_of


@dataclass(frozen=True)
class PadReduction(Pass):
    """`func`: the kernel; `axis`: the one that a map of it sums up along."""

    func: str
    axis: str

    summary = "let terms that do not exist be products of zeros"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        if not isinstance(op, Map):
            raise PassError(f"kernel.pad-reduction: {self.axis} is an axis of {op.name}, expected kernel.map")
        numbers, ties = _factors(op), [c for c in op.where if self.axis in c.symbols]
        facts = enclosing_facts(op, function.known)
        for axis in op.axes:
            facts = facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        for condition, number in product(ties, numbers):
            if not _is_zero_beyond(op.reads[number], condition, facts):
                text = f"{condition} >= 0 may fail where read {number} is inside of its buffer, or no zero outside"
                raise PassError(f"kernel.pad-reduction: {text}")
        if ties:
            maps = [r.map for r in op.reads]
            for number in numbers:
                maps[number] = replace(maps[number], otherwise=zero_of(op.reads[number].value))
            rewriter.set_attribute(op, "reads", tuple(maps))
            rewriter.set_attribute(op, "where", tuple(c for c in op.where if c not in ties))


def _factors(op: Map) -> list[int]:
    """Which of its reads the map multiplies.  Raises PassError where it does not."""
    step = product_of(op)
    factors = [] if step is None else [factor_of(op, step.a), factor_of(op, step.b)]
    found = [f.index for f in factors if f is not None]
    if len(found) < 2 or len(op.reads) > len(set(found)) + 1:
        what = "does something else than to add products of what it reads to what it writes"
        raise PassError(f"kernel.pad-reduction: kernel.map at {op.location} {what}")
    return found


def _is_zero_beyond(read: Access, condition: Dim, facts: Facts) -> bool:
    """Whether the read gives 0, once it is padded, wherever the condition fails."""
    kind = read.value.type
    assert isinstance(kind, BufferType)
    needed = inside(read.map.indices, kind.dims, facts)
    return not read.map.otherwise and any(facts.less_equal(formula, condition) is True for formula in needed)
