"""Masks, strides, conditions, loops, scratch and names in C, against the interpreter; and what has no C form."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from operation_kernels import functions

from headrace.codegen.clike import emit_c, kernel_name
from headrace.codegen.clike.language import C11
from headrace.codegen.clike.types import identifier
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.types import DTYPES

Array = np.ndarray[Any, Any]


def check(in_c: Any, text: str, inputs: list[Array], **symbols: int) -> None:
    """What runs is what the interpreter gives, where that writes anything; elsewhere nothing is written."""
    kernels = functions(text)
    compiled = in_c(kernels)
    for function in kernels:
        expected = run_kernel(function, inputs, symbols)
        found = compiled.run(function.function_name, inputs, symbols)
        for f, e, written in zip(found, expected.outputs, expected.written, strict=True):
            np.testing.assert_array_equal(f[written], e[written])
            assert (f[~written].view(np.uint8) == 0xA5).all()


def data(kind: str, *shape: int) -> Array:
    rng = np.random.default_rng(8)
    return rng.integers(0, 2 if kind == "bool" else 100, shape).astype(DTYPES[kind].numpy)


@pytest.mark.parametrize("kind", ["f32", "f64", "u8", "bool"])
@pytest.mark.parametrize(
    ("first", "steps"), [("i, 1", [0, 1]), ("i, 1", [0, 2]), ("0, i", [1, 0]), ("0, i", [2, -1]), ("i, 8", [0, -1])]
)
def test_lanes_and_masks(in_c: Any, kind: str, first: str, steps: list[int]) -> None:
    """The mask depends on the row, and is empty in some."""
    other = "true" if kind == "bool" else "7.0" if DTYPES[kind].is_float else "7"
    text = f"""
    kernel.func @f(%x: buffer<{kind}[n, 11]>, %y: buffer<{kind}[n, 11]>, %z: buffer<{kind}[n, 4]>)
        {{outputs = 2, scalars = ["n"]}} {{
      kernel.parallel (i: task n - 1) {{
        %m = kernel.mask {{lower = i - 3, upper = 5 - i, lanes = 4}} : vector<4xbool>
        %low = kernel.mask {{lower = 0, upper = i - 2, lanes = 4}} : vector<4xbool>
        %v = kernel.load %x[{first}] mask(%low) {{lanes = 4, otherwise = {other}, steps = {steps}}} : vector<4x{kind}>
        kernel.store %v, %z[i, 0]
        kernel.store %v, %y[i, 3] mask(%m) {{steps = [0, 2]}}
      }}
    }}
    """
    check(in_c, text, [data(kind, 8, 11)])


def test_a_masked_load_touches_nothing_outside(in_c: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %p = kernel.holds {where = [-i]} : bool
        %s = kernel.load %x[i*10000000000] mask(%p) {otherwise = 1.0} : f32
        %m = kernel.mask {lower = 0, upper = 1 - i, lanes = 4} : vector<4xbool>
        %v = kernel.load %x[i*10000000000] mask(%m) {lanes = 4, otherwise = 2.0} : vector<4xf32>
        %r = kernel.reduce_lanes %v {kind = add} : f32
        %q = kernel.add %r, %s : f32
        kernel.store %q, %y[i]
        kernel.store %q, %y[i*10000000000] mask(%p)
      }
    }
    """
    (found,) = in_c(functions(text)).run("f", [np.full(5, 10, np.float32)])
    assert found.tolist() == [26, 9, 9, 9, 9]


CONDITIONS = """
kernel.func @f(%x: buffer<i32[n, 6]>, %y: buffer<i32[n, 6]>) {outputs = 1, scalars = ["n"]} {
  kernel.parallel (i: task n, j: task 6) {
    %v = kernel.load %x[i, j] : i32
    %c = kernel.constant {value = 50, type = i32} : i32
    %p = kernel.compare %v, %c {predicate = gt} : bool
    kernel.if condition(%p) {where = [i - 1, -j + 4]} {
      kernel.store %v, %y[i, j]
    } else {
      kernel.if {where = [j floordiv 2 - i mod 3]} {
        %w = kernel.neg %v : i32
        kernel.store %w, %y[i, j]
      }
    }
    kernel.if {where = []} {
      kernel.if {where = [i - j, j - i]} { kernel.store %c, %y[i, j] }
    }
  }
}
"""


