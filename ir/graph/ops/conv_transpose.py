"""graph.conv_transpose: the transpose of a convolution, which makes images larger.

    %y = graph.conv_transpose %x, %w, %b {strides = [2, 2], dilations = [1, 1], before = [1, 1], after = [1, 1],
        extra = [0, 0], groups = 1} : f32[n, 32, 56, 56]

%x is [batch, channels, spatial...], %w [channels, features / groups, kernel...], %b [features] or left out.  Element i
of x times element k of the kernel is added to element i * stride + k * dilation - before of the result, whose end lies
`extra` elements behind the last of these, or `after` before that.

With strides, elements of the result that are a stride apart are one convolution of x, with every stride-th element of
the kernel.  So it becomes one convolution whose features are (feature, place within a stride), then a transpose that
puts these places beside each other, and a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, ceildiv, dim_max
from headrace.ir.graph.exporting import OnnxWriter, numbers
from headrace.ir.graph.families import Array, DimCheck, GraphOp, Sampler, must_be_equal, tensor, unproven
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.expand import Expand
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.graph.references import widened
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType, Type


@dataclass(frozen=True, slots=True)
class _Along:
    """One spatial dim."""

    extent: Dim
    kernel: Dim
    stride: int
    dilation: int
    before: Dim
    after: Dim
    extra: Dim

    @property
    def reach(self) -> Dim:
        """From the first element that one of x is added to, to behind the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def out(self) -> Dim:
        return (self.extent - 1) * self.stride + self.reach + self.extra - self.before - self.after

    @property
    def taps(self) -> Dim:
        """Of the convolution: enough for what is extra, too."""
        return self.kernel if self.stride == 1 else ceildiv(self.reach + self.extra, self.stride)

    @property
    def conv(self) -> tuple[int, Dim, Dim]:
        """Dilation and pads of the convolution."""
        if self.stride > 1:
            return 1, self.taps - 1, self.taps - 1
        return self.dilation, self.reach - 1 - self.before, self.reach - 1 + self.extra - self.after


