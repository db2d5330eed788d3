"""Which instructions an operation on tiles is.  In: a map or a product, where its buffers lie.  Out: instructions.

A product is the matrix unit's.  A map that moves elements between memory and the scratchpad is DMA's; any other is the
vector unit's: an instruction for each step, whose result is a tile.
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
from headrace.ir.kernel.ops.matrix import Mma, Sides
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


@dataclass(frozen=True, slots=True)
class Tile:
    """Where elements lie in the scratchpad: the first one, and the steps along rows and columns."""

    start: int
    steps: tuple[int, int]

    @property
    def words(self) -> tuple[int, int, int]:
        return self.start, *self.steps


class Selection:
    """The instructions of one operation."""

    def __init__(self, op: Map | Mma, function: KernelFunc, asm: Assembler, tiles: Mapping[Value, int]) -> None:
        self.op, self.asm, self.tiles = op, asm, tiles
        self.facts = enclosing_facts(op, function.known)
        for axis in op.axes:
            self.facts = self.facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        self.reads: dict[Value, Access] = {}  # what a map's body computes with
        self.computed: dict[Value, Tile] = {}

    def emit(self) -> None:
        """Adds them.  Raises CodegenError."""
        if isinstance(self.op, Mma):
            self._multiply(self.op)
        else:
            self._map(self.op)

    def _multiply(self, op: Mma) -> None:
        if any(access.value not in self.tiles or access.map.otherwise is not None for access, _ in op.tiles):
            raise self._fail("multiplies what is not in the scratchpad")
        lhs, rhs, into = (self._tile(access, sides).words for access, sides in op.tiles)
        count = self._count(op.axes[2], op.where, op.axes)
        self.asm.add(Opcode.MATMUL, *into, *lhs, *rhs, *(a.extent.value for a in op.axes), count)

    def _map(self, op: Map) -> None:
        """Points of a tile that do not exist are computed as well: they have room there, and nobody reads them."""
        if len(op.axes) > 2 or any(a.kind != "parallel" for a in op.axes):
            raise self._fail("has other axes than the two of a tile")
        rows, columns = [ONE, ONE, *op.axes][-2:]
        self.reads.update(zip(op.body.block.arguments, op.reads, strict=True))
        (value,), (write,) = op.body.block.terminator.operands, op.writes
        if write.value not in self.tiles:
            self._move(Opcode.STORE, self._moved(op, value), write, (rows, columns))
        elif any(r.value not in self.tiles for r in op.reads):
            self._move(Opcode.LOAD, write, self._moved(op, value), (rows, columns))
        else:
            self._compute(value, (rows, columns), self._tile(write, (rows, columns)))

    # ---- DMA -------------------------------------------------------------------------------------------------------

    def _moved(self, op: Map, value: Value) -> Access:
        """What is read, where nothing is computed with it."""
        if len(op.reads) > 1 or value not in self.reads:
            raise self._fail("computes with what is not in the scratchpad")
        return self.reads[value]

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