def test_conditions(in_c: Any) -> None:
    check(in_c, CONDITIONS, [data("i32", 7, 6)])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_loops_and_formulas(in_c: Any, n: int) -> None:
    """Loops as long as others' variables; formulas with every operator, below zero too."""
    text = """
    kernel.func @f(%x: buffer<i64[n, m]>, %y: buffer<i64[n]>) {outputs = 1, scalars = ["n", "m"]} {
      kernel.parallel (i: task n) {
        %t = kernel.alloc {type = buffer<i64[1], register>} : buffer<i64[1], register>
        %0 = kernel.constant {value = 0, type = i64} : i64
        kernel.store %0, %t[0]
        kernel.for (j: sequential m) {
          kernel.for (k: sequential j) {
            kernel.for (u: unroll 2) {
              %o = kernel.load %t[0] : i64
              %v = kernel.load %x[i, max(k - u, j - k - 1)] : i64
              %w = kernel.index {value = (j - k*5) floordiv 3 + (u - k) mod 4 + min(j, i, 2) - 100*i*u} : i64
              %p = kernel.muladd %v, %w, %o : i64
              kernel.store %p, %t[0]
            }
          }
        }
        %r = kernel.load %t[0] : i64
        kernel.store %r, %y[i]
      }
    }
    """
    check(in_c, text, [data("i64", n, 6)], n=n, m=6)


def test_index_and_mask(in_c: Any) -> None:
    text = """
    kernel.func @index(%out: buffer<i32[n, 8]>, %short: buffer<u8[n]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.index {value = i*3 - 5, dtype = i32, lanes = 8, step = -2} : vector<8xi32>
        kernel.store %v, %out[i, 0]
        %s = kernel.index {value = i*i - 300, dtype = u8} : u8
        kernel.store %s, %short[i]
      }
    }
    kernel.func @mask(%out: buffer<bool[n, 8]>, %one: buffer<bool[n]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.mask {lower = i - 4, upper = i*2, lanes = 8} : vector<8xbool>
        kernel.store %v, %out[i, 0]
        %h = kernel.holds {where = [i - 2, -i + 6]} : bool
        kernel.store %h, %one[i]
      }
    }
    """
    check(in_c, text, [], n=14)


def test_stack_buffers_lie_in_scratch(in_c: Any) -> None:
    """As much scratch as `scratch_bytes` says, and no more: the two loops' buffers share theirs."""
    text = """
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
          %v2 = kernel.load %s[k] : f32
          kernel.store %v2, %y[i, k]
        }
      }
    }
    """
    check(in_c, text, [data("f32", 3, 8)])
    assert "scratch + 0)" in emit_c(functions(text))
    assert "scratch + 128)" not in emit_c(functions(text))


def test_values_that_nobody_uses(in_c: Any) -> None:
    """No compiler warns of them."""
    text = """
    kernel.func @f(%x: buffer<f32[n, 8]>, %y: buffer<f32[n, 8]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %a = kernel.load %x[i, 0] : f32
        %b = kernel.load %x[i, 0] {lanes = 8} : vector<8xf32>
        %r = kernel.alloc {type = buffer<f32[4], register>} : buffer<f32[4], register>
        %s = kernel.alloc {type = buffer<f32[4], stack>} : buffer<f32[4], stack>
        %c = kernel.load %x[i, 1] : f32
        kernel.store %c, %r[0]
        kernel.store %c, %y[i, 2]
        %d = kernel.reduce_lanes %b {kind = add} : f32
      }
    }
    kernel.func @nothing(%x: buffer<f32[n, 8]>) {outputs = 0, scalars = ["n"]} {
    }
    """
    compiled = in_c(functions(text))
    x = data("f32", 3, 8)
    assert compiled.run("f", [x])[0][:, 2].tolist() == x[:, 1].tolist()
    assert compiled.run("nothing", [x]) == []


