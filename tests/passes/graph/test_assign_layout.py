"""graph.assign-layout: where transposes end up, and that the function stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.verify import verify
from headrace.passes.graph.assign_layout import AssignLayout
from headrace.passes.graph.canonicalize import Canonicalize
from headrace.passes.graph.cse import Cse
from headrace.passes.graph.dce import Dce
from headrace.targets import find_target

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

PLAIN = "strides = [1, 1], dilations = [1, 1], before = [0, 0], after = [0, 0]"
HEAD = f"""%w = graph.constant {{value = dense<{[[[[i + 2.0 * j]] for i in range(4)] for j in range(4)]}> : f32[4, 4, 1, 1]}} : f32[4, 4, 1, 1]
%c = graph.conv %x, %w {{{PLAIN}}} : f32[n, 4, 2, 3]
%t = graph.constant {{value = dense<[1.0, 2.0, 3.0, 4.0]> : f32[4]}} : f32[4]
%d = graph.conv %x, %w b(%t) {{{PLAIN}}} : f32[n, 4, 2, 3]"""

# What follows two convolutions of %x, and the operations with a transpose as operand, in order.
CASES = {
    "a transpose meets its opposite": (
        f"""%0 = graph.relu %c : f32[n, 4, 2, 3]
        %1 = graph.conv %0, %w {{{PLAIN}}} : f32[n, 4, 2, 3]
        graph.return %1""",
        ["conv", "return"],
    ),
    "a small operand is transposed instead": (
        """%0 = graph.mul %c, %s : f32[n, 4, 2, 3]
        graph.return %0""",
        ["conv", "return"],
    ),
    "an operand of the same size too": (
        f"""%0 = graph.add %x, %c : f32[n, 4, 2, 3]
        %1 = graph.conv %0, %w {{{PLAIN}}} : f32[n, 4, 2, 3]
        graph.return %1""",
        ["conv", "add", "return"],
    ),
    "larger operands are not": (
        """%0 = graph.reduce %c {kind = max, axes = [2, 3], keepdims = true} : f32[n, 4, 1, 1]
        %1 = graph.concat %0, %0 {axis = 3} : f32[n, 4, 1, 2]
        %2 = graph.concat %x, %x {axis = 2} : f32[n, 4, 4, 3]
        %3 = graph.slice %2 {starts = [0, 0, 0, 0], sizes = [n, 4, 4, 2], steps = [1, 1, 1, 1]} : f32[n, 4, 4, 2]
        %4 = graph.add %3, %1 : f32[n, 4, 4, 2]
        graph.return %4""",
        ["conv", "add"],
    ),
    "concatenations": (
        """%0 = graph.concat %c, %x, %d {axis = 2} : f32[n, 4, 6, 3]
        graph.return %0""",
        ["conv", "conv", "concat", "return"],
    ),
    "a mean over the image has no order of dims": (
        """%0 = graph.reduce %c {kind = mean, axes = [2, 3], keepdims = false} : f32[n, 4]
        graph.return %0""",
        ["conv"],
    ),
    "nor has it with dims of 1": (
        """%0 = graph.reduce %c {kind = mean, axes = [2, 3], keepdims = true} : f32[n, 4, 1, 1]
        %1 = graph.reshape %0 {dims = [n, 4]} : f32[n, 4]
        graph.return %1""",
        ["conv"],
    ),
    "a maximum over channels": (
        """%0 = graph.reduce %c {kind = max, axes = [1], keepdims = false} : f32[n, 2, 3]
        graph.return %0""",
        ["conv"],
    ),
    "a sum over rows": (
        """%0 = graph.reduce %c {kind = sum, axes = [2], keepdims = false} : f32[n, 4, 3]
        %1 = graph.relu %0 : f32[n, 4, 3]
        graph.return %1""",
        ["conv", "return"],
    ),
    "rows and columns are joined": (
        """%0 = graph.reshape %c {dims = [n, 4, 6]} : f32[n, 4, 6]
        %1 = graph.transpose %0 {perm = [0, 2, 1]} : f32[n, 6, 4]
        %2 = graph.neg %1 : f32[n, 6, 4]
        graph.return %2""",
        ["conv"],
    ),
    "channels are split": (
        """%0 = graph.reshape %c {dims = [n, 2, 2, 2, 3]} : f32[n, 2, 2, 2, 3]
        %1 = graph.neg %0 : f32[n, 2, 2, 2, 3]
        %2 = graph.transpose %1 {perm = [0, 3, 4, 1, 2]} : f32[n, 2, 3, 2, 2]
        graph.return %2""",
        ["conv"],
    ),
    "channels and rows are not joined": (
        """%0 = graph.reshape %c {dims = [n, 8, 3]} : f32[n, 8, 3]
        %1 = graph.neg %0 : f32[n, 8, 3]
        graph.return %1""",
        ["conv", "reshape"],
    ),
    "slices and pads": (
        """%0 = graph.slice %c {starts = [0, 1, 0, 2], sizes = [n, 2, 2, 2], steps = [1, 2, 1, -1]} : f32[n, 2, 2, 2]
        %1 = graph.pad %0 {before = [0, 1, 0, 2], after = [0, 0, 1, 0], value = 1.5} : f32[n, 3, 3, 4]
        graph.return %1""",
        ["conv", "return"],
    ),
    "a pooling that is channels last as it is": (
        f"""%0 = graph.max_pool %c {{kernel = [1, 2], {PLAIN}, channels_last = true}} : f32[n, 4, 1, 3]
        graph.return %0""",
        ["conv", "max_pool"],
    ),
    "two users": (
        """%0 = graph.neg %c : f32[n, 4, 2, 3]
        %1 = graph.abs %c : f32[n, 4, 2, 3]
        %2 = graph.sub %0, %1 : f32[n, 4, 2, 3]
        graph.return %2, %c""",
        ["conv", "return", "return"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sinks(bench: Callable[[str], Bench], case: str) -> None:
    body, expected = CASES[case]
    subject = bench(f"(%x: f32[n, 4, 2, 3], %s: f32[4, 1, 1]) {{\n{HEAD}\n{body}\n}}")
    rng = np.random.default_rng(0)
    x, s = (rng.integers(-8, 8, shape).astype(np.float32) for shape in ((2, 4, 2, 3), (4, 1, 1)))
    before = subject.evaluate([x, s], {"n": 2})
    preset, target = find_target("x86-64-v3")
    for one in (AssignLayout(), Canonicalize(), Cse(), Dce()):
        one.run(subject.module, Rewriter(), PassContext(target.presets[preset]))
        verify(subject.module)
    lazy = lazy_values(subject.main.block)
    found = [
        operation.name.partition(".")[2]
        for operation in subject.main.block.operations
        for operand in dict.fromkeys(operation.operands)
        if operand not in lazy and isinstance(operand.owner, Transpose)
    ]
    assert found == expected
    for old, new in zip(before, subject.evaluate([x, s], {"n": 2}), strict=True):
        np.testing.assert_array_equal(old, new)
