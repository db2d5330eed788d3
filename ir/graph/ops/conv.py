"""graph.conv: convolution over one, two or three spatial dims.

    %y = graph.conv %x, %w, %b {strides = [1, 1], dilations = [1, 1], before = [1, 1], after = [1, 1], groups = 1}
        : f32[n, 64, 56, 56]

    %x is [batch, channels, spatial...], %w [features, channels / groups, kernel...], %b [features] or left out.
Feature m reads the channels of its group, m floordiv (features / groups); padding counts as 0.

With `channels_last` %x is [batch, spatial..., channels], %w [kernel..., channels / groups, features], and the result
[batch, spatial..., features]: a sum then runs along memory in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter, numbers
from headrace.ir.graph.families import (
    Array,
    DimCheck,
    Index,
    PullBuilder,
    Reducing,
    Sampler,
    accumulator,
    must_be_equal,
    tensor,
)
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.graph.windows import Window, numpy_windows, window_error, windows_of
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType, Type


@op("graph.conv")
class Conv(Reducing):
    """The sum over channels and kernel of x at the window times w, plus b."""

    x: Value
    w: Value
    b: Value | None
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    groups: int = 1
    channels_last: bool = False

    @property
    def _x(self) -> tuple[Dim, Dim, tuple[Dim, ...]]:
        """Dims of x: batch, channels, spatial."""
        dims = tensor(self.x).dims
        return (dims[0], dims[-1], dims[1:-1]) if self.channels_last else (dims[0], dims[1], dims[2:])

    @property
    def _w(self) -> tuple[Dim, Dim, tuple[Dim, ...]]:
        """Dims of w: features, channels of a group, kernel."""
        dims = tensor(self.w).dims
        return (dims[-1], dims[-2], dims[:-2]) if self.channels_last else (dims[0], dims[1], dims[2:])

    def infer(self) -> Sequence[Type]:
        x, w = tensor(self.x), tensor(self.w)
        for operand in self.operands:
            dtype = tensor(operand).dtype
            if dtype.kind == "bool":
                raise self.wrong_dtype(dtype, ("float", "int", "uint"))
            if dtype != x.dtype:
                raise self.fail(f"operands are {x} and {tensor(operand)}, expected one element type")
        if x.rank < 3 or x.rank != w.rank:
            raise self.fail(f"operands are {x} and {w}, expected one rank of 3 or more")
        if {len(t) for t in (self.strides, self.dilations, self.before, self.after)} != {x.rank - 2}:
            raise self.fail(f"strides, dilations and pads must have {x.rank - 2} elements each")
        if self.b is not None and tensor(self.b).rank != 1:
            raise self.fail(f"the bias is {self.b.type}, expected rank 1")
        self._check_channels()
        wrong = window_error(self.windows)
        if wrong is not None:
            raise self.fail(wrong)
        outs = tuple(window.out for window in self.windows)
        return [x.with_dims((x.dims[0], *outs, self._w[0]) if self.channels_last else (x.dims[0], self._w[0], *outs))]

    def _check_channels(self) -> None:
        channels, features = self._x[1], self._w[0]
        for what, dim in (("channels", channels), ("features", features)):
            if self.groups < 1 or (dim.is_constant and dim.value % self.groups):
                raise self.fail(f"group is {self.groups} but {what} are {dim}; group must divide {what}")
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)

    def checks(self) -> Sequence[DimCheck]:
        channels, (features, each, _) = self._x[1], self._w
        found = must_be_equal(
            channels,
            each * self.groups,
            f"{channels} channels, but the weights are for {each} in {self.groups} groups",
        )
        if self.b is None:
            return found
        bias = tensor(self.b).dims[0]
        return (*found, *must_be_equal(features, bias, f"{bias} biases for {features} features"))

    @property
    def windows(self) -> list[Window]:
        """The windows along each spatial dim."""
        parts = zip(self._x[2], self._w[2], self.strides, self.dilations, self.before, self.after, strict=True)
        return [Window(*part) for part in parts]

    @property
    def _is_depthwise(self) -> bool:
        """Whether there is one channel to a group, which is no axis then."""
        return self.channels_last and self._w[1] == ONE

    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        kernel = tuple((f"k{i}", k) for i, k in enumerate(self._w[2]))
        if self._is_depthwise:
            return kernel
        channels = ("c", self._w[1])
        return (*kernel, channels) if self.channels_last else (channels, *kernel)

    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        return [b.constant(0, accumulator(tensor(self.x).dtype))]

    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        features, each, _ = self._w
        if self.channels_last:
            batch, *windows, feature = index
            *kernel, channel = (*reduced, ZERO) if self._is_depthwise else reduced
        else:
            batch, feature, *windows = index
            channel, *kernel = reduced
        weight = (*kernel, channel, feature) if self.channels_last else (feature, channel, *kernel)
        if self.groups > 1:
            channel = channel + feature // (features // self.groups) * each
        parts = zip(self.windows, windows, kernel, strict=True)
        places = tuple(window.place(o, k) for window, o, k in parts)
        at = (batch, *places, channel) if self.channels_last else (batch, channel, *places)
        inside = all(window.stays_inside for window in self.windows)
        x = b.read(self.x, at, None if inside else 0.0 if tensor(self.x).dtype.is_float else 0)
        wide = accumulator(tensor(self.w).dtype)
        return [b.muladd(b.cast(x, wide), b.cast(b.read(self.w, weight), wide), state[0])]

    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        return [b.add(left[0], right[0])]

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        found = state[0]
        if self.b is not None:
            feature = index[-1:] if self.channels_last else index[1:2]
            found = b.add(found, b.cast(b.read(self.b, feature), accumulator(tensor(self.x).dtype)))
        return b.cast(found, tensor(self.x).dtype)

    def reference(self, *operands: Array) -> Array:
        x, w, *bias = (widened(o) for o in operands)
        if self.channels_last:
            x, w = np.moveaxis(x, -1, 1), np.moveaxis(w, (-1, -2), (0, 1))
        outs = [window.out.value for window in self.windows]
        batch, features = x.shape[0], w.shape[0]
        found = np.zeros((batch, self.groups, features // self.groups, int(np.prod(outs))), x.dtype)
        for k, part in numpy_windows(x, self.windows, 0):
            columns = part.reshape(batch, self.groups, w.shape[1], found.shape[-1])
            at_place: tuple[Any, ...] = (slice(None), slice(None), *k)
            found += np.matmul(w[at_place].reshape(1, self.groups, -1, w.shape[1]), columns)
        y = found.reshape(batch, features, *outs)
        y = y + bias[0].reshape(-1, *[1] * len(outs)) if bias else y
        return np.ascontiguousarray(np.moveaxis(y, 1, -1) if self.channels_last else y).astype(operands[0].dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        rank, x, weights = len(self.strides), self.x, self.w
        pads = numbers(self, (*self.before, *self.after))
        more: dict[str, Any] = {"strides": self.strides, "dilations": self.dilations, "pads": pads}
        if not self.channels_last:
            return w.node("Conv", x, weights, self.b, group=self.groups, **more)
        (first,) = w.node("Transpose", x, perm=(0, rank + 1, *range(1, rank + 1)))
        (turned,) = w.node("Transpose", weights, perm=(rank + 1, rank, *range(rank)))
        (found,) = w.node("Conv", first, turned, self.b, group=self.groups, **more)
        return w.node("Transpose", found, perm=(0, *range(2, rank + 2), 1))

    @classmethod
    def sample(cls, sampler: Sampler) -> Conv:
        rank, groups = pick(sampler, 1, 3), pick(sampler, 1, 2)
        kernel = [pick(sampler, 1, 3) for _ in range(rank)]
        strides, dilations = (tuple(pick(sampler, 1, 2) for _ in range(rank)) for _ in range(2))
        # As much padding as a window is wide, so that one fits whatever the dims are.
        wide = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        before = tuple(Dim.constant(pick(sampler, 0, n)) for n in wide)
        after = tuple(n - b for n, b in zip(wide, before, strict=True))
        channels, features = pick(sampler, 1, 2), pick(sampler, 1, 2) * groups
        spatial = sampler.dims(rank)
        batch, deep, last = sampler.dims(1), Dim.constant(channels * groups), chance(sampler, 0.5)
        x = sampler.tensor(TensorType(F32, (*batch, *spatial, deep) if last else (*batch, deep, *spatial)))
        shape = (*kernel, channels, features) if last else (features, channels, *kernel)
        w = sampler.tensor(TensorType.of(F32, *shape))
        b = sampler.tensor(TensorType.of(F32, features)) if chance(sampler, 0.5) else None
        return cls(x, w, b, strides, dilations, before, after, groups, last)


@onnx_import("Conv")
def _conv(node: OnnxNode) -> Sequence[Value]:
    x, w = node.tensor(0), node.tensor(1)
    if x.rank < 3 or x.rank != w.rank:
        raise node.fail(f"inputs are {x} and {w}, expected one rank of 3 or more")
    kernel = node.attribute("kernel_shape", ())
    if kernel and tuple(Dim.constant(k) for k in kernel) != w.dims[2:] and all(d.is_constant for d in w.dims[2:]):
        raise node.fail(f"kernel_shape is {list(kernel)}, but the weights are {w}")
    windows = windows_of(node, x.dims[2:], w.dims[2:])
    strides, dilations = (tuple(getattr(v, name) for v in windows) for name in ("stride", "dilation"))
    before, after = tuple(v.before for v in windows), tuple(v.after for v in windows)
    groups = node.attribute("group", 1)
    return [node.add(Conv(node.operand(0), node.operand(1), node.input(2), strides, dilations, before, after, groups))]
