"""graph.pack: cut one dim into panels, the panel number first, the place in the panel last.

    %p = graph.pack %w {dim = 1, by = 64} : f32[48, 768, 64]       // from f32[768, 3072]

    %p[q, ..., r] = %w[..., q*by + r, ...], or 0 where q*by + r is outside

Made by `kernel.pack` for constant operands; no ONNX operator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import ceildiv
from headrace.ir.graph.families import Array, Index, Pull, PullBuilder, Sampler, tensor
from headrace.ir.types import F32, TensorType, Type


@op("graph.pack")
class Pack(Pull):
    """Panels of `by` along `dim`, filled up with zeros."""

    x: Value
    dim: int
    by: int

    def infer(self) -> Sequence[Type]:
        kind = tensor(self.x)
        if not 0 <= self.dim < kind.rank or self.by < 1:
            raise self.fail(f"dim is {self.dim} and by is {self.by} for {kind}")
        rest = (*kind.dims[: self.dim], *kind.dims[self.dim + 1 :])
        return [TensorType.of(kind.dtype, ceildiv(kind.dims[self.dim], self.by), *rest, self.by)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        rest = index[1:-1]
        place = index[0] * self.by + index[-1]
        return b.read(self.x, (*rest[: self.dim], place, *rest[self.dim :]), otherwise=0)

    def reference(self, *operands: Array) -> Array:
        (x,) = operands
        length = x.shape[self.dim]
        padding = [(0, 0)] * x.ndim
        padding[self.dim] = (0, -length % self.by)
        panels = np.moveaxis(np.pad(x, padding), self.dim, -1)
        panels = panels.reshape(*panels.shape[:-1], panels.shape[-1] // self.by, self.by)
        return np.ascontiguousarray(np.moveaxis(panels, -2, 0))

    @classmethod
    def sample(cls, sampler: Sampler) -> Pack:
        rank = int(sampler.rng.integers(1, 4))
        x = sampler.tensor(TensorType(F32, sampler.dims(rank)))
        return cls(x, int(sampler.rng.integers(rank)), int(sampler.rng.integers(1, 6)))
