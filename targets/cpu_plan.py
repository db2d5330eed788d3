"""What the schedules of CPUs ask about a kernel: its one structured operation, its lanes, the axis that becomes them.

In: a structured kernel and the target's facts.  Out: answers, and steps as pipeline text.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import REDUCTIONS, Access, Axis
from headrace.ir.core import walk
from headrace.ir.dims import Dim
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.convert import Holds, Index
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.types import BufferType
from headrace.passes.lowering.names import version_name


@dataclass(slots=True)
class Plan:
    """One structured operation of a kernel, about to be scheduled; or its copy of a `version`, whose axes have other
    names."""

    function: KernelFunc
    op: Structured
    facts: TargetFacts
    version: int | None = None

    @property
    def name(self) -> str:
        return self.function.function_name

    def step(self, name: str, **options: object) -> str:
        """`kernel.NAME{func=... option=value}`."""
        words = [f"func={self.name}"]
        for key, value in options.items():
            shown = str(value).lower() if isinstance(value, bool) else value
            words.append(f"{key}=[{' '.join(str(v) for v in value)}]" if isinstance(value, list) else f"{key}={shown}")
        return f"kernel.{name}{{{' '.join(words)}}}"

    def lanes(self) -> int:
        """Elements of the widest element type in one vector."""
        return self.facts.lanes(self.bytes())

    def bytes(self) -> int:
        """Of the widest element type, at least 4."""
        kinds = [a.value.type for a in self.accesses()]
        return max(4, *(k.dtype.bytes for k in kinds if isinstance(k, BufferType)))

    def registers(self) -> int:
        """Vector registers for sums and operands.  Without fused multiply-adds a product takes one for itself, and one
        is kept free, since the product overwrites a factor."""
        return self.facts.vector_registers - (0 if self.facts.has_fma else 2)

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
        formulas += [condition for o in walk(self.op, Holds) for condition in o.where]
        if isinstance(self.op, Map) and any(axis.name in self.op.all_symbols_of(a) for a in self.op.lookups):
            return None  # each lane would look up an index of its own
        return axis if all(is_linear(f, axis.name) for f in formulas) else None

    def called(self, axis: Axis) -> str:
        """The name of an axis."""
        return axis.name if self.version is None else version_name(axis.name, self.version)

    def names(self, *kinds: str) -> list[str]:
        """The axes of these kinds, in order."""
        return [self.called(a) for a in self.op.axes if a.kind in kinds]

    def reductions(self) -> list[Axis]:
        """The reduction axes, in order."""
        return [a for a in self.op.axes if a.kind in REDUCTIONS]


def symbols(access: Access) -> set[str]:
    """What its formulas mention."""
    return {s for d in access.map.indices for s in d.symbols}


def is_linear(formula: Dim, axis: str) -> bool:
    """Whether a formula moves by a constant with the axis."""
    split = formula.linear(axis)
    return split is not None and split[0].is_constant
