"""kernel.block-rows: let each task of a kernel of rows do several of them.

Before:
    kernel.parallel (i: task m) {
      %s = kernel.alloc {type = buffer<f32[1], stack>}
      kernel.reduce (k: reduction 64) reads(%x[i, k]) writes(%s[0]) ...
      kernel.map (j: parallel 64) reads(%x[i, j], %s[0]) writes(%y[i, j]) ...
    }
After `kernel.block-rows{func=f axis=i by=4}`:
    kernel.parallel (i_o: task (m + 3) floordiv 4) {
      %s = kernel.alloc {type = buffer<f32[4, 1], stack>}
      kernel.reduce (i_i0: parallel 4, k: reduction 64) reads(%x[i_o*4 + i_i0, k]) writes(%s[i_i0, 0])
          {where = [m - 1 - i_o*4 - i_i0]} ...
      kernel.map (i_i1: parallel 4, j: parallel 64) reads(%x[i_o*4 + i_i1, j], %s[i_i1, 0]) ...
    }

With `few=3` a task that has no more rows than that left does them one after the other, as before:
    kernel.parallel (i_o: task (m + 3) floordiv 4) {
      kernel.if {where = [m - i_o*4 - 4]} { ... as above ... }
      else { kernel.parallel (i_x1: parallel m - i_o*4) { ... as before, of the row i_o*4 + i_x1 ... } }
    }

The rows' dim is the first of each scratch buffer, or with `innermost` the last, so that rows can be lanes: then what
goes to scratch is computed for all rows, those that do not exist reading 0, so that no lane needs a mask; with `padded`
this is so without rows as lanes.  Each operation goes through all rows before the next one starts, in a loop over
blocks of columns (`kernel.online-softmax`) those of a block.  Leaves: in the operation number n the axis `AXIS_in`, as
its first one; axes named NAME_x1 in those that do one row.  Refuses: a kernel whose body is not one `kernel.parallel`
of structured operations, allocations and loops of such.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.control import For, If, Parallel
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named, rewrite_formulas, zero_of
from headrace.passes.lowering.names import Names, version_name


@dataclass(frozen=True)
class BlockRows(Pass):
    """`func`: the kernel; `axis`: one of its row axes; `by`: rows of a task; `innermost`: rows are to be lanes; `few`:
    rows that are done one by one; `padded`: scratch is computed for rows that do not exist, too."""

    func: str
    axis: str
    by: int
    innermost: bool = False
    few: int = 0
    padded: bool = False

    summary = "let each task of a kernel of rows do several of them"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        body = function.block.operations
        rows = body[0] if len(body) == 1 and isinstance(body[0], Parallel) else None
        if rows is None or not all(isinstance(o, Alloc | Map | Reduce) for o in _operations(rows)):
            raise PassError(f"kernel.block-rows: @{self.func} is no kernel of rows")
        axis = next((a for a in rows.axes if a.name == self.axis), None)
        if axis is None or self.by < 1:
            found = " ".join(a.name for a in rows.axes)
            raise PassError(f"kernel.block-rows: axis {self.axis} by {self.by}, expected one of {found} by 1 or more")
        names = Names(function)
        outer = Axis(names.fresh(f"{axis.name}_o"), axis.kind, ceildiv(axis.extent, self.by))
        rewriter.set_attribute(rows, "axes", tuple(outer if a is axis else a for a in rows.axes))
        if self.few and any(isinstance(o, For) for o in rows.body.block.operations):
            raise PassError(f"kernel.block-rows: few is {self.few}, but @{self.func} has loops inside of its rows")
        divides = function.known.divides(self.by, axis.extent) is True
        operations = _operations(rows)
        if self.few and not divides:
            operations = self._fork(rows, axis, outer, rewriter)
        scratch: set[Value] = set()
        number = 0
        for operation in operations:
            if isinstance(operation, Alloc):
                scratch.add(self._widen(operation, rewriter))
                continue
            assert isinstance(operation, Map | Reduce)
            inner = Axis(names.fresh(f"{axis.name}_i{number}"), "parallel", Dim.constant(self.by))
            number += 1
            row = Dim.symbol(outer.name) * self.by + Dim.symbol(inner.name)
            rewrite_formulas(operation, rewriter, {axis.name: row})
            rewriter.set_attribute(operation, "axes", (inner, *operation.axes))
            if not divides and (self.innermost or self.padded) and all(a.value in scratch for a in operation.writes):
                self._pad(operation, scratch, inner.name, rewriter)
            elif not divides:
                where: tuple[Dim, ...] = operation.attributes["where"]
                rewriter.set_attribute(operation, "where", (*where, axis.extent - 1 - row))
            self._index(operation, scratch, Dim.symbol(inner.name), rewriter)

    def _fork(self, rows: Parallel, axis: Axis, outer: Axis, rewriter: Rewriter) -> list[Operation]:
        """Puts the operations into a branch for many rows, copies for one row into the other; returns the former."""
        done = Dim.symbol(outer.name) * self.by
        one = Axis(version_name(axis.name, 1), "parallel", axis.extent - done)
        many, few, single = Region(), Region(), Region()
        operations = list(rows.body.block.operations)
        rewriter.before(operations[0]).add(If(None, (one.extent - self.few - 1,), many, few))
        rewriter.end_of(few.block, rows.location).add(Parallel((one,), single))
        for region in (many, single):
            inside, copies = rewriter.end_of(region.block, rows.location), dict[Value, Value]()
            for operation in operations:
                inside.add(operation.clone(copies))
        for operation in reversed(operations):
            rewriter.erase(operation)
        for copy in single.block.operations:
            if isinstance(copy, Map | Reduce):
                own = {a.name: Dim.symbol(version_name(a.name, 1)) for a in copy.axes}
                axes = tuple(Axis(str(own[a.name]), a.kind, a.extent.substitute(own)) for a in copy.axes)
                rewrite_formulas(copy, rewriter, {**own, axis.name: done + Dim.symbol(one.name)})
                rewriter.set_attribute(copy, "axes", axes)
        return list(many.block.operations)

    def _widen(self, alloc: Alloc, rewriter: Rewriter) -> Value:
        """Scratch for all rows of a task."""
        count = Dim.constant(self.by)
        dims = (*alloc.type.dims, count) if self.innermost else (count, *alloc.type.dims)
        new = rewriter.before(alloc).add(Alloc(replace(alloc.type, dims=dims)), alloc.result.hint).result
        rewriter.replace(alloc, [new])
        return new

    def _pad(self, op: Map | Reduce, scratch: set[Value], row: str, rewriter: Rewriter) -> None:
        """Rows that do not exist read 0."""
        for field, accesses in _groups(op):
            maps = tuple(
                replace(a.map, otherwise=zero_of(a.value))
                if a.value not in scratch and a.map.otherwise is None and _mentions(a, row)
                else a.map
                for a in accesses
            )
            rewriter.set_attribute(op, field, maps)

    def _index(self, op: Map | Reduce, scratch: set[Value], row: Dim, rewriter: Rewriter) -> None:
        for field, accesses in [*_groups(op), ("writes", op.writes)]:
            maps = tuple(self._map(a.map, row) if a.value in scratch else a.map for a in accesses)
            if maps != tuple(a.map for a in accesses):
                rewriter.set_attribute(op, field, maps)

    def _map(self, map: AccessMap, row: Dim) -> AccessMap:
        return replace(map, indices=(*map.indices, row) if self.innermost else (row, *map.indices))


def _operations(rows: Parallel) -> list[Operation]:
    """Those of the rows, of loops among them what is inside."""
    found = list[Operation]()
    for operation in rows.body.block.operations:
        found += operation.body.block.operations if isinstance(operation, For) else [operation]
    return found


def _groups(op: Map | Reduce) -> list[tuple[str, tuple[Access, ...]]]:
    """The fields that read."""
    return [("reads", op.reads), *([("late", op.late)] if isinstance(op, Reduce) else [])]


def _mentions(access: Access, axis: str) -> bool:
    return any(axis in d.symbols for d in access.map.indices)
