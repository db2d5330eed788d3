"""graph.cumulate: sums or products of all elements so far, along an axis.

    %y = graph.cumulate %x {kind = "sum", axis = 1, exclusive = false, reverse = false} : f32[n, 64]

`exclusive` leaves the element itself out; `reverse` goes from the last element to the first.  16-bit floats are
accumulated in f32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from headrace.ir.access import Axis
from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.compose import Term
from headrace.ir.graph.exporting import OnnxWriter, refuse
from headrace.ir.graph.families import Array, OwnKernel, Sampler, accumulator, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import F32, I32, TensorType, Type


@op("graph.cumulate")
class Cumulate(OwnKernel):
    """The `kind` of the elements of x up to each one along `axis`."""

    x: Value
    kind: Literal["sum", "prod"]
    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.dtype.kind == "bool":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        self.check_axis(self.axis, x)
        return [x]

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        x = tensor(self.x)
        wide, source, target = accumulator(x.dtype), buffers[self.x], buffers[self.result]
        first = 0 if self.kind == "sum" else 1
        with w.tasks(**{f"o{i}": d for i, d in enumerate((ONE, *x.dims[: self.axis]))}) as (_, *index):
            total = w.scratch(wide, x.dims[self.axis + 1 :], "total")
            axes = self._axes(w)
            w.map(axes, [], [at(total, *axes)], lambda b: [b.constant(first, wide)])
            with w.loop("t", x.dims[self.axis]) as t:
                place = x.dims[self.axis] - 1 - t if self.reverse else t
                axes = self._axes(w)
                reads = [at(total, *axes), at(source, *index, place, *axes)]
                w.map(axes, reads, [at(total, *axes), at(target, *index, place, *axes)], self._step)

    def _axes(self, w: KernelWriter) -> list[Axis]:
        return [w.axis(f"i{n}", d) for n, d in enumerate(tensor(self.x).dims[self.axis + 1 :])]

    def _step(self, b: ScalarBuilder, *xs: Value) -> list[Value]:
        total, x = xs[0], b.cast(xs[1], accumulator(tensor(self.x).dtype))
        new = b.add(total, x) if self.kind == "sum" else b.mul(total, x)
        return [new, b.cast(total if self.exclusive else new, tensor(self.x).dtype)]

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        x = widened(operands[0])
        x = np.flip(x, self.axis) if self.reverse else x
        fold = np.cumsum if self.kind == "sum" else np.cumprod
        found = np.asarray(fold(x, self.axis, x.dtype))
        if self.exclusive:
            found = np.roll(found, 1, self.axis)
            np.moveaxis(found, self.axis, 0)[:1] = 0 if self.kind == "sum" else 1
        return (np.asarray(np.flip(found, self.axis) if self.reverse else found).astype(operands[0].dtype),)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        if self.kind == "prod":
            raise refuse(self, "a product is newer than the opset")
        axis = w.constant(np.array(self.axis))
        return w.node("CumSum", self.x, axis, exclusive=self.exclusive, reverse=self.reverse)

    @classmethod
    def sample(cls, sampler: Sampler) -> Cumulate:
        dims = sampler.dims(pick(sampler, 1, 4))
        x = sampler.tensor(TensorType(I32 if chance(sampler, 0.5) else F32, dims))
        kind: Literal["sum", "prod"] = "sum" if chance(sampler, 0.5) else "prod"
        return cls(x, kind, pick(sampler, 0, len(dims) - 1), chance(sampler, 0.5), chance(sampler, 0.5))


@onnx_import("CumSum", since=11)
@onnx_import("CumProd", since=26)
def _cumulate(node: OnnxNode) -> Sequence[Value]:
    """Along an axis that is data, all of them are computed, and one is chosen."""
    x, axis = Term(node, node.operand(0)), node.constant(1)
    if not x.rank or node.tensor(1).elements != 1:
        raise node.fail(f"inputs are {x.type} and {node.tensor(1)}, expected rank 1 or more, and one axis")

    def along(number: int) -> Term:
        exclusive, reverse = (bool(node.attribute(name, 0)) for name in ("exclusive", "reverse"))
        return x.of(Cumulate(x.value, "sum" if node.op_type == "CumSum" else "prod", number, exclusive, reverse))

    if axis is not None:
        return [along(node.axis(int(axis.reshape(())), x.rank)).value]
    given = Term(node, node.operand(1)).reshape()
    found = along(0)
    for number in range(1, x.rank):
        chosen = (given.compare("lt", 0).where(given + x.rank, given)).compare("eq", number)
        found = chosen.where(along(number), found)
    return [found.value]
