"""graph.share-padding: who reads the padded buffer, rule by rule; what comes out stays the same down to the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.ir.interpret import interpret
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.verify import verify
from headrace.passes.graph.cluster import Cluster
from headrace.passes.graph.share_padding import SharePadding
from headrace.passes.kernel.lower import Lower

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

PAD = "graph.pad %0 {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = 0.0} : f32[n, 6, 6, 2]"
LOWEST = "graph.pad %0 {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = -inf} : f32[n, 6, 6, 2]"
WINDOW = "kernel = [3, 3], strides = [1, 1], dilations = [1, 1], channels_last = true"

# What reads %0 = exp %x, the operations afterwards, and the clusters that they become.
CASES = {
    "a reader of its own": (
        f"""%1 = {PAD}
        graph.return %1""",
        "exp pad",
        ["exp pad"],
    ),
    "an elementwise reader": (
        f"""%1 = {PAD}
        %2 = graph.neg %0 : f32[n, 4, 4, 2]
        graph.return %1, %2""",
        "exp pad slice neg",
        ["exp pad", "slice neg"],
    ),
    "a pooling without padding, above": (
        f"""%2 = graph.max_pool %0 {{{WINDOW}, before = [0, 0], after = [0, 0]}} : f32[n, 2, 2, 2]
        %1 = {PAD}
        graph.return %1, %2""",
        "exp pad slice max_pool",
        ["exp pad", "slice max_pool"],
    ),
    "a pooling that looks outside": (
        f"""%1 = {PAD}
        %2 = graph.average_pool %0 {{{WINDOW}, before = [1, 1], after = [1, 1]}} : f32[n, 4, 4, 2]
        graph.return %1, %2""",
        "exp pad average_pool",
        ["exp", "pad", "average_pool"],
    ),
    "a concatenation, which looks outside": (
        f"""%1 = {PAD}
        %2 = graph.concat %0, %0 {{axis = 3}} : f32[n, 4, 4, 4]
        graph.return %1, %2""",
        "exp pad concat",
        ["exp", "pad", "concat"],
    ),
    "a result": (
        f"""%1 = {PAD}
        graph.return %1, %0""",
        "exp pad",
        ["exp", "pad"],
    ),
    "a view": (
        f"""%1 = {PAD}
        %2 = graph.reshape %0 {{dims = [n, 32]}} : f32[n, 32]
        graph.return %1, %2""",
        "exp pad reshape",
        ["exp", "pad"],
    ),
    "another number": (
        f"""%1 = {LOWEST}
        %2 = graph.max_pool %1 {{{WINDOW}, before = [0, 0], after = [0, 0]}} : f32[n, 4, 4, 2]
        %3 = {PAD}
        graph.return %2, %3, %3""",
        "exp pad slice max_pool pad",
        ["exp pad", "max_pool", "slice pad"],
    ),
    "the same padding twice": (
        f"""%1 = {PAD}
        %2 = graph.neg %1 : f32[n, 6, 6, 2]
        %3 = {PAD}
        %4 = graph.exp %3 : f32[n, 6, 6, 2]
        graph.return %2, %4""",
        "exp pad neg exp",
        ["exp pad", "neg", "exp"],
    ),
    "paddings of a parameter": (
        """%1 = graph.pad %x {before = [0, 1, 0, 0], after = [0, 0, 1, 0], value = 1.0} : f32[n, 5, 5, 2]
        %2 = graph.pad %x {before = [0, 2, 0, 0], after = [0, 0, 0, 0], value = 1.0} : f32[n, 6, 4, 2]
        %3 = graph.neg %x : f32[n, 4, 4, 2]
        graph.return %1, %2, %3, %0""",
        "exp pad slice slice neg",
        ["exp", "pad", "slice", "slice", "neg"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_readers(bench: Callable[[str], Bench], case: str) -> None:
    body, names, clusters = CASES[case]
    outputs = ", ".join(f'"y{i}"' for i in range(body.rpartition("return")[2].count("%")))
    named = f'{{input_names = ["x"], output_names = [{outputs}]}}'
    subject = bench(f"(%x: f32[n, 4, 4, 2]) {named} {{\n%0 = graph.exp %x : f32[n, 4, 4, 2]\n{body}\n}}")
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 2)).astype(np.float32)
    before = subject.evaluate([x], {"n": 3})
    subject.run(SharePadding())
    assert " ".join(subject.names()) == names
    subject.run(Cluster())
    found = [
        " ".join(o.name.partition(".")[2] for o in region.block.body)
        for operation in subject.main.block.body
        for region in operation.regions
    ]
    assert found == clusters
    Lower().run(subject.module, Rewriter(), PassContext())
    verify(subject.module)
    for old, new in zip(before, interpret(subject.module, "main", [x], {"n": 3}), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-6)
