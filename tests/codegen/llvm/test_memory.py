"""Loads and stores: lanes in line, strided and masked, booleans, scratch, register buffers."""

from typing import Any

import numpy as np
import pytest

from headrace.codegen.llvm import emit_module, scratch_bytes
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES
from headrace.ir.verify import verify
from headrace.targets import find_target

Array = np.ndarray[Any, Any]


def functions(text: str) -> list[KernelFunc]:
    module = parse_module(text)
    verify(module)
    return list(module.functions(KernelFunc))


def check(toolchain: Any, text: str, inputs: list[Array], **symbols: int) -> None:
    """What runs is what the interpreter gives, where that writes anything."""
    for function in functions(text):
        expected = run_kernel(function, inputs, symbols)
        found = toolchain.compile([function]).run(function.function_name, inputs, symbols)
        for f, e, written in zip(found, expected.outputs, expected.written, strict=True):
            np.testing.assert_array_equal(f[written], e[written])
            assert (f[~written].view(np.uint8) == 0xA5).all()


def data(kind: str, *shape: int) -> Array:
    rng = np.random.default_rng(8)
    return rng.integers(0, 2 if kind == "bool" else 100, shape).astype(DTYPES[kind].numpy)


@pytest.mark.parametrize("kind", ["f32", "f64", "u8", "f16", "bool"])
@pytest.mark.parametrize("steps", ["", ", steps = [0, 2]", ", steps = [1, 0]", ", steps = [0, -1]"])
def test_lanes_and_masks(toolchain: Any, kind: str, steps: str) -> None:
    """Seven rows, eleven columns; the mask depends on the row, and is empty in some."""
    otherwise = "true" if kind == "bool" else "7.0" if DTYPES[kind].is_float else "7"
    first = "i, 8" if "-1" in steps else "0, i" if "[1, 0]" in steps else "i, 1"
    text = f"""
    kernel.func @f(%x: buffer<{kind}[n, 11]>, %y: buffer<{kind}[n, 11]>, %z: buffer<{kind}[n, 4]>)
        {{outputs = 2, scalars = ["n"]}} {{
      kernel.parallel (i: task n - 1) {{
        %m = kernel.mask {{lower = i - 3, upper = 5 - i, lanes = 4}} : vector<4xbool>
        %v = kernel.load %x[{first}] mask(%m) {{lanes = 4, otherwise = {otherwise}{steps}}} : vector<4x{kind}>
        kernel.store %v, %z[i, 0]
        %w = kernel.load %x[{first}] {{lanes = 4{steps}}} : vector<4x{kind}>
        kernel.store %w, %y[{first}] mask(%m) {{steps = {steps.partition("= ")[2] or "[]"}}}
      }}
    }}
    """
    check(toolchain, text.replace("{steps = []}", ""), [data(kind, 8, 11)])


@pytest.mark.parametrize("kind", ["f32", "i8", "bool", "bf16"])
def test_masked_scalars(toolchain: Any, kind: str) -> None:
    otherwise = "true" if kind == "bool" else "7.0" if DTYPES[kind].is_float else "7"
    text = f"""
    kernel.func @f(%x: buffer<{kind}[n]>, %y: buffer<{kind}[n]>, %z: buffer<{kind}[n]>) {{outputs = 2, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %m = kernel.holds {{where = [i - 1, 7 - i]}} : bool
        %v = kernel.load %x[i*1000000 - 999995] mask(%m) {{otherwise = {otherwise}}} : {kind}
        kernel.store %v, %y[i]
        %p = kernel.holds {{where = [i - 2]}} : bool
        kernel.store %v, %z[i] mask(%p)
      }}
    }}
    """.replace("i*1000000 - 999995", "min(i + 1, 8)")
    check(toolchain, text, [data(kind, 9)])


def test_a_masked_load_touches_nothing_outside(toolchain: Any) -> None:
    """Addresses gigabytes away, in lanes and scalars whose mask is false."""
    text = """
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %p = kernel.holds {where = [-i]} : bool
        %s = kernel.load %x[i*10000000000] mask(%p) {otherwise = 1.0} : f32
        %m = kernel.mask {lower = 0, upper = 1 - i, lanes = 4} : vector<4xbool>
        %v = kernel.load %x[i*10000000000] mask(%m) {lanes = 4, otherwise = 2.0} : vector<4xf32>
        %w = kernel.load %x[i*10000000000] mask(%m) {lanes = 4, steps = [3], otherwise = 3.0} : vector<4xf32>
        %t = kernel.add %v, %w : vector<4xf32>
        %r = kernel.reduce_lanes %t {kind = add} : f32
        %q = kernel.add %r, %s : f32
        kernel.store %q, %y[i]
      }
    }
    """
    (found,) = toolchain.compile(functions(text)).run("f", [np.full(5, 10, np.float32)])
    assert found.tolist() == [10 + 20 + 15, 21, 21, 21, 21]


