"""graph.transpose: the dims in another order.

    %y = graph.transpose %x {perm = [0, 2, 3, 1]} : f32[1, 56, 56, 64]

Dim i of the result is dim perm[i] of the operand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value, producer
from headrace.ir.declare import op
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Index, Known, Movement, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.sampling import some
from headrace.ir.types import Type


@op("graph.transpose")
class Transpose(Movement):
    """x with its dims in the order `perm`."""

    x: Value
    perm: tuple[int, ...]

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if sorted(self.perm) != list(range(kind.rank)):
            raise self.fail(f"perm is {list(self.perm)} for {kind}, expected each of 0 to {kind.rank - 1} once")
        return [kind.with_dims(tuple(kind.dims[p] for p in self.perm))]

    def fold(self) -> Value | None:
        if self.perm == tuple(range(len(self.perm))):
            return self.x
        inner = producer(self.x, Transpose)
        cancels = inner is not None and all(inner.perm[p] == i for i, p in enumerate(self.perm))
        return inner.x if inner is not None and cancels else None

    def source(self, index: Index) -> Index:
        return tuple(index[self.perm.index(i)] for i in range(len(self.perm)))

    def shape_values(self, known: Known) -> Known | None:
        return shape_values.by_function(self, known, self.reference)

    def reference(self, *operands: Array) -> Array:
        return np.transpose(operands[0], self.perm)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Transpose", self.x, perm=self.perm)

    @classmethod
    def sample(cls, sampler: Sampler) -> Transpose:
        x = some(sampler)
        return cls(x, tuple(int(p) for p in sampler.rng.permutation(tensor(x).rank)))


@onnx_import("Transpose")
def _transpose(node: OnnxNode) -> Sequence[Value]:
    x = node.operand(0)
    backwards = tuple(range(node.tensor(0).rank))[::-1]
    return [node.add(Transpose(x, node.attribute("perm", backwards)))]
