"""Recipes for nodes of ONNX: with sizes that are data, and such as are many operations here.  In: a growing graph.

Integers that come from outside are data: other ones for each case, in one artefact.  What sizes follow from is drawn,
never computed from floats, since rounding might decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.ir.graph.families import tensor
from headrace.ir.types import DTYPES, I32, TensorType
from random_graphs.growing import Growing, Refused
from random_graphs.imported import Nodes

# ---- sizes that are data -----------------------------------------------------------------------------------------


def nonzero(n: Nodes) -> None:
    n.add("NonZero", n.mask(n.value(0, 3)))


def compress(n: Nodes) -> None:
    x = n.value()
    axis = n.pick(0, tensor(x).rank - 1)
    n.add("Compress", x, n.mask(x, axis), axis=axis)


def elements_that_are_not_zero(n: Nodes) -> None:
    """Found, then read."""
    x = n.value(1, 3)
    (places,) = n.add("NonZero", n.mask(x))
    (turned,) = n.add("Transpose", places, perm=(1, 0))
    n.add("GatherND", x, turned)


def numbers(n: Nodes) -> None:
    dtype = [np.int64, np.int32][n.pick(0, 1)]
    step = n.data([n.pick(1, 3) * [1, -1][n.pick(0, 1)] for _ in n.g.cases], dtype)
    start, limit = (n.data([n.pick(*ends) for _ in n.g.cases], dtype) for ends in ((-5, 5), (-9, 20)))
    n.add("Range", start, limit, step)


def part(n: Nodes) -> None:
    x = n.value()
    axes = sorted(n.rng.permutation(tensor(x).rank)[: n.pick(1, tensor(x).rank)].tolist())
    starts = n.each(lambda s: [n.pick(-s[a] - 1, s[a]) for a in axes], x)
    ends = n.each(lambda s: [n.pick(-s[a] - 1, s[a] + 2) for a in axes], x)
    steps = n.each(lambda s: [[1, 1, 2, -1, -3][n.pick(0, 4)] for _ in axes], x)
    known = n.known(*axes) if n.g.chance(0.7) else n.data([axes] * len(n.g.cases))
    n.add("Slice", x, n.data(starts), n.data(ends), known, n.data(steps) if n.g.chance(0.5) else None)


def pad(n: Nodes) -> None:
    x = n.value(1, 3)
    pads = n.each(lambda s: [n.pick(0, min(2, max(d - 1, 0))) for d in (*s, *s)], x)
    mode = ["constant", "edge", "reflect"][n.pick(0, 2)]
    n.add("Pad", x, n.data(pads), mode=mode)


def tile(n: Nodes) -> None:
    x = n.value(1, 3)
    n.add("Tile", x, n.data(n.each(lambda s: [n.pick(0 if n.g.chance(0.1) else 1, 3) for _ in s], x)))


def expand(n: Nodes) -> None:
    x = n.value(1, 3)
    front = n.pick(0, 1)
    wanted = n.each(lambda s: [*[n.pick(1, 3)] * front, *(d if d > 1 else n.pick(1, 3) for d in s)], x)
    n.add("Expand", x, n.data(wanted))


def reshape(n: Nodes) -> None:
    x = n.value()
    by = n.each(lambda s: [-1, s[-1]] if 0 not in s else [0 if s[0] == 0 else s[0], int(np.prod(s[1:]))], x)
    n.add("Reshape", x, n.data(by))


def constant_of_shape(n: Nodes) -> None:
    rank = n.pick(1, 3)
    n.add("ConstantOfShape", n.data([n.rng.integers(0, 5, rank) for _ in n.g.cases]))


def largest(n: Nodes) -> None:
    x = n.value()
    axis = n.pick(0, tensor(x).rank - 1)
    count = n.data(n.each(lambda s: [n.pick(0, s[axis])], x))
    n.add("TopK", x, count, outputs=2, axis=axis, largest=n.pick(0, 1))


def one_hot(n: Nodes) -> None:
    dims = n.g.dims(n.pick(1, 2))
    x = n.g.tensor(TensorType(I32, dims))
    depth = n.data([n.pick(1, 6) for _ in n.g.cases])
    n.add("OneHot", x, depth, n.state.add_constant(np.array([-0.5, 2.0], np.float32)), axis=n.pick(-1, len(dims)))


def triangle(n: Nodes) -> None:
    x = n.value(2, 4)
    n.add("Trilu", x, n.data(n.each(lambda s: n.pick(-3, 3), x)), upper=n.pick(0, 1))


def running_sum(n: Nodes) -> None:
    x = n.value()
    axis = n.data(n.each(lambda s: n.pick(-len(s), len(s) - 1), x))
    n.add("CumSum", x, axis, exclusive=n.pick(0, 1), reverse=n.pick(0, 1))


def reduction(n: Nodes) -> None:
    x = n.value()
    kind = ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceProd"][n.pick(0, 3)]
    axes = n.data(n.each(lambda s: [n.pick(-len(s), len(s) - 1)], x))
    n.add(kind, x, axes, keepdims=1)


# ---- many operations ---------------------------------------------------------------------------------------------


def norms(n: Nodes) -> None:
    x = n.value(3, 4)
    channels = tensor(x).dims[1]
    makers: list[Callable[[], object]] = [
        lambda: n.add("InstanceNormalization", x, n.floats(channels), n.floats(channels), epsilon=1e-2),
        lambda: n.add("LRN", x, size=3, alpha=0.1, beta=0.75, bias=1.0),
        lambda: n.add("LpNormalization", x, axis=n.pick(0, tensor(x).rank - 1), p=n.pick(1, 2)),
        lambda: n.add("LayerNormalization", x, n.floats(tensor(x).dims[-1]), outputs=n.pick(1, 3), epsilon=1e-2),
        lambda: n.add("GlobalLpPool", x, p=2),
        lambda: n.add("GlobalAveragePool", x),
        lambda: n.add("GlobalMaxPool", x),
        lambda: n.add("LpPool", x, kernel_shape=(2,) * (tensor(x).rank - 2), p=2, pads=(1,) * (2 * tensor(x).rank - 4)),
    ]
    makers[n.pick(0, len(makers) - 1)]()


def rows(n: Nodes) -> None:
    x = n.value()
    axis = n.pick(0, tensor(x).rank - 1)
    kinds = ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"]
    makers: list[Callable[[], object]] = [
        lambda: n.add(kinds[n.pick(0, 3)], x, n.known(axis), keepdims=n.pick(0, 1)),
        lambda: n.add("Hardmax", x, axis=axis),
        lambda: n.add("ArgMin", x, axis=axis, keepdims=n.pick(0, 1), select_last_index=n.pick(0, 1)),
        lambda: n.add("Clip", x, n.state.add_constant(np.asarray(-0.5, tensor(x).dtype.numpy))),
        lambda: n.add("Mean", x, x, n.floats(tensor(x).dims[-1])),
        lambda: n.add("Split", x, outputs=2, axis=axis, num_outputs=2),
        lambda: n.add("Flatten", x, axis=axis),
        lambda: n.add("Sum", x, n.floats(tensor(x).dims[-1]), x),
    ]
    makers[n.pick(0, len(makers) - 1)]()


def sums(n: Nodes) -> None:
    x = n.value(2, 3)
    kind = tensor(x)
    rows, columns = kind.dims[-2:]
    (width,) = n.g.dims(1)
    letters = "abc"[3 - kind.rank :]
    makers: list[Callable[[], object]] = [
        lambda: n.add("Einsum", x, n.floats(width, columns), equation=f"{letters},dc->{letters[:-1]}d"),
        lambda: n.add("Einsum", x, x, equation=f"{letters},{letters}->{letters[0]}"),
        lambda: n.add("Einsum", x, n.floats(rows, width), equation=f"{letters},bd->{letters[:-2]}cd"),
        lambda: n.add("Einsum", x, equation=f"{letters}->{letters[::-1]}"),
    ]
    if kind.rank == 2:
        makers += [
            lambda: n.add("Gemm", x, n.floats(width, columns), n.floats(width), transB=1, alpha=0.5, beta=2.0),
            lambda: n.add("Gemm", x, n.floats(rows, width), n.floats(columns, 1), transA=1, alpha=0.5, beta=2.0),
        ]
    makers[n.pick(0, len(makers) - 1)]()


def eight_bits(n: Nodes) -> None:
    """Products of small integers."""
    rows, depth, width = n.g.dims(3)
    kinds = [DTYPES[("i8", "u8")[n.pick(0, 1)]] for _ in range(3)]
    a, b = n.g.tensor(TensorType(kinds[0], (rows, depth))), n.g.tensor(TensorType(kinds[1], (depth, width)))
    zeros = [n.state.add_constant(np.asarray(n.pick(0, 5), k.numpy)) for k in kinds]
    if n.g.chance(0.5):
        n.add("MatMulInteger", a, b, *zeros[:2])
        return
    scales = [n.state.add_constant(np.asarray(s, np.float32)) for s in (0.5, 0.25, 1.5)]
    n.add("QLinearMatMul", a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2])


def images(n: Nodes) -> None:
    x = n.value(4, 4)
    scales = n.state.add_constant(np.array([1, 1, 2, 1.5], np.float32))
    makers: list[Callable[[], object]] = [
        lambda: n.add("Resize", x, None, scales, mode=["nearest", "linear", "cubic"][n.pick(0, 2)]),
        lambda: n.add("GridSample", x, n.floats(tensor(x).dims[0], 3, 2, 2), align_corners=n.pick(0, 1)),
        lambda: n.add("MaxPool", x, outputs=2, kernel_shape=(2, 2), pads=(0, 1, 1, 0)),
        lambda: n.add("DFT", n.add("Unsqueeze", x, n.known(4))[0], None, n.known(2), inverse=0),
    ]
    makers[n.pick(0, len(makers) - 1)]()


def backwards(n: Nodes) -> None:
    """The first elements of each column, as many as data say."""
    x = n.value(2, 4)
    if not tensor(x).dims[1].is_constant:
        raise Refused("as many lengths as a symbol says")
    lengths = n.data(n.each(lambda s: [n.pick(1, max(s[0], 1)) for _ in range(s[1])], x))
    n.add("ReverseSequence", x, lengths, batch_axis=1, time_axis=0)


RECIPES: tuple[Callable[[Nodes], None], ...] = (
    nonzero, compress, elements_that_are_not_zero, numbers, part, pad, tile, expand, reshape, constant_of_shape, largest,
    one_hot, triangle, running_sum, reduction, norms, rows, sums, eight_bits, images, backwards,
)  # fmt: skip


def imported(g: Growing) -> None:
    """One of them."""
    RECIPES[int(g.rng.integers(len(RECIPES)))](Nodes(g))