def test_symbolic_strides_between_lanes(toolchain: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[4, n]>, %y: buffer<f32[n, 4]>, %z: buffer<f32[4, n]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.load %x[0, i] {lanes = 4, steps = [1, 0]} : vector<4xf32>
        kernel.store %v, %y[i, 0]
        %m = kernel.mask {lower = 1, upper = 4 - i, lanes = 4} : vector<4xbool>
        %w = kernel.load %x[0, i] mask(%m) {lanes = 4, steps = [1, 0], otherwise = 5.0} : vector<4xf32>
        kernel.store %w, %z[0, i] {steps = [1, 0]}
      }
    }
    """
    check(toolchain, text, [data("f32", 4, 5)])


def test_strided_buffers(toolchain: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[3, 4] strides [s, 2]>, %y: buffer<f32[3, 4]>) {outputs = 1, scalars = ["s"]} {
      kernel.parallel (i: task 3, j: task 4) {
        %v = kernel.load %x[i, j] : f32
        kernel.store %v, %y[i, j]
      }
    }
    """
    (function,) = functions(text)
    memory = np.arange(30, dtype=np.float32)
    compiled = toolchain.compile([function])
    found = np.zeros((3, 4), np.float32)
    assert compiled.call(compiled.image.entries["f"], [memory, found], [10], 0, (0, 12)) == 0
    np.testing.assert_array_equal(found, memory.reshape(3, 10)[:, :8:2])


SCRATCH = """
kernel.func @f(%x: buffer<f32[n, 8]>, %y: buffer<f32[n, 8]>) {outputs = 1, scalars = ["n"]} {
  kernel.parallel (i: task n) {
    %s = kernel.alloc {type = buffer<f32[9], stack>} : buffer<f32[9], stack>
    kernel.for (j: sequential 8) {
      %t = kernel.alloc {type = buffer<f32[2], stack>} : buffer<f32[2], stack>
      %v = kernel.load %x[i, j] : f32
      kernel.store %v, %t[1]
      %w = kernel.load %t[1] : f32
      kernel.store %w, %s[7 - j]
    }
    kernel.for (k: sequential 8) {
      %u = kernel.alloc {type = buffer<i8[65], stack>} : buffer<i8[65], stack>
      %v = kernel.load %s[k] : f32
      kernel.store %v, %y[i, k]
    }
  }
}
"""


def test_stack_buffers_lie_in_scratch(toolchain: Any) -> None:
    assert scratch_bytes(functions(SCRATCH)[0]) == 64 + 128  # what the two loops need overlaps
    check(toolchain, SCRATCH, [data("f32", 3, 8)])


REGISTERS = """
kernel.func @f(%x: buffer<f32[n, 8]>, %y: buffer<f32[8]>, %z: buffer<f32[8]>) {outputs = 2, scalars = ["n"]} {
  %a = kernel.alloc {type = buffer<f32[2, 4], register>} : buffer<f32[2, 4], register>
  %b = kernel.alloc {type = buffer<f32[8], register>} : buffer<f32[8], register>
  %z4 = kernel.constant {value = 0.0, type = vector<4xf32>} : vector<4xf32>
  kernel.for (u: unroll 2) { kernel.store %z4, %a[u, 0]   kernel.store %z4, %b[u*4] }
  kernel.for (i: sequential n) {
    kernel.for (u1: unroll 2) {
      %v = kernel.load %x[i, u1*4] {lanes = 4} : vector<4xf32>
      %o = kernel.load %a[u1, 0] {lanes = 4} : vector<4xf32>
      %s = kernel.add %v, %o : vector<4xf32>
      kernel.store %s, %a[u1, 0]
    }
    kernel.if {where = [i - 2]} {
      %e = kernel.load %b[3] : f32
      %g = kernel.load %x[i, 0] : f32
      %h = kernel.add %e, %g : f32
      kernel.store %h, %b[3]
    } else {
      %g = kernel.load %x[i, 1] : f32
      kernel.store %g, %b[6]
    }
  }
  kernel.for (u2: unroll 2) {
    %v = kernel.load %a[u2, 0] {lanes = 4} : vector<4xf32>
    kernel.store %v, %y[u2*4]
    %w = kernel.load %b[u2] {lanes = 4, steps = [2]} : vector<4xf32>
    kernel.store %w, %z[u2*4]
  }
}
"""


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_register_buffers(toolchain: Any, n: int) -> None:
    check(toolchain, REGISTERS, [data("f32", n, 8)])