@op("graph.conv_transpose")
class ConvTranspose(GraphOp):
    """Each element of x times the kernel, added up where they overlap, plus b."""

    x: Value
    w: Value
    b: Value | None
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    extra: tuple[Dim, ...]
    groups: int = 1

    def infer(self) -> Sequence[Type]:
        x, w = tensor(self.x), tensor(self.w)
        for operand in self.operands:
            if not tensor(operand).dtype.is_float:
                raise self.wrong_dtype(tensor(operand).dtype, ("float",))
            if tensor(operand).dtype != x.dtype:
                raise self.fail(f"operands are {x} and {tensor(operand)}, expected one element type")
        if x.rank < 3 or x.rank != w.rank:
            raise self.fail(f"operands are {x} and {w}, expected one rank of 3 or more")
        parts = (self.strides, self.dilations, self.before, self.after, self.extra)
        if {len(p) for p in parts} != {x.rank - 2}:
            raise self.fail(f"strides, dilations, pads and extra must have {x.rank - 2} elements each")
        if self.groups < 1 or (w.dims[0].is_constant and w.dims[0].value % self.groups):
            raise self.fail(f"group is {self.groups} but channels are {w.dims[0]}; group must divide channels")
        if min(*self.strides, *self.dilations) < 1:
            raise self.fail("strides and dilations must be at least 1")
        self.refuse_broken()
        return [x.with_dims((x.dims[0], self._features, *(along.out for along in self._along)))]

    @property
    def _features(self) -> Dim:
        return tensor(self.w).dims[1] * self.groups

    @property
    def _along(self) -> list[_Along]:
        kernel = tensor(self.w).dims[2:]
        fields = (self.strides, self.dilations, self.before, self.after, self.extra)
        return [_Along(*parts) for parts in zip(tensor(self.x).dims[2:], kernel, *fields, strict=True)]

    def checks(self) -> Sequence[DimCheck]:
        x, w = tensor(self.x), tensor(self.w)
        found = [*must_be_equal(x.dims[1], w.dims[0], f"{x.dims[1]} channels, but the weights are for {w.dims[0]}")]
        if self.b is not None:
            bias = tensor(self.b).dims[0]
            found += must_be_equal(bias, self._features, f"{bias} biases for {self._features} features")
        for i, along in enumerate(self._along):
            found.append(DimCheck(along.out, f"spatial dim {i} would be {along.out}, expected 0 or more"))
            found.append(DimCheck(along.kernel - 1, f"the kernel's dim {i} is {along.kernel}, expected 1 or more"))
            parts = [(along.extra, "extra")]
            if along.stride > 1:
                parts += [(along.before, "before"), (along.after, "after")]
            found += [DimCheck(p, f"{what} of spatial dim {i} is {p}, expected 0 or more") for p, what in parts]
        return unproven(found)

    def decompose(self, builder: Builder) -> Sequence[Value]:
        along, x = self._along, tensor(self.x)
        places = tuple(Dim.constant(a.stride) for a in along)
        weights = self._convolving(builder)
        bias = None
        if self.b is not None:
            each = builder.add(Reshape(self.b, (self._features, ONE))).result
            each = builder.add(Expand(each, (self._features, prod(places, start=ONE)))).result
            bias = builder.add(Reshape(each, (tensor(each).elements,))).result
        dilations, before, after = zip(*(a.conv for a in along), strict=True)
        ones = (1,) * len(along)
        found = builder.add(Conv(self.x, weights, bias, ones, dilations, before, after, self.groups)).result
        wide = tensor(found).dims[2:]
        found = builder.add(Reshape(found, (x.dims[0], self._features, *places, *wide))).result
        rank = len(along)
        perm = [place for i in range(rank) for place in (2 + rank + i, 2 + i)]
        found = builder.add(Transpose(found, (0, 1, *perm))).result
        full = tuple(w * p for w, p in zip(wide, places, strict=True))
        found = builder.add(Reshape(found, (x.dims[0], self._features, *full))).result
        starts = tuple(ZERO if a.stride == 1 else a.before for a in along)
        cut = Slice(found, (ZERO, ZERO, *starts), tensor(self.result).dims, (1,) * x.rank)
        return [builder.add(cut).result]

    def _convolving(self, builder: Builder) -> Value:
        """The weights of the convolution: [features and places within strides, channels / groups, taps...]."""
        w, along = self.w, self._along
        channels, features = tensor(w).dims[:2]
        nothing = (ZERO,) * 2
        spread = [a.dilation if a.stride > 1 else 1 for a in along]
        if any(s > 1 for s in spread):  # zeros between the elements of the kernel
            apart = [d for a in along for d in (a.kernel, ONE)]
            w = builder.add(Reshape(w, (channels, features, *apart))).result
            more = [d for s in spread for d in (ZERO, Dim.constant(s - 1))]
            w = builder.add(Pad(w, (ZERO,) * (2 + len(more)), (*nothing, *more))).result
            whole = [a.kernel * s for a, s in zip(along, spread, strict=True)]
            w = builder.add(Reshape(w, (channels, features, *whole))).result
        last = tuple(a.taps * a.stride - d for a, d in zip(along, tensor(w).dims[2:], strict=True))
        w = builder.add(Pad(w, (ZERO,) * (2 + len(last)), (*nothing, *last))).result
        pairs = [n for a in along for n in (a.taps, Dim.constant(a.stride))]
        w = builder.add(Reshape(w, (channels, features, *pairs))).result
        starts = (*nothing, *(d - 1 if i % 2 == 0 else ZERO for i, d in enumerate(pairs)))
        steps = (1, 1, *(-1 if i % 2 == 0 else 1 for i in range(len(pairs))))
        w = builder.add(Slice(w, starts, tensor(w).dims, steps)).result
        each = channels // self.groups
        w = builder.add(Reshape(w, (Dim.constant(self.groups), each, features, *pairs))).result
        taps, places = ([3 + 2 * i + side for i in range(len(along))] for side in (0, 1))
        w = builder.add(Transpose(w, (0, 2, *places, 1, *taps))).result
        rows = features * self.groups * prod(a.stride for a in along)
        return builder.add(Reshape(w, (rows, each, *(a.taps for a in along)))).result

    def reference(self, *operands: Array) -> Array:
        x, w, *bias = (widened(o) for o in operands)
        along, spatial = self._along, x.shape[2:]
        batch, features = x.shape[0], self._features.value
        wide = [((n - 1) * a.stride + a.reach + a.extra).value for n, a in zip(spatial, along, strict=True)]
        # Pads below 0 show zeros around.
        sides = [(max(-a.before.value, 0), max(-a.after.value, 0)) for a in along]
        found = np.zeros((batch, features, *wide), x.dtype)
        channels = x.shape[1] // self.groups
        columns = x.reshape(batch, self.groups, channels, int(np.prod(spatial)))
        each = w.reshape(self.groups, channels, *w.shape[1:])
        for k in product(*(range(a.kernel.value) for a in along)):
            at_place: tuple[Any, ...] = (slice(None), slice(None), slice(None), *k)
            part = np.matmul(each[at_place].transpose(0, 2, 1), columns).reshape(batch, features, *spatial)
            starts = [i * a.dilation for i, a in zip(k, along, strict=True)]
            parts = zip(starts, spatial, along, strict=True)
            target: tuple[Any, ...] = tuple(slice(s, s + max((n - 1) * a.stride + 1, 0), a.stride) for s, n, a in parts)
            found[(..., *target)] += part
        found = np.pad(found, [(0, 0), (0, 0), *sides])
        starts = [a.before.value + b for a, (b, _) in zip(along, sides, strict=True)]
        cut: tuple[Any, ...] = tuple(slice(s, s + a.out.value) for s, a in zip(starts, along, strict=True))
        found = found[(..., *cut)]
        found = found + bias[0].reshape(-1, *[1] * len(along)) if bias else found
        return np.ascontiguousarray(found).astype(operands[0].dtype)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        more: dict[str, Any] = {"strides": self.strides, "dilations": self.dilations, "group": self.groups}
        pads, extra = numbers(self, (*self.before, *self.after)), numbers(self, self.extra)
        return w.node("ConvTranspose", self.x, self.w, self.b, pads=pads, output_padding=extra, **more)

    @classmethod
    def sample(cls, sampler: Sampler) -> ConvTranspose:
        rank, groups = pick(sampler, 1, 2), pick(sampler, 1, 2)
        strides, dilations = (tuple(pick(sampler, 1, 3) for _ in range(rank)) for _ in range(2))
        kernel = [pick(sampler, 1, 4) for _ in range(rank)]
        parts = zip(strides, dilations, strict=True)
        extra = tuple(Dim.constant(pick(sampler, 0, max(s, d) - 1)) for s, d in parts)
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        before = tuple(Dim.constant(pick(sampler, 0, n)) for n in reach)
        after = tuple(Dim.constant(pick(sampler, 0, n - b.value)) for n, b in zip(reach, before, strict=True))
        channels, features = pick(sampler, 1, 2), pick(sampler, 1, 2)
        batch, spatial = sampler.dims(1), sampler.dims(rank)
        x = sampler.tensor(TensorType(F32, (*batch, Dim.constant(channels * groups), *spatial)))
        w = sampler.tensor(TensorType.of(F32, channels * groups, features, *kernel))
        b = sampler.tensor(TensorType.of(F32, features * groups)) if chance(sampler, 0.5) else None
        return cls(x, w, b, strides, dilations, before, after, extra, groups)


