"""More planted bugs, each found on the program of the guilty pass's own text test: what reaches the pass reaches the bug.

`tests/passes/kernel/jam.hir` is the program for `kernel.jam`, its RUN line the pipeline.  Where that program is too
kind to a bug, the mutant brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from planted import Mutant, Patch, text_test, verdict

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.ops.arithmetic import Abs
from headrace.ir.graph.ops.func import Yield
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.kernel.ops import control
from headrace.ir.pipeline import Pipeline
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import load_hir, parse_module
from headrace.passes.graph import (
    assign_layout,
    cluster,
    cluster_rows,
    cse,
    divide_once,
    pad_windows,
    scale_last,
    share_padding,
)
from headrace.passes.kernel import (
    bind,
    bind_reduction,
    block_rows,
    jam,
    merge_alike,
    reorder,
    stage,
    versions,
)

# Cubes: a dim that is taken for another has the same extent.
WEIGHTS = [[[[float(4 * f + c)]] for c in range(4)] for f in range(8)]
CUBES = f"""
graph.func @main(%x: f32[n, 4, 8, 8]) {{input_names = ["x"], output_names = ["y"]}} {{
  %w = graph.constant {{value = dense<{WEIGHTS}> : f32[8, 4, 1, 1]}} : f32[8, 4, 1, 1]
  %0 = graph.conv %x, %w {{strides = [1, 1], dilations = [1, 1], before = [0, 0], after = [0, 0]}} : f32[n, 8, 8, 8]
  %y = graph.slice %0 {{starts = [0, 0, 4, 1], sizes = [n, 4, 4, 4], steps = [1, 1, 1, 1]}} : f32[n, 4, 4, 4]
  graph.return %y
}}
"""

SLOPES = """
graph.func @main(%x: f32[n, 8]) {input_names = ["x"], output_names = ["y"]} {
  %0 = graph.leaky_relu %x {alpha = 0.5} : f32[n, 8]
  %1 = graph.leaky_relu %x {alpha = 0.25} : f32[n, 8]
  %y = graph.sub %0, %1 : f32[n, 8]
  graph.return %y
}
"""

LONG = "".join(f"%a{n + 1} = kernel.add %a{n}, %a0 : vector<8xf32>\n" for n in range(12))

APART = f"""
kernel.func @f(%x: buffer<f32[4, 8]>, %y: buffer<f32[4, 8]>) {{outputs = 1}} {{
  kernel.parallel (i: task 1) {{
    kernel.for (u: unroll 4) {{
      %a0 = kernel.load %x[u, 0] {{lanes = 8}} : vector<8xf32>
      {LONG}
      kernel.store %a12, %y[u, 0]
    }}
  }}
}}
"""

# Each iteration waits for what the one before it has stored.
SUM = f"""
kernel.func @f(%x: buffer<f32[4, 8]>, %y: buffer<f32[8]>) {{outputs = 1}} {{
  kernel.parallel (i: task 1) {{
    %s = kernel.alloc {{type = buffer<f32[1, 8], register>}} : buffer<f32[1, 8], register>
    %z = kernel.constant {{value = 0.0, type = vector<8xf32>}} : vector<8xf32>
    kernel.store %z, %s[0, 0]
    kernel.for (u: unroll 4) {{
      %a0 = kernel.load %x[u, 0] {{lanes = 8}} : vector<8xf32>
      {LONG}
      %t = kernel.load %s[0, 0] {{lanes = 8}} : vector<8xf32>
      %r = kernel.add %t, %a12 : vector<8xf32>
      kernel.store %r, %s[0, 0]
    }}
    %l = kernel.load %s[0, 0] {{lanes = 8}} : vector<8xf32>
    kernel.store %l, %y[0]
  }}
}}
"""


# ---- graph -----------------------------------------------------------------------------------------------------


def without_last(value: Value) -> Value:
    """What the operation that makes a value got, where that is of the same type."""
    above = value.owner
    assert isinstance(above, Operation)
    return next((o for o in above.operands if o.type == value.type), value)


def last_left_out() -> Patch:
    return cluster, "Yield", lambda values: Yield(tuple(without_last(v) for v in values))


def spread_left_out() -> Patch:
    right = cluster_rows._with_spread

    def wrong(member: Any, spread: Any, values: Any) -> Any:
        copy = right(member, spread, values)
        block = copy.body.block
        Rewriter().set_operand(block.terminator, 0, without_last(block.terminator.operands[0]))
        return copy

    return cluster_rows, "_with_spread", wrong


def attributes_ignored() -> Patch:
    return cse, "attributes_key", lambda a: None


def in_old_layout() -> Patch:
    right = assign_layout._Layout._in_layout

    def wrong(self: Any, value: Value, perm: Any, build: Any) -> Value:
        return value if value in self.lazy else right(self, value, perm, build)

    return assign_layout._Layout, "_in_layout", wrong


def attributes_in_old_order() -> Patch:
    return assign_layout, "_permuted", lambda parts, order: parts


def zeros_around() -> Patch:
    return pad_windows, "lowest", lambda dtype: 0.0


def ends_change_places() -> Patch:
    return pad_windows, "Pad", lambda x, before, after, value: Pad(x, after, before, value)


def from_the_corner() -> Patch:
    right = share_padding._part
    return share_padding, "_part", lambda padded, starts, sizes: right(padded, [Dim.constant(0) for _ in starts], sizes)


def times_the_divisor() -> Patch:
    return divide_once, "Reciprocal", Abs


def scaled_twice() -> Patch:
    right = scale_last._scaled_rows

    def wrong(product: Any) -> Any:
        found = right(product)
        return None if found is None else (product.a, found[1])

    return scale_last, "_scaled_rows", wrong


# ---- kernel ----------------------------------------------------------------------------------------------------


def constants_ignored() -> Patch:
    right = merge_alike._anonymous
    return merge_alike, "_anonymous", lambda function: re.sub(r"value = \S+", "", right(function))


def one_row_of_scratch() -> Patch:
    right = block_rows.BlockRows._map
    return block_rows.BlockRows, "_map", lambda self, map, row: right(self, map, row * 0)


def no_last_task() -> Patch:
    return block_rows, "ceildiv", lambda extent, by: extent // by


def first_of_each_row() -> Patch:
    def wrong(value: Any, map: AccessMap) -> Access:
        last = map.indices[-1] * 0 if len(map.indices) > 1 else map.indices[-1]
        return Access(value, AccessMap((*map.indices[:-1], last)))

    return stage, "Access", wrong


def same_iteration() -> Patch:
    right = jam.substitute_all

    def wrong(attributes: Any, values: Mapping[str, Dim]) -> Any:
        return right(attributes, {k: v - v.offset for k, v in values.items()})

    return jam, "substitute_all", wrong


def iterations_that_meet() -> Patch:
    return jam, "_is_apart", lambda target, body, axis: True


def largest_only() -> Patch:
    return versions, "If", lambda condition, where, then, otherwise: control.If(condition, where, then, Region())


def first_row_only() -> Patch:
    right = versions.rewrite_formulas

    def wrong(op: Any, rewriter: Any, values: Mapping[str, Dim]) -> None:
        right(op, rewriter, {k: v * 0 if k == "r" else v for k, v in values.items()})

    return versions, "rewrite_formulas", wrong


def one_lane_too_few() -> Patch:
    return bind, "replace", lambda axis, kind: replace(axis, kind=kind, extent=axis.extent - 1)


def half_the_lanes() -> Patch:
    return bind_reduction, "replace", lambda axis, kind: replace(axis, kind=kind, extent=axis.extent // 2)


def extents_stay_behind() -> Patch:
    right = reorder.set_axes

    def wrong(op: Any, rewriter: Any, axes: Any) -> None:
        pairs = zip(axes, [a.extent for a in op.axes], strict=True)
        right(op, rewriter, [Axis(a.name, a.kind, extent) for a, extent in pairs])

    return reorder, "set_axes", wrong


# ---- the check -------------------------------------------------------------------------------------------------

MUTANTS: tuple[tuple[Mutant, str], ...] = (
    (Mutant("last operation left out", "graph.cluster", last_left_out), ""),
    (Mutant("a member without its last operation", "graph.cluster-rows", spread_left_out), ""),
    (Mutant("attributes ignored", "graph.cse", attributes_ignored), SLOPES),
    (Mutant("an operand left as it was", "graph.assign-layout", in_old_layout), ""),
    (Mutant("starts in the old order", "graph.assign-layout", attributes_in_old_order), CUBES),
    (Mutant("zeros around a maximum", "graph.pad-windows", zeros_around), ""),
    (Mutant("begin and end change places", "graph.pad-windows", ends_change_places), ""),
    (Mutant("parts from the corner on", "graph.share-padding", from_the_corner), ""),
    (Mutant("times the divisor", "graph.divide-once", times_the_divisor), ""),
    (Mutant("rows scaled twice", "graph.scale-last", scaled_twice), ""),
    (Mutant("constants ignored", "kernel.merge-alike", constants_ignored), ""),
    (Mutant("one row of scratch for all", "kernel.block-rows", one_row_of_scratch), ""),
    (Mutant("no last task", "kernel.block-rows", no_last_task), ""),
    (Mutant("the first element of each row", "kernel.stage", first_of_each_row), ""),
    (Mutant("the same iteration again", "kernel.jam", same_iteration), APART),
    (Mutant("iterations that meet in memory", "kernel.jam", iterations_that_meet), SUM),
    (Mutant("the largest extent only", "kernel.versions", largest_only), ""),
    (Mutant("the first row only", "kernel.versions", first_row_only), ""),
    (Mutant("one iteration too few", "kernel.bind", one_lane_too_few), ""),
    (Mutant("half the lanes", "kernel.bind-reduction", half_the_lanes), ""),
    (Mutant("extents stay behind", "kernel.reorder", extents_stay_behind), ""),
)


@pytest.mark.parametrize(("mutant", "text"), MUTANTS, ids=lambda p: p.name if isinstance(p, Mutant) else "")
def test_mutant_is_named(mutant: Mutant, text: str) -> None:
    pipeline, path = text_test(mutant)
    modules = [parse_module(f"module {{{text}}}") if text else load_hir(path)]
    assert verdict(mutant, modules, Pipeline.parse(pipeline)) == "caught"
