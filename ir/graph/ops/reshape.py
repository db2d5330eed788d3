"""graph.reshape: the same elements, row-major, under other dims.

    %y = graph.reshape %x {dims = [n, 64]} : f32[n, 64]

The element counts agree.  ONNX Reshape with a shape that is known while compiling, Flatten, Squeeze and
Unsqueeze all become this operation; where the shape is data, see graph.reshape_dynamic.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DimCheck, Index, Known, Movement, Sampler, must_be_equal, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO, reshaped_index
from headrace.ir.graph.ops.arithmetic import Div
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.compare import Compare
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.ops.reshape_dynamic import ReshapeDynamic
from headrace.ir.graph.ops.where import Where
from headrace.ir.graph.sampling import pick, some
from headrace.ir.types import I64, Type


@op("graph.reshape")
class Reshape(Movement):
    """x under the dims `dims`."""

    x: Value
    dims: tuple[Dim, ...]
    is_view = True

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        result = kind.with_dims(self.dims)
        apart = kind.elements - result.elements
        if apart.is_constant and apart.value != 0:
            raise self.fail(f"{kind} has {kind.elements} elements, {result} has {result.elements}")
        return [result]

    def fold(self) -> Value | None:
        return self.x if tensor(self.x).dims == self.dims else None

    def source(self, index: Index) -> Index:
        return reshaped_index(index, self.dims, tensor(self.x).dims)

    def checks(self) -> Sequence[DimCheck]:
        kind, result = tensor(self.x), tensor(self.result)
        return must_be_equal(kind.elements, result.elements, f"{kind} does not reshape to {result}")

    def shape_values(self, known: Known) -> Known | None:
        return known

    def reference(self, *operands: Array) -> Array:
        return operands[0].reshape([d.value for d in self.dims])

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Reshape", self.x, w.integers(self.dims), allowzero=1)

    @classmethod
    def sample(cls, sampler: Sampler) -> Reshape:
        x = some(sampler)
        dims = list(tensor(x).dims)
        if len(dims) > 1:  # join two neighbours
            at = pick(sampler, 0, len(dims) - 2)
            dims[at : at + 2] = [dims[at] * dims[at + 1]]
        if dims and pick(sampler, 0, 1):  # and take a factor out
            at = pick(sampler, 0, len(dims) - 1)
            factor = next((f for f in (2, 3, 5) if dims[at].is_constant and dims[at].value % f == 0), 1)
            dims[at : at + 1] = [Dim.constant(factor), dims[at] // factor]
        return cls(x, tuple(dims))


def reshaped(node: OnnxNode, x: Value, dims: Sequence[Dim]) -> Value:
    """`x` under other dims; `x` itself where they are its own."""
    return x if tensor(x).dims == tuple(dims) else node.add(Reshape(x, tuple(dims)))


@onnx_import("Reshape", since=5)
def _reshape(node: OnnxNode) -> Sequence[Value]:
    x, wanted = node.operand(0), node.shape_value(1)
    allow_zero = bool(node.attribute("allowzero", 0))
    if wanted is not None:
        return [reshaped(node, x, _resolved(node, wanted, allow_zero))]
    shape = node.tensor(1)
    if shape.rank != 1 or not shape.is_static:
        raise node.unsupported(f"the shape is {shape}, so the rank of the result is data")
    symbols = tuple(node.symbol(f"{node.name}_{i}") for i in range(shape.dims[0].value))
    return [node.add(ReshapeDynamic(x, _resolved_data(node, allow_zero), symbols))]


def _resolved_data(node: OnnxNode, allow_zero: bool) -> Value:
    """The dims that a shape stands for, computed by the program: see graph.reshape_dynamic.

    Their product may wrap: what it leads to has not the elements of x, which is checked without wrapping.
    """
    shape, x = node.operand(1), node.tensor(0)
    count = node.tensor(1).dims[0].value
    zero, one, rest = (node.add_constant(np.array(n, np.int64)) for n in (0, 1, -1))
    if not allow_zero:
        dims = (*x.dims, *[ZERO] * count)[:count]
        shape = node.add(Where(node.add(Compare(shape, zero, "eq")), node.add(Formulas(dims, (count,))), shape))
    is_rest = node.add(Compare(shape, rest, "eq"))
    others = node.add(Reduce(node.add(Where(is_rest, one, shape)), "prod", (0,), True))
    left = node.add(Div(node.add(Formulas((x.elements,), (1,))), others))
    # More than one -1 stays -1, which is no dim.
    is_one = node.add(Compare(node.add(Reduce(node.add(Cast(is_rest, I64)), "sum", (0,), True)), one, "eq"))
    left = node.add(Where(is_one, left, rest))
    return node.add(Where(is_rest, left, shape))


def _resolved(node: OnnxNode, wanted: tuple[Dim, ...], allow_zero: bool) -> list[Dim]:
    """The dims that a known shape stands for: 0 copies a dim unless `allow_zero`, one -1 takes what is left."""
    x = node.tensor(0)
    minus_one = Dim.constant(-1)
    if wanted.count(minus_one) > 1:
        raise node.fail(f"the shape {[str(d) for d in wanted]} has more than one -1")
    dims = []
    for i, d in enumerate(wanted):
        if d == ZERO and not allow_zero:
            if i >= x.rank:
                raise node.fail(f"the shape copies dim {i} of {x}, which has rank {x.rank}")
            d = x.dims[i]
        if d.is_constant and d.value < -1:
            raise node.fail(f"the shape has a dim {d}, expected -1 or more")
        dims.append(d)
    if minus_one in dims:
        others = prod((d for d in dims if d != minus_one), start=ONE)
        dims[dims.index(minus_one)] = ZERO if others == ZERO else x.elements // others
    return dims


@onnx_import("Flatten")
def _flatten(node: OnnxNode) -> Sequence[Value]:
    x, kind = node.operand(0), node.tensor(0)
    axis = node.attribute("axis", 1)
    axis = kind.rank if axis == kind.rank else node.axis(axis, kind.rank)
    rows = prod(kind.dims[:axis], start=ONE)
    return [reshaped(node, x, [rows, prod(kind.dims[axis:], start=ONE)])]
