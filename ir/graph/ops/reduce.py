"""graph.reduce: sums, means, extremes and products over dims.

    %y = graph.reduce %x {kind = "sum", axes = [1, 2], keepdims = false} : f32[n]

Over no elements: 0, NaN (floats), the lowest or highest number, 1.  A NaN makes the maximum and minimum NaN.
The mean of integers is cut towards zero.  Max of bools is any, min is all.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.graph import shape_values
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Index, Known, PullBuilder, Reducing, Sampler, accumulator, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, I32, DType, TensorType, Type

Kind = Literal["sum", "mean", "max", "min", "prod"]
KINDS: tuple[Kind, ...] = ("sum", "mean", "max", "min", "prod")


def lowest(dtype: DType) -> float | int | bool:
    """The number that no other is below."""
    return -np.inf if dtype.is_float else False if dtype.kind == "bool" else int(np.iinfo(dtype.numpy).min)


def highest(dtype: DType) -> float | int | bool:
    """The number that no other is above."""
    return np.inf if dtype.is_float else True if dtype.kind == "bool" else int(np.iinfo(dtype.numpy).max)


# As numpy functions on arrays of formulas.
_ON_FORMULAS: dict[str, Any] = {
    kind: np.frompyfunc(function, 2, 1)
    for kind, function in (("sum", operator.add), ("prod", operator.mul), ("max", dim_max), ("min", dim_min))
}


@op("graph.reduce")
class Reduce(Reducing):
    """The `kind` of the elements of x along `axes`, which stay as dims of 1 where `keepdims`."""

    x: Value
    kind: Kind
    axes: tuple[int, ...]
    keepdims: bool

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if not self.axes or list(self.axes) != sorted(set(self.axes) & set(range(x.rank))):
            raise self.fail(f"axes are {list(self.axes)} for {x}, expected at least one, ascending")
        if x.dtype.kind == "bool" and self.kind not in ("max", "min"):
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        dims = [ONE if i in self.axes else d for i, d in enumerate(x.dims) if self.keepdims or i not in self.axes]
        return [x.with_dims(tuple(dims))]

    @property
    def _extents(self) -> tuple[Dim, ...]:
        return tuple(tensor(self.x).dims[a] for a in self.axes)

    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        return tuple((f"r{a}", d) for a, d in zip(self.axes, self._extents, strict=True))

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        dtype = tensor(self.x).dtype
        first = {"max": lowest(dtype), "min": highest(dtype), "prod": 1}.get(self.kind, 0)
        return [b.constant(first, accumulator(dtype))]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        outer, inner = iter(index), iter(reduced)
        at = []
        for i in range(tensor(self.x).rank):
            if i in self.axes:
                at.append(next(inner))
                if self.keepdims:
                    next(outer)
            else:
                at.append(next(outer))
        return self.combine(b, state, [b.cast(b.read(self.x, tuple(at)), accumulator(tensor(self.x).dtype))])

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        is_bool = tensor(self.x).dtype.kind == "bool"
        match self.kind:
            case "sum" | "mean":
                joined = b.add(left[0], right[0])
            case "prod":
                joined = b.mul(left[0], right[0])
            case "max":
                joined = b.bit_or(left[0], right[0]) if is_bool else b.maximum(left[0], right[0])
            case "min":
                joined = b.bit_and(left[0], right[0]) if is_bool else b.minimum(left[0], right[0])
        return [joined]

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        dtype, found = tensor(self.x).dtype, state[0]
        if self.kind == "mean":
            found = b.div(found, b.cast(b.index(prod(self._extents, start=ONE)), accumulator(dtype)))
        return b.cast(found, dtype)

    def shape_values(self, known: Known) -> Known | None:
        step = _ON_FORMULAS.get(self.kind)
        first = {"sum": Dim.constant(0), "prod": Dim.constant(1)}.get(self.kind)
        if step is None or (first is None and ZERO in self._extents):
            return None

        def fold(x: Array) -> Array:
            given = {} if first is None else {"initial": first}
            for axis in reversed(self.axes):
                x = np.asarray(step.reduce(x, axis, **given), object)
            return x

        return shape_values.by_function(self, known, fold)

    def reference(self, *operands: Array) -> Array:
        dtype = tensor(self.x).dtype
        x = widened(operands[0])
        found: Any
        match self.kind:
            case "sum" | "mean":
                found = np.sum(x, self.axes, x.dtype, keepdims=self.keepdims)
            case "prod":
                found = np.prod(x, self.axes, x.dtype, keepdims=self.keepdims)
            case "max":
                found = np.max(x, self.axes, keepdims=self.keepdims, initial=lowest(dtype))
            case "min":
                found = np.min(x, self.axes, keepdims=self.keepdims, initial=highest(dtype))
        if self.kind == "mean":
            count = prod(x.shape[a] for a in self.axes)
            with np.errstate(all="ignore"):
                found = found / x.dtype.type(count)
            if dtype.is_integer:  # of which a division by zero gives 0
                found = np.trunc(found) if count else np.zeros_like(found)
        return np.asarray(found).astype(operands[0].dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        axes = w.constant(np.array(self.axes, np.int64))
        return w.node(f"Reduce{self.kind.capitalize()}", self.x, axes, keepdims=self.keepdims)

    @classmethod
    def sample(cls, sampler: Sampler) -> Reduce:
        dims = sampler.dims(pick(sampler, 1, 4))
        axes = tuple(i for i in range(len(dims)) if chance(sampler, 0.5)) or (len(dims) - 1,)
        kind = KINDS[pick(sampler, 0, len(KINDS) - 1)]
        dtype = I32 if chance(sampler, 0.3) else F32
        return cls(sampler.tensor(TensorType(dtype, dims)), kind, axes, chance(sampler, 0.5))


def reduced(node: OnnxNode, x: Value, kind: Kind, axes: Sequence[int], keepdims: bool) -> Value:
    """A reduction over axes counted from the front; over none of them it is the operand."""
    return node.add(Reduce(x, kind, tuple(sorted(axes)), keepdims)) if axes else x


@onnx_import("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: OnnxNode) -> Sequence[Value]:
    kind: Kind = "mean" if node.op_type == "GlobalAveragePool" else "max"
    if node.tensor(0).rank < 3:
        raise node.fail(f"input is {node.tensor(0)}, expected rank 3 or more")
    return [reduced(node, node.operand(0), kind, range(2, node.tensor(0).rank), True)]
