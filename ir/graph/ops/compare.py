"""graph.compare: how two elements stand to each other, operands broadcast; the result is bool.

    %y = graph.compare %a, %b {predicate = "lt"} : bool[n, 64]

With a NaN only `ne` holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Elementwise, Known, Sampler
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.sampling import broadcast_operands
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.scalar import COMPARISONS, Predicate
from headrace.ir.types import BOOL, F32, I32, TensorType, Type

_PREDICATES: dict[str, Predicate] = {
    "Equal": "eq",
    "Less": "lt",
    "Greater": "gt",
    "LessOrEqual": "le",
    "GreaterOrEqual": "ge",
}
_SIGNS = {"eq": (0,), "ne": (-1, 1), "lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1)}


@op("graph.compare")
class Compare(Elementwise):
    """Whether a `predicate` b."""

    a: Value
    b: Value
    predicate: Predicate
    dtypes = ("float", "int", "uint", "bool")

    def infer(self) -> Sequence[Type]:
        (kind,) = super().infer()
        assert isinstance(kind, TensorType)
        if kind.dtype == BOOL and self.predicate not in ("eq", "ne"):
            raise self.wrong_dtype(BOOL, ("float", "int", "uint"))
        return [kind.with_dtype(BOOL)]

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.compare(self.predicate, *xs)

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.elementwise(self, known, self._decide)

    def _decide(self, a: Dim, b: Dim) -> Dim | None:
        """1 or 0 where the order of two formulas is the same whatever the symbols are."""
        apart = a - b
        if not apart.is_constant:
            return None
        sign = (apart.value > 0) - (apart.value < 0)
        return Dim.constant(int(sign in _SIGNS[self.predicate]))

    def reference(self, *operands: Array) -> Array:
        return np.asarray(COMPARISONS[self.predicate](*operands))

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if self.predicate == "ne":
            return w.node("Not", w.node("Equal", self.a, self.b)[0])
        return w.node({p: name for name, p in _PREDICATES.items()}[self.predicate], self.a, self.b)

    @classmethod
    def sample(cls, sampler: Sampler) -> Compare:
        a, b = broadcast_operands(sampler, 2, F32 if sampler.rng.random() < 0.5 else I32)
        return cls(a, b, list(_PREDICATES.values())[int(sampler.rng.integers(0, len(_PREDICATES)))])


@onnx_import(*_PREDICATES, since=7)
def _compare(node: OnnxNode) -> Sequence[Value]:
    return [node.add(Compare(node.operand(0), node.operand(1), _PREDICATES[node.op_type]))]
