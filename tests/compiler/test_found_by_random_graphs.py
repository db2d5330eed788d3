"""Small graphs that once did not compile, or computed something else, as random graphs found them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_graphs.differential import TARGETS, compared, target_of
from random_graphs.graphs import RandomGraph

from headrace.ir.graph.families import tensor
from headrace.ir.graph.numbers import static
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.text import load_hir

ABLE = sorted({target_of(seed) for seed in range(len(TARGETS))})

# The types of the inputs, what is made of them, values of the symbols.
FOUND = {
    "a diagonal that goes on at its edges": (
        ["f32[n, m]"],
        """%0 = graph.eye %x0 {k = 2, dtype = f32} : f32[n, m]
        %1 = graph.extend %0 {before = [2, 2], after = [2, 3], mode = "edge"} : f32[n + 4, m + 5]
        graph.return %1""",
        [{"n": 3, "m": 1}, {"n": 7, "m": 19}],
    ),
    "a result is viewed below the read of its dim": (
        ["f32[2, 2, 3]", "f32[3]"],
        """%0 = graph.constant {value = dense<[1]> : i64[1]} : i64[1]
        %1 = graph.take_dynamic %x0, %0 {axis = 1, symbol = "t"} : f32[2, t, 3]
        %2 = graph.sub %1, %x1 : f32[2, t, 3]
        graph.return %2""",
        [{}],
    ),
    "attention over one element": (
        ["f32[8, m]"],
        """%0 = graph.transpose %x0 {perm = [1, 0]} : f32[m, 8]
        %1 = graph.reshape %0 {dims = [m, 8, 1]} : f32[m, 8, 1]
        %2 = graph.transpose %1 {perm = [0, 2, 1]} : f32[m, 1, 8]
        %3 = graph.matmul %1, %2 : f32[m, 8, 8]
        %4 = graph.constant {value = dense<0.5> : f32[]} : f32[]
        %5 = graph.mul %3, %4 : f32[m, 8, 8]
        %6 = graph.softmax %5 {axes = [2]} : f32[m, 8, 8]
        %7 = graph.matmul %6, %1 : f32[m, 8, 1]
        graph.return %7, %2""",
        [{"m": 1}, {"m": 3}],
    ),
    "attention whose rows are read twice": (
        ["f32[n, m, 5]", "f32[1, m, 5]"],
        """%0 = graph.add %x0, %x1 : f32[n, m, 5]
        %1 = graph.transpose %x0 {perm = [0, 2, 1]} : f32[n, 5, m]
        %2 = graph.matmul %0, %1 : f32[n, m, m]
        %3 = graph.softmax %2 {axes = [2]} : f32[n, m, m]
        %4 = graph.matmul %3, %x0 : f32[n, m, 5]
        graph.return %4""",
        [{"n": 1, "m": 1}, {"n": 2, "m": 17}],
    ),
    "padded windows among rows": (
        ["f32[2, 2, 5, 5]", "f32[2, 2, 3, 3]"],
        """%0 = graph.conv %x0, %x1 {strides = [1, 1], dilations = [1, 1], before = [1, 1], after = [1, 1]} : f32[2, 2, 5, 5]
        %1 = graph.add %0, %x0 : f32[2, 2, 5, 5]
        %2 = graph.reduce %1 {kind = mean, axes = [3], keepdims = true} : f32[2, 2, 5, 1]
        %3 = graph.sub %1, %2 : f32[2, 2, 5, 5]
        %4 = graph.mul %3, %3 : f32[2, 2, 5, 5]
        %5 = graph.reduce %4 {kind = mean, axes = [3], keepdims = true} : f32[2, 2, 5, 1]
        %6 = graph.div %3, %5 : f32[2, 2, 5, 5]
        graph.return %6""",
        [{}],
    ),
    "products without elements, and over none": (
        ["f32[0, 16]", "f32[16, 0]", "f32[3, 16]"],
        """%0 = graph.constant {value = dense<[]> : f32[0, 2, 0]} : f32[0, 2, 0]
        %1 = graph.matmul %0, %x0 : f32[0, 2, 16]
        %2 = graph.matmul %x1, %x0 : f32[16, 16]
        %3 = graph.reduce %x2 {kind = sum, axes = [0], keepdims = false} : f32[16]
        %4 = graph.matmul %x0, %2 : f32[0, 16]
        %5 = graph.add %4, %3 : f32[0, 16]
        graph.return %1, %2, %5""",
        [{}],
    ),
    "rows of which the last step takes the dims alone": (
        ["f32[n, m]"],
        """%0 = graph.log_softmax %x0 {axes = [1]} : f32[n, m]
        %1 = graph.eye %0 {k = 0, dtype = f32} : f32[n, m]
        graph.return %1""",
        [{"n": 2, "m": 3}],
    ),
    "exponentials that f16 does not hold": (
        ["f16[n, 9]"],
        """%0 = graph.constant {value = dense<13.0> : f16[]} : f16[]
        %1 = graph.sub %x0, %0 : f16[n, 9]
        %2 = graph.sigmoid %1 : f16[n, 9]
        %3 = graph.pow_int %1 {exponent = -5} : f16[n, 9]
        graph.return %2, %3""",
        [{"n": 4}],
    ),
    "casts from one narrow format to another": (
        ["f8e4m3fn[n, 9]", "i4[n]", "f16[9]"],
        """%0 = graph.cast %x0 {dtype = f8e5m2fnuz} : f8e5m2fnuz[n, 9]
        %1 = graph.cast %0 {dtype = f32} : f32[n, 9]
        %2 = graph.cast %x1 {dtype = u4} : u4[n]
        %3 = graph.cast %2 {dtype = i32} : i32[n]
        %4 = graph.constant {value = dense<300.0> : f16[]} : f16[]
        %5 = graph.mul %x2, %4 : f16[9]
        %6 = graph.cast %5 {dtype = f32} : f32[9]
        %7 = graph.cast %6 {dtype = f8e4m3fn, saturate = false} : f8e4m3fn[9]
        graph.return %1, %3, %7""",
        [{"n": 4}],
    ),
    "squares that f16 does not hold": (
        ["f16[n, 9]", "f16[9]"],
        """%0 = graph.constant {value = dense<300.0> : f16[]} : f16[]
        %1 = graph.mul %x0, %0 : f16[n, 9]
        %2 = graph.layer_norm %1, %x1 {axis = 1} : f16[n, 9]
        graph.return %2""",
        [{"n": 4}],
    ),
    "a convolution of its own weights": (
        ["f32[5, 5, 3]"],
        """%0 = graph.constant {value = dense<1.5> : f32[]} : f32[]
        %1 = graph.expand %0 {dims = [17, 17, 3]} : f32[17, 17, 3]
        %2 = graph.conv %1, %1 {strides = [1], dilations = [1], before = [1], after = [1]} : f32[17, 17, 3]
        %3 = graph.add %2, %1 : f32[17, 17, 3]
        graph.return %3, %x0""",
        [{}],
    ),
    "states of recurrent layers that f32 does not hold": (
        ["f16[40, 1, 1, 3]", "f16[1, 1, 2]", "f16[1, 1, 1]", "f16[40, 1, 1, 4]", "f16[1, 1, 4]", "f16[40, 1, 1, 1]"],
        """%0, %1 = graph.gru %x0, %x1, %x2 {hidden = 1, functions = ["Affine", "Sigmoid"], alphas = [9000.0, 0.0]} : f16[40, 1, 1, 1], f16[1, 1, 1]
        %2, %3, %4 = graph.lstm %x3, %x4 {hidden = 1, functions = ["Affine", "Tanh", "Affine"], alphas = [9000.0, 0.0, 2.0]} : f16[40, 1, 1, 1], f16[1, 1, 1], f16[1, 1, 1]
        %5, %6 = graph.rnn %x5, %x2 {hidden = 1, functions = ["Affine"], alphas = [9000.0]} : f16[40, 1, 1, 1], f16[1, 1, 1]
        graph.return %0, %1, %2, %3, %4, %5, %6""",
        [{}],
    ),
    "no elements to take the mean of": (
        ["i32[n, 4]", "f32[4, n]", "f32[n]"],
        """%0 = graph.reduce %x0 {kind = mean, axes = [0], keepdims = false} : i32[4]
        %1 = graph.layer_norm %x1, %x2 {axis = 1} : f32[4, n]
        graph.return %0, %1""",
        [{"n": 0}, {"n": 3}],
    ),
    "no images to convolve": (
        ["f32[n, 2, 2]", "f32[2, 3, 2]"],
        """%0 = graph.conv_transpose %x0, %x1 {strides = [2], dilations = [1], before = [0], after = [0], extra = [0]} : f32[n, 3, 4]
        %1 = graph.pack %x0 {dim = 2, by = 2} : f32[1, n, 2, 2]
        graph.return %0, %1""",
        [{"n": 0}, {"n": 2}],
    ),
}


@pytest.mark.parametrize("target", ABLE)
@pytest.mark.parametrize("found", FOUND)
def test_computes_what_it_means(found: str, target: str, tmp_path: Path) -> None:
    kinds, body, sizes = FOUND[found]
    names = [f"x{i}" for i in range(len(kinds))]
    results = body.rpartition("graph.return ")[2].count(",") + 1
    parameters = ", ".join(f"%{n}: {k}" for n, k in zip(names, kinds, strict=True))
    facts = '"t in [0, inf]"' if '"t"' in body else ""
    listed = [", ".join(f'"{n}"' for n in group) for group in (names, [f"y{i}" for i in range(results)])]
    head = f"graph.func @main({parameters}) {{facts = [{facts}], input_names = [{listed[0]}], output_names = [{listed[1]}]}}"
    (tmp_path / "m.hir").write_text(f"module {{\n{head} {{\n{body}\n}}\n}}")
    module = load_hir(tmp_path / "m.hir")
    (main,) = module.functions(GraphFunc)
    rng = np.random.default_rng(3)
    cases = []
    for symbols in sizes:
        types = [static(tensor(p), symbols) for p in main.parameters]
        drawn = [rng.uniform(-3, 3, [d.value for d in k.dims]).astype(k.dtype.numpy) for k in types]
        cases.append(dict(zip(names, drawn, strict=True)))
    assert compared(RandomGraph(0, module, cases), target) is None
