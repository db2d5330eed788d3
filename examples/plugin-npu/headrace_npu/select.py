"""Which instructions a map over tiles is.  In: a map, where its buffers lie.  Out: instructions.

A map that moves elements between memory and the scratchpad is DMA's.  One with an axis that is summed over, which adds
products to what it writes, is the matrix unit's.  Any other is the vector unit's, as are the factors of a product
that have to be computed first: an instruction for each step, whose result is a tile.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.ir.access import Access, Axis
from headrace.ir.core import BlockArgument, Operation, OpResult, Value
from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import scalar
from headrace.ir.kernel.ops.convert import Constant
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.types import BufferType
from headrace.passes.lowering.enclosing import enclosing_facts
from headrace.passes.lowering.guards import inside
from headrace_npu.assemble import Assembler
from headrace_npu.isa import Function, Opcode

# What the vector unit does for each scalar operation: functions that it applies one after the other.
VECTOR_FUNCTIONS: dict[type[Operation], tuple[Function, ...]] = {
    Constant: (),
    scalar.Add: (Function.ADD,),
    scalar.Sub: (Function.SUB,),
    scalar.Mul: (Function.MUL,),
    scalar.Div: (Function.DIV,),
    scalar.Min: (Function.MIN,),
    scalar.Max: (Function.MAX,),
    scalar.MulAdd: (Function.MUL, Function.ADD),
}
ONE = Axis("", "parallel", Dim.constant(1))  # where a tile has no second axis
Sides = tuple[Axis, Axis]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where elements lie in the scratchpad: the first one, and the steps along rows and columns."""

    start: int
    steps: tuple[int, int]

    @property
    def words(self) -> tuple[int, int, int]:
        return self.start, *self.steps


