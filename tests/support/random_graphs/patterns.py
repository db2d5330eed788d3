"""What models are made of, written out in simple operations.  In: a growing graph.  Out: functions that extend it
and return the last operation, which is to be added.

A pattern starts at a value that is there; it raises Refused where none fits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import GraphOp, tensor
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.activations import Erf, Sigmoid, Tanh
from headrace.ir.graph.ops.arithmetic import Add, Div, Max, Mul, Sub
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.compare import Compare
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.exponential import Exp, Sqrt
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.reduce import Kind, Reduce
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.softmax import Softmax
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.graph.ops.where import Where
from headrace.ir.types import BOOL, F16, F32, F64, TensorType
from random_graphs.growing import Growing, Refused

Pattern = Callable[[Growing], GraphOp]


def some_float(g: Growing, least_rank: int = 1) -> Value:
    """A float that is there, more likely a late one."""
    found = [v for v in g.values if tensor(v).dtype.is_float and tensor(v).rank >= least_rank]
    if not found:
        raise Refused("no float of that rank")
    return found[max(int(g.rng.integers(len(found))) for _ in range(2))]


def beside(g: Growing, x: Value) -> Value:
    """An operand that broadcasts against `x` without making it larger."""
    kind = tensor(x)
    dims = tuple(ONE if g.chance(0.25) else d for d in kind.dims)
    return g.tensor(kind.with_dims(dims[int(g.rng.integers(kind.rank + 1)) :]))


def epilogue(g: Growing) -> GraphOp:
    """One elementwise operation on what came last."""
    x = some_float(g, 0)
    makers: list[Callable[[], GraphOp]] = [
        lambda: Relu(x),
        lambda: Sigmoid(x),
        lambda: Tanh(x),
        lambda: Erf(x),
        lambda: Mul(x, x),
        lambda: Add(x, beside(g, x)),
        lambda: Mul(beside(g, x), x),
        lambda: Sub(x, beside(g, x)),
        lambda: Max(x, beside(g, x)),
        lambda: Cast(x, [F16, F32, F64][int(g.rng.integers(3))]),
    ]
    return makers[int(g.rng.integers(len(makers)))]()


def reduction(g: Growing) -> GraphOp:
    x = some_float(g)
    rank = tensor(x).rank
    axes = tuple(a for a in range(rank) if g.chance(0.5)) or (rank - 1,)
    kinds: tuple[Kind, ...] = ("sum", "mean", "max", "min")
    return Reduce(x, kinds[int(g.rng.integers(4))], axes, g.chance(0.5))


def movement(g: Growing) -> GraphOp:
    x = some_float(g)
    kind = tensor(x)
    makers: list[Callable[[], GraphOp]] = [
        lambda: Transpose(x, tuple(int(p) for p in g.rng.permutation(kind.rank))),
        lambda: Reshape(x, (kind.elements,)),
        lambda: Reshape(x, (*kind.dims, ONE)),
        lambda: Reshape(x, (kind.dims[0], _product(kind.dims[1:]))),
        lambda: Concat((x, g.tensor(kind)), int(g.rng.integers(kind.rank))),
        lambda: Concat((x, x), int(g.rng.integers(kind.rank))),
        lambda: Pad(x, (ONE,) * kind.rank, tuple(Dim.constant(int(g.rng.integers(2))) for _ in kind.dims)),
        lambda: _part(g, x),
    ]
    return makers[int(g.rng.integers(len(makers)))]()


def _part(g: Growing, x: Value) -> GraphOp:
    """A slice that leaves a few elements of one axis out."""
    kind = tensor(x)
    axis, left = int(g.rng.integers(kind.rank)), int(g.rng.integers(1, 3))
    if any(kind.dims[axis].evaluate(case) < left for case in g.cases):
        raise Refused("too short")
    if not kind.dims[axis].is_constant:
        raise Refused("a slice that may not fit")
    start = Dim.constant(int(g.rng.integers(left + 1)))
    starts = tuple(start if a == axis else Dim.constant(0) for a in range(kind.rank))
    sizes = tuple(d - left if a == axis else d for a, d in enumerate(kind.dims))
    return Slice(x, starts, sizes, (1,) * kind.rank)


def _product(dims: tuple[Dim, ...]) -> Dim:
    total = ONE
    for dim in dims:
        total = total * dim
    return total


def diamond(g: Growing) -> GraphOp:
    """Two ways from one value, which meet again."""
    x = some_float(g, 0)
    left, right = g.add(Sigmoid(x)), g.add(Mul(x, beside(g, x)))
    return Add(left, right)


def choice(g: Growing) -> GraphOp:
    x = some_float(g, 0)
    y = beside(g, x)
    return Where(g.add(Compare(x, y, "lt")), x, y)


def softmax_written_out(g: Growing) -> GraphOp:
    x = some_float(g)
    axes = (tensor(x).rank - 1,)
    e = g.add(Exp(g.add(Sub(x, g.add(Reduce(x, "max", axes, True))))))
    return Div(e, g.add(Reduce(e, "sum", axes, True)))


def layer_norm_written_out(g: Growing) -> GraphOp:
    x = some_float(g)
    axes = (tensor(x).rank - 1,)
    away = g.add(Sub(x, g.add(Reduce(x, "mean", axes, True))))
    spread = g.add(Reduce(g.add(Mul(away, away)), "mean", axes, True))
    epsilon = g.constant(np.full((), 1e-3, tensor(x).dtype.numpy))
    return Mul(g.add(Div(away, g.add(Sqrt(g.add(Add(spread, epsilon)))))), beside(g, x))


def dense(g: Growing) -> GraphOp:
    """A product, a bias, an activation."""
    x = some_float(g)
    kind = tensor(x)
    (width,) = g.dims(1)
    y = g.add(MatMul(x, g.tensor(TensorType(kind.dtype, (kind.dims[-1], width)))))
    y = g.add(Add(y, g.tensor(TensorType(kind.dtype, (width,)))))
    return Relu(y) if g.chance(0.5) else Mul(y, g.add(Sigmoid(y)))


def attention(g: Growing) -> GraphOp:
    x = some_float(g, 2)
    kind = tensor(x)
    k, v = g.tensor(kind), g.tensor(kind)
    turned = (*range(kind.rank - 2), kind.rank - 1, kind.rank - 2)
    scores = g.add(MatMul(x, g.add(Transpose(k, turned))))
    scaled = g.add(Mul(scores, g.constant(np.full((), 0.5, kind.dtype.numpy))))
    if g.chance(0.5):
        scaled = g.add(Add(scaled, beside(g, scaled)))
    return MatMul(g.add(Softmax(scaled, (kind.rank - 1,))), v)


def convolution(g: Growing) -> GraphOp:
    """A padded window with an activation and a residual."""
    x = some_float(g, 3)
    kind = tensor(x)
    if kind.rank > 4 or not kind.dims[1].is_constant:
        raise Refused("channels that are not known")
    channels, rank = kind.dims[1], kind.rank - 2
    w = g.tensor(TensorType(kind.dtype, (channels, channels, *(Dim.constant(3),) * rank)))
    ones, pads = (1,) * rank, (ONE,) * rank
    y = g.add(Conv(x, w, None, ones, ones, pads, pads))
    return Relu(g.add(Add(y, x))) if g.chance(0.5) else Add(y, x)


def any_of_both(g: Growing) -> GraphOp:
    """Booleans meet."""
    found = [v for v in g.values if tensor(v).dtype == BOOL]
    if not found:
        raise Refused("no booleans")
    x = found[int(g.rng.integers(len(found)))]
    return Cast(x, F32)


PATTERNS: tuple[tuple[Pattern, int], ...] = (
    (epilogue, 8),
    (movement, 6),
    (reduction, 4),
    (diamond, 2),
    (choice, 1),
    (softmax_written_out, 1),
    (layer_norm_written_out, 1),
    (dense, 2),
    (attention, 1),
    (convolution, 2),
    (any_of_both, 1),
)
