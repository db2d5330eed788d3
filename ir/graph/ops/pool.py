"""graph.max_pool, graph.average_pool, graph.sum_pool: the largest element of each window, the mean, or the sum.

    %y = graph.max_pool %x {kernel = [2, 2], strides = [2, 2], dilations = [1, 1], before = [0, 0],
        after = [0, 0], ceil = false} : f32[n, 64, 28, 28]

    %x is [batch, channels, spatial...], or [batch, spatial..., channels] with `channels_last`.  Padding is never the
largest; the mean counts it where `count_include_pad`, as 0.  With `ceil` a last window may hang over the end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.exporting import OnnxWriter, numbers
from headrace.ir.graph.families import Array, Index, PullBuilder, Reducing, Sampler, accumulator, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.exponential import Pow, PowInt
from headrace.ir.graph.ops.reduce import lowest
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import build, chance, pick
from headrace.ir.graph.windows import Window, numpy_windows, window_error, windows_of
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType, Type


class Pool(Reducing):
    """Base: a fold over the elements of each window of the spatial dims."""

    x: Value
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    ceil: bool
    channels_last: bool

    @property
    def _spatial(self) -> slice:
        """Which dims the windows slide over."""
        return slice(1, -1) if self.channels_last else slice(2, None)

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if x.dtype.kind == "bool":
            raise self.wrong_dtype(x.dtype, ("float", "int", "uint"))
        if x.rank < 3:
            raise self.fail(f"operand is {x}, expected rank 3 or more")
        lengths = {len(t) for t in (self.kernel, self.strides, self.dilations, self.before, self.after)}
        if lengths != {x.rank - 2}:
            raise self.fail(f"kernel, strides, dilations and pads must have {x.rank - 2} elements each")
        wrong = window_error(self.windows)
        if wrong is not None:
            raise self.fail(wrong)
        outs = tuple(window.out for window in self.windows)
        return [x.with_dims((x.dims[0], *outs, x.dims[-1]) if self.channels_last else (*x.dims[:2], *outs))]

    @property
    def windows(self) -> list[Window]:
        """The windows along each spatial dim."""
        dims = tensor(self.x).dims[self._spatial]
        return [
            Window(d, Dim.constant(k), stride, dilation, before, after, self.ceil)
            for d, k, stride, dilation, before, after in zip(
                dims, self.kernel, self.strides, self.dilations, self.before, self.after, strict=True
            )
        ]

    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        return tuple((f"k{i}", Dim.constant(k)) for i, k in enumerate(self.kernel))

    def element(self, b: PullBuilder, index: Index, reduced: Index, padding: float | int | bool) -> Value:
        """The element of x that a window has at a place of the kernel."""
        parts = zip(self.windows, index[self._spatial], reduced, strict=True)
        places = tuple(window.place(o, k) for window, o, k in parts)
        at = (index[0], *places, index[-1]) if self.channels_last else (*index[:2], *places)
        return b.read(self.x, at, None if all(w.stays_inside for w in self.windows) else padding)

    @classmethod
    def sample(cls, sampler: Sampler) -> Pool:
        last = chance(sampler, 0.5)
        return build(cls, *sample_fields(sampler, last), channels_last=last)

    def reference(self, *operands: Array) -> Array:
        (x,) = operands
        found = self.folded(np.moveaxis(x, -1, 1) if self.channels_last else x)
        return np.ascontiguousarray(np.moveaxis(found, 1, -1) if self.channels_last else found).astype(x.dtype)

    @abstractmethod
    def folded(self, x: Array) -> Array:
        """The result for x with its channels as dim 1."""
        raise NotImplementedError

    def _outs(self, x: Array) -> list[int]:
        return [*x.shape[:2], *(window.out.value for window in self.windows)]


def sample_fields(sampler: Sampler, last: bool) -> list[Any]:
    """Random values for the fields of a pool; as much padding as a window is wide, so that one always fits."""
    rank = pick(sampler, 1, 3)
    kernel = tuple(pick(sampler, 1, 3) for _ in range(rank))
    strides, dilations = (tuple(pick(sampler, 1, 3) for _ in range(rank)) for _ in range(2))
    if chance(sampler, 0.4):
        wide = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        spatial = tuple(Dim.constant(n + pick(sampler, 1, 4)) for n in wide)
        pads = tuple(Dim.constant(pick(sampler, 0, k - 1)) for k in kernel)
        batch, channels = sampler.dims(2)
        dims = (batch, *spatial, channels) if last else (batch, channels, *spatial)
        return [sampler.tensor(TensorType(F32, dims)), kernel, strides, dilations, pads, pads, chance(sampler, 0.5)]
    dilations = (1,) * rank
    before = tuple(Dim.constant(pick(sampler, 0, k - 1)) for k in kernel)
    after = tuple(k - 1 - b for k, b in zip(kernel, before, strict=True))
    return [sampler.tensor(TensorType(F32, sampler.dims(2 + rank))), kernel, strides, dilations, before, after, False]


def pool_to_onnx(pool: Any, w: OnnxWriter, op_type: str, outputs: int = 1, **attributes: Any) -> Sequence[str]:
    """The node of a pool; channels that lie last are turned to the front before it, and back after it."""
    rank, x = len(pool.kernel), pool.x
    if pool.channels_last:
        (x,) = w.node("Transpose", x, perm=(0, rank + 1, *range(1, rank + 1)))
    attributes |= {
        "kernel_shape": pool.kernel,
        "strides": pool.strides,
        "dilations": pool.dilations,
        "pads": numbers(pool, (*pool.before, *pool.after)),
        "ceil_mode": pool.ceil,
    }
    found = w.node(op_type, x, outputs=outputs, **attributes)
    if not pool.channels_last:
        return found
    return [w.node("Transpose", y, perm=(0, *range(2, rank + 2), 1))[0] for y in found]


class _Summing(Pool):
    """Base: a sum, which counts padding as 0."""

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        return [b.constant(0, accumulator(tensor(self.x).dtype))]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        element = self.element(b, index, reduced, 0)
        return [b.add(state[0], b.cast(element, accumulator(tensor(self.x).dtype)))]

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        return [b.add(left[0], right[0])]

    def summed(self, x: Array) -> Array:
        """The sums for x with its channels as dim 1, in the type of x."""
        found = np.zeros(self._outs(x), x.dtype)
        for _, part in numpy_windows(x, self.windows, 0):
            found = found + part
        return found


@op("graph.sum_pool")
class SumPool(_Summing):
    """The sum of the elements of each window."""

    x: Value
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    ceil: bool = False
    channels_last: bool = False

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        return b.cast(state[0], tensor(self.x).dtype)

    def folded(self, x: Array) -> Array:
        return self.summed(widened(x))


@op("graph.max_pool")
class MaxPool(Pool):
    """The largest element of each window; NaN if there is one."""

    x: Value
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    ceil: bool = False
    channels_last: bool = False

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        dtype = tensor(self.x).dtype
        return [b.constant(lowest(dtype), dtype)]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        return [b.maximum(state[0], self.element(b, index, reduced, lowest(tensor(self.x).dtype)))]

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        return [b.maximum(left[0], right[0])]

    def folded(self, x: Array) -> Array:
        worst = x.dtype.type(lowest(tensor(self.x).dtype))
        found = np.full(self._outs(x), worst, x.dtype)
        for _, part in numpy_windows(x, self.windows, worst):
            found = np.maximum(found, part)
        return found

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return pool_to_onnx(self, w, "MaxPool")


@op("graph.average_pool")
class AveragePool(_Summing):
    """The mean of the elements of each window."""

    x: Value
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    ceil: bool = False
    count_include_pad: bool = False
    channels_last: bool = False

    def infer(self) -> Sequence[Type]:
        dtype = tensor(self.x).dtype
        if not dtype.is_float:
            raise self.wrong_dtype(dtype, ("float",))
        return super().infer()

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        parts = zip(self.windows, index[self._spatial], strict=True)
        count = prod((window.count(o, self.count_include_pad) for window, o in parts), start=ONE)
        dtype = tensor(self.x).dtype
        if count.is_constant:
            return b.cast(b.div(state[0], b.constant(count.value, state[0])), dtype)
        return b.cast(b.div(state[0], b.cast(b.index(count), accumulator(dtype))), dtype)

    def folded(self, x: Array) -> Array:
        found = self.summed(widened(x))
        count = np.ones((), found.dtype)
        for window in self.windows:
            along = [window.count(Dim.constant(o), self.count_include_pad).value for o in range(window.out.value)]
            count = count[..., None] * np.array(along, found.dtype)
        with np.errstate(all="ignore"):
            return np.asarray(found / count)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return pool_to_onnx(self, w, "AveragePool", count_include_pad=self.count_include_pad)


@onnx_import("LpPool", since=2)
def _lp_pool(node: OnnxNode) -> Sequence[Value]:
    """The p-th root of the sum of p-th powers; padding counts as 0."""
    kernel, windows = _windows(node)
    p = node.attribute("p", 2)

    def summed(powers: Value) -> Value:
        return node.add(build(SumPool, powers, kernel, *_fields(windows)))

    return [lp_norm(Term(node, node.operand(0)), p, summed).value]


@onnx_import("GlobalLpPool", since=2)
def _global_lp_pool(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    return [lp_norm(x, node.attribute("p", 2), lambda v: Term(node, v).reduce("sum", range(2, x.rank)).value).value]


def lp_norm(x: Term, p: int, summed: Callable[[Value], Value]) -> Term:
    """(sum |x|^p)^(1/p) for a way to sum."""
    if p == 1:
        return Term(x.node, summed(abs(x).value))
    found = Term(x.node, summed(x.of(PowInt(abs(x).value, p)).value))
    return found.sqrt() if p == 2 else x.of(Pow(found.value, x.like(1 / p).value))


@onnx_import("AveragePool", since=7)
def _average_pool(node: OnnxNode) -> Sequence[Value]:
    kernel, windows = _windows(node)
    include = bool(node.attribute("count_include_pad", 0))
    return [node.add(build(AveragePool, node.operand(0), kernel, *_fields(windows), count_include_pad=include))]


def _windows(node: OnnxNode) -> tuple[tuple[int, ...], list[Window]]:
    x = node.tensor(0)
    kernel: tuple[int, ...] = node.attribute("kernel_shape", ())
    if x.rank < 3 or len(kernel) != x.rank - 2 or any(k < 1 for k in kernel):
        raise node.fail(f"kernel_shape is {list(kernel)} for {x}, expected a positive number for each spatial dim")
    return kernel, windows_of(node, x.dims[2:], [Dim.constant(k) for k in kernel])


def max_pool_fields(node: OnnxNode) -> tuple[Any, ...]:
    """What a node's attributes say, in the order of the fields of `MaxPool`."""
    kernel, windows = _windows(node)
    return kernel, *_fields(windows)


def _fields(windows: list[Window]) -> tuple[Any, ...]:
    strides, dilations, before, after = (
        tuple(getattr(w, name) for w in windows) for name in ("stride", "dilation", "before", "after")
    )
    return strides, dilations, before, after, any(w.ceil for w in windows)
