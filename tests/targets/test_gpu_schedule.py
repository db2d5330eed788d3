"""The schedule of GPUs: what it makes of a kernel computes the same, without races; and on PoCL, whole models too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_program import run_program
from gpu_program import CPU, FACTS, lower, schedule_all
from model_examples import REAL, example_named
from opencl_device import watched
from operator_models import MODELS, SIZES, inputs_of

from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import compile, read_model
from headrace.ir.core import walk
from headrace.ir.errors import KernelFault
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.control import Barrier
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.module import Module
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module, print_op
from headrace.ir.types import BufferType
from headrace.ir.verify import verify
from headrace.runtime.python import load
from headrace.targets.gpu_schedule import schedule

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(4)

# A graph function's parameters, body and result; every dim that can be is a symbol.
GRAPHS = {
    "elementwise": (
        "%x: f32[n, 37], %b: f32[37]",
        "%0 = graph.add %x, %b : f32[n, 37]   %y = graph.tanh %0 : f32[n, 37]",
    ),
    "one_element": ("%x: f32[], %b: f32[1]", "%y = graph.add %x, %b : f32[1]"),
    "softmax": ("%x: f32[n, k]", "%y = graph.softmax %x {axes = [1]} : f32[n, k]"),
    "softmax_of_100": ("%x: f32[n, 100]", "%y = graph.softmax %x {axes = [1]} : f32[n, 100]"),
    "rows_summed": ("%x: f32[n, k]", "%y = graph.reduce %x {kind = sum, axes = [1], keepdims = false} : f32[n]"),
    "columns_summed": ("%x: f32[n, k]", "%y = graph.reduce %x {kind = sum, axes = [0], keepdims = false} : f32[k]"),
    "everything_summed": (
        "%x: f32[n, k]",
        "%y = graph.reduce %x {kind = sum, axes = [0, 1], keepdims = false} : f32[]",
    ),
    "product": (
        "%x: f32[n, k], %w: f32[k, 70], %b: f32[70]",
        "%0 = graph.matmul %x, %w : f32[n, 70]   %1 = graph.add %0, %b : f32[n, 70]   %y = graph.relu %1 : f32[n, 70]",
    ),
    "products": ("%x: f32[3, n, k], %w: f32[3, k, n]", "%y = graph.matmul %x, %w : f32[3, n, n]"),
    "window": (
        "%x: f32[n, 20, 8, 9], %w: f32[6, 20, 3, 3]",
        "%y = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], before = [1, 0], after = [0, 1]} : f32[n, 6, 7, 8]",
    ),
    "wide_window": (
        "%x: f32[n, 5, 13, 9], %w: f32[6, 5, 7, 7]",
        "%y = graph.conv %x, %w {strides = [2, 1], dilations = [1, 1], before = [1, 0], after = [0, 1]} : f32[n, 6, 4, 4]",
    ),
    "attention": (
        "%q: f32[2, n, 20], %w: f32[2, k, 20], %v: f32[2, k, 37], %b: f32[k]",
        "%0 = graph.transpose %w {perm = [0, 2, 1]} : f32[2, 20, k]   %1 = graph.matmul %q, %0 : f32[2, n, k]"
        "   %2 = graph.add %1, %b : f32[2, n, k]   %3 = graph.softmax %2 {axes = [2]} : f32[2, n, k]"
        "   %y = graph.matmul %3, %v : f32[2, n, 37]",
    ),
    "row_times_matrix": ("%x: f32[k], %w: f32[k, n]", "%y = graph.matmul %x, %w : f32[n]"),
}
SIZES_OF_GRAPHS = [{"n": 1, "k": 1}, {"n": 5, "k": 7}, {"n": 67, "k": 31}, {"n": 64, "k": 128}]


def lowered(name: str) -> Module:
    parameters, body = GRAPHS[name]
    names = [p.split(":")[0].strip("% ") for p in parameters.split(", %")]
    module = parse_module(
        f'graph.func @main({parameters}) {{input_names = {str(names).replace(chr(39), chr(34))}, output_names = ["y"]}} '
        f"{{ {body} graph.return %y }}"
    )
    lower(module)
    return module


def inputs_for(function: KernelFunc, symbols: dict[str, int]) -> list[Array]:
    kinds = [p.type for p in function.inputs]
    shapes = [[int(d.evaluate(symbols)) for d in k.dims] for k in kinds if isinstance(k, BufferType)]
    return [RNG.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("name", GRAPHS)
def test_scheduled_kernels_compute_the_same(name: str, opencl: Any) -> None:
    """As the structured ones do, by the interpreter, which finds no race; and on PoCL the same as that."""
    before, after = lowered(name), lowered(name)
    schedule_all(after)
    verify(after)
    built = opencl.build(list(after.functions(KernelFunc)))
    for structured, scheduled in zip(before.functions(KernelFunc), after.functions(KernelFunc), strict=True):
        for sizes in SIZES_OF_GRAPHS:
            symbols = {s: sizes[s] for s in structured.scalars}
            inputs = inputs_for(structured, symbols)
            expected = run_kernel(structured, inputs, symbols).outputs
            run = run_kernel(scheduled, inputs, symbols)
            found = built.run(scheduled.function_name, inputs, symbols)
            for e, i, f, written in zip(expected, run.outputs, found, run.written, strict=True):
                assert written.all()
                np.testing.assert_allclose(i, e, rtol=3e-6, atol=1e-5)
                np.testing.assert_allclose(f, i, rtol=3e-6, atol=1e-5)


def test_attention_goes_through_its_columns_by_blocks(opencl: Any) -> None:
    """Nothing of it grows with the columns; and a block without any weight is no NaN, but a row without any is one."""
    before, after = lowered("attention"), lowered("attention")
    schedule_all(after)
    (structured,), (scheduled,) = (m.functions(KernelFunc) for m in (before, after))
    scratch = [a.type for a in walk(scheduled, Alloc)]
    assert all(d.is_constant for kind in scratch for d in kind.dims)
    built, symbols = opencl.build([scheduled]), {s: {"n": 33, "k": 150}[s] for s in structured.scalars}
    for hidden in (100, 150):
        inputs = inputs_for(structured, symbols)
        inputs[[i.hint for i in structured.inputs].index("b")][:hidden] = -np.inf
        (expected,) = run_kernel(structured, inputs, symbols).outputs
        assert np.isnan(expected).all() == (hidden == 150)
        np.testing.assert_allclose(run_kernel(scheduled, inputs, symbols).outputs[0], expected, rtol=3e-6, atol=1e-5)
        np.testing.assert_allclose(built.run(scheduled.function_name, inputs, symbols)[0], expected, rtol=3e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "count", "number"), [("product", 1, 0), ("window", 1, 0), ("wide_window", 2, 0), ("wide_window", 2, 1)]
)
def test_each_barrier_is_needed(name: str, count: int, number: int) -> None:
    """The interpreter says so where one is missing."""
    module = lowered(name)
    schedule_all(module)
    (function,) = (f for f in module.functions(KernelFunc) if any(walk(f, Barrier)))
    barriers = list(walk(function, Barrier))
    assert len(barriers) == count
    Rewriter().erase(barriers[number])
    symbols = {s: {"n": 5, "k": 40}[s] for s in function.scalars}
    with pytest.raises(KernelFault, match="race"):
        run_kernel(function, inputs_for(function, symbols), symbols)


@pytest.mark.parametrize(
    ("x", "w", "strides", "dilations", "y"),
    [
        ("1, 3, 230, 230", "64, 3, 7, 7", "2, 2", "1, 1", "1, 64, 112, 112"),
        ("2, 5, 211, 97", "33, 5, 15, 3", "4, 4", "3, 16", "2, 33, 43, 17"),
        ("n, 2, 40, 9", "300, 2, 5, 3", "5, 1", "1, 2", "n, 300, 8, 5"),
    ],
)
def test_tiles_of_windows_fit_in_shared_memory(x: str, w: str, strides: str, dilations: str, y: str) -> None:
    module = parse_module(
        f'graph.func @main(%x: f32[{x}], %w: f32[{w}]) {{input_names = ["x", "w"], output_names = ["y"]}} {{'
        f" %y = graph.conv %x, %w {{strides = [{strides}], dilations = [{dilations}], before = [0, 0], after = [0, 0]}}"
        f" : f32[{y}] graph.return %y }}"
    )
    lower(module)
    schedule_all(module)
    shared = [[a.type for a in walk(f, Alloc) if a.type.space == "shared"] for f in module.functions(KernelFunc)]
    assert any(shared)
    assert all(sum(k.bytes.value for k in kinds) <= FACTS.shared_bytes for kinds in shared)


def test_a_product_is_tiled_in_shared_memory_and_registers() -> None:
    (function,) = lowered("product").functions(KernelFunc)
    steps = schedule(function, FACTS)
    assert [s.partition("{")[0] for s in steps] == [
        *["kernel.tile"] * 5, "kernel.reorder", "kernel.bind", "kernel.enclose", *["kernel.bind"] * 4, "kernel.enclose",
        "kernel.accumulate", "kernel.stage-shared", "kernel.double-buffer", "kernel.peel",
    ]  # fmt: skip


@pytest.mark.parametrize("facts", [FACTS, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("name", MODELS)
def test_operators_on_opencl(name: str, facts: TargetFacts, opencl: Any, tmp_path: Path) -> None:
    """Contractions, windows, rows and recurrent layers at every size, against the code for this machine's CPU."""
    model = MODELS[name]()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.model())
    check_model(path, [inputs_of(model, sizes) for sizes in SIZES[name]], opencl, tmp_path, facts)


