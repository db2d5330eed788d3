"""graph.canonicalize: give equal things one form, and remove what does nothing.

Before:
    %1 = graph.transpose %x {perm = [0, 2, 3, 1]} : f32[n, 8, 8, 64]
    %2 = graph.transpose %1 {perm = [0, 3, 1, 2]} : f32[n, 64, 8, 8]
    %3 = graph.mul %2, %one : f32[n, 64, 8, 8]
    %4 = graph.reshape %3 {dims = [n, 64, 64]} : f32[n, 64, 64]
    %5 = graph.reshape %4 {dims = [n, 4096]} : f32[n, 4096]
After:
    %5 = graph.reshape %x {dims = [n, 4096]} : f32[n, 4096]

Needs: nothing.  Leaves: no operation that `fold` or a rule of the table below applies to.  Refuses: rules that
change a bit: x + 0.0 stays, since -0.0 + 0.0 is 0.0 (x + -0.0 goes); x * 0 stays, since it may be NaN.

Every rule holds for all values of x, NaN, infinities and signed zeros included, and gives the very type of what it
replaces.  Each makes the function smaller or moves it one way in a finite order, so that the pass ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.lazy import SMALL_BYTES
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.arithmetic import Add, Div, Max, Min, Mul, Sub
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.reduce import highest, lowest
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.module import Module, module_of
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import DType

# What an operation may be replaced by: a value there is already, or a new operation with one result.
Replacement = Value | GraphOp | None


@dataclass(frozen=True)
class Canonicalize(Pass):
    """The pass."""

    summary = "give equal things one form, and remove what does nothing"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            while _once(function, rewriter):
                pass


def _once(function: GraphFunc, rewriter: Rewriter) -> bool:
    """Applies one rule to each operation that has one; whether there was any."""
    found = False
    for operation in list(function.walk()):
        if isinstance(operation, GraphOp) and operation.parent is not None and len(operation.results) == 1:
            found |= _replace(operation, rewriter)
    return found


def _replace(operation: GraphOp, rewriter: Rewriter) -> bool:
    for rule in (GraphOp.fold, *RULES.get(type(operation), ())):
        new = operation.fold() if rule is GraphOp.fold else rule(operation)
        if new is None:
            continue
        if isinstance(new, Value):
            if new.type == operation.result.type:
                rewriter.replace(operation, [new])
                return True
        elif new.result.type == operation.result.type:
            rewriter.replace_with(operation, new)
            return True
        else:
            new.drop()
    return False


# ---- movement --------------------------------------------------------------------------------------------------


def _transpose_of_transpose(op: Transpose) -> Replacement:
    inner = producer(op.x, Transpose)
    return Transpose(inner.x, tuple(inner.perm[p] for p in op.perm)) if inner else None


def _transpose_of_ones(op: Transpose) -> Replacement:
    """Dims of 1 may stand anywhere: where the others keep their order, no element moves."""
    wide = [p for p in op.perm if tensor(op.x).dims[p] != ONE]
    return Reshape(op.x, tensor(op.result).dims) if wide == sorted(wide) else None


def _reshape_of_reshape(op: Reshape) -> Replacement:
    inner = producer(op.x, Reshape)
    return Reshape(inner.x, op.dims) if inner else None


def _slice_of_slice(op: Slice) -> Replacement:
    inner = producer(op.x, Slice)
    if inner is None:
        return None
    starts = tuple(a + s * t for a, s, t in zip(inner.starts, op.starts, inner.steps, strict=True))
    return Slice(inner.x, starts, op.sizes, tuple(s * t for s, t in zip(inner.steps, op.steps, strict=True)))


def _concat_of_concat(op: Concat) -> Replacement:
    parts = [(producer(x, Concat), x) for x in op.xs]
    if not any(_joins(inner, op.axis) for inner, _ in parts):
        return None
    flat: list[Value] = []
    for inner, x in parts:
        flat += inner.xs if inner is not None and _joins(inner, op.axis) else [x]
    return Concat(tuple(flat), op.axis)


def _concat_of_parts(op: Concat) -> Replacement:
    for first in range(len(op.xs)):
        whole: Value | None = None
        reached = ZERO
        for end, x in enumerate(op.xs[first:], first + 1):
            part = producer(x, Slice)
            if part is None or whole not in (None, part.x) or not _continues(part, op.axis, reached):
                break
            whole, reached = part.x, reached + part.sizes[op.axis]
            if reached == tensor(whole).dims[op.axis]:
                return Concat((*op.xs[:first], whole, *op.xs[end:]), op.axis)
    return None


def _continues(part: Slice, axis: int, start: Dim) -> bool:
    """Whether it begins at `start` of its axis, and has every element of the other dims."""
    starts = [start if i == axis else ZERO for i in range(len(part.starts))]
    sizes = [part.sizes[i] if i == axis else d for i, d in enumerate(tensor(part.x).dims)]
    return list(part.starts) == starts and list(part.sizes) == sizes and all(step == 1 for step in part.steps)


def _joins(inner: Concat | None, axis: int) -> bool:
    return inner is not None and inner.axis == axis and len(inner.result.uses) == 1


def _pad_of_pad(op: Pad) -> Replacement:
    inner = producer(op.x, Pad)
    if inner is None or not _same_number(inner.value, op.value) or not _only_adds(inner) or not _only_adds(op):
        return None
    before, after = (tuple(map(_sum, a, b)) for a, b in ((inner.before, op.before), (inner.after, op.after)))
    return Pad(inner.x, before, after, op.value)


def _conv_of_pad(op: Conv) -> Replacement:
    pad = producer(op.x, Pad)
    if pad is None or op.channels_last or not _same_number(pad.value, 0.0) or not _only_adds(pad):
        return None  # with channels last, rows of padding in memory are what kernels want
    if any(d != ZERO for d in (*pad.before[:2], *pad.after[:2])):
        return None
    before, after = (tuple(map(_sum, a, b)) for a, b in ((pad.before[2:], op.before), (pad.after[2:], op.after)))
    return Conv(pad.x, op.w, op.b, op.strides, op.dilations, before, after, op.groups)


def _only_adds(pad: Pad) -> bool:
    return all(d.is_constant and d.value >= 0 for d in (*pad.before, *pad.after))


def _sum(a: Dim, b: Dim) -> Dim:
    return a + b


# ---- numbers ---------------------------------------------------------------------------------------------------


def _drop_added(op: Add) -> Replacement:
    nothing = -0.0 if tensor(op.result).dtype.is_float else 0
    return op.a if _is_all(op.b, nothing) else op.b if _is_all(op.a, nothing) else None


def _drop_subtracted(op: Sub) -> Replacement:
    return op.a if _is_all(op.b, 0) else None


def _drop_factor(op: Mul) -> Replacement:
    return op.a if _is_all(op.b, 1) else op.b if _is_all(op.a, 1) else None


def _drop_divisor(op: Div) -> Replacement:
    return op.a if _is_all(op.b, 1) else None


def _drop_bound(op: Max | Min) -> Replacement:
    """max(x, -inf) = x; and the lowest integer likewise."""
    dtype = tensor(op.result).dtype
    end = lowest(dtype) if isinstance(op, Max) else highest(dtype)
    return op.a if _is_all(op.b, end) else op.b if _is_all(op.a, end) else None


def _relu_of_bounded(op: Relu) -> Replacement:
    """What is at least a positive number, or NaN, is its own relu."""
    inner = producer(op.x, Max)
    bounds = [_elements(v) for v in (inner.a, inner.b)] if inner else []
    return op.x if any(b is not None and bool(np.all(b > 0)) for b in bounds) else None


def _cast_of_cast(op: Cast) -> Replacement:
    inner = producer(op.x, Cast)
    if inner is None or not _holds_all(inner.dtype, tensor(inner.x).dtype):
        return None
    return Cast(inner.x, op.dtype, op.saturate, op.rounding)


def _holds_all(wide: DType, narrow: DType) -> bool:
    """Whether `wide` has every number of `narrow`, and further casts treat both alike."""
    if wide.kind == "narrow":  # formats of as many bits differ
        return wide == narrow
    if wide.kind == narrow.kind == "float":
        return wide.bits > narrow.bits
    if wide.kind == narrow.kind:
        return wide.bits >= narrow.bits
    return (wide.kind, narrow.kind) == ("int", "uint") and wide.bits > narrow.bits


def _elements(value: Value) -> Array | None:
    """The elements of a constant that is small enough to look at."""
    constant = producer(value, Constant)
    if constant is None or constant.value.type.bytes.value > SMALL_BYTES:
        return None
    return module_of(constant).constants.array(constant.value)


def _is_all(value: Value, number: float | int | bool) -> bool:
    """Whether every element is `number`, the sign of a zero included."""
    found = _elements(value)
    if found is None or found.size == 0:
        return False
    wanted = np.array(number, found.dtype)
    return bool(np.all(found == wanted)) and bool(np.all(_signs(found) == _signs(wanted)))


def _signs(array: Array) -> Array:
    return np.signbit(array.astype(np.float64))


def _same_number(a: float | int | bool, b: float | int | bool) -> bool:
    return a == b and bool(np.signbit(float(a)) == np.signbit(float(b)))


# The table: per operation its rules, tried in order after its own `fold`.  A more general form comes later.
RULES: Mapping[type[GraphOp], Sequence[Callable[[Any], Replacement]]] = {
    Transpose: (
        _transpose_of_transpose,  # (x^p)^q = x^(p[q])
        _transpose_of_ones,  # [a,1,b] -> [1,a,b] is a reshape, which moves nothing
    ),
    Reshape: (_reshape_of_reshape,),  # reshape(reshape(x, d), e) = reshape(x, e)
    Slice: (_slice_of_slice,),  # x[a::s][b::t] = x[a + b*s :: s*t]
    Concat: (
        _concat_of_concat,  # (a ++ b) ++ c = a ++ b ++ c
        _concat_of_parts,  # a ++ x[:n] ++ x[n:] = a ++ x
    ),
    Pad: (_pad_of_pad,),  # pad(pad(x, a), b) = pad(x, a + b), same number
    Conv: (_conv_of_pad,),  # conv(pad(x, a, 0), b) = conv(x, a + b)
    Add: (_drop_added,),  # x + -0.0 = x;  integers: x + 0 = x
    Sub: (_drop_subtracted,),  # x - 0 = x
    Mul: (_drop_factor,),  # x * 1 = x
    Div: (_drop_divisor,),  # x / 1 = x
    Max: (_drop_bound,),  # max(x, lowest) = x
    Min: (_drop_bound,),  # min(x, highest) = x
    Relu: (_relu_of_bounded,),  # max(max(x, c), 0) = max(x, c) where c > 0
    Cast: (_cast_of_cast,),  # x as wide as t = x as t, where wide has all numbers of x's type
}