@onnx_import("ConvTranspose")
def _conv_transpose(node: OnnxNode) -> Sequence[Value]:
    x, w = node.tensor(0), node.tensor(1)
    if x.rank < 3 or x.rank != w.rank:
        raise node.fail(f"inputs are {x} and {w}, expected one rank of 3 or more")
    rank, kernel = x.rank - 2, w.dims[2:]
    given: tuple[int, ...] = node.attribute("kernel_shape", ())
    if given and tuple(Dim.constant(k) for k in given) != kernel and all(d.is_constant for d in kernel):
        raise node.fail(f"kernel_shape is {list(given)}, but the weights are {w}")
    strides, dilations = (_numbers(node, name, rank, 1) for name in ("strides", "dilations"))
    extra = [Dim.constant(n) for n in _numbers(node, "output_padding", rank, 0)]
    pads = [Dim.constant(n) for n in _numbers(node, "pads", 2 * rank, 0)]
    auto = node.attribute("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.fail(f"auto_pad is {auto!r}, expected 'NOTSET', 'SAME_UPPER', 'SAME_LOWER' or 'VALID'")
    shape: tuple[int, ...] = node.attribute("output_shape", ())
    along = []
    for i, part in enumerate(zip(x.dims[2:], kernel, strides, dilations, strict=True)):
        if shape or auto.startswith("SAME"):
            wanted = Dim.constant(shape[len(shape) - rank + i]) if shape else x.dims[2 + i] * strides[i]
            along.append(_with_size(node, _Along(*part, ZERO, ZERO, extra[i]), wanted, auto))
        else:
            sides = (ZERO, ZERO) if auto == "VALID" else (pads[i], pads[rank + i])
            along.append(_Along(*part, *sides, extra[i]))
    before, after, more = (tuple(getattr(a, name) for a in along) for name in ("before", "after", "extra"))
    operands = (node.operand(0), node.operand(1), node.input(2))
    groups = node.attribute("group", 1)
    return [node.add(ConvTranspose(*operands, strides, dilations, before, after, more, groups))]


def _with_size(node: OnnxNode, along: _Along, wanted: Dim, auto: str) -> _Along:
    """Pads that make the result so large, the odd one at the end for 'SAME_UPPER', else at the beginning; what is
    missing all the same is extra."""
    over = along.out - wanted
    total = node.simplify(dim_max(over, 0))
    small, large = total // 2, ceildiv(total, 2)
    before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    return replace(along, before=before, after=after, extra=along.extra + node.simplify(dim_max(-over, 0)))


def _numbers(node: OnnxNode, name: str, count: int, default: int) -> tuple[int, ...]:
    found = node.attribute(name, (default,) * count)
    if len(found) != count:
        raise node.fail(f"{name} has {len(found)} elements, expected {count}")
    return found
