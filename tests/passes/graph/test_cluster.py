"""graph.cluster: which operations share a kernel, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.ir.core import Value
from headrace.ir.errors import PassError
from headrace.ir.graph.families import Pull
from headrace.ir.graph.ops.cluster import Cluster as ClusterOp
from headrace.passes.graph import cluster
from headrace.passes.graph.cluster import Cluster

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

PLAIN = "strides = [1, 1], dilations = [1, 1], before = [0, 0], after = [0, 0]"
PADDED = "strides = [1, 1], dilations = [1, 1], before = [1, 1], after = [1, 1]"
INPUTS = """(%x: f32[n, 64], %y: f32[n, 64], %w: f32[64, 64], %b: f32[64], %c: f32[n, 1],
             %i: f32[n, 4, 8, 8], %k: f32[4, 4, 3, 3])"""

# What is computed, and what the clusters hold, in program order; what is outside of them is named `-op`.
CASES = {
    "a bias, an activation and a residual follow a product": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.add %0, %b : f32[n, 64]
        %2 = graph.add %y, %1 : f32[n, 64]
        %3 = graph.relu %2 : f32[n, 64]
        graph.return %3""",
        ["matmul add add relu"],
    ),
    "a product with two users is computed once": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.exp %0 : f32[n, 64]
        %2 = graph.transpose %1 {perm = [1, 0]} : f32[64, n]
        %3 = graph.matmul %0, %2 : f32[n, n]
        graph.return %3""",
        ["matmul", "exp", "transpose matmul"],
    ),
    "an epilogue may read the product twice": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.sigmoid %0 : f32[n, 64]
        %2 = graph.mul %0, %1 : f32[n, 64]
        graph.return %2""",
        ["matmul sigmoid mul"],
    ),
    "of two products one has the epilogue": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.matmul %y, %w : f32[n, 64]
        %2 = graph.add %0, %1 : f32[n, 64]
        graph.return %2""",
        ["matmul", "matmul add"],
    ),
    "a product read elsewhere lies in memory": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.transpose %0 {perm = [1, 0]} : f32[64, n]
        %2 = graph.exp %1 : f32[64, n]
        graph.return %2""",
        ["matmul", "transpose exp"],
    ),
    "a product broadcast against more lies in memory": (
        """%0 = graph.reduce %x {kind = sum, axes = [1], keepdims = true} : f32[n, 1]
        %1 = graph.div %y, %0 : f32[n, 64]
        graph.return %1""",
        ["reduce", "div"],
    ),
    "an epilogue comes before a prologue": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.sigmoid %0 : f32[n, 64]
        %2 = graph.mul %0, %1 : f32[n, 64]
        %3 = graph.reduce %2 {kind = sum, axes = [1], keepdims = false} : f32[n]
        graph.return %3""",
        ["matmul sigmoid mul", "reduce"],
    ),
    "but not where the product has other users": (
        """%0 = graph.matmul %x, %w : f32[n, 64]
        %1 = graph.exp %0 : f32[n, 64]
        %2 = graph.reduce %1 {kind = sum, axes = [1], keepdims = false} : f32[n]
        graph.return %2, %0""",
        ["matmul", "exp reduce"],
    ),
    "each element of a sum is asked for once": (
        """%0 = graph.exp %x : f32[n, 64]
        %1 = graph.mul %0, %y : f32[n, 64]
        %2 = graph.reduce %1 {kind = sum, axes = [1], keepdims = false} : f32[n]
        graph.return %2""",
        ["exp mul reduce"],
    ),
    "a product asks for each element many times": (
        """%0 = graph.relu %x : f32[n, 64]
        %1 = graph.matmul %0, %w : f32[n, 64]
        graph.return %1""",
        ["relu", "matmul"],
    ),
    "a transpose is read in place by all its readers": (
        """%0 = graph.transpose %w {perm = [1, 0]} : f32[64, 64]
        %1 = graph.matmul %x, %0 : f32[n, 64]
        %2 = graph.matmul %y, %0 : f32[n, 64]
        graph.return %1, %2""",
        ["transpose matmul", "transpose matmul"],
    ),
    "a padded read goes through a transpose": (
        f"""%0 = graph.transpose %i {{perm = [0, 1, 3, 2]}} : f32[n, 4, 8, 8]
        %1 = graph.conv %0, %k {{{PADDED}}} : f32[n, 4, 8, 8]
        graph.return %1""",
        ["transpose conv"],
    ),
    "a padded read does not go through a slice": (
        f"""%0 = graph.slice %i {{starts = [0, 0, 0, 0], sizes = [n, 4, 8, 4], steps = [1, 1, 1, 2]}} : f32[n, 4, 8, 4]
        %1 = graph.conv %0, %k {{{PADDED}}} : f32[n, 4, 8, 4]
        graph.return %1""",
        ["slice", "conv"],
    ),
    "another read does": (
        f"""%0 = graph.slice %i {{starts = [0, 0, 0, 0], sizes = [n, 4, 8, 4], steps = [1, 1, 1, 2]}} : f32[n, 4, 8, 4]
        %1 = graph.conv %0, %k {{{PLAIN}}} : f32[n, 4, 6, 2]
        graph.return %1""",
        ["slice conv"],
    ),
    "padding does not reach into computed values": (
        """%0 = graph.exp %x : f32[n, 64]
        %1 = graph.pad %0 {before = [0, 1], after = [0, 0]} : f32[n, 65]
        %2 = graph.neg %1 : f32[n, 65]
        graph.return %2""",
        ["exp", "pad neg"],
    ),
    "rows of padding around a computed value belong to its kernel": (
        f"""%0 = graph.conv %i, %k {{{PADDED}}} : f32[n, 4, 8, 8]
        %1 = graph.relu %0 : f32[n, 4, 8, 8]
        %2 = graph.pad %1 {{before = [0, 1, 2, 0], after = [0, 0, 1, 0]}} : f32[n, 5, 11, 8]
        graph.return %2""",
        ["conv relu pad"],
    ),
    "and what else reads the value reads it there": (
        """%0 = graph.exp %i : f32[n, 4, 8, 8]
        %1 = graph.pad %0 {before = [0, 1, 1, 0], after = [0, 1, 1, 0]} : f32[n, 6, 10, 8]
        %2 = graph.slice %1 {starts = [0, 1, 1, 0], sizes = [n, 4, 8, 8], steps = [1, 1, 1, 1]} : f32[n, 4, 8, 8]
        %3 = graph.neg %2 : f32[n, 4, 8, 8]
        graph.return %1, %3""",
        ["exp pad", "slice neg"],
    ),
    "elements of padding within a row do not": (
        f"""%0 = graph.conv %i, %k {{{PADDED}}} : f32[n, 4, 8, 8]
        %1 = graph.pad %0 {{before = [0, 0, 1, 1], after = [0, 0, 1, 1]}} : f32[n, 4, 10, 10]
        graph.return %1""",
        ["conv", "pad"],
    ),
    "a reduction does not test for rows of padding": (
        f"""%0 = graph.pad %i {{before = [0, 1, 1, 0], after = [0, 1, 1, 0]}} : f32[n, 6, 10, 8]
        %1 = graph.max_pool %0 {{kernel = [2, 2], {PLAIN.replace("[1, 1]", "[2, 2]", 1)}, channels_last = true}} : f32[n, 3, 5, 8]
        graph.return %1""",
        ["pad", "max_pool"],
    ),
    "what is broadcast is computed once": (
        """%0 = graph.exp %c : f32[n, 1]
        %1 = graph.mul %x, %0 : f32[n, 64]
        graph.return %1""",
        ["exp", "mul"],
    ),
    "but for one cheap operation": (
        """%0 = graph.neg %c : f32[n, 1]
        %1 = graph.mul %x, %0 : f32[n, 64]
        graph.return %1""",
        ["neg mul"],
    ),
    "what is read at two places is computed once": (
        """%0 = graph.exp %w : f32[64, 64]
        %1 = graph.transpose %0 {perm = [1, 0]} : f32[64, 64]
        %2 = graph.add %0, %1 : f32[64, 64]
        graph.return %2""",
        ["exp", "transpose add"],
    ),
    "a result is in memory": (
        """%0 = graph.exp %x : f32[n, 64]
        %1 = graph.neg %0 : f32[n, 64]
        graph.return %0, %1""",
        ["exp", "neg"],
    ),
    "a view needs no kernel": (
        """%0 = graph.exp %x : f32[n, 64]
        %1 = graph.reshape %0 {dims = [n, 8, 8]} : f32[n, 8, 8]
        %2 = graph.neg %1 : f32[n, 8, 8]
        graph.return %2""",
        ["exp", "-reshape", "neg"],
    ),
    "exact work on constants is none of the kernels'": (
        """%0 = graph.constant {value = dense<[2.0]> : f32[1]} : f32[1]
        %1 = graph.mul %0, %0 : f32[1]
        %2 = graph.exp %1 : f32[1]
        %3 = graph.mul %x, %1 : f32[n, 64]
        %4 = graph.mul %3, %2 : f32[n, 64]
        graph.return %4""",
        ["-constant", "-mul", "exp", "mul mul"],
    ),
    "what only makes numbers is made where it is read": (
        """%0 = graph.fill {dims = [n, 64], value = 1.0, dtype = f32} : f32[n, 64]
        %1 = graph.add %x, %0 : f32[n, 64]
        graph.return %1""",
        ["fill add"],
    ),
    "and by all who read it": (
        """%0 = graph.fill {dims = [n, 64], value = 1.0, dtype = f32} : f32[n, 64]
        %1 = graph.matmul %0, %w : f32[n, 64]
        %2 = graph.matmul %x, %w : f32[n, 64]
        %3 = graph.sub %2, %0 : f32[n, 64]
        graph.return %1, %3""",
        ["fill matmul", "fill matmul sub"],
    ),
}


def _clusters(subject: Bench) -> list[str]:
    found = []
    for operation in subject.main.block.body:
        if isinstance(operation, ClusterOp):
            found.append(" ".join(o.name.partition(".")[2] for o in operation.body.block.body))
        else:
            found.append("-" + operation.name.partition(".")[2])
    return found


@pytest.mark.parametrize("case", CASES)
def test_rule(bench: Callable[[str], Bench], case: str) -> None:
    body, expected = CASES[case]
    subject = bench(f"{INPUTS} {{\n{body}\n}}")
    subject.run(Cluster())
    assert _clusters(subject) == expected


def test_the_size_of_a_cluster_is_bounded(bench: Callable[[str], Bench]) -> None:
    chain = "\n".join(f"%{i + 1} = graph.neg %{i} : f32[n]" for i in range(7))
    subject = bench(f"(%0: f32[n]) {{\n{chain}\ngraph.return %7\n}}")
    subject.run(Cluster(max_ops=3))
    assert _clusters(subject) == ["neg", "neg neg neg", "neg neg neg"]


def test_what_an_operation_reads_is_asked_once(bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Pull] = []
    ask = cluster._read_at_home

    def noted(operation: Pull) -> list[Value]:
        asked.append(operation)
        return ask(operation)

    monkeypatch.setattr(cluster, "_read_at_home", noted)
    chain = "\n".join(f"%{i + 1} = graph.neg %{i} : f32[n]" for i in range(200))
    subject = bench(f"(%0: f32[n]) {{\n{chain}\ngraph.return %200\n}}")
    subject.run(Cluster())
    assert len(asked) == len(set(asked)) > 100


def test_an_operation_without_kernel_form_is_refused(bench: Callable[[str], Bench]) -> None:
    subject = bench('(%x: f32[n, 8]) {\n%0 = graph.softmax %x {axes = [1]} : f32[n, 8] loc("S")\ngraph.return %0\n}')
    with pytest.raises(PassError, match=r"graph\.softmax \(node 'S'\) has no kernel form"):
        subject.run(Cluster())