def test_register_buffers_cost_no_memory() -> None:
    text = emit_module(functions(REGISTERS), find_target("x86-64-v3")[1].presets["x86-64-v3"])
    assert "alloca" not in text
    assert text.count("store ") == 4
    assert text.count("phi <4 x float>") >= 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%v = kernel.load %r[i] : f32", r"element i of a register buffer .*expected a constant once loops of kind unroll"),
        ("%v = kernel.load %r[5] : f32", r"element 5 of a register buffer buffer<f32\[4\], register>"),
        ("%m = kernel.holds {where = [i]} : bool  %v = kernel.load %r[0] mask(%m) : f32", "a masked load of a register"),
        ("%v = kernel.exp %c : f32", r"kernel.exp at unknown has no instruction; run kernel.expand-math"),
        ("kernel.barrier", "kernel.barrier at unknown: needs a device target"),
        (
            "%s = kernel.alloc {type = buffer<f32[4], shared>} : buffer<f32[4], shared>",
            "a buffer in space shared needs a device target",
        ),
        ("kernel.parallel (t: thread 4) { }", "axes of kind thread need a device target"),
        ("kernel.map (t: parallel 4) { kernel.yield }", "kernel.map at unknown: is structured, expected loops"),
    ],
)
def test_refusals(line: str, message: str) -> None:
    text = f"""
    kernel.func @f(%x: buffer<f32[n]>) {{outputs = 0, scalars = ["n"]}} {{
      %c = kernel.constant {{value = 1.0, type = f32}} : f32
      %r = kernel.alloc {{type = buffer<f32[4], register>}} : buffer<f32[4], register>
      kernel.for (u: unroll 4) {{ kernel.store %c, %r[u] }}
      kernel.for (i: sequential n) {{ {line} }}
    }}
    """
    facts = find_target("x86-64-v3")[1].presets["x86-64-v3"]
    with pytest.raises(CodegenError, match=message) as caught:
        emit_module(list(parse_module(text).functions(KernelFunc)), facts)
    assert str(caught.value).startswith("kernel @f: ")
    assert "\n" not in str(caught.value)


def test_a_function_too_long_is_refused() -> None:
    text = """
    kernel.func @f(%x: buffer<f32[100000]>) {outputs = 1} {
      %c = kernel.constant {value = 1.0, type = f32} : f32
      kernel.for (u: unroll 100000) { kernel.store %c, %x[u] }
    }
    """
    with pytest.raises(CodegenError, match=r"kernel @f: more than \d+ instructions after unrolling"):
        emit_module(functions(text), find_target("x86-64-v3")[1].presets["x86-64-v3"])


def test_a_prefetch_changes_nothing_and_may_lie_outside(toolchain: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[n, 3]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        kernel.prefetch %x[i + n, 1000000]
        %v = kernel.load %x[i, 1] : f32
        kernel.store %v, %y[i]
      }
    }
    """
    check(toolchain, text, [data("f32", 4, 3)], n=4)
    assert "call void @llvm.prefetch.p0(" in emit_module(functions(text), find_target("x86-64-v3")[1].presets["x86-64-v3"])


@pytest.mark.parametrize(("wide", "narrow"), [("f32", "bf16"), ("i32", "i8"), ("i64", "i32"), ("i64", "i16"), ("i16", "u8")])
def test_one_lane_of_a_truncated_vector_is_all_that_is_written(toolchain: Any, wide: str, narrow: str) -> None:
    """LLVM would write the bytes of the wider element where it sees that the mask has one lane."""
    text = f"""
    kernel.func @f(%x: buffer<{wide}[n, 16]>, %y: buffer<{narrow}[n, 16]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %m = kernel.mask {{lower = 0, upper = 1, lanes = 16}} : vector<16xbool>
        %v = kernel.load %x[i, 0] {{lanes = 16}} : vector<16x{wide}>
        %w = kernel.cast %v {{dtype = {narrow}}} : vector<16x{narrow}>
        kernel.store %w, %y[i, 0] mask(%m)
      }}
    }}
    """
    check(toolchain, text, [data(wide, 3, 16)])