NAMES = ["rest", "lane", "task", "sqrtf", "int", "scratch", "NAN", "INT8_MIN", "hr_min_f32", "uint8_t", "buffers", "_Bool"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mean_something_in_c(in_c: Any, name: str) -> None:
    """As parameter, value, vector, buffer, axis and symbol."""
    text = f"""
    kernel.func @sqrt(%{name}: buffer<f32[n]>, %out: buffer<f32[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %{name}1 = kernel.load %{name}[i] : f32
        %r = kernel.sqrt %{name}1 : f32
        kernel.store %r, %out[i]
      }}
    }}
    kernel.func @value(%x: buffer<f32[n]>, %out: buffer<f32[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel ({name}_: task n, {name}: task 1) {{
        %v = kernel.load %x[{name}_ + {name}] : f32
        %{name} = kernel.sqrt %v : f32
        %c = kernel.constant {{value = inf, type = f32}} : f32
        %d = kernel.min %{name}, %c : f32
        kernel.store %d, %out[{name}_]
      }}
    }}
    kernel.func @vector(%x: buffer<f32[{name}]>, %out: buffer<f32[{name}]>) {{outputs = 1, scalars = ["{name}"]}} {{
      kernel.parallel (i: task {name} floordiv 4) {{
        %{name} = kernel.load %x[i*4] {{lanes = 4}} : vector<4xf32>
        %r = kernel.sqrt %{name} : vector<4xf32>
        kernel.store %r, %out[i*4]
      }}
    }}
    """
    compiled = in_c(functions(text))
    x = np.arange(8, dtype=np.float32)
    for kernel in ("sqrt", "value", "vector"):
        np.testing.assert_array_equal(compiled.run(kernel, [x])[0], np.sqrt(x))


def test_names() -> None:
    assert kernel_name("conv.1/relu") == "kernel_conv_u2e_1_u2f_relu"
    assert kernel_name("a.b") != kernel_name("a_b")
    assert identifier("größe", C11.reserved) == "gr__e"
    assert identifier("3x", C11.reserved) == "v3x"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%v = kernel.exp %c : f32", r"kernel\.exp at unknown has no C form; kernel\.expand-math writes functions out"),
        ("kernel.barrier", r"kernel\.barrier at unknown has no C form; expected loops for a CPU"),
        ("kernel.map (t: parallel 4) { kernel.yield }", r"kernel\.map at unknown has no C form"),
        ("kernel.parallel (t: thread 4) { }", "a loop over t: thread inside the kernel has no C form"),
        (
            "%s = kernel.alloc {type = buffer<f32[4], shared>} : buffer<f32[4], shared>",
            "a buffer in shared memory needs a device",
        ),
        (
            "%b = kernel.constant {value = true, type = vector<4xbool>} : vector<4xbool>"
            "  %r = kernel.reduce_lanes %b {kind = add} : bool",
            r"kernel\.reduce_lanes of kind add on bool; expected min or max",
        ),
    ],
)
def test_refusals(line: str, message: str) -> None:
    text = f"""
    kernel.func @f(%x: buffer<f32[n]>) {{outputs = 0, scalars = ["n"]}} {{
      %c = kernel.constant {{value = 1.0, type = f32}} : f32
      kernel.for (i: sequential n) {{ {line} }}
    }}
    """
    with pytest.raises(CodegenError, match=f"^kernel @f: {message}") as caught:
        emit_c(functions(text))
    assert "\n" not in str(caught.value)


LOOKUP = """
kernel.func @f(%x: buffer<f32[n]>, %i: buffer<i64[m]>, %y: buffer<f32[m]>) {outputs = 1, scalars = ["m", "n"]} {
  kernel.parallel (a: task m) {
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


def test_a_failed_check_returns_its_site_and_leaves_its_values(in_c: Any) -> None:
    (function,) = functions(LOOKUP)
    compiled = in_c([function])
    x, i = np.arange(5, dtype=np.float32), np.array([4, 0, 7, 9])
    np.testing.assert_array_equal(compiled.run("f", [x, i[:2]])[0], [4, 0])
    scratch, y = np.zeros(2, np.int64), np.zeros(4, np.float32)
    pointers = (ctypes.c_void_p * 3)(*(a.ctypes.data for a in (x, i, y)))
    scalars = (ctypes.c_int64 * 2)(4, 5)
    entry = compiled.library[kernel_name("f")]
    whole = ctypes.c_int64(0), ctypes.c_int64(4)
    assert entry(pointers, scalars, ctypes.c_void_p(scratch.ctypes.data), *whole) == 1
    np.testing.assert_array_equal(scratch, [7, 5])


def test_a_prefetch_has_no_form_in_c(in_c: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        kernel.prefetch %x[i + n]
        %v = kernel.load %x[i] : f32
        kernel.store %v, %y[i]
      }
    }
    """
    check(in_c, text, [data("f32", 5)], n=5)
