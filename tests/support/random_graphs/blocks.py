"""Blocks that networks are built of, where passes do most: images with few channels or many, heads of attention, caches,
halves that meet again.  In: a growing graph.  Out: functions that extend it, as `patterns` has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim, DimLike, as_dim
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.activations import Gelu, Sigmoid, Tanh
from headrace.ir.graph.ops.arithmetic import Add, Div, Mul
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.normalization import BatchNorm, LayerNorm
from headrace.ir.graph.ops.pool import AveragePool, MaxPool
from headrace.ir.graph.ops.quantize import Dequantize
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.softmax import Softmax
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.types import F32, I32, I64, TensorType
from random_graphs.growing import Growing, Refused

CHANNELS = (1, 3, 4, 8, 16, 17, 24)
WIDTHS = (1, 4, 8, 12, 16, 20, 33)


def _pick(g: Growing, *choices: int) -> int:
    return choices[int(g.rng.integers(len(choices)))]


def _weights(g: Growing, *dims: DimLike, low: float = -0.7) -> Value:
    """A constant, at times an input."""
    shape = [as_dim(d).value for d in dims]
    drawn = g.rng.uniform(low, 0.7, shape).astype(np.float32)
    if g.chance(0.1):
        return g.parameter(TensorType.of(F32, *shape), [drawn] * len(g.cases))
    return g.constant(drawn)


def _some(g: Growing, rank: int, known: int) -> Value | None:
    """An f32 of that rank that is there, whose dim `known` is a number."""
    found = [v for v in g.values if tensor(v).dtype == F32 and tensor(v).rank == rank]
    found = [v for v in found if tensor(v).dims[known].is_constant and tensor(v).dims[known].value > 0]
    return found[max(int(g.rng.integers(len(found))) for _ in range(2))] if found and g.chance(0.8) else None


def _image(g: Growing) -> Value:
    found = _some(g, 4, 1)
    if found is not None:
        return found
    batch = Dim.symbol("n") if g.chance(0.4) else Dim.constant(_pick(g, 1, 1, 2))
    sides = [Dim.symbol("m") if g.chance(0.2) else Dim.constant(_pick(g, 4, 5, 7, 8)) for _ in range(2)]
    return g.tensor(TensorType(F32, (batch, Dim.constant(_pick(g, *CHANNELS)), *sides)))


def _rows(g: Growing) -> Value:
    """[batch, steps, width]."""
    found = _some(g, 3, 2)
    if found is not None:
        return found
    batch = Dim.symbol("n") if g.chance(0.4) else Dim.constant(_pick(g, 1, 2))
    steps = Dim.symbol("m") if g.chance(0.5) else Dim.constant(_pick(g, 1, 3, 8))
    return g.tensor(TensorType(F32, (batch, steps, Dim.constant(_pick(g, *WIDTHS)))))


def _conv(g: Growing, x: Value, features: int, groups: int = 1) -> Value:
    """A window of 1, 3 or 5, padded, perhaps in steps of 2."""
    size, stride = _pick(g, 1, 3, 3, 5), _pick(g, 1, 1, 2)
    pads = (Dim.constant(size // 2),) * 2
    w = _weights(g, features, tensor(x).dims[1].value // groups, size, size)
    bias = _weights(g, features) if g.chance(0.5) else None
    return g.add(Conv(x, w, bias, (stride,) * 2, (1, 1), pads, pads, groups))


def _activated(g: Growing, x: Value) -> Value:
    makers: list[Callable[[], Value]] = [
        lambda: x,
        lambda: g.add(Relu(x)),
        lambda: g.add(Mul(x, g.add(Sigmoid(x)))),
        lambda: g.add(Gelu(x)),
        lambda: g.add(Tanh(x)),
    ]
    return makers[int(g.rng.integers(len(makers)))]()


def _normalized(g: Growing, x: Value) -> Value:
    """An image, by statistics that are known."""
    channels = tensor(x).dims[1]
    scale, bias, mean = (_weights(g, channels) for _ in range(3))
    return g.add(BatchNorm(x, scale, bias, mean, _weights(g, channels, low=0.1), 1e-3))


def separable(g: Growing) -> None:
    """Each channel by itself, then all of them."""
    x = _image(g)
    channels = tensor(x).dims[1].value
    y = _conv(g, x, channels, channels)
    y = _activated(g, _normalized(g, y) if g.chance(0.5) else y)
    y = _activated(g, _conv(g, y, _pick(g, *CHANNELS)))
    if tensor(y).dims == tensor(x).dims:
        g.add(Add(x, y))


def inception(g: Growing) -> None:
    """Several ways from one image, side by side in the result."""
    x = _image(g)
    ways = []
    for _ in range(_pick(g, 2, 3)):
        size = _pick(g, 1, 3)
        pads = (Dim.constant(size // 2),) * 2
        features = _pick(g, *CHANNELS)
        w = _weights(g, features, tensor(x).dims[1], size, size)
        ways.append(_activated(g, g.add(Conv(x, w, None, (1, 1), (1, 1), pads, pads))))
    if g.chance(0.4):
        ways.append(x)
    y = g.add(Concat(tuple(ways), 1))
    if g.chance(0.6):
        _activated(g, _conv(g, y, _pick(g, *CHANNELS)))


def halves(g: Growing) -> None:
    """The channels in two parts: one goes on, and both meet again."""
    x = _image(g)
    channels = tensor(x).dims[1].value
    if channels < 2:
        raise Refused("one channel")
    at = channels // 2
    left, right = (_channels(g, x, first, last) for first, last in ((0, at), (at, channels)))
    w = _weights(g, at, channels - at, 3, 3)
    y = _activated(g, g.add(Conv(right, w, None, (1, 1), (1, 1), (ONE, ONE), (ONE, ONE))))
    parts = [left, y, right] if g.chance(0.5) else [y, left]
    z = g.add(Concat(tuple(parts), 1))
    if g.chance(0.5):
        _conv(g, z, _pick(g, *CHANNELS))


def _channels(g: Growing, x: Value, first: int, last: int) -> Value:
    dims = tensor(x).dims
    starts = (ZERO, Dim.constant(first), ZERO, ZERO)
    return g.add(Slice(x, starts, (dims[0], Dim.constant(last - first), *dims[2:]), (1,) * 4))


def pooled(g: Growing) -> None:
    x = _activated(g, _conv(g, _image(g), _pick(g, *CHANNELS)))
    size, stride = _pick(g, 2, 3), _pick(g, 1, 2)
    cls = (MaxPool, AveragePool)[_pick(g, 0, 1)]
    pads = (Dim.constant(size // 2),) * 2
    y = g.add(cls(x, (size,) * 2, (stride,) * 2, (1, 1), pads, pads))
    if g.chance(0.5):
        y = g.add(Reduce(y, "mean", (2, 3), g.chance(0.5)))
    if tensor(y).rank == 2:
        y = g.add(MatMul(y, _weights(g, tensor(y).dims[1], _pick(g, *WIDTHS))))
        g.add(Softmax(y, (1,)))


def squeeze_and_excite(g: Growing) -> None:
    x = _image(g)
    channels = tensor(x).dims[1].value
    s = g.add(Reduce(x, "mean", (2, 3), True))
    s = g.add(Relu(g.add(Conv(s, _weights(g, 4, channels, 1, 1), _weights(g, 4), (1, 1), (1, 1), (ZERO,) * 2, (ZERO,) * 2))))
    s = g.add(Conv(s, _weights(g, channels, 4, 1, 1), None, (1, 1), (1, 1), (ZERO,) * 2, (ZERO,) * 2))
    g.add(Mul(x, g.add(Sigmoid(s))))


def _dense(g: Growing, x: Value, width: int, bias: bool = True) -> Value:
    y = g.add(MatMul(x, _weights(g, tensor(x).dims[-1], width)))
    return g.add(Add(y, _weights(g, width))) if bias else y


def heads(g: Growing) -> None:
    """Attention by several heads, perhaps over a cache; the mask adds."""
    x = _rows(g)
    batch, steps, width = tensor(x).dims
    count, size = _pick(g, 1, 2, 3), _pick(g, 1, 4, 8)
    parts = []
    for number in range(3):
        y = _dense(g, x, count * size, g.chance(0.7))
        y = g.add(Reshape(y, (batch, steps, Dim.constant(count), Dim.constant(size))))
        parts.append(g.add(Transpose(y, (0, 2, 3, 1) if number == 1 else (0, 2, 1, 3))))
    q, k, v = parts
    if g.chance(0.4):
        past = (Dim.symbol("m") if g.chance(0.5) else Dim.constant(_pick(g, 1, 4)),)
        k = g.add(Concat((g.tensor(TensorType(F32, (*tensor(k).dims[:3], *past))), k), 3))
        v = g.add(Concat((g.tensor(TensorType(F32, (*tensor(v).dims[:2], *past, tensor(v).dims[3]))), v), 2))
    scores = g.add(MatMul(q, k))
    scores = g.add((Mul, Div)[_pick(g, 0, 1)](scores, g.constant(np.full((), 2.0, np.float32))))
    if g.chance(0.5):
        kind = tensor(scores)
        seen = (kind.dims[0] if g.chance(0.5) else ONE, ONE, ONE if g.chance(0.5) else kind.dims[2], kind.dims[3])
        scores = g.add(Add(scores, g.tensor(TensorType(F32, seen))))
    y = g.add(MatMul(g.add(Softmax(scores, (3,))), v))
    y = g.add(Reshape(g.add(Transpose(y, (0, 2, 1, 3))), (batch, steps, Dim.constant(count * size))))
    y = _dense(g, y, width.value)
    if g.chance(0.6):
        y = g.add(Add(y, x))
        g.add(LayerNorm(y, _weights(g, width), _weights(g, width) if g.chance(0.7) else None, 2, 1e-2))


def gated(g: Growing) -> None:
    """Two products of one operand, of which one opens the other; then back, and the residual."""
    x = _rows(g)
    width, inner = tensor(x).dims[-1].value, _pick(g, *WIDTHS)
    opened = _activated(g, _dense(g, x, inner, g.chance(0.5)))
    y = _dense(g, g.add(Mul(opened, _dense(g, x, inner, g.chance(0.5)))), width, g.chance(0.5))
    y = g.add(Add(x, y))
    if g.chance(0.5):
        g.add(LayerNorm(y, _weights(g, width), None, 2, 1e-2))


def tied(g: Growing) -> None:
    """Rows of a table, and products with the same table."""
    rows, width = _pick(g, 5, 16, 33), _pick(g, *WIDTHS)
    table = _weights(g, rows, width)
    dims = (Dim.symbol("n"), Dim.symbol("m")) if g.chance(0.5) else (ONE, Dim.constant(_pick(g, 1, 4)))
    kind = TensorType(I64 if g.chance(0.5) else I32, dims)
    shapes = [[d.evaluate(case) for d in dims] for case in g.cases]
    places = [np.asarray(g.rng.integers(-rows, rows, s)).astype(kind.dtype.numpy) for s in shapes]
    x = g.add(Gather(table, g.parameter(kind, places), 0))
    x = _activated(g, x)
    g.add(MatMul(x, g.add(Transpose(table, (1, 0)))))


def of_eight_bits(g: Growing) -> None:
    """Weights that are stored as i8, with a scale for each column or for all."""
    x = _rows(g)
    width, depth = _pick(g, *WIDTHS), tensor(x).dims[-1].value
    codes = g.constant(g.rng.integers(-128, 128, (depth, width)).astype(np.int8))
    scale = _weights(g, *([width] if g.chance(0.5) else []), low=0.01)
    g.add(MatMul(x, g.add(Dequantize(codes, scale))))


BLOCKS: tuple[Callable[[Growing], None], ...] = (
    separable, inception, halves, pooled, squeeze_and_excite, heads, gated, tied, of_eight_bits,
)  # fmt: skip


def block(g: Growing) -> None:
    """One of them."""
    BLOCKS[int(g.rng.integers(len(BLOCKS)))](g)
