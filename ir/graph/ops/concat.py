"""graph.concat: tensors one behind the other along a dim.

%y = graph.concat %a, %b {axis = 1} : f32[n, 96]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import (
    Array,
    DimCheck,
    Index,
    Known,
    Pull,
    PullBuilder,
    Sampler,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type


@op("graph.concat")
class Concat(Pull):
    """The elements of xs, one operand after the other along `axis`."""

    xs: tuple[Value, ...]
    axis: int

    def infer(self) -> Sequence[Type]:
        kinds = [tensor(x) for x in self.xs]
        if not kinds or not 0 <= self.axis < kinds[0].rank:
            raise self.fail(f"axis is {self.axis} for {', '.join(str(k) for k in kinds) or 'nothing'}")
        first = kinds[0]
        for kind in kinds[1:]:
            if kind.dtype != first.dtype or kind.rank != first.rank:
                raise self.fail(f"operands are {first} and {kind}, expected one element type and rank")
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)
        whole = sum((k.dims[self.axis] for k in kinds), start=ZERO)
        return [first.with_dims((*first.dims[: self.axis], whole, *first.dims[self.axis + 1 :]))]

    def checks(self) -> Sequence[DimCheck]:
        first, *others = (tensor(x) for x in self.xs)
        found: list[DimCheck] = []
        for kind in others:
            for i, (a, b) in enumerate(zip(first.dims, kind.dims, strict=True)):
                if i != self.axis:
                    found += must_be_equal(a, b, f"dim {i} of {first} and {kind} must be equal")
        return tuple(dict.fromkeys(found))

    def fold(self) -> Value | None:
        return self.xs[0] if len(self.xs) == 1 else None

    def pull(self, b: PullBuilder, index: Index) -> Value:
        place = index[self.axis]
        found: Value | None = None
        start = ZERO
        for x in self.xs:
            at = (*index[: self.axis], place - start, *index[self.axis + 1 :])
            element = b.read(x, at, 0)
            found = element if found is None else b.select(b.holds(place - start), element, found)
            start = start + tensor(x).dims[self.axis]
        assert found is not None
        return found

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.by_function(self, known, self.reference)

    def reference(self, *operands: Array) -> Array:
        return np.concatenate(operands, self.axis)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Concat", *self.xs, axis=self.axis)

    @classmethod
    def sample(cls, sampler: Sampler) -> Concat:
        dims = sampler.dims(pick(sampler, 1, 3))
        axis = pick(sampler, 0, len(dims) - 1)
        shapes = [(*dims[:axis], sampler.dims(1)[0], *dims[axis + 1 :]) for _ in range(pick(sampler, 1, 3))]
        return cls(tuple(sampler.tensor(TensorType(F32, s)) for s in shapes), axis)


@onnx_import("Concat", since=4)
def _concat(node: OnnxNode) -> Sequence[Value]:
    xs = tuple(node.operand(i) for i in range(node.input_count))
    if "axis" not in node.attribute_names:
        raise node.fail("attribute 'axis' is missing")
    return [node.add(Concat(xs, node.axis(node.attribute("axis", 0), node.tensor(0).rank)))]
