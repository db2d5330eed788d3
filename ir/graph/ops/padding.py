"""ONNX Pad: graph.pad and graph.extend, or graph.gather along each dim where the pads are data."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import TOO_FEW, TOO_MANY, beyond, first_numbers, formulas
from headrace.ir.graph.data_axes import by_dim, integers
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.extend import MODES as EXTENSIONS
from headrace.ir.graph.ops.extend import Extend
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.types import BOOL, I64

FAR = -(2**63)


@onnx_import("Pad", since=2)
def _pad_2(node: OnnxNode) -> Sequence[Value]:
    numbers: tuple[int, ...] = node.attribute("pads", ())
    pads = tuple(Dim.constant(n) for n in numbers)
    return [_padded(node, pads, tuple(range(node.tensor(0).rank)), node.attribute("value", 0.0))]


@onnx_import("Pad", since=11)
def _pad_11(node: OnnxNode) -> Sequence[Value]:
    pads, axes = node.shape_value(1), node.known_numbers(3)
    zero: float | int | bool = 0 if not node.tensor(0).dtype.is_float else 0.0
    constant = None if node.input(2) is None else node.constant(2)
    value = zero if constant is None else constant.reshape(()).item()
    if pads is None or axes is None or not (_mode(node) == "constant" or _are_decided(node, pads)):
        return [_by_data(node, axes)]
    found = _padded(node, pads, axes if node.input(3) else tuple(range(node.tensor(0).rank)), value)
    if node.input(2) is None or constant is not None or _mode(node) != "constant":
        return [found]
    ones = Term(node, found).of(Fill(node.tensor(0).dims, True, BOOL)).value
    padding = producer(found, Pad)
    assert padding is not None
    inside = Term(node, node.add(Pad(ones, padding.before, padding.after, False)))
    return [inside.where(Term(node, found), _value(node)).value]


def _mode(node: OnnxNode) -> str:
    mode = node.attribute("mode", "constant")
    if mode not in ("constant", *EXTENSIONS):
        raise node.fail(f"mode is {mode!r}, expected 'constant', {', '.join(repr(m) for m in EXTENSIONS)}")
    return mode


def _are_decided(node: OnnxNode, pads: Sequence[Dim]) -> bool:
    return all(p.is_constant or node.is_nonnegative(p) for p in pads)


def _padded(node: OnnxNode, pads: tuple[Dim, ...], axes: tuple[int, ...], value: float | int | bool) -> Value:
    kind = node.tensor(0)
    if len(pads) != 2 * len(axes):
        raise node.fail(f"{len(pads)} pads for {len(axes)} axes, expected two each")
    before, after = [ZERO] * kind.rank, [ZERO] * kind.rank
    for number, axis in enumerate(axes):
        place = node.axis(axis, kind.rank)
        before[place], after[place] = pads[number], pads[len(axes) + number]
    if _mode(node) == "constant":
        return node.add(Pad(node.operand(0), tuple(before), tuple(after), value))
    return _extended(node, before, after, _mode(node))


def _extended(node: OnnxNode, before: list[Dim], after: list[Dim], mode: str) -> Value:
    """What negative pads cut off is gone first; then the rest goes on."""
    x = node.operand(0)
    cuts = [[p if p.is_constant and p.value < 0 else ZERO for p in side] for side in (before, after)]
    if any(c != ZERO for side in cuts for c in side):
        sizes = tuple(d + b + a for d, b, a in zip(node.tensor(0).dims, *cuts, strict=True))
        x = node.add(Slice(x, tuple(-b for b in cuts[0]), sizes, (1,) * len(sizes)))
    before, after = ([p - c for p, c in zip(*s, strict=True)] for s in zip((before, after), cuts, strict=True))
    return node.add(Extend(x, tuple(before), tuple(after), mode))


# ---- pads that are data ------------------------------------------------------------------------------------------


def _by_data(node: OnnxNode, axes: Sequence[int] | None) -> Value:
    """A gather along each dim that may be padded; where nothing is, some element stands until the value is chosen."""
    x, kind, mode = Term(node, node.operand(0)), node.tensor(0), _mode(node)
    count = node.tensor(3).elements if node.input(3) else Dim.constant(kind.rank)
    named = integers(node, 3) if node.input(3) else x.indices(count)
    pads = integers(node, 1).reshape(2, count)
    dims = formulas(node, kind.dims)
    of_dims = by_dim(node, named, kind.rank)
    before, after = (
        of_dims(pads.of(Slice(pads.value, (Dim.constant(i), ZERO), (ONE, count), (1, 1))).reshape(count), dims * 0)
        for i in (0, 1)
    )
    low, high = before.at_most(after), before.at_least(after)
    most_of_it = dims + low
    sizes = most_of_it.at_least(FAR - high.at_most(0)) + high
    too_large = beyond(dims, low).where(1, beyond(most_of_it, high).cast(I64)).compare("gt", 0)
    skipped = before.at_least(FAR // 2)  # further than any dim in memory is cut; places minus it do not wrap
    for axis in [node.axis(a, kind.rank) for a in axes] if axes and node.input(3) else range(kind.rank):
        size, dim, first, wrong = (
            v.of(Slice(v.value, (Dim.constant(axis),), (ONE,), (1,))) for v in (sizes, dims, skipped, too_large)
        )
        problems = [(wrong, TOO_MANY), (size.compare("lt", 0), TOO_FEW)]
        wanted = first_numbers(node, size, f"{node.name}_{axis}", problems) - first
        place = _place(wanted, dim, mode)
        if mode == "constant":
            x = x.of(_with_one_more(x, axis))
        x = x.of(Gather(x.value, place.value, axis))
        if mode == "constant":
            inside = place.compare("lt", dim).reshape(*wanted.dims, *[1] * (kind.rank - 1 - axis))
            x = inside.where(x, _value(node))
    return x.value


def _place(wanted: Term, dim: Term, mode: str) -> Term:
    """Which element stands at a place that may be before the first or beyond the last."""
    if mode == "wrap":
        return wanted % dim
    if mode == "reflect":
        there_and_back = (dim - 1) * 2
        forth = wanted % there_and_back
        return forth.at_most(there_and_back - forth)
    if mode == "constant":
        return wanted.compare("lt", 0).where(dim, wanted).at_most(dim)
    return wanted.at_least(0).at_most(dim - 1)


def _with_one_more(x: Term, axis: int) -> Pad:
    """An element behind the last, for places outside: a dim may be empty."""
    rank = len(x.dims)
    return Pad(x.value, (ZERO,) * rank, tuple(ONE if i == axis else ZERO for i in range(rank)), 0)


def _value(node: OnnxNode) -> Term:
    """What a constant padding is filled with."""
    if node.input(2) is None:
        return Term(node, node.operand(0)).like(0)
    return Term(node, node.operand(2)).reshape()
