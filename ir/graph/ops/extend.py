"""graph.extend: a tensor that goes on beyond its ends: mirrored, repeated, or with its last elements.

    %y = graph.extend %x {before = [0, 2], after = [0, 1], mode = "reflect"} : f32[n, 67]

Beyond [a, b, c] come, `edge`: c, c, c; `reflect`: b, a, b; `wrap`: a, b, c.  ONNX Pad in the modes of these names
becomes this operation, and graph.pad in mode 'constant'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import Array, DimCheck, Index, Movement, Sampler, tensor, unproven
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type

MODES = ("edge", "reflect", "wrap")


@op("graph.extend")
class Extend(Movement):
    """x with `before` and `after` more elements at the ends of each dim."""

    x: Value
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    mode: str

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if self.mode not in MODES:
            raise self.fail(f"mode is {self.mode!r}, expected {', '.join(MODES)}")
        if len(self.before) != kind.rank or len(self.after) != kind.rank:
            raise self.fail(f"before and after for {kind} must have {kind.rank} elements each")
        self.refuse_broken()
        return [kind.with_dims(tuple(b + d + a for b, d, a in zip(self.before, kind.dims, self.after, strict=True)))]

    def checks(self) -> Sequence[DimCheck]:
        found = []
        for i, (b, d, a) in enumerate(zip(self.before, tensor(self.x).dims, self.after, strict=True)):
            found += [DimCheck(side, f"dim {i} is extended by {side}, expected 0 or more") for side in (b, a)]
            if (b, a) != (ZERO, ZERO):
                found.append(DimCheck(d - dim_min(b + a, 1), f"dim {i} of {self.x.type} has nothing to go on with"))
        return unproven(found)

    def fold(self) -> Value | None:
        return self.x if all(d == ZERO for d in (*self.before, *self.after)) else None

    def source(self, index: Index) -> Index:
        parts = zip(index, self.before, tensor(self.x).dims, self.after, strict=True)
        return tuple(self._place(i - b, b, d, a) for i, b, d, a in parts)

    def _place(self, i: Dim, before: Dim, extent: Dim, after: Dim) -> Dim:
        """Where element i lies, which may be left of the first or right of the last one."""
        if (before, after) == (ZERO, ZERO):
            return i
        if self.mode == "wrap":
            return i % extent
        if self.mode == "edge":
            right = i if after == ZERO else dim_min(i, extent - 1)
            return right if before == ZERO else dim_max(right, 0)
        if _known_below(before, extent) and _known_below(after, extent):
            left = i if before == ZERO else dim_max(i, -i)
            return left if after == ZERO else dim_min(left, (extent - 1) * 2 - left)
        # There and back again, as often as it takes; a dim of one element has no way to go.
        lap = i % dim_max((extent - 1) * 2, 1)
        return dim_min(lap, (extent - 1) * 2 - lap)

    def reference(self, *operands: Array) -> Array:
        sides = [(b.value, a.value) for b, a in zip(self.before, self.after, strict=True)]
        found = operands[0]
        for axis, (b, a) in enumerate(sides):
            if b or a:
                places = np.pad(np.arange(found.shape[axis]), [(b, a)], mode=self.mode)  # type: ignore[call-overload]
                found = np.take(found, places, axis)
        return found

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Pad", self.x, w.integers((*self.before, *self.after)), mode=self.mode)

    @classmethod
    def sample(cls, sampler: Sampler) -> Extend:
        dims = sampler.dims(pick(sampler, 1, 3))
        before, after = (tuple(Dim.constant(pick(sampler, 0, 5)) for _ in dims) for _ in range(2))
        return cls(sampler.tensor(TensorType(F32, dims)), before, after, MODES[pick(sampler, 0, 2)])


def _known_below(pad: Dim, extent: Dim) -> bool:
    room = extent - 1 - pad
    return pad == ZERO or (room.is_constant and room.value >= 0)
