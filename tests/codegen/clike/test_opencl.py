"""Grid, threads, shared memory, barriers and checks in OpenCL C, against the interpreter; and what has no such form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opencl_device import Failed, OpenCL, watched
from operation_kernels import functions

from headrace.codegen.clike import emit_opencl, group_size
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel

Array = np.ndarray[Any, Any]
MATMUL = Path(__file__).parents[2] / "ir" / "kernel" / "gpu_matmul.hir"


def check(opencl: OpenCL, text: str, inputs: list[Array], **symbols: int) -> None:
    """What runs is what the interpreter gives, bit by bit, and nothing else is written."""
    (function,) = functions(text)
    expected = run_kernel(function, inputs, symbols)
    found = opencl.build([function]).run(function.function_name, inputs, symbols)
    for f, e, written in zip(found, expected.outputs, expected.written, strict=True):
        np.testing.assert_array_equal(f[written], e[written])
        assert (f[~written].view(np.uint8) == 0xA5).all()


def test_a_matrix_product_in_shared_memory(opencl: OpenCL) -> None:
    (function,) = functions(MATMUL.read_text())
    assert group_size(function) == 16
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 32)).astype(np.float32), rng.standard_normal((32, 16)).astype(np.float32)
    (found,) = opencl.build([function]).run("matmul", [a, b])
    np.testing.assert_array_equal(found, run_kernel(function, [a, b]).outputs[0])


# Each workgroup turns a row round and adds it to itself: by fewer threads the second time, over the grid's own loop.
PHASES = """
kernel.func @f(%x: buffer<f32[n, 8]>, %y: buffer<f32[n, m, 8]>) {outputs = 1, scalars = ["m", "n"]} {
  kernel.parallel (i: grid n) {
    %s = kernel.alloc {type = buffer<f32[8], shared>} : buffer<f32[8], shared>
    %t = kernel.alloc {type = buffer<f32[m, 8], stack>} : buffer<f32[m, 8], stack>
    kernel.for (r: sequential m) {
      kernel.parallel (j: thread 8) {
        %v = kernel.load %x[i, j] : f32
        kernel.store %v, %s[7 - j]
      }
      kernel.if {where = [r - 1]} {
        kernel.parallel (h: thread 4) {
          %c = kernel.alloc {type = buffer<f32[2], stack>} : buffer<f32[2], stack>
          kernel.for (u: unroll 2) {
            %a = kernel.load %s[h*2 + u] : f32
            kernel.store %a, %c[1 - u]
          }
          %w = kernel.load %c[0] {lanes = 2} : vector<2xf32>
          kernel.store %w, %t[r, h*2]
        }
        kernel.parallel (k: thread 2, l: thread 4) {
          %p = kernel.load %t[r, k*4 + l] : f32
          %q = kernel.load %s[k*4 + l] : f32
          %z = kernel.sub %p, %q : f32
          kernel.store %z, %y[i, r, k*4 + l]
        }
      }
    }
  }
}
"""


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (0, 2)])
def test_loops_over_threads_wait_for_one_another(opencl: OpenCL, n: int, m: int) -> None:
    check(opencl, PHASES, [np.random.default_rng(n).standard_normal((n, 8)).astype(np.float32)], n=n, m=m)


def test_a_failed_check_leaves_its_site_and_values(opencl: OpenCL) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[n]>, %i: buffer<i64[m]>, %y: buffer<f32[m]>) {outputs = 1, scalars = ["m", "n"]} {
      kernel.parallel (a: grid m) {
        %0 = kernel.load %i[a] : i64
        %1 = kernel.index {value = n} : i64
        %2 = kernel.compare %0, %1 {predicate = lt} : bool
        kernel.check %2 values(%0, %1) {message = "index {0} of {1}"}
        kernel.let (at: given n) %0 {
          %3 = kernel.load %x[at] : f32
          kernel.store %3, %y[a]
        }
      }
    }
    """
    x, i = np.arange(5, dtype=np.float32), np.array([4, 0, 7])
    built = opencl.build(functions(text))
    np.testing.assert_array_equal(built.run("f", [x, i[:2]])[0], [4, 0])
    with pytest.raises(Failed, match=r"\[1, 7, 5\]"):
        built.run("f", [x, i])


