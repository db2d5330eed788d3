"""ONNX DFT, STFT: the discrete Fourier transform along an axis, or of overlapping frames, as a matrix product.

    y[k] = sum over j of x[j] * exp(-2 pi i j k / n)          // + and divided by n for the inverse

Real and imaginary parts stand in a last dim of 2, or of 1 for a real input.  The matrix comes from the angles
2 pi (j k mod n) / n in f64, so that it is exact to the last bit or so for any n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.graph.ops.trigonometry import Cos, Sin
from headrace.ir.types import F64


@onnx_import("DFT", since=17)
def _dft_17(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    return [_dft(node, x, node.axis(node.attribute("axis", 1), x.rank)).value]


@onnx_import("DFT", since=20)
def _dft_20(node: OnnxNode) -> Sequence[Value]:
    x, axis = Term(node, node.operand(0)), node.shape_value(2)
    if node.input(2) is not None and (axis is None or not axis[0].is_constant):
        return [_along_data(node, x).value]
    return [_dft(node, x, node.axis(-2 if axis is None else axis[0].value, x.rank)).value]


def _along_data(node: OnnxNode, x: Term) -> Term:
    """Along an axis that is data: all of them are computed, and one is chosen, since the dims stay."""
    if node.attribute("onesided", 0) or node.input(1) is not None:
        raise node.unsupported("the axis is data, and decides which dim of the result has another size")
    axis = Term(node, node.operand(2)).reshape()
    for count in (x.rank, x.rank - 1):  # counted from the front, and not the last one
        axis = axis.of(Gather(axis.indices(Dim.constant(count)).value, axis.value, 0))
    found = _dft(node, x, 0)
    for number in range(1, x.rank - 1):
        found = axis.compare("eq", number).where(_dft(node, x, number), found)
    return found


@onnx_import("STFT", since=17)
def _stft(node: OnnxNode) -> Sequence[Value]:
    """Frames of the signal, `step` apart, each times the window, then transformed: [batch, frames, bins, 2]."""
    x, step, length = Term(node, node.operand(0)), node.shape_value(1), node.shape_value(3)
    window = None if node.input(2) is None else Term(node, node.operand(2))
    if step is None or not step[0].is_constant or (node.input(3) is not None and length is None):
        raise node.unsupported("the step or the length of a frame is data, expected them known while compiling")
    if x.rank != 3 or not x.dims[2].is_constant or (window is None and length is None):
        raise node.fail(f"the signal is {x.type}, expected rank 3, the last dim 1 or 2, and a window or a length")
    size = length[0] if length is not None else window.dims[0] if window is not None else ZERO
    count = (x.dims[1] - size) // step[0].value + 1
    place = x.indices(count).reshape(count, 1) * step[0].value + x.indices(size)
    frames = x.of(Gather(x.value, place.value, 1))  # [batch, frames, size, 1 or 2]
    frames = frames if window is None else frames * window.reshape(size, 1)
    parts = [
        Term(node, sliced(node, frames.value, 3, Dim.constant(i), Dim.constant(1))).reshape(*frames.dims[:-1])
        for i in range(x.dims[2].value)
    ]
    found = _transformed(parts, size, False)
    if node.attribute("onesided", 1):
        found = [Term(node, sliced(node, p.value, 2, ZERO, size // 2 + 1)) for p in found]
    return [node.add(Concat(tuple(p.reshape(*p.dims, 1).value for p in found), 3))]


def _dft(node: OnnxNode, x: Term, axis: int) -> Term:
    length = node.shape_value(1)
    if node.input(1) is not None and length is None:
        raise node.unsupported("the length is data, expected one that is known while compiling")
    if x.rank < 2:
        raise node.fail(f"the input is {x.type}, expected 2 dims or more")
    if not x.dims[-1].is_constant:
        raise node.unsupported(f"the last dim of {x.type} may be 1 or 2, so that the input may be real or not")
    if axis == x.rank - 1:
        raise node.fail(f"the axis is the last of {x.type}, expected another")
    inverse, onesided = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    halved = inverse and onesided
    count = length[0] if length is not None else (x.dims[axis] - 1) * 2 if halved else x.dims[axis]
    wanted = count // 2 + 1 if halved else count
    if wanted != x.dims[axis]:
        after = [ZERO] * x.rank
        after[axis] = wanted - x.dims[axis]
        x = x.of(Pad(x.value, (ZERO,) * x.rank, tuple(after)))
    moved = x.move(axis, -2)
    parts = [
        Term(node, sliced(node, moved.value, x.rank - 1, Dim.constant(i), Dim.constant(1))).reshape(*moved.dims[:-1])
        for i in range(2 if moved.dims[-1] == Dim.constant(2) else 1)
    ]
    found = _real_inverse(parts, wanted, count) if halved else _transformed(parts, count, inverse)
    if onesided and not inverse:
        half = count // 2 + 1
        found = [Term(node, sliced(node, p.value, p.rank - 1, ZERO, half)) for p in found]
    stacked = x.of(Concat(tuple(p.reshape(*p.dims, 1).value for p in found), x.rank - 1))
    return stacked.move(-2, axis)


def _transformed(parts: Sequence[Term], count: Dim, inverse: bool) -> list[Term]:
    """Real and imaginary part of the transform along the last dim."""
    real = parts[0]
    cos, sin = _waves(real, count, count, inverse)
    if len(parts) == 1:
        return [real @ cos, real @ sin]
    return [real @ cos - parts[1] @ sin, parts[1] @ cos + real @ sin]


def _real_inverse(parts: Sequence[Term], half: Dim, count: Dim) -> list[Term]:
    """The real signal behind the first half of its spectrum, whose other half has the same real parts."""
    cos, sin = _waves(parts[0], half, count, True)
    place = cos.indices(half)
    alone = (place * 2) % cos.of(Formulas((count,), ()))  # 0 for what has no mirror image
    twice = (alone.compare("eq", 0).where(1, place.like(2))).cast(cos.dtype).reshape(half, 1)
    found = parts[0] @ (cos * twice)
    return [found if len(parts) == 1 else found - parts[1] @ (sin * twice)]


def _waves(x: Term, rows: Dim, count: Dim, inverse: bool) -> tuple[Term, Term]:
    """cos and sin of the angles of a row and a column, like the elements of x: -angles forwards, scaled backwards."""
    size = x.of(Formulas((count,), ()))
    steps = (x.indices(rows).reshape(rows, 1) * x.indices(count).reshape(1, count)) % size
    angles = steps.cast(F64) * (2 * math.pi) / size.cast(F64)
    cos, sin = x.of(Cos(angles.value)), x.of(Sin(angles.value))
    if inverse:
        return (cos / size.cast(F64)).cast(x.dtype), (sin / size.cast(F64)).cast(x.dtype)
    return cos.cast(x.dtype), (sin * -1.0).cast(x.dtype)
