"""graph.scatter_elements, graph.scatter_nd: a copy with elements put, or folded in, at indices that are data.

    %y = graph.scatter_elements %x, %ids, %u {axis = 1, reduction = "none"} : f32[n, 64]    // y[i, ids[i, j]] = u[i, j]
    %y = graph.scatter_nd %x, %ids, %u {reduction = "add"} : f32[n, 64]                 // y[ids[i, 0], :] += u[i, :]

Updates take effect in row-major order, so that the last one of an element wins.  Negative indices count from the end;
one that is out of range is an error when the model runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from headrace.ir.access import Axis
from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DimCheck, OwnKernel, Sampler, counted, must_be_equal, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.gather import for_dims
from headrace.ir.graph.sampling import along_axis, build, pick
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import F32, I64, TensorType, Type

Reduction = Literal["none", "add", "mul", "max", "min"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "add", "mul", "max", "min")
_NUMPY: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class _Scattering(OwnKernel):
    """What both share: the operands, the copy, and what becomes of an element."""

    x: Value
    indices: Value
    updates: Value
    reduction: Reduction

    def kinds(self) -> tuple[TensorType, TensorType, TensorType]:
        """The operands' types.  Raises VerifyError unless they fit together."""
        x, indices, updates = (tensor(o) for o in self.operands)
        if not indices.dtype.is_integer or updates.dtype != x.dtype:
            raise self.fail(
                f"operands are {x}, {indices} and {updates}, expected integers in the middle, else one type"
            )
        if x.dtype.kind == "bool" and self.reduction != "none":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        return x, indices, updates

    @abstractmethod
    def expected_updates(self) -> tuple[Dim, ...]:
        """The dims that the updates must have."""
        raise NotImplementedError

    def infer(self) -> Sequence[Type]:
        x, _, updates = self.kinds()
        wanted = self.expected_updates()
        for check in (*self.checks(), DimCheck(Dim.constant(-abs(len(wanted) - updates.rank)), "")):
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(f"updates are {updates}, expected dims {', '.join(str(d) for d in wanted)}")
        return [x]

    def checks(self) -> Sequence[DimCheck]:
        updates = tensor(self.updates)
        message = f"the updates are {updates}, which does not fit the indices"
        pairs = zip(updates.dims, self.expected_updates(), strict=False)
        return [c for d, wanted in pairs for c in must_be_equal(d, wanted, message)]

    def copy(self, w: KernelWriter, buffers: Mapping[Value, Value], index: Sequence[Dim | Axis]) -> None:
        """y = x, where the first dims are at `index`."""
        axes = [w.axis(f"c{i}", d) for i, d in enumerate(tensor(self.x).dims[len(index) :])]
        source, target = (at(buffers[v], *index, *axes) for v in (self.x, self.result))
        w.map(axes, [source], [target], lambda b, x: [x])

    def folded(self, b: ScalarBuilder, *xs: Value) -> list[Value]:
        """The new element from the old one and the update."""
        function = {"add": b.add, "mul": b.mul, "max": b.maximum, "min": b.minimum}.get(self.reduction)
        return [xs[1] if function is None else function(*xs)]

    def put(self, y: Array, place: Any, update: Any) -> None:
        """As `folded`, in numpy."""
        function = _NUMPY.get(self.reduction)
        y[place] = update if function is None else function(y[place], update)


@op("graph.scatter_elements")
class ScatterElements(_Scattering):
    """x with each update at its own index, but along `axis` at the index that `indices` has there."""

    x: Value
    indices: Value
    updates: Value
    axis: int
    reduction: Reduction = "none"

    def expected_updates(self) -> tuple[Dim, ...]:
        x, indices = tensor(self.x), tensor(self.indices)
        if x.rank != indices.rank or not 0 <= self.axis < x.rank:
            raise self.fail(f"axis is {self.axis} for {x} and {indices}, expected equal ranks, and one of the axes")
        return indices.dims

    def checks(self) -> Sequence[DimCheck]:
        x, indices, _ = self.kinds()
        message = f"indices of {indices} do not lie within {x} in every dim but the axis"
        pairs = [p for i, p in enumerate(zip(x.dims, indices.dims, strict=True)) if i != self.axis]
        return [*super().checks(), *(DimCheck(has - wants, message) for has, wants in pairs if has != wants)]

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """One task copies and updates all that has one index before the axis; a loop goes along the axis."""
        x, indices, _ = self.kinds()
        outer = {f"o{i}": d for i, d in enumerate((ONE, *x.dims[: self.axis]))}
        with w.tasks(**outer) as (_, *index):
            self.copy(w, buffers, index)
            inside = [d - 1 - i for i, d in zip(index, indices.dims, strict=False)]
            with w.when(*inside), w.loops({f"u{i}": d for i, d in enumerate(indices.dims[self.axis :])}) as inner:
                update = (*index, *inner)
                with w.lookups([at(buffers[self.indices], *update)], [x.dims[self.axis]]) as (place,):
                    target = at(buffers[self.result], *index, place, *inner[1:])
                    w.map([], [target, at(buffers[self.updates], *update)], [target], self.folded)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        x, indices, updates = operands
        y = x.copy()
        places = counted(indices, x.shape[self.axis])
        for index in np.ndindex(indices.shape):
            self.put(y, (*index[: self.axis], places[index], *index[self.axis + 1 :]), updates[index])
        return (y,)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("ScatterElements", *self.operands, axis=self.axis, reduction=self.reduction)

    @classmethod
    def sample(cls, sampler: Sampler) -> ScatterElements:
        kind, axis, size = along_axis(sampler)
        x = sampler.tensor(kind)
        some = TensorType(I64, (*kind.dims[:axis], Dim.constant(pick(sampler, 1, 3)), *kind.dims[axis + 1 :]))
        indices = sampler.tensor(some, -size / 4, (size - 1) / 4)
        return cls(x, indices, sampler.tensor(some.with_dtype(F32)), axis, REDUCTIONS[pick(sampler, 0, 4)])