def test_to_round_to_16_bits_branches_nowhere(opencl: OpenCL) -> None:
    """A product's tile has 128 such roundings, which a compiler that inlines branches takes seconds for."""
    text = """
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f16[n]>, %z: buffer<bf16[n]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (a: grid n) {
        %0 = kernel.load %x[a] : f32
        %1 = kernel.cast %0 {dtype = f16} : f16
        kernel.store %1, %y[a]
        %2 = kernel.cast %0 {dtype = bf16} : bf16
        kernel.store %2, %z[a]
      }
    }
    """
    source = emit_opencl(functions(text))
    assert source.count("_of_f32(float x)") == 2
    assert not any(word in source for word in ("vstore_half", "if (", "for ("))
    rare = [0.0, -0.0, 1.0, 65504.0, 65519.0, 65520.0, -1e30, 6e-8, 2e-8, 6.1e-5, 1.0009765, 3.4e38, 1e-42, np.inf]
    check(opencl, text, [np.array(rare, np.float32)])


NAMES = [
    "kernel",
    "global",
    "float4",
    "half",
    "vload4",
    "report",
    "thread",
    "group",
    "as_int",
    "at0",
    "INT_MAX",
    "uchar",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mean_something_in_opencl(opencl: OpenCL, name: str) -> None:
    text = f"""
    kernel.func @{name}(%{name}: buffer<f32[{name}0]>, %out: buffer<f32[{name}0]>) {{outputs = 1, scalars = ["{name}0"]}} {{
      kernel.parallel ({name}: grid {name}0) {{
        %{name}1 = kernel.load %{name}[{name}] : f32
        kernel.store %{name}1, %out[{name}]
      }}
    }}
    """
    check(opencl, text, [np.arange(8, dtype=np.float32)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kernel.parallel (t: task 4) { }", "a loop over t: task inside the kernel has no OpenCL C form"),
        ("kernel.map (t: parallel 4) { kernel.yield }", r"kernel\.map at unknown has no OpenCL C form"),
        (
            "kernel.parallel (t: thread n) { }",
            "a loop over t: thread n; the extent of a thread axis must be a constant",
        ),
        ("kernel.store %c, %y[0]", r"kernel\.store at unknown stands outside of a loop over threads"),
        ("%v = kernel.load %y[0] : f32", r"kernel\.load at unknown stands outside of a loop over threads"),
        ("kernel.parallel (t: thread 2) { kernel.barrier }", "a barrier among 2 of the 4 threads of a workgroup"),
        (
            "kernel.parallel (t: thread 4) { %s = kernel.alloc {type = buffer<f32[n], stack>} : buffer<f32[n], stack> }",
            "is a thread's own, but not of constant size",
        ),
        (
            "kernel.parallel (t: thread 4) { %b = kernel.holds {where = [t]} : bool"
            '  kernel.check %b {message = "no"}  kernel.barrier }',
            "a check at unknown that some threads of a workgroup may not come back from",
        ),
    ],
)
def test_refusals(line: str, message: str) -> None:
    text = f"""
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (g: grid n) {{
        %c = kernel.constant {{value = 1.0, type = f32}} : f32
        {line}
        kernel.parallel (t0: thread 4) {{ }}
      }}
    }}
    """
    with pytest.raises(CodegenError, match=f"^kernel @f: .*{message}"):
        emit_opencl(functions(text))


# ---- a device that watches -----------------------------------------------------------------------------------------


def test_oclgrind_finds_nothing(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "phases.hir").write_text(PHASES)
    assert watched(MATMUL, require_tool("oclgrind")) == "ran matmul\n"
    assert watched(tmp_path / "phases.hir", require_tool("oclgrind")) == "ran f\n"


@pytest.mark.parametrize("number", [0, 1])
def test_oclgrind_and_the_interpreter_miss_each_barrier(
    require_tool: Callable[[str], str], tmp_path: Path, number: int
) -> None:
    """The interpreter's half is in tests/ir/kernel/test_gpu_matmul.py."""
    parts = MATMUL.read_text().split("kernel.barrier  //")
    text = parts[0] + "".join(("//" if n == number else "kernel.barrier  //") + p for n, p in enumerate(parts[1:]))
    (tmp_path / "k.hir").write_text(text)
    found = watched(tmp_path / "k.hir", require_tool("oclgrind"))
    assert "data race" in found
