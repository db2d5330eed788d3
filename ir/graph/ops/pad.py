"""graph.pad: a constant around a tensor; a negative number cuts off instead.

%y = graph.pad %x {before = [0, 1], after = [0, 1], value = 0.0} : f32[n, 66]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Sampler, tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type


@op("graph.pad")
class Pad(Pull):
    """x with `before` and `after` elements of `value` around each dim."""

    x: Value
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    value: float | int | bool = 0.0

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if len(self.before) != kind.rank or len(self.after) != kind.rank:
            raise self.fail(f"before and after for {kind} must have {kind.rank} elements each")
        dims = tuple(b + d + a for b, d, a in zip(self.before, kind.dims, self.after, strict=True))
        for dim in dims:
            if dim.is_constant and dim.value < 0:
                raise self.fail(f"more than all elements of {kind} are cut off")
        return [kind.with_dims(dims)]

    @property
    def padded_dims(self) -> tuple[int, ...]:
        """The dims that have elements added or cut off."""
        sides = enumerate(zip(self.before, self.after, strict=True))
        return tuple(i for i, (b, a) in sides if (b, a) != (ZERO, ZERO))

    @property
    def is_frame(self) -> bool:
        """Whether it lays whole rows of memory around the operand: numbers of them known, one dim or two neighbours
        padded, and the last dim left as it is.  The operand can then be made in the middle of the padded buffer.
        """
        dims = self.padded_dims
        adds = all(d.is_constant and d.value >= 0 for d in (*self.before, *self.after))
        return adds and 1 <= len(dims) <= 2 and dims[-1] - dims[0] == len(dims) - 1 < len(self.before) - 1 - dims[0]

    def fold(self) -> Value | None:
        return self.x if all(d == ZERO for d in (*self.before, *self.after)) else None

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.read(self.x, tuple(i - n for i, n in zip(index, self.before, strict=True)), self.value)

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        sides = [(b.value, a.value) for b, a in zip(self.before, self.after, strict=True)]
        padded = np.pad(x, [(max(b, 0), max(a, 0)) for b, a in sides], constant_values=self.value)
        for axis, (b, a) in enumerate(sides):
            kept = np.arange(max(-b, 0), padded.shape[axis] - max(-a, 0))
            padded = np.take(padded, kept, axis)
        return padded

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        value = w.constant(np.array(self.value, tensor(self.x).dtype.numpy))
        return w.node("Pad", self.x, w.integers((*self.before, *self.after)), value)

    @classmethod
    def sample(cls, sampler: Sampler) -> Pad:
        dims = sampler.dims(pick(sampler, 1, 4))
        before, after = (tuple(Dim.constant(pick(sampler, 0, 2)) for _ in dims) for _ in range(2))
        return cls(sampler.tensor(TensorType(F32, dims)), before, after, float(pick(sampler, -1, 1)))