@onnx_import("ScatterElements", "Scatter", since=9)
def _scatter_elements(node: OnnxNode) -> Sequence[Value]:
    axis = node.axis(node.attribute("axis", 0), node.tensor(0).rank)
    operands = (node.operand(i) for i in range(3))
    return [node.add(build(ScatterElements, *operands, axis, node.attribute("reduction", "none")))]


@op("graph.scatter_nd")
class ScatterND(_Scattering):
    """x with a slice at the indices, for its first dims, that stand in the last dim of `indices`."""

    x: Value
    indices: Value
    updates: Value
    reduction: Reduction = "none"

    @property
    def _count(self) -> int:
        """How many dims of x the indices are for."""
        x, indices, _ = self.kinds()
        count = indices.dims[-1] if indices.rank else ONE
        if not indices.rank or not count.is_constant or not 0 < count.value <= x.rank:
            raise self.fail(f"indices are {indices} for {x}, expected 1 to {x.rank} in the last dim")
        return count.value

    def expected_updates(self) -> tuple[Dim, ...]:
        x, indices, _ = self.kinds()
        return (*indices.dims[:-1], *x.dims[self._count :])

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """One task: which updates meet is data."""
        x, indices, _ = self.kinds()
        count = self._count
        with w.tasks(o=ONE):
            self.copy(w, buffers, ())
            with w.loops({f"u{i}": d for i, d in enumerate(indices.dims[:-1])}) as update:
                accesses = [at(buffers[self.indices], *update, Dim.constant(i)) for i in range(count)]
                with w.lookups(accesses, x.dims[:count]) as places:
                    inner = [w.axis(f"i{i}", d) for i, d in enumerate(x.dims[count:])]
                    target = at(buffers[self.result], *places, *inner)
                    w.map(inner, [target, at(buffers[self.updates], *update, *inner)], [target], self.folded)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        x, indices, updates = operands
        y = x.copy()
        places = [counted(indices[..., i], x.shape[i]) for i in range(indices.shape[-1])]
        for index in np.ndindex(indices.shape[:-1]):
            self.put(y, tuple(p[index] for p in places), updates[index])
        return (y,)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("ScatterND", *self.operands, reduction=self.reduction)

    @classmethod
    def sample(cls, sampler: Sampler) -> ScatterND:
        count, size = pick(sampler, 1, 2), pick(sampler, 1, 4)
        inner, outer = sampler.dims(pick(sampler, 0, 2)), sampler.dims(pick(sampler, 0, 2))
        x = sampler.tensor(TensorType(F32, (*(Dim.constant(size),) * count, *inner)))
        indices = sampler.tensor(TensorType(I64, (*outer, Dim.constant(count))), -size / 4, (size - 1) / 4)
        return cls(x, indices, sampler.tensor(TensorType(F32, (*outer, *inner))), REDUCTIONS[pick(sampler, 0, 4)])


@onnx_import("ScatterND", since=11)
def _scatter_nd(node: OnnxNode) -> Sequence[Value]:
    x, indices, updates = (node.tensor(i) for i in range(3))
    if not indices.rank:
        raise node.fail(f"the indices are {indices}, expected rank 1 or more")
    count = indices.dims[-1]
    found = node.operand(1) if count.is_constant else for_dims(node, indices.rank - 1 + x.rank - updates.rank)
    operands = node.operand(0), found, node.operand(2)
    return [node.add(build(ScatterND, *operands, node.attribute("reduction", "none")))]
