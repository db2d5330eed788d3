"""graph.arg: where along an axis the largest or the smallest element stands; graph.positions: where each one stands.

    %y = graph.arg %x {kind = "max", axis = 1, last = false} : i64[n, 1]
    %i = graph.positions %x {axis = 1} : i64[n, 10]

The axis stays as a dim of 1.  Among equal elements the first one counts, or the `last`; a NaN beats every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Reducing, Sampler, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.reduce import highest, lowest
from headrace.ir.graph.ranking import NONE_YET, Ranking
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, I32, I64, TensorType, Type


@op("graph.arg")
class Arg(Reducing):
    """The index of the `kind` of the elements of x along `axis`."""

    x: Value
    kind: Literal["max", "min"]
    axis: int
    last: bool = False

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        self.check_axis(self.axis, x)
        if x.dtype.kind == "bool":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        return [TensorType(I64, (*x.dims[: self.axis], ONE, *x.dims[self.axis + 1 :]))]

    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        return ((f"r{self.axis}", tensor(self.x).dims[self.axis]),)

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        dtype = tensor(self.x).dtype
        worst = lowest(dtype) if self.kind == "max" else highest(dtype)
        return [b.constant(worst, dtype), b.constant(NONE_YET, I64)]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        x = b.read(self.x, (*index[: self.axis], *reduced, *index[self.axis + 1 :]))
        return self.combine(b, state, [x, b.index(reduced[0])])

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        """The better of two elements: in any order, so ties go by the index."""
        ranking = Ranking(self.kind == "max", nan_first=True, higher_index=self.last)
        return ranking.first(b, (left[0], left[1]), (right[0], right[1]))

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        return state[1]

    def reference(self, *operands: Array) -> Array:
        x = np.flip(operands[0], self.axis) if self.last else operands[0]
        if not x.shape[self.axis]:
            return np.full([d.value for d in tensor(self.result).dims], NONE_YET)
        found = np.expand_dims((np.argmax if self.kind == "max" else np.argmin)(x, self.axis), self.axis)
        return (x.shape[self.axis] - 1 - found if self.last else found).astype(np.int64)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        word = {"max": "ArgMax", "min": "ArgMin"}[self.kind]
        return w.node(word, self.x, axis=self.axis, keepdims=1, select_last_index=self.last)

    @classmethod
    def sample(cls, sampler: Sampler) -> Arg:
        dims = sampler.dims(pick(sampler, 1, 4))
        x = sampler.tensor(TensorType(I32 if chance(sampler, 0.5) else F32, dims), -0.8, 0.8)
        kind: Literal["max", "min"] = "max" if chance(sampler, 0.5) else "min"
        return cls(x, kind, pick(sampler, 0, len(dims) - 1), chance(sampler, 0.5))


@op("graph.positions")
class Positions(Pull):
    """The index along `axis` of each element of x."""

    x: Value
    axis: int

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        self.check_axis(self.axis, x)
        return [x.with_dtype(I64)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.index(index[self.axis])

    def reference(self, *operands: Array) -> Array:
        return np.asarray(np.indices(operands[0].shape, np.int64)[self.axis])

    @classmethod
    def sample(cls, sampler: Sampler) -> Positions:
        dims = sampler.dims(pick(sampler, 1, 4))
        return cls(sampler.tensor(TensorType(F32, dims)), pick(sampler, 0, len(dims) - 1))


@onnx_import("ArgMax", "ArgMin")
def _arg(node: OnnxNode) -> Sequence[Value]:
    kind = node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    last = bool(node.attribute("select_last_index", 0))
    found = node.add(Arg(node.operand(0), "max" if node.op_type == "ArgMax" else "min", axis, last))
    if node.attribute("keepdims", 1):
        return [found]
    return [Term(node, found).reshape(*kind.dims[:axis], *kind.dims[axis + 1 :]).value]


@onnx_import("Hardmax")
def _flattening_hardmax(node: OnnxNode) -> Sequence[Value]:
    """Before opset 13, over all dims from the axis on."""
    x = Term(node, node.operand(0))
    axis = node.attribute("axis", 1)
    axis = x.rank if axis == x.rank else node.axis(axis, x.rank)
    return [_hardmax(x.reshape(*x.dims[:axis], prod(x.dims[axis:], start=ONE)), axis).reshape(*x.dims).value]


@onnx_import("Hardmax", since=13)
def _along_axis(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    return [_hardmax(x, node.axis(node.attribute("axis", -1), x.rank)).value]


def _hardmax(x: Term, axis: int) -> Term:
    """1 where the first of the largest elements stands, 0 elsewhere."""
    first, place = x.of(Arg(x.value, "max", axis)), x.of(Positions(x.value, axis))
    return place.compare("eq", first).cast(x.dtype)
