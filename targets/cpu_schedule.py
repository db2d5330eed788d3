"""The schedule of CPUs with vectors: which tiles, which axes become lanes, registers and tasks.

In: a structured kernel and the target's facts.  Out: the passes that shape its axes, as pipeline text.

Two shapes cover what there is.  A *contraction* (a reduce of one accumulator whose result is wide enough) gets a
register tile: rows by vectors, reduction innermost, every loaded vector used by all rows.  Anything else gets
its fastest dim as lanes where all accesses allow it, one task for each point of the outer dims, and plain loops
for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import Access, Axis
from headrace.ir.core import Value, producer, walk
from headrace.ir.dims import Dim
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.convert import Index
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.module import module_of
from headrace.ir.program.ops.program import Constant, Launch
from headrace.ir.types import BufferType

ROWS = 6  # rows of a register tile; with four vectors each: 24 accumulators (AVX-512), with two: 12 (AVX2)


def schedule(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for one kernel; none where it has no structured operation."""
    ops = list(walk(function, Structured))
    if len(ops) != 1:
        return []
    plan = _Plan(function, ops[0], facts)
    return plan.contraction() if plan.is_contraction() else plan.elementwise()


@dataclass(slots=True)
class _Plan:
    """Steps for the one structured operation of a kernel."""

    function: KernelFunc
    op: Structured
    facts: TargetFacts

    @property
    def name(self) -> str:
        return self.function.function_name

    def step(self, name: str, **options: object) -> str:
        """`kernel.NAME{func=... option=value}`."""
        words = [f"func={self.name}"]
        for key, value in options.items():
            words.append(f"{key}=[{' '.join(str(v) for v in value)}]" if isinstance(value, list) else f"{key}={value}")
        return f"kernel.{name}{{{' '.join(words)}}}"

    # ---- what kind of kernel -----------------------------------------------------------------------------

    def lanes(self) -> int:
        """Elements of the widest element type in one vector."""
        kinds = [a.value.type for a in self.accesses()]
        widest = max((k.dtype.bytes for k in kinds if isinstance(k, BufferType)), default=4)
        return self.facts.lanes(max(widest, 4))

    def accesses(self) -> tuple[Access, ...]:
        op = self.op
        assert isinstance(op, Map | Reduce)
        return (*op.reads, *op.writes, *(op.late if isinstance(op, Reduce) else ()))

    def vector_axis(self) -> Axis | None:
        """The axis along which results are contiguous, if every formula is linear in it, strides constant."""
        write = self.op.writes[0].map.indices
        if not write:
            return None
        axis = next((a for a in self.op.axes if Dim.symbol(a.name) == write[-1] and a.kind == "parallel"), None)
        if axis is None or (axis.extent.is_constant and axis.extent.value == 1):
            return None
        formulas = [i for a in self.accesses() for i in a.map.indices]
        formulas += [o.value for o in walk(self.op, Index)]
        return axis if all(_linear(f, axis.name) for f in formulas) else None

    def is_contraction(self) -> bool:
        """Whether two reads meet in one multiply-add, one of them contiguous along the vector axis."""
        op = self.op
        if not isinstance(op, Reduce) or len(op.accumulators) != 1 or len(op.reads) != 2:
            return False
        axis = self.vector_axis()
        if axis is None or not any(True for _ in walk(op, MulAdd)) or self.row_axis(axis) is None:
            return False
        wide = [axis.name in _symbols(r) for r in op.reads]
        return sorted(wide) == [False, True]

    def row_axis(self, vector: Axis) -> Axis | None:
        """The parallel axis that only the other read mentions: each row of the tile reuses the vectors."""
        assert isinstance(self.op, Reduce)
        wide = [r for r in self.op.reads if vector.name in _symbols(r)]
        found = [
            a
            for a in self.op.axes
            if a.kind == "parallel" and a is not vector and not any(a.name in _symbols(r) for r in wide)
        ]
        return found[-1] if found else None

    # ---- the two shapes ----------------------------------------------------------------------------------

    def contraction(self) -> list[str]:
        """Panels of vectors outermost, then rows; a panel stays in the cache while the rows pass."""
        vector = self.vector_axis()
        assert vector is not None
        row = self.row_axis(vector)
        assert row is not None
        lanes = self.lanes()
        vectors = self._vectors(vector, lanes)
        width = lanes * vectors
        v, r = vector.name, row.name
        reductions = [a.name for a in self.op.axes if a.kind == "reduction"]
        others = [a.name for a in self.op.axes if a.kind == "parallel" and a.name not in (v, r)]
        steps = [self.step("tile", axis=v, by=width), self.step("tile", axis=r, by=ROWS)]
        pack = self._packable(v)
        order = [f"{v}_o", *others, f"{r}_o", *reductions, f"{r}_i"]
        if vectors > 1:
            steps.append(self.step("tile", axis=f"{v}_i", by=lanes))
            inner, unrolled = [f"{v}_i_o", f"{v}_i_i"], [f"{r}_i", f"{v}_i_o"]
        else:
            inner, unrolled = [f"{v}_i"], [f"{r}_i"]
        if pack is not None:
            steps.append(self.step("pack", parameter=pack[0], dim=pack[1], by=width))
        steps.append(self.step("reorder", axes=[*order, *inner]))
        steps.append(self.step("bind", axes=[f"{v}_o", *others, f"{r}_o"], kind="task"))
        steps.append(self.step("bind", axes=unrolled, kind="unroll"))
        steps.append(self.step("bind", axes=inner[-1:], kind="vector"))
        return steps

    def _vectors(self, vector: Axis, lanes: int) -> int:
        """Vectors of a tile: as many as registers allow, fewer where the result is narrower."""
        most = 4 if self.facts.vector_registers >= 32 else 2
        if vector.extent.is_constant:
            while most > 1 and (most // 2) * lanes >= vector.extent.value:
                most //= 2
        return most

    def _packable(self, axis: str) -> tuple[int, int] | None:
        """(parameter, dim) of the contiguous read if it can be packed: constant in every launch, indexed plainly."""
        assert isinstance(self.op, Reduce)
        for read in self.op.reads:
            places = [i for i, d in enumerate(read.map.indices) if axis in d.symbols]
            if not places:
                continue
            number = list[Value](self.function.parameters).index(read.value)
            launches = [o for o in walk(module_of(self.function), Launch) if o.kernel.name == self.name]
            constant = all(producer(o.buffers[number], Constant) is not None for o in launches)
            plain = len(places) == 1 and read.map.indices[places[0]] == Dim.symbol(axis) and read.map.otherwise is None
            uses = len(read.value.uses)
            return (number, places[0]) if launches and constant and plain and uses == 1 else None
        return None

    def elementwise(self) -> list[str]:
        """Lanes along the fastest dim, the outer dims as tasks."""
        vector = self.vector_axis()
        loops = [a.name for a in self.op.axes if a.kind == "parallel"]
        reductions = [a.name for a in self.op.axes if a.kind == "reduction"]
        if vector is None:
            return [self.step("bind", axes=loops, kind="task")] if loops else []
        lanes = self.lanes()
        steps = [self.step("tile", axis=vector.name, by=lanes)]
        others = [name for name in loops if name != vector.name]
        tasks = [*others, f"{vector.name}_o"]
        order = [*tasks, *reductions, f"{vector.name}_i"]
        steps.append(self.step("reorder", axes=order))
        steps.append(self.step("bind", axes=tasks if reductions else tasks[:-1] or tasks, kind="task"))
        steps.append(self.step("bind", axes=[f"{vector.name}_i"], kind="vector"))
        return steps


def _symbols(access: Access) -> set[str]:
    return {s for d in access.map.indices for s in d.symbols}


def _linear(formula: Dim, axis: str) -> bool:
    split = formula.linear(axis)
    return split is not None and split[0].is_constant