class Selection:
    """The instructions of one map."""

    def __init__(self, op: Map, function: KernelFunc, asm: Assembler, tiles: Mapping[Value, int]) -> None:
        self.op, self.asm, self.tiles = op, asm, tiles
        self.facts = enclosing_facts(op, function.known)
        for axis in op.axes:
            self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        self.reads: dict[Value, Access] = dict(zip(op.body.block.arguments, op.reads, strict=True))
        self.computed: dict[Value, Tile] = {}
        (self.value,) = op.body.block.terminator.operands
        (self.write,) = op.writes

    def emit(self) -> None:
        """Adds them.  Raises CodegenError."""
        summed = [a for a in self.op.axes if a.kind == "sequential"]
        sides = [a for a in self.op.axes if a not in summed]
        if len(sides) > 2 or len(summed) > 1:
            raise self._fail("has more axes than a tile")
        rows, columns = [ONE, ONE, *sides][-2:]
        if summed:
            self._product(rows, columns, summed[0])
        elif self.write.value not in self.tiles:
            self._move(Opcode.STORE, self._moved(), self.write, (rows, columns))
        elif any(r.value not in self.tiles for r in self.op.reads):
            self._move(Opcode.LOAD, self.write, self._moved(), (rows, columns))
        else:
            self._compute(self.value, (rows, columns), self._tile(self.write, (rows, columns)))

    # ---- DMA -------------------------------------------------------------------------------------------------------

    def _moved(self) -> Access:
        """What is read, where nothing is computed with it."""
        if len(self.op.reads) > 1 or self.value not in self.reads:
            raise self._fail("computes with what is not in the scratchpad")
        return self.op.reads[0]

    def _move(self, opcode: Opcode, tile: Access, memory: Access, sides: Sides) -> None:
        """Those elements of a tile that exist: `where` says so for what is stored, `else` for what is loaded."""
        kind = memory.value.type
        assert isinstance(kind, BufferType) and isinstance(memory.value, BlockArgument)
        conditions = list(self.op.where)
        if memory.map.otherwise is not None:
            conditions += inside(memory.map.indices, kind.dims, self.facts)
        start, steps = self._linear(kind.element_at(memory.map.indices), sides)
        place = [self.asm.formula(d) for d in (start, *steps)]
        counts = [self._count(axis, conditions, sides) for axis in sides]
        fill = [_bits(memory.map.otherwise or 0.0)] if opcode is Opcode.LOAD else []
        shape = [*self._tile(tile, sides).words, *_extents(sides)]
        self.asm.add(opcode, memory.value.index, *place, *counts, *shape, *fill)

    def _count(self, axis: Axis, conditions: Sequence[Dim], sides: Sequence[Axis]) -> int:
        """The register that says how many of an axis's points fulfil the conditions."""
        count = axis.extent
        for condition in conditions:
            moving = [a for a in sides if a.name in condition.symbols]
            split = condition.linear(axis.name)
            if len(moving) != 1:
                raise self._fail(f"has a condition that is not about one side of its tile: {condition} >= 0")
            if moving == [axis]:
                if split is None or not split[0].is_constant or split[0].value >= 0:
                    raise self._fail(f"has a condition that does not end its tile: {condition} >= 0")
                count = dim_min(count, split[1] // -split[0].value + 1)
        count = self.facts.simplify(count)
        return self.asm.formula(count if self.facts.less_equal(0, count) is True else dim_max(count, 0))

    # ---- matrix unit -----------------------------------------------------------------------------------------------

    def _product(self, rows: Axis, columns: Axis, depth: Axis) -> None:
        """What is written, plus the products of a row and a column."""
        step = self.value.operation if isinstance(self.value, OpResult) else None
        if not isinstance(step, scalar.MulAdd) or self.reads.get(step.c) != self.write:
            raise self._fail("sums up something else than products")
        left, right = step.a, step.b
        if rows.name in self._moves_along(right) or columns.name in self._moves_along(left):
            left, right = right, left
        if rows.name in self._moves_along(right) or columns.name in self._moves_along(left):
            raise self._fail("is no product of matrices")
        factors = [*self._compute(left, (rows, depth)).words, *self._compute(right, (depth, columns)).words]
        count = self._count(depth, self.op.where, [depth])
        target = self._tile(self.write, (rows, columns))
        self.asm.add(Opcode.MATMUL, *target.words, *factors, *_extents((rows, columns)), depth.extent.value, count)

    def _moves_along(self, value: Value) -> set[str]:
        """The symbols that decide a value of the body."""
        if value in self.reads:
            return {s for index in self.reads[value].map.indices for s in index.symbols}
        assert isinstance(value, OpResult)
        return {s for operand in value.operation.operands for s in self._moves_along(operand)}

    # ---- vector unit -----------------------------------------------------------------------------------------------

    def _compute(self, value: Value, sides: Sides, target: Tile | None = None) -> Tile:
        """The tile with a value of the body for each point: `target`, if there is one."""
        if target is None and value in self.computed:
            return self.computed[value]
        if value in self.reads:
            found = self._tile(self.reads[value], sides)
            return found if target is None else self._vector(Function.COPY, found, found, sides, target)
        assert isinstance(value, OpResult)
        step = value.operation
        if isinstance(step, Constant):
            found = target or Tile(self.asm.room(1), (0, 0))
            self.asm.add(Opcode.FILL, *found.words, *(_extents(sides) if target else (1, 1)), _bits(step.value))
            return found
        if type(step) not in VECTOR_FUNCTIONS:
            raise self._fail(f"computes {step.name}, which the vector unit has no function for")
        found, *others = [self._compute(operand, sides) for operand in step.operands]
        functions = VECTOR_FUNCTIONS[type(step)]
        for function, other in zip(functions, others or [found], strict=True):
            last = function is functions[-1]
            found = self._vector(function, found, other, sides, target if last and target else self._new(sides))
        self.computed[value] = found
        return found

    def _vector(self, function: Function, left: Tile, right: Tile, sides: Sides, target: Tile) -> Tile:
        self.asm.add(Opcode.VECTOR, function, *target.words, *left.words, *right.words, *_extents(sides))
        return target

    def _new(self, sides: Sides) -> Tile:
        rows, columns = _extents(sides)
        return Tile(self.asm.room(rows * columns), (columns, 1))

    # ---- tiles -----------------------------------------------------------------------------------------------------

    def _tile(self, access: Access, sides: Sides) -> Tile:
        kind = access.value.type
        assert isinstance(kind, BufferType)
        start, steps = self._linear(kind.element_at(access.map.indices), sides)
        if not all(d.is_constant for d in (start, *steps)):
            raise self._fail(f"reads or writes element {kind.element_at(access.map.indices)} of a tile")
        return Tile(self.tiles[access.value] + start.value, (steps[0].value, steps[1].value))

    def _linear(self, element: Dim, sides: Sides) -> tuple[Dim, tuple[Dim, Dim]]:
        """The first element, and the steps along both sides."""
        steps = []
        for axis in sides:
            split = element.linear(axis.name)
            if split is None:
                raise self._fail(f"does not move in steps along axis {axis.name}")
            steps.append(split[0])
            element = split[1]
        return element, (steps[0], steps[1])

    def _fail(self, what: str) -> CodegenError:
        return CodegenError(f"npu: {self.op.name} at {self.op.location} {what}")


def _extents(sides: Sides) -> tuple[int, int]:
    return sides[0].extent.value, sides[1].extent.value


def _bits(number: float) -> int:
    """An f32 as a word."""
    return int(struct.unpack("<I", struct.pack("<f", number))[0])