@pytest.mark.parametrize("name", ["digits", *REAL])
def test_models_on_opencl(name: str, opencl: Any, tmp_path: Path) -> None:
    example = example_named(name)
    check_model(example.path, [example.inputs(n) for n in (example.batches[0], example.batches[-1])], opencl, tmp_path)


def test_oclgrind_finds_nothing_in_the_demo(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    module = read_model(model_path(), None)
    lower(module)
    schedule_all(module)
    kernels = list(module.functions(KernelFunc))
    (tmp_path / "demo.hir").write_text("\n".join(print_op(k) for k in kernels))
    found = watched(tmp_path / "demo.hir", require_tool("oclgrind"))
    assert found.splitlines() == [f"ran {k.function_name}" for k in kernels]


def check_model(
    path: Path, inputs: list[dict[str, Array]], opencl: Any, folder: Path, facts: TargetFacts = FACTS
) -> None:
    module = read_model(path, None)
    lower(module)
    schedule_all(module, facts)
    built = opencl.build(list(module.functions(KernelFunc)))
    compile(path, output=folder / "m.hrm")
    session = load(folder / "m.hrm")
    for given in inputs:
        found = run_program(module, given, built.launch)
        for f, expected in zip(found, session.run(given).values(), strict=True):
            assert float(np.abs(f - expected).max(initial=0)) <= 2e-6 * float(np.abs(expected).max(initial=1))
