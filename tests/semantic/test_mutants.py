"""Passes with planted bugs: the semantic check must name the pass that is wrong, and no other.

Each mutant replaces one function of a pass, or of what it asks, while that pass runs.  The models are small, and
between them reach what the mutants touch: padding, epilogues, tails, live buffers, transposes, exponentials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planted import Mutant, Patch, missed, run

from headrace.compiler.demo_data import model_path
from headrace.compiler.frontends.onnx import import_model
from headrace.ir.access import AccessMap
from headrace.ir.core import Operation, Region, Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.ops import arithmetic, conv, normalization, softmax, transpose
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.kernel.ops import control
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.program.ops.program import Alloc
from headrace.ir.semantic import SemanticCheck
from headrace.ir.text import parse_module
from headrace.ir.types import F32
from headrace.passes.graph import canonicalize, fold_batch_norm, fold_constants, merge_products, place_parts
from headrace.passes.kernel import flatten, peel, prefetch_panels, tile
from headrace.passes.kernel import pack as pack_pass
from headrace.passes.lowering import cluster, elementary, host, padding, structured, widen
from headrace.passes.program import plan_memory, update_in_place

TEXT = """
module {
  graph.func @main(%x: f32[n, 2, 5, 5], %t: f32[3, 3, 3]) {input_names = ["x", "t"], output_names = ["y", "u"]} {
    %w = graph.constant {value = dense<[[[[1.0, -2.0]], [[0.5, 1.5]]], [[[2.0, 3.0]], [[-1.0, 0.25]]]]> : f32[2, 2, 1, 2]} : f32[2, 2, 1, 2]
    %b = graph.constant {value = dense<[0.25, -0.75]> : f32[2]} : f32[2]
    %f = graph.constant {value = dense<[[[2.0]], [[3.0]]]> : f32[2, 1, 1]} : f32[2, 1, 1]
    %row = graph.constant {value = dense<[2.0, 0.5]> : f32[2]} : f32[2]
    %half = graph.constant {value = dense<[0.5]> : f32[1]} : f32[1]
    %0 = graph.conv %x, %w b(%b) {strides = [1, 3], dilations = [1, 1], before = [1, 1], after = [1, 0]} : f32[n, 2, 7, 2]
    %1 = graph.mul %0, %f : f32[n, 2, 7, 2]
    %2 = graph.mul %1, %row : f32[n, 2, 7, 2]
    %3 = graph.add %2, %half : f32[n, 2, 7, 2]
    %4 = graph.tanh %3 : f32[n, 2, 7, 2]
    %5 = graph.softmax %4 {axes = [2]} : f32[n, 2, 7, 2]
    %6 = graph.add %5, %4 : f32[n, 2, 7, 2]
    %y = graph.slice %6 {starts = [0, 0, 2, 0], sizes = [n, 2, 4, 2], steps = [1, 1, 1, 1]} : f32[n, 2, 4, 2]
    %z = graph.slice %y {starts = [0, 0, 1, 0], sizes = [n, 2, 3, 2], steps = [1, 1, 1, 1]} : f32[n, 2, 3, 2]
    %8 = graph.transpose %t {perm = [1, 2, 0]} : f32[3, 3, 3]
    %9 = graph.transpose %8 {perm = [1, 0, 2]} : f32[3, 3, 3]
    %10 = graph.exp %9 : f32[3, 3, 3]
    %11 = graph.neg %half : f32[1]
    %12 = graph.mul %10, %11 : f32[3, 3, 3]
    %13 = graph.transpose %t {perm = [1, 2, 0]} : f32[3, 3, 3]
    %u = graph.sub %12, %13 : f32[3, 3, 3]
    graph.return %z, %u
  }
}
"""

# Branches of one input, a concat of what is made of them, and results with operands that are needed again or not.
PARTS = """
module {
  graph.func @main(%x: f32[n, 8, 4]) {facts = ["n in [1, inf]"], input_names = ["x"], output_names = ["y", "z"]} {
    %q = graph.constant {value = dense<[[1.0, 2.0], [-1.0, 0.5], [0.25, 1.0], [2.0, -0.5]]> : f32[4, 2]} : f32[4, 2]
    %k = graph.constant {value = dense<[[0.5, 1.0], [1.0, -2.0], [-0.5, 0.75], [1.5, 1.0]]> : f32[4, 2]} : f32[4, 2]
    %w = graph.constant {value = dense<[[0.5, 1.0, -0.5, 0.25], [1.0, -1.0, 0.5, 0.75], [-0.5, 0.5, 1.0, -1.0], [0.25, 1.0, -1.0, 0.5]]> : f32[4, 4]} : f32[4, 4]
    %0 = graph.matmul %x, %q : f32[n, 8, 2]
    %1 = graph.matmul %x, %k : f32[n, 8, 2]
    %2 = graph.softmax %0 {axes = [1]} : f32[n, 8, 2]
    %3 = graph.softmax %1 {axes = [2]} : f32[n, 8, 2]
    %4 = graph.concat %2, %3 {axis = 2} : f32[n, 8, 4]
    %5 = graph.matmul %4, %w : f32[n, 8, 4]
    %6 = graph.tanh %5 : f32[n, 8, 4]
    %7 = graph.matmul %6, %w : f32[n, 8, 4]
    %8 = graph.add %7, %4 : f32[n, 8, 4]
    %9 = graph.matmul %8, %w : f32[n, 8, 4]
    %10 = graph.add %9, %4 : f32[n, 8, 4]
    %y = graph.matmul %10, %w : f32[n, 8, 4]
    graph.return %y, %1
  }
}
"""

# ---- the bugs ------------------------------------------------------------------------------------------------


def rolled() -> Patch:
    right = fold_constants._evaluated
    return fold_constants, "_evaluated", lambda op, xs: [np.roll(a, 1) + a.dtype.type(1) for a in right(op, xs)]


def coarse() -> Patch:
    right = fold_constants._evaluated
    return fold_constants, "_evaluated", lambda op, xs: [a + a.dtype.type(1) / 1024 for a in right(op, xs)]


def folded_away() -> Patch:
    right = fold_constants.folded_value

    def wrong(op: Operation) -> Value | None:
        return op.operands[0] if op.name in ("graph.relu", "graph.tanh") else right(op)

    return fold_constants, "folded_value", wrong


def rule(of: type, wrong: Callable[[Any], Any]) -> Callable[[], Patch]:
    return lambda: (canonicalize, "RULES", {**canonicalize.RULES, of: (wrong,)})


def wrong_permutation(op: transpose.Transpose) -> Any:
    inner = producer(op.x, transpose.Transpose)
    return transpose.Transpose(inner.x, tuple(op.perm[p] for p in inner.perm)) if inner else None


def forgotten_start(op: Slice) -> Any:
    inner = producer(op.x, Slice)
    return Slice(inner.x, op.starts, op.sizes, op.steps) if inner else None


def dropped_half(op: arithmetic.Add) -> Any:
    return op.a if canonicalize._elements(op.b) is not None else None


def all_per_channel() -> Patch:
    right = fold_batch_norm._is_per_channel
    return fold_batch_norm, "_is_per_channel", lambda n, of, axis: right(n, of, axis) or right(n, of, axis + 2)


def added_factor() -> Patch:
    return (
        fold_batch_norm,
        "_scaled",
        lambda b, w, f, rank: b.add(arithmetic.Add(w, fold_batch_norm._row(b, f, rank))).result,
    )


def unscaled_bias() -> Patch:
    right = fold_batch_norm._scaled
    return fold_batch_norm, "_scaled", lambda b, w, f, rank: w if rank == 1 else right(b, w, f, rank)


def decomposed(cls: type, change: Callable[[Value], Value]) -> Callable[[], Patch]:
    right = cls.decompose

    def wrong(self: Any, builder: Any) -> Any:
        found = right(self, builder)
        return None if found is None else [change(v) for v in found]

    return lambda: (cls, "decompose", wrong)


def without_last(value: Value) -> Value:
    """What the last operation of a decomposition got, where that is of the same type."""
    above = value.owner
    assert isinstance(above, Operation)
    return next((o for o in above.operands if o.type == value.type), value)


def padded_with_one() -> Patch:
    right = structured._Puller._element

    def wrong(self: Any, value: Value, map: AccessMap) -> Value:
        return right(self, value, map if map.otherwise is None else replace(map, otherwise=1.0))

    return structured._Puller, "_element", wrong


def border_beside() -> Patch:
    right = padding._place
    return padding, "_place", lambda pad, place: right(pad, place) // 2 * 2


def beside_the_middle() -> Patch:
    right = cluster.middle

    def wrong(result: Value) -> tuple[Value, Any]:
        value, begins = right(result)
        return value, tuple(n * 2 if n == 1 else n for n in begins[:2]) + begins[2:]

    return cluster, "middle", wrong


def dropped_bias() -> Patch:
    return conv.Conv, "finish", lambda self, b, index, state: state[0]


def other_way() -> Patch:
    def wrong(self: Any, index: Any) -> Any:
        return tuple(index[p] for p in self.perm)

    return transpose.Transpose, "source", wrong


def in_any_order() -> Patch:
    def wrong(access: Any, outer: Any, inner: Any, mentioned: Any) -> int | None:
        return mentioned[0] if len(mentioned) == 2 and mentioned[0] + 1 == mentioned[1] else None

    return flatten, "_place", wrong


def no_tail() -> Patch:
    return tile, "ceildiv", lambda extent, by: extent // by


def no_condition() -> Patch:
    right = tile.Tile.run

    def wrong(self: tile.Tile, module: Module, rewriter: Any, context: PassContext) -> None:
        right(self, module, rewriter, context)
        op = tile.with_axis(tile.kernel_named(module, self.func), f"{self.axis}_o")
        rewriter.set_attribute(op, "where", ())

    return tile.Tile, "run", wrong


def shifted_index() -> Patch:
    right = tile.rewrite_formulas

    def wrong(op: Any, rewriter: Any, values: Mapping[str, Any]) -> None:
        right(op, rewriter, {k: v // 2 * 2 for k, v in values.items()})

    return tile, "rewrite_formulas", wrong


def other_panel() -> Patch:
    right = pack_pass.Pack._map

    def wrong(self: Any, op: Any, map: AccessMap) -> AccessMap:
        found = right(self, op, map)
        return AccessMap(((found.indices[0] + 1) % 2, *found.indices[1:]))

    return pack_pass.Pack, "_map", wrong


def first_in_panel() -> Patch:
    right = pack_pass.Pack._map

    def wrong(self: Any, op: Any, map: AccessMap) -> AccessMap:
        found = right(self, op, map)
        return AccessMap((*found.indices[:-1], (found.indices[-1] + 1) % self.by))

    return pack_pass.Pack, "_map", wrong


def lost_mask() -> Patch:
    return widen, "lane_range", lambda conditions, axis, lanes, facts: None


def from_the_first_row() -> Patch:
    right = peel.Peel._part

    def wrong(self: Any, op: Any, size: int, base: Any, *rest: Any) -> Any:
        return right(self, op, size, base * 0, *rest)

    return peel.Peel, "_part", wrong


def kept_condition() -> Patch:
    """Pieces for whole tiles only."""
    return peel, "If", lambda condition, where, then, otherwise: control.If(condition, where, then, Region())


def one_row_too_few() -> Patch:
    right = peel.Peel._part

    def wrong(self: Any, op: Any, size: int, *rest: Any) -> Any:
        return right(self, op, max(1, size - 1), *rest)

    return peel.Peel, "_part", wrong


def first_steps_only() -> Patch:
    right = prefetch_panels.rewrite_formulas

    def wrong(op: Operation, rewriter: Any, values: Mapping[str, Any]) -> None:
        right(op, rewriter, {k: Dim.symbol(v.symbols[0]) for k, v in values.items()})

    return prefetch_panels, "rewrite_formulas", wrong


def coefficient() -> Patch:
    exact = elementary.FORMATS[F32]
    wrong = replace(exact, exp=(exact.exp[0] * 1.001, *exact.exp[1:]))
    return elementary, "FORMATS", {**elementary.FORMATS, F32: wrong}


def tanh_coefficient() -> Patch:
    exact = elementary.FORMATS[F32]
    wrong = replace(exact, tanh=(exact.tanh[0] * 1.001, *exact.tanh[1:]))
    return elementary, "FORMATS", {**elementary.FORMATS, F32: wrong}


def bias() -> Patch:
    exact = elementary.FORMATS[F32]
    return elementary, "FORMATS", {**elementary.FORMATS, F32: replace(exact, bias=exact.bias + 1)}


def all_from_the_first() -> Patch:
    def wrong(x: Value, starts: Any, sizes: Any, steps: Any) -> Slice:
        return Slice(x, tuple(s * 0 for s in starts), sizes, steps)

    return merge_products, "Slice", wrong


def parts_swapped() -> Patch:
    right = place_parts._Placing._take_out

    def wrong(self: Any, group: Any, concat: Any, pad: Any, xs: Any) -> None:
        right(self, group, concat, pad, xs[::-1])

    return place_parts._Placing, "_take_out", wrong


def part_in_part() -> Patch:
    right = host.operand_parts
    return host, "operand_parts", lambda op, strides: [(start * 0, inner) for start, inner in right(op, strides)]


def needed_again() -> Patch:
    def wrong(old: Value, new: Value, launch: Operation, place: Mapping[Operation, int]) -> bool:
        return all(producer(v, Alloc) is not None for v in (old, new)) and old is not new

    return update_in_place, "_is_replaceable", wrong


def never_meet() -> Patch:
    return plan_memory, "neighbours", lambda lives: {life.alloc: [] for life in lives}


def dead_early() -> Patch:
    right = plan_memory.lifetimes
    return plan_memory, "lifetimes", lambda f: [replace(life, last=life.first) for life in right(f)]


def too_small() -> Patch:
    right = plan_memory.aligned_bytes
    return plan_memory, "aligned_bytes", lambda alloc: right(alloc) // 128 * 64


MUTANTS = (
    Mutant("elements in another order", "graph.fold-constants", rolled),
    Mutant("inexact arithmetic", "graph.fold-constants", coarse),
    Mutant("an operation that does something", "graph.fold-constants", folded_away),
    Mutant("permutations composed the wrong way", "graph.canonicalize", rule(transpose.Transpose, wrong_permutation)),
    Mutant("start of the inner slice forgotten", "graph.canonicalize", rule(Slice, forgotten_start)),
    Mutant("an addend that is not nothing", "graph.canonicalize", rule(arithmetic.Add, dropped_half)),
    Mutant("factor along another axis", "graph.fold-batch-norm", all_per_channel),
    Mutant("factor added", "graph.fold-batch-norm", added_factor),
    Mutant("bias not scaled", "graph.fold-batch-norm", unscaled_bias),
    Mutant("normalisation without its addend", "graph.decompose", decomposed(normalization.BatchNorm, without_last)),
    Mutant("softmax not normalised", "graph.decompose", decomposed(softmax.Softmax, without_last)),
    Mutant("softmax along the wrong axis", "graph.decompose", lambda: (softmax.Softmax, "axes", (1,))),
    Mutant("padding of one", "kernel.lower", padded_with_one),
    Mutant("a border with gaps", "kernel.lower", border_beside),
    Mutant("a row beside the middle", "kernel.lower", beside_the_middle),
    Mutant("epilogue dropped", "kernel.lower", dropped_bias),
    Mutant("inverse permutation", "kernel.lower", other_way),
    Mutant("rows in another order", "kernel.flatten", in_any_order),
    Mutant("tail lost", "kernel.tile", no_tail),
    Mutant("condition lost", "kernel.tile", no_condition),
    Mutant("elements written twice", "kernel.tile", shifted_index),
    Mutant("another panel", "kernel.pack", other_panel),
    Mutant("the neighbour in the panel", "kernel.pack", first_in_panel),
    Mutant("mask lost", "kernel.realize", lost_mask),
    Mutant("the last rows from the first row on", "kernel.peel", from_the_first_row),
    Mutant("one row too few", "kernel.peel", one_row_too_few),
    Mutant("no pieces", "kernel.peel", kept_condition),
    Mutant("some steps of a panel again and again", "kernel.prefetch-panels", first_steps_only),
    Mutant("coefficient of exp", "kernel.expand-math", coefficient),
    Mutant("coefficient of tanh", "kernel.expand-math", tanh_coefficient),
    Mutant("bias of the exponent", "kernel.expand-math", bias),
    Mutant("all branches are the first", "graph.merge-products", all_from_the_first),
    Mutant("parts in another order", "graph.place-parts", parts_swapped),
    Mutant("parts that overlap", "kernel.lower", part_in_part),
    Mutant("an operand that is needed again", "program.update-in-place", needed_again),
    Mutant("lifetimes ignored", "program.plan-memory", never_meet),
    Mutant("lifetimes cut short", "program.plan-memory", dead_early),
    Mutant("buffers too small", "program.plan-memory", too_small),
)


# ---- the check -----------------------------------------------------------------------------------------------


def models() -> Iterator[Module]:
    yield parse_module(TEXT)
    yield parse_module(PARTS)
    yield import_model(model_path())


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_no_false_alarm(preset: str) -> None:
    for module in models():
        check = SemanticCheck()
        run(module, check, preset)
        assert check.checked / (check.checked + len(check.unchecked)) >= 0.95, check.summary()


@pytest.mark.slow
def test_mutants_are_named() -> None:
    assert len(MUTANTS) == 38
    assert not missed(MUTANTS, models)
