"""Planted bugs in the passes that make kernels for GPUs and matrix units, each found on the program of the guilty pass's own text test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from planted import Mutant, Patch, text_test, verdict

from headrace.ir.access import Access, AccessMap
from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Wait
from headrace.ir.pipeline import Pipeline
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import load_hir
from headrace.passes.kernel import (
    accumulate,
    double_buffer,
    expand_mma,
    online_softmax,
    pad_reduction,
    split_reduction,
    split_terms,
    stage_shared,
    tensorize,
)


def rows_outside_are_read() -> Patch:
    return accumulate._Parts, "_padded", lambda parts, read: read


def one_sum_for_all_rows() -> Patch:
    def wrong(state: Sequence[Value], tile: Any, names: Any) -> tuple[Access, ...]:
        return tuple(Access(buffer, AccessMap((Dim.constant(0),))) for buffer in state)

    return accumulate, "_at", wrong


def everything_is_summed() -> Patch:
    right = accumulate._Parts.write

    def wrong(parts: Any) -> None:
        parts.ties = ()
        right(parts)

    return accumulate._Parts, "write", wrong


def nobody_waits() -> Patch:
    return stage_shared, "Barrier", lambda: Wait(())


def tiles_from_the_corner() -> Patch:
    right = stage_shared._Tile.copy

    def wrong(tile: Any, *given: Any) -> Any:
        tile.boxes = [replace(box, start=Dim.constant(0)) for box in tile.boxes]
        return right(tile, *given)

    return stage_shared._Tile, "copy", wrong


def gaps_are_forgotten() -> Patch:
    right = stage_shared._Tile.copy

    def wrong(tile: Any, *given: Any) -> Any:
        tile.boxes = [replace(box, step=1) for box in tile.boxes]
        return right(tile, *given)

    return stage_shared._Tile, "copy", wrong


def one_half_for_all() -> Patch:
    right = double_buffer._copy

    def wrong(copy: Any, builder: Any, now: Any, half: Dim, *rest: Any) -> None:
        right(copy, builder, now, Dim.constant(0), *rest)

    return double_buffer, "_copy", wrong


def the_first_part_only() -> Patch:
    def wrong(parts: Sequence[Value], index: Dim) -> tuple[Access, ...]:
        return tuple(Access(part, AccessMap((index - index + 0,))) for part in parts)

    return split_reduction, "_at", wrong


def nothing_is_scaled() -> Patch:
    right = online_softmax._Blocks._sum_up

    def wrong(blocks: Any) -> None:
        blocks.scale = blocks.sum
        right(blocks)

    return online_softmax._Blocks, "_sum_up", wrong


def columns_beyond_have_weight() -> Patch:
    return online_softmax._Blocks, "_hide", lambda blocks, finish: None


def the_same_terms_for_all() -> Patch:
    return split_terms, "rewrite_formulas", lambda op, rewriter, values: None


def terms_that_do_not_exist() -> Patch:
    """In place of the question whether the target has such a unit: this one has none."""

    def wrong(product: Mma, units: object) -> None:
        Rewriter().set_attribute(product, "where", ())

    return tensorize, "_check_unit", wrong


def ones_outside() -> Patch:
    return pad_reduction, "zero_of", lambda buffer: 1.0


def only_the_last_term() -> Patch:
    return expand_mma.ScalarBuilder, "muladd", lambda b, lhs, rhs, total: b.mul(lhs, rhs)


MUTANTS = (
    Mutant("rows outside are read", "kernel.accumulate", rows_outside_are_read),
    Mutant("one sum for all rows", "kernel.accumulate", one_sum_for_all_rows),
    Mutant("everything is summed", "kernel.accumulate", everything_is_summed),
    Mutant("nobody waits", "kernel.stage-shared", nobody_waits),
    Mutant("tiles from the corner", "kernel.stage-shared", tiles_from_the_corner),
    Mutant("gaps are forgotten", "kernel.stage-shared", gaps_are_forgotten),
    Mutant("one half for all", "kernel.double-buffer", one_half_for_all),
    Mutant("nothing is scaled", "kernel.online-softmax", nothing_is_scaled),
    Mutant("columns beyond have weight", "kernel.online-softmax", columns_beyond_have_weight),
    Mutant("the same terms for all", "kernel.split-terms", the_same_terms_for_all),
    Mutant("the first part only", "kernel.split-reduction", the_first_part_only),
    Mutant("ones outside", "kernel.pad-reduction", ones_outside),
    Mutant("terms that do not exist", "kernel.tensorize", terms_that_do_not_exist),
    Mutant("only the last term", "kernel.expand-mma", only_the_last_term),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_named(mutant: Mutant) -> None:
    pipeline, path = text_test(mutant)
    assert verdict(mutant, [load_hir(path)], Pipeline.parse(pipeline)) == "caught"
