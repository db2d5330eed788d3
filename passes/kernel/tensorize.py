"""kernel.tensorize: let a matrix unit do a map that adds products to what it writes.

Before (as `kernel.tile` and `kernel.accumulate` leave it, whose tiles were staged or not):
    kernel.for (k_o: sequential (k + 15) floordiv 16) {
      kernel.map (k_i: sequential 16, i: parallel 16, j: parallel 64)
          reads(%x_tile[k_i, i], %w_tile[k_i, j], %acc[i, j]) writes(%acc[i, j]) {where = [k - 1 - k_o*16 - k_i]} {
      ^(%a: f32, %b: f32, %c: f32):
        %s = kernel.muladd %a, %b, %c : f32
        kernel.yield %s
      }
    }
After `kernel.tensorize{func=f axis=k_i}`, on a target whose facts have such a tile:
    kernel.for (k_o: sequential (k + 15) floordiv 16) {
      kernel.mma (i: parallel 16, j: parallel 64, k_i: reduction 16) %x_tile[k_i, i], %w_tile[k_i, j], %acc[i, j]
          {where = [k - 1 - k_o*16 - k_i]}
    }

A factor that the map converts to the accumulator's type is multiplied as it lies in memory.  One that has to be
computed first comes from a map of its own, through a tile in registers.  Where a side of the product is missing, since
what is multiplied is a vector, it gets an axis of one point.

Refuses: a map that does something else; tiles that `kernel.mma` does not allow; and what is no tile of the target's
matrix unit: of another size or other types, or sums with terms that may not exist, where the unit takes whole tiles
only.  Without a target every tile will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from headrace.ir.access import SEQUENTIAL, Access, AccessMap, Axis
from headrace.ir.core import Block, Operation, OpResult, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError, VerifyError
from headrace.ir.facts import MatrixTile
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma, Sides, accumulator_of
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import INDEPENDENT, Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.symbols import formulas
from headrace.ir.types import BufferType, element_dtype
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, with_axis
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.products import factor_of, product_of


@dataclass(frozen=True)
class Tensorize(Pass):
    """`func`: the kernel; `axis`: the one that a map of it sums up along."""

    func: str
    axis: str

    summary = "let a matrix unit do a map that adds products to what it writes"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        op = with_axis(function, self.axis)
        if not isinstance(op, Map):
            raise PassError(f"kernel.tensorize: {self.axis} is an axis of {op.name}, expected kernel.map")
        product = _Product(function, op, op.axis(self.axis), rewriter).write()
        try:
            product.verify_op()
        except VerifyError as wrong:
            raise PassError(f"kernel.tensorize: {wrong}") from None
        if context.facts is not None:
            _check_unit(product, context.facts.matrix_tiles)
        rewriter.erase(op)


class _Product:
    """The map, taken apart: lhs, rows by depth, times rhs, depth by columns."""

    def __init__(self, function: KernelFunc, op: Map, depth: Axis, rewriter: Rewriter) -> None:
        self.op, self.rewriter, self.builder = op, rewriter, rewriter.before(op)
        self.names = Names(function)
        sides = [a for a in op.axes if a is not depth]
        if depth.kind not in SEQUENTIAL or len(sides) > 2 or any(a.kind not in INDEPENDENT for a in sides):
            found = ", ".join(str(a) for a in op.axes)
            raise self._fail(f"has the axes {found}; expected one in order, and rows and columns besides")
        sides = [replace(a, kind="parallel") for a in sides]
        missing = [Axis(self.names.fresh("one"), "parallel", Dim.constant(1)) for _ in range(2 - len(sides))]
        self.rows, self.columns = (*missing, *sides)
        self.depth = replace(depth, kind="reduction")
        self.reads: Mapping[Value, Access] = dict(zip(op.body.block.arguments, op.reads, strict=True))

    def write(self) -> Mma:
        """Puts the product before the map, and what its factors have to be computed from before that."""
        step = product_of(self.op)
        if step is None:
            raise self._fail("does something else than to add products to what it writes")
        lhs, rhs = step.a, step.b
        if not self._fit(lhs, rhs):
            lhs, rhs = rhs, lhs
        if not self._fit(lhs, rhs):
            raise self._fail("is no product of matrices: both factors move along one of its sides")
        factors = self._factor(lhs, (self.rows, self.depth)), self._factor(rhs, (self.depth, self.columns))
        axes = (self.rows, self.columns, self.depth)
        return self.builder.add(Mma(axes, *factors, self.op.writes[0], self.op.where))

    def _fit(self, lhs: Value, rhs: Value) -> bool:
        return self.columns.name not in self._deciding(lhs) and self.rows.name not in self._deciding(rhs)

    def _deciding(self, value: Value) -> set[str]:
        """The symbols that decide a value of the body."""
        if value in self.reads:
            return {s for index in self.reads[value].map.indices for s in index.symbols}
        if not isinstance(value, OpResult) or value.operation.parent is not self.op.body.block:
            return set()
        own = {s for attribute in value.operation.attributes.values() for f in formulas(attribute) for s in f.symbols}
        return own.union(*(self._deciding(operand) for operand in value.operation.operands))

    # ---- factors -------------------------------------------------------------------------------------------

    def _factor(self, value: Value, sides: Sides) -> Access:
        """Where it lies in memory, or the tile that a map of its own computes."""
        read = factor_of(self.op, value)
        if read is None or (read is not value and not _is_the_unit_s(read, value)):
            return self._computed(value, sides)
        return self.op.reads[read.index]

    def _computed(self, value: Value, sides: Sides) -> Access:
        fresh = {a.name: Dim.symbol(self.names.fresh(a.name)) for a in sides}
        kind = BufferType(element_dtype(value.type), tuple(a.extent for a in sides), "register")
        tile = self.builder.add(Alloc(kind), "factor").result
        steps = self._steps_of(value)
        read = [a for a in self.reads if any(a in step.operands for step in steps)]
        block = Block([a.type for a in read])
        values: dict[Value, Value] = dict(zip(read, block.arguments, strict=True))
        inner = Builder(block, None, self.op.location)
        for step in steps:
            rewrite_formulas(inner.add(step.clone(values)), self.rewriter, fresh)
        inner.add(Yield((values.get(value, value),)))
        self.builder.add(
            Map(
                tuple(Axis(str(fresh[a.name]), "parallel", a.extent) for a in sides),
                tuple(Access(self.reads[a].value, self.reads[a].map.substitute(fresh)) for a in read),
                (Access(tile, AccessMap(tuple(fresh.values()))),),
                Region(block),
                tuple(c.substitute(fresh) for c in self.op.where),
            )
        )
        return Access(tile, AccessMap(tuple(Dim.symbol(a.name) for a in sides)))

    def _steps_of(self, value: Value) -> list[Operation]:
        """The operations of the body that lead to a value, in order."""
        needed, pending = set[Operation](), [value]
        while pending:
            one = pending.pop()
            if isinstance(one, OpResult) and one.operation.parent is self.op.body.block:
                needed.add(one.operation)
                pending += one.operation.operands
        return [step for step in self.op.body.block.operations if step in needed]

    def _fail(self, what: str) -> PassError:
        return PassError(f"kernel.tensorize: kernel.map at {self.op.location} {what}")


def _is_the_unit_s(read: Value, converted: Value) -> bool:
    """Whether the unit itself sees to the conversion: it goes to what such elements are summed up in."""
    source = element_dtype(read.type)
    return accumulator_of(source, source) == element_dtype(converted.type)


def _check_unit(product: Mma, units: tuple[MatrixTile, ...]) -> None:
    """Raises PassError for what is no tile of one of the target's units."""
    m, n, k = (a.extent.value for a in product.axes)
    lhs, rhs, into = (element_dtype(access.value.type) for access, _ in product.tiles)
    wanted = MatrixTile(m, n, k, lhs, rhs, into)
    sizes = [u for u in units if _takes(u, wanted)]
    if not sizes:
        found = "; ".join(map(str, units)) or "none"
        raise PassError(f"kernel.tensorize: a tile of {wanted}; expected one that the target's facts list: {found}")
    if product.where and not any(u.smaller for u in sizes):
        missing = ", ".join(f"{c} >= 0" for c in product.where)
        text = f"kernel.tensorize: only terms with {missing} exist, but the target's unit takes whole tiles"
        raise PassError(f"{text}; kernel.pad-reduction makes them whole before they are staged")


def _takes(unit: MatrixTile, wanted: MatrixTile) -> bool:
    """Whether types and sizes are the unit's."""
    sizes = (wanted.m, unit.m), (wanted.n, unit.n), (wanted.k, unit.k)
    alike = replace(unit, m=wanted.m, n=wanted.n, k=wanted.k, smaller=False) == wanted
    return alike and all(a <= b if unit.smaller else a == b for a, b in sizes)
